"""Steps on the workers of a Dask cluster: one that exists, or one of this machine's own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_pipelines.running.elsewhere import asking, visiting
from jupyter_pipelines.running.elsewhere.handing import PATIENCE, Elsewhere
from jupyter_pipelines.running.elsewhere.packing import Parcel
from jupyter_pipelines.running.elsewhere.placing import Place
from jupyter_pipelines.running.executors.local import cores
from jupyter_pipelines.running.ticket import Ticket

_CONNECT = "10s"
_NOISY = ("distributed.client", "distributed.core", "distributed.batched", "distributed.comm", "distributed.utils_comm")


class Dask(Elsewhere):
    """Runs tickets on the workers of a Dask cluster.

    Parameters
    ----------
    jobs : int
        How many tickets at once, at most; a cluster runs as many as its workers have threads.
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
                self._cluster = LocalCluster(**visiting.own_cluster(self._threads))  # type: ignore[no-untyped-call]
        address = _address(self._where, self._cluster)
        self._client = Client(**address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
        self._client.subscribe_topic(self._topic, lambda event: self._news.put(("told", event[1])))

    def _look(self) -> list[Place]:
        identity = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=PATIENCE)
        self._shared = {address: visiting.shared(about) for address, about in identity["workers"].items()}
        return [visiting.place(address, about) for address, about in identity["workers"].items()]

    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        answers: Mapping[str, Any] = self._client.sync(self._ask_each, asked, workers)
        return answers

    async def _ask_each(self, asked: Mapping[str, Any], workers: Sequence[str]) -> dict[str, Any]:
        """Ask each worker separately: a worker that hangs does not hold back the answers of the others."""
        limited = {"on_error": "return", "asynchronous": True, "callback_timeout": asking.ANSWER}
        asks = [self._client.run(asking.describe, asked, workers=[worker], **limited) for worker in workers]
        answers = await asyncio.gather(*asks, return_exceptions=True)
        return {
            name: answer.get(name) if isinstance(answer, dict) else answer
            for name, answer in zip(workers, answers, strict=True)
        }

    def _send(self, ticket: Ticket, parcel: Parcel, worker: str) -> Any:
        # Dask counts what other runs take of it, too.
        taking = visiting.taking(self._places.demand(ticket.step), self._shared.get(worker, ()))
        return self._client.submit(
            visiting.perform, parcel, self._known()[worker], self._topic,
            key=f"{self._topic}-{ticket.id}", workers=[worker], allow_other_workers=False,
            resources=taking, pure=False, retries=0,
        )  # fmt: skip

    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:
        self._client.run(visiting.cancel, ticket, hard=hard, workers=[worker], wait=wait)

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
