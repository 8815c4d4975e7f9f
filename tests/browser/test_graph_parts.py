"""Test the graph widget alone in a browser, with a simulated kernel: keys, focus, touch, sizes, odd names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from playwright.sync_api import expect

import jupyter_pipelines as jp
from jupyter_pipelines.interfaces.jupyter.widgets import SCRIPT
from jupyter_pipelines.reporting.graph_json import graph_document
from tests.browser.notebook_page import write_notebook

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

ACTIVE = "() => document.activeElement.closest('[data-id]')?.getAttribute('data-id') ?? ''"
START = """async ([script, graph, kernel]) => {
  const {default: widget} = await import(URL.createObjectURL(new Blob([script], {type: 'text/javascript'})));
  const listeners = {};
  const values = {graph, statuses: {steps: {}}, selected: ''};
  window.sent = [];
  window.values = values;
  const model = {
    get: name => values[name],
    set: (name, value) => { values[name] = value; },
    save_changes() {},
    on(name, listener) { (listeners[name] ??= []).push(listener); },
    off() {},
    send(content) { window.sent.push(content); },
    widget_manager: {kernel: kernel ? {status: 'idle'} : null},
  };
  window.fire = (name, value) => (listeners[name] ?? []).forEach(listener => listener(value));
  window.give = graph => { values.graph = graph; window.fire('change:graph'); };
  window.tell = steps => window.fire('msg:custom', {statuses: {steps, ...window.more}});
  const home = document.createElement('div');
  document.body.append(home);
  window.end = widget.render({model, el: home});
}"""


class WidgetPage:
    """Browser page that shows a single widget."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.set_content("<!doctype html><meta charset=utf-8><body>")

    def start(self, graph: dict[str, Any], *, kernel: bool = True) -> None:
        self.page.evaluate(START, [SCRIPT.read_text(encoding="utf-8"), graph, kernel])

    def press(self, *keys: str) -> str:
        for key in keys:
            self.page.keyboard.press(key)
        return self.active

    def node(self, name: str) -> Any:
        return self.page.locator(f'.jpg-svg [data-id="{name}"]')

    def tell(self, **steps: dict[str, Any]) -> None:
        self.page.evaluate("steps => window.tell(steps)", steps)

    def stops(self) -> list[str]:
        """Return the boxes that Tab reaches and that can be seen."""
        visible_ids = "all => all.filter(box => box.getAttribute('display') !== 'none').map(box => box.dataset.id)"
        return list(self.page.locator('.jpg-node[tabindex="0"]').evaluate_all(visible_ids))

    def button(self, name: str) -> Any:
        return self.page.get_by_role("button", name=name, exact=True)

    @property
    def active(self) -> str:
        return str(self.page.evaluate(ACTIVE))


@pytest.fixture
def shown(context: BrowserContext) -> Iterator[WidgetPage]:
    widget_page = WidgetPage(context.new_page())
    yield widget_page
    assert widget_page.errors == []


@pytest.fixture
def graph(tmp_path: Path) -> dict[str, Any]:
    return drawn(
        tmp_path,
        "%%step load -o rows --retries 2\nrows = [1]",
        "%%step left -i rows -o a\na = 1",
        "%%step right -i rows -o b\nb = 1",
        "%%step join -i a,b -o c\nc = a + b",
    )


def drawn(folder: Path, *cells: str) -> dict[str, Any]:
    return graph_document(jp.read(write_notebook(folder / "one.ipynb", *cells)))


def chained_steps(folder: Path, count: int) -> dict[str, Any]:
    return drawn(
        folder,
        *(
            f"%%step s{number}{f' -i v{number - 9}' if number > 8 else ''} -o v{number}\nv{number} = 1"
            for number in range(count)
        ),
    )


