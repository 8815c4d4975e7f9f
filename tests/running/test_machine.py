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

from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.commands import (
    AcquireLease,
    CancelStep,
    Decide,
    Decided,
    Finish,
    Finished,
    LeaseBusy,
    LeaseGranted,
    ReleaseLease,
    Settle,
    StartTimer,
    StopRequested,
    Submit,
    Task,
    TimerFired,
)
from jupyter_pipelines.running.machine import OVER, Machine, pause_after


@dataclass
class World:
    """Everything around a machine: obeys its commands in an order it likes, and keeps the books."""

    tasks: Sequence[Task]
    outcomes: Mapping[str, Sequence[str]] = field(default_factory=dict)  # per attempt; "succeeded" when it runs out
    decisions: Mapping[str, str] = field(default_factory=dict)
    busy: Mapping[str, int] = field(default_factory=dict)  # how often the lease is taken
    computed_elsewhere: frozenset[str] = frozenset()  # once its lease was waited for, the step can be reused
    jobs: int = 2
    capacity: Resources | None = None
    keep_going: bool = False
    choose: Callable[[Sequence[Any]], Any] = staticmethod(lambda waiting: waiting[0])

    def __post_init__(self) -> None:
        self.machine = Machine(self.tasks, jobs=self.jobs, capacity=self.capacity, keep_going=self.keep_going)
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
        self.obey(self.machine.start())

    def obey(self, commands: Sequence[Any]) -> None:
        for command in commands:
            self.commands.append(command)
            getattr(self, f"_{type(command).__name__}")(command)

    def tell(self, message: Any) -> None:
        self.obey(self.machine.handle(message))

    def step(self) -> bool:
        """Let one thing happen; return whether there was one."""
        if not self.todo:
            return False
        message = self.choose(self.todo)
        self.todo.remove(message)
        if isinstance(message, Finished):
            self.running.pop(message.step, None)
        if isinstance(message, LeaseGranted):
            self.leases.add(message.step)
        self.tell(message)
        return True

    def run(self, most: int = 100_000) -> World:
        for _ in range(most):
            if not self.step():
                return self
        raise AssertionError("the run does not end")

    def _Decide(self, command: Decide) -> None:
        decision = self.decisions.get(command.step, "run")
        if command.step in self.leases and command.step in self.computed_elsewhere:
            decision = "reuse"
        self.todo.append(Decided(step=command.step, decision=decision))

    def _AcquireLease(self, command: AcquireLease) -> None:
        assert command.step not in self.leases
        if self.asked[command.step] < self.busy.get(command.step, 0):
            self.asked[command.step] += 1
            self.todo.append(LeaseBusy(step=command.step))
        self.todo.append(LeaseGranted(step=command.step))

    def _ReleaseLease(self, command: ReleaseLease) -> None:
        self.leases.remove(command.step)

    def _Submit(self, command: Submit) -> None:
        assert command.step in self.leases, "nothing runs without a lease"
        assert command.step not in self.running
        self.starts.append(command.step)
        self.running[command.step] = command.attempt
        assert len(self.running) <= self.jobs
        outcomes = self.outcomes.get(command.step, ())
        state = outcomes[command.attempt - 1] if command.attempt <= len(outcomes) else "succeeded"
        self.todo.append(Finished(step=command.step, attempt=command.attempt, state=state))

    def _StartTimer(self, command: StartTimer) -> None:
        self.pauses.append(command.seconds)
        self.todo.append(TimerFired(step=command.step))

    def _CancelStep(self, command: CancelStep) -> None:
        self.cancels.append((command.step, command.hard))
        gone = [one for one in self.todo if isinstance(one, Finished) and one.step == command.step]
        for one in gone:
            self.todo.remove(one)
            self.todo.append(Finished(step=one.step, attempt=one.attempt, state="cancelled"))

    def _Settle(self, command: Settle) -> None:
        assert command.step not in self.ends, "a step ends once"
        self.ends[command.step] = command.state
        self.causes[command.step] = command.cause
        self.leases.discard(command.step)

    def _Finish(self, command: Finish) -> None:
        self.verdicts.append(command.state)


