"""Where tickets are run: an executor takes tickets and gives progress and outcomes back, and never writes a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.step import ComputeResources


class StepExecutor(Protocol):
    """Runs tickets somewhere. Built by ``Class(jobs)``, for ``--on NAME:WHERE`` by ``Class(jobs, WHERE)``.

    Nothing is started before the first ticket, or before it is asked what there is.

    For authors: call :func:`jupyter_pipelines.execution.worker.worker.execute` in a process that runs one ticket
    at a time, hand its progress and its outcome back from :meth:`poll`, and turn the loss of that process into an
    outcome with :func:`jupyter_pipelines.execution.worker.worker.lost_outcome`. Announce the class as an entry point
    in the group ``jupyter_pipelines.executors``, and inherit :class:`jupyter_pipelines.testing.ExecutorContract` in a
    test.

    Attributes
    ----------
    jobs : int
        How many tickets run at once; more may be submitted, and wait.
    """

    jobs: int

    def capacity(self) -> ComputeResources:
        """Return what there is in all; None where that is not known."""

    def submit(self, ticket: StepTicket) -> None:
        """Take a ticket and return at once."""

    def poll(self, timeout: float) -> Sequence[TicketProgress | StepOutcome]:
        """Return everything there is to say, after at most `timeout` seconds of waiting for the first of it.

        Every ticket gets exactly one outcome. Raises nothing for the trouble of a single step.
        """

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Ask for the end of a ticket, at once if `hard`; its outcome follows. Unknown ones are ignored."""

    def close(self) -> None:
        """End everything; nothing of it is left when this returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequirements:
    """What a step needs of the place where it runs.

    Parameters
    ----------
    step : str
        The step.
    demand : ComputeResources
        What it asks for.
    python : str
        Minor version of the Python that its key names; empty for a kernel of another interpreter.
    packages : Mapping of str to str
        Versions of the packages that its key names, by import name.
    secrets : Mapping of str to str
        References of its secret parameters, by name.
    place : SourceLocation or None
        Where its header stands.
    """

    step: str
    demand: ComputeResources = field(default_factory=ComputeResources)
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    place: SourceLocation | None = None


class PoolCapacity(NamedTuple):
    """How many tickets run at once, and the resources for all of them."""

    jobs: int
    capacity: ComputeResources


@runtime_checkable
class SupportsSurvey(Protocol):
    """An executor whose workers differ or are remote: it is asked before anything runs."""

    def survey(self, needs: Sequence[StepRequirements]) -> Sequence[Diagnostic]:
        """Return what stands in the way of these steps, as errors, and what is doubtful, as warnings."""


@runtime_checkable
class SupportsPools(Protocol):
    """An executor with several pools: a full pool does not hold up the others.

    Attributes
    ----------
    pools : Mapping of str to PoolCapacity
        By what the steps say after ``--on``; the empty name for those that say nothing.
    """

    pools: Mapping[str, PoolCapacity]


def survey(executor: StepExecutor, needs: Sequence[StepRequirements]) -> Sequence[Diagnostic]:
    """Return what stands in the way of steps, and what is doubtful, before anything runs."""
    if isinstance(executor, SupportsSurvey):
        return executor.survey(needs)
    capacity = executor.capacity()
    return [fault for need in needs for fault in unmet_requirements(need, [capacity])]


KINDS = ("cpus", "gpus", "memory")


def unmet_requirements(need: StepRequirements, offers: Sequence[ComputeResources]) -> list[Diagnostic]:
    """Return a fault for everything that a step asks for and that not one of `offers` has."""
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
    """Return an amount of something in words."""
    return f"{number / 1e6:.0f} MB of memory" if kind == "memory" else f"{number} {kind}"


def _infinite(number: int | None) -> float:
    return float("inf") if number is None else number
