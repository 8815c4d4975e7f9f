"""Who gets which ticket, and what becomes of it, whatever engine carries the parcels: here one that answers by hand."""

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
from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.planning import packages
from jupyter_pipelines.running.elsewhere import asking, handing
from jupyter_pipelines.running.elsewhere.handing import Elsewhere
from jupyter_pipelines.running.elsewhere.packing import Parcel, pack
from jupyter_pipelines.running.elsewhere.placing import Place
from jupyter_pipelines.running.executors import Need
from jupyter_pipelines.running.ticket import Outcome, Ticket
from tests.running.tickets import Workshop


class Hands(Elsewhere):
    """An engine whose workers come, go, fail and answer when a test says so."""

    ENGINE, EXTRA, HINT = "Hands", "hands", "raise them"

    def __init__(self, *workers: Place) -> None:
        super().__init__(100, "here")
        self.workers = {worker.name: worker for worker in workers}
        self.sent: dict[str, tuple[str, Future[Any]]] = {}
        self.others: dict[str, dict[str, Any]] = {}
        self.looks, self.looks_first = threading.Semaphore(0), 0
        self.outcomes: list[Outcome] = []
        self.refuse: Callable[[str], None] = lambda worker: None

    def _join(self) -> None:
        """Nobody has to be reached."""

    def _look(self) -> list[Place]:
        self.looks.release()
        return [replace(worker, taken={}) for worker in self.workers.values()]

    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        for _ in range(self.looks_first):
            self.looks.acquire(timeout=60)
        return {name: {**asking.describe(asked), **self.others.get(name, {})} for name in workers}

    def _send(self, ticket: Ticket, parcel: Parcel, worker: str) -> Future[Any]:
        self.refuse(worker)
        self.sent[ticket.id] = (worker, Future())
        return self.sent[ticket.id][1]

    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:
        self.answer(ticket, "cancelled")

    def _release(self, future: Any) -> None:
        """There is nothing to let go of."""

    def _leave(self) -> None:
        """There is nothing to let go of."""

    def _is_over(self) -> bool:
        return False

    def answer(self, ticket: str, state: Literal["succeeded", "cancelled"] = "succeeded") -> None:
        """Let a parcel be over."""
        if not self.sent[ticket][1].done():
            self.sent[ticket][1].set_result({"outcome": Outcome(ticket=ticket, state=state).to_dict()})

    def outcome(self) -> Outcome:
        """Return the next outcome."""
        while not self.outcomes:
            self.outcomes += [news for news in self.poll(5) if isinstance(news, Outcome)]
        return self.outcomes.pop(0)


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def begin() -> Iterator[Callable[..., Hands]]:
    """Return what makes an engine that has been asked about a plain step and one with a GPU."""
    made: list[Hands] = []

    def start(*workers: Place) -> Hands:
        made.append(Hands(*workers))
        plain = Need(step="fit", python=packages.python())
        large = Need(step="large", demand=Resources(gpus=1))
        needs = [plain, large] if any(worker.offer.gpus for worker in workers) else [plain]
        assert not made[-1].survey(needs)
        return made[-1]

    yield start
    for one in made:
        one.close()


def place(name: str, gpus: int = 0) -> Place:
    return Place(name=name, slots=1, offer=Resources(cpus=2, gpus=gpus))


def until_sent(engine: Hands, count: int) -> None:
    while len(engine.sent) < count:
        engine.poll(0.01)