def task(name: str, *before: str, optional: str = "", **more: Any) -> Task:
    return Task(name=name, before=before, optional=frozenset(optional.split()), **more)


CHAIN = (task("a"), task("b", "a"), task("c", "b"))
# left and right are independent; side hangs on nothing
FORK = (task("a"), task("left", "a"), task("right", "a"), task("end", "left"), task("side", seconds=0.5))


def test_a_chain_runs_in_order() -> None:
    world = World(CHAIN).run()
    assert world.starts == ["a", "b", "c"]
    assert world.ends == dict.fromkeys("abc", "succeeded")
    assert world.verdicts == ["succeeded"]


def test_an_empty_plan_succeeds_at_once() -> None:
    assert World(()).verdicts == ["succeeded"]


def test_reused_steps_take_neither_lease_nor_place() -> None:
    world = World(CHAIN, decisions=dict.fromkeys("abc", "reuse")).run()
    assert world.starts == []
    assert world.asked == {}
    assert not [one for one in world.commands if isinstance(one, AcquireLease)]
    assert world.ends == dict.fromkeys("abc", "reused")


def test_what_follows_is_decided_after_what_is_before_it() -> None:
    """Early cut-off: `b` is decided when `a` has run, not earlier."""
    world = World(CHAIN, decisions={"b": "reuse"})
    assert [one for one in world.commands if isinstance(one, Decide)] == [Decide(step="a")]
    world.run()
    assert world.ends == {"a": "succeeded", "b": "reused", "c": "succeeded"}


def test_a_step_is_decided_again_under_its_lease() -> None:
    world = World((task("a"),), busy={"a": 1}, computed_elsewhere=frozenset("a")).run()
    assert world.starts == []
    assert world.ends == {"a": "reused"}
    assert sum(isinstance(one, Decide) for one in world.commands) == 2


def test_who_waits_for_a_lease_holds_no_place() -> None:
    tasks = (task("a", seconds=9), task("b"))
    world = World(tasks, jobs=1, busy={"a": 1}, choose=lambda todo: min(todo, key=_granted_last)).run()
    assert world.starts == ["b", "a"]
    assert world.verdicts == ["succeeded"]


def _granted_last(message: Any) -> bool:
    return isinstance(message, LeaseGranted) and message.step == "a"


def test_the_longest_way_to_the_end_goes_first() -> None:
    tasks = (task("short"), task("long", seconds=5), task("far"), task("on", "far", seconds=10), task("again"))
    assert World(tasks, jobs=1).run().starts == ["far", "on", "long", "short", "again"]


@pytest.mark.parametrize(
    ("demands", "capacity", "most"),
    [
        ([{"cpus": 2}, {"cpus": 2}, {"cpus": 1}], Resources(cpus=4), 2),
        ([{"gpus": 1}, {"gpus": 1}], Resources(gpus=1), 1),
        ([{"gpus": 1, "memory": 10}, {}, {}], Resources(gpus=1, memory=10), 3),  # who asks for nothing takes nothing
        ([{"memory": 6}, {"memory": 6}, {"memory": 1}], Resources(memory=10), 2),
        ([{}, {}, {}, {}], Resources(cpus=2), 4),  # --jobs 4 on two cores is respected
        ([{"cpus": 4}, {}, {}], Resources(cpus=4), 2),
    ],
)
def test_demands_never_exceed_what_there_is(demands: list[dict[str, int]], capacity: Resources, most: int) -> None:
    tasks = [task(f"s{number}", demand=Resources(**demand)) for number, demand in enumerate(demands)]
    world, seen = World(tasks, jobs=4, capacity=capacity), 0
    while world.step():
        seen = max(seen, len(world.running))
        for kind in ("gpus", "memory"):
            limit = getattr(capacity, kind)
            used = sum(getattr(one.demand, kind) or 0 for one in tasks if one.name in world.running)
            assert limit is None or used <= limit
    assert seen == most
    assert world.verdicts == ["succeeded"]


def test_a_small_step_passes_one_that_does_not_fit() -> None:
    tasks = [
        task("first", seconds=9, demand=Resources(cpus=3)),
        task("big", seconds=5, demand=Resources(cpus=4)),
        task("small"),
    ]
    world = World(tasks, jobs=4, capacity=Resources(cpus=4)).run()
    assert world.starts == ["first", "small", "big"]


