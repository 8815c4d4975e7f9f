from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.planning.deciding import Reason
from jupyter_pipelines.reporting.following import Following
from jupyter_pipelines.reporting.statuses import Status
from jupyter_pipelines.running.events import (
    RunStarted,
    StepDecided,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaiting,
)
from jupyter_pipelines.running.run import Origin, StepRun

SAID = {"run": "r", "at": "2026-11-22T12:00:00+00:00"}
REASON = Reason(code="code", text="its code changed")


def test_a_run_is_followed() -> None:
    now = [100.0]
    told = Following(clock=lambda: now[0])
    decisions = {"load": "reuse", "train": "run", "plot": "maybe", "other": "skip"}
    told(event=RunStarted(**SAID, notebook=None, parameters={}, decisions=decisions, jobs=2, folder=None))
    assert told.total == 4
    assert {name: status.state for name, status in told.statuses().items()} == {
        "load": "pending",
        "train": "pending",
        "plot": "pending",
        "other": "skip",
    }
    origin = Origin(run="20261120-080000-000000-0b5e77", created="2026-11-20T08:00:00+00:00", seconds=60.0)
    load = StepRun(name="load", state="reused", key="k", decision="reuse", reason=REASON, origin=origin)
    told(event=StepFinished(**SAID, result=load))
    assert (told.finished, told.reused, told.saved) == (1, 1, 60.0)
    assert told.statuses()["load"].state == "reused"
    told(event=StepDecided(**SAID, step="train", decision="run", reason=REASON, key="k"))
    told(event=StepStarted(**SAID, step="train", attempt=1, log="train.log"))
    told(event=StepProgress(**SAID, step="train", cell=2, cells=3, text="epoch 1"))
    told(event=StepProgress(**SAID, step="train", text="epoch 2"))
    now[0] += 5
    assert told.statuses()["train"] == Status(state="running", detail="cell 2 of 3", seconds=5.0)
    assert told.running["train"].text == "epoch 2"
    fault = Fault(code="JP304", message="took too long", suggestion="wait")
    told(event=StepRetried(**SAID, step="train", attempt=1, pause=1.0, fault=fault))
    assert told.statuses()["train"] == Status(state="retrying", detail="took too long")
    assert not told.running
    told(event=StepWaiting(**SAID, step="plot"))
    assert told.statuses()["plot"].state == "waiting"
    told(event=StepDecided(**SAID, step="plot", decision="reuse", reason=REASON, key="k"))
    assert told.statuses()["plot"].state == "reuse"


def test_events_about_steps_that_are_not_known_do_no_harm() -> None:
    told = Following()
    told(event=StepProgress(**SAID, step="nobody", cell=1, cells=2))
    assert not told.statuses()


def test_whoever_comes_late_sees_how_long_a_step_has_run() -> None:
    ago = datetime.now(UTC) - timedelta(minutes=5)
    event = StepStarted(run="r", at=ago.isoformat(), step="load", attempt=1, log="/l")
    for late, least, most in ((True, 299, 400), (False, 0, 0)):
        told = Following(clock=lambda: 1000.0, late=late)
        told(event=RunStarted(**SAID, notebook=None, parameters={}, decisions={"load": "run"}, jobs=1, folder=None))
        told(event=event)
        assert least <= (told.statuses()["load"].seconds or 0) <= most
        told(event=StepStarted(run="r", at="", step="load", attempt=2, log="/l"))
        assert told.statuses()["load"].seconds == 0
