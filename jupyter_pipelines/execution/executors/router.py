"""Several executors behind one interface: a step runs on the executor of its header, else on that of the run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.executors import PoolCapacity, StepExecutor, StepRequirements, SupportsPools, survey
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import ComputeResources

SLICE = 0.05
"""Seconds for which polling one executor may delay the others."""


class ExecutorRouter:
    """Passes each ticket to the executor of its step.

    Parameters
    ----------
    default : str
        Name of the executor for steps whose header names none.
    targets : Mapping of str to str
        Name of the executor by step, for the others.
    make : callable
        Creates the executor of a name.
    """

    def __init__(self, default: str, targets: Mapping[str, str], make: Callable[[str], StepExecutor]) -> None:
        self._default = default
        self._targets = dict(targets)
        self._executors = {name: make(name) for name in dict.fromkeys([default, *self._targets.values()])}
        self._under_way: dict[str, StepExecutor] = {}
        self.jobs = sum(executor.jobs for executor in self._executors.values())

    @property
    def pools(self) -> dict[str, PoolCapacity]:
        """Capacity of each executor by its name; the default executor stands under the empty name, too."""
        default = self._executors[self._default]
        return {
            "": _pool_capacity(default),
            **{name: _pool_capacity(executor) for name, executor in self._executors.items()},
        }

    def survey(self, needs: Sequence[StepRequirements]) -> Sequence[Diagnostic]:
        """Return the diagnostics of each executor for its own steps."""
        return [
            fault
            for name, executor in self._executors.items()
            for fault in survey(
                executor, [need for need in needs if self._targets.get(need.step, self._default) == name]
            )
        ]

    def capacity(self) -> ComputeResources:
        """Return the largest amount of each resource that any executor has."""
        capacities = [executor.capacity() for executor in self._executors.values()]
        return ComputeResources(
            cpus=_most(capacity.cpus for capacity in capacities),
            gpus=_most(capacity.gpus for capacity in capacities),
            memory=_most(capacity.memory for capacity in capacities),
        )

    def submit(self, ticket: StepTicket) -> None:
        """Queue a ticket and return at once."""
        executor = self._executors[self._targets.get(ticket.step, self._default)]
        self._under_way[ticket.id] = executor
        executor.submit(ticket)

    def poll(self, timeout: float) -> Sequence[TicketProgress | StepOutcome]:
        """Return all pending messages, after at most about `timeout` seconds."""
        # Every busy executor is polled for a short time in turn, until one of them has news.
        busy = list(dict.fromkeys(self._under_way.values())) or [self._executors[self._default]]
        left = timeout
        while True:
            wait = min(max(left, 0.0), SLICE) if len(busy) > 1 else max(left, 0.0)
            news = [message for executor in busy for message in executor.poll(wait / len(busy))]
            left -= wait
            if news or left <= 0:
                return [self._heard(message) for message in news]

    def _heard(self, message: TicketProgress | StepOutcome) -> TicketProgress | StepOutcome:
        if isinstance(message, StepOutcome):
            self._under_way.pop(message.ticket, None)
        return message

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Request the end of a ticket; unknown ids are ignored."""
        executor = self._under_way.get(ticket_id)
        if executor is not None:
            executor.cancel(ticket_id, hard=hard)

    def close(self) -> None:
        """Close all executors."""
        for executor in self._executors.values():
            executor.close()


def _pool_capacity(executor: StepExecutor) -> PoolCapacity:
    return (
        executor.pools[""] if isinstance(executor, SupportsPools) else PoolCapacity(executor.jobs, executor.capacity())
    )


def _most(amounts: Iterator[int | None]) -> int | None:
    known = list(amounts)
    return None if None in known else max(number for number in known if number is not None)


def executor_for(pipeline: Pipeline, on: str, jobs: int | None) -> StepExecutor:
    """Return the executor for the steps of `pipeline`: a router over several where headers name others than `on`.

    Raises
    ------
    PluginError
        There is no executor of that name (JP602), or it cannot be loaded (JP601).
    """

    def make(target: str) -> StepExecutor:
        name, colon, where = target.partition(":")
        executor_class = plugins.load("executors", name)
        limit = jobs or getattr(executor_class, "usual_jobs", os.cpu_count)() or 1
        executor: StepExecutor = executor_class(limit, where) if colon else executor_class(limit)
        return executor

    targets = {step.name: step.on for step in pipeline if step.on is not None and step.on != on}
    return ExecutorRouter(on, targets, make) if targets else make(on)
