"""Test the graph and the panel with the keyboard, and their accessibility."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import screenshot
from tests.browser.side_panel import SidePanel, gated, open_panel

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer

AXE = Path(__file__).parents[2] / "labextension" / "node_modules" / "axe-core" / "axe.min.js"
ACTIVE = "() => document.activeElement.closest('[data-id]')?.getAttribute('data-id') ?? ''"
CELLS = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"


def cells(mark: str) -> tuple[str, ...]:
    return (
        "%load_ext jupyter_pipelines",
        "%%params\ncount: int = 2  # how many",
        f"%%step load -o rows -p count\nrows = [{mark!r}] * count",
        "%%step left -i rows -o a\na = len(rows)",
        "%%step right -i rows -o b\nb = rows[0]",
        "%%step join -i a,b -o text\ntext = f'{a} {b}'",
        "%pipeline show",
    )


def focused(panel: SidePanel) -> str:
    return str(panel.page.evaluate(ACTIVE))


def test_the_panel_works_from_the_keyboard(lab: FrontEndServer, context: BrowserContext) -> None:
    gated(lab, "keys.ipynb", *cells("keys"))
    panel = open_panel(context, lab, "keys.ipynb")
    panel.await_state("join", "never run")
    keyboard = panel.page.keyboard
    before = panel.page.evaluate(CELLS)
    panel.box.get_by_role("button", name="Run", exact=True).focus()
    keyboard.press("Enter")
    panel.await_state("join", "succeeded")
    panel.row("load").focus()
    keyboard.press("ArrowDown")
    second = focused(panel)
    assert second not in ("", "load")
    expect(panel.row(second)).to_have_attribute("aria-selected", "true")
    keyboard.press("End")
    assert focused(panel) == "join"
    for key in ("a", "b", "x", "m"):
        keyboard.press(key)
    assert panel.page.evaluate(CELLS) == before
    panel.opened.set_source(5, "%%step right -i rows -o b\nb = rows[-1]")
    panel.await_state("right", "stale")
    assert focused(panel) == "join"
    expect(panel.row("join")).to_have_attribute("aria-selected", "true")
    keyboard.press("Enter")
    panel.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex === 5")


def test_the_graph_works_from_the_keyboard(lab: FrontEndServer, context: BrowserContext) -> None:
    gated(lab, "arrows.ipynb", *cells("arrows"))
    panel = open_panel(context, lab, "arrows.ipynb")
    panel.opened.run_all()
    page, keyboard = panel.page, panel.page.keyboard
    output = page.locator(".jp-OutputArea .jpg").locator("visible=true").first
    output.locator('[data-id="load"]').click()
    before = page.evaluate(CELLS)
    keyboard.press("ArrowRight")
    assert focused(panel) in ("left", "right")
    keyboard.press("ArrowRight")
    assert focused(panel) == "join"
    for key in ("a", "b", "x", "m", "+", "-", "0"):
        keyboard.press(key)
    assert page.evaluate(CELLS) == before
    keyboard.press("/")
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Search steps"
    keyboard.type("right")
    keyboard.press("Enter")
    output.locator(".jpg-detailpane h3", has_text="right").wait_for()
    assert page.evaluate(CELLS) == before
    assert panel.opened.problems == []


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_machine_that_looks_for_barriers_finds_none(lab: FrontEndServer, context: BrowserContext, theme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core comes with `npm ci` in labextension/")
    name = f"barriers-{theme}.ipynb"
    gated(lab, name, *cells(name))
    panel = open_panel(context, lab, name)
    panel.opened.command("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
    panel.press("Run")
    panel.await_state("join", "succeeded")
    panel.opened.set_source(6, "%%step join -i a,b -o text\ntext = f'{a} {b}!'")
    panel.await_state("join", "stale")
    panel.select("load").get_by_role("button", name="Look at rows").click()
    panel.box.locator(".jpg-preview").wait_for()
    panel.open_section("Parameters")
    panel.open_section("Runs")
    panel.box.locator(".jpp-run").first.click()
    panel.box.locator(".jpp-ganttrow").first.wait_for()
    panel.opened.run_all()
    panel.page.locator('.jp-OutputArea .jpg [data-id="load"]').locator("visible=true").first.click()
    panel.page.screenshot(path=screenshot(f"panel-{theme.lower()}"))
    assert violations(panel) == []


def violations(panel: SidePanel) -> list[Any]:
    panel.page.add_script_tag(path=AXE)
    return list(
        panel.page.evaluate(
            """async () => {
              const places = [['#jupyter-pipelines-panel'], ['.jp-OutputArea .jpg']];
              const {violations} = await window.axe.run({include: places});
              return violations.filter(violation => ['serious', 'critical'].includes(violation.impact))
                .map(({id, nodes}) => [id, nodes.slice(0, 3).map(node => `${node.html} ${node.failureSummary}`)]);
            }"""
        )
    )
