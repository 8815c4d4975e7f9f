"""The executor for Dask clusters: an existing one, or one started in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.execution.executors.local import cores
from jupyter_pipelines.execution.executors.remote import capabilities
from jupyter_pipelines.execution.executors.remote.parcels import Parcel
from jupyter_pipelines.execution.executors.remote.placement import WorkerCapacity
from jupyter_pipelines.execution.executors.remote.remote_executor import PATIENCE, RemoteExecutor
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity

_CONNECT = "10s"
_SCARCE = {"GPU": "gpus", "MEMORY": "memory"}
"""Dask's names of resources. Cores are left out: a task that waits for cores would block others that need a GPU."""
_NOISY = ("distributed.client", "distributed.core", "distributed.batched", "distributed.comm", "distributed.utils_comm")


class DaskExecutor(RemoteExecutor):
    """Runs tickets on the workers of a Dask cluster.

    Parameters
    ----------
    jobs : int
        Largest number of tickets that run at once; a cluster runs as many as its workers have threads.
    where : str
        Address of its scheduler, or the file that its scheduler wrote; empty for a cluster on this machine, which ends
        with this executor.
    """

    ENGINE = "Dask"
    EXTRA = "distributed"
    HINT = "write the address that its scheduler shows, for instance `--on dask:tcp://10.0.0.5:8786`"

    def __init__(self, jobs: int, where: str = "") -> None:
        super().__init__(jobs, where)
        self._threads = min(max(1, jobs), cores())
        self._topic = f"jupyter-pipelines-{secrets.token_hex(8)}"
        self._client: Any = None
        self._cluster: Any = None
        self._shared: Mapping[str, Sequence[str]] = {}

    def _join(self) -> None:
        from distributed import Client, LocalCluster

        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if not self._where:
            with warnings.catch_warnings():  # it warns without a network; this cluster needs none
                warnings.simplefilter("ignore", RuntimeWarning)
                self._cluster = LocalCluster(**local_cluster_options(self._threads))  # type: ignore[no-untyped-call]
        address = _address(self._where, self._cluster)
        self._client = Client(**address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
        self._client.subscribe_topic(self._topic, lambda event: self._news.put(("told", event[1])))

    def _look(self) -> list[WorkerCapacity]:
        try:
            identity = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=PATIENCE)
        except TimeoutError as error:
            if self._client.status == "running":
                raise
            # The client keeps trying to reconnect, so calls time out where the connection is closed.
            raise ConnectionError("it has closed the connection") from error
        self._shared = {address: scarce_resources(about) for address, about in identity["workers"].items()}
        return [capacity_of(address, about) for address, about in identity["workers"].items()]

    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        answers: Mapping[str, Any] = self._client.sync(self._ask_each, asked, workers)
        return answers

    async def _ask_each(self, asked: Mapping[str, Any], workers: Sequence[str]) -> dict[str, Any]:
        """Ask each worker separately: a worker that hangs does not hold back the answers of the others."""
        limited = {"on_error": "return", "asynchronous": True, "callback_timeout": capabilities.ANSWER}
        asks = [self._client.run(capabilities.describe, asked, workers=[worker], **limited) for worker in workers]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        return {
            name: answer.get(name) if isinstance(answer, dict) else answer
            for name, answer in zip(workers, answers, strict=True)
        }

    def _send(self, ticket: StepTicket, parcel: Parcel, worker: str) -> Any:
        # Dask counts the resources that tasks of other clients take, which this queue does not see. `pure=False` and
        # the key keep it from returning an earlier result; it must not move or repeat a task either.
        taking = scarce_demand(self._places.demand(ticket.step), self._shared.get(worker, ()))
        return self._client.submit(
            perform, parcel, self._known()[worker], self._topic,
            key=f"{self._topic}-{ticket.id}-{secrets.token_hex(4)}", workers=[worker], allow_other_workers=False,
            resources=taking, pure=False, retries=0,
        )  # fmt: skip

    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:
        self._client.run(cancel, ticket, hard=hard, workers=[worker], wait=wait)

    def _release(self, future: Any) -> None:
        with contextlib.suppress(Exception):
            future.release()

    def _is_over(self) -> bool:
        return self._client is None or self._client.status in ("closed", "closing")

    def _leave(self) -> None:
        client, self._client = self._client, None
        with contextlib.suppress(Exception):
            client.close(timeout=5)
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=10)
            self._cluster = None


def _address(where: str, cluster: Any) -> dict[str, Any]:
    if cluster is not None:
        return {"address": cluster}
    path = Path(where).expanduser()
    return {"scheduler_file": str(path)} if path.is_file() else {"address": where}


def perform(parcel: Mapping[str, Any], process: str, topic: str) -> dict[str, Any]:
    """Run a parcel; executed as a task on a Dask worker.

    If Dask starts the task again, on another worker or on a restarted one, it raises RuntimeError and runs nothing.
    """
    from distributed import get_worker

    from jupyter_pipelines.execution.executors.remote import agent

    here = get_worker()
    if process != ProcessIdentity.current().token():
        raise RuntimeError(f"the worker at {here.address} is not the process that was meant")
    task = here.get_current_task()

    def wanted() -> bool:
        # Dask forgets the tasks of a client that is gone, but cannot stop a running one: it has to look for itself.
        known = here.state.tasks.get(task)
        return known is not None and known.state == "executing"

    try:
        return agent.ParcelAgent.here(here.state.nthreads).run(
            parcel, lambda message: here.log_event(topic, message), wanted
        )
    except PipelinesError as error:
        return agent.failed_outcome(parcel["ticket"], error)


async def cancel(ticket: str, *, hard: bool, dask_worker: Any) -> None:
    """Request the end of a parcel that this worker runs, or is about to run."""
    from jupyter_pipelines.execution.executors.remote import agent

    agent.ParcelAgent.here(dask_worker.state.nthreads).cancel(ticket, hard=hard)


def capacity_of(address: str, about: Mapping[str, Any]) -> WorkerCapacity:
    """Return the capacity of a worker, from the scheduler's description of it."""
    has = about.get("resources") or {}
    memory = has.get("MEMORY", about.get("memory_limit") or None)
    return WorkerCapacity(
        name=address,
        slots=about["nthreads"],
        offer=ComputeResources(
            cpus=int(has.get("CPU", about["nthreads"])),
            gpus=int(has.get("GPU", 0)),
            memory=int(memory) if memory else None,
        ),
    )


def scarce_resources(about: Mapping[str, Any]) -> Sequence[str]:
    """Return the resources declared for a worker that two runs must not use at once: GPUs, memory."""
    return [name for name in _SCARCE if name in (about.get("resources") or {})]


def scarce_demand(demand: ComputeResources, names: Sequence[str]) -> dict[str, int]:
    """Return the amounts of these resources that a ticket takes, by Dask's names."""
    amounts = {name: getattr(demand, _SCARCE[name]) for name in names}
    return {name: amount for name, amount in amounts.items() if amount}


def local_cluster_options(threads: int) -> dict[str, Any]:
    """Return the options of a cluster on this machine: one worker with all cores, and a thread for each job.

    It runs in this process and listens on no network port: any client of a Dask scheduler can run code as its owner.
    """
    return {
        "n_workers": 1,
        "threads_per_worker": threads,
        "processes": False,
        "memory_limit": 0,
        "dashboard_address": "127.0.0.1:0",
        "silence_logs": 50,
        "resources": {"CPU": max(cores(), threads)},
    }
