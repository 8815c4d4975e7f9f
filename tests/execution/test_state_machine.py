"""The scheduler without a clock, a thread or a kernel: tables of cases, and random graphs in random orders."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_pipelines.execution.scheduler.messages import (
    AcquireLease,
    AttemptFinished,
    CancelStep,
    DecideStep,
    DecisionMade,
    FinishRun,
    FinishStep,
    LeaseBusy,
    LeaseGranted,
    ReleaseLease,
    ScheduledStep,
    StartTimer,
    StopRequested,
    SubmitAttempt,
    TimerFired,
)
from jupyter_pipelines.execution.scheduler.state_machine import StepScheduler, pause_after
from jupyter_pipelines.pipeline.state_names import FINISHED
from jupyter_pipelines.pipeline.step import ComputeResources


@dataclass
class SchedulerSimulation:
    """Everything around a scheduler: obeys its commands in a chosen order, and records what happens."""

    tasks: Sequence[ScheduledStep]
    outcomes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # per attempt; "succeeded" when it runs out
    decisions: Mapping[str, str] = field(default_factory=dict)
    busy: Mapping[str, int] = field(default_factory=dict)  # how often the lease is taken
    computed_elsewhere: frozenset[str] = frozenset()  # once its lease was waited for, the step can be reused
    jobs: int = 2
    capacity: ComputeResources | None = None
    keep_going: bool = False
    choose: Callable[[Sequence[Any]], Any] = staticmethod(lambda waiting: waiting[0])

    def __post_init__(self) -> None:
        self.scheduler = StepScheduler(self.tasks, jobs=self.jobs, capacity=self.capacity, keep_going=self.keep_going)
        self.ends: dict[str, str] = {}
        self.causes: dict[str, str | None] = {}
        self.starts: list[str] = []
        self.pauses: list[float] = []
        self.cancels: list[tuple[str, bool]] = []
        self.running: dict[str, int] = {}
        self.leases: set[str] = set()
        self.verdicts: list[str] = []
        self.todo: list[Any] = []
        self.asked = Counter[str]()
        self.commands: list[Any] = []
        self.obey(self.scheduler.start())

    def obey(self, commands: Sequence[Any]) -> None:
        for command in commands:
            self.commands.append(command)
            getattr(self, f"_{type(command).__name__}")(command)

    def send(self, message: Any) -> None:
        self.obey(self.scheduler.handle(message))

    def step(self) -> bool:
        """Send the next message to the scheduler; return whether there was a message."""
        if not self.todo:
            return False
        message = self.choose(self.todo)
        self.todo.remove(message)
        if isinstance(message, AttemptFinished):
            self.running.pop(message.step, None)
        if isinstance(message, LeaseGranted):
            self.leases.add(message.step)
        self.send(message)
        return True

    def run(self, most: int = 100_000) -> SchedulerSimulation:
        for _ in range(most):
            if not self.step():
                return self
        raise AssertionError("the run does not end")

    def _DecideStep(self, command: DecideStep) -> None:
        decision = self.decisions.get(command.step, "run")
        if command.step in self.leases and command.step in self.computed_elsewhere:
            decision = "reuse"
        self.todo.append(DecisionMade(step=command.step, decision=decision))

    def _AcquireLease(self, command: AcquireLease) -> None:
        assert command.step not in self.leases
        if self.asked[command.step] < self.busy.get(command.step, 0):
            self.asked[command.step] += 1
            self.todo.append(LeaseBusy(step=command.step))
        self.todo.append(LeaseGranted(step=command.step))

    def _ReleaseLease(self, command: ReleaseLease) -> None:
        self.leases.remove(command.step)

    def _SubmitAttempt(self, command: SubmitAttempt) -> None:
        assert command.step in self.leases, "nothing runs without a lease"
        assert command.step not in self.running
        self.starts.append(command.step)
        self.running[command.step] = command.attempt
        assert len(self.running) <= self.jobs
        outcomes = self.outcomes.get(command.step, ())
        state = outcomes[command.attempt - 1] if command.attempt <= len(outcomes) else "succeeded"
        self.todo.append(AttemptFinished(step=command.step, attempt=command.attempt, state=state))

    def _StartTimer(self, command: StartTimer) -> None:
        self.pauses.append(command.seconds)
        self.todo.append(TimerFired(step=command.step))

    def _CancelStep(self, command: CancelStep) -> None:
        self.cancels.append((command.step, command.hard))
        gone = [
            message for message in self.todo if isinstance(message, AttemptFinished) and message.step == command.step
        ]
        for message in gone:
            self.todo.remove(message)
            self.todo.append(AttemptFinished(step=message.step, attempt=message.attempt, state="cancelled"))

    def _FinishStep(self, command: FinishStep) -> None:
        assert command.step not in self.ends, "a step ends once"
        self.ends[command.step] = command.state
        self.causes[command.step] = command.cause
        self.leases.discard(command.step)

    def _FinishRun(self, command: FinishRun) -> None:
        self.verdicts.append(command.state)


def task(name: str, *before: str, optional: str = "", **more: Any) -> ScheduledStep:
    return ScheduledStep(name=name, before=before, optional=frozenset(optional.split()), **more)


CHAIN = (task("a"), task("b", "a"), task("c", "b"))
# left and right are independent; side hangs on nothing
FORK = (task("a"), task("left", "a"), task("right", "a"), task("end", "left"), task("side", seconds=0.5))


def test_a_chain_runs_in_order() -> None:
    simulation = SchedulerSimulation(CHAIN).run()
    assert simulation.starts == ["a", "b", "c"]
    assert simulation.ends == dict.fromkeys("abc", "succeeded")
    assert simulation.verdicts == ["succeeded"]


def test_an_empty_plan_succeeds_at_once() -> None:
    assert SchedulerSimulation(()).verdicts == ["succeeded"]


def test_reused_steps_take_neither_lease_nor_place() -> None:
    simulation = SchedulerSimulation(CHAIN, decisions=dict.fromkeys("abc", "reuse")).run()
    assert simulation.starts == []
    assert simulation.asked == {}
    assert not [command for command in simulation.commands if isinstance(command, AcquireLease)]
    assert simulation.ends == dict.fromkeys("abc", "reused")


def test_what_follows_is_decided_after_what_is_before_it() -> None:
    """Early cut-off: `b` is decided when `a` has run, not earlier."""
    simulation = SchedulerSimulation(CHAIN, decisions={"b": "reuse"})
    assert [command for command in simulation.commands if isinstance(command, DecideStep)] == [DecideStep(step="a")]
    simulation.run()
    assert simulation.ends == {"a": "succeeded", "b": "reused", "c": "succeeded"}


def test_a_step_is_decided_again_under_its_lease() -> None:
    simulation = SchedulerSimulation((task("a"),), busy={"a": 1}, computed_elsewhere=frozenset("a")).run()
    assert simulation.starts == []
    assert simulation.ends == {"a": "reused"}
    assert sum(isinstance(command, DecideStep) for command in simulation.commands) == 2


def test_a_step_that_waits_for_a_lease_holds_no_place() -> None:
    tasks = (task("a", seconds=9), task("b"))
    simulation = SchedulerSimulation(
        tasks, jobs=1, busy={"a": 1}, choose=lambda todo: min(todo, key=_granted_last)
    ).run()
    assert simulation.starts == ["b", "a"]
    assert simulation.verdicts == ["succeeded"]


def _granted_last(message: Any) -> bool:
    return isinstance(message, LeaseGranted) and message.step == "a"


def test_the_longest_way_to_the_end_goes_first() -> None:
    tasks = (task("short"), task("long", seconds=5), task("far"), task("on", "far", seconds=10), task("again"))
    assert SchedulerSimulation(tasks, jobs=1).run().starts == ["far", "on", "long", "short", "again"]


@pytest.mark.parametrize(
    ("demands", "capacity", "most"),
    [
        ([{"cpus": 2}, {"cpus": 2}, {"cpus": 1}], ComputeResources(cpus=4), 2),
        ([{"gpus": 1}, {"gpus": 1}], ComputeResources(gpus=1), 1),
        (
            [{"gpus": 1, "memory": 10}, {}, {}],
            ComputeResources(gpus=1, memory=10),
            3,
        ),  # a step that asks for nothing takes nothing
        ([{"memory": 6}, {"memory": 6}, {"memory": 1}], ComputeResources(memory=10), 2),
        ([{}, {}, {}, {}], ComputeResources(cpus=2), 4),  # --jobs 4 on two cores is respected
        ([{"cpus": 4}, {}, {}], ComputeResources(cpus=4), 2),
    ],
)
def test_demands_never_exceed_what_there_is(
    demands: list[dict[str, int]], capacity: ComputeResources, most: int
) -> None:
    tasks = [task(f"s{number}", demand=ComputeResources(**demand)) for number, demand in enumerate(demands)]
    simulation, seen = SchedulerSimulation(tasks, jobs=4, capacity=capacity), 0
    while simulation.step():
        seen = max(seen, len(simulation.running))
        for kind in ("gpus", "memory"):
            limit = getattr(capacity, kind)
            used = sum(
                getattr(step_task.demand, kind) or 0 for step_task in tasks if step_task.name in simulation.running
            )
            assert limit is None or used <= limit
    assert seen == most
    assert simulation.verdicts == ["succeeded"]


def test_a_small_step_passes_a_step_that_does_not_fit() -> None:
    tasks = [
        task("first", seconds=9, demand=ComputeResources(cpus=3)),
        task("big", seconds=5, demand=ComputeResources(cpus=4)),
        task("small"),
    ]
    simulation = SchedulerSimulation(tasks, jobs=4, capacity=ComputeResources(cpus=4)).run()
    assert simulation.starts == ["first", "small", "big"]


def test_a_demand_beyond_everything_gets_everything() -> None:
    assert SchedulerSimulation(
        [task("a", demand=ComputeResources(gpus=9))], capacity=ComputeResources(gpus=1)
    ).run().ends == {"a": "succeeded"}


@pytest.mark.parametrize(
    ("retries", "outcomes", "end", "starts", "pauses"),
    [
        (0, ["failed"], "failed", 1, []),
        (1, ["failed", "succeeded"], "succeeded", 2, [0]),
        (2, ["failed", "failed", "succeeded"], "succeeded", 3, [0, 1]),
        (2, ["failed"] * 3, "failed", 3, [0, 1]),
        (4, ["failed"] * 5, "failed", 5, [0, 1, 2, 4]),
    ],
)
def test_retries(retries: int, outcomes: list[str], end: str, starts: int, pauses: list[float]) -> None:
    simulation = SchedulerSimulation([task("a", retries=retries)], outcomes={"a": outcomes}).run()
    assert simulation.ends == {"a": end}
    assert len(simulation.starts) == starts
    assert simulation.pauses == pauses
    assert simulation.scheduler.attempts("a") == starts


def test_pauses_grow_up_to_a_minute() -> None:
    assert [pause_after(tried) for tried in (1, 2, 3, 4, 8, 100)] == [0, 1, 2, 4, 60, 60]


def test_a_final_failure_is_not_tried_again() -> None:
    simulation = SchedulerSimulation([task("a", retries=3)])
    simulation.step(), simulation.step(), simulation.step()
    assert simulation.starts == ["a"]
    simulation.send(AttemptFinished(step="a", attempt=1, state="failed", final=True))
    assert simulation.ends == {"a": "failed"}


def test_a_retry_gives_its_place_to_others_meanwhile() -> None:
    tasks = [task("a", retries=1, seconds=9), task("b")]
    simulation = SchedulerSimulation(
        tasks, jobs=1, outcomes={"a": ["failed"]}, keep_going=True, choose=_timers_last
    ).run()
    assert simulation.starts == ["a", "b", "a"]


def _timers_last(todo: Sequence[Any]) -> Any:
    return min(todo, key=lambda message: isinstance(message, TimerFired))


@pytest.mark.parametrize(
    ("tasks", "outcomes", "keep_going", "jobs", "ends"),
    [
        pytest.param(
            CHAIN,
            {"a": ["failed"]},
            False,
            2,
            {"a": "failed", "b": "blocked", "c": "blocked"},
            id="what follows is blocked",
        ),
        pytest.param(
            FORK,
            {"left": ["failed"]},
            True,
            1,
            {"a": "succeeded", "left": "failed", "right": "succeeded", "end": "blocked", "side": "succeeded"},
            id="keep going",
        ),
        pytest.param(
            FORK,
            {"left": ["failed"]},
            False,
            1,
            {"a": "succeeded", "left": "failed", "right": "skipped", "end": "blocked", "side": "skipped"},
            id="nothing new starts",
        ),
        pytest.param(
            FORK,
            {"left": ["failed"]},
            False,
            2,
            {"a": "succeeded", "left": "failed", "right": "succeeded", "end": "blocked", "side": "succeeded"},
            id="what is running may finish",
        ),
        pytest.param(
            [task("a"), task("b", "a", optional="a"), task("c", "b")],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "b": "succeeded", "c": "succeeded"},
            id="an optional input may be missing",
        ),
        pytest.param(
            [task("a"), task("b", "a"), task("c", "b", optional="b"), task("d")],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "b": "blocked", "c": "succeeded", "d": "succeeded"},
            id="an optional input from a blocked step, too",
        ),
        pytest.param(
            [task("a"), task("b", "a", optional="a"), task("c", "a", planned="skip"), task("d")],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "b": "succeeded", "c": "skipped", "d": "succeeded"},
            id="a step that does not run needs nothing",
        ),
        pytest.param(
            [task("a"), task("b", "a", optional="a"), task("c", "a")],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "b": "skipped", "c": "blocked"},
            id="another step needs it: stop",
        ),
        pytest.param(
            [task("a"), task("b", "a", optional="a"), task("c", "a")],
            {"a": ["failed"]},
            True,
            1,
            {"a": "failed", "b": "succeeded", "c": "blocked"},
            id="another step needs it: keep going",
        ),
        pytest.param(
            [task("a"), task("b", "a"), task("clean", "b", always=True), task("last", "clean")],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "b": "blocked", "clean": "succeeded", "last": "skipped"},
            id="always",
        ),
        pytest.param(
            [task("a"), task("clean", "a", always=True), task("d", seconds=0.1)],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "clean": "succeeded", "d": "skipped"},
            id="always makes no failure harmless",
        ),
        pytest.param(
            [task("a", seconds=5), task("b", retries=3)],
            {"a": ["failed"], "b": ["failed"]},
            False,
            2,
            {"a": "failed", "b": "failed"},
            id="no retry after a failure elsewhere",
        ),
    ],
)
def test_after_a_failure(
    tasks: Sequence[ScheduledStep],
    outcomes: Mapping[str, Sequence[str]],
    keep_going: bool,
    jobs: int,
    ends: Mapping[str, str],
) -> None:
    simulation = SchedulerSimulation(tasks, outcomes=outcomes, keep_going=keep_going, jobs=jobs).run()
    assert simulation.ends == ends
    assert simulation.verdicts == ["failed"]


def test_after_a_failure_what_can_be_reused_is_reused() -> None:
    simulation = SchedulerSimulation(
        (task("a", seconds=9), task("b"), task("c", "b")), outcomes={"a": ["failed"]}, jobs=1, decisions={"b": "reuse"},
        choose=lambda todo: max(todo, key=lambda message: isinstance(message, AttemptFinished) or message.step == "a"),
    ).run()  # fmt: skip
    assert simulation.ends == {"a": "failed", "b": "reused", "c": "skipped"}


def test_the_first_cause_is_named() -> None:
    simulation = SchedulerSimulation(FORK, outcomes={"a": ["failed"]}, jobs=1).run()
    assert {name: simulation.causes[name] for name in ("left", "right", "end")} == dict.fromkeys(
        ("left", "right", "end"), "a"
    )


def test_no_retry_starts_after_a_failure_elsewhere() -> None:
    tasks = [task("a", seconds=9), task("b", retries=3)]
    simulation = SchedulerSimulation(tasks, outcomes={"a": ["failed"], "b": ["failed"]}, choose=_timers_last).run()
    assert simulation.starts == ["a", "b"]
    assert simulation.ends == {"a": "failed", "b": "failed"}


def test_a_skipped_step_is_there_and_a_blocked_one_is_not() -> None:
    tasks = [task("a", planned="skip"), task("b", "a"), task("x", planned="blocked"), task("y", "x"), task("z")]
    simulation = SchedulerSimulation(tasks).run()
    assert simulation.ends == {"a": "skipped", "b": "succeeded", "x": "blocked", "y": "blocked", "z": "succeeded"}
    assert simulation.verdicts == ["failed"]


@pytest.mark.parametrize(
    ("decision", "end", "later"), [("failed", "failed", "blocked"), ("blocked", "blocked", "blocked")]
)
def test_a_step_that_cannot_be_decided(decision: str, end: str, later: str) -> None:
    simulation = SchedulerSimulation(CHAIN, decisions={"b": decision}).run()
    assert simulation.ends == {"a": "succeeded", "b": end, "c": later}
    assert simulation.verdicts == ["failed"]


def _until_running(simulation: SchedulerSimulation, *names: str) -> SchedulerSimulation:
    while not set(names) <= set(simulation.running):
        waiting = [
            message
            for message in simulation.todo
            if not isinstance(message, AttemptFinished) or message.step not in names
        ]
        simulation.choose = lambda todo, waiting=waiting: waiting[0]
        assert simulation.step()
    simulation.choose = lambda todo: todo[0]
    return simulation


def test_a_stop_cancels_what_runs_and_what_waits() -> None:
    simulation = _until_running(SchedulerSimulation(FORK, jobs=2), "left", "right")
    simulation.send(StopRequested())
    assert simulation.cancels == [("left", False), ("right", False)]
    assert simulation.ends == {"a": "succeeded", "side": "succeeded", "end": "cancelled"}
    simulation.run()
    assert simulation.ends["left"] == simulation.ends["right"] == "cancelled"
    assert simulation.verdicts == ["cancelled"]
    assert not simulation.leases


def test_a_second_stop_is_hard() -> None:
    simulation = _until_running(SchedulerSimulation((task("a"),)), "a")
    simulation.send(StopRequested())
    simulation.send(StopRequested())
    assert simulation.cancels == [("a", False), ("a", True)]


def test_a_stop_after_the_end_changes_nothing() -> None:
    simulation = SchedulerSimulation(CHAIN).run()
    simulation.send(StopRequested())
    assert simulation.verdicts == ["succeeded"]
    assert simulation.cancels == []


def test_a_step_that_wins_the_race_against_a_stop_has_succeeded() -> None:
    simulation = _until_running(SchedulerSimulation((task("a"), task("b", "a"))), "a")
    simulation.send(StopRequested())
    simulation.send(AttemptFinished(step="a", attempt=1, state="succeeded"))
    assert simulation.ends == {"a": "succeeded", "b": "cancelled"}
    assert simulation.verdicts == ["cancelled"]


def test_a_failure_after_a_stop_is_not_tried_again() -> None:
    simulation = _until_running(SchedulerSimulation((task("a", retries=3),)), "a")
    simulation.send(StopRequested())
    simulation.send(AttemptFinished(step="a", attempt=1, state="failed"))
    assert simulation.ends == {"a": "failed"}


def test_a_stop_starts_nothing_that_could_do_without_what_is_stopped() -> None:
    tasks = (task("a"), task("b", "a"), task("c", "b"), task("d", "b", optional="b"), task("e", "b", always=True))
    simulation = _until_running(SchedulerSimulation(tasks), "a")
    before = len(simulation.commands)
    simulation.send(StopRequested())
    assert simulation.ends == dict.fromkeys("bcde", "cancelled")
    assert not [command for command in simulation.commands[before:] if isinstance(command, DecideStep)]


def test_a_stop_during_a_pause_ends_it() -> None:
    scheduler = StepScheduler([task("a", retries=1)], jobs=1)
    send(
        scheduler,
        DecisionMade(step="a", decision="run"),
        LeaseGranted(step="a"),
        DecisionMade(step="a", decision="run"),
    )
    assert send(scheduler, AttemptFinished(step="a", attempt=1, state="failed")) == [StartTimer(step="a", seconds=0.0)]
    assert send(scheduler, StopRequested()) == [FinishStep(step="a", state="cancelled"), FinishRun(state="cancelled")]
    assert send(scheduler, TimerFired(step="a")) == []


def test_always_means_failures_not_the_user() -> None:
    simulation = _until_running(SchedulerSimulation((task("a"), task("clean", "a", always=True))), "a")
    simulation.send(StopRequested())
    simulation.run()
    assert simulation.ends == {"a": "cancelled", "clean": "cancelled"}
    assert simulation.starts == ["a"]


def test_one_step_can_be_stopped() -> None:
    simulation = _until_running(SchedulerSimulation(FORK, jobs=3), "left", "right")
    simulation.send(StopRequested(step="left"))
    simulation.run()
    assert simulation.ends == {
        "a": "succeeded", "left": "cancelled", "right": "succeeded", "end": "blocked", "side": "succeeded",
    }  # fmt: skip
    assert simulation.verdicts == ["cancelled"]


def test_a_step_can_be_stopped_while_it_is_decided_on() -> None:
    scheduler = StepScheduler([task("a"), task("b")], jobs=1)
    scheduler.start()
    assert send(scheduler, StopRequested(step="a")) == [FinishStep(step="a", state="cancelled")]
    assert send(scheduler, DecisionMade(step="a", decision="run")) == []
    assert send(scheduler, DecisionMade(step="b", decision="run")) == [AcquireLease(step="b")]


def test_what_does_not_run_is_not_decided_on() -> None:
    tasks = [task("a", planned="skip"), task("b", "a", planned="skip"), task("c", "b", planned="blocked")]
    assert StepScheduler(tasks, jobs=1).start() == [
        FinishStep(step="a", state="skipped"),
        FinishStep(step="b", state="skipped"),
        FinishStep(step="c", state="blocked"),
        FinishRun(state="failed"),
    ]


def test_stopping_an_unknown_step_does_nothing() -> None:
    simulation = SchedulerSimulation(CHAIN)
    simulation.send(StopRequested(step="unknown"))
    assert simulation.run().verdicts == ["succeeded"]


def test_a_lease_that_comes_too_late_is_given_back() -> None:
    simulation = SchedulerSimulation((task("a"),))
    simulation.step()
    simulation.send(StopRequested())
    simulation.run()
    assert ReleaseLease(step="a") in simulation.commands
    assert not simulation.leases


def send(scheduler: StepScheduler, *messages: Any) -> list[Any]:
    """Start the scheduler if need be, send it all messages, and return the commands after the last message."""
    commands = [] if scheduler.state(messages[0].step or "a") != "pending" else scheduler.start()
    for message in messages:
        commands = scheduler.handle(message)
    return commands


RUNNING = (DecisionMade(step="a", decision="run"), LeaseGranted(step="a"), DecisionMade(step="a", decision="run"))


def test_news_of_an_earlier_attempt_are_ignored() -> None:
    scheduler = StepScheduler([task("a", retries=1)], jobs=1)
    assert send(scheduler, *RUNNING) == [SubmitAttempt(step="a", attempt=1)]
    first = AttemptFinished(step="a", attempt=1, state="failed")
    assert send(scheduler, first) == [StartTimer(step="a", seconds=0.0)]
    assert send(scheduler, AttemptFinished(step="a", attempt=1, state="succeeded")) == []
    assert send(scheduler, TimerFired(step="a")) == [SubmitAttempt(step="a", attempt=2)]
    assert send(scheduler, AttemptFinished(step="a", attempt=1, state="succeeded")) == []
    assert send(scheduler, TimerFired(step="a")) == []
    assert send(scheduler, AttemptFinished(step="a", attempt=2, state="succeeded"))[0] == FinishStep(
        step="a", state="succeeded"
    )


def test_news_of_leases_that_come_too_late_change_nothing() -> None:
    scheduler = StepScheduler([task("a"), task("b")], jobs=1)
    send(scheduler, *RUNNING[:1], DecisionMade(step="b", decision="run"), *RUNNING[1:])
    assert scheduler.state("a") == "running"
    assert send(scheduler, LeaseBusy(step="a")) == []
    assert send(scheduler, LeaseGranted(step="a")) == []
    assert (scheduler.state("a"), scheduler.state("b")) == ("running", "ready")


def waiting_for_leases(busy: bool) -> StepScheduler:
    """Return a scheduler in which `a` runs and `b` asked for its lease."""
    scheduler = StepScheduler([task("a"), task("b"), task("c"), task("clean", always=True)], jobs=2)
    send(scheduler, *(DecisionMade(step=name, decision="run") for name in ("a", "b", "c", "clean")))
    send(scheduler, *RUNNING[1:])
    assert [scheduler.state(name) for name in ("a", "b", "c", "clean")] == ["running", "waiting", "ready", "ready"]
    if busy:
        assert send(scheduler, LeaseBusy(step="b")) == [AcquireLease(step="c")]
        assert send(scheduler, LeaseBusy(step="c")) == [AcquireLease(step="clean")]
    return scheduler


def test_after_a_failure_no_step_waits_for_other_runs() -> None:
    commands = send(waiting_for_leases(busy=True), AttemptFinished(step="a", attempt=1, state="failed"))
    skipped = [FinishStep(step=name, state="skipped", cause="a") for name in ("b", "c")]
    assert commands == [FinishStep(step="a", state="failed"), *skipped]


def test_after_a_failure_no_step_begins_to_wait() -> None:
    scheduler = waiting_for_leases(busy=False)
    failed = send(scheduler, AttemptFinished(step="a", attempt=1, state="failed"))
    skipped = FinishStep(step="c", state="skipped", cause="a")
    assert failed == [FinishStep(step="a", state="failed"), skipped, AcquireLease(step="clean")]
    assert send(scheduler, LeaseBusy(step="b")) == [FinishStep(step="b", state="skipped", cause="a")]


def test_after_a_failure_a_step_with_a_lease_may_still_reuse() -> None:
    scheduler = waiting_for_leases(busy=False)
    send(scheduler, AttemptFinished(step="a", attempt=1, state="failed"))
    assert send(scheduler, LeaseGranted(step="b")) == [DecideStep(step="b")]
    assert send(scheduler, DecisionMade(step="b", decision="reuse")) == [FinishStep(step="b", state="reused")]


def test_after_a_failure_a_pause_is_cut_short() -> None:
    scheduler = StepScheduler([task("a", retries=1), task("b"), task("clean", always=True, retries=1)], jobs=3)
    for name in ("a", "b", "clean"):
        send(scheduler, DecisionMade(step=name, decision="run"))
    for name in ("a", "b", "clean"):
        send(scheduler, LeaseGranted(step=name), DecisionMade(step=name, decision="run"))
    for name in ("a", "clean"):
        send(scheduler, AttemptFinished(step=name, attempt=1, state="failed"))
    ends = [FinishStep(step="b", state="failed"), FinishStep(step="a", state="failed")]
    assert send(scheduler, AttemptFinished(step="b", attempt=1, state="failed")) == ends
    assert scheduler.state("clean") == "retrying"


def test_ten_thousand_steps_in_a_row() -> None:
    tasks = [task("s0"), *(task(f"s{number}", f"s{number - 1}") for number in range(1, 10_000))]
    assert SchedulerSimulation(tasks, outcomes={"s0": ["failed"]}).run().ends["s9999"] == "blocked"
    assert SchedulerSimulation(tasks).run().verdicts == ["succeeded"]


@st.composite
def simulations(draw: st.DrawFn) -> tuple[SchedulerSimulation, random.Random, int | None]:
    count = draw(st.integers(1, 9))
    names = [f"s{number}" for number in range(count)]
    tasks = []
    for number, name in enumerate(names):
        before = tuple(sorted(draw(st.sets(st.sampled_from(names[:number]), max_size=3)))) if number else ()
        optional = frozenset(name for name in before if draw(st.integers(0, 3)) == 0)
        tasks.append(
            ScheduledStep(
                name=name,
                before=before,
                optional=optional,
                always=draw(st.integers(0, 6)) == 0,
                retries=draw(st.integers(0, 2)),
                demand=ComputeResources(
                    cpus=draw(st.sampled_from([None, 1, 2, 9])), gpus=draw(st.sampled_from([None, None, 1]))
                ),
                seconds=draw(st.sampled_from([0.1, 1.0, 5.0])),
                planned=draw(st.sampled_from(["go"] * 8 + ["skip", "blocked"])),
            )
        )
    ends = st.sampled_from(["succeeded", "succeeded", "failed", "cancelled"])
    luck = random.Random(draw(st.integers(0, 2**32)))
    simulation = SchedulerSimulation(
        draw(st.permutations(tasks)),
        outcomes={name: draw(st.lists(ends, max_size=3)) for name in names},
        decisions={name: draw(st.sampled_from(["run"] * 5 + ["reuse", "blocked", "failed"])) for name in names},
        busy={name: draw(st.integers(0, 1)) for name in names},
        computed_elsewhere=frozenset(draw(st.sets(st.sampled_from(names)))),
        jobs=draw(st.integers(1, 3)),
        capacity=ComputeResources(cpus=draw(st.sampled_from([None, 2])), gpus=1),
        keep_going=draw(st.booleans()),
        choose=luck.choice,
    )
    return simulation, luck, draw(st.sampled_from([None, None, 0, 3, 8]))


@settings(max_examples=4 * settings.default.max_examples)
@given(simulations())
def test_random_runs_keep_the_rules(drawn: tuple[SchedulerSimulation, random.Random, int | None]) -> None:
    simulation, luck, stop = drawn
    tasks = {step_task.name: step_task for step_task in simulation.tasks}
    ready_before: dict[str, set[str]] = {}
    moves = 0
    while True:
        if moves == stop:
            simulation.send(StopRequested(step=luck.choice([None, None, *tasks])))
        started = len(simulation.starts)
        if not simulation.step():
            break
        moves += 1
        for name in simulation.starts[started:]:
            ready_before[name] = set(simulation.ends)
        demand = sum(min(tasks[name].demand.gpus or 0, 1) for name in simulation.running)
        assert demand <= 1
    assert len(simulation.verdicts) == 1, "every run ends, once"
    assert set(simulation.ends) == set(tasks)
    assert simulation.scheduler.over
    assert not simulation.leases, "every lease is given back"
    assert not simulation.running
    counts = Counter(simulation.starts)
    for name, step_task in tasks.items():
        assert counts[name] <= 1 + step_task.retries
        assert simulation.scheduler.state(name) in FINISHED
        if name in ready_before:
            assert set(step_task.before) <= ready_before[name], "no step starts before those it waits for are over"
            _check_inputs(simulation, tasks, step_task)
        if simulation.ends[name] == "succeeded":
            assert counts[name] >= 1
        if simulation.ends[name] == "reused":
            assert not counts[name]
    _check_verdict(simulation)


def _check_inputs(
    simulation: SchedulerSimulation, tasks: Mapping[str, ScheduledStep], step_task: ScheduledStep
) -> None:
    for before in step_task.before:
        there = simulation.ends[before] in ("succeeded", "reused") or tasks[before].planned == "skip"
        assert there or step_task.always or before in step_task.optional


def _check_verdict(simulation: SchedulerSimulation) -> None:
    states = set(simulation.ends.values())
    if simulation.verdicts == ["succeeded"]:
        assert states <= {"succeeded", "reused", "skipped"}
    else:
        assert states & {"failed", "blocked", "cancelled"}


@given(simulations())
def test_a_run_is_replayed_from_its_messages(drawn: tuple[SchedulerSimulation, random.Random, int | None]) -> None:
    """The scheduler depends only on its messages."""
    simulation, _, _ = drawn
    messages: list[Any] = []
    handle = simulation.scheduler.handle
    simulation.scheduler.handle = lambda message: (messages.append(message), handle(message))[1]  # type: ignore[method-assign]
    simulation.run()
    again = StepScheduler(
        simulation.tasks, jobs=simulation.jobs, capacity=simulation.capacity, keep_going=simulation.keep_going
    )
    commands = again.start()
    for message in messages:
        commands += again.handle(message)
    assert commands == simulation.commands


def foreach_tasks(items: int, spare: int, **more: Any) -> list[ScheduledStep]:
    """Return tasks: items, the step that gathers them, and a step that takes the list."""
    names = [f"fit[{number}]" for number in range(items)]
    gather = task("fit", *names, optional=" ".join(names if spare else ()), spare=spare)
    return [*(task(name, lane="fit", **more) for name in names), gather, task("best", "fit")]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_items_at_once_than_allowed(at_once: int) -> None:
    simulation, seen = (
        SchedulerSimulation([*foreach_tasks(5, 0, at_once=at_once), task("other"), task("more")], jobs=4),
        0,
    )
    while simulation.step():
        seen = max(seen, sum(name.startswith("fit[") for name in simulation.running))
    assert seen == at_once
    assert simulation.verdicts == ["succeeded"]


@pytest.mark.parametrize(
    ("failing", "spare", "verdict", "gathered"),
    [(0, 0, "succeeded", "succeeded"), (1, 1, "succeeded", "succeeded"), (2, 2, "succeeded", "succeeded"),
     (1, 0, "failed", "blocked"), (2, 1, "failed", "blocked")],
)  # fmt: skip
@pytest.mark.parametrize("keep_going", [False, True])
def test_items_may_fail_up_to_a_number(failing: int, spare: int, verdict: str, gathered: str, keep_going: bool) -> None:
    outcomes = {f"fit[{number}]": ["failed"] for number in range(failing)}
    simulation = SchedulerSimulation(foreach_tasks(4, spare), outcomes=outcomes, keep_going=keep_going, jobs=1).run()
    assert simulation.verdicts == [verdict]
    assert (simulation.ends["fit"], simulation.ends["best"]) == (
        gathered,
        "succeeded" if verdict == "succeeded" else gathered,
    )
    states = Counter(end for name, end in simulation.ends.items() if name.startswith("fit["))
    assert states["failed"] == failing
    if verdict == "failed" and not keep_going:
        assert states["skipped"] == 4 - failing, "nothing starts once there can be no list"


def test_items_that_never_ran_are_not_items_that_failed() -> None:
    """Another step fails first: a list without the items that were not started would be a wrong result."""
    tasks = [task("wrong", seconds=99), *foreach_tasks(4, 3)]
    simulation = SchedulerSimulation(tasks, outcomes={"wrong": ["failed"]}, jobs=1).run()
    assert simulation.ends["fit"] == "skipped"
    assert simulation.starts == ["wrong"]


def test_blocked_items_are_not_items_that_failed() -> None:
    tasks = [task("before"), *foreach_tasks(3, 2)]
    tasks[1] = task("fit[0]", "before", lane="fit")
    simulation = SchedulerSimulation(tasks, outcomes={"before": ["failed"]}, jobs=1, keep_going=True).run()
    assert (simulation.ends["fit[0]"], simulation.ends["fit"], simulation.verdicts) == (
        "blocked",
        "blocked",
        ["failed"],
    )
