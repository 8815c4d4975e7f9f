"""The scheduler, a pure state machine: messages in, commands out; no input or output, no clock, no threads.

The states of a step::

    pending ── all steps before are finished ─> deciding ── reuse ──> reused
                                                    │ run
                                                    v
       retrying <── failed, tries left ──┐       ready ── a place is free ──> waiting (for the lease)
           │                             │         ^                             │ granted
           └── pause over ──> ready ──> running <──┴── still to run ── deciding <┘
                                         │
                                         └──> succeeded | failed | cancelled

A step is decided twice: before the lease, so that a reused step needs none, and under it, because another run may have
computed the step meanwhile. A step that waits for a lease holds no slot; a step that holds a lease never waits for
another. So two runs cannot deadlock.

After a failure
---------------
No further step starts, unless `keep_going`. Running steps may finish, because the next run reuses their results. A step
that can be reused is still reused, and ``--always`` steps run. A failure that later steps see only through optional
inputs holds back no step: the author has declared that the result may be missing.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jupyter_pipelines.execution.scheduler.messages import (
    AcquireLease,
    AttemptFinished,
    CancelStep,
    Command,
    DecideStep,
    DecisionMade,
    FinalState,
    FinishRun,
    FinishStep,
    LeaseBusy,
    LeaseGranted,
    Message,
    ReleaseLease,
    RunState,
    ScheduledStep,
    StartTimer,
    StepState,
    StopRequested,
    SubmitAttempt,
    TimerFired,
)
from jupyter_pipelines.pipeline.state_names import FINISHED
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.pipeline.step_graph import topological_order

LONGEST_PAUSE = 60.0


class StepScheduler:
    """Schedules the steps of a run.

    Responsibilities
    ----------------
    - which step is decided, leased, started, retried or ended, and when;
    - at most `jobs` steps at once, and no more than `capacity` in all;
    - steps on the longest remaining path first, ties in the order of `tasks`.

    Parameters
    ----------
    tasks : sequence of ScheduledStep
        Every step of the plan; their dependencies must have no cycle.
    jobs : int
        Number of steps that may run at once.
    capacity : ComputeResources
        Total resources; None for an unlimited one. A task that demands more than the total gets all of it.
    pools : Mapping of str to (int, ComputeResources) or None
        Jobs and capacity of each resource pool, by its name; ``""`` is the default pool. None for a single pool.
    keep_going : bool
        After a failure, go on with what does not depend on it.
    """

    def __init__(
        self,
        tasks: Sequence[ScheduledStep],
        *,
        jobs: int,
        capacity: ComputeResources | None = None,
        pools: Mapping[str, tuple[int, ComputeResources]] | None = None,
        keep_going: bool = False,
    ) -> None:
        self._tasks = {task.name: task for task in tasks}
        self._after = _successors(tasks)
        backwards = topological_order({task.name: task.before for task in tasks})[::-1]
        self._states: dict[str, StepState] = dict.fromkeys(self._tasks, "pending")
        self._missing = {task.name: len(task.before) for task in tasks}
        self._attempts = dict.fromkeys(self._tasks, 0)
        self._causes: dict[str, str] = {}
        self._leased: set[str] = set()
        self._places = _ResourcePools(self._tasks, pools or {"": (jobs, capacity or ComputeResources())})
        self._queue = _ReadyQueue(tasks, self._after, backwards)
        self._tolerated = _tolerated(self._tasks, self._after, backwards)
        self._keep_going = keep_going
        self._culprit: str | None = None
        self._deciding = 0
        self._open = len(self._tasks)
        self._spared = {task.name for task in tasks if task.spare is not None}
        self._told = False
        self._stopping = False
        self._asked: set[str] = set()
        self._out: list[Command] = []
        self._handlers: Mapping[type[Message], Callable[[Any], None]] = {
            DecisionMade: self._on_decided,
            LeaseBusy: self._on_lease_busy,
            LeaseGranted: self._on_lease_granted,
            AttemptFinished: self._on_finished,
            TimerFired: self._on_timer_fired,
            StopRequested: self._on_stop_requested,
        }

    @property
    def over(self) -> bool:
        """Whether every step is finished."""
        return not self._open

    def state(self, step: str) -> StepState:
        """Return the state of a step."""
        return self._states[step]

    def attempts(self, step: str) -> int:
        """Return the number of attempts of a step that were started."""
        return self._attempts[step]

    def start(self) -> list[Command]:
        """Return the first commands."""
        for task in self._tasks.values():
            if task.planned != "go":
                self._settle(task.name, "skipped" if task.planned == "skip" else "blocked")
        for name in self._tasks:
            self._advance(name)
        return self._flush()

    def handle(self, message: Message) -> list[Command]:
        """Return the commands that follow from `message`; none for a message that its step's state has outdated."""
        self._handlers[type(message)](message)
        return self._flush()

    # Messages

    def _on_decided(self, message: DecisionMade) -> None:
        name = message.step
        if self._states[name] != "deciding":
            return
        self._deciding -= 1
        if message.decision == "reuse":
            self._settle(name, "reused")
        elif message.decision == "blocked":
            self._settle(name, "blocked")
        elif message.decision == "failed":
            self._fail(name)
        elif self._held_back(name):
            self._settle(name, "skipped", self._culprit)
        # The second decision, under the lease: the slot was taken before the lease was requested.
        elif self._places.has(name):
            self._submit(name)
        else:
            self._enqueue(name)

    def _on_lease_busy(self, message: LeaseBusy) -> None:
        if self._states[message.step] == "waiting":
            # Another run may compute for hours: its step must not occupy a slot of this run meanwhile.
            self._places.leave(message.step)
            if self._held_back(message.step):
                self._settle(message.step, "skipped", self._culprit)

    def _on_lease_granted(self, message: LeaseGranted) -> None:
        if self._states[message.step] == "waiting":
            self._leased.add(message.step)
            self._decide(message.step)
        elif self._states[message.step] in FINISHED:
            # Cancelled while the loop was acquiring it.
            self._out.append(ReleaseLease(step=message.step))

    def _on_finished(self, message: AttemptFinished) -> None:
        name = message.step
        # Late news of an attempt that was given up, or of an earlier attempt.
        if self._states[name] != "running" or message.attempt != self._attempts[name]:
            return
        if message.state != "failed":
            self._settle(name, message.state)
        elif message.final or not self._may_retry(name):
            self._fail(name)
        else:
            self._retry(name)

    def _on_timer_fired(self, message: TimerFired) -> None:
        if self._states[message.step] == "retrying":
            self._enqueue(message.step)

    def _on_stop_requested(self, message: StopRequested) -> None:
        self._stopping = self._stopping or message.step is None
        for name in self._tasks:
            if message.step in (None, name):
                self._stop(name)

    # Transitions

    def _advance(self, name: str) -> None:
        if self._states[name] == "pending" and not self._missing[name] and not self._stopping:
            self._decide(name)

    def _decide(self, name: str) -> None:
        self._states[name] = "deciding"
        self._deciding += 1
        self._out.append(DecideStep(step=name))

    def _enqueue(self, name: str) -> None:
        self._states[name] = "ready"
        self._queue.add(name)

    def _submit(self, name: str) -> None:
        self._states[name] = "running"
        self._attempts[name] += 1
        self._out.append(SubmitAttempt(step=name, attempt=self._attempts[name]))

    def _retry(self, name: str) -> None:
        # The slot is free during the pause; the lease stays, so that no other run starts the same step.
        self._places.leave(name)
        self._states[name] = "retrying"
        self._out.append(StartTimer(step=name, seconds=pause_after(self._attempts[name])))

    def _may_retry(self, name: str) -> bool:
        tries_left = self._attempts[name] <= self._tasks[name].retries
        return tries_left and name not in self._asked and not self._held_back(name)

    def _stop(self, name: str) -> None:
        state = self._states[name]
        if state == "running":
            self._out.append(CancelStep(step=name, hard=name in self._asked))
            self._asked.add(name)
        else:
            self._deciding -= state == "deciding"
            self._settle(name, "cancelled")

    def _held_back(self, name: str) -> bool:
        return self._culprit is not None and not self._tasks[name].always

    def _fail(self, name: str) -> None:
        self._settle(name, "failed")
        if not self._keep_going and self._culprit is None and not (self._tolerated[name] and self._is_spared(name)):
            self._culprit = name
            self._hold_back()

    def _hold_back(self) -> None:
        """Finish the steps that have not started; pending ones are still decided later, as they may be reused."""
        for name, state in self._states.items():
            if self._tasks[name].always:
                continue
            if state == "retrying":
                self._settle(name, "failed")
            elif state == "ready" or (state == "waiting" and not self._places.has(name)):
                self._settle(name, "failed" if self._attempts[name] else "skipped", self._culprit)

    def _settle(self, name: str, state: FinalState, cause: str | None = None) -> None:
        """Finish a step, and the later steps that need its result."""
        # A queue, not recursion: a chain may have ten thousand steps.
        ends: deque[tuple[str, FinalState, str | None]] = deque([(name, state, cause)])
        while ends:
            step, end_state, end_cause = ends.popleft()
            if self._states[step] not in FINISHED:
                self._end(step, end_state, end_cause)
                ends.extend(self._consequences(step))

    def _end(self, name: str, state: FinalState, cause: str | None) -> None:
        self._states[name] = state
        self._open -= 1
        self._places.leave(name)
        self._queue.remove(name)
        if cause is not None:
            self._causes[name] = cause
        self._out.append(FinishStep(step=name, state=state, cause=cause))

    def _consequences(self, name: str) -> Iterable[tuple[str, FinalState, str | None]]:
        cause = self._causes.get(name, name)
        for later in self._after[name]:
            if self._states[later] != "pending" or self._tasks[later].planned != "go":
                continue
            if self._is_there(name) or self._can_do_without(self._tasks[later], name):
                self._missing[later] -= 1
                self._advance(later)
            else:
                yield later, self._consequence(name), cause

    def _is_there(self, name: str) -> bool:
        return self._states[name] in ("succeeded", "reused") or self._tasks[name].planned == "skip"

    def _can_do_without(self, task: ScheduledStep, before: str) -> bool:
        if task.spare is None:
            return task.always or before in task.optional
        return self._states[before] == "failed" and self._failed_before(task) <= task.spare

    def _failed_before(self, task: ScheduledStep) -> int:
        return sum(self._states[name] == "failed" for name in task.before)

    def _is_spared(self, name: str) -> bool:
        """Tell whether the failed tasks are within the allowance (``--allow-failed``) of each gathering step."""
        later = (self._tasks[successor] for successor in self._after[name] if successor in self._spared)
        return all(self._failed_before(task) <= (task.spare or 0) for task in later)

    def _consequence(self, name: str) -> FinalState:
        if self._stopping:
            return "cancelled"
        return "skipped" if self._states[name] == "skipped" else "blocked"

    # Commands

    def _flush(self) -> list[Command]:
        self._admit()
        if not self._open and not self._told:
            self._told = True
            self._out.append(FinishRun(state=self._verdict()))
        out, self._out = self._out, []
        return out

    def _admit(self) -> None:
        """Start ready steps in free slots, once no step is being decided."""
        # A step whose decision is pending may turn out to be on the longest path, and would come too late.
        while not self._deciding and not self._places.full:
            name = self._queue.first(self._places.fits)
            if name is None:
                return
            self._queue.remove(name)
            self._places.take(name)
            self._begin(name)

    def _begin(self, name: str) -> None:
        if name in self._leased:
            self._submit(name)
        else:
            self._states[name] = "waiting"
            self._out.append(AcquireLease(step=name))

    def _verdict(self) -> RunState:
        states = {state for name, state in self._states.items() if not self._is_done_without(name)}
        if "cancelled" in states:
            return "cancelled"
        return "failed" if states & {"failed", "blocked"} else "succeeded"

    def _is_done_without(self, name: str) -> bool:
        """Tell whether a task failed within the allowance, and the gathering steps succeeded without it."""
        later = [successor for successor in self._after[name] if successor in self._spared]
        return self._states[name] == "failed" and bool(later) and all(map(self._is_there, later))


