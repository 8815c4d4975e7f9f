"""Runs that outlive what started them, seen from the panel: closed tabs, killed servers, cancelled runs."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.browser.jupyter_apps import front_end_server
from tests.browser.notebook_page import OpenNotebook
from tests.browser.side_panel import WAIT, gated, open_panel
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer


def cells(mark: str) -> tuple[str, str]:
    return (
        f"%%step gate -o passed\nprint('waits for {mark}', flush=True)\n{WAIT}passed = {mark!r}",
        "%%step after -i passed -o text\ntext = passed * 2",
    )


def test_a_page_reopened_during_a_run_shows_its_state(either: FrontEndServer, context: BrowserContext) -> None:
    name = f"back-{either.app}.ipynb"
    go = gated(either, name, *cells(name))
    panel = open_panel(context, either, name)
    panel.press("Run")
    panel.await_state("gate", "running")
    panel.page.close()
    panel = open_panel(context, either, name)
    panel.await_state("gate", "running")
    panel.await_state("after", "waiting")
    panel.select("gate").locator("pre", has_text=f"waits for {name}").wait_for()
    go.touch()
    panel.await_state("after", "succeeded")
    panel.page.close()
    panel = open_panel(context, either, name)
    panel.await_state("after", "succeeded")


def test_a_run_is_cancelled_and_what_was_done_is_kept(lab: FrontEndServer, context: BrowserContext) -> None:
    gated(
        lab, "stop.ipynb", "%%step first -o one\none = 'stop'", "%%step gate -i one -o passed\n" + WAIT + "passed = 1"
    )
    panel = open_panel(context, lab, "stop.ipynb")
    panel.press("Run")
    panel.await_state("gate", "running")
    panel.press("Cancel")
    panel.await_state("gate", "cancelled")
    panel.box.get_by_role("button", name="Run", exact=True).wait_for()
    expect(panel.row("first")).to_have_attribute("data-state", re.compile("succeeded|reused"))


def test_runs_are_listed_looked_into_and_compared(lab: FrontEndServer, context: BrowserContext) -> None:
    go = gated(lab, "listed.ipynb", *cells("listed"))
    go.touch()
    panel = open_panel(context, lab, "listed.ipynb")
    panel.press("Run")
    panel.await_state("after", "succeeded")
    panel.opened.set_source(2, "%%step after -i passed -o text\ntext = passed * 3")
    panel.await_state("after", "stale")
    panel.press("Run")
    panel.await_state("gate", "reused")
    panel.box.locator(".jpp-state", has_text="all 2 steps up to date").wait_for()
    panel.open_section("Runs")
    runs = panel.box.locator(".jpp-run")
    runs.nth(1).wait_for()
    runs.nth(0).click()
    panel.box.locator('.jpp-ganttrow[aria-label^="after: done"]').wait_for()
    for box in panel.box.locator(".jpp-runrow input").all():
        box.check()
    panel.press("Compare two")
    panel.box.locator(".jpp-runs pre", has_text="reused").wait_for()


def test_a_server_that_was_killed_comes_back_to_the_run(tmp_path: Path, context: BrowserContext) -> None:
    folder, private, port = tmp_path / "notebooks", tmp_path / "private", free_port()
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    with front_end_server("lab", folder, private, port=port) as first:
        go = gated(first, "killed.ipynb", *cells("killed"))
        panel = open_panel(context, first, "killed.ipynb")
        panel.press("Run")
        panel.await_state("gate", "running")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        panel.box.locator(".jpp-trouble", has_text="does not answer").wait_for()
    with front_end_server("lab", folder, private, port=port):
        panel.box.locator(".jpp-trouble").wait_for(state="hidden")
        panel.await_state("gate", "running")
        go.touch()
        panel.await_state("after", "succeeded")


def test_two_runs_at_once_do_not_take_turns_in_what_is_shown(lab: FrontEndServer, context: BrowserContext) -> None:
    go = gated(lab, "two.ipynb", *cells("two"))
    panel = open_panel(context, lab, "two.ipynb")
    panel.press("Run")
    panel.await_state("gate", "running")
    shown = running(panel.opened)
    start_another(panel.opened)
    panel.box.locator(".jpp-state", has_text="1 more at work").wait_for()
    assert running(panel.opened) == shown
    expect(panel.row("gate", "running")).to_have_count(1)
    go.touch()
    panel.box.get_by_role("button", name="Run", exact=True).wait_for()
    panel.box.locator(".jpp-state", has_text="all 2 steps up to date").wait_for()


def running(opened: OpenNotebook) -> str:
    return str(opened.page.evaluate("() => document.querySelector('#jupyter-pipelines-panel .jpp-state').dataset.run"))


def start_another(opened: OpenNotebook) -> None:
    """Start a run of the same notebook that the panel did not ask for."""
    opened.page.evaluate(
        """async () => {
          const settings = window.jupyterapp.serviceManager.serverSettings;
          const cookie = document.cookie.match(/_xsrf=([^;]*)/)?.[1] ?? '';
          const ask = (route, body) => fetch(settings.baseUrl + 'jupyter-pipelines/api/' + route, {
            method: 'POST', body: JSON.stringify(body),
            headers: {
              'Content-Type': 'application/json', 'X-XSRFToken': cookie, Authorization: 'token ' + settings.token,
            },
          }).then(answer => answer.json());
          const path = window.jupyterapp.shell.currentWidget.context.path;
          const {id} = await ask('notebooks', {path});
          return (await ask(`notebooks/${id}/runs`, {cells: null, parameters: {}})).run;
        }"""
    )