def test_a_demand_beyond_everything_gets_everything() -> None:
    assert World([task("a", demand=Resources(gpus=9))], capacity=Resources(gpus=1)).run().ends == {"a": "succeeded"}


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
    world = World([task("a", retries=retries)], outcomes={"a": outcomes}).run()
    assert world.ends == {"a": end}
    assert len(world.starts) == starts
    assert world.pauses == pauses
    assert world.machine.attempts("a") == starts


def test_pauses_grow_up_to_a_minute() -> None:
    assert [pause_after(tried) for tried in (1, 2, 3, 4, 8, 100)] == [0, 1, 2, 4, 60, 60]


def test_a_final_failure_is_not_tried_again() -> None:
    world = World([task("a", retries=3)])
    world.step(), world.step(), world.step()
    assert world.starts == ["a"]
    world.tell(Finished(step="a", attempt=1, state="failed", final=True))
    assert world.ends == {"a": "failed"}


def test_a_retry_gives_its_place_to_others_meanwhile() -> None:
    tasks = [task("a", retries=1, seconds=9), task("b")]
    world = World(tasks, jobs=1, outcomes={"a": ["failed"]}, keep_going=True, choose=_timers_last).run()
    assert world.starts == ["a", "b", "a"]


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
            id="who does not run needs nothing",
        ),
        pytest.param(
            [task("a"), task("b", "a", optional="a"), task("c", "a")],
            {"a": ["failed"]},
            False,
            1,
            {"a": "failed", "b": "skipped", "c": "blocked"},
            id="somebody else needs it: stop",
        ),
        pytest.param(
            [task("a"), task("b", "a", optional="a"), task("c", "a")],
            {"a": ["failed"]},
            True,
            1,
            {"a": "failed", "b": "succeeded", "c": "blocked"},
            id="somebody else needs it: keep going",
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
    tasks: Sequence[Task], outcomes: Mapping[str, Sequence[str]], keep_going: bool, jobs: int, ends: Mapping[str, str]
) -> None:
    world = World(tasks, outcomes=outcomes, keep_going=keep_going, jobs=jobs).run()
    assert world.ends == ends
    assert world.verdicts == ["failed"]


def test_after_a_failure_what_can_be_reused_is_reused() -> None:
    world = World(
        (task("a", seconds=9), task("b"), task("c", "b")), outcomes={"a": ["failed"]}, jobs=1, decisions={"b": "reuse"},
        choose=lambda todo: max(todo, key=lambda one: isinstance(one, Finished) or one.step == "a"),
    ).run()  # fmt: skip
    assert world.ends == {"a": "failed", "b": "reused", "c": "skipped"}


def test_the_first_cause_is_named() -> None:
    world = World(FORK, outcomes={"a": ["failed"]}, jobs=1).run()
    assert {name: world.causes[name] for name in ("left", "right", "end")} == dict.fromkeys(
        ("left", "right", "end"), "a"
    )


def test_no_retry_starts_after_a_failure_elsewhere() -> None:
    tasks = [task("a", seconds=9), task("b", retries=3)]
    world = World(tasks, outcomes={"a": ["failed"], "b": ["failed"]}, choose=_timers_last).run()
    assert world.starts == ["a", "b"]
    assert world.ends == {"a": "failed", "b": "failed"}


def test_a_skipped_step_is_there_and_a_blocked_one_is_not() -> None:
    tasks = [task("a", planned="skip"), task("b", "a"), task("x", planned="blocked"), task("y", "x"), task("z")]
    world = World(tasks).run()
    assert world.ends == {"a": "skipped", "b": "succeeded", "x": "blocked", "y": "blocked", "z": "succeeded"}
    assert world.verdicts == ["failed"]


@pytest.mark.parametrize(
    ("decision", "end", "later"), [("failed", "failed", "blocked"), ("blocked", "blocked", "blocked")]
)
def test_a_step_that_cannot_be_decided(decision: str, end: str, later: str) -> None:
    world = World(CHAIN, decisions={"b": decision}).run()
    assert world.ends == {"a": "succeeded", "b": end, "c": later}
    assert world.verdicts == ["failed"]


