"""The picture of a run: drawn when somebody waits for news, not once for every step that is reused."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_pipelines.interfaces import board
from jupyter_pipelines.interfaces.board import RunBoard
from jupyter_pipelines.planning.deciding import Reason
from jupyter_pipelines.running.events import RunFinished, RunStarted, StepFinished, StepStarted
from jupyter_pipelines.running.run import Origin, Run, StepRun
from tests.planning.stand_ins import pipeline, step

WHEN = {"run": "20260101-000000-000000-abcdef", "at": "2026-01-01T00:00:00Z"}
NAMES = [f"s{number}" for number in range(30)]


class Screen:
    """What is displayed, while time stands still."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pictures: list[str] = []
        self.now = 100.0
        patch.setattr(board, "display", self._display)
        patch.setattr(board.time, "monotonic", lambda: self.now)

    def _display(self, data: dict[str, Any], **_how: Any) -> None:
        self.pictures.append(data["text/plain"])


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    return Screen(monkeypatch)


def step_run(name: str, state: str) -> StepRun:
    origin = Origin(run=WHEN["run"], created=WHEN["at"], seconds=1.5) if state == "reused" else None
    reason = Reason(code="unchanged", text="nothing has changed")
    return StepRun(name=name, state=state, key=None, decision="reuse", reason=reason, origin=origin)


def started(picture: RunBoard) -> None:
    decisions = dict.fromkeys(NAMES, "reuse")
    picture(event=RunStarted(**WHEN, notebook=None, parameters={}, decisions=decisions, jobs=2, folder=None))


def finished(picture: RunBoard, name: str, state: str = "reused") -> None:
    picture(event=StepFinished(**WHEN, result=step_run(name, state)))


def test_a_run_that_reuses_everything_is_drawn_twice(screen: Screen) -> None:
    picture = RunBoard(pipeline(*map(step, NAMES)))
    started(picture)
    for name in NAMES:
        finished(picture, name)
    assert len(screen.pictures) == 1
    steps = {name: step_run(name, "reused") for name in NAMES}
    picture(event=RunFinished(**WHEN, result=Run(id="r", state="succeeded", seconds=0.1, parameters={}, steps=steps)))
    assert len(screen.pictures) == 2
    assert screen.pictures[-1].count("↻ reused") == len(NAMES)


def test_what_was_reused_is_seen_when_time_goes_by_or_a_step_starts(screen: Screen) -> None:
    picture = RunBoard(pipeline(*map(step, NAMES)))
    started(picture)
    finished(picture, "s0")
    screen.now += 2 * board.PACE
    finished(picture, "s1")
    assert screen.pictures[-1].count("↻ reused") == 2
    finished(picture, "s2")
    picture(event=StepStarted(**WHEN, step="s3", attempt=1, log=""))
    assert screen.pictures[-1].count("↻ reused") == 3
    finished(picture, "s3", "succeeded")
    assert "done" in screen.pictures[-1]
