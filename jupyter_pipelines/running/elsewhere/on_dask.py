"""Steps on the workers of a Dask cluster: one that exists, or one of this machine's own.

Dask carries parcels and messages, and nothing else: which worker gets which step is decided here, a parcel is handed
over once, and what a lost worker was doing is a failed attempt like any other.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import ExecutorLost, Fault, PipelinesError, PluginError
from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.elsewhere import visiting
from jupyter_pipelines.running.elsewhere.packing import pack, unpack
from jupyter_pipelines.running.elsewhere.placing import Place, Places
from jupyter_pipelines.running.executors import Need, Room, lacking
from jupyter_pipelines.running.executors.local import cores
from jupyter_pipelines.running.ticket import Outcome, Progress, Ticket
from jupyter_pipelines.running.worker import lost
from jupyter_pipelines.storing.store import Store

logger = logging.getLogger(__name__)
MANY = 100_000
"""Tickets taken at once: they wait in a queue of our own, which knows the workers."""
LOOK = 0.5
"""Seconds between two looks at which workers there are."""
PATIENCE = 10.0
"""Seconds without an answer of the scheduler after which it counts as gone."""
_CONNECT = "10s"
_NOISY = ("distributed.client", "distributed.core", "distributed.batched", "distributed.comm", "distributed.utils_comm")
Message = tuple[str, Any]


class Dask:
    """Runs tickets on the workers of a Dask cluster.

    Parameters
    ----------
    jobs : int
        How many tickets at once, at most; a cluster has room for as many as its workers have threads.
    where : str
        Address of its scheduler, or the file that its scheduler wrote; empty for a cluster on this machine, which ends
        with this executor.
    """

    def __init__(self, jobs: int, where: str = "") -> None:
        self.jobs = max(1, jobs)
        self.rooms = {"": Room(MANY, Resources())}
        self._where = where
        self._threads = min(max(1, jobs), cores())
        self._places = Places(max(1, jobs))
        self._news: queue.Queue[Message] = queue.Queue()
        self._tickets: dict[str, Ticket] = {}
        self._futures: dict[str, Any] = {}
        self._stores: dict[str, Store] = {}
        self._fit: dict[str, str] | None = None
        self._topic = f"jupyter-pipelines-{secrets.token_hex(8)}"
        self._client: Any = None
        self._cluster: Any = None
        self._gone = ""
        self._over = threading.Event()

    # What there is

    @staticmethod
    def usual_jobs() -> int:
        """Return how many tickets at once when nobody says so: as many as the workers have room for."""
        return MANY

    def capacity(self) -> Resources:
        """Return nothing: whatever there is, the queue of this executor knows."""
        return Resources()

    def survey(self, needs: Sequence[Need]) -> Sequence[Fault]:
        """Return what stands in the way of steps, and which workers cannot take part.

        Raises
        ------
        PluginError
            The package is missing, or nobody answers (JP607).
        """
        if not needs:
            return ()
        self._connect()
        self._places.expect({need.step: need.demand for need in needs})
        workers = self._look()
        if not workers:
            raise PluginError(_unreachable(self._where, "it has no workers", "start some: dask worker ADDRESS"))
        answers = self._client.run(visiting.describe, visiting.questions(needs), on_error="return")
        strange = {name: visiting.differences(needs, answers.get(name)) for name in workers}
        self.jobs = min(self.jobs, sum(place.slots for place in workers.values()))
        self._fit = {name: answers[name]["process"] for name in workers if not strange[name]}
        doubts = [visiting.strange(name, found) for name, found in strange.items() if found]
        if not self._fit:
            return [replace(doubt, severity="error") for doubt in doubts]
        offers = [place for place in self._look().values() if place.name in self._fit]
        refused = [fault for need in needs for fault in lacking(need, [place.offer for place in offers])]
        said = tuple(f"worker {place}" for place in offers[:8])
        return [*(replace(fault, notes=said) for fault in refused), *doubts]

    def _look(self) -> dict[str, Place]:
        found = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=PATIENCE)
        every = (visiting.place(address, about) for address, about in found["workers"].items())
        # A worker that came later was not asked what it has: it gets steps in the next run.
        return {place.name: place for place in every if self._fit is None or place.name in self._fit}

    # Tickets

    def submit(self, ticket: Ticket) -> None:
        """Take a ticket and return at once.

        Raises
        ------
        ExecutorLost
            The scheduler is gone (JP308).
        """
        self._connect()
        if self._gone:
            raise ExecutorLost(self._lost_scheduler())
        self._tickets[ticket.id] = ticket
        self._places.add(ticket)
        self._hand_out()

    def poll(self, timeout: float) -> Sequence[Progress | Outcome]:
        """Return everything there is to say, after at most `timeout` seconds of waiting for the first of it."""
        end = time.monotonic() + timeout
        found: list[Progress | Outcome] = []
        while not found:
            try:
                found += self._heard(*self._news.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return found
        while not self._news.empty():
            found += self._heard(*self._news.get_nowait())
        return found

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Ask for the end of a ticket, at once if `hard`; unknown ones are ignored."""
        if self._places.withdraw(ticket_id) is not None:
            self._news.put(("outcome", Outcome(ticket=ticket_id, state="cancelled")))
            return
        future = self._futures.get(ticket_id)
        if future is not None:
            worker = future[1]
            with contextlib.suppress(Exception):
                self._client.run(visiting.cancel, ticket_id, hard=hard, workers=[worker], wait=False)

    def close(self) -> None:
        """End everything that this executor has started; a cluster that was there before stays."""
        self._over.set()
        client, self._client = self._client, None
        if client is not None:
            self._stop_all(client)
            with contextlib.suppress(Exception):
                client.close(timeout=5)
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=10)
            self._cluster = None
        for store in self._stores.values():
            store.close()
        self._stores.clear()

    def _stop_all(self, client: Any) -> None:
        """Have the workers end what they still run, and wait for it."""
        if self._gone:
            return
        for ticket_id, (_, worker) in self._futures.items():
            with contextlib.suppress(Exception):
                client.run(visiting.cancel, ticket_id, hard=True, workers=[worker])
        with contextlib.suppress(Exception):
            from distributed import wait

            wait(  # type: ignore[no-untyped-call]
                [future for future, _ in self._futures.values()], timeout=PATIENCE
            )

    # Between here and there

    def _connect(self) -> None:
        if self._client is not None or self._over.is_set():
            return
        try:
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise PluginError(_no_package(error)) from error
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            if not self._where:
                self._cluster = LocalCluster(**visiting.own_cluster(self._threads))  # type: ignore[no-untyped-call]
            address = _address(self._where, self._cluster)
            self._client = Client(**address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TimeoutError) as error:
            raise PluginError(_unreachable(self._where, str(error) or type(error).__name__)) from error
        self._client.subscribe_topic(self._topic, lambda event: self._news.put(("told", event[1])))
        threading.Thread(target=self._watch, name="jupyter-pipelines-dask", daemon=True).start()

    def _watch(self) -> None:
        """Look which workers there are, now and then: what a lost one had, or a lost scheduler, is told."""
        answered = time.monotonic()
        while not self._over.wait(LOOK):
            try:
                self._news.put(("workers", self._look()))
                answered = time.monotonic()
            except Exception as error:  # noqa: BLE001 - whatever a connection can fail with
                logger.info("the Dask scheduler does not answer: %s", error)
                if time.monotonic() - answered > PATIENCE or _is_over(self._client):
                    self._news.put(("gone", str(error) or type(error).__name__))
                    return

    def _answers(self) -> bool:
        """Tell whether the scheduler is still there."""
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - whatever a connection can fail with
            logger.info("the Dask scheduler does not answer: %s", error)
            return False
        return True

    def _hand_out(self) -> None:
        while (chosen := self._places.next()) is not None:
            ticket, worker = chosen
            try:
                parcel = pack(ticket, self._store(ticket.store))
                future = self._client.submit(
                    visiting.perform, parcel, self._known()[worker], self._topic,
                    key=f"{self._topic}-{ticket.id}", workers=[worker], allow_other_workers=False,
                    pure=False, retries=0,
                )  # fmt: skip
            except PipelinesError as error:
                self._news.put(("outcome", Outcome(ticket=ticket.id, state="failed", fault=error.faults[0])))
                continue
            self._futures[ticket.id] = (future, worker)
            future.add_done_callback(lambda done, ticket=ticket.id: self._news.put(("done", (ticket, done))))

    def _known(self) -> dict[str, str]:
        """Return the workers that may get tickets, with what tells their processes from any other."""
        if self._fit is None:
            answers = self._client.run(visiting.describe, visiting.questions(()), on_error="return")
            self._fit = {name: one["process"] for name, one in answers.items() if isinstance(one, Mapping)}
        return self._fit

    def _store(self, url: str) -> Store:
        if url not in self._stores:
            self._stores[url] = Store.open(url, create=False)
        return self._stores[url]

    def _heard(self, kind: str, what: Any) -> list[Progress | Outcome]:
        """Return what a message means to those outside."""
        found = list(getattr(self, f"_on_{kind}")(what))
        for one in found:
            if isinstance(one, Outcome):
                self._forget(one.ticket)
        if kind != "told" and not self._gone:
            self._hand_out()
        return found

    def _on_told(self, what: Mapping[str, Any]) -> Sequence[Progress]:
        if "progress" in what:
            progress = Progress.from_dict(what["progress"])
            return [progress] if progress.ticket in self._tickets else []
        ticket = self._tickets.get(what["ticket"])
        if ticket is not None:
            path = Path(ticket.publish["log"])
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(what["log"].encode("utf-8", "surrogateescape"))
        return []

    def _on_outcome(self, outcome: Outcome) -> Sequence[Outcome]:
        return [outcome] if outcome.ticket in self._tickets else []

    def _on_done(self, what: tuple[str, Any]) -> Sequence[Outcome]:
        name, future = what
        ticket = self._tickets.get(name)
        if ticket is None:
            return []
        try:
            return [unpack(future.result(timeout=PATIENCE), ticket, self._store(ticket.store))]
        except PipelinesError as error:
            return [Outcome(ticket=name, state="failed", fault=error.faults[0])]
        except Exception as error:  # noqa: BLE001 - Dask lost it, or refused it
            if not self._answers():
                return self._on_gone(str(error) or type(error).__name__)
            worker = self._futures[name][1]
            self._known().pop(worker, None)
            return [lost(ticket, f"the Dask worker {worker} fails", (f"{type(error).__name__}: {error}",))]

    def _on_workers(self, places: Mapping[str, Place]) -> Sequence[Outcome]:
        found = []
        for name in self._places.renew(places.values()):
            ticket = self._tickets.get(name)
            if ticket is not None:
                worker = self._futures[name][1]
                found.append(lost(ticket, f"the Dask worker {worker} is gone"))
        return found

    def _on_gone(self, why: str) -> Sequence[Outcome]:
        self._gone = why
        self._places.withdraw_all()
        fault = self._lost_scheduler()
        return [
            Outcome(ticket=ticket.id, state="died", fault=replace(fault, step=ticket.step))
            for ticket in self._tickets.values()
        ]

    def _forget(self, ticket: str) -> None:
        self._tickets.pop(ticket, None)
        self._places.leave(ticket)
        future = self._futures.pop(ticket, None)
        if future is not None and not self._gone:
            with contextlib.suppress(Exception):
                future[0].release()

    def _lost_scheduler(self) -> Fault:
        return Fault(
            code="JP308",
            message=f"the Dask scheduler {self._where or 'of this run'} is gone",
            suggestion="start it, and run again: what is done already is reused",
            notes=(self._gone,),
        )


def _is_over(client: Any) -> bool:
    return client is None or client.status in ("closed", "closing")


def _address(where: str, cluster: Any) -> dict[str, Any]:
    if cluster is not None:
        return {"address": cluster}
    path = Path(where).expanduser()
    return {"scheduler_file": str(path)} if path.is_file() else {"address": where}


def _no_package(error: ImportError) -> Fault:
    return Fault(
        code="JP607",
        message="`--on dask` needs the package `distributed`, which is not installed",
        suggestion="install it: pip install 'jupyter-pipelines[dask]'",
        notes=(str(error),),
    )


def _unreachable(where: str, why: str, way: str = "") -> Fault:
    return Fault(
        code="JP607",
        message=f"the Dask cluster `{where or 'local'}` cannot be used: {os.linesep.join(why.splitlines()[:1])}",
        suggestion=way or "write the address that its scheduler shows, for instance `--on dask:tcp://10.0.0.5:8786`",
    )
