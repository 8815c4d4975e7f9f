"""Steps on the nodes of a Ray cluster: one that exists, or one of this machine's own.

Ray sees each step as a task with the cores, GPUs and memory it asks for, and chooses its GPUs; it tries nothing again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jupyter_pipelines.running.elsewhere import asking, staying
from jupyter_pipelines.running.elsewhere.handing import PATIENCE, Elsewhere
from jupyter_pipelines.running.elsewhere.packing import Parcel
from jupyter_pipelines.running.elsewhere.placing import Place
from jupyter_pipelines.running.executors.local import cores
from jupyter_pipelines.running.ticket import Ticket

logger = logging.getLogger(__name__)
_START = 60.0
"""Seconds for the first process of a node to start and answer."""
_PACE = 0.05


class Ray(Elsewhere):
    """Runs tickets on the nodes of a Ray cluster.

    Parameters
    ----------
    jobs : int
        How many tickets at once, at most; a cluster runs as many as its nodes have cores.
    where : str
        Address of the cluster, or ``auto`` for this machine's; empty for a cluster that ends with this executor.
    """

    ENGINE = "Ray"
    EXTRA = "ray"
    HINT = "write the address that `ray start --head` shows, for instance `--on ray:10.0.0.5:6379`"

    def __init__(self, jobs: int, where: str = "") -> None:
        super().__init__(jobs, where)
        self._threads = min(max(1, jobs), cores())
        self._ours = False
        self._board: Any = None
        self._ended: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._quiet = contextlib.ExitStack()

    def _join(self) -> None:
        import ray

        if ray.is_initialized():
            self._same_cluster()
        else:
            self._ours = True
            # A cluster of our own sends no statistics, unless the user wants it.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            with _own_signals():
                ray.init(**_settings(self._where, max(cores(), self._threads)))
        self._quiet.enter_context(_own_output())
        # Nowhere else: a node that dies would take what all others have to say with it.
        here = self._at(ray.get_runtime_context().get_node_id())
        self._board = ray.remote(num_cpus=0, max_restarts=0)(staying.Board).options(**here).remote()
        threading.Thread(target=self._listen, name="jupyter-pipelines-ray", daemon=True).start()

    def _same_cluster(self) -> None:
        """Check that this process is connected to the requested cluster."""
        import ray

        address = ray.get_runtime_context().gcs_address
        if self._where not in ("", "auto", address) and not set(_known_as(self._where)) & set(_known_as(address)):
            raise ValueError(f"this process is connected to another cluster already, {address}")

    def _listen(self) -> None:
        """Read the messages of nodes, again and again; announce the end of a parcel after all its messages."""
        import ray

        while not self._over.wait(_PACE):
            ended = [self._ended.get_nowait() for _ in range(self._ended.qsize())]
            with contextlib.suppress(Exception):  # whether the cluster is gone is found out elsewhere
                for message in ray.get(self._board.take.remote(), timeout=PATIENCE):
                    self._news.put(("told", message))
            for ticket, future in ended:
                super()._announce(ticket, future)

    def _announce(self, ticket: str, future: Any) -> None:
        self._ended.put((ticket, future))

    def _look(self) -> list[Place]:
        import ray

        # Without its head Ray would not answer for a minute, and end this process then.
        socket.create_connection(_head(), timeout=PATIENCE).close()
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        return [staying.place(node) for node in nodes if node["Alive"]]

    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        import ray

        answers = {name: self._on(name, num_cpus=0)(asking.describe, asked) for name in workers}
        replies: dict[str, Any] = {}
        for name, answer in answers.items():
            try:
                replies[name] = ray.get(answer, timeout=_START)
            except Exception as error:  # noqa: BLE001 - whatever a node can fail with is its answer
                replies[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
        return replies

    def _on(self, name: str, **demand: Any) -> Any:
        """Return what starts a function as a task on a node, once."""
        import ray

        def start(function: Any, *arguments: Any) -> Any:
            # Ray would end a process after each task with a GPU: its warm kernels stay for the next one.
            task = ray.remote(max_calls=0)(function)
            there = self._at(staying.node_of(name))
            return task.options(max_retries=0, **there, **demand).remote(*arguments)

        return start

    @staticmethod
    def _at(node: str) -> dict[str, Any]:
        """Return what makes Ray start something on a node, and on no other."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    def _send(self, ticket: Ticket, parcel: Parcel, worker: str) -> Any:
        demand = self._places.demand(ticket.step)
        amounts = {"num_cpus": 1 if demand.cpus is None else demand.cpus, "num_gpus": demand.gpus or 0}
        if demand.memory:
            amounts["memory"] = demand.memory
        return self._on(worker, **amounts)(staying.perform, parcel, self._board).future()

    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:  # noqa: ARG002 - the board is one
        import ray

        wish = self._board.wish.remote(ticket, hard)
        if wait:
            ray.get(wish, timeout=PATIENCE)

    def _release(self, future: Any) -> None:
        """Do nothing: Ray forgets a future without references."""

    def _is_over(self) -> bool:
        import ray

        return not ray.is_initialized()

    def _leave(self) -> None:
        import ray

        with contextlib.suppress(Exception):
            ray.kill(self._board)
        self._quiet.close()
        if self._ours:
            with contextlib.suppress(Exception):
                ray.shutdown()


def _head() -> tuple[str, int]:
    """Return where the head of the cluster is that this process is connected to."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.strip("[]"), int(port)


def _known_as(address: str) -> list[Any]:
    """Return all addresses that a name stands for, with the port; none if the name cannot be resolved."""
    host, _, port = address.rpartition(":")
    try:
        return [sockaddr[:2] for *_, sockaddr in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)]
    except OSError:
        return []


def _settings(where: str, threads: int) -> dict[str, Any]:
    quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.CRITICAL}
    if where:
        return {"address": where, **quiet}
    return {"address": "local", "num_cpus": threads, "include_dashboard": False, **quiet}


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keep Ray from taking the signal that ends a run cleanly."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Keep error output of nodes off this process's output, where Ray prints it regardless of its settings."""
    from ray._private import worker

    name = "print_to_stdstream"
    before = getattr(worker, name, None)
    setattr(worker, name, _note)
    try:
        yield
    finally:
        setattr(worker, name, before)


def _note(data: Mapping[str, Any], **_: Any) -> None:
    logger.info("Ray says: %s", " ".join(map(str, data.get("lines", ()))))
