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
    """The properties of a step that the scheduler uses.

    Parameters
    ----------
    name : str
        The step.
    before : tuple of str
        The steps it depends on.
    optional : frozenset of str
        Those of `before` that may fail, because only optional inputs come from them.
    always : bool
        It runs even if steps before it failed (``--always``).
    retries : int
        Number of further attempts after a failure.
    demand : ComputeResources
        Demanded resources; one core by default.
    seconds : float
        Expected duration; used for the order of ready steps only.
    room : str
        The resource pool in which it runs; empty for the default pool.
    planned : {"go", "skip", "blocked"}
        Whether the plan lets it start at all.
    spare : int or None
        Number of steps of `optional` that may have failed; None for all of them, in any final state.
    lane : str
        Group of tasks that share the limit `at_once`.
    at_once : int or None
        Number of tasks of its lane that may run at once.
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
    """Another run is computing the same step; the loop retries until :class:`LeaseGranted`."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseGranted:
    """The lease of the step is held; no other run computes the step."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished:
    """An attempt is over; if it succeeded, its outputs are published.

    Parameters
    ----------
    step : str
        The step.
    attempt : int
        Number of the attempt, from 1; messages about earlier attempts are ignored.
    state : {"succeeded", "failed", "cancelled"}
        State in which it ended.
    final : bool
        Do not retry: another attempt would fail in the same way.
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
    """Decide between run and reuse; the results of all steps before it are known."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquireLease:
    """Acquire the lease of the step, so that no other run computes it meanwhile."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseLease:
    """Release a lease that was granted after its step had finished."""

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
    """Stop the running attempt; `hard` kills it without an interrupt first."""

    step: str
    hard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishStep:
    """Release the lease of a finished step, and report its state to the observers.

    Parameters
    ----------
    step : str
        The step.
    state : FinalState
        Its final state.
    cause : str or None
        The failed or cancelled step that blocked it or held it back.
    """

    step: str
    state: FinalState
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishRun:
    """Finish the run: every step is finished."""

    state: RunState


Command = DecideStep | AcquireLease | ReleaseLease | SubmitAttempt | StartTimer | CancelStep | FinishStep | FinishRun
