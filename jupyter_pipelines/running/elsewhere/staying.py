"""Tasks on the nodes of a Ray cluster, and the actor through which they and the run exchange messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.elsewhere.placing import Place

_ANSWER = 10.0
_SELECTORS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


class Board:
    """Messages of nodes that the run has not read yet, and requests of the run to end parcels."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._wishes: dict[str, bool] = {}

    def tell(self, message: dict[str, Any]) -> None:
        """Leave a message for the run."""
        self._told.append(message)

    def take(self) -> list[dict[str, Any]]:
        """Return the messages since the last call."""
        messages, self._told = self._told, []
        return messages

    def wish(self, ticket: str, hard: bool) -> None:
        """Request the end of a parcel."""
        self._wishes[ticket] = hard

    def wished(self, ticket: str) -> bool | None:
        """Return the request to end a parcel: True at once, False cleanly, None for no request."""
        return self._wishes.get(ticket)


def perform(parcel: Mapping[str, Any], board: Any) -> dict[str, Any]:
    """Run a parcel; the task of a Ray node."""
    import ray

    from jupyter_pipelines.running.elsewhere import agent

    ticket, here = parcel["ticket"], agent.Agent.here(1)
    heard: set[bool] = set()

    def wanted() -> bool:
        try:
            wish = ray.get(board.wished.remote(ticket["id"]), timeout=_ANSWER)
        except ray.exceptions.GetTimeoutError:
            return True  # a busy machine; Ray itself ends the tasks of a run that is gone
        except ray.exceptions.RayError:
            return False
        if wish is not None and wish not in heard:
            heard.add(wish)
            here.cancel(ticket["id"], hard=wish)
        return True

    meant = {**parcel, "ticket": {**ticket, "late": {**ticket.get("late", {}), **_gpus()}}}
    try:
        return here.run(meant, board.tell.remote, wanted)
    except PipelinesError as error:
        return agent.broken(ticket, error)
    finally:
        wanted()  # earlier messages have arrived when the board answers


def _gpus() -> dict[str, str]:
    """Return the environment variables that limit a step to the GPUs that Ray chose for this task."""
    import ray

    # Ray says nothing to a task without any, which would see them all; and the processes that kernels are forked from
    # may be older than this task.
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        return dict.fromkeys(_SELECTORS, "")
    return {name: os.environ[name] for name in _SELECTORS if name in os.environ}


def place(node: Mapping[str, Any]) -> Place:
    """Return a node, as Ray describes it."""
    has = node["Resources"]
    cpus = int(has.get("CPU", 0))
    return Place(
        name=f"{node['NodeManagerAddress']}/{node['NodeID']}",
        slots=cpus,
        offer=Resources(cpus=cpus, gpus=int(has.get("GPU", 0)), memory=int(has.get("memory", 0))),
    )


def node_of(name: str) -> str:
    """Return what Ray calls the node of a place."""
    return name.rpartition("/")[2]
