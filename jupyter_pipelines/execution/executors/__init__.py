"""The protocol of executors: an executor runs tickets, returns progress and outcomes, and never writes a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.step import ComputeResources


class StepExecutor(Protocol):
    """Runs tickets somewhere. Built by ``Class(jobs)``, for ``--on NAME:WHERE`` by ``Class(jobs, WHERE)``.

    Nothing is started before the first ticket, or before :meth:`capacity` or a survey needs it.

    For authors: call :func:`jupyter_pipelines.execution.worker.worker.execute` in a process that runs one ticket
    at a time, return its progress and its outcome from :meth:`poll`, and turn the loss of that process into an
    outcome with :func:`jupyter_pipelines.execution.worker.worker.lost_outcome`. Register the class as an entry point
    in the group ``jupyter_pipelines.executors``, and inherit :class:`jupyter_pipelines.testing.ExecutorContract` in a
    test.

    Attributes
    ----------
    jobs : int
        Number of tickets that run at once; more may be submitted, and are queued.
    """

    jobs: int

    def capacity(self) -> ComputeResources:
        """Return the total resources; None for a resource whose amount is not known."""

    def submit(self, ticket: StepTicket) -> None:
        """Queue a ticket and return at once."""

    def poll(self, timeout: float) -> Sequence[TicketProgress | StepOutcome]:
        """Return all pending messages, after at most `timeout` seconds of waiting for the first.

        Every ticket gets exactly one outcome. The failure of a single step raises nothing.
        """

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Request the end of a ticket, without time to clean up if `hard`; its outcome follows. Ignore unknown ids."""

    def close(self) -> None:
        """End all tickets and processes; none of them is left when this returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequirements:
    """Requirements of a step on the machine where it runs.

    Parameters
    ----------
    step : str
        The step.
    demand : ComputeResources
        The cores, GPUs and memory that it asks for.
    python : str
        Minor version of the Python that its key names; empty for a kernel of another interpreter.
    packages : Mapping of str to str
        Versions of the packages that its key names, by import name.
    secrets : Mapping of str to str
        References of its secret parameters, by name.
    place : SourceLocation or None
        Location of its header.
    """

    step: str
    demand: ComputeResources = field(default_factory=ComputeResources)
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    place: SourceLocation | None = None


class PoolCapacity(NamedTuple):
    """Number of tickets that run at once in a pool, and their total resources."""

    jobs: int
    capacity: ComputeResources


@runtime_checkable
class SupportsSurvey(Protocol):
    """An executor whose workers differ or are remote: it is asked before anything runs."""

    def survey(self, needs: Sequence[StepRequirements]) -> Sequence[Diagnostic]:
        """Return diagnostics for these steps: errors if they cannot run, warnings for workers that are left out."""


@runtime_checkable
class SupportsPools(Protocol):
    """An executor with several pools: a full pool does not hold up the others.

    Attributes
    ----------
    pools : Mapping of str to PoolCapacity
        By the value of ``--on`` in the steps' headers; the empty name for steps without it.
    """

    pools: Mapping[str, PoolCapacity]


def survey(executor: StepExecutor, needs: Sequence[StepRequirements]) -> Sequence[Diagnostic]:
    """Return diagnostics for steps that the executor cannot run, before anything runs."""
    if isinstance(executor, SupportsSurvey):
        return executor.survey(needs)
    capacity = executor.capacity()
    return [fault for need in needs for fault in unmet_requirements(need, [capacity])]


KINDS = ("cpus", "gpus", "memory")


def unmet_requirements(need: StepRequirements, offers: Sequence[ComputeResources]) -> list[Diagnostic]:
    """Return an error for each resource of which a step asks for more than any of `offers` has."""
    if any(not _exceeds(need.demand, offer) for offer in offers):
        return []
    faults = []
    for kind in KINDS:
        most = max((_infinite(getattr(offer, kind)) for offer in offers), default=0)
        demanded = getattr(need.demand, kind) or 0
        if demanded > most:
            faults.append(
                _unmet_fault(
                    need, f"{amount(kind, demanded)}, and there are {amount(kind, int(most))}", kind, int(most)
                )
            )
    # Each amount alone is available, but not all of them in one place.
    return faults or [_unmet_fault(need, "more than any one place has", "cpus", None)]


def _exceeds(demand: ComputeResources, offer: ComputeResources) -> bool:
    return any((getattr(demand, kind) or 0) > _infinite(getattr(offer, kind)) for kind in KINDS)


def _unmet_fault(need: StepRequirements, what: str, kind: str, most: int | None) -> Diagnostic:
    way = "ask for less" if most is None else f"write `--{kind}` with at most {most}"
    return Diagnostic(
        code="JP604",
        message=f"step `{need.step}` asks for {what}",
        suggestion=f"{way}, or run it where there is more",
        step=need.step,
        place=need.place,
    )


def amount(kind: str, number: int) -> str:
    """Return an amount of a resource as text: "2 cpus", "500 MB of memory"."""
    return f"{number / 1e6:.0f} MB of memory" if kind == "memory" else f"{number} {kind}"


def _infinite(number: int | None) -> float:
    return float("inf") if number is None else number
