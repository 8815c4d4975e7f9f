"""Base class of executors on clusters: placement of tickets, messages, and loss of workers.

The engine (Dask, Ray) only transports parcels and messages. Placement is decided here, a parcel is submitted exactly
once, and the ticket of a lost worker is a failed attempt like any other, which the scheduler may retry.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from jupyter_pipelines.errors import Diagnostic, ExecutorLost, PipelinesError, PluginError
from jupyter_pipelines.execution.executors import PoolCapacity, StepRequirements, unmet_requirements
from jupyter_pipelines.execution.executors.remote import capabilities
from jupyter_pipelines.execution.executors.remote.parcels import Parcel, examine, pack, unpack
from jupyter_pipelines.execution.executors.remote.placement import PlacementQueue, WorkerCapacity, at_least
from jupyter_pipelines.execution.executors.remote.worker_traces import late_files_warnings
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.execution.worker.worker import lost_outcome
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

logger = logging.getLogger(__name__)
MANY = 100_000
"""Number of tickets accepted at once: they wait in the placement queue, which knows the workers."""
LOOK = 0.5
"""Seconds between two queries of the list of workers."""
PATIENCE = 10.0
"""Seconds that a scheduler has to answer; also after which a scheduler that refuses connections counts as gone."""
SILENCE = 60.0
"""Seconds after which a scheduler that does not answer counts as gone: a busy one may answer late."""
GRACE = 30.0
"""Seconds for which a step waits when no worker can meet its demand any more: lost workers are often restarted."""
MAX_STARTS = 6
"""How often a step is started at most because it asked for files that had not been sent."""
Message = tuple[str, Any]


class RemoteExecutor(ABC):
    """Runs tickets on the workers of an engine.

    Parameters
    ----------
    jobs : int
        Largest number of tickets that run at once; a cluster runs as many as its workers have slots.
    where : str
        Address of the cluster; empty for one on this machine, which ends with this executor.
    """

    ENGINE: ClassVar[str]
    """Name of the engine in messages."""
    EXTRA: ClassVar[str]
    """The package that has to be installed for it."""
    HINT: ClassVar[str]
    """Advice for the case that the cluster does not answer."""

    def __init__(self, jobs: int, where: str = "") -> None:
        self.jobs = max(1, jobs)
        self.pools = {"": PoolCapacity(MANY, ComputeResources())}
        self._where = where
        self._places = PlacementQueue(max(1, jobs))
        self._news: queue.Queue[Message] = queue.Queue()
        self._tickets: dict[str, StepTicket] = {}
        # Digests of environment variables come back made with this key: a worker does not have the user's own.
        self._trace_key = secrets.token_hex(32)
        self._late: dict[str, list[str]] = {}
        self._starts: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._futures: dict[str, Any] = {}
        self._stores: dict[str, Store] = {}
        self._fit: dict[str, str] | None = None
        self._needs: Sequence[StepRequirements] = ()
        self._met: set[str] = set()
        self._alone: float | None = None
        self._joined = False
        self._gone = ""
        self._over = threading.Event()

    # Methods of the engine

    @abstractmethod
    def _join(self) -> None:
        """Connect to the cluster, or start one.

        Raises
        ------
        ImportError
            The engine's package is not installed.
        OSError, ValueError, TimeoutError, RuntimeError
            The cluster cannot be reached or started.
        """

    @abstractmethod
    def _look(self) -> list[WorkerCapacity]:
        """Return the present workers."""

    @abstractmethod
    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        """Call :func:`capabilities.describe` on each worker; return its answer, or the reason why it has none."""

    @abstractmethod
    def _send(self, ticket: StepTicket, parcel: Parcel, worker: str) -> Any:
        """Submit a parcel to a worker, without retries; return its future."""

    @abstractmethod
    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:
        """Request that a worker ends a parcel."""

    @abstractmethod
    def _release(self, future: Any) -> None:
        """Release the engine's resources for a finished parcel."""

    @abstractmethod
    def _leave(self) -> None:
        """Disconnect from the cluster; end it if this executor started it."""

    @abstractmethod
    def _is_over(self) -> bool:
        """Tell whether the connection is closed for good."""

    # Workers

    @staticmethod
    def usual_jobs() -> int:
        """Return the default number of tickets that run at once: no limit but the workers' slots."""
        return MANY

    def capacity(self) -> ComputeResources:
        """Return no limits: the placement queue of this executor applies those of the workers."""
        return ComputeResources()

    def survey(self, needs: Sequence[StepRequirements]) -> Sequence[Diagnostic]:
        """Return errors for steps that cannot run on this cluster, and warnings for workers that are left out.

        Raises
        ------
        PluginError
            The package is missing, or the cluster does not answer (JP607).
        """
        if not needs:
            return ()
        self._connect()
        self._places.expect({need.step: need.demand for need in needs})
        workers = self._workers()
        if not workers:
            raise PluginError(self._unreachable("it has no workers", "start some"))
        self._needs = needs
        mismatches, self._fit = self._meet(list(workers))
        self.jobs = min(self.jobs, sum(place.slots for place in workers.values()))
        doubts = [capabilities.mismatch_warning(name, reasons) for name, reasons in mismatches.items() if reasons]
        if not self._fit:
            return [replace(doubt, severity="error") for doubt in doubts]
        offers = [place for place in self._workers().values() if place.name in self._fit]
        self._places.renew(offers)
        taking = [replace(need, demand=at_least(need.demand)) for need in needs]
        refused = [fault for need in taking for fault in unmet_requirements(need, [place.offer for place in offers])]
        notes = tuple(f"worker {place}" for place in offers[:8])
        return [*(replace(fault, notes=notes) for fault in refused), *doubts]

    def _workers(self) -> dict[str, WorkerCapacity]:
        return {place.name: place for place in self._look() if self._fit is None or place.name in self._fit}

    def _meet(self, workers: Sequence[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
        """Query workers; return the mismatches of each, and the process identities of those without any."""
        answers = self._ask(capabilities.questions(self._needs), workers)
        mismatches = {name: capabilities.differences(self._needs, answers.get(name)) for name in workers}
        self._met |= set(workers)
        return mismatches, {name: answers[name]["process"] for name in workers if not mismatches[name]}

    def _refresh_workers(self) -> dict[str, WorkerCapacity]:
        """Return the present workers, after new ones were queried for their capabilities."""
        places = {place.name: place for place in self._look()}
        new = [name for name in places if name not in self._met]
        if self._fit is not None and new:
            mismatches, fit = self._meet(new)
            self._fit = {**self._fit, **fit}
            for name in mismatches.keys() - fit.keys():
                logger.info("the worker %s gets no steps: it has %s", name, mismatches[name][0])
        return places

    # Tickets

    def submit(self, ticket: StepTicket) -> None:
        """Queue a ticket and return at once.

        Raises
        ------
        ExecutorLost
            The cluster's scheduler is gone (JP308).
        """
        self._connect()
        if self._gone:
            raise ExecutorLost(self._lost_scheduler())
        self._queue(replace(ticket, trace_key=self._trace_key))
        self._hand_out()

    def _queue(self, ticket: StepTicket) -> None:
        self._tickets[ticket.id] = ticket
        self._starts[ticket.id] = self._starts.get(ticket.id, 0) + 1
        self._places.add(ticket)

    def poll(self, timeout: float) -> Sequence[TicketProgress | StepOutcome]:
        """Return all pending messages, after at most `timeout` seconds of waiting for the first."""
        # All other threads only put messages into the queue; the state of this object belongs to the calling thread.
        end = time.monotonic() + timeout
        messages: list[TicketProgress | StepOutcome] = []
        while not messages:
            try:
                messages += self._heard(*self._news.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return messages
        while not self._news.empty():
            messages += self._heard(*self._news.get_nowait())
        return messages

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Request the end of a ticket, without time to clean up if `hard`; unknown ids are ignored."""
        self._cancelled.add(ticket_id)
        if self._places.withdraw(ticket_id) is not None:
            self._news.put(("outcome", StepOutcome(ticket=ticket_id, state="cancelled")))
            return
        future = self._futures.get(ticket_id)
        if future is not None:
            with contextlib.suppress(Exception):
                self._stop(ticket_id, future[1], hard=hard, wait=False)

    def close(self) -> None:
        """End everything that this executor has started; a cluster that existed before stays."""
        self._over.set()
        if self._joined:
            if not self._gone:
                self._stop_all()
            self._leave()
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def _stop_all(self) -> None:
        """Request that the workers end all parcels, and wait for it, at most 10 s."""
        # Requested of all before waiting for any. Errors no longer matter: the run has ended.
        for ticket, (_, worker) in self._futures.items():
            with contextlib.suppress(Exception):
                self._stop(ticket, worker, hard=True, wait=True)
        end = time.monotonic() + PATIENCE
        for future, _ in self._futures.values():
            with contextlib.suppress(Exception):
                future.result(timeout=max(0.0, end - time.monotonic()))

    # Connection

    def _connect(self) -> None:
        if self._joined or self._over.is_set():
            return
        try:
            self._join()
        except ImportError as error:
            raise PluginError(self._no_package(error)) from error
        except (OSError, ValueError, TimeoutError, RuntimeError) as error:
            raise PluginError(self._unreachable(str(error) or type(error).__name__)) from error
        self._joined = True
        threading.Thread(target=self._watch, name="jupyter-pipelines-elsewhere", daemon=True).start()

    def _watch(self) -> None:
        """Query the list of workers every half second: report lost workers, and a lost scheduler."""
        failing: float | None = None
        while not self._over.wait(LOOK):
            looked = time.monotonic()
            try:
                self._news.put(("workers", self._refresh_workers()))
                failing = None
            except Exception as error:  # noqa: BLE001 - whatever a connection can fail with
                logger.info("the %s scheduler does not answer: %s", self.ENGINE, error)
                # Counted from the first failed query, not from the last good one: this machine may have been asleep.
                failing = looked if failing is None else failing
                limit = SILENCE if isinstance(error, TimeoutError) else PATIENCE
                if time.monotonic() - failing > limit or self._is_over():
                    self._news.put(("gone", str(error) or type(error).__name__))
                    return

    def _answers(self) -> bool:
        """Tell whether the scheduler is, or may be, reachable: a silent one may be busy."""
        try:
            self._workers()
        except TimeoutError:
            return True
        except Exception as error:  # noqa: BLE001 - whatever a connection can fail with
            logger.info("the %s scheduler does not answer: %s", self.ENGINE, error)
            return False
        return True

    def _hand_out(self) -> None:
        while (chosen := self._places.next()) is not None:
            ticket, worker = chosen
            try:
                parcel = pack(ticket, self._store(ticket.store))
                self._tickets[ticket.id] = replace(ticket, sent={**parcel["folders"], **parcel["files"]})
                future = self._sent(ticket, parcel, worker)
            except PipelinesError as error:
                self._news.put(("outcome", StepOutcome(ticket=ticket.id, state="failed", fault=error.faults[0])))
                continue
            self._futures[ticket.id] = (future, worker)
            future.add_done_callback(lambda done, ticket=ticket.id: self._announce(ticket, done))

    def _sent(self, ticket: StepTicket, parcel: Parcel, worker: str) -> Any:
        """Submit a parcel and return its future; if the engine refuses it, return a failed future."""
        try:
            return self._send(ticket, parcel, worker)
        except Exception as error:  # noqa: BLE001 - whatever an engine can refuse it with
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed

    def _announce(self, ticket: str, future: Any) -> None:
        """Queue the message that a parcel is over; called in a thread of the engine."""
        self._news.put(("done", (ticket, future)))

    def _known(self) -> dict[str, str]:
        """Return the workers that may get tickets, each with its process identity."""
        if self._fit is None:
            _, self._fit = self._meet([place.name for place in self._look()])
        return self._fit

    def _store(self, url: str) -> Store:
        if url not in self._stores:
            self._stores[url] = open_store(url, create=False)
        return self._stores[url]

    def _heard(self, kind: str, what: Any) -> list[TicketProgress | StepOutcome]:
        """Return the progress and outcomes that a message leads to."""
        messages = list(getattr(self, f"_on_{kind}")(what))
        for message in messages:
            if isinstance(message, StepOutcome):
                self._forget(message.ticket)
        if kind != "told" and not self._gone:
            self._hand_out()
        return messages

    def _on_told(self, what: Mapping[str, Any]) -> Sequence[TicketProgress]:
        if "progress" in what:
            progress = TicketProgress.from_dict(what["progress"])
            return [progress] if progress.ticket in self._tickets else []
        ticket = self._tickets.get(what["ticket"])
        if ticket is not None:
            path = Path(ticket.publish["log"])
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(what["log"].encode("utf-8", "surrogateescape"))
        return []

    def _on_outcome(self, outcome: StepOutcome) -> Sequence[StepOutcome]:
        return [outcome] if outcome.ticket in self._tickets else []

    def _on_done(self, what: tuple[str, Any]) -> Sequence[StepOutcome]:
        name, future = what
        ticket = self._tickets.get(name)
        if ticket is None:
            return []
        try:
            return self._returned(future.result(timeout=PATIENCE), ticket, self._store(ticket.store))
        except PipelinesError as error:
            return [StepOutcome(ticket=name, state="failed", fault=error.faults[0])]
        except Exception as error:  # noqa: BLE001 - the engine lost it, or refused it
            if not self._answers():
                return self._on_gone(str(error) or type(error).__name__)
            worker = self._futures[name][1]
            # It may fail each ticket within a moment, and would draw all of them: it gets no more.
            self._places.exclude_worker(worker)
            return [
                lost_outcome(ticket, f"the {self.ENGINE} worker {worker} fails", (f"{type(error).__name__}: {error}",))
            ]

    def _returned(self, brought: Mapping[str, Any], ticket: StepTicket, store: Store) -> Sequence[StepOutcome]:
        """Return the outcome of a parcel; none if the step is started again, with files that it has asked for."""
        outcome, lacking = examine(brought, ticket, store)
        new = [text for text in lacking if text not in ticket.asked]
        late = self._late.setdefault(ticket.id, [])
        late += (path for text in new for path in lacking[text])
        if new and ticket.id not in self._cancelled and self._starts[ticket.id] < MAX_STARTS:
            self._take_back(ticket.id)
            self._queue(replace(ticket, asked=(*ticket.asked, *new)))
            return []
        warnings = late_files_warnings(ticket, late, self._starts[ticket.id], complete=not new)
        return [unpack(brought, replace(outcome, warnings=(*outcome.warnings, *warnings)), ticket, store)]

    def _on_workers(self, places: Mapping[str, WorkerCapacity]) -> Sequence[StepOutcome]:
        # The list may have been queried before the survey decided which workers take part.
        fit = [place for name, place in places.items() if self._fit is None or name in self._fit]
        gone = [name for name in self._places.renew(fit) if name in self._tickets and name in self._futures]
        outcomes = [
            lost_outcome(self._tickets[name], f"the {self.ENGINE} worker {self._futures[name][1]} is gone")
            for name in gone
        ]
        return [*outcomes, *map(self._left_alone, self._withdraw_unsatisfiable())]

    def _withdraw_unsatisfiable(self) -> Sequence[StepTicket]:
        """Withdraw tickets whose demand no worker has been able to meet for the grace period."""
        if not self._places.unsatisfiable_demands():
            self._alone = None
            return ()
        now = time.monotonic()
        self._alone = self._alone or now
        return self._places.withdraw_unsatisfiable() if now - self._alone >= GRACE else ()

    def _left_alone(self, ticket: StepTicket) -> StepOutcome:
        """Return the outcome of a ticket whose last suitable worker has gone."""
        fault = Diagnostic(
            code="JP308",
            message=f"no worker is left in the {self.ENGINE} cluster that has what step `{ticket.step}` asks for",
            suggestion="start some, and run again: what is done already is reused",
            step=ticket.step,
        )
        return StepOutcome(ticket=ticket.id, state="died", fault=fault)

    def _on_gone(self, why: str) -> Sequence[StepOutcome]:
        self._gone = why
        self._places.withdraw_all()
        fault = self._lost_scheduler()
        return [
            StepOutcome(ticket=ticket.id, state="died", fault=replace(fault, step=ticket.step))
            for ticket in self._tickets.values()
        ]

    def _forget(self, ticket: str) -> None:
        self._tickets.pop(ticket, None)
        self._starts.pop(ticket, None)
        self._late.pop(ticket, None)
        self._cancelled.discard(ticket)
        self._take_back(ticket)

    def _take_back(self, ticket: str) -> None:
        self._places.leave(ticket)
        future = self._futures.pop(ticket, None)
        if future is not None and not self._gone:
            self._release(future[0])

    def _lost_scheduler(self) -> Diagnostic:
        return Diagnostic(
            code="JP308",
            message=f"the {self.ENGINE} scheduler {self._where or 'of this run'} is gone",
            suggestion="start it, and run again: what is done already is reused",
            notes=(self._gone,),
        )

    def _no_package(self, error: ImportError) -> Diagnostic:
        name = self.ENGINE.lower()
        return Diagnostic(
            code="JP607",
            message=f"`--on {name}` needs the package `{self.EXTRA}`, which is not installed",
            suggestion=f"install it: `pip install 'jupyter-pipelines[{name}]'`",
            notes=(str(error),),
        )

    def _unreachable(self, why: str, way: str = "") -> Diagnostic:
        first = os.linesep.join(why.splitlines()[:1])
        return Diagnostic(
            code="JP607",
            message=f"the {self.ENGINE} cluster `{self._where or 'local'}` cannot be used: {first}",
            suggestion=way or self.HINT,
        )
