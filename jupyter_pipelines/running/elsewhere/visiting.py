"""Functions that run on the workers of a Dask cluster, and how their answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.elsewhere.placing import Place
from jupyter_pipelines.running.executors.local import cores
from jupyter_pipelines.storing.owners import Owner

_SCARCE = {"GPU": "gpus", "MEMORY": "memory"}
"""What Dask calls them. Cores are left out: a ticket that waits for cores would hold up others that need a GPU."""


def perform(parcel: Mapping[str, Any], process: str, topic: str) -> dict[str, Any]:
    """Run a parcel; the task of a Dask worker.

    A task that Dask starts once more, on another worker or on a worker that came back, does nothing: it counts as lost.
    """
    from distributed import get_worker

    from jupyter_pipelines.running.elsewhere import agent

    here = get_worker()
    if process != Owner.current().token():
        raise RuntimeError(f"the worker at {here.address} is not the process that was meant")
    task = here.get_current_task()

    def wanted() -> bool:
        # Dask lets go of the tasks of a client that is gone; it cannot stop a running task.
        known = here.state.tasks.get(task)
        return known is not None and known.state == "executing"

    try:
        return agent.Agent.here(here.state.nthreads).run(parcel, lambda message: here.log_event(topic, message), wanted)
    except PipelinesError as error:
        return agent.broken(parcel["ticket"], error)


async def cancel(ticket: str, *, hard: bool, dask_worker: Any) -> None:
    """Ask for the end of a parcel that a worker runs, or is about to run."""
    from jupyter_pipelines.running.elsewhere import agent

    agent.Agent.here(dask_worker.state.nthreads).cancel(ticket, hard=hard)


def place(address: str, about: Mapping[str, Any]) -> Place:
    """Return a worker, as the scheduler describes it."""
    has = about.get("resources") or {}
    memory = has.get("MEMORY", about.get("memory_limit") or None)
    return Place(
        name=address,
        slots=about["nthreads"],
        offer=Resources(
            cpus=int(has.get("CPU", about["nthreads"])),
            gpus=int(has.get("GPU", 0)),
            memory=int(memory) if memory else None,
        ),
    )


def shared(about: Mapping[str, Any]) -> Sequence[str]:
    """Return what a worker has that two runs must not have at once, as far as Dask knows of it."""
    return [name for name in _SCARCE if name in (about.get("resources") or {})]


def taking(demand: Resources, names: Sequence[str]) -> dict[str, int]:
    """Return how much of it a ticket takes, as Dask counts it."""
    amounts = {name: getattr(demand, _SCARCE[name]) for name in names}
    return {name: amount for name, amount in amounts.items() if amount}


def own_cluster(threads: int) -> dict[str, Any]:
    """Return how a cluster on this machine is made: one worker that offers the machine, with a thread for each job.

    It lives in this process and is reached without any port: any client of a scheduler can run code as its owner.
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