def test_who_waits_is_told_when_the_last_worker_is_gone(
    shop: Workshop, begin: Callable[..., Hands], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody comes who could run it."""
    monkeypatch.setattr(handing, "GRACE", 0.0)
    engine = begin(place("a"))
    tickets = [shop.ticket("1"), shop.ticket("2")]
    for ticket in tickets:
        engine.submit(ticket)
    until_sent(engine, 1)
    engine.workers.clear()
    lost = {one.ticket: one for one in (engine.outcome(), engine.outcome())}
    assert {one.state for one in lost.values()} == {"died"}
    faults = [lost[ticket.id].fault for ticket in tickets]
    assert [fault.code for fault in faults if fault] == ["JP308", "JP308"]
    assert "the Hands worker a is gone" in str(faults[0])
    assert "no worker is left" in str(faults[1])


def test_who_waits_for_a_gpu_is_told_when_the_last_one_is_gone(
    shop: Workshop, begin: Callable[..., Hands], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "GRACE", 0.0)
    engine = begin(place("a"), place("b", gpus=1))
    large = [replace(shop.ticket(str(number)), step="large") for number in range(2)]
    plain = shop.ticket("x = 1")
    for ticket in (*large, plain):
        engine.submit(ticket)
    until_sent(engine, 2)
    del engine.workers["b"]
    assert {engine.outcome().ticket, engine.outcome().ticket} == {ticket.id for ticket in large}
    engine.answer(plain.id)
    assert engine.outcome().state == "succeeded"


def test_a_worker_that_comes_in_the_place_of_a_lost_one_gets_what_waits(
    shop: Workshop, begin: Callable[..., Hands]
) -> None:
    """It is asked what it has first: one that differs gets nothing."""
    engine = begin(place("a"))
    tickets = [shop.ticket("1"), shop.ticket("2")]
    for ticket in tickets:
        engine.submit(ticket)
    until_sent(engine, 1)
    engine.others = {"b": {"python": "2.7"}}
    engine.workers = {"b": place("b", gpus=1), "c": place("c", gpus=2)}
    assert engine.outcome().ticket == tickets[0].id
    until_sent(engine, 2)
    assert engine.sent[tickets[1].id][0] == "c"
    engine.answer(tickets[1].id)
    assert engine.outcome().state == "succeeded"


def test_what_a_worker_fails_at_is_told_and_the_next_goes_to_another(
    shop: Workshop, begin: Callable[..., Hands]
) -> None:
    """A worker that fails gets nothing more."""
    engine = begin(place("a"), place("b", gpus=1))
    tickets = [shop.ticket(str(number)) for number in range(4)]
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


def test_a_parcel_that_cannot_be_handed_over_fails_alone(shop: Workshop, begin: Callable[..., Hands]) -> None:
    """The engine refused it, with whatever it refuses with."""
    engine = begin(place("a"), place("b", gpus=1))

    def refuse(worker: str) -> None:
        if worker == "a":
            raise KeyError(worker)

    engine.refuse = refuse
    tickets = [shop.ticket("1"), shop.ticket("2")]
    for ticket in tickets:
        engine.submit(ticket)
    outcome = engine.outcome()
    assert outcome.state == "died"
    assert "the Hands worker a fails" in str(outcome.fault)
    until_sent(engine, 1)
    (other,) = engine.sent
    engine.answer(other)
    assert engine.outcome().state == "succeeded"


def test_a_worker_goes_while_a_parcel_for_it_fails_to_be_packed(shop: Workshop, begin: Callable[..., Hands]) -> None:
    """It never had that parcel."""
    engine = begin(place("a"))
    lacking = shop.ticket("1", inputs={"raw": None})
    lacking = replace(lacking, inputs={"raw": {"kind": "file", "path": "not-there.csv", "digest": "0" * 64}})
    engine._places.renew(engine._look())  # so that it is packed at once, and the loss of the worker is news
    engine._news.put(("workers", {}))
    engine.submit(lacking)
    outcome = engine.outcome()
    assert (outcome.ticket, outcome.state) == (lacking.id, "failed")
    assert outcome.fault
    assert outcome.fault.code == "JP310"


def test_a_cluster_without_cores_is_refused(shop: Workshop) -> None:
    """For instance the head of one, whose nodes are yet to come: a step would wait for ever."""
    with closing(Hands(Place(name="head", slots=0, offer=Resources(cpus=0)))) as engine:
        faults = engine.survey([Need(step="fit")])
    assert [fault.code for fault in faults if fault.severity == "error"] == ["JP604"]
    assert "step `fit` asks for 1 cpus, and there are 0 cpus" in str(faults[0])


def test_a_worker_that_cannot_take_part_gets_nothing(shop: Workshop) -> None:
    """Also when the workers take so long to answer that it was seen, several times, before it was known."""
    with closing(Hands(place("other"), place("same", gpus=1))) as engine:
        engine.others, engine.looks_first = {"other": {"python": "2.7"}}, 3
        (doubt,) = engine.survey([Need(step="fit", python=packages.python())])
        assert (doubt.code, doubt.severity) == ("JP608", "warning")
        tickets = [shop.ticket("1"), shop.ticket("2")]
        for ticket in tickets:
            engine.submit(ticket)
        for count, _ in enumerate(tickets, 1):
            until_sent(engine, count)
            (running,) = [ticket for ticket, (_, future) in engine.sent.items() if not future.done()]
            assert engine.sent[running][0] == "same"
            engine.answer(running)
            assert engine.outcome().ticket == running


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_a_file_that_cannot_be_read_is_named(shop: Workshop) -> None:
    """A file that the step's code names, and that is somebody else's."""
    (shop.project / "theirs.csv").write_text("1")
    os.seteuid(65534)
    try:
        with pytest.raises(StepFailed, match=r"a file of step `fit` cannot be taken along: .*theirs\.csv: Permission"):
            pack(replace(shop.ticket("1"), sources=[{"path": "theirs.csv"}]), shop.store)
    finally:
        os.seteuid(0)


def test_what_is_no_file_stays_here(shop: Workshop, begin: Callable[..., Hands]) -> None:
    """Somebody listens there, and would have to be listened to."""
    os.mkfifo(shop.project / "pipe")
    engine = begin(place("a"))
    ticket = replace(shop.ticket("1"), sources=[{"path": "pipe"}])
    engine.submit(ticket)
    engine.answer(ticket.id)
    assert engine.outcome().state == "succeeded"
