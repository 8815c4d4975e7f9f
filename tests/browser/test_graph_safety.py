"""Test that foreign texts in panel, widget and saved output are shown as text, and never interpreted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests import payloads
from tests.browser.notebook_page import OpenNotebook, write_notebook
from tests.browser.side_panel import SidePanel, open_first, open_panel

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext

    from tests.browser.jupyter_apps import FrontEndServer

STRANGE = """() => {
  const roots = [...document.querySelectorAll('#jupyter-pipelines-panel, .jpg, .jpc-badges, .jp-toast, .Toastify')];
  const found = [];
  const kinds = ['script', 'iframe', 'object', 'embed', 'link', 'meta', 'base', 'form', 'template', 'marquee',
    'video', 'math', 'foreignobject', 'animate', 'use', 'a', 'input[autofocus]'].join();
  const addresses = ['href', 'src', 'xlink:href', 'action', 'srcdoc'];
  for (const element of roots.flatMap(root => [...root.querySelectorAll('*')])) {
    if (element.matches(kinds)) {
      found.push(element.outerHTML.slice(0, 200));
    }
    for (const {name, value} of element.attributes) {
      if (/^on/i.test(name) || (addresses.includes(name) && !value.startsWith('data:image/png'))) {
        found.push(`${element.tagName} ${name}=${value}`.slice(0, 200));
      }
    }
  }
  return {found, hit: window.hit ?? null};
}"""


def write_payload_notebook(path: Path) -> None:
    """Write a notebook that has every payload in every text that a user can write."""
    described = [text for text in payloads.ALL if text.isprintable()]
    parameters = "\n".join(f"p{number}: str = {text!r}  # {text}" for number, text in enumerate(described))
    everything = repr(list(payloads.ALL))
    write_notebook(
        path,
        "%load_ext jupyter_pipelines",
        f"%%params\n{parameters}",
        f"%%step said -o texts\ntexts = {everything}\nprint('\\n'.join(texts), flush=True)",
        "%%step framed -i texts -o frame\nimport pandas\nframe = pandas.DataFrame({text: [text] for text in texts})",
        "%%step wrong -i texts -p p0\nraise ValueError('\\n'.join(texts))",
        "%%step used -o n\n" + "\n".join(f"p{number}" for number in range(len(described))) + "\nn = 1",
        "%pipeline show",
    )


def assert_harmless(opened: OpenNotebook) -> None:
    assert opened.dialogs == []
    assert opened.outside == []
    assert opened.page.evaluate(STRANGE) == {"found": [], "hit": None}


def test_no_text_becomes_markup_anywhere(either: FrontEndServer, context: BrowserContext) -> None:
    write_payload_notebook(either.folder / "texts.ipynb")
    panel = open_panel(context, either, "texts.ipynb")
    panel.await_state("wrong", "never run")
    panel.open_section("Parameters")
    for text in payloads.SCRIPTS[:1] + payloads.HANDLERS[:1]:
        expect(panel.box.locator(".jpp-form")).to_contain_text(text)
    panel.press("Run")
    panel.await_state("wrong", "failed")
    expect(panel.select("wrong").get_by_role("alert").first).to_contain_text("<script>alert(1)</script>")
    pane = panel.select("said")
    pane.get_by_role("button", name="Show the log").click()
    pane.locator("pre", has_text="onerror=alert(1)").first.wait_for()
    pane.get_by_role("button", name="Look at texts").click()
    pane.locator(".jpg-preview").wait_for()
    assert_harmless(panel.opened)
    panel.select("framed").get_by_role("button", name="Look at frame").click()
    pane.locator(".jpg-table").wait_for()
    assert_harmless(panel.opened)
    check_widget(panel)


def check_widget(panel: SidePanel) -> None:
    opened = panel.opened
    opened.page.evaluate(
        """async () => {
          const notebook = window.jupyterapp.shell.currentWidget.content;
          for (const index of [0, notebook.widgets.length - 1]) {
            notebook.activeCellIndex = index;
            await window.jupyterapp.commands.execute('notebook:run-cell');
          }
        }"""
    )
    output = opened.page.locator(".jp-OutputArea .jpg")
    output.locator('[data-id="wrong"]').locator("visible=true").first.click()
    output.locator(".jpg-detailpane").locator("visible=true").wait_for()
    assert_harmless(opened)
    opened.save()
    saved = (panel.opened.server.folder / "texts.ipynb").read_text()
    assert len(saved) < 400_000
    opened.page.close()
    again = open_first(panel.page.context, opened.server, "texts.ipynb")
    again.page.locator('.jp-OutputArea [data-id="wrong"]').locator("visible=true").first.wait_for()
    assert_harmless(again)


def test_a_saved_graph_is_shown_without_a_kernel_and_without_trust(
    either: FrontEndServer, context: BrowserContext
) -> None:
    """Reopened without a kernel's memory of the widget, and in a notebook that is not trusted."""
    path = write_notebook(
        either.folder / "saved.ipynb",
        "%load_ext jupyter_pipelines",
        "%%step one -o a\na = 'saved'",
        "%%step two -i a -o b\nb = a",
        "%pipeline show",
    )
    opened = open_first(context, either, "saved.ipynb")
    opened.run_all()
    opened.page.locator('.jp-OutputArea [data-id="two"]').locator("visible=true").first.wait_for()
    opened.save()
    opened.page.close()
    document = json.loads(path.read_text())
    assert len(path.read_text()) < 60_000
    assert "widgets" not in document["metadata"]
    trusted = open_first(context, either, "saved.ipynb")
    assert_shown(trusted)
    trusted.page.close()
    for cell in document["cells"]:
        cell["metadata"].pop("trusted", None)
    document["metadata"]["about"] = "another text, which nobody has signed"
    foreign = either.folder / "foreign.ipynb"
    document["cells"][1]["source"] = "%%step one -o a\na = 'foreign'"
    foreign.write_text(json.dumps(document))
    assert_shown(open_first(context, either, "foreign.ipynb"))


def assert_shown(opened: OpenNotebook) -> None:
    opened.page.locator('.jp-OutputArea [data-id="two"]').locator("visible=true").first.wait_for()
    assert "model not found" not in opened.page.locator(".jp-Notebook").locator("visible=true").first.inner_text()
    assert opened.outside == []
    assert opened.problems == []
