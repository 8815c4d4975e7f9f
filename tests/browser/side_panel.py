"""Operate the side panel in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.notebook_page import OpenNotebook, open_notebook, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Locator

    from tests.browser.jupyter_apps import FrontEndServer

WAIT = "import pathlib, time\nwhile not pathlib.Path('GO').exists():\n    time.sleep(0.01)\n"
"""Code of a step that waits until the test creates the file."""


class SidePanel:
    """Side panel of an open notebook.

    Parameters
    ----------
    opened : OpenNotebook
        The notebook.
    """

    def __init__(self, opened: OpenNotebook) -> None:
        self.opened = opened
        self.page = opened.page
        opened.command("jupyter-pipelines:show-panel")
        self.box = opened.page.locator("#jupyter-pipelines-panel")

    def row(self, step: str, state: str = "") -> Locator:
        """Return the row of a step, in a state if one is given."""
        return self.box.locator(f'.jpg-row[data-id="{step}"]' + (f'[data-state="{state}"]' if state else ""))

    def await_state(self, step: str, state: str) -> None:
        """Wait until a step is shown in a state."""
        self.row(step, state).wait_for()

    def press(self, button: str) -> None:
        """Press a button of the panel."""
        self.box.get_by_role("button", name=button, exact=True).click()

    def select(self, step: str) -> Locator:
        """Select a step, and return the pane with its details."""
        self.row(step).click()
        return self.box.locator(".jpg-detailpane")

    def open_section(self, title: str) -> None:
        """Open a part of the panel that is folded."""
        self.box.locator("details:not([open]) > summary", has_text=title).click()


def open_first(context: BrowserContext, server: FrontEndServer, name: str) -> OpenNotebook:
    """Open a notebook, and wait until it is the active one: the workspace may restore another notebook first."""
    opened = open_notebook(context, server, name)
    opened.page.wait_for_function("name => window.jupyterapp.shell.currentWidget?.context?.path === name", arg=name)
    opened.wait_until_ready()
    return opened


def open_panel(context: BrowserContext, server: FrontEndServer, name: str) -> SidePanel:
    """Open a notebook and the panel beside it."""
    return SidePanel(open_first(context, server, name))


def gated(server: FrontEndServer, name: str, *cells: str) -> Path:
    """Write a notebook, and return the file that ``GO`` in its cells stands for."""
    go = server.folder / f"go-{name}"
    write_notebook(server.folder / name, *(cell.replace("GO", go.name) for cell in cells))
    return go
