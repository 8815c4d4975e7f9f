from __future__ import annotations

from datetime import UTC, datetime, timedelta

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.runs.events import (
    RunStarted,
    StepDecided,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaiting,
)
from jupyter_pipelines.execution.runs.result import ResultOrigin, StepRun
from jupyter_pipelines.planning.reasons import DecisionReason
from jupyter_pipelines.reporting.live_status import LiveStatus
from jupyter_pipelines.reporting.step_status import StepStatus

EVENT_FIELDS = {"run": "r", "at": "2026-11-22T12:00:00+00:00"}
REASON = DecisionReason(code="code", text="its code changed")


def test_a_run_is_followed() -> None:
    now = [100.0]
    live_status = LiveStatus(clock=lambda: now[0])
    decisions = {"load": "reuse", "train": "run", "plot": "maybe", "other": "skip"}
    live_status(
        event=RunStarted(**EVENT_FIELDS, notebook=None, parameters={}, decisions=decisions, jobs=2, folder=None)
    )
    assert live_status.total == 4
    assert {name: status.state for name, status in live_status.statuses().items()} == {
        "load": "pending",
        "train": "pending",
        "plot": "pending",
        "other": "skip",
    }
    origin = ResultOrigin(run="20261120-080000-000000-0b5e77", created="2026-11-20T08:00:00+00:00", seconds=60.0)
    load = StepRun(name="load", state="reused", key="k", decision="reuse", reason=REASON, origin=origin)
    live_status(event=StepFinished(**EVENT_FIELDS, result=load))
    assert (live_status.finished, live_status.reused, live_status.saved) == (1, 1, 60.0)
    assert live_status.statuses()["load"].state == "reused"
    live_status(event=StepDecided(**EVENT_FIELDS, step="train", decision="run", reason=REASON, key="k"))
    live_status(event=StepStarted(**EVENT_FIELDS, step="train", attempt=1, log="train.log"))
    live_status(event=StepProgress(**EVENT_FIELDS, step="train", cell=2, cells=3, text="epoch 1"))
    live_status(event=StepProgress(**EVENT_FIELDS, step="train", text="epoch 2"))
    now[0] += 5
    assert live_status.statuses()["train"] == StepStatus(state="running", detail="cell 2 of 3", seconds=5.0)
    assert live_status.running["train"].text == "epoch 2"
    diagnostic = Diagnostic(code="JP304", message="took too long", suggestion="wait")
    live_status(event=StepRetried(**EVENT_FIELDS, step="train", attempt=1, pause=1.0, fault=diagnostic))
    assert live_status.statuses()["train"] == StepStatus(state="retrying", detail="took too long")
    assert not live_status.running
    live_status(event=StepWaiting(**EVENT_FIELDS, step="plot"))
    assert live_status.statuses()["plot"].state == "waiting"
    live_status(event=StepDecided(**EVENT_FIELDS, step="plot", decision="reuse", reason=REASON, key="k"))
    assert live_status.statuses()["plot"].state == "reuse"


def test_events_about_steps_that_are_not_known_do_no_harm() -> None:
    live_status = LiveStatus()
    live_status(event=StepProgress(**EVENT_FIELDS, step="nobody", cell=1, cells=2))
    assert not live_status.statuses()


def test_a_late_observer_sees_how_long_a_step_has_run() -> None:
    ago = datetime.now(UTC) - timedelta(minutes=5)
    event = StepStarted(run="r", at=ago.isoformat(), step="load", attempt=1, log="/l")
    for late, least, most in ((True, 299, 400), (False, 0, 0)):
        live_status = LiveStatus(clock=lambda: 1000.0, late=late)
        live_status(
            event=RunStarted(
                **EVENT_FIELDS, notebook=None, parameters={}, decisions={"load": "run"}, jobs=1, folder=None
            )
        )
        live_status(event=event)
        assert least <= (live_status.statuses()["load"].seconds or 0) <= most
        live_status(event=StepStarted(run="r", at="", step="load", attempt=2, log="/l"))
        assert live_status.statuses()["load"].seconds == 0
