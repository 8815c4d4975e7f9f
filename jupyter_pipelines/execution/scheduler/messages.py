"""Messages that the scheduler gets and commands that it returns, between :mod:`.state_machine` and :mod:`.loop`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jupyter_pipelines.pipeline.step import ComputeResources

StepState = Literal[
    "pending",
    "deciding",
    "ready",
    "waiting",
    "running",
    "retrying",
    "succeeded",
    "reused",
    "failed",
    "blocked",
    "skipped",
    "cancelled",
]
FinalState = Literal["succeeded", "reused", "failed", "blocked", "skipped", "cancelled"]
RunState = Literal["succeeded", "failed", "cancelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledStep:
    """What the scheduler has to know of a step.

    Parameters
    ----------
    name : str
        The step.
    before : tuple of str
        The steps it waits for.
    optional : frozenset of str
        Those of `before` that may fail, because only optional inputs come from them.
    always : bool
        It runs however the steps before it ended.
    retries : int
        How often it is tried again.
    demand : ComputeResources
        What it asks for; a core if it does not say.
    seconds : float
        How long it is expected to take; decides who goes first, nothing else.
    room : str
        The resource pool in which it runs; empty for the default pool.
    planned : {"go", "skip", "blocked"}
        Whether the plan lets it start at all.
    spare : int or None
        How many of `optional` may have failed; None for all of them, in whatever way they ended.
    lane : str
        Tasks of one lane share a limit.
    at_once : int or None
        How many tasks of its lane may run at once.
    """

    name: str
    before: tuple[str, ...] = ()
    optional: frozenset[str] = frozenset()
    always: bool = False
    retries: int = 0
    demand: ComputeResources = field(default_factory=ComputeResources)
    seconds: float = 1.0
    room: str = ""
    planned: Literal["go", "skip", "blocked"] = "go"
    spare: int | None = None
    lane: str = ""
    at_once: int | None = None


# Messages to the scheduler ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionMade:
    """The answer to :class:`DecideStep`; ``failed`` means that no decision could be made."""

    step: str
    decision: Literal["run", "reuse", "blocked", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseBusy:
    """Another run is computing the same step; the loop asks again and again until :class:`LeaseGranted`."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGranted:
    """The lease of the step is held; no other run computes the step."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished:
    """An attempt is over, its outputs published if it succeeded.

    Parameters
    ----------
    step : str
        Which step.
    attempt : int
        Which attempt, counted from 1; news of an earlier one are ignored.
    state : {"succeeded", "failed", "cancelled"}
        How it ended.
    final : bool
        Another attempt would not help.
    """

    step: str
    attempt: int
    state: Literal["succeeded", "failed", "cancelled"]
    final: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired:
    """The pause before another attempt is over."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRequested:
    """A request to stop a step, or with None the whole run; the second request stops it at once."""

    step: str | None = None


Message = DecisionMade | LeaseBusy | LeaseGranted | AttemptFinished | TimerFired | StopRequested


# Commands of the scheduler ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DecideStep:
    """Decide between run and reuse, now that everything before the step is known."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquireLease:
    """Acquire the lease of the step, so that no other run computes it meanwhile."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLease:
    """Give back a lease that was granted too late."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitAttempt:
    """Start an attempt in a fresh kernel."""

    step: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTimer:
    """Pause for `seconds` before the next attempt."""

    step: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelStep:
    """Stop the attempt under way; `hard` means without asking it first."""

    step: str
    hard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishStep:
    """The step is finished: give back its lease, and report it to the observers.

    Parameters
    ----------
    step : str
        Which step.
    state : FinalState
        How it ended.
    cause : str or None
        The step because of which it was blocked or not started.
    """

    step: str
    state: FinalState
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRun:
    """Every step is over."""

    state: RunState


Command = DecideStep | AcquireLease | ReleaseLease | SubmitAttempt | StartTimer | CancelStep | FinishStep | FinishRun
