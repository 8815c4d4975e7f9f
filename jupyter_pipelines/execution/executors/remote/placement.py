"""Placement of tickets on remote workers, by a queue in front of the engine's own.

A worker gets a ticket only when it has a free slot for it. So the engine's own queue stays empty, and no ticket waits
there behind another one that needs resources which are not free.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from jupyter_pipelines.execution.executors import KINDS, amount
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.pipeline.step import ComputeResources


@dataclass(slots=True, kw_only=True)
class WorkerCapacity:
    """Slots and resources of a remote worker.

    Parameters
    ----------
    name : str
        The engine's name for the worker.
    slots : int
        Number of tickets that run at once.
    offer : ComputeResources
        Total resources; None for an unlimited one.
    """

    name: str
    slots: int
    offer: ComputeResources
    taken: dict[str, ComputeResources] = field(default_factory=dict)

    def fits(self, demand: ComputeResources) -> bool:
        """Tell whether a slot and the resources for another ticket are free."""
        return len(self.taken) < self.slots and all(
            _demanded(kind, demand) <= self.free(kind) for kind in KINDS if _demanded(kind, demand)
        )

    def fits_when_idle(self, demand: ComputeResources) -> bool:
        """Tell whether a ticket fits when the worker runs nothing else."""
        return replace(self, taken={}).fits(demand)

    def free(self, kind: str) -> float:
        """Return the free amount of a resource."""
        most = getattr(self.offer, kind)
        if most is None:
            return float("inf")
        return float(most - sum(_demanded(kind, demand) for demand in self.taken.values()))

    def __str__(self) -> str:
        known = [amount(kind, getattr(self.offer, kind)) for kind in KINDS if getattr(self.offer, kind)]
        return f"{self.name}: {', '.join(known) or 'nothing said'}"


class PlacementQueue:
    """The known workers, and the queue of tickets that wait for a free slot.

    Attributes
    ----------
    most : int
        Largest number of tickets that run at once on all workers.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._places: dict[str, WorkerCapacity] = {}
        self._waiting: deque[StepTicket] = deque()
        self._demands: Mapping[str, ComputeResources] = {}
        self._shunned: set[str] = set()

    def expect(self, demands: Mapping[str, ComputeResources]) -> None:
        """Set the demands of steps, by name."""
        self._demands = dict(demands)

    def demand(self, step: str) -> ComputeResources:
        """Return the demand of a step's tickets."""
        return self._demands.get(step, ComputeResources())

    def renew(self, places: Iterable[WorkerCapacity]) -> list[str]:
        """Replace the list of workers; return the ids of tickets on workers that are gone."""
        now = {place.name: place for place in places}
        lost = [ticket for name, place in self._places.items() if name not in now for ticket in place.taken]
        for name, place in now.items():
            place.taken = self._places[name].taken if name in self._places else {}
        self._places = now
        return lost

    def add(self, ticket: StepTicket) -> None:
        """Queue a ticket until a slot is free."""
        self._waiting.append(ticket)

    def withdraw(self, ticket: str) -> StepTicket | None:
        """Withdraw a queued ticket; None if it is not queued."""
        withdrawn = next((queued for queued in self._waiting if queued.id == ticket), None)
        if withdrawn is not None:
            self._waiting.remove(withdrawn)
        return withdrawn

    def withdraw_all(self) -> list[StepTicket]:
        """Withdraw all queued tickets."""
        withdrawn = list(self._waiting)
        self._waiting.clear()
        return withdrawn

    def unsatisfiable_demands(self) -> set[ComputeResources]:
        """Return the demands of queued tickets that no worker can meet, even when idle."""
        demands = {self.demand(ticket.step) for ticket in self._waiting}
        return {demand for demand in demands if not any(place.fits_when_idle(demand) for place in self._open())}

    def withdraw_unsatisfiable(self) -> list[StepTicket]:
        """Withdraw the tickets whose demands no worker can meet."""
        hopeless = self.unsatisfiable_demands()
        withdrawn = [ticket for ticket in self._waiting if self.demand(ticket.step) in hopeless]
        if withdrawn:
            self._waiting = deque(ticket for ticket in self._waiting if self.demand(ticket.step) not in hopeless)
        return withdrawn

    def exclude_worker(self, name: str) -> None:
        """Give a worker no more tickets; it may finish the tickets it runs."""
        self._shunned.add(name)

    def _open(self) -> Iterator[WorkerCapacity]:
        return (place for name, place in self._places.items() if name not in self._shunned)

    def leave(self, ticket: str) -> None:
        """Free the slot and resources of a finished ticket."""
        for place in self._places.values():
            place.taken.pop(ticket, None)

    def next(self) -> tuple[StepTicket, str] | None:
        """Take the first queued ticket that fits a worker; return it with the worker's name, None if none fits."""
        # Each demand is tried once: with thousands of queued items of one step, the search stays linear.
        if sum(len(place.taken) for place in self._places.values()) >= self.most:
            return None
        refused: set[ComputeResources] = set()
        for ticket in self._waiting:
            demand = self.demand(ticket.step)
            place = None if demand in refused else self._best(demand)
            if place is not None:
                self._waiting.remove(ticket)
                place.taken[ticket.id] = demand
                return ticket, place.name
            refused.add(demand)
        return None

    def _best(self, demand: ComputeResources) -> WorkerCapacity | None:
        """Return the fitting worker with the fewest GPUs, then the least load."""
        # Workers with GPUs are kept for steps that need them.
        fitting = [place for place in self._open() if place.fits(demand)]
        return min(
            fitting, key=lambda place: (place.offer.gpus or 0, len(place.taken) / place.slots, place.name), default=None
        )


def _demanded(kind: str, demand: ComputeResources) -> int:
    wanted = getattr(demand, kind)
    if wanted is None:
        return 1 if kind == "cpus" else 0
    return int(wanted)


def at_least(demand: ComputeResources) -> ComputeResources:
    """Return the demand with the default of one core if it names none."""
    return replace(demand, cpus=_demanded("cpus", demand))
