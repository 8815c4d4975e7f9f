"""The executor for this machine: long-lived worker processes, each with one ticket at a time."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO, Any, cast

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.kernels.launch_environment import ARGUMENTS, KERNELS, step_environment
from jupyter_pipelines.execution.prefork.client import ForkedProcess, ForkUnavailable, prepare
from jupyter_pipelines.execution.prefork.zygote_handle import ZygoteHandle, can_fork, is_ahead
from jupyter_pipelines.execution.prefork.zygote_pool import ZYGOTE_POOL
from jupyter_pipelines.execution.ticket import KernelPreimports, StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.step import ComputeResources

logger = logging.getLogger(__name__)
WORKERS = "jupyter_pipelines.execution.executors.forked_worker"
"""The kind of process to request from a zygote."""
_COMMAND = ("-P", "-m", "jupyter_pipelines.execution.executors.worker_main")
_END_PATIENCE = 5.0


class LocalExecutor:
    """Runs tickets in processes on this machine; each has a session of its own and ends when this process does.

    A worker that has sent an outcome may still have a kernel to end; meanwhile the next ticket goes to another worker,
    so there are up to twice as many workers as jobs.

    Parameters
    ----------
    jobs : int
        Number of tickets that run at once.
    """

    def __init__(self, jobs: int) -> None:
        self.jobs = max(1, jobs)
        self._news: queue.Queue[tuple[_WorkerHandle, Mapping[str, Any] | None]] = queue.Queue()
        self._waiting: deque[StepTicket] = deque()
        self._workers: list[_WorkerHandle] = []
        self._early: list[StepOutcome] = []
        self._latest: StepTicket | None = None
        self._zygote: ZygoteHandle | None = None
        self._may_fork = can_fork(os.environ)

    @staticmethod
    def usual_jobs() -> int:
        """Return the default number of tickets that run at once: one for each core."""
        return os.cpu_count() or 1

    def capacity(self) -> ComputeResources:
        """Return the cores and the memory of this machine; GPUs are not detected."""
        return ComputeResources(cpus=cores(), memory=_memory())

    def submit(self, ticket: StepTicket) -> None:
        """Queue a ticket; it waits while all workers are busy."""
        self._waiting.append(ticket)
        self._hand_out()

    def poll(self, timeout: float) -> Sequence[TicketProgress | StepOutcome]:
        """Return progress and outcomes, after at most `timeout` seconds of waiting for the first."""
        # Only this thread changes the executor's state; the reader threads of workers just put messages into a queue.
        end = time.monotonic() + timeout
        messages: list[TicketProgress | StepOutcome] = [*self._early]
        self._early.clear()
        while not messages:
            try:
                messages += self._heard(*self._news.get(timeout=max(0.0, end - time.monotonic())))
            except queue.Empty:
                return messages
        while not self._news.empty():
            messages += self._heard(*self._news.get_nowait())
        return messages

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Request the end of a ticket; a queued ticket is cancelled at once."""
        for waiting in [ticket for ticket in self._waiting if ticket.id == ticket_id]:
            self._waiting.remove(waiting)
            self._early.append(_never_started(waiting))
        for worker in self._workers:
            if worker.ticket is not None and worker.ticket.id == ticket_id:
                worker.send({"cancel": ticket_id, "hard": hard})

    def close(self) -> None:
        """End every worker, and the processes that its step has started."""
        # All are told first and waited for then: they end at the same time.
        self._waiting.clear()
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.end(_END_PATIENCE)
        self._workers.clear()
        if self._zygote is not None:
            ZYGOTE_POOL.release(self._zygote)
            self._zygote = None

    def _hand_out(self) -> None:
        while self._waiting and sum(worker.ticket is not None for worker in self._workers) < self.jobs:
            worker = self._free_worker(self._waiting[0].warm)
            if worker is None:
                return
            self._latest = self._waiting.popleft()
            worker.take(self._latest)
        self._foresee()

    def _foresee(self) -> None:
        """Let free workers prestart the kernels that the next steps are likely to need."""
        if self._latest is None or self._waiting or not is_ahead(os.environ):
            return
        ready = [worker.prepared for worker in self._workers if worker.prepared is not None]
        for warm in self._latest.following:
            if warm in ready:
                ready.remove(warm)
            elif worker := self._free_worker(None):
                worker.prepare(warm, self._latest.start or self._latest.cwd)

    def _free_worker(self, warm: KernelPreimports | None) -> _WorkerHandle | None:
        """Return a free worker with a matching kernel, else without a kernel, else a new one, else any free worker."""
        free = [worker for worker in self._workers if worker.free]
        fitting = [worker for worker in free if warm is not None and worker.prepared == warm]
        bare = [worker for worker in free if worker.prepared is None]
        if fitting or bare:
            return (fitting or bare)[0]
        return self._another_worker() or (free[0] if warm is not None and free else None)

    def _another_worker(self) -> _WorkerHandle | None:
        most = self.jobs * (2 if is_ahead(os.environ) else 1)
        return self._start_worker() if len(self._workers) < most else None

    def _start_worker(self) -> _WorkerHandle:
        worker = _WorkerHandle(self._news, self._forks())
        self._workers.append(worker)
        return worker

    def _forks(self) -> str | None:
        """Return the socket of the zygote; None if processes are started the usual way."""
        if not self._may_fork:
            return None
        if self._zygote is None:
            try:
                self._zygote = ZYGOTE_POOL.take(step_environment(os.environ), ARGUMENTS, (KERNELS, WORKERS))
            except OSError as error:
                logger.info("processes are started the usual way: %s", error)
                self._may_fork = False
                return None
            self._begin_imports(self._zygote.path)
        return self._zygote.path

    def _begin_imports(self, path: str) -> None:
        """Request a kernel for the first ticket while its worker is still starting, as imports take longest."""
        first = self._waiting[0] if self._waiting else None
        if first is not None and first.warm is not None and first.kernel is None:
            prepare(path, {"kind": KERNELS, **first.warm, "cwd": first.start or first.cwd})

    def _heard(self, worker: _WorkerHandle, message: Mapping[str, Any] | None) -> list[TicketProgress | StepOutcome]:
        """Return the progress and outcomes in a worker's message; None means that the worker has ended."""
        if message is None:
            return self._lost(worker)
        if "progress" in message:
            return [TicketProgress.from_dict(message["progress"])]
        worker.here = True
        if "outcome" in message:
            worker.ticket = None
            self._hand_out()
            return [StepOutcome.from_dict(message["outcome"])]
        if "free" in message:
            worker.free, worker.holds = True, {}
            self._hand_out()
            self._foresee()
        worker.holds = message.get("holds", worker.holds)
        return []

    def _lost(self, worker: _WorkerHandle) -> list[TicketProgress | StepOutcome]:
        if worker not in self._workers:
            return []
        self._workers.remove(worker)
        outcome = worker.final_outcome()
        if worker.forked and not worker.here and worker.ticket is not None:
            # A worker that ended before its first message never saw the ticket: forking is at fault, not the step. The
            # ticket is queued again, for a worker that is started the usual way.
            logger.info("forked workers do not start: %s", self._zygote.complaints() if self._zygote else "")
            self._may_fork, outcome = False, None
            self._waiting.appendleft(worker.ticket)
        self._hand_out()
        return [outcome] if outcome else []


