"""Test foreign texts where a user writes, chooses and compares: form, completion, help, conversion, paths, runs."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from playwright.sync_api import expect

from tests import payloads
from tests.browser.notebook_page import OpenNotebook, write_notebook
from tests.browser.side_panel import SidePanel, open_first, open_panel
from tests.browser.test_cells import activate, begin

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer

PICTURE = "<img src=x onerror=window.hit=1>"
DRAWING = "<svg onload=window.hit=1>"
LINES = [text for text in payloads.ALL if text.isprintable()]
STRANGE = """() => {
  const roots = ['#jupyter-pipelines-panel', '.jpg', '.jp-Dialog-body', '.jp-Completer', '.jpc-hover', '.jpc-badges',
    '.lm-TabBar-tabLabel', '.jp-toast'];
  const kinds = 'script, object, embed, link, meta, base, form, template, marquee, video, math, foreignobject, '
    + 'animate, a[href^="javascript:"], [onerror], [onload], [autofocus], img:not([src^="data:image/png"]), '
    + 'iframe:not([sandbox=""])';
  const found = [...document.querySelectorAll(roots.join())].flatMap(root => [...root.querySelectorAll(kinds)]);
  const handled = [...document.querySelectorAll('*')].filter(element => [...element.attributes].some(
    ({name, value}) => /^on/i.test(name) && /alert|hit/.test(value)));
  return {found: [...found, ...handled].map(element => element.outerHTML.slice(0, 200)), hit: window.hit ?? null};
}"""

WHERE = """(line, word) => {
  const walker = document.createTreeWalker(line, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.data.indexOf(word);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(walker.currentNode, at);
    range.setEnd(walker.currentNode, at + 1);
    const {x, y, width, height} = range.getBoundingClientRect();
    return {x: x + width / 2, y: y + height / 2};
  }
}"""


def assert_harmless(opened: OpenNotebook) -> None:
    assert opened.dialogs == []
    assert opened.outside == []
    assert opened.page.evaluate(STRANGE) == {"found": [], "hit": None}


def test_what_is_written_into_the_form_is_text(lab: FrontEndServer, context: BrowserContext) -> None:
    """S02: the name, the words of options, what is inferred, and what is wrong with them."""
    write_notebook(
        lab.folder / "form.ipynb",
        f"%%params\np: str = {PICTURE!r}  # {PICTURE}",
        f"%%step one -i 'a={PICTURE}' -o x\nx = a",
        "print(1)",
    )
    opened = open_first(context, lab, "form.ipynb")
    opened.page.locator(".jpc-badge, .jpc-fault").first.wait_for()
    activate(opened, 2)
    begin(opened, "jupyter-pipelines:mark-step")
    form = opened.page.locator(".jpc-form")
    form.wait_for()
    expect(form.get_by_label("Inputs", exact=True)).to_have_value(re.compile(re.escape(PICTURE)))
    assert_harmless(opened)
    for number, text in enumerate((*LINES[:3], PICTURE, DRAWING)):
        form.get_by_label("Name", exact=True).fill(f"{text} {number}")
        form.locator(".jpc-preview", has_text=f"{text} {number}").wait_for()
        expect(form.locator(".jpc-wrong")).to_contain_text("JP103")
        assert_harmless(opened)


def test_what_is_offered_and_explained_is_text(lab: FrontEndServer, context: BrowserContext) -> None:
    """S02: names of files, descriptions of parameters."""
    (lab.folder / f"d{PICTURE}").write_text("1")
    (lab.folder / f"d{DRAWING}").write_text("2")
    described = "\n".join(f"p{number}: int = {number}  # {text}" for number, text in enumerate(LINES))
    write_notebook(lab.folder / "offered.ipynb", f"%%params\n{described}", "%%step one -o x\nx = 1")
    opened = open_first(context, lab, "offered.ipynb")
    opened.page.locator(".jpc-badge").first.wait_for()
    for typed, offered in (("-i a=d", f"a='d{PICTURE}'"), ("-p p", "p0")):
        opened.set_source(2, f"%%step one {typed}\nx = 1")
        line = opened.page.locator(".jp-Notebook-cell").nth(1).locator(".cm-line").first
        line.click(position={"x": 400, "y": 8})
        opened.page.keyboard.press("End")
        opened.page.keyboard.press("Tab")
        opened.page.locator(".jp-Completer-item", has_text=offered).first.wait_for()
        for _ in range(6):
            opened.page.keyboard.press("ArrowDown")
            assert_harmless(opened)
        opened.page.keyboard.press("Escape")
    for number in (0, 10, 21):
        opened.set_source(2, f"%%step one -p p{number} -o x\nx = p{number}")
        line = opened.page.locator(".jp-Notebook-cell").nth(1).locator(".cm-line").first
        opened.page.mouse.move(0, 0)
        position = line.evaluate(WHERE, f"p{number}")
        opened.page.mouse.move(position["x"], position["y"])
        opened.page.locator(".jpc-hover", has_text=LINES[number]).wait_for()
        assert_harmless(opened)


def test_paths_are_text(lab: FrontEndServer, context: BrowserContext) -> None:
    """S02: of the notebook and its folder, in panel, graph and conversion; and the page that it ends with."""
    folder = lab.folder / DRAWING
    folder.mkdir()
    name = f"{PICTURE}.ipynb"
    texts = repr(LINES)
    write_notebook(folder / name, f"# {PICTURE}", f"texts = {texts}", "print(texts)", f"n = 1  # {DRAWING}\nprint(n)")
    opened = open_first_at(context, lab, f"{DRAWING}/{name}")
    SidePanel(opened)
    assert_harmless(opened)
    begin(opened, "jupyter-pipelines:convert")
    dialog = opened.page.locator(".jp-Dialog-body")
    dialog.wait_for()
    expect(dialog.locator("input[type=text]")).to_have_value(f"{PICTURE}.pipeline.ipynb")
    assert_harmless(opened)
    dialog.locator("input[type=checkbox]").check()
    opened.page.get_by_role("button", name="Convert", exact=True).click()
    opened.page.locator("iframe.jp-pipelines-page").wait_for()
    inside = opened.page.frame_locator("iframe.jp-pipelines-page")
    inside.locator("body", has_text="onerror=").wait_for()
    assert inside.locator("script, iframe, object, embed, [onerror], [onload]").count() == 0
    assert_harmless(opened)


def test_what_a_store_says_of_runs_is_text(lab: FrontEndServer, context: BrowserContext) -> None:
    """S02: records of runs with foreign texts, states and names, shown and compared."""
    write_notebook(lab.folder / "runs.ipynb", "%%params\np: str = ''", "%%step one -p p -o x\nx = p")
    panel = open_panel(context, lab, "runs.ipynb")
    panel.open_section("Parameters")
    for text in (PICTURE, DRAWING):
        run_with(panel, text)
    for record in sorted((lab.folder / ".pipelines" / "runs").glob("*/run.json")):
        rewrite(record)
    panel.page.close()
    panel = open_panel(context, lab, "runs.ipynb")
    panel.open_section("Runs")
    runs = panel.box.locator(".jpp-run")
    runs.nth(1).wait_for()
    runs.nth(0).click()
    panel.box.locator(".jpp-given", has_text="onload").wait_for()
    assert_harmless(panel.opened)
    for box in panel.box.locator(".jpp-runrow input").all():
        box.check()
    panel.press("Compare two")
    panel.box.locator(".jpp-runs pre", has_text="onerror").wait_for()
    assert_harmless(panel.opened)


def open_first_at(context: BrowserContext, server: FrontEndServer, path: str) -> OpenNotebook:
    """Open a notebook whose path an address has to quote."""
    opened = OpenNotebook(context.new_page(), server)
    opened.page.goto(server.url(quote(path)), wait_until="domcontentloaded")
    opened.page.wait_for_function("path => window.jupyterapp?.shell?.currentWidget?.context?.path === path", arg=path)
    opened.wait_until_ready()
    return opened


def run_with(panel: SidePanel, text: str) -> None:
    """Run with a parameter, and wait for the end."""
    panel.box.get_by_label("p", exact=True).fill(text)
    panel.box.locator(".jpp-state", has_text="1 to run").wait_for()
    panel.press("Run")
    panel.await_state("one", "succeeded")
    panel.box.locator(".jpp-state", has_text="up to date").wait_for()


def rewrite(record: Path) -> None:
    """Put markup into what a record says in words."""
    document = json.loads(record.read_text())
    document["state"] = PICTURE
    for step in document["steps"]:
        step["reason"]["text"] = DRAWING
        step["state"] = PICTURE
    record.write_text(json.dumps(document))
