"""Test text reports: durations, ages, graphs for terminals, Mermaid, summaries, comparisons."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.reporting.format import ago, listed, plural, short_run, size_in_words
from jupyter_pipelines.reporting.layout.text_lanes import rails
from jupyter_pipelines.reporting.mermaid import write_mermaid
from jupyter_pipelines.reporting.run_diff import compare
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, of_run
from jupyter_pipelines.reporting.summary import headline, runs_table, summarise
from jupyter_pipelines.reporting.text import interface, table, write
from jupyter_pipelines.storage.step_record import StepRecord
from tests.reporting.sample_graphs import PAYLOADS, models, pipeline, run_document, step, step_document

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_clean_makes_everything_visible_and_short() -> None:
    assert clean("train") == "train"
    assert clean("größe 漢字") == "größe 漢字"
    assert clean("a\x1b[31m\u202eb\n") == r"a\x1b[31m\u202eb\n"
    assert clean("x" * 500, 10) == "x" * 9 + "…"
    for payload in PAYLOADS:
        assert clean(payload).isprintable()
        assert len(clean(payload)) <= 200
        clean(payload).encode()


@pytest.mark.parametrize(
    ("then", "words"),
    [
        ("2026-11-22T11:59:50+00:00", "just now"),
        ("2026-11-22T11:55:00+00:00", "5 min ago"),
        ("2026-11-22T10:00:00Z", "2 h ago"),
        ("2026-11-22T10:00:00", "2 h ago"),
        ("2026-11-19T12:00:00+00:00", "3 days ago"),
        ("2026-11-22T13:00:00+00:00", "just now"),
        ("soon", ""),
        (None, ""),
    ],
)
def test_ages(then: str | None, words: str) -> None:
    assert ago(then, NOW) == words


def test_amounts() -> None:
    assert [size_in_words(count) for count in (1, 999, 1000, 3_400_000, 2 * 10**9, 5 * 10**12)] == [
        *("1 byte", "999 bytes", "1.0 kB", "3.4 MB", "2.0 GB", "5.0 TB")
    ]
    assert plural(1, "step") == "1 step"
    assert listed("abcdef") == "a, b, c, d and 2 more"
    assert short_run("20261122-101500-000000-3f2a91") == "3f2a91"


def test_the_graph_stands_beside_the_list() -> None:
    assert write(models()).splitlines() == [
        "●        load      raw (data/churn.csv) → rows",
        "├─●      split     rows → train, test",
        "│ ├─●    linear    train → line",
        "│ ├─│─●  forest    train → trees",
        "│ ├─●─┤  evaluate  test, line, trees → scores",
        "●─┴─┴─┘  report    scores, trees, train → chart",
    ]


def test_rails_join_what_belongs_together() -> None:
    assert list(rails({"a": (), "b": (), "c": ("a", "b")}).values()) == ["●  ", "│ ●", "●─┘"]
    assert list(rails({"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}).values()) == ["●  ", "├─●", "● │", "●─┘"]
    assert list(rails({"a": (), "b": (), "c": ()}).values()) == ["●", "●", "●"]
    assert "".join(rails({"a": (), "b": ("a",), "c": ("a", "b")}, plain=True).values()).isascii()


def test_rails_give_up_when_there_are_too_many() -> None:
    fan = {"a": (), **{f"b{number}": ("a",) for number in range(40)}}
    fan["c"] = tuple(fan)
    assert set(rails(fan).values()) == {"●"}


def test_states_are_written_with_word_and_sign_and_painted() -> None:
    step_statuses = of_run(run_document(load="reused", split="succeeded"), now=NOW)
    lines = write(models(), step_statuses, paint=lambda colour, text: f"<{colour}>{text}</>").splitlines()
    assert lines[0].endswith("  load      <magenta>↻ reused       </>  run 0b5e77, 2 days ago, saved 1 min 0 s")
    assert "<green>✓ done    2.0 s</>" in lines[1]
    assert write(models(), step_statuses, plain=True).isascii()


def test_lines_fit_the_terminal() -> None:
    step_statuses = {"load": StepStatus(state="failed", detail="x" * 500)}
    assert max(map(len, write(models(), step_statuses, width=80).splitlines())) <= 80


def test_names_cannot_steer_a_terminal() -> None:
    for payload in PAYLOADS:
        shown = write(pipeline(step(payload, 1, (), (payload,))), {payload: StepStatus(state="run", detail=payload)})
        assert "\n" not in shown
        assert shown.isprintable()


def test_tables_align() -> None:
    assert table([("a", "1"), ("bbb", "22")], right=(1,)) == "a     1\nbbb  22"
    assert interface(step("a", 1, ("b.x", "f=a.csv"), ("y",)), plain=True) == "x, f (a.csv) -> y"


def test_mermaid() -> None:
    step_statuses = {"a": StepStatus(state="reused", saved=4.0)}
    chart = write_mermaid(
        pipeline(step("a", 1, ("f=in/a.csv",), ("x",)), step("end", 2, ("a.x",), after=("a",))), step_statuses
    )
    assert chart == (
        "flowchart LR\n"
        '  s1["a<br/>reused, 4.0 s"]:::state_reused\n'
        '  s2["end"]\n'
        '  f1[/"in#47;a.csv"/] -->|"f"| s1\n'
        '  s1 -->|"x"| s2\n'
        "  classDef state_reused fill:#efe5fd,stroke:#6639ba,color:#6639ba\n"
    )


@pytest.mark.parametrize("payload", PAYLOADS)
def test_mermaid_holds_only_text_of_others(payload: str) -> None:
    plain = write_mermaid(pipeline(step("a", 1, ("f=a",), ("x",))), {"a": StepStatus(state="run")})
    name = payload.replace("=", "")
    chart = write_mermaid(
        pipeline(step(payload, 1, (f"{name}={payload}",), (payload,))), {payload: StepStatus(state=payload)}
    )
    assert len(chart.splitlines()) == len(plain.splitlines())
    quoted = re.findall(r'"([^"]*)"', chart)
    assert len(quoted) == 3
    for text in quoted:
        assert not set(text.replace("<br/>", "")) & set("<>\"'`&;[]{}()|%\\") - set("#;") - set(";")


HEADLINES = {
    ("reused", "reused", "reused"): "all 3 steps reused, about 3 min 0 s saved",
    ("reused", "succeeded"): "1 of 2 steps reused, about 1 min 0 s saved, 1 step ran in 12 s",
    ("succeeded",): "1 step ran in 12 s",
    ("succeeded", "failed", "blocked"): "1 step ran in 12 s, 1 failed, 1 blocked",
    (): "no steps",
}


@pytest.mark.parametrize("states", HEADLINES)
def test_headlines(states: tuple[str, ...]) -> None:
    assert headline(run_document(**{f"s{number}": state for number, state in enumerate(states)})) == HEADLINES[states]


def test_a_summary_has_all_steps_and_the_headline() -> None:
    document = run_document(load="reused", split="succeeded", linear="failed", forest="succeeded")
    lines = summarise(models(), document, now=NOW).splitlines()
    assert len(lines) == 8
    assert lines[-1].startswith("✗ failed  run 3f2a91: 1 of 4 steps reused, about 1 min 0 s saved, 2 steps ran in 12 s")


def test_runs_are_listed() -> None:
    shown = runs_table([run_document(load="reused", split="succeeded")], now=NOW).splitlines()
    assert shown[0].split() == ["run", "when", "state", "took", "steps", "parameters"]
    assert shown[1] == "3f2a91  2 h ago  succeeded  12 s  1 reused, 1 done  seed=7, size=100"
    assert runs_table([]) == "no runs yet"


def _record(key: str, **parts: str) -> StepRecord:
    named = {name.replace("__", ":"): value for name, value in parts.items()}
    return StepRecord(key=key, step="train", notebook=None, parts=named, run="r", created="", seconds=1.0)


def _output(digest: str) -> dict[str, Any]:
    return {"model": Artifact(digest=f"sha256:{digest * 64}", format="json", bytes=3).to_dict()}


def test_two_runs_are_compared() -> None:
    records = {
        "1": _record("1", code__1="a" * 64, parameter__size="100", package__sklearn="1.7.0", module__old="c" * 64),
        "2": _record("2", code__1="b" * 64, parameter__size="200", package__sklearn="1.8.0"),
    }
    first, second = run_document(load="succeeded"), run_document(load="reused")
    second["parameters"] = {"seed": 7, "size": 200}
    first["steps"] += [
        step_document("train", "succeeded", key="1", outputs=_output("a")),
        step_document("old", "failed"),
    ]
    second["steps"] += [step_document("train", "succeeded", key="2", outputs=_output("b"), seconds=3.0)]
    difference = compare(first, second, record=records.get)
    assert [(change.name, change.first, change.second) for change in difference.parameters] == [("size", 100, 200)]
    assert [step.name for step in difference.steps] == ["load", "train", "old"]
    assert difference.steps[0].same
    assert difference.steps[0].words() == "nothing"
    assert difference.steps[1].words() == (
        "code; parameter size: 100 -> 200; package sklearn: 1.7.0 -> 1.8.0; module old only in the first run; "
        "output model"
    )
    assert difference.steps[2].words() == "only in the first run"
    assert not difference.same
    document = difference.to_dict()
    assert document["schema"] == "jupyter-pipelines/diff/1"
    assert document["steps"][1]["changes"][1] == {"kind": "parameter", "name": "size", "first": "100", "second": "200"}
    assert document["steps"][2]["second"] is None
    shown = difference.text(NOW)
    assert "parameter size  100" in shown
    assert re.search(r"train +done 2.0 s +done 3.0 s", shown)


def test_a_run_does_not_differ_from_itself() -> None:
    run = run_document(load="succeeded", train="reused")
    assert compare(run, run, record=lambda key: None).same
