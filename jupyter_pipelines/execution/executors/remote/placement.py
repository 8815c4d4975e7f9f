"""Which worker gets which ticket: a queue of our own, so that a ticket that no worker can take holds up no other.

No worker gets a ticket without a free slot for it. So an engine's own queue is always empty, and its order cannot
let a ticket wait behind another that needs something else.
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
    """What a remote worker offers: its slots and resources.

    Parameters
    ----------
    name : str
        What the engine calls it.
    slots : int
        How many tickets at once.
    offer : ComputeResources
        What it has in all; None is not limited.
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
        """Return how much is left of something."""
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
        How many tickets at once in all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._places: dict[str, WorkerCapacity] = {}
        self._waiting: deque[StepTicket] = deque()
        self._demands: Mapping[str, ComputeResources] = {}
        self._shunned: set[str] = set()

    def expect(self, demands: Mapping[str, ComputeResources]) -> None:
        """Learn what the tickets of each step will ask for."""
        self._demands = dict(demands)

    def demand(self, step: str) -> ComputeResources:
        """Return what the tickets of a step ask for."""
        return self._demands.get(step, ComputeResources())

    def renew(self, places: Iterable[WorkerCapacity]) -> list[str]:
        """Learn which workers there are now; return the tickets of workers that have gone."""
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
        """Give a worker no more tickets; what it runs it may finish."""
        self._shunned.add(name)

    def _open(self) -> Iterator[WorkerCapacity]:
        return (place for name, place in self._places.items() if name not in self._shunned)

    def leave(self, ticket: str) -> None:
        """Note that a ticket is over."""
        for place in self._places.values():
            place.taken.pop(ticket, None)

    def next(self) -> tuple[StepTicket, str] | None:
        """Return the first ticket that fits a worker, and that worker."""
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
        """Return the worker that fits, with the fewest GPUs and then the most free slots."""
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
    """Return what a ticket takes that asks for this: a core, if it says nothing of cores."""
    return replace(demand, cpus=_demanded("cpus", demand))
