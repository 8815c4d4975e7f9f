"""The widget and the runs it shows, in a real browser: buttons, runs of other processes, reloaded pages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.notebook_page import OpenNotebook, open_notebook, write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator

    from tests.browser.jupyter_apps import FrontEndServer

COMMAND = Path(sys.executable).with_name("jupyter-pipelines")
WAIT = "import pathlib, time\nwhile not pathlib.Path('GO').exists():\n    time.sleep(0.01)\n"
CELLS = (
    "%load_ext jupyter_pipelines",
    "%%params\ncount: int = 3",
    f"%%step slow -o slow -p count\n{WAIT}slow = list(range(count))",
    "%%step after -i slow -o after\nafter = sum(slow), 'GO'",
)


def written(server: FrontEndServer, name: str, *cells: str) -> Path:
    """Write a notebook, and return the file that its first step waits for."""
    go = server.folder / f"go-{name}"
    write_notebook(server.folder / name, *(cell.replace("GO", go.name) for cell in CELLS), *cells)
    return go


def open_it(context: BrowserContext, server: FrontEndServer, name: str) -> OpenNotebook:
    """Open a notebook; what was open in another page before comes back first."""
    opened = open_notebook(context, server, name)
    opened.page.wait_for_function("name => window.jupyterapp.shell.currentWidget.context.path === name", arg=name)
    opened.wait_until_ready()
    return opened


def node(opened: OpenNotebook, step: str, state: str) -> Locator:
    # What is saved is drawn at once, and hidden when the widget is there.
    return opened.page.locator(f'[data-id="{step}"][data-state="{state}"]').locator("visible=true").first


def shell(server: FrontEndServer, *arguments: str) -> str:
    done = subprocess.run(
        [str(COMMAND), *arguments], cwd=server.folder, env=os.environ, capture_output=True, text=True, check=True
    )
    return done.stdout


def button(opened: OpenNotebook, name: str) -> Locator:
    return opened.page.locator(".jp-OutputArea").get_by_role("button", name=name, exact=True).locator("visible=true")


def press(opened: OpenNotebook, name: str) -> None:
    button(opened, name).click()


def show(opened: OpenNotebook) -> None:
    """Execute the first and the last cell only: the steps are left to runs."""
    opened.page.evaluate(
        """async () => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          for (const index of [0, notebook.widgets.length - 1]) {
            notebook.activeCellIndex = index;
            await window.jupyterapp.commands.execute('notebook:run-cell');
          }
        }"""
    )


def test_a_run_is_started_watched_and_found_again(either: FrontEndServer, context: BrowserContext) -> None:
    """R72."""
    go = written(either, "watched.ipynb", "%pipeline show")
    opened = open_it(context, either, "watched.ipynb")
    show(opened)
    node(opened, "slow", "never run").wait_for()
    press(opened, "Run")
    node(opened, "slow", "running").wait_for()
    opened.page.close()
    opened = open_it(context, either, "watched.ipynb")
    show(opened)
    node(opened, "slow", "running").wait_for()
    go.touch()
    node(opened, "after", "succeeded").wait_for()
    assert opened.problems == []
    assert opened.outside == []


def test_a_run_of_a_shell_is_shown_and_cancelled_by_the_button(lab: FrontEndServer, context: BrowserContext) -> None:
    written(lab, "shell.ipynb", "%pipeline show")
    opened = open_it(context, lab, "shell.ipynb")
    show(opened)
    node(opened, "slow", "never run").wait_for()
    shell(lab, "run", "shell.ipynb", "--detach")
    node(opened, "slow", "running").wait_for()
    press(opened, "Cancel")
    node(opened, "slow", "cancelled").wait_for()
    expect(button(opened, "Run")).to_be_enabled()  # the run is over, and not only its step
    assert "cancelled" in shell(lab, "runs", "shell.ipynb")


def test_a_run_in_the_kernel_is_live_and_what_is_saved_is_how_it_ended(
    lab: FrontEndServer, context: BrowserContext
) -> None:
    go = written(lab, "inside.ipynb", "%pipeline run")
    opened = open_it(context, lab, "inside.ipynb")
    opened.page.evaluate(
        """() => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          notebook.activeCellIndex = 0;
          return window.jupyterapp.commands.execute('notebook:run-cell').then(() => {
            notebook.activeCellIndex = notebook.widgets.length - 1;
            window.jupyterapp.commands.execute('notebook:run-cell');
          });
        }"""
    )
    node(opened, "slow", "running").wait_for()
    go.touch()
    node(opened, "after", "succeeded").wait_for()
    opened.page.wait_for_function(
        """() => {
          const saved = JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON());
          return saved.includes('"state":"succeeded"') && !saved.includes('"state":"running"');
        }"""
    )
    expect(opened.page.locator('[data-id="after"]').locator("visible=true")).to_have_count(1)
    opened.save()
    saved = (lab.folder / "inside.ipynb").read_text()
    assert '"state": "succeeded"' in saved
    assert '"state": "running"' not in saved
    assert len(saved) < 100_000
    again = open_it(context, lab, "inside.ipynb")
    node(again, "after", "succeeded").wait_for()
    assert again.problems == []