class _ResourcePools:
    """Resource pools by name; a task with an unknown or no pool name belongs to the default pool."""

    def __init__(self, tasks: Mapping[str, ScheduledStep], pools: Mapping[str, tuple[int, ComputeResources]]) -> None:
        self._every = {pool: _ResourcePool(tasks, *size) for pool, size in pools.items()}
        default_pool = self._every[""]
        self._of = {name: self._every.get(task.room, default_pool) for name, task in tasks.items()}

    @property
    def full(self) -> bool:
        return all(pool.full for pool in self._every.values())

    def has(self, name: str) -> bool:
        return self._of[name].has(name)

    def fits(self, name: str) -> bool:
        return self._of[name].fits(name)

    def take(self, name: str) -> None:
        self._of[name].take(name)

    def leave(self, name: str) -> None:
        self._of[name].leave(name)


class _ResourcePool:
    """The free slots and resources of a pool: at most `jobs` tasks, at most `capacity` in all."""

    def __init__(self, tasks: Mapping[str, ScheduledStep], jobs: int, capacity: ComputeResources) -> None:
        # `--jobs` above the number of cores is the user's decision: a task without a demand counts as one core, so the
        # cores must not limit it.
        cores = None if capacity.cpus is None else max(capacity.cpus, jobs)
        self._free = [jobs, *(_infinite(limit) for limit in (cores, capacity.gpus, capacity.memory))]
        self._costs = {name: _cost(task.demand, self._free) for name, task in tasks.items()}
        self._taken: set[str] = set()
        self._lanes = {name: task.lane for name, task in tasks.items() if task.at_once is not None}
        self._left = {task.lane: task.at_once for task in tasks.values() if task.at_once is not None}

    @property
    def full(self) -> bool:
        return self._free[0] < 1

    def has(self, name: str) -> bool:
        return name in self._taken

    def fits(self, name: str) -> bool:
        if name in self._lanes and self._left[self._lanes[name]] < 1:
            return False
        return all(cost <= free for cost, free in zip(self._costs[name], self._free, strict=True))

    def take(self, name: str) -> None:
        self._taken.add(name)
        if name in self._lanes:
            self._left[self._lanes[name]] -= 1
        self._free = [free - cost for cost, free in zip(self._costs[name], self._free, strict=True)]

    def leave(self, name: str) -> None:
        if name in self._taken:
            self._taken.discard(name)
            if name in self._lanes:
                self._left[self._lanes[name]] += 1
            self._free = [free + cost for cost, free in zip(self._costs[name], self._free, strict=True)]


