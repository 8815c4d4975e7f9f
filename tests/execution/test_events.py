"""Events are values, and each is one line of JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any, get_args

import pytest

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.runs import events
from jupyter_pipelines.execution.runs.result import Run, StepRun
from jupyter_pipelines.planning.reasons import DecisionReason

FAULT = Diagnostic(code="JP300", message="it failed", suggestion="mend it")
REASON = DecisionReason(code="code", text="its code changed", details=("cell 3",))
STEP = StepRun(name="load", state="failed", key=None, decision="run", reason=REASON, fault=FAULT)
RUN = Run(id="r", state="failed", seconds=1.0, parameters={}, steps={"load": STEP})
RUN_AND_TIME = {"run": "r", "at": "2026-01-01T00:00:00Z"}

ALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "run-started": (
        events.RunStarted(
            **RUN_AND_TIME, notebook="n.ipynb", parameters={"a": 1}, decisions={"load": "run"}, jobs=2, folder="/r"
        ),
        {"notebook": "n.ipynb", "parameters": {"a": 1}, "decisions": {"load": "run"}, "jobs": 2, "folder": "/r"},
    ),
    "step-decided": (
        events.StepDecided(**RUN_AND_TIME, step="load", decision="run", reason=REASON, key="k"),
        {
            "step": "load",
            "decision": "run",
            "reason": {"code": "code", "text": "its code changed", "details": ["cell 3"]},
            "key": "k",
        },
    ),
    "step-waiting": (events.StepWaiting(**RUN_AND_TIME, step="load"), {"step": "load"}),
    "step-started": (
        events.StepStarted(**RUN_AND_TIME, step="load", attempt=2, log="/l"),
        {"step": "load", "attempt": 2, "log": "/l"},
    ),
    "step-progress": (
        events.StepProgress(**RUN_AND_TIME, step="load", cell=1, cells=4, text="epoch 3"),
        {"step": "load", "cell": 1, "cells": 4, "text": "epoch 3"},
    ),
    "step-retried": (
        events.StepRetried(**RUN_AND_TIME, step="load", attempt=1, pause=0.0, fault=FAULT),
        {"attempt": 1, "pause": 0.0},
    ),
    "step-finished": (
        events.StepFinished(**RUN_AND_TIME, result=STEP),
        {"step": "load", "state": "failed", "attempts": 0},
    ),
    "warned": (events.WarningIssued(**RUN_AND_TIME, fault=FAULT), {"step": None}),
    "run-finished": (events.RunFinished(**RUN_AND_TIME, result=RUN), {"state": "failed", "seconds": 1.0, "saved": 0.0}),
}


def test_there_is_one_of_each_kind() -> None:
    kinds = {event_class.kind: event_class for event_class in get_args(events.Event)}
    assert {kind: type(event) for kind, (event, _) in ALL.items()} == kinds


@pytest.mark.parametrize("kind", ALL)
def test_an_event_is_a_line_of_json(kind: str) -> None:
    event, expected = ALL[kind]
    document = json.loads(json.dumps(event.to_dict()))
    assert document.items() >= {"event": kind, "run": "r", "at": RUN_AND_TIME["at"]}.items()
    assert {name: document[name] for name in expected} == expected


@pytest.mark.parametrize("kind", ["step-retried", "warned"])
def test_faults_are_told_in_full(kind: str) -> None:
    document = ALL[kind][0].to_dict()
    assert (document["fault"]["code"], document["fault"]["message"]) == ("JP300", "it failed")


@pytest.mark.parametrize("kind", ALL)
def test_an_observer_cannot_change_what_others_hear(kind: str) -> None:
    with pytest.raises(FrozenInstanceError):
        ALL[kind][0].run = "other"


def test_shortcuts() -> None:
    assert ALL["run-started"][0].steps == ("load",)
    assert (ALL["step-finished"][0].step, ALL["step-finished"][0].state) == ("load", "failed")
    assert ALL["run-finished"][0].state == "failed"


@pytest.mark.parametrize("kind", ALL)
def test_a_line_of_the_file_is_heard_as_the_event_it_tells(kind: str) -> None:
    event, _ = ALL[kind]
    line = json.loads(json.dumps(event.to_dict()))
    restored = events.event_from_dict(line)
    assert type(restored) is type(event)
    assert restored.to_dict() == event.to_dict()


@pytest.mark.parametrize(
    "line", [{}, {"event": "step-danced", **RUN_AND_TIME}, {"event": "step-started", **RUN_AND_TIME}, {"event": 3}]
)
def test_a_line_that_tells_no_event_is_not_heard(line: dict[str, Any]) -> None:
    assert events.event_from_dict(line) is None
