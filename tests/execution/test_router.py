"""The router sends each step to the executor that its header names."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from jupyter_pipelines.execution.executors.router import ExecutorRouter
from jupyter_pipelines.execution.ticket import PublishPaths, StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.step import ComputeResources


class InstantExecutor:
    """An executor whose tickets all succeed at the next poll."""

    def __init__(self, name: str, cpus: int | None = 2) -> None:
        self.name = name
        self.jobs = 2
        self.cpus = cpus
        self.given: list[str] = []
        self.cancelled: list[tuple[str, bool]] = []
        self.closed = False

    def capacity(self) -> ComputeResources:
        return ComputeResources(cpus=self.cpus, gpus=0, memory=None)

    def submit(self, ticket: StepTicket) -> None:
        self.given.append(ticket.id)

    def poll(self, timeout: float) -> Sequence[TicketProgress | StepOutcome]:
        done, self.given = self.given, []
        return [StepOutcome(ticket=ticket_id, state="succeeded") for ticket_id in done]

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        self.cancelled.append((ticket_id, hard))

    def close(self) -> None:
        self.closed = True


def ticket(step: str) -> StepTicket:
    publish = PublishPaths(notebook=f"{step}.ipynb", log=f"{step}.log")
    return StepTicket(id=f"r.{step}.1", run="r", step=step, notebook={}, path="t", cwd=".", store=".", publish=publish)


@pytest.fixture
def both() -> tuple[ExecutorRouter, dict[str, InstantExecutor]]:
    made = {"near": InstantExecutor("near"), "far": InstantExecutor("far", cpus=16)}
    return ExecutorRouter("near", {"train": "far"}, made.__getitem__), made


def test_each_ticket_goes_where_its_step_says(both: tuple[ExecutorRouter, dict[str, InstantExecutor]]) -> None:
    routed, made = both
    routed.submit(ticket("train"))
    routed.submit(ticket("load"))
    assert (made["far"].given, made["near"].given) == (["r.train.1"], ["r.load.1"])
    assert {message.ticket for message in routed.poll(1)} == {"r.train.1", "r.load.1"}
    assert list(routed.poll(0)) == []


def test_cancel_reaches_the_right_executor_and_close_ends_all(
    both: tuple[ExecutorRouter, dict[str, InstantExecutor]],
) -> None:
    routed, made = both
    routed.submit(ticket("train"))
    routed.cancel("r.train.1", hard=True)
    routed.cancel("unknown")
    assert (made["far"].cancelled, made["near"].cancelled) == ([("r.train.1", True)], [])
    routed.close()
    assert made["far"].closed
    assert made["near"].closed


def test_capacity_is_the_most_that_one_of_them_has(both: tuple[ExecutorRouter, dict[str, InstantExecutor]]) -> None:
    routed, _ = both
    assert routed.capacity() == ComputeResources(cpus=16, gpus=0, memory=None)
    assert routed.jobs == 4