class _ReadyQueue:
    """The tasks that are ready to start, longest remaining path first."""

    def __init__(
        self, tasks: Sequence[ScheduledStep], after: Mapping[str, Sequence[str]], backwards: Sequence[str]
    ) -> None:
        tails = _tails(tasks, after, backwards)
        order = sorted(range(len(tasks)), key=lambda position: (-tails[tasks[position].name], position))
        self._ranks = {tasks[position].name: rank for rank, position in enumerate(order)}
        self._names: list[str] = []

    def add(self, name: str) -> None:
        insort(self._names, name, key=self._ranks.__getitem__)

    def remove(self, name: str) -> None:
        where = bisect_left(self._names, self._ranks[name], key=self._ranks.__getitem__)
        if self._names[where : where + 1] == [name]:
            del self._names[where]

    def first(self, fits: Callable[[str], bool]) -> str | None:
        return next((name for name in self._names if fits(name)), None)


def pause_after(tried: int) -> float:
    """Return the seconds to wait after attempt `tried`: 0, then 1, 2, 4 … up to 60."""
    # The exponent is bounded, too: `--retries` may be so large that the power overflows a float.
    return 0.0 if tried <= 1 else min(LONGEST_PAUSE, 2.0 ** min(tried - 2, 10))


def _infinite(amount: int | None) -> float:
    return float("inf") if amount is None else amount


