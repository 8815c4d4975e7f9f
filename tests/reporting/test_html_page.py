"""Test HTML pages and MIME bundles."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from base64 import b64decode
from html.parser import HTMLParser

import pytest

from jupyter_pipelines.reporting.step_status import StepStatus, of_run
from jupyter_pipelines.reporting.svg.html_page import write_page
from jupyter_pipelines.reporting.svg.mimebundle import bundle
from jupyter_pipelines.reporting.svg.svg import GraphHeading
from tests.reporting.sample_graphs import PAYLOADS, models, pipeline, run_document, step


class TagCollector(HTMLParser):
    """Collect every element with its attributes, and the text, of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: set[tuple[str, tuple[str, ...]]] = set()
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_page_shows_everything_once_more_as_tables() -> None:
    step_statuses = of_run(run_document(load="reused", split="succeeded"))
    text = "".join(TagCollector(write_page(models(), step_statuses, values={"seed": 8})).text)
    for expected in (
        "↻ reused",
        "✓ done",
        "run 0b5e77",
        "raw",
        "(file)",
        "inferred",
        "where chance starts",
        "to be given",
    ):
        assert expected in text
    assert "8" in text
    assert "an integer (ge 1)" in text


def test_a_page_may_load_and_run_nothing() -> None:
    page = write_page(models())
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)\s*=", page)
    assert "<script" not in page


@pytest.mark.parametrize("payload", PAYLOADS)
def test_pages_hold_texts_of_others_as_text(payload: str) -> None:
    steps = step(payload, 1, (f"{payload.replace('=', '')}=a",), (payload,)), step("b", 2)
    step_statuses = {payload: StepStatus(state="run", detail=payload, notes=(payload,), seconds=1.0)}
    plain = {"p": StepStatus(state="run", detail="p", notes=("p",), seconds=1.0)}
    expected = TagCollector(write_page(pipeline(step("p", 1, ("f=a",), ("x" * 500,)), step("b", 2)), plain))
    tags = TagCollector(
        write_page(pipeline(*steps), step_statuses, heading=GraphHeading(title=payload, summary=payload))
    )
    assert {tag for tag, _ in tags.elements} <= {tag for tag, _ in expected.elements}
    assert tags.elements <= expected.elements | {("text", ("class", "fill", "font-size", "font-weight", "x", "y"))}


def test_a_bundle_has_a_form_for_every_reader() -> None:
    mimebundle = bundle(models(), run=run_document(load="reused", split="succeeded"))
    assert list(mimebundle) == ["text/plain", "text/html", "image/svg+xml"]
    assert mimebundle["text/plain"].startswith("churn  run 3f2a91: 1 of 2 steps reused, about 1 min 0 s saved")
    assert "load      ↻ reused" in mimebundle["text/plain"]
    ET.fromstring(mimebundle["image/svg+xml"])


def test_the_html_of_a_bundle_is_an_image_that_no_sanitizer_takes_out() -> None:
    html = bundle(models())["text/html"]
    tags = {tag for tag, _ in TagCollector(html).elements}
    assert tags == {"div", "img", "details", "summary", "pre"}
    image = re.search(r'src="data:image/svg\+xml;base64,([^"]*)"', html)
    assert image
    assert b64decode(image[1]).decode() == bundle(models())["image/svg+xml"]
    assert 'alt="load, takes raw, makes rows.' in html


def test_very_large_graphs_are_stored_once() -> None:
    steps = [step(f"s{number}", number) for number in range(201)]
    assert "image/svg+xml" not in bundle(pipeline(*steps))


def test_a_run_goes_before_a_plan() -> None:
    reason = {"code": "never-run", "text": "never run", "details": []}
    plan = {"steps": [{"name": name, "decision": "run", "reason": reason} for name in ("load", "split")]}
    text = bundle(models(), plan=plan, run=run_document(load="succeeded"))["text/plain"]
    assert "✓ done" in text
    assert "▶ run" in text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_bundles_hold_texts_of_others_as_text(payload: str) -> None:
    mimebundle = bundle(pipeline(step(payload, 1)), statuses={payload: StepStatus(state="run", detail=payload)})
    assert {tag for tag, _ in TagCollector(mimebundle["text/html"]).elements} == {
        "div",
        "img",
        "details",
        "summary",
        "pre",
    }
    assert mimebundle["text/plain"].replace("\n", "").isprintable()
