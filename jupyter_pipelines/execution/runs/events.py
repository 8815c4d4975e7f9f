"""Events that a run emits to its observers.

Observers are callables that get every event as the keyword argument ``event``, one at a time, in the thread that runs
the loop. A slow observer slows the run down, but none can break it: an observer that raises gets no further events.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.runs.result import Run, StepRun, error_from_dict, error_to_dict
from jupyter_pipelines.planning.reasons import DecisionReason


class RunObserver(Protocol):
    """A callable that gets every event of a run."""

    def __call__(self, *, event: Event) -> None:
        """Handle `event`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunEvent:
    """The common fields of events.

    Parameters
    ----------
    run : str
        Id of the run.
    at : str
        Time of the event, ISO 8601 in UTC.
    """

    kind: ClassVar[str]

    run: str
    at: str

    def to_dict(self) -> dict[str, Any]:
        """Return the event as a line of ``events.jsonl``."""
        return {"event": self.kind, "run": self.run, "at": self.at} | self._more()

    def _more(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(_RunEvent):
    """A run begins.

    Parameters
    ----------
    notebook : str or None
        Path of the notebook from the project's root.
    parameters : Mapping
        Values by name.
    decisions : Mapping of str to str
        The plan's decision for each step, in the order of the plan.
    jobs : int
        Number of steps that may run at once.
    folder : str or None
        Folder with the run's document, notebooks and logs; None if the store cannot be written.
    """

    kind: ClassVar[str] = "run-started"

    notebook: str | None
    parameters: Mapping[str, Any]
    decisions: Mapping[str, str]
    jobs: int
    folder: str | None

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the steps, in the order of the plan."""
        return tuple(self.decisions)

    def _more(self) -> dict[str, Any]:
        return {
            "notebook": self.notebook,
            "parameters": dict(self.parameters),
            "decisions": dict(self.decisions),
            "jobs": self.jobs,
            "folder": self.folder,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDecided(_RunEvent):
    """It is decided whether a step runs, as all steps before it are finished.

    Parameters
    ----------
    step : str
        The step.
    decision : str
        ``run``, ``reuse`` or ``blocked``.
    reason : DecisionReason
        Reason of the decision.
    key : str or None
        Its key, made of the digests of its inputs; None if it has none.
    """

    kind: ClassVar[str] = "step-decided"

    step: str
    decision: str
    reason: DecisionReason
    key: str | None

    def _more(self) -> dict[str, Any]:
        reason = self.reason.to_dict()
        return {"step": self.step, "decision": self.decision, "reason": reason, "key": self.key}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWaiting(_RunEvent):
    """Another run computes the same step; this run waits, and reuses the result."""

    kind: ClassVar[str] = "step-waiting"

    step: str

    def _more(self) -> dict[str, Any]:
        return {"step": self.step}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStarted(_RunEvent):
    """An attempt begins.

    Parameters
    ----------
    step : str
        The step.
    attempt : int
        Number of the attempt, from 1.
    log : str
        Path of its log.
    """

    kind: ClassVar[str] = "step-started"

    step: str
    attempt: int
    log: str

    def _more(self) -> dict[str, Any]:
        return {"step": self.step, "attempt": self.attempt, "log": self.log}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress(_RunEvent):
    """A running step reports progress; only changes of `cell` are written to ``events.jsonl``.

    Parameters
    ----------
    step : str
        The step.
    cell, cells : int or None
        Number of the running cell of its notebook, from 1, and number of cells.
    text : str
        The last line that it printed.
    """

    kind: ClassVar[str] = "step-progress"

    step: str
    cell: int | None = None
    cells: int | None = None
    text: str = ""

    def _more(self) -> dict[str, Any]:
        return {"step": self.step, "cell": self.cell, "cells": self.cells, "text": self.text}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetried(_RunEvent):
    """An attempt failed, and another one follows in a fresh kernel.

    Parameters
    ----------
    step : str
        The step.
    attempt : int
        Number of the failed attempt, from 1.
    pause : float
        Seconds until the next attempt.
    fault : Diagnostic or None
        Why the attempt failed.
    seconds : float
        Duration of the failed attempt.
    notebook, log : str or None
        Paths of its executed notebook and log, renamed; None if there is none.
    """

    kind: ClassVar[str] = "step-retried"

    step: str
    attempt: int
    pause: float
    fault: Diagnostic | None = None
    seconds: float = 0.0
    notebook: str | None = None
    log: str | None = None

    def _more(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "attempt": self.attempt,
            "pause": self.pause,
            "fault": error_to_dict(self.fault) if self.fault else None,
            "seconds": self.seconds,
            "notebook": self.notebook,
            "log": self.log,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFinished(_RunEvent):
    """A step is finished.

    Parameters
    ----------
    result : StepRun
        Its result.
    """

    kind: ClassVar[str] = "step-finished"

    result: StepRun

    @property
    def step(self) -> str:
        """Name of the step."""
        return self.result.name

    @property
    def state(self) -> str:
        """Final state of the step."""
        return self.result.state

    def _more(self) -> dict[str, Any]:
        return {"step": self.step} | self.result.to_dict()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningIssued(_RunEvent):
    """A warning about the run or one of its steps.

    Parameters
    ----------
    fault : Diagnostic
        The warning.
    step : str or None
        The step concerned; None for the run as a whole.
    """

    kind: ClassVar[str] = "warned"

    fault: Diagnostic
    step: str | None = None

    def _more(self) -> dict[str, Any]:
        return {"step": self.step, "fault": error_to_dict(self.fault)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(_RunEvent):
    """A run has ended.

    Parameters
    ----------
    result : Run
        Its result.
    """

    kind: ClassVar[str] = "run-finished"

    result: Run = field(repr=False)

    @property
    def state(self) -> str:
        """Final state of the run."""
        return self.result.state

    def _more(self) -> dict[str, Any]:
        # Without the steps: each had an event of its own, and the run's document has them all.
        return {"state": self.result.state, "seconds": self.result.seconds, "saved": self.result.saved}


Event = (
    RunStarted
    | StepDecided
    | StepWaiting
    | StepStarted
    | StepProgress
    | StepRetried
    | StepFinished
    | WarningIssued
    | RunFinished
)


def event_from_dict(document: Mapping[str, Any]) -> Event | None:
    """Return the event that a line of ``events.jsonl`` describes; None for an unknown kind of event.

    The result of a :class:`RunFinished` has no steps: they are in the run's document.
    """
    # The file may come from another version, or from another user of a shared folder: a line that is no event of this
    # version is passed over, and must not end the reader.
    kind = _KINDS.get(str(document.get("event")))
    try:
        return kind(document, run=document["run"], at=document["at"]) if kind else None
    except (KeyError, TypeError, ValueError):
        return None


def _pick(document: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: document[name] for name in names}


def _started(document: Mapping[str, Any], **header: Any) -> Event:
    fields = _pick(document, "notebook", "parameters", "decisions", "jobs", "folder")
    return RunStarted(**header, **fields)


def _decided(document: Mapping[str, Any], **header: Any) -> Event:
    reason_fields = document["reason"]
    reason = DecisionReason(
        code=reason_fields["code"], text=reason_fields["text"], details=tuple(reason_fields["details"])
    )
    return StepDecided(**header, reason=reason, **_pick(document, "step", "decision", "key"))


def _retried(document: Mapping[str, Any], **header: Any) -> Event:
    fields = _pick(document, "step", "attempt", "pause", "seconds", "notebook", "log")
    fault = error_from_dict(document["fault"]) if document["fault"] else None
    return StepRetried(**header, fault=fault, **fields)


def _finished(document: Mapping[str, Any], **header: Any) -> Event:
    state, seconds = str(document["state"]), float(document["seconds"])
    return RunFinished(**header, result=Run(id=header["run"], state=state, seconds=seconds, parameters={}, steps={}))


# Fields that a newer version has added to an event are left out by each of these.
_KINDS: Mapping[str, Callable[..., Event]] = {
    RunStarted.kind: _started,
    StepDecided.kind: _decided,
    StepWaiting.kind: lambda document, **header: StepWaiting(**header, **_pick(document, "step")),
    StepStarted.kind: lambda document, **header: StepStarted(**header, **_pick(document, "step", "attempt", "log")),
    StepProgress.kind: lambda document, **header: StepProgress(
        **header, **_pick(document, "step", "cell", "cells", "text")
    ),
    StepRetried.kind: _retried,
    StepFinished.kind: lambda document, **header: StepFinished(**header, result=StepRun.from_dict(document)),
    WarningIssued.kind: lambda document, **header: WarningIssued(
        **header, step=document["step"], fault=error_from_dict(document["fault"])
    ),
    RunFinished.kind: _finished,
}