def _until_running(world: World, *names: str) -> World:
    while not set(names) <= set(world.running):
        waiting = [one for one in world.todo if not isinstance(one, Finished) or one.step not in names]
        world.choose = lambda todo, waiting=waiting: waiting[0]
        assert world.step()
    world.choose = lambda todo: todo[0]
    return world


def test_a_stop_cancels_what_runs_and_what_waits() -> None:
    world = _until_running(World(FORK, jobs=2), "left", "right")
    world.tell(StopRequested())
    assert world.cancels == [("left", False), ("right", False)]
    assert world.ends == {"a": "succeeded", "side": "succeeded", "end": "cancelled"}
    world.run()
    assert world.ends["left"] == world.ends["right"] == "cancelled"
    assert world.verdicts == ["cancelled"]
    assert not world.leases


def test_a_second_stop_is_hard() -> None:
    world = _until_running(World((task("a"),)), "a")
    world.tell(StopRequested())
    world.tell(StopRequested())
    assert world.cancels == [("a", False), ("a", True)]


def test_a_stop_after_the_end_changes_nothing() -> None:
    world = World(CHAIN).run()
    world.tell(StopRequested())
    assert world.verdicts == ["succeeded"]
    assert world.cancels == []


def test_a_step_that_wins_the_race_against_a_stop_has_succeeded() -> None:
    world = _until_running(World((task("a"), task("b", "a"))), "a")
    world.tell(StopRequested())
    world.tell(Finished(step="a", attempt=1, state="succeeded"))
    assert world.ends == {"a": "succeeded", "b": "cancelled"}
    assert world.verdicts == ["cancelled"]


def test_a_failure_after_a_stop_is_not_tried_again() -> None:
    world = _until_running(World((task("a", retries=3),)), "a")
    world.tell(StopRequested())
    world.tell(Finished(step="a", attempt=1, state="failed"))
    assert world.ends == {"a": "failed"}


def test_a_stop_starts_nothing_that_could_do_without_what_is_stopped() -> None:
    tasks = (task("a"), task("b", "a"), task("c", "b"), task("d", "b", optional="b"), task("e", "b", always=True))
    world = _until_running(World(tasks), "a")
    before = len(world.commands)
    world.tell(StopRequested())
    assert world.ends == dict.fromkeys("bcde", "cancelled")
    assert not [one for one in world.commands[before:] if isinstance(one, Decide)]


def test_a_stop_during_a_pause_ends_it() -> None:
    machine = Machine([task("a", retries=1)], jobs=1)
    say(machine, Decided(step="a", decision="run"), LeaseGranted(step="a"), Decided(step="a", decision="run"))
    assert say(machine, Finished(step="a", attempt=1, state="failed")) == [StartTimer(step="a", seconds=0.0)]
    assert say(machine, StopRequested()) == [Settle(step="a", state="cancelled"), Finish(state="cancelled")]
    assert say(machine, TimerFired(step="a")) == []


def test_always_means_failures_not_the_user() -> None:
    world = _until_running(World((task("a"), task("clean", "a", always=True))), "a")
    world.tell(StopRequested())
    world.run()
    assert world.ends == {"a": "cancelled", "clean": "cancelled"}
    assert world.starts == ["a"]


def test_one_step_can_be_stopped() -> None:
    world = _until_running(World(FORK, jobs=3), "left", "right")
    world.tell(StopRequested(step="left"))
    world.run()
    assert world.ends == {
        "a": "succeeded", "left": "cancelled", "right": "succeeded", "end": "blocked", "side": "succeeded",
    }  # fmt: skip
    assert world.verdicts == ["cancelled"]


def test_a_step_can_be_stopped_while_it_is_decided_on() -> None:
    machine = Machine([task("a"), task("b")], jobs=1)
    machine.start()
    assert say(machine, StopRequested(step="a")) == [Settle(step="a", state="cancelled")]
    assert say(machine, Decided(step="a", decision="run")) == []
    assert say(machine, Decided(step="b", decision="run")) == [AcquireLease(step="b")]


