"""The executor for Ray clusters: an existing one, or one started on this machine.

Each step is a Ray task with the step's demand of cores, GPUs and memory. Ray assigns the GPUs; its retries are off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.execution.executors.local import cores
from jupyter_pipelines.execution.executors.remote import capabilities
from jupyter_pipelines.execution.executors.remote.parcels import Parcel
from jupyter_pipelines.execution.executors.remote.placement import WorkerCapacity
from jupyter_pipelines.execution.executors.remote.remote_executor import PATIENCE, RemoteExecutor
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.pipeline.step import ComputeResources

logger = logging.getLogger(__name__)
_ANSWER = 10.0
_SELECTORS = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_PACE = 0.05
_MAX_SILENCE = 6
"""How often in a row the mailbox may not answer in time before ends are announced without their messages."""


class RayExecutor(RemoteExecutor):
    """Runs tickets on the nodes of a Ray cluster.

    Parameters
    ----------
    jobs : int
        Largest number of tickets that run at once; a cluster runs as many as its nodes have cores.
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
            # Ray sends usage statistics by default; for a cluster that this executor starts, only if the user wants it.
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            with _own_signals():
                ray.init(**_settings(self._where, max(cores(), self._threads)))
        self._quiet.enter_context(_own_output())
        # The mailbox actor runs on this machine: on another node, all messages would be lost with that node.
        here = self._at(ray.get_runtime_context().get_node_id())
        self._board = ray.remote(num_cpus=0, max_restarts=0)(RunMailbox).options(**here).remote()
        threading.Thread(target=self._listen, name="jupyter-pipelines-ray", daemon=True).start()

    def _same_cluster(self) -> None:
        """Check that this process is connected to the requested cluster."""
        import ray

        address = ray.get_runtime_context().gcs_address
        if self._where not in ("", "auto", address) and not set(_resolved_addresses(self._where)) & set(
            _resolved_addresses(address)
        ):
            raise ValueError(f"this process is connected to another cluster already, {address}")

    def _listen(self) -> None:
        """Read the messages of nodes until the run ends; announce the end of a parcel after all its messages."""
        import ray

        # Ends are collected before the mailbox is asked: the messages of these parcels have arrived there by then.
        taking, silent = None, 0
        ended: list[tuple[str, Any]] = []
        while not self._over.wait(_PACE):
            if taking is None or silent >= _MAX_SILENCE:
                ended += [self._ended.get_nowait() for _ in range(self._ended.qsize())]
            try:
                taking = self._board.take.remote() if taking is None else taking
                for message in ray.get(taking, timeout=PATIENCE):
                    self._news.put(("told", message))
                taking, silent = None, 0
            except TimeoutError:
                # The pending call still returns these messages: another call would lose them.
                silent += 1
                if silent < _MAX_SILENCE:
                    continue
            except Exception as error:  # noqa: BLE001 - whether the cluster is gone is found out elsewhere
                logger.info("no messages of nodes: %s", error)
                taking = None
            for ticket, future in ended:
                super()._announce(ticket, future)
            ended.clear()

    def _announce(self, ticket: str, future: Any) -> None:
        self._ended.put((ticket, future))

    def _look(self) -> list[WorkerCapacity]:
        import ray

        # Checked first: without its head node, Ray's client blocks for a minute and then ends this process.
        socket.create_connection(_head_address(), timeout=PATIENCE).close()
        nodes = ray.nodes()  # type: ignore[no-untyped-call]
        return [capacity_of(node) for node in nodes if node["Alive"]]

    def _ask(self, asked: Mapping[str, Any], workers: Sequence[str]) -> Mapping[str, Any]:
        import ray

        answers = {name: self._on(name, num_cpus=0)(capabilities.describe, asked) for name in workers}
        replies: dict[str, Any] = {}
        end = time.monotonic() + capabilities.ANSWER
        for name, answer in answers.items():
            try:
                replies[name] = ray.get(answer, timeout=max(0.0, end - time.monotonic()))
            except ray.exceptions.GetTimeoutError:
                replies[name] = TimeoutError()
            except Exception as error:  # noqa: BLE001 - whatever a node can fail with is its answer
                replies[name] = str(error).splitlines()[0] if str(error) else type(error).__name__
        return replies

    def _on(self, name: str, **demand: Any) -> Any:
        """Return a function that starts a task on a node, without retries."""
        import ray

        def start(function: Any, *arguments: Any) -> Any:
            # By default Ray ends a worker process after each task with a GPU, and its zygote and kernels with it.
            task = ray.remote(max_calls=0)(function)
            there = self._at(node_of(name))
            return task.options(max_retries=0, **there, **demand).remote(*arguments)

        return start

    @staticmethod
    def _at(node: str) -> dict[str, Any]:
        """Return the options that bind a task or actor to a node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}

    def _send(self, ticket: StepTicket, parcel: Parcel, worker: str) -> Any:
        demand = self._places.demand(ticket.step)
        amounts = {"num_cpus": 1 if demand.cpus is None else demand.cpus, "num_gpus": demand.gpus or 0}
        if demand.memory:
            amounts["memory"] = demand.memory
        return self._on(worker, **amounts)(perform, parcel, self._board).future()

    def _stop(self, ticket: str, worker: str, *, hard: bool, wait: bool) -> None:  # noqa: ARG002 - the board is one
        import ray

        wish = self._board.request_stop.remote(ticket, hard)
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


def _head_address() -> tuple[str, int]:
    """Return host and port of the head node of the cluster that this process is connected to."""
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host.strip("[]"), int(port)


def _resolved_addresses(address: str) -> list[Any]:
    """Return all (host, port) addresses of a name; none if it cannot be resolved."""
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
    """Restore the SIGTERM handler, which `ray.init` replaces: a run ends cleanly by it."""
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
    """Send error output of nodes to the log: Ray prints it to this process's stderr, whatever its settings."""
    from ray._private import worker

    name = "print_to_stdstream"
    before = getattr(worker, name, None)
    setattr(worker, name, _log_output)
    try:
        yield
    finally:
        setattr(worker, name, before)


