"""Placement of tickets on workers and their outcomes, with an engine whose workers the tests control by hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from jupyter_pipelines.errors import StepFailed
from jupyter_pipelines.execution.executors import StepRequirements
from jupyter_pipelines.execution.executors.remote import capabilities, remote_executor
from jupyter_pipelines.execution.executors.remote.parcels import Parcel, pack
from jupyter_pipelines.execution.executors.remote.placement import WorkerCapacity
from jupyter_pipelines.execution.executors.remote.remote_executor import RemoteExecutor
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.planning.keys import packages
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.traces import question
from tests.execution.sample_tickets import TicketFactory
from tests.waiting import PATIENCE


class ManualExecutor(RemoteExecutor):
    """An engine whose workers join, leave, fail and answer when a test says so."""

    ENGINE, EXTRA, HINT = "Hands", "hands", "raise them"

    def __init__(self, *workers: WorkerCapacity) -> None:
        super().__init__(100, "here")
        self.workers = {worker.name: worker for worker in workers}
        self.sent: dict[str, tuple[str, Future[Any]]] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.looks, self.looks_first = threading.Semaphore(0), 0
        self.outcomes: list[StepOutcome] = []
        self.refuse: Callable[[str], None] = lambda worker: None
        self.trouble: Exception | None = None

    def _join(self) -> None:
        """There is no cluster to connect to."""

    def _look(self) -> list[WorkerCapacity]:
        self.looks.release()
        if self.trouble is not None:
            raise self.trouble
        return [replace(worker, taken={}) for worker in self.workers.values()]

    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        for _ in range(self.looks_first):
            self.looks.acquire(timeout=PATIENCE)
        return {name: {**capabilities.describe(asked), **self.others.get(name, {})} for name in workers}

    def _send(self, ticket: StepTicket, parcel: Parcel, worker: str) -> Future[Any]:
        self.refuse(worker)
        self.sent[ticket.id] = (worker, Future())
        return self.sent[ticket.id][1]

    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:
        self.answer(ticket, "cancelled")

    def _release(self, future: Any) -> None:
        """There is nothing to release."""

    def _leave(self) -> None:
        """There is nothing to release."""

    def _is_over(self) -> bool:
        return False

    def answer(
        self,
        ticket: str,
        state: Literal["succeeded", "failed", "cancelled"] = "succeeded",
        trace: Mapping[str, str] | None = None,
    ) -> None:
        """Finish the parcel of a ticket."""
        if not self.sent[ticket][1].done():
            outcome = StepOutcome(ticket=ticket, state=state, trace=trace)
            self.sent[ticket][1].set_result({"outcome": outcome.to_dict()})

    def outcome(self) -> StepOutcome:
        """Return the next outcome."""
        while not self.outcomes:
            self.outcomes += [news for news in self.poll(5) if isinstance(news, StepOutcome)]
        return self.outcomes.pop(0)


@pytest.fixture
def factory(tmp_path: Path) -> TicketFactory:
    return TicketFactory(tmp_path)


@pytest.fixture
def start_engine() -> Iterator[Callable[..., ManualExecutor]]:
    """Return a function that starts an engine and surveys it for a plain step and a step with a GPU."""
    made: list[ManualExecutor] = []

    def start(*workers: WorkerCapacity) -> ManualExecutor:
        made.append(ManualExecutor(*workers))
        plain = StepRequirements(step="fit", python=packages.python())
        large = StepRequirements(step="large", demand=ComputeResources(gpus=1))
        needs = [plain, large] if any(worker.offer.gpus for worker in workers) else [plain]
        assert not made[-1].survey(needs)
        return made[-1]

    yield start
    for engine in made:
        engine.close()


def worker_slot(name: str, gpus: int = 0) -> WorkerCapacity:
    return WorkerCapacity(name=name, slots=1, offer=ComputeResources(cpus=2, gpus=gpus))


def until_sent(engine: ManualExecutor, count: int) -> None:
    while len(engine.sent) < count:
        engine.poll(0.01)


def test_a_waiting_ticket_fails_when_the_last_worker_is_gone(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker joins that could run it."""
    monkeypatch.setattr(remote_executor, "GRACE", 0.0)
    engine = start_engine(worker_slot("a"))
    tickets = [factory.ticket("1"), factory.ticket("2")]
    for ticket in tickets:
        engine.submit(ticket)
    until_sent(engine, 1)
    engine.workers.clear()
    lost = {outcome.ticket: outcome for outcome in (engine.outcome(), engine.outcome())}
    assert {outcome.state for outcome in lost.values()} == {"died"}
    diagnostics = [lost[ticket.id].fault for ticket in tickets]
    assert [diagnostic.code for diagnostic in diagnostics if diagnostic] == ["JP308", "JP308"]
    assert "the Hands worker a is gone" in str(diagnostics[0])
    assert "no worker is left" in str(diagnostics[1])