def test_what_does_not_run_is_not_decided_on() -> None:
    tasks = [task("a", planned="skip"), task("b", "a", planned="skip"), task("c", "b", planned="blocked")]
    assert Machine(tasks, jobs=1).start() == [
        Settle(step="a", state="skipped"),
        Settle(step="b", state="skipped"),
        Settle(step="c", state="blocked"),
        Finish(state="failed"),
    ]


def test_stopping_an_unknown_step_does_nothing() -> None:
    world = World(CHAIN)
    world.tell(StopRequested(step="nobody"))
    assert world.run().verdicts == ["succeeded"]


def test_a_lease_that_comes_too_late_is_given_back() -> None:
    world = World((task("a"),))
    world.step()
    world.tell(StopRequested())
    world.run()
    assert ReleaseLease(step="a") in world.commands
    assert not world.leases


def say(machine: Machine, *messages: Any) -> list[Any]:
    """Start the machine if need be, tell it all, and return what the last message led to."""
    commands = [] if machine.state(messages[0].step or "a") != "pending" else machine.start()
    for message in messages:
        commands = machine.handle(message)
    return commands


RUNNING = (Decided(step="a", decision="run"), LeaseGranted(step="a"), Decided(step="a", decision="run"))


def test_news_of_an_earlier_attempt_are_ignored() -> None:
    machine = Machine([task("a", retries=1)], jobs=1)
    assert say(machine, *RUNNING) == [Submit(step="a", attempt=1)]
    first = Finished(step="a", attempt=1, state="failed")
    assert say(machine, first) == [StartTimer(step="a", seconds=0.0)]
    assert say(machine, Finished(step="a", attempt=1, state="succeeded")) == []
    assert say(machine, TimerFired(step="a")) == [Submit(step="a", attempt=2)]
    assert say(machine, Finished(step="a", attempt=1, state="succeeded")) == []
    assert say(machine, TimerFired(step="a")) == []
    assert say(machine, Finished(step="a", attempt=2, state="succeeded"))[0] == Settle(step="a", state="succeeded")


def test_news_of_leases_that_come_too_late_change_nothing() -> None:
    machine = Machine([task("a"), task("b")], jobs=1)
    say(machine, *RUNNING[:1], Decided(step="b", decision="run"), *RUNNING[1:])
    assert machine.state("a") == "running"
    assert say(machine, LeaseBusy(step="a")) == []
    assert say(machine, LeaseGranted(step="a")) == []
    assert (machine.state("a"), machine.state("b")) == ("running", "ready")


def waiting_for_leases(busy: bool) -> Machine:
    """Return a machine in which `a` runs and `b` asked for its lease."""
    machine = Machine([task("a"), task("b"), task("c"), task("clean", always=True)], jobs=2)
    say(machine, *(Decided(step=name, decision="run") for name in ("a", "b", "c", "clean")))
    say(machine, *RUNNING[1:])
    assert [machine.state(name) for name in ("a", "b", "c", "clean")] == ["running", "waiting", "ready", "ready"]
    if busy:
        assert say(machine, LeaseBusy(step="b")) == [AcquireLease(step="c")]
        assert say(machine, LeaseBusy(step="c")) == [AcquireLease(step="clean")]
    return machine


def test_after_a_failure_nobody_waits_for_other_runs() -> None:
    commands = say(waiting_for_leases(busy=True), Finished(step="a", attempt=1, state="failed"))
    skipped = [Settle(step=name, state="skipped", cause="a") for name in ("b", "c")]
    assert commands == [Settle(step="a", state="failed"), *skipped]


def test_after_a_failure_nobody_begins_to_wait() -> None:
    machine = waiting_for_leases(busy=False)
    failed = say(machine, Finished(step="a", attempt=1, state="failed"))
    skipped = Settle(step="c", state="skipped", cause="a")
    assert failed == [Settle(step="a", state="failed"), skipped, AcquireLease(step="clean")]
    assert say(machine, LeaseBusy(step="b")) == [Settle(step="b", state="skipped", cause="a")]


