"""Steps at their cells: badges, the form, names, completion, drag and drop."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.notebook_page import OpenNotebook, open_notebook, write_notebook

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Locator

    from tests.browser.jupyter_apps import FrontEndServer


PARAMS = "%%params\ntrees: int = 3    # how many"
LOAD = "%%step load -o rows\nrows = [1, 2, 3]"
FIT = "%%step fit -i rows -p trees -o model\nmodel = sum(rows) * trees"
CELLS = ("%load_ext jupyter_pipelines", PARAMS, LOAD, FIT, "# Report", "text = f'{model}'\nprint(text)")


def opened(context: BrowserContext, server: FrontEndServer, name: str, *cells: str) -> OpenNotebook:
    write_notebook(server.folder / name, *cells)
    page = open_notebook(context, server, name)
    page.page.wait_for_selector(".jpc-badge")
    return page


def badge(page: OpenNotebook, step: str) -> Locator:
    return page.page.locator(f'.jpc-badge[data-step="{step}"]')


def wait_for_state(page: OpenNotebook, step: str, state: str) -> None:
    page.page.wait_for_selector(f'.jpc-badge[data-step="{step}"][data-state="{state}"]')


def activate(page: OpenNotebook, number: int) -> None:
    page.page.evaluate("i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i }", number - 1)


def begin(page: OpenNotebook, command: str) -> None:
    """Start a command that waits for a dialog."""
    page.page.evaluate("name => { void window.jupyterapp.commands.execute(name) }", command)


def test_badges_say_what_is_known_and_follow_edits(either: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, either, "badges.ipynb", *CELLS)
    wait_for_state(page, "load", "never run")
    expect(badge(page, "fit")).to_have_text("fit: never run")
    page.command("jupyter-pipelines:run")
    wait_for_state(page, "fit", "succeeded")
    page.set_source(3, LOAD.replace("3]", "3, 4]"))
    wait_for_state(page, "load", "stale")
    expect(badge(page, "load")).to_have_attribute("title", re.compile("cell 3 changed"))
    assert not list(either.folder.glob(".pipelines/live/*"))  # nothing was executed by looking
    page.set_source(3, LOAD)
    wait_for_state(page, "load", "succeeded")
    page.set_source(4, FIT.replace("rows", "rosw", 1))
    page.page.wait_for_selector(".jpc-fault:has-text('JP202')")
    assert page.problems == []
    assert page.outside == []


def test_badges_come_in_long_notebooks(lab: FrontEndServer, context: BrowserContext) -> None:
    steps = [f"%%step s{number} -o x{number}\nx{number} = {number}" for number in range(300)]
    page = opened(context, lab, "long.ipynb", *steps)
    page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(280, 'smart')")
    expect(badge(page, "s280")).to_have_text("s280: never run")


def test_the_form_makes_a_step_and_undo_takes_it_back(either: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, either, "form.ipynb", *CELLS)
    activate(page, 6)
    begin(page, "jupyter-pipelines:mark-step")
    form = page.page.locator(".jpc-form")
    expect(form.get_by_label("Name")).to_have_value("report")
    form.locator("pre", has_text="%%step report").wait_for()
    form.get_by_label("write down inputs").check()
    form.locator("pre", has_text="-i model").wait_for()
    page.page.get_by_role("button", name="Write header").click()
    badge(page, "report").wait_for()
    assert page.source(6) == "%%step report -i model\ntext = f'{model}'\nprint(text)"
    page.page.locator(".jp-Notebook-cell").nth(5).locator(".cm-content").click()
    page.page.keyboard.press("Control+z")
    badge(page, "report").wait_for(state="detached")
    assert page.source(6) == CELLS[5]
    assert page.problems == []


def test_the_form_works_from_the_keyboard_and_tells_what_is_wrong(lab: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, lab, "keyboard.ipynb", *CELLS)
    activate(page, 6)
    begin(page, "jupyter-pipelines:mark-step")
    expect(page.page.locator(".jpc-form").get_by_label("Name")).to_be_focused()
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("load me")
    page.page.locator(".jpc-wrong", has_text="JP103").wait_for()
    page.page.keyboard.press("Control+a")
    page.page.keyboard.type("tell")
    page.page.locator(".jpc-preview", has_text="%%step tell").wait_for()
    page.page.keyboard.press("Enter")
    badge(page, "tell").wait_for()
    assert page.source(6).startswith("%%step tell\n")


def test_the_form_leaves_quotes_and_names_in_other_scripts_as_they_are(
    lab: FrontEndServer, context: BrowserContext
) -> None:
    header = '%%step größe -i दूरी="it\'s my file.csv" 表=\'a, "b".csv\' -o x'
    page = opened(context, lab, "quotes.ipynb", *CELLS[:3], f"{header}\nx = 1")
    activate(page, 4)
    begin(page, "jupyter-pipelines:mark-step")
    form = page.page.locator(".jpc-form")
    expect(form.get_by_label("Inputs", exact=True)).to_have_value('दूरी="it\'s my file.csv" 表=\'a, "b".csv\'')
    expect(form.locator("pre")).to_have_text(f"{header}\nx = 1")
    page.page.get_by_role("button", name="Write header").click()
    form.wait_for(state="detached")
    assert page.source(4) == f"{header}\nx = 1"


def test_a_step_is_renamed_everywhere(lab: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, lab, "rename.ipynb", *CELLS, "%%step use -i m=fit.model --after load\nprint(m)")
    activate(page, 4)
    begin(page, "jupyter-pipelines:rename-step")
    page.page.locator(".jp-Dialog input").fill("train")
    page.page.keyboard.press("Enter")
    badge(page, "train").wait_for()
    assert page.source(4) == FIT.replace("fit", "train")
    assert page.source(7) == "%%step use -i m=train.model --after load\nprint(m)"


def test_completion_and_help_inside_of_a_header(lab: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, lab, "words.ipynb", *CELLS)
    page.set_source(6, "%%step report -i mo\nprint(model)")
    editor = page.page.locator(".jp-Notebook-cell").nth(5).locator(".cm-content")
    editor.locator(".cm-line").first.click(position={"x": 400, "y": 8})
    page.page.keyboard.press("End")
    page.page.keyboard.press("Tab")
    page.page.locator(".jp-Completer-item", has_text="model").first.wait_for()
    page.page.keyboard.press("Enter")
    assert page.source(6).startswith("%%step report -i model\n")
    page.page.keyboard.press("Escape")
    editor.locator(".cm-line").first.hover(position={"x": 20, "y": 8})
    page.page.locator(".jpc-hover", has_text="inputs in, outputs out").wait_for()


def test_an_output_is_dropped_onto_a_step(lab: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, lab, "drop.ipynb", *CELLS, "%%step more -o n\nn = 1")
    badge(page, "more").wait_for()  # JupyterLab draws cells one after another
    page.page.locator(".jp-Notebook-cell").nth(6).evaluate(
        """cell => {
          const data = new DataTransfer();
          data.setData('application/x-jupyter-pipelines-output', 'fit.model');
          for (const name of ['dragover', 'drop']) {
            cell.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
          }
        }"""
    )
    page.page.wait_for_selector(".jp-Notebook-cell:nth-child(7) >> text=-i model")
    assert page.source(7) == "%%step more -i model -o n\nn = 1"


def test_the_menu_of_a_badge_runs_up_to_its_step(lab: FrontEndServer, context: BrowserContext) -> None:
    page = opened(context, lab, "menu.ipynb", *CELLS)
    badge(page, "load").click()
    page.page.get_by_text("Run Pipeline to Step").click()
    wait_for_state(page, "load", "succeeded")
    expect(badge(page, "fit")).to_have_attribute("data-state", "never run")


def axe(page: OpenNotebook, script: Path, *, inside: str) -> list[str]:
    page.page.add_script_tag(path=script)
    report = page.page.evaluate("where => axe.run(where, {resultTypes: ['violations']})", inside)
    return [
        f"{violation['id']}: {violation['help']}"
        for violation in report["violations"]
        if violation["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_form_and_badges_are_accessible(
    lab: FrontEndServer, context: BrowserContext, theme: str, axe_script: Path
) -> None:
    page = opened(context, lab, f"axe-{theme[-5:].strip()}.ipynb", *CELLS, "%%step bad -i nope -o x\nx = nope")
    page.command("apputils:change-theme", {"theme": theme})
    page.page.locator(".jpc-fault").first.wait_for()
    assert axe(page, axe_script, inside=".jpc-badges") == []
    activate(page, 6)
    begin(page, "jupyter-pipelines:mark-step")
    page.page.locator(".jpc-form").wait_for()
    assert axe(page, axe_script, inside=".jpc-form") == []
