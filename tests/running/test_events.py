"""Events are values, and each is one line of JSON."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any, get_args

import pytest

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.planning.deciding import Reason
from jupyter_pipelines.running import events
from jupyter_pipelines.running.run import Run, StepRun

FAULT = Fault(code="JP300", message="it failed", suggestion="mend it")
REASON = Reason(code="code", text="its code changed", details=("cell 3",))
STEP = StepRun(name="load", state="failed", key=None, decision="run", reason=REASON, fault=FAULT)
RUN = Run(id="r", state="failed", seconds=1.0, parameters={}, steps={"load": STEP})
SAID = {"run": "r", "at": "2026-01-01T00:00:00Z"}

ALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "run-started": (
        events.RunStarted(
            **SAID, notebook="n.ipynb", parameters={"a": 1}, decisions={"load": "run"}, jobs=2, folder="/r"
        ),
        {"notebook": "n.ipynb", "parameters": {"a": 1}, "decisions": {"load": "run"}, "jobs": 2, "folder": "/r"},
    ),
    "step-decided": (
        events.StepDecided(**SAID, step="load", decision="run", reason=REASON, key="k"),
        {
            "step": "load",
            "decision": "run",
            "reason": {"code": "code", "text": "its code changed", "details": ["cell 3"]},
            "key": "k",
        },
    ),
    "step-waiting": (events.StepWaiting(**SAID, step="load"), {"step": "load"}),
    "step-started": (
        events.StepStarted(**SAID, step="load", attempt=2, log="/l"),
        {"step": "load", "attempt": 2, "log": "/l"},
    ),
    "step-progress": (
        events.StepProgress(**SAID, step="load", cell=1, cells=4, text="epoch 3"),
        {"step": "load", "cell": 1, "cells": 4, "text": "epoch 3"},
    ),
    "step-retried": (
        events.StepRetried(**SAID, step="load", attempt=1, pause=0.0, fault=FAULT),
        {"attempt": 1, "pause": 0.0},
    ),
    "step-finished": (events.StepFinished(**SAID, result=STEP), {"step": "load", "state": "failed", "attempts": 0}),
    "warned": (events.Warned(**SAID, fault=FAULT), {"step": None}),
    "run-finished": (events.RunFinished(**SAID, result=RUN), {"state": "failed", "seconds": 1.0, "saved": 0.0}),
}


def test_there_is_one_of_each_kind() -> None:
    kinds = {one.kind: one for one in get_args(events.Event)}
    assert {kind: type(event) for kind, (event, _) in ALL.items()} == kinds


@pytest.mark.parametrize("kind", ALL)
def test_an_event_is_a_line_of_json(kind: str) -> None:
    event, expected = ALL[kind]
    document = json.loads(json.dumps(event.to_dict()))
    assert document.items() >= {"event": kind, "run": "r", "at": SAID["at"]}.items()
    assert {name: document[name] for name in expected} == expected


@pytest.mark.parametrize("kind", ["step-retried", "warned"])
def test_faults_are_told_in_full(kind: str) -> None:
    document = ALL[kind][0].to_dict()
    assert (document["fault"]["code"], document["fault"]["message"]) == ("JP300", "it failed")


@pytest.mark.parametrize("kind", ALL)
def test_nobody_can_change_what_others_hear(kind: str) -> None:
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
    found = events.heard(line)
    assert type(found) is type(event)
    assert found.to_dict() == event.to_dict()


@pytest.mark.parametrize(
    "line", [{}, {"event": "step-danced", **SAID}, {"event": "step-started", **SAID}, {"event": 3}]
)
def test_a_line_that_tells_no_event_is_not_heard(line: dict[str, Any]) -> None:
    assert events.heard(line) is None
