"""``python -m benchmarks.browser``: the graph widget in JupyterLab, in a real browser; prints a table for the docs."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from playwright.sync_api import BrowserContext, sync_playwright

from tests.browser.jupyter_apps import BROWSER, SWITCHES, FrontEndServer, front_end_server
from tests.browser.notebook_page import OpenNotebook, open_notebook, write_notebook

SIZES = (50, 500, 2000)
EMPTY_WIDGET = """import anywidget
class Empty(anywidget.AnyWidget):
    _esm = "export default {render({el}) { el.className = 'nothing'; el.textContent = 'x'; }}"
Empty()"""
SHOW_GRAPH = "import jupyter_pipelines as jp\nshown = jp.read('steps-{}.ipynb')\nshown"
UPDATE_STATES = """import threading, time
from jupyter_pipelines.interfaces.jupyter.widgets import PipelineWidget
made = PipelineWidget(shown, lambda *_: None)
def work():
    names = [step.name for step in shown]
    for turn in range(80):
        part = names[turn * 20 % len(names):][:20]
        state = ('running', 'succeeded')[turn % 2]
        made.tell({'steps': {name: {'state': state, 'seconds': turn / 10} for name in part}, 'running': True})
        time.sleep(0.1)
threading.Thread(target=work, daemon=True).start()
made"""
RUN_CELL_JS = """async ([index, selector]) => {
  const notebook = window.jupyterapp.shell.currentWidget.content;
  notebook.activeCellIndex = index;
  const output = notebook.widgets[index].node;
  output.querySelectorAll('.jp-OutputArea-output').forEach(area => area.remove());
  const start = performance.now();
  const done = new Promise(resolve => {
    const check = () =>
      output.querySelector(selector) ? resolve(performance.now() - start) : requestAnimationFrame(check);
    requestAnimationFrame(check);
  });
  window.jupyterapp.commands.execute('notebook:run-cell');
  return done;
}"""
START_RECORDING_JS = """() => {
  window.frames_ = [];
  window.recording = true;
  let last = performance.now();
  const next = now => {
    window.frames_.push(now - last);
    last = now;
    if (window.recording) requestAnimationFrame(next);
  };
  requestAnimationFrame(now => { last = now; requestAnimationFrame(next); });
}"""
STOP_RECORDING_JS = "() => { window.recording = false; return window.frames_; }"


def step_cells(count: int) -> list[str]:
    """Return the cells of a pipeline with a typical graph: as wide as long, most edges short, some longer."""
    width = max(4, round(count**0.5))
    cells = []
    for number in range(count):
        near = [number - width + (number * 7) % 3 - 1, *([number - 2 * width + 1] if number % 3 == 0 else [])]
        names = [
            f"v{maker}" for maker in sorted({neighbour for neighbour in near if neighbour >= 0 and number >= width})
        ]
        takes = f" -i {','.join(names)}" if names else ""
        cells.append(f"%%step s{number}{takes} -o v{number}\nv{number} = {' + '.join(names) or number}")
    return cells


@click.command(help="Measure the graph widget in JupyterLab, in a real browser.")
@click.option("--rounds", default=5, show_default=True, help="How often each graph is shown.")
def main(rounds: int) -> None:
    """Measure, and print a row for each size."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        folder, private = Path(scratch, "notebooks"), Path(scratch, "private")
        folder.mkdir()
        (folder / "pyproject.toml").write_text("")
        browser = playwright.chromium.launch(executable_path=BROWSER, args=SWITCHES)
        with front_end_server("lab", folder, private) as lab:
            context = browser.new_context(viewport={"width": 1360, "height": 860})
            for size in SIZES:
                click.echo(table_row(size, measure_widget(context, lab, size, rounds)))
        click.echo(f"load at the end: {os.getloadavg()[0]:.1f}")


def measure_widget(context: BrowserContext, lab: FrontEndServer, size: int, rounds: int) -> dict[str, Any]:
    """Measure the widget of a pipeline with `size` steps."""
    write_notebook(lab.folder / f"steps-{size}.ipynb", *step_cells(size))
    cells = ("import anywidget, jupyter_pipelines", EMPTY_WIDGET, SHOW_GRAPH.format(size), UPDATE_STATES, "x = 1")
    write_notebook(lab.folder / f"show-{size}.ipynb", *cells)
    opened = open_notebook(context, lab, f"show-{size}.ipynb")
    page = opened.page
    page.evaluate(RUN_CELL_JS, [0, ".jp-InputPrompt"])
    empty, shown = [], []
    for _ in range(rounds):
        opened.wait_until_ready()
        empty.append(page.evaluate(RUN_CELL_JS, [1, ".nothing"]))
        opened.wait_until_ready()
        shown.append(page.evaluate(RUN_CELL_JS, [2, ".jpg-canvas .jpg-node[data-id]"]))
    opened.wait_until_ready()
    return {
        "first": shown[0] - empty[0],
        "added": statistics.median(shown) - statistics.median(empty),
        "empty": statistics.median(empty),
        **measure_moves(opened, 2, size),
        "typed": measure_typing(opened),
    }


def measure_moves(opened: OpenNotebook, cell: int, size: int) -> dict[str, list[float]]:
    """Return the frame times while the drawing of all steps, without groups, is panned and zoomed."""
    page = opened.page
    output = page.locator(".jp-Cell").nth(cell)
    output.scroll_into_view_if_needed()
    whole = output.get_by_role("button", name="Groups", exact=True)
    if size > 300 and whole.is_visible():
        whole.click()
    box = output.locator(".jpg-canvas").locator("visible=true").first.bounding_box()
    if box is None:
        raise click.ClickException("nothing is drawn")
    x, y = box["x"] + box["width"] / 2, box["y"] + 8
    page.mouse.move(x, y)
    page.evaluate(START_RECORDING_JS)
    page.mouse.down()
    for turn in range(4):
        page.mouse.move(x + (-300 if turn % 2 else 300), y + 60, steps=40)
    page.mouse.up()
    panned = page.evaluate(STOP_RECORDING_JS)
    page.evaluate(START_RECORDING_JS)
    page.keyboard.down("Control")
    for turn in range(80):
        page.mouse.wheel(0, -60 if turn < 40 else 60)
    page.keyboard.up("Control")
    return {"panned": panned, "zoomed": page.evaluate(STOP_RECORDING_JS)}


def measure_typing(opened: OpenNotebook) -> list[float]:
    """Return the frame times while the user types and twenty states change ten times a second."""
    page = opened.page
    page.evaluate(RUN_CELL_JS, [3, ".jpg-canvas .jpg-node[data-id]"])
    page.locator(".jp-Cell").nth(4).locator(".cm-content").click()
    page.evaluate(START_RECORDING_JS)
    page.keyboard.type(" + 1" * 40, delay=15)
    return list(page.evaluate(STOP_RECORDING_JS))


def table_row(size: int, figures: dict[str, Any]) -> str:
    """Return a row of the table."""
    kinds = [figures[kind] for kind in ("panned", "zoomed", "typed")]
    frames = " | ".join(f"{statistics.median(times):.1f} / {quantile(times):.1f}" for times in kinds)
    added, first, empty = (figures[name] / 1000 for name in ("added", "first", "empty"))
    return f"| {size:,} | {added:.2f} ({first:.2f}) | {empty:.2f} | {frames} |"


def quantile(values: Sequence[float], share: float = 0.95) -> float:
    """Return the quantile `share` of `values`."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    main()