class _WorkerHandle:
    """Handle of a worker process in the runner."""

    def __init__(self, news: queue.Queue[tuple[_WorkerHandle, Mapping[str, Any] | None]], forks: str | None) -> None:
        self.ticket: StepTicket | None = None
        self.free = True
        self.here = False
        self.prepared: KernelPreimports | None = None
        self.holds: Mapping[str, Any] = {}
        self._news = news
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the worker lives
        forked = self._fork(forks) if forks else None
        self.forked = forked is not None
        self._process = forked or self._start()
        threading.Thread(target=self._listen, name="jupyter-pipelines-worker", daemon=True).start()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, *_COMMAND],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            # Ctrl-C in a terminal reaches the runner only, which cancels steps in order.
            start_new_session=True,
        )
        self._orders, self._answers = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        return process

    def _fork(self, path: str) -> ForkedProcess | None:
        (theirs_in, mine_out), (mine_in, theirs_out) = os.pipe(), os.pipe()
        order = {"cwd": os.getcwd(), "forks": path}  # noqa: PTH109 - a text
        try:
            process = ForkedProcess(
                path, {"kind": WORKERS, "order": order}, [theirs_in, theirs_out, self._errors.fileno()]
            )
        except ForkUnavailable as refused:
            logger.info("no forked worker: %s", refused)
            for descriptor in (mine_in, mine_out):
                os.close(descriptor)
            return None
        finally:
            for descriptor in (theirs_in, theirs_out):
                os.close(descriptor)
        self._orders, self._answers = os.fdopen(mine_out, "wb"), os.fdopen(mine_in, "rb")
        return process

    def take(self, ticket: StepTicket) -> None:
        """Send the worker a ticket."""
        self.ticket, self.free, self.prepared = ticket, False, None
        self.send({"ticket": ticket.to_dict()})

    def prepare(self, warm: KernelPreimports, cwd: str) -> None:
        """Let the worker prestart a kernel for a ticket that is likely to come."""
        self.prepared = warm
        self.send({"prepare": warm, "cwd": cwd})

    def send(self, order: Mapping[str, Any]) -> None:
        """Send an order; errors are ignored, as the reader thread reports a worker that has ended."""
        with contextlib.suppress(OSError, ValueError):
            self._orders.write(json.dumps(order, default=dict).encode() + b"\n")
            self._orders.flush()

    def dismiss(self) -> None:
        """Close its stdin: the worker ends what it runs and exits."""
        with contextlib.suppress(OSError):
            self._orders.close()

    def end(self, patience: float) -> None:
        """Wait until the worker has ended; kill it after `patience` seconds."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._clean_up()
        self._errors.close()

    def final_outcome(self) -> StepOutcome | None:
        """Clean up after a worker that ended by itself, and return the outcome of its ticket, if it had one."""
        from jupyter_pipelines.execution.kernels.launch import describe_exit
        from jupyter_pipelines.execution.worker.worker import lost_outcome

        code = self._process.wait()
        self.dismiss()
        self._clean_up()
        notes = _last_lines(self._errors)
        self._errors.close()
        return lost_outcome(self.ticket, f"its process ended {describe_exit(code)}", notes) if self.ticket else None

    def _listen(self) -> None:
        with self._answers as lines:
            for line in lines:
                self._news.put((self, json.loads(line)))
        self._news.put((self, None))

    def _clean_up(self) -> None:
        """End the kernel that the worker left behind, the processes of the step, and remove its folders."""
        # As the worker last reported them: a killed worker cannot clean up by itself.
        from jupyter_pipelines.execution.kernel_side.step_io import ATTEMPT
        from jupyter_pipelines.execution.kernels import processes

        mark = str(self.holds.get("mark", "none"))
        kernel = int(self.holds.get("kernel", 0))
        processes.kill_all(lambda: processes.marked_processes(ATTEMPT, mark, session=kernel))
        for folder in self.holds.get("folders", ()):
            shutil.rmtree(folder, ignore_errors=True)


def _last_lines(file: IO[bytes]) -> tuple[str, ...]:
    file.seek(0)
    lines = file.read().decode("utf-8", "replace").splitlines()
    return tuple(f"it wrote last: {line.strip()[:200]}" for line in lines if line.strip())[-3:]


def _never_started(ticket: StepTicket) -> StepOutcome:
    fault = Diagnostic(
        code="JP306",
        message=f"step `{ticket.step}` was cancelled before it started",
        suggestion="run again to go on: what is done already is reused",
        step=ticket.step,
    )
    return StepOutcome(ticket=ticket.id, state="cancelled", fault=fault)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