def test_after_a_failure_who_has_the_lease_may_still_reuse() -> None:
    machine = waiting_for_leases(busy=False)
    say(machine, Finished(step="a", attempt=1, state="failed"))
    assert say(machine, LeaseGranted(step="b")) == [Decide(step="b")]
    assert say(machine, Decided(step="b", decision="reuse")) == [Settle(step="b", state="reused")]


def test_after_a_failure_a_pause_is_cut_short() -> None:
    machine = Machine([task("a", retries=1), task("b"), task("clean", always=True, retries=1)], jobs=3)
    for name in ("a", "b", "clean"):
        say(machine, Decided(step=name, decision="run"))
    for name in ("a", "b", "clean"):
        say(machine, LeaseGranted(step=name), Decided(step=name, decision="run"))
    for name in ("a", "clean"):
        say(machine, Finished(step=name, attempt=1, state="failed"))
    ends = [Settle(step="b", state="failed"), Settle(step="a", state="failed")]
    assert say(machine, Finished(step="b", attempt=1, state="failed")) == ends
    assert machine.state("clean") == "retrying"


def test_ten_thousand_steps_in_a_row() -> None:
    tasks = [task("s0"), *(task(f"s{number}", f"s{number - 1}") for number in range(1, 10_000))]
    assert World(tasks, outcomes={"s0": ["failed"]}).run().ends["s9999"] == "blocked"
    assert World(tasks).run().verdicts == ["succeeded"]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, random.Random, int | None]:
    count = draw(st.integers(1, 9))
    names = [f"s{number}" for number in range(count)]
    tasks = []
    for number, name in enumerate(names):
        before = tuple(sorted(draw(st.sets(st.sampled_from(names[:number]), max_size=3)))) if number else ()
        optional = frozenset(one for one in before if draw(st.integers(0, 3)) == 0)
        tasks.append(
            Task(
                name=name,
                before=before,
                optional=optional,
                always=draw(st.integers(0, 6)) == 0,
                retries=draw(st.integers(0, 2)),
                demand=Resources(
                    cpus=draw(st.sampled_from([None, 1, 2, 9])), gpus=draw(st.sampled_from([None, None, 1]))
                ),
                seconds=draw(st.sampled_from([0.1, 1.0, 5.0])),
                planned=draw(st.sampled_from(["go"] * 8 + ["skip", "blocked"])),
            )
        )
    ends = st.sampled_from(["succeeded", "succeeded", "failed", "cancelled"])
    luck = random.Random(draw(st.integers(0, 2**32)))
    world = World(
        draw(st.permutations(tasks)),
        outcomes={name: draw(st.lists(ends, max_size=3)) for name in names},
        decisions={name: draw(st.sampled_from(["run"] * 5 + ["reuse", "blocked", "failed"])) for name in names},
        busy={name: draw(st.integers(0, 1)) for name in names},
        computed_elsewhere=frozenset(draw(st.sets(st.sampled_from(names)))),
        jobs=draw(st.integers(1, 3)),
        capacity=Resources(cpus=draw(st.sampled_from([None, 2])), gpus=1),
        keep_going=draw(st.booleans()),
        choose=luck.choice,
    )
    return world, luck, draw(st.sampled_from([None, None, 0, 3, 8]))


@settings(max_examples=400, deadline=None)
@given(worlds())
def test_random_runs_keep_the_rules(drawn: tuple[World, random.Random, int | None]) -> None:
    world, luck, stop = drawn
    tasks = {one.name: one for one in world.tasks}
    ready_before: dict[str, set[str]] = {}
    moves = 0
    while True:
        if moves == stop:
            world.tell(StopRequested(step=luck.choice([None, None, *tasks])))
        started = len(world.starts)
        if not world.step():
            break
        moves += 1
        for name in world.starts[started:]:
            ready_before[name] = set(world.ends)
        demand = sum(min(tasks[name].demand.gpus or 0, 1) for name in world.running)
        assert demand <= 1
    assert len(world.verdicts) == 1, "every run ends, once"
    assert set(world.ends) == set(tasks)
    assert world.machine.over
    assert not world.leases, "every lease is given back"
    assert not world.running
    counts = Counter(world.starts)
    for name, one in tasks.items():
        assert counts[name] <= 1 + one.retries
        assert world.machine.state(name) in OVER
        if name in ready_before:
            assert set(one.before) <= ready_before[name], "no step starts before those it waits for are over"
            _check_inputs(world, tasks, one)
        if world.ends[name] == "succeeded":
            assert counts[name] >= 1
        if world.ends[name] == "reused":
            assert not counts[name]
    _check_verdict(world)