def _log_output(data: Mapping[str, Any], **_: Any) -> None:
    logger.info("Ray says: %s", " ".join(map(str, data.get("lines", ()))))


class RunMailbox:
    """Actor with the messages of nodes that the run has not read yet, and its requests to end parcels."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._wishes: dict[str, bool] = {}

    def tell(self, message: dict[str, Any]) -> None:
        """Add a message for the run."""
        self._told.append(message)

    def take(self) -> list[dict[str, Any]]:
        """Return and remove all messages."""
        messages, self._told = self._told, []
        return messages

    def request_stop(self, ticket: str, hard: bool) -> None:
        """Request the end of a parcel."""
        self._wishes[ticket] = hard

    def requested_stop(self, ticket: str) -> bool | None:
        """Return the request to end a parcel: True for a hard end, False for a clean one, None for no request."""
        return self._wishes.get(ticket)


def perform(parcel: Mapping[str, Any], board: Any) -> dict[str, Any]:
    """Run a parcel; executed as a Ray task on a node."""
    import ray

    from jupyter_pipelines.execution.executors.remote import agent

    ticket, here = parcel["ticket"], agent.ParcelAgent.here(1)
    heard: set[bool] = set()

    def wanted() -> bool:
        try:
            wish = ray.get(board.requested_stop.remote(ticket["id"]), timeout=_ANSWER)
        except ray.exceptions.GetTimeoutError:
            return True  # the machine is busy; Ray itself ends the tasks of a run that is gone
        except ray.exceptions.RayError:
            return False
        if wish is not None and wish not in heard:
            heard.add(wish)
            here.cancel(ticket["id"], hard=wish)
        return True

    meant = {**parcel, "ticket": {**ticket, "late": {**ticket.get("late", {}), **_visible_gpus()}}}
    try:
        return here.run(meant, board.tell.remote, wanted)
    except PipelinesError as error:
        return agent.failed_outcome(ticket, error)
    finally:
        # An actor answers the calls of one caller in order: its answer shows that all messages have arrived.
        with contextlib.suppress(ray.exceptions.RayError):
            ray.get(board.requested_stop.remote(ticket["id"]), timeout=_MAX_SILENCE * _ANSWER)


def _visible_gpus() -> dict[str, str]:
    """Return the environment variables that limit a step to the GPUs that Ray chose for this task."""
    import ray

    # Ray leaves the variables of a task without GPUs unset, so the step would see all GPUs. They go to the kernel with
    # its step: the zygote that it is forked from may be older than this task.
    if not ray.get_runtime_context().get_accelerator_ids().get("GPU"):
        return dict.fromkeys(_SELECTORS, "")
    return {name: os.environ[name] for name in _SELECTORS if name in os.environ}


def capacity_of(node: Mapping[str, Any]) -> WorkerCapacity:
    """Return the capacity of a node, from Ray's description of it."""
    has = node["Resources"]
    cpus = int(has.get("CPU", 0))
    return WorkerCapacity(
        name=f"{node['NodeManagerAddress']}/{node['NodeID']}",
        slots=cpus,
        offer=ComputeResources(cpus=cpus, gpus=int(has.get("GPU", 0)), memory=int(has.get("memory", 0))),
    )


def node_of(name: str) -> str:
    """Return Ray's node id in the name of a worker."""
    return name.rpartition("/")[2]
