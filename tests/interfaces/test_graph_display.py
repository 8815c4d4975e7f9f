"""Test how often the picture of a run is drawn: not again for every reused step."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_pipelines.execution.runs.events import RunFinished, RunStarted, StepFinished, StepStarted
from jupyter_pipelines.execution.runs.result import ResultOrigin, Run, StepRun
from jupyter_pipelines.interfaces.jupyter import graph_display
from jupyter_pipelines.interfaces.jupyter.graph_display import LiveGraphDisplay
from jupyter_pipelines.planning.reasons import DecisionReason
from tests.planning.planning_fakes import pipeline, step

WHEN = {"run": "20260101-000000-000000-abcdef", "at": "2026-01-01T00:00:00Z"}
NAMES = [f"s{number}" for number in range(30)]


class FakeScreen:
    """Record what is displayed, with a clock that the test sets."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pictures: list[str] = []
        self.now = 100.0
        patch.setattr(graph_display, "display", self._display)
        patch.setattr(graph_display.time, "monotonic", lambda: self.now)

    def _display(self, data: dict[str, Any], **_how: Any) -> None:
        self.pictures.append(data["text/plain"])


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> FakeScreen:
    return FakeScreen(monkeypatch)


def step_run(name: str, state: str) -> StepRun:
    origin = ResultOrigin(run=WHEN["run"], created=WHEN["at"], seconds=1.5) if state == "reused" else None
    reason = DecisionReason(code="unchanged", text="nothing has changed")
    return StepRun(name=name, state=state, key=None, decision="reuse", reason=reason, origin=origin)


def started(picture: LiveGraphDisplay) -> None:
    decisions = dict.fromkeys(NAMES, "reuse")
    picture(event=RunStarted(**WHEN, notebook=None, parameters={}, decisions=decisions, jobs=2, folder=None))


def finished(picture: LiveGraphDisplay, name: str, state: str = "reused") -> None:
    picture(event=StepFinished(**WHEN, result=step_run(name, state)))


def test_a_run_that_reuses_everything_is_drawn_twice(screen: FakeScreen) -> None:
    picture = LiveGraphDisplay(pipeline(*map(step, NAMES)))
    started(picture)
    for name in NAMES:
        finished(picture, name)
    assert len(screen.pictures) == 1
    steps = {name: step_run(name, "reused") for name in NAMES}
    picture(event=RunFinished(**WHEN, result=Run(id="r", state="succeeded", seconds=0.1, parameters={}, steps=steps)))
    assert len(screen.pictures) == 2
    assert screen.pictures[-1].count("↻ reused") == len(NAMES)


def test_what_was_reused_is_seen_when_time_goes_by_or_a_step_starts(screen: FakeScreen) -> None:
    picture = LiveGraphDisplay(pipeline(*map(step, NAMES)))
    started(picture)
    finished(picture, "s0")
    screen.now += 2 * graph_display.PACE
    finished(picture, "s1")
    assert screen.pictures[-1].count("↻ reused") == 2
    finished(picture, "s2")
    picture(event=StepStarted(**WHEN, step="s3", attempt=1, log=""))
    assert screen.pictures[-1].count("↻ reused") == 3
    finished(picture, "s3", "succeeded")
    assert "done" in screen.pictures[-1]