@pytest.mark.parametrize(
    ("trouble", "limit"),
    [(TimeoutError(), "SILENCE"), (ConnectionRefusedError(), "PATIENCE")],
    ids=["silent", "refuses"],
)
def test_a_scheduler_is_gone_after_the_limit_of_its_trouble(
    factory: TicketFactory,
    start_engine: Callable[..., ManualExecutor],
    monkeypatch: pytest.MonkeyPatch,
    trouble: Exception,
    limit: str,
) -> None:
    monkeypatch.setattr(remote_executor, limit, -1.0)
    engine = start_engine(worker_slot("a"))
    engine.submit(factory.ticket("1"))
    until_sent(engine, 1)
    engine.trouble = trouble
    outcome = engine.outcome()
    assert outcome.state == "died"
    assert "the Hands scheduler here is gone" in str(outcome.fault)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [(TimeoutError(), "the Hands worker a fails"), (ConnectionRefusedError(), "the Hands scheduler here is gone")],
    ids=["silent", "refuses"],
)
def test_a_failed_parcel_is_the_fault_of_a_scheduler_only_if_it_refuses(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor], trouble: Exception, message: str
) -> None:
    """One that is silent may be busy, and a minute has not passed."""
    engine = start_engine(worker_slot("a"))
    ticket = factory.ticket("1")
    engine.submit(ticket)
    until_sent(engine, 1)
    engine.trouble = trouble
    engine.sent[ticket.id][1].set_exception(RuntimeError("lost"))
    assert message in str(engine.outcome().fault)


def test_a_ticket_that_waits_for_a_gpu_fails_when_the_last_one_is_gone(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_executor, "GRACE", 0.0)
    engine = start_engine(worker_slot("a"), worker_slot("b", gpus=1))
    large = [replace(factory.ticket(str(number)), step="large") for number in range(2)]
    plain = factory.ticket("x = 1")
    for ticket in (*large, plain):
        engine.submit(ticket)
    until_sent(engine, 2)
    del engine.workers["b"]
    assert {engine.outcome().ticket, engine.outcome().ticket} == {ticket.id for ticket in large}
    engine.answer(plain.id)
    assert engine.outcome().state == "succeeded"


def test_a_worker_that_comes_in_the_place_of_a_lost_one_gets_what_waits(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor]
) -> None:
    """Its capabilities are requested first: a worker that differs gets nothing."""
    engine = start_engine(worker_slot("a"))
    tickets = [factory.ticket("1"), factory.ticket("2")]
    for ticket in tickets:
        engine.submit(ticket)
    until_sent(engine, 1)
    engine.others = {"b": {"python": "2.7"}}
    engine.workers = {"b": worker_slot("b", gpus=1), "c": worker_slot("c", gpus=2)}
    assert engine.outcome().ticket == tickets[0].id
    until_sent(engine, 2)
    assert engine.sent[tickets[1].id][0] == "c"
    engine.answer(tickets[1].id)
    assert engine.outcome().state == "succeeded"


