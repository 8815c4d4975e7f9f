from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from jupyter_pipelines.reporting.step_status import STATE_STYLES, StepStatus, of_plan, of_run, style_of
from jupyter_pipelines.reporting.svg.svg import MAX_DETAILED_STEPS, GraphHeading, describe, draw
from jupyter_pipelines.reporting.svg.text_width import cut, fit, width
from tests.reporting.sample_graphs import PAYLOADS, models, pipeline, run_document, step

SVG = "{http://www.w3.org/2000/svg}"
KNOWN = {"svg", "title", "desc", "style", "rect", "path", "text", "g"}
ATTRIBUTES = {
    *("class", "width", "height", "viewBox", "role", "aria-labelledby", "font-family", "id", "x", "y", "rx", "d"),
    *("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linecap", "stroke-linejoin", "transform"),
    *("font-size", "font-weight", "text-anchor", "style"),
}


def statuses() -> dict[str, StepStatus]:
    return of_run(
        run_document(load="reused", split="reused", linear="succeeded", forest="failed", evaluate="blocked", report="x")
    )


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_picture_is_well_formed_and_needs_nothing_else() -> None:
    root = ET.fromstring(draw(models(), statuses()))
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in KNOWN
        assert set(element.attrib) <= ATTRIBUTES, element.attrib
    style = root.findtext(f"{SVG}style") or ""
    assert "url" not in style
    assert "@import" not in style


def test_every_state_is_shown_as_word_sign_and_colour() -> None:
    for state, shown in STATE_STYLES.items():
        svg = draw(pipeline(step("one", 1)), {"one": StepStatus(state=state)})
        assert shown.word in texts(svg)
        assert f'd="{shown.icon}"' in svg
        assert shown.light[0] in svg
        assert shown.dark[0] in svg


def test_what_is_said_of_steps_is_drawn() -> None:
    drawn = texts(draw(models(), statuses()))
    assert {"load", "reused", "saved 1 min 0 s", "done", "2.0 s", "failed", "KeyError: 'colum'"} <= set(drawn)
    assert any(text.startswith("run 0b5e77, ") for text in drawn)
    assert {"rows", "train", "test", "line", "trees", "scores", "chart", "raw", "data/churn.csv"} <= set(drawn)


def test_colours_stand_in_attributes_too() -> None:
    """Keep the colours when a sanitizer removes the style sheet."""
    root = ET.fromstring(draw(models(), statuses()))
    for element in root.iter():
        if element.tag in (f"{SVG}text", f"{SVG}rect"):
            assert re.fullmatch("#[0-9a-f]{6}", element.attrib["fill"])
        if element.tag == f"{SVG}path":
            assert "fill" in element.attrib
            assert "stroke" in element.attrib or element.attrib["fill"] != "none"


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_and_messages_are_text_and_nothing_else(payload: str) -> None:
    steps = step(payload, 1, (f"{payload.replace('=', '')}=a{payload}",), (payload,)), step("b", 2)
    statuses_of_payload = {
        payload: StepStatus(state=payload, detail=payload, notes=(payload,)),
        "b": StepStatus(state="run", detail=payload),
    }
    plain = ET.fromstring(
        draw(pipeline(step("a", 1, ("f=a",), ("x",)), step("b", 2)), dict.fromkeys("ab", statuses_of_payload["b"]))
    )
    svg = draw(pipeline(*steps), statuses_of_payload, heading=GraphHeading(title=payload, summary=payload))
    root = ET.fromstring(svg)
    assert {element.tag for element in root.iter()} <= {element.tag for element in plain.iter()}
    assert all(set(element.attrib) <= ATTRIBUTES for element in root.iter())
    shown = "".join(root.itertext())
    assert not set(shown) & set("\u202e\u2066\u200f\x1b\x07\x00\r\u2028\ud800")
    assert len(svg) < 60_000


def test_an_order_without_data_is_dashed() -> None:
    dashes = 'stroke-dasharray="4 4"'
    assert dashes in draw(models())
    assert dashes not in draw(pipeline(step("a", 1, (), ("x",)), step("b", 2, ("a.x",))))


def test_a_picture_is_described_for_screen_readers() -> None:
    root = ET.fromstring(draw(models(), statuses(), heading=GraphHeading(title="churn", summary="2 of 6 steps reused")))
    title, description = root.findtext(f"{SVG}title") or "", root.findtext(f"{SVG}desc") or ""
    assert title == "Pipeline churn: 2 of 6 steps reused"
    assert "forest, failed (KeyError: 'colum'), takes train, makes trees." in description
    assert [element.attrib["id"] for element in root if "id" in element.attrib] == root.attrib[
        "aria-labelledby"
    ].split()
    assert description == describe(models(), statuses())


def test_two_pictures_in_one_page_have_different_ids() -> None:
    ids = [re.findall(r' id="([^"]*)"', draw(models(), step_statuses)) for step_statuses in ({}, statuses())]
    assert len({*ids[0], *ids[1]}) == 4


def _luminance(colour: str) -> float:
    parts = [int(colour[position : position + 2], 16) / 255 for position in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("state", STATE_STYLES)
def test_words_can_be_read_on_their_background(state: str) -> None:
    shown = style_of(state)
    for ink, tint in (shown.light, shown.dark):
        lighter, darker = sorted((_luminance(ink), _luminance(tint)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def test_states_that_mean_different_things_differ_without_colour() -> None:
    seen = {}
    for shown in STATE_STYLES.values():
        assert seen.setdefault((shown.word, shown.sign), shown.icon) == shown.icon
        assert shown.plain.isascii()
    finished = [
        style_of(state) for state in ("succeeded", "reused", "failed", "blocked", "skipped", "cancelled", "running")
    ]
    assert len({style.icon for style in finished}) == len({style.sign for style in finished}) == len(finished)


def test_very_many_steps_are_drawn_with_less_of_each() -> None:
    steps = [step(f"s{number}", number, (), (f"o{number}",)) for number in range(MAX_DETAILED_STEPS + 1)]
    assert "cell 7" in texts(draw(pipeline(*steps[:-1])))
    assert "cell 7" not in texts(draw(pipeline(*steps)))


def test_a_pipeline_in_a_session_has_no_cell_numbers() -> None:
    lone_step = step("a", 0)
    assert draw(replace(pipeline(lone_step), notebook=None)).count("cell 0") == 0


def test_texts_are_fitted() -> None:
    assert fit("short", 100, 12) == "short"
    fitted = fit("a_very_long_name_that_ends_in_2026", 120, 12)
    assert fitted.startswith("a_very")
    assert fitted.endswith("2026")
    assert width(fitted, 12) <= 120
    assert cut("a very long message", 60, 12).endswith("…")


def test_plans_have_a_status_for_each_decision() -> None:
    origin = {"run": "20261120-080000-000000-0b5e77", "created": "2026-11-20T08:00:00+00:00", "seconds": 60.0}
    reason = {"code": "code", "text": "code of cell 5 changed", "details": ["- a", "+ b"]}
    steps = [
        {"name": "a", "decision": "reuse", "reason": reason, "origin": origin},
        {"name": "b", "decision": "run", "reason": reason},
    ]
    plan_statuses = of_plan({"steps": steps})
    assert plan_statuses["a"].saved == 60.0
    assert plan_statuses["b"] == StepStatus(state="run", detail="code of cell 5 changed", notes=("- a", "+ b"))
