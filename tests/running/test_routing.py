"""Steps run where their headers say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.executors.routing import Routed
from jupyter_pipelines.running.ticket import Outcome, Progress, Publish, Ticket


class Far:
    """An executor that has an outcome for whatever it was given."""

    def __init__(self, name: str, cpus: int | None = 2) -> None:
        self.name = name
        self.jobs = 2
        self.cpus = cpus
        self.given: list[str] = []
        self.cancelled: list[tuple[str, bool]] = []
        self.closed = False

    def capacity(self) -> Resources:
        return Resources(cpus=self.cpus, gpus=0, memory=None)

    def submit(self, ticket: Ticket) -> None:
        self.given.append(ticket.id)

    def poll(self, timeout: float) -> Sequence[Progress | Outcome]:
        done, self.given = self.given, []
        return [Outcome(ticket=one, state="succeeded") for one in done]

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        self.cancelled.append((ticket_id, hard))

    def close(self) -> None:
        self.closed = True


def ticket(step: str) -> Ticket:
    publish = Publish(notebook=f"{step}.ipynb", log=f"{step}.log")
    return Ticket(id=f"r.{step}.1", run="r", step=step, notebook={}, path="t", cwd=".", store=".", publish=publish)


@pytest.fixture
def both() -> tuple[Routed, dict[str, Far]]:
    made = {"near": Far("near"), "far": Far("far", cpus=16)}
    return Routed("near", {"train": "far"}, made.__getitem__), made


def test_each_ticket_goes_where_its_step_says(both: tuple[Routed, dict[str, Far]]) -> None:
    routed, made = both
    routed.submit(ticket("train"))
    routed.submit(ticket("load"))
    assert (made["far"].given, made["near"].given) == (["r.train.1"], ["r.load.1"])
    assert {message.ticket for message in routed.poll(1)} == {"r.train.1", "r.load.1"}
    assert list(routed.poll(0)) == []


def test_cancel_finds_the_right_one_and_close_ends_all(both: tuple[Routed, dict[str, Far]]) -> None:
    routed, made = both
    routed.submit(ticket("train"))
    routed.cancel("r.train.1", hard=True)
    routed.cancel("unknown")
    assert (made["far"].cancelled, made["near"].cancelled) == ([("r.train.1", True)], [])
    routed.close()
    assert made["far"].closed
    assert made["near"].closed


def test_capacity_is_the_most_that_one_of_them_has(both: tuple[Routed, dict[str, Far]]) -> None:
    routed, _ = both
    assert routed.capacity() == Resources(cpus=16, gpus=0, memory=None)
    assert routed.jobs == 4
