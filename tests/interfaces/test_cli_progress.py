"""Test the progress display during a run, in a terminal and in a file."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.runs.events import (
    Event,
    RunStarted,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaiting,
    WarningIssued,
)
from jupyter_pipelines.execution.runs.result import ResultOrigin, StepRun
from jupyter_pipelines.interfaces.cli.progress import LineProgress, LiveProgress, progress_observer
from jupyter_pipelines.planning.reasons import DecisionReason

EVENT_FIELDS = {"run": "20261122-101500-000000-3f2a91", "at": "2026-11-22T12:00:00+00:00"}
DIAGNOSTIC = Diagnostic(code="JP304", message="took too\x1b[2J long", suggestion="wait")


def finished(name: str, state: str, **more: Any) -> StepFinished:
    reason = DecisionReason(code="code", text="its code changed")
    return StepFinished(
        **EVENT_FIELDS, result=StepRun(name=name, state=state, key=None, decision="run", reason=reason, **more)
    )


def events() -> list[Event]:
    origin = ResultOrigin(run="20261120-080000-000000-0b5e77", created="2026-11-20T08:00:00+00:00", seconds=60.0)
    decisions = {"load": "reuse", "train": "run", "plot": "maybe"}
    return [
        RunStarted(**EVENT_FIELDS, notebook="a.ipynb", parameters={}, decisions=decisions, jobs=2, folder=None),
        finished("load", "reused", origin=origin),
        StepWaiting(**EVENT_FIELDS, step="plot"),
        StepStarted(**EVENT_FIELDS, step="train", attempt=1, log="train.log"),
        StepProgress(**EVENT_FIELDS, step="train", cell=2, cells=4, text="epoch 1\x1b[2J"),
        StepRetried(**EVENT_FIELDS, step="train", attempt=1, pause=0.0, fault=DIAGNOSTIC),
        WarningIssued(**EVENT_FIELDS, fault=DIAGNOSTIC, step="train"),
        StepStarted(**EVENT_FIELDS, step="train", attempt=2, log="train.log"),
        StepProgress(**EVENT_FIELDS, step="train", cell=2, cells=4, text="epoch 2"),
    ]


def test_a_file_gets_a_line_for_each_change() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with progress_observer({"steps": []}, stream) as observer:
        assert isinstance(observer, LineProgress)
        for event in [
            *events(),
            finished("train", "succeeded", seconds=3.0),
            finished("plot", "failed", fault=DIAGNOSTIC),
        ]:
            observer(event=event)
    stream.seek(0)
    lines = stream.read().splitlines()
    assert lines[:5] == [
        "run 20261122-101500-000000-3f2a91: 3 steps, 2 at a time",
        lines[1],
        "[1/3] · plot waiting, another run is computing it",
        "[1/3] ▶ train running",
        r"[1/3] ▶ train trying again: took too\x1b[2J long",
    ]
    assert lines[1].startswith("[1/3] ↻ load reused, run 0b5e77, ")
    assert lines[1].endswith(", saved 1 min 0 s")
    assert "[1/3] ▶ train running, attempt 2" in lines
    assert lines[-2:] == ["[2/3] ✓ train done in 3.0 s", r"[3/3] ✗ plot failed, took too\x1b[2J long"]


def test_a_file_that_knows_only_ascii_gets_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    lines = LineProgress(stream)
    for event in events():
        lines(event=event)
    stream.seek(0)
    assert "[1/3] = load reused" in stream.read()


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)


@pytest.fixture
def screen() -> LiveProgress:
    return LiveProgress(terminal(), {"train": 30.0}, keep=True)


def shown(screen: LiveProgress) -> list[str]:
    stream = screen.console.file
    assert isinstance(stream, io.StringIO)
    text = stream.getvalue()
    return [line.rstrip() for line in text.splitlines()]


def test_a_terminal_shows_what_runs_right_now(screen: LiveProgress) -> None:
    for event in events():
        screen(event=event)
    before = len(shown(screen))
    screen.console.print(screen.picture())
    row, total = shown(screen)[before:]
    assert row.startswith("▶ train")
    assert "0.0 s of about 30 s" in row
    assert row.endswith("attempt 2, cell 2 of 4, epoch 2")
    assert total == "1 of 3 steps finished, 1 reused, about 1 min 0 s saved"


def test_a_terminal_keeps_what_is_over(screen: LiveProgress) -> None:
    for event in [*events(), finished("train", "succeeded", seconds=3.0)]:
        screen(event=event)
    lines = shown(screen)
    assert lines[0].startswith("↻ load reused  run 0b5e77")
    assert r"▶ train trying again  took too\x1b[2J long" in lines
    assert lines[-1] == "✓ train done  3.0 s"
    assert "\x1b[2J" not in "\n".join(lines)
    screen.console.print(screen.picture())
    assert "train" not in shown(screen)[-1]


def test_what_is_over_moves_through_the_picture_where_a_summary_follows() -> None:
    screen = LiveProgress(terminal(), {"train": 30.0}, keep=False)
    for event in [*events(), *(finished(f"s{number}", "succeeded", seconds=3.0) for number in range(20))]:
        screen(event=event)
    screen.console.print(screen.picture())
    lines = shown(screen)
    assert lines[1] == "✓ s12 done  3.0 s"
    assert lines[8] == "✓ s19 done  3.0 s"
    assert lines[9].startswith("▶ train")


def test_a_step_that_takes_longer_than_it_used_to_is_told() -> None:
    now = [0.0]
    screen = LiveProgress(terminal(), {"train": 30.0}, keep=True, clock=lambda: now[0])
    for event in events():
        screen(event=event)
    now[0] = 45.0
    screen.console.print(screen.picture())
    assert "45 s, usually 30 s" in "\n".join(shown(screen))
