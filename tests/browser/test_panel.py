"""The panel beside a notebook, in a real browser: what is planned, what runs, what failed, what is reused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.side_panel import WAIT, gated, open_panel

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer


def cells(mark: str) -> list[str]:
    # Each notebook has values of its own: what another one has computed would be reused.
    return [
        f"%%params\ncount: int = 3  # how many of {mark}",
        f"%%step numbers -o numbers -p count\nnumbers = [{mark!r}] * count",
        "%%step gate -i numbers -o passed\n" + WAIT + "print('through the gate')\npassed = numbers",
        "%%step summary -i passed -o text\ntext = ', '.join(passed)",
    ]


def test_a_pipeline_is_run_broken_mended_and_reused_from_the_panel(
    either: FrontEndServer, context: BrowserContext
) -> None:
    name = f"journey-{either.app}.ipynb"
    go = gated(either, name, *cells(name))
    panel = open_panel(context, either, name)
    panel.await_state("summary", "never run")
    expect(panel.box.locator(".jpp-state")).to_have_text("3 to run")
    panel.press("Run")
    panel.await_state("gate", "running")
    panel.await_state("summary", "waiting")
    go.touch()
    panel.await_state("summary", "succeeded")
    panel.box.locator(".jpp-state", has_text="all 3 steps up to date").wait_for()
    pane = panel.select("gate")
    pane.get_by_role("button", name="Show the log").click()
    pane.locator("pre", has_text="through the gate").wait_for()
    pane.locator(".jpg-dependencies li", has_text=f"it looked for go-{name}").wait_for()
    panel.opened.set_source(4, "%%step summary -i passed -o text\ntext = passed[99]")
    panel.await_state("summary", "stale")
    panel.box.locator(".jpp-state", has_text="1 to run (summary), 2 to reuse").wait_for()
    panel.press("Run")
    panel.await_state("summary", "failed")
    pane = panel.select("summary")
    expect(pane.get_by_role("alert")).to_contain_text("IndexError")
    expect(pane.get_by_role("alert")).to_contain_text("cell 4, line 2")
    panel.await_state("numbers", "reused")
    panel.opened.set_source(4, "%%step summary -i passed -o text\ntext = '; '.join(passed)")
    panel.await_state("summary", "stale")
    panel.press("Run")
    panel.await_state("summary", "succeeded")
    pane = panel.select("gate")
    pane.get_by_text("computed by run").wait_for()
    pane = panel.select("summary")
    pane.get_by_role("button", name="Look at text").click()
    pane.locator(".jpg-preview pre", has_text=f"{name}; {name}").wait_for()
    assert panel.opened.problems == []
    assert panel.opened.outside == []


def test_names_that_every_object_has_are_names_of_steps(lab: FrontEndServer, context: BrowserContext) -> None:
    steps = ("%%step constructor -o a\na = 1", "%%step toString -i a -o b\nb = a", "%%step valueOf -i b\nb")
    gated(lab, "odd.ipynb", *steps)
    panel = open_panel(context, lab, "odd.ipynb")
    panel.await_state("constructor", "never run")
    panel.await_state("toString", "never run")
    panel.box.locator(".jpp-state", has_text="3 to run").wait_for()
    panel.press("Run")
    for step in ("constructor", "toString", "valueOf"):
        panel.await_state(step, "succeeded")
    assert panel.opened.problems == []


def test_faults_are_listed_and_the_last_good_graph_stays(lab: FrontEndServer, context: BrowserContext) -> None:
    gated(lab, "faults.ipynb", *cells("faults"))
    panel = open_panel(context, lab, "faults.ipynb")
    panel.await_state("summary", "never run")
    panel.opened.set_source(4, "%%step summary -i passed -o text\ntext = (")
    panel.box.locator(".jpp-problem", has_text="JP107").wait_for()
    panel.box.locator(".jpp-note", has_text="the last one that they made").wait_for()
    expect(panel.row("summary")).to_have_count(1)
    expect(panel.box.get_by_role("button", name="Run", exact=True)).to_be_disabled()
    panel.box.locator(".jpp-problem").first.click()
    panel.page.wait_for_function("() => window.jupyterapp.shell.currentWidget.content.activeCellIndex === 3")
    panel.opened.set_source(4, "%%step summary -i passed -o text\ntext = ''")
    panel.box.locator(".jpp-note").wait_for(state="hidden")


def test_texts_that_are_written_are_taken_back_by_one_undo(lab: FrontEndServer, context: BrowserContext) -> None:
    gated(lab, "undo.ipynb", "%%step numbers\nnumbers = [1]", "%%step total\ntotal = sum(numbers)")
    panel = open_panel(context, lab, "undo.ipynb")
    panel.await_state("total", "never run")
    before = [panel.opened.source(1), panel.opened.source(2)]
    panel.opened.command("jupyter-pipelines:freeze")
    panel.page.wait_for_function(
        """() => window.jupyterapp.shell.currentWidget.content.model.sharedModel
          .cells[1].getSource().includes('-i numbers')"""
    )
    panel.opened.command("notebook:undo-cell-action")
    assert [panel.opened.source(1), panel.opened.source(2)] == before


def test_parameters_are_given_in_the_panel(lab: FrontEndServer, context: BrowserContext) -> None:
    go = gated(lab, "given.ipynb", *cells("given"))
    go.touch()
    panel = open_panel(context, lab, "given.ipynb")
    panel.await_state("summary", "never run")
    panel.open_section("Parameters")
    field = panel.box.get_by_label("count")
    field.fill("many")
    panel.box.locator(".jpp-wrong").wait_for()
    field.fill("1")
    panel.box.locator(".jpp-wrong").wait_for(state="detached")
    panel.press("Run")
    panel.await_state("summary", "succeeded")
    pane = panel.select("summary")
    pane.get_by_role("button", name="Look at text").click()
    expect(pane.locator(".jpg-preview pre")).to_contain_text("given")
    assert "given, given" not in pane.locator(".jpg-preview pre").inner_text()