def _cost(demand: ComputeResources, free: Sequence[float]) -> tuple[float, ...]:
    requested = (1, 1 if demand.cpus is None else demand.cpus, demand.gpus or 0, demand.memory or 0)
    return tuple(min(amount, limit) for amount, limit in zip(requested, free, strict=True))


def _successors(tasks: Sequence[ScheduledStep]) -> dict[str, list[str]]:
    after: dict[str, list[str]] = {task.name: [] for task in tasks}
    for task in tasks:
        for name in task.before:
            after[name].append(task.name)
    return after


def _tails(
    tasks: Sequence[ScheduledStep], after: Mapping[str, Sequence[str]], backwards: Sequence[str]
) -> dict[str, float]:
    seconds = {task.name: task.seconds for task in tasks}
    tails: dict[str, float] = {}
    for name in backwards:
        tails[name] = seconds[name] + max((tails[later] for later in after[name]), default=0.0)
    return tails


def _tolerated(
    tasks: Mapping[str, ScheduledStep], after: Mapping[str, Sequence[str]], backwards: Sequence[str]
) -> dict[str, bool]:
    """Return for each task whether every path from it to later tasks leads through an optional input."""
    tolerated: dict[str, bool] = {}
    for name in backwards:
        later = [
            successor for successor in after[name] if tasks[successor].planned == "go" and not tasks[successor].always
        ]
        tolerated[name] = bool(later) and all(
            name in tasks[successor].optional or tolerated[successor] for successor in later
        )
    return tolerated
