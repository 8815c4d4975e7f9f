"""Details of steps beyond their states: decisions, reasons, origins, errors, progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from jupyter_pipelines.execution.runs.events import (
    Event,
    StepDecided,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
)
from jupyter_pipelines.reporting.step_status import StepStatus

More = dict[str, dict[str, Any]]


class StepStates(NamedTuple):
    """The states of the steps of a pipeline, and their details."""

    statuses: Mapping[str, StepStatus]
    more: Mapping[str, Mapping[str, Any]]


class StatusDetailsObserver:
    """An observer that collects details of the steps of a run from its events.

    Attributes
    ----------
    more : dict
        Fields by name of the step, as the ``statuses`` document takes them.
    """

    def __init__(self) -> None:
        self.more: More = {}

    def __call__(self, *, event: Event) -> None:
        """Take notice of `event`."""
        match event:
            case StepDecided():
                # Collected from events, not from the plan: decisions are made again when upstream digests are known.
                self._add(event.step, decision=event.decision, reason=event.reason.to_dict())
            case StepStarted():
                self._add(event.step, since=event.at, attempt=event.attempt)
            case StepProgress():
                fields = {"cell": event.cell, "cells": event.cells, "text": event.text}
                self._add(event.step, **{name: value for name, value in fields.items() if value})
            case StepRetried():
                self._drop(event.step)
            case StepFinished():
                self._drop(event.step)
                self._add(event.step, **of_step_run(event.result.to_dict()))

    def _add(self, step: str, **fields: Any) -> None:
        self.more[step] = {**self.more.get(step, {}), **fields}

    def _drop(self, step: str) -> None:
        """Forget what only a step that runs has."""
        kept = self.more.get(step, {})
        self.more[step] = {name: kept[name] for name in kept if name not in _RUNNING_FIELDS}


_RUNNING_FIELDS = frozenset({"since", "cell", "cells", "text", "attempt"})


def of_plan(document: Mapping[str, Any]) -> More:
    """Return the particulars that a ``plan`` document has."""
    return {step["name"]: _planned(step) for step in document["steps"]}


def of_run(document: Mapping[str, Any]) -> More:
    """Return the particulars that a ``run`` document has."""
    return {step["name"]: of_step_run(step) for step in document["steps"]}


def of_step_run(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the particulars of one step in a ``run`` document."""
    error = step.get("error")
    attempts = int(step.get("attempts") or 0)
    fields = {
        "decision": step.get("decision"),
        "key": step.get("key"),
        "reason": step.get("reason"),
        "origin": _origin(step.get("origin")),
        "notebook": step.get("notebook"),
        "error": {name: error.get(name) for name in ("code", "message", "type", "cell", "line")} if error else None,
        "attempt": attempts if attempts > 1 else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _planned(step: Mapping[str, Any]) -> dict[str, Any]:
    about = {name: step.get(name) for name in ("decision", "key", "reason")}
    fields = {**about, "origin": _origin(step.get("origin"))}
    return {name: value for name, value in fields.items() if value is not None}


def _origin(origin: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {"run": origin["run"], "created": origin["created"]} if origin else None