def _check_inputs(world: World, tasks: Mapping[str, Task], one: Task) -> None:
    for before in one.before:
        there = world.ends[before] in ("succeeded", "reused") or tasks[before].planned == "skip"
        assert there or one.always or before in one.optional


def _check_verdict(world: World) -> None:
    states = set(world.ends.values())
    if world.verdicts == ["succeeded"]:
        assert states <= {"succeeded", "reused", "skipped"}
    else:
        assert states & {"failed", "blocked", "cancelled"}


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_a_run_is_replayed_from_its_messages(drawn: tuple[World, random.Random, int | None]) -> None:
    """The machine depends on nothing but its messages."""
    world, _, _ = drawn
    messages: list[Any] = []
    handle = world.machine.handle
    world.machine.handle = lambda message: (messages.append(message), handle(message))[1]  # type: ignore[method-assign]
    world.run()
    again = Machine(world.tasks, jobs=world.jobs, capacity=world.capacity, keep_going=world.keep_going)
    commands = again.start()
    for message in messages:
        commands += again.handle(message)
    assert commands == world.commands


def over(items: int, spare: int, **more: Any) -> list[Task]:
    """Items, what gathers them, and what takes the list."""
    names = [f"fit[{number}]" for number in range(items)]
    gather = task("fit", *names, optional=" ".join(names if spare else ()), spare=spare)
    return [*(task(name, lane="fit", **more) for name in names), gather, task("best", "fit")]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_no_more_items_at_once_than_allowed(at_once: int) -> None:
    world, seen = World([*over(5, 0, at_once=at_once), task("other"), task("more")], jobs=4), 0
    while world.step():
        seen = max(seen, sum(name.startswith("fit[") for name in world.running))
    assert seen == at_once
    assert world.verdicts == ["succeeded"]


@pytest.mark.parametrize(
    ("failing", "spare", "verdict", "gathered"),
    [(0, 0, "succeeded", "succeeded"), (1, 1, "succeeded", "succeeded"), (2, 2, "succeeded", "succeeded"),
     (1, 0, "failed", "blocked"), (2, 1, "failed", "blocked")],
)  # fmt: skip
@pytest.mark.parametrize("keep_going", [False, True])
def test_items_may_fail_up_to_a_number(failing: int, spare: int, verdict: str, gathered: str, keep_going: bool) -> None:
    outcomes = {f"fit[{number}]": ["failed"] for number in range(failing)}
    world = World(over(4, spare), outcomes=outcomes, keep_going=keep_going, jobs=1).run()
    assert world.verdicts == [verdict]
    assert (world.ends["fit"], world.ends["best"]) == (gathered, "succeeded" if verdict == "succeeded" else gathered)
    states = Counter(end for name, end in world.ends.items() if name.startswith("fit["))
    assert states["failed"] == failing
    if verdict == "failed" and not keep_going:
        assert states["skipped"] == 4 - failing, "nothing starts once there can be no list"


def test_items_that_never_ran_are_not_items_that_failed() -> None:
    """Another step fails first: a list without the items that were not started would be a wrong result."""
    tasks = [task("wrong", seconds=99), *over(4, 3)]
    world = World(tasks, outcomes={"wrong": ["failed"]}, jobs=1).run()
    assert world.ends["fit"] == "skipped"
    assert world.starts == ["wrong"]


def test_blocked_items_are_not_items_that_failed() -> None:
    tasks = [task("before"), *over(3, 2)]
    tasks[1] = task("fit[0]", "before", lane="fit")
    world = World(tasks, outcomes={"before": ["failed"]}, jobs=1, keep_going=True).run()
    assert (world.ends["fit[0]"], world.ends["fit"], world.verdicts) == ("blocked", "blocked", ["failed"])
