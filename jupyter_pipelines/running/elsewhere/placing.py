"""Which worker gets which ticket: a queue of our own, so that what one worker lacks holds up nobody else.

Nothing is handed to a worker that has no room for it. So an engine's own queue is always empty, and its order cannot
let one ticket wait behind another that wants something else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.executors import KINDS, amount
from jupyter_pipelines.running.ticket import Ticket


@dataclass(slots=True, kw_only=True)
class Place:
    """A worker somewhere.

    Parameters
    ----------
    name : str
        What the engine calls it.
    slots : int
        How many tickets at once.
    offer : Resources
        What it has in all; None is not limited.
    """

    name: str
    slots: int
    offer: Resources
    taken: dict[str, Resources] = field(default_factory=dict)

    def fits(self, demand: Resources) -> bool:
        """Tell whether there is room for another ticket."""
        return len(self.taken) < self.slots and all(
            _wanted(kind, demand) <= self.free(kind) for kind in KINDS if _wanted(kind, demand)
        )

    def could(self, demand: Resources) -> bool:
        """Tell whether there is room for a ticket when nothing else is here."""
        return replace(self, taken={}).fits(demand)

    def free(self, kind: str) -> float:
        """Return how much is left of something."""
        most = getattr(self.offer, kind)
        if most is None:
            return float("inf")
        return float(most - sum(_wanted(kind, one) for one in self.taken.values()))

    def __str__(self) -> str:
        known = [amount(kind, getattr(self.offer, kind)) for kind in KINDS if getattr(self.offer, kind)]
        return f"{self.name}: {', '.join(known) or 'nothing said'}"


class Places:
    """The workers there are, and the tickets that wait for room.

    Attributes
    ----------
    most : int
        How many tickets at once in all.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._places: dict[str, Place] = {}
        self._waiting: deque[Ticket] = deque()
        self._demands: Mapping[str, Resources] = {}
        self._shunned: set[str] = set()

    def expect(self, demands: Mapping[str, Resources]) -> None:
        """Learn what the tickets of each step will ask for."""
        self._demands = dict(demands)

    def demand(self, step: str) -> Resources:
        """Return what the tickets of a step ask for."""
        return self._demands.get(step, Resources())

    def renew(self, places: Iterable[Place]) -> list[str]:
        """Learn which workers there are now; return the tickets that were given to some that are gone."""
        now = {place.name: place for place in places}
        lost = [ticket for name, one in self._places.items() if name not in now for ticket in one.taken]
        for name, place in now.items():
            place.taken = self._places[name].taken if name in self._places else {}
        self._places = now
        return lost

    def add(self, ticket: Ticket) -> None:
        """Let a ticket wait for room."""
        self._waiting.append(ticket)

    def withdraw(self, ticket: str) -> Ticket | None:
        """Take a ticket back that still waits; None if it does not."""
        found = next((one for one in self._waiting if one.id == ticket), None)
        if found is not None:
            self._waiting.remove(found)
        return found

    def withdraw_all(self) -> list[Ticket]:
        """Take all tickets back that still wait."""
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def hopeless(self) -> set[Resources]:
        """Return what tickets wait for and no worker has, even when it has nothing else to do."""
        demands = {self.demand(ticket.step) for ticket in self._waiting}
        return {one for one in demands if not any(place.could(one) for place in self._open())}

    def withdraw_hopeless(self) -> list[Ticket]:
        """Take the tickets back that wait for what no worker has."""
        hopeless = self.hopeless()
        found = [ticket for ticket in self._waiting if self.demand(ticket.step) in hopeless]
        if found:
            self._waiting = deque(ticket for ticket in self._waiting if self.demand(ticket.step) not in hopeless)
        return found

    def shun(self, name: str) -> None:
        """Give a worker nothing more; what it has it may finish."""
        self._shunned.add(name)

    def _open(self) -> Iterator[Place]:
        return (place for name, place in self._places.items() if name not in self._shunned)

    def leave(self, ticket: str) -> None:
        """Note that a ticket is over."""
        for place in self._places.values():
            place.taken.pop(ticket, None)

    def next(self) -> tuple[Ticket, str] | None:
        """Return the first ticket that there is room for, and the worker that gets it."""
        if sum(len(place.taken) for place in self._places.values()) >= self.most:
            return None
        refused: set[Resources] = set()
        for ticket in self._waiting:
            demand = self.demand(ticket.step)
            place = None if demand in refused else self._best(demand)
            if place is not None:
                self._waiting.remove(ticket)
                place.taken[ticket.id] = demand
                return ticket, place.name
            refused.add(demand)
        return None

    def _best(self, demand: Resources) -> Place | None:
        """Return the worker with room that has least of what is rare, and most of what is left."""
        fitting = [place for place in self._open() if place.fits(demand)]
        return min(fitting, key=lambda one: (one.offer.gpus or 0, len(one.taken) / one.slots, one.name), default=None)


def _wanted(kind: str, demand: Resources) -> int:
    wanted = getattr(demand, kind)
    if wanted is None:
        return 1 if kind == "cpus" else 0
    return int(wanted)


def at_least(demand: Resources) -> Resources:
    """Return what a ticket takes that asks for this: a core, if it says nothing of cores."""
    return replace(demand, cpus=_wanted("cpus", demand))