def test_what_a_worker_fails_at_is_told_and_the_next_goes_to_another(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor]
) -> None:
    """A worker that fails gets nothing more."""
    engine = start_engine(worker_slot("a"), worker_slot("b", gpus=1))
    tickets = [factory.ticket(str(number)) for number in range(4)]
    for ticket in tickets:
        engine.submit(ticket)
    until_sent(engine, 2)
    (first,) = [ticket for ticket, (worker, _) in engine.sent.items() if worker == "a"]
    engine.sent[first][1].set_exception(RuntimeError("no space left"))
    outcome = engine.outcome()
    assert (outcome.ticket, outcome.state) == (first, "died")
    for _ in range(3):
        (running,) = [ticket for ticket, (_, future) in engine.sent.items() if not future.done()]
        assert engine.sent[running][0] == "b"
        engine.answer(running)
        assert engine.outcome().ticket == running


def test_a_parcel_that_cannot_be_handed_over_fails_alone(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor]
) -> None:
    """The engine refuses it with an arbitrary exception."""
    engine = start_engine(worker_slot("a"), worker_slot("b", gpus=1))

    def refuse(worker: str) -> None:
        if worker == "a":
            raise KeyError(worker)

    engine.refuse = refuse
    tickets = [factory.ticket("1"), factory.ticket("2")]
    for ticket in tickets:
        engine.submit(ticket)
    outcome = engine.outcome()
    assert outcome.state == "died"
    assert "the Hands worker a fails" in str(outcome.fault)
    until_sent(engine, 1)
    (other,) = engine.sent
    engine.answer(other)
    assert engine.outcome().state == "succeeded"


def test_a_worker_goes_while_a_parcel_for_it_fails_to_be_packed(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor]
) -> None:
    """It never had that parcel."""
    engine = start_engine(worker_slot("a"))
    lacking = factory.ticket("1", inputs={"raw": None})
    lacking = replace(lacking, inputs={"raw": {"kind": "file", "path": "not-there.csv", "digest": "0" * 64}})
    engine._places.renew(engine._look())  # so that it is packed at once, and the loss of the worker is news
    engine._news.put(("workers", {}))
    engine.submit(lacking)
    outcome = engine.outcome()
    assert (outcome.ticket, outcome.state) == (lacking.id, "failed")
    assert outcome.fault
    assert outcome.fault.code == "JP310"


def test_a_cluster_without_cores_is_refused(factory: TicketFactory) -> None:
    """For instance a head node whose workers have not joined: a step would wait forever."""
    with closing(ManualExecutor(WorkerCapacity(name="head", slots=0, offer=ComputeResources(cpus=0)))) as engine:
        diagnostics = engine.survey([StepRequirements(step="fit")])
    assert [diagnostic.code for diagnostic in diagnostics if diagnostic.severity == "error"] == ["JP604"]
    assert "step `fit` asks for 1 cpus, and there are 0 cpus" in str(diagnostics[0])


def test_a_worker_that_cannot_take_part_gets_nothing(factory: TicketFactory) -> None:
    """Also when the workers answer so late that the engine has seen them several times before."""
    with closing(ManualExecutor(worker_slot("other"), worker_slot("same", gpus=1))) as engine:
        engine.others, engine.looks_first = {"other": {"python": "2.7"}}, 3
        (doubt,) = engine.survey([StepRequirements(step="fit", python=packages.python())])
        assert (doubt.code, doubt.severity) == ("JP608", "warning")
        tickets = [factory.ticket("1"), factory.ticket("2")]
        for ticket in tickets:
            engine.submit(ticket)
        for count, _ in enumerate(tickets, 1):
            until_sent(engine, count)
            (running,) = [ticket for ticket, (_, future) in engine.sent.items() if not future.done()]
            assert engine.sent[running][0] == "same"
            engine.answer(running)
            assert engine.outcome().ticket == running


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_file_that_cannot_be_read_is_named(factory: TicketFactory) -> None:
    """A file that the step's code names, and that belongs to another user."""
    (factory.project / "theirs.csv").write_text("1")
    os.seteuid(65534)
    try:
        with pytest.raises(StepFailed, match=r"a file of step `fit` cannot be sent to a worker: .*csv: Permission"):
            pack(replace(factory.ticket("1"), sources=[{"path": "theirs.csv"}]), factory.store)
    finally:
        os.seteuid(0)


