"""The way of a user through JupyterLab with the quickstart: see, run, break, read, debug, mend, extend, come back.

Leaves the screenshots that the documentation shows; ``make pictures`` takes them over.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import screenshot
from tests.browser.side_panel import SidePanel, open_panel

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer


NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FOREST = 11
STEPS = ("load", "split", "linear", "forest", "evaluate", "report")


@pytest.fixture
def quickstart(lab: FrontEndServer) -> FrontEndServer:
    for path in (NOTEBOOKS / "quickstart.ipynb", NOTEBOOKS / "tumours.py"):
        shutil.copy(path, lab.folder)
    return lab


def picture(panel: SidePanel, name: str) -> None:
    panel.page.mouse.move(700, 850)
    panel.page.screenshot(path=screenshot(name))


def await_badge(panel: SidePanel, step: str, state: str) -> None:
    panel.page.wait_for_selector(f'.jpc-badge[data-step="{step}"][data-state="{state}"]')


def test_the_way_through_the_quickstart(quickstart: FrontEndServer, context: BrowserContext) -> None:
    panel = open_panel(context, quickstart, "quickstart.ipynb")
    _see_and_run(panel)
    _break_and_read(panel)
    _debug(panel)
    _mend(panel)
    _extend(panel)
    _go_and_come_back(panel, quickstart, context)


def _see_and_run(panel: SidePanel) -> None:
    for step in STEPS:
        await_badge(panel, step, "never run")
    panel.press("Run")
    panel.await_state("report", "succeeded")
    await_badge(panel, "report", "succeeded")
    panel.opened.command("jupyter-pipelines:open-graph")
    panel.page.wait_for_selector(".jpg-canvas:visible .jpg-node")
    panel.select("evaluate").get_by_role("button", name="Look at scores").click()
    panel.box.locator(".jpg-preview").wait_for()
    picture(panel, "lab")
    panel.page.evaluate("() => window.jupyterapp.shell.currentWidget.close()")
    panel.page.wait_for_function("() => window.jupyterapp.shell.currentWidget?.context?.path === 'quickstart.ipynb'")


def _break_and_read(panel: SidePanel) -> None:
    good = panel.opened.source(FOREST)
    panel.opened.set_source(FOREST, good.replace("%%step forest", "%%step forest", 1) + '\ntrain["clump thickness"]')
    await_badge(panel, "forest", "stale")
    panel.press("Run")
    panel.await_state("forest", "failed")
    panel.await_state("report", "stale")
    pane = panel.select("forest")
    pane.get_by_text("KeyError: 'clump thickness'").first.wait_for()
    await_badge(panel, "forest", "failed")
    picture(panel, "lab-failed")


def _debug(panel: SidePanel) -> None:
    opened = panel.opened
    panel.select("forest").get_by_role("button", name="Debug in the kernel").click()
    panel.page.wait_for_selector(".jp-Notebook-cell >> text=%pipeline debug forest")
    assert opened.source(FOREST + 1) == "%pipeline debug forest"
    opened.page.evaluate(
        """async () => {
          const panel = window.jupyterapp.shell.widgets('main').next().value;
          const kernel = panel.context.sessionContext.session.kernel;
          await kernel.requestExecute({code: '%load_ext jupyter_pipelines'}).done;
        }"""
    )
    opened.command("notebook:run-cell")
    panel.page.wait_for_selector(".jp-OutputArea-output >> text=loaded: train")
    opened.command("notebook:delete-cell")


def _mend(panel: SidePanel) -> None:
    mended = panel.opened.source(FOREST).replace('\ntrain["clump thickness"]', "\nforest.n_features_in_")
    panel.opened.set_source(FOREST, mended)
    await_badge(panel, "forest", "stale")
    panel.press("Run")
    panel.await_state("forest", "succeeded")
    # The same forest comes out, to the byte: what follows is not computed again either.
    for step in ("load", "split", "linear", "evaluate", "report"):
        panel.await_state(step, "reused")
        badge = panel.page.locator(f'.jpc-badge[data-step="{step}"]')
        expect(badge).to_have_attribute("title", re.compile("run "))
    picture(panel, "lab-reused")


def _extend(panel: SidePanel) -> None:
    panel.opened.add_cell('best = max(scores, key=lambda name: scores[name]["accuracy"])\nbest')
    last = panel.page.evaluate(
        """() => {
          const panel = window.jupyterapp.shell.widgets('main').next().value;
          panel.content.activeCellIndex = panel.content.widgets.length - 1;
          window.jupyterapp.shell.activateById(panel.id);
          void window.jupyterapp.commands.execute('jupyter-pipelines:mark-step');
          return panel.content.widgets.length;
        }"""
    )
    panel.page.locator(".jpc-form pre", has_text="%%step").wait_for()
    picture(panel, "lab-form")
    panel.page.get_by_role("button", name="Write header").click()
    panel.row("best").wait_for()
    assert panel.opened.source(last).startswith("%%step best")


def _go_and_come_back(panel: SidePanel, quickstart: FrontEndServer, context: BrowserContext) -> None:
    panel.opened.command("docmanager:save")
    panel.press("Run")
    panel.page.wait_for_selector('.jpg-row[data-id="best"]:is([data-state="running"], [data-state="succeeded"])')
    panel.page.close()
    again = open_panel(context, quickstart, "quickstart.ipynb")
    again.await_state("best", "succeeded")
    again.opened.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
    again.page.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    again.page.wait_for_selector("#jupyterlab-splash", state="detached")
    picture(again, "lab-dark")
    again.page.set_viewport_size({"width": 900, "height": 820})
    picture(again, "lab-narrow")
    assert again.opened.problems == []
    assert again.opened.outside == []