def test_keys_walk_along_lines(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    shown.node("load").focus()
    assert shown.press("ArrowRight") in ("left", "right")
    assert shown.press("ArrowRight") == "join"
    assert shown.press("Home") == "load"
    assert shown.press("End") == "join"
    assert shown.press("+", "-", "0") == "join"


def test_escape_lets_go_of_the_step_everywhere(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    shown.node("left").click()
    shown.page.locator(".jpg-detailpane h3", has_text="left").wait_for()
    assert shown.press("Escape") == "left"
    assert shown.page.locator(".jpg-detailpane").is_hidden()
    assert shown.button("Run to here").is_disabled()
    assert shown.button("Force").is_disabled()
    assert shown.page.evaluate("() => window.values.selected") == ""
    assert shown.stops() == ["left"]


def test_focus_outlives_a_new_graph(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    shown.node("left").click()
    shown.page.evaluate("graph => window.give({...graph, title: 'again'})", graph)
    assert shown.active == "left"
    fewer = {**graph, "nodes": [node for node in graph["nodes"] if node["id"] != "left"]}
    fewer["edges"] = [edge for edge in graph["edges"] if "left" not in (edge["from"], edge["to"])]
    shown.page.evaluate("graph => window.give(graph)", fewer)
    assert shown.active == "load"
    assert shown.stops() == ["load"]
    assert shown.page.locator(".jpg-detailpane").is_hidden()
    assert shown.page.evaluate("() => window.values.selected") == ""


def test_tab_reaches_a_large_graph_whatever_is_seen_of_it(shown: WidgetPage, tmp_path: Path) -> None:
    shown.start(chained_steps(tmp_path, 400))
    assert len(shown.stops()) == 1
    shown.button("Groups").click()
    assert len(shown.stops()) == 1
    shown.node(shown.stops()[0]).focus()
    last = shown.press("End")
    assert shown.stops() == [last]
    shown.press(*["+"] * 12)
    box = shown.page.locator(".jpg-svg").bounding_box()
    shown.page.mouse.move(box["x"] + 5, box["y"] + 5)
    for _ in range(3):
        shown.page.mouse.down()
        shown.page.mouse.move(box["x"] + 900, box["y"] + 5)
        shown.page.mouse.up()
        shown.page.mouse.move(box["x"] + 5, box["y"] + 5)
    assert shown.stops() == [last]
    shown.button("Groups").click()
    assert len(shown.stops()) == 1


def test_without_a_kernel_it_says_so(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph, kernel=False)
    assert "no kernel" in shown.page.locator(".jpg-headline").inner_text()
    shown.node("left").click()
    for name in ("Run", "Run to here", "Force", "Cancel"):
        assert shown.button(name).is_disabled()


def test_a_kernel_that_ends_is_told_and_one_that_answers_counts_again(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    assert shown.button("Run").is_enabled()
    shown.page.evaluate("() => window.fire('comm_live_update')")
    assert shown.button("Run").is_disabled()
    shown.tell(left={"state": "succeeded"})
    assert shown.button("Run").is_enabled()
    assert "no kernel" not in shown.page.locator(".jpg-headline").inner_text()


def test_a_kernel_that_never_answers_is_told_once_asked(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.page.clock.install()
    shown.start(graph)
    shown.tell(left={"state": "failed", "notebook": "x.ipynb", "error": {"message": "no"}})
    shown.node("left").click()
    shown.page.clock.run_for(100)
    shown.button("Executed notebook").click()
    shown.page.clock.run_for(25_000)
    assert "does not answer" in shown.page.locator(".jpg-headline").inner_text()
    shown.page.evaluate("() => window.end()")
    assert shown.page.locator(".jpg").count() == 0


def test_two_fingers_zoom(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    scales = shown.page.evaluate(
        """() => {
          const surface = document.querySelector('.jpg-svg');
          surface.setPointerCapture = () => {};
          const scale = () => surface.firstChild.transform.baseVal.consolidate().matrix.a;
          const fire = (kind, pointerId, clientX, clientY) => surface.dispatchEvent(
            new PointerEvent(kind, {pointerId, clientX, clientY, pointerType: 'touch', bubbles: true, button: 0}));
          const frame = () => new Promise(requestAnimationFrame);
          const before = scale();
          fire('pointerdown', 1, 100, 100);
          fire('pointerdown', 2, 200, 100);
          fire('pointermove', 2, 250, 100);
          fire('pointerup', 2, 250, 100);
          fire('pointerup', 1, 100, 100);
          fire('pointermove', 1, 500, 100);
          return frame().then(frame).then(() => [before, scale()]);
        }"""
    )
    assert scales[1] / scales[0] == pytest.approx(1.5, rel=0.01)


def test_what_a_step_asks_for_stays_and_progress_is_a_bar(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    shown.tell(load={"state": "running", "cell": 3, "cells": 4, "since": "2026-01-01T00:00:00+00:00"})
    whole = shown.node("load").locator(".jpg-box").bounding_box()["width"]
    assert shown.node("load").locator(".jpg-progress").bounding_box()["width"] > 0.4 * whole
    shown.tell(load={"state": "succeeded", "seconds": 1.5, "detail": "because"})
    text = shown.node("load").text_content()
    assert "retries 2" in text
    assert "because" in text
    assert shown.node("load").locator(".jpg-progress").count() == 0


def test_an_opened_preview_stays_and_is_read_again_when_the_state_changes(
    shown: WidgetPage, graph: dict[str, Any]
) -> None:
    def answer(text: str) -> None:
        asked = "() => window.sent.filter(message => message.do === 'preview').length"
        shown.page.wait_for_function(f"count => ({asked})() > count", arg=len(answers))
        answers.append(text)
        detail = {"do": "preview", "step": "load", "output": "rows", "preview": {"name": "rows", "text": text}}
        shown.page.evaluate("detail => window.fire('msg:custom', {detail})", detail)

    answers: list[str] = []
    shown.start(graph)
    shown.node("load").click()
    shown.page.get_by_role("button", name="Look at rows").click()
    answer("first")
    preview = shown.page.locator(".jpg-detailpane .jpg-preview")
    expect(preview).to_contain_text("first")
    shown.tell(load={"state": "succeeded"})
    shown.page.locator(".jpg-detailpane h3", has_text="done").wait_for()
    expect(preview).to_contain_text("first")
    answer("second")
    expect(preview).to_contain_text("second")
    shown.node("left").click()
    expect(preview).to_have_count(0)


def test_what_a_result_depends_on_is_asked_for_once_for_each_state(shown: WidgetPage, graph: dict[str, Any]) -> None:
    asked = "window.sent.filter(message => message.do === 'dependencies').length"

    def answer(step: str, **more: Any) -> None:
        detail = {"do": "dependencies", "step": step, **more}
        shown.page.evaluate("detail => window.fire('msg:custom', {detail})", detail)

    shown.start(graph)
    shown.node("load").click()
    answer("load", lines=["it read <b>data.csv</b>", "and 3 more"])
    depends = shown.page.locator(".jpg-detailpane .jpg-dependencies")
    expect(depends.locator("h4")).to_have_text("depends on")
    expect(depends.locator("li")).to_have_text(["it read <b>data.csv</b>", "and 3 more"])
    # Progress of a step that runs is no reason to ask again.
    for cell in (1, 2, 3):
        shown.tell(load={"state": "running", "cell": cell, "cells": 4, "key": "k1"})
    answer("load", lines=["it read old.csv"])
    expect(depends.locator("li")).to_have_text(["it read old.csv"])
    assert shown.page.evaluate(asked) == 2
    shown.tell(load={"state": "succeeded", "key": "k1"})
    answer("load", lines=["it read new.csv"])
    expect(depends.locator("li")).to_have_text(["it read new.csv"])
    assert shown.page.evaluate(asked) == 3
    # Nothing is stored, or the question is refused: nothing is shown, and no error.
    shown.node("left").click()
    answer("left", lines=[])
    shown.node("join").click()
    answer("join", message="there is no step `join`", faults=[{"code": "JP603"}])
    expect(shown.page.locator(".jpg-detailpane h3")).to_have_text("join")
    expect(depends).to_have_text("")
    expect(shown.page.get_by_text("there is no step")).to_have_count(0)


def test_steps_may_be_called_like_what_objects_have(shown: WidgetPage, tmp_path: Path) -> None:
    shown.start(drawn(tmp_path, "%%step constructor -o a\na = 1", "%%step toString -i a\nprint(a)"))
    shown.tell(constructor={"state": "succeeded"})
    shown.tell(toString={"state": "valueOf"})
    shown.node("toString").click()
    heading = shown.page.locator(".jpg-detailpane h3", has_text="toString")
    heading.wait_for()
    assert heading.count() == 1


def test_height_follows_the_width(shown: WidgetPage, tmp_path: Path) -> None:
    shown.page.set_viewport_size({"width": 1200, "height": 800})
    shown.start(chained_steps(tmp_path, 60))
    height = "() => document.querySelector('.jpg-canvas').clientHeight"
    shown.page.set_viewport_size({"width": 420, "height": 800})
    shown.page.wait_for_function("wide => document.querySelector('.jpg-svg').clientWidth < 420", arg=0)
    right = "() => document.querySelector('.jpg-svg g g:last-child').getBoundingClientRect().right"
    shown.page.wait_for_function(f"() => ({right})() <= 420")
    assert shown.page.evaluate(height) >= 120


def test_the_picture_needs_nothing_else(shown: WidgetPage, graph: dict[str, Any]) -> None:
    shown.start(graph)
    shown.tell(left={"state": "succeeded", "seconds": 1, "detail": "a \x01 & <b>"})
    with shown.page.expect_download() as waiting:
        shown.button("Save picture").click()
    assert waiting.value.suggested_filename.endswith(".svg")
    text = waiting.value.path().read_text(encoding="utf-8")
    tree = ET.fromstring(text)
    assert "var(" not in text
    assert "class=" not in text
    texts = {element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")}
    assert {"load", "left", "right", "join"} <= texts
    assert all(element.get("fill") for element in tree.iter("{http://www.w3.org/2000/svg}text"))
