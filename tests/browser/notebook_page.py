"""Operate a notebook in a browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.browser.jupyter_apps import FrontEndServer

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

READY = """() => {
  const app = window.jupyterapp;
  const panel = app && app.shell && app.shell.currentWidget;
  const context = panel && panel.context;
  return Boolean(context && context.isReady && context.sessionContext.isReady
    && context.sessionContext.session && context.sessionContext.session.kernel
    && context.sessionContext.session.kernel.status === 'idle');
}"""
_NOISE = ("yjs", "Unsatisfied version", "ResizeObserver", "favicon")
"""Console messages of JupyterLab and Notebook 7 themselves."""


class OpenNotebook:
    """A notebook that is open in a page.

    Parameters
    ----------
    page : Page
        Playwright's page.
    server : FrontEndServer
        The server.
    """

    def __init__(self, page: Page, server: FrontEndServer) -> None:
        self.page = page
        self.server = server
        self.outside: list[str] = []
        self.problems: list[str] = []
        self.dialogs: list[str] = []
        page.on("request", lambda request: self._note_request(request.url))
        page.on("pageerror", lambda error: self._note_problem(str(error)))
        page.on("console", lambda message: self._note_problem(message.text) if message.type == "error" else None)
        page.on("dialog", self._note_dialog)

    def _note_request(self, url: str) -> None:
        if not url.startswith((self.server.address, "data:", "blob:", self.server.address.replace("http", "ws"))):
            self.outside.append(url)

    def _note_problem(self, text: str) -> None:
        if "pipelines" in text.lower() and not any(word in text for word in _NOISE):
            self.problems.append(text)

    def _note_dialog(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def wait_until_ready(self) -> None:
        """Wait until the notebook has a kernel that waits for work."""
        self.page.wait_for_function(READY)

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Execute a command of the front end, and wait for its end."""
        self.page.evaluate(
            "([name, given]) => window.jupyterapp.commands.execute(name, given).then(() => null)",
            [name, arguments or {}],
        )

    def run_all(self) -> None:
        """Run all cells, and wait for their end."""
        self.command("notebook:run-all-cells")
        self.wait_until_ready()

    def save(self) -> None:
        """Save the notebook."""
        self.command("docmanager:save")

    def add_cell(self, source: str) -> None:
        """Put a code cell at the end of the notebook."""
        self.page.evaluate(
            """source => {
              const shared = window.jupyterapp.shell.currentWidget.content.model.sharedModel;
              shared.insertCell(shared.cells.length, {cell_type: 'code', source});
            }""",
            source,
        )

    def set_source(self, number: int, source: str) -> None:
        """Give the cell at `number`, counted from 1, another text."""
        self.page.evaluate(
            """([index, source]) =>
              window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells[index].setSource(source)""",
            [number - 1, source],
        )

    def source(self, number: int) -> str:
        """Return the text of the cell at `number`, counted from 1."""
        return str(
            self.page.evaluate(
                """index =>
                  window.jupyterapp.shell.currentWidget.content.model.sharedModel.cells[index].getSource()""",
                number - 1,
            )
        )


def open_notebook(context: BrowserContext, server: FrontEndServer, notebook: str) -> OpenNotebook:
    """Open a notebook in a new page."""
    opened = OpenNotebook(context.new_page(), server)
    opened.page.goto(server.url(notebook), wait_until="domcontentloaded")
    opened.wait_until_ready()
    return opened


def write_notebook(path: Path, *cells: str) -> Path:
    """Write a notebook of code cells; a text that begins with ``# `` and has one line becomes Markdown."""
    made = [_cell(number, text) for number, text in enumerate(cells)]
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    document = {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return path


def _cell(number: int, text: str) -> dict[str, Any]:
    shared: dict[str, Any] = {"id": f"cell-{number}", "metadata": {}, "source": text}
    if text.startswith("# ") and "\n" not in text:
        return shared | {"cell_type": "markdown"}
    return shared | {"cell_type": "code", "execution_count": None, "outputs": []}