def test_what_is_no_file_stays_here(factory: TicketFactory, start_engine: Callable[..., ManualExecutor]) -> None:
    """A pipe has a process at its other end, and cannot be copied to a worker."""
    os.mkfifo(factory.project / "pipe")
    engine = start_engine(worker_slot("a"))
    ticket = replace(factory.ticket("1"), sources=[{"path": "pipe"}])
    engine.submit(ticket)
    engine.answer(ticket.id)
    assert engine.outcome().state == "succeeded"


def started_again(engine: ManualExecutor, ticket: StepTicket, before: Future[Any]) -> bool:
    """Poll until the parcel was sent once more, or an outcome is there."""
    while engine.sent[ticket.id][1] is before and not engine.outcomes:
        engine.outcomes += [news for news in engine.poll(0.05) if isinstance(news, StepOutcome)]
    return engine.sent[ticket.id][1] is not before


@pytest.mark.parametrize("state", ["succeeded", "failed"])
def test_a_step_that_lacked_a_file_is_started_again_with_it(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor], state: Literal["succeeded", "failed"]
) -> None:
    (factory.project / "x.csv").write_text("1")
    engine, ticket, text = start_engine(worker_slot("a")), factory.ticket("1"), question("file", "x.csv")
    engine.submit(ticket)
    until_sent(engine, 1)
    first = engine.sent[ticket.id][1]
    engine.answer(ticket.id, state, {text: MISSING})
    assert started_again(engine, ticket, first)
    digest = factory.store.digest(factory.project / "x.csv")
    engine.answer(ticket.id, "succeeded", {text: digest})
    outcome = engine.outcome()
    assert [warning.code for warning in outcome.warnings] == ["JP609"]
    assert "was started 2 times: it asked for `x.csv`" in outcome.warnings[0].message
    assert outcome.trace
    assert outcome.trace[text] == digest


def test_what_was_cancelled_is_not_started_again(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor]
) -> None:
    """The request to stop may come when the step has just failed for want of a file."""
    (factory.project / "x.csv").write_text("1")
    engine, ticket = start_engine(worker_slot("a")), factory.ticket("1")
    engine.submit(ticket)
    until_sent(engine, 1)
    first = engine.sent[ticket.id][1]
    first.set_result(
        {"outcome": StepOutcome(ticket=ticket.id, state="failed", trace={question("file", "x.csv"): MISSING}).to_dict()}
    )
    engine.cancel(ticket.id)
    assert not started_again(engine, ticket, first)


def test_a_step_is_not_started_again_and_again(
    factory: TicketFactory, start_engine: Callable[..., ManualExecutor]
) -> None:
    engine, ticket = start_engine(worker_slot("a")), factory.ticket("1")
    for number in range(remote_executor.MAX_STARTS):
        (factory.project / f"{number}.csv").write_text("1")
    engine.submit(ticket)
    until_sent(engine, 1)
    for number in range(remote_executor.MAX_STARTS):
        before = engine.sent[ticket.id][1]
        engine.answer(ticket.id, "failed", {question("file", f"{number}.csv"): MISSING})
        assert started_again(engine, ticket, before) == (number < remote_executor.MAX_STARTS - 1)
    outcome = engine.outcome()
    assert outcome.state == "failed"
    assert "was started 6 times" in outcome.warnings[0].message
