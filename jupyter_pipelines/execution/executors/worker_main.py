"""A worker process: tickets come in on stdin, progress and outcomes go out on stdout, one JSON document a line.

Started as ``python -m jupyter_pipelines.execution.executors.worker_main``. When its stdin ends, or its parent is
another process, the runner is gone: all that the step started is killed, temporary folders are removed, and the
process exits.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import select
import signal
import sys
import threading
import time
from typing import Any, BinaryIO

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.blocked_imports import SLOW, block_imports
from jupyter_pipelines.execution.kernels.prestart import KernelConfig, KernelPrestarter
from jupyter_pipelines.execution.kernels.processes import adopt_orphans
from jupyter_pipelines.execution.prefork.zygote_handle import is_ahead
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.execution.worker.worker import AttemptContext, execute, kernel_config_for

logger = logging.getLogger(__name__)
_LOOK = 1.0
_SECOND_LOOK = 0.05


class WorkerLoop:
    """The loop of a worker process: orders in, answers out.

    Parameters
    ----------
    source : binary file
        Pipe of orders.
    target : binary file
        Pipe of answers.
    forks : str or None
        Socket of the zygote from which kernels are forked.
    """

    def __init__(self, source: BinaryIO, target: BinaryIO, forks: str | None = None) -> None:
        self._forks = forks
        self._ahead = KernelPrestarter() if is_ahead(os.environ) else None
        self._source = source
        self._target = target
        self._parent = os.getppid()
        self._lock = threading.Lock()
        self._tickets: queue.Queue[StepTicket | KernelConfig | None] = queue.Queue()
        self._alone = adopt_orphans()
        self._workplace = AttemptContext()
        self._current = ""

    def run(self) -> None:
        """Run tickets one after the other until the order to end comes."""
        self._send({"here": os.getpid()})
        threading.Thread(target=self._listen, name="jupyter-pipelines-orders", daemon=True).start()
        while order := self._tickets.get():
            if isinstance(order, StepTicket):
                self._execute(order)
            elif self._ahead is not None:
                self._ahead.start(order)
        if self._ahead is not None:
            self._ahead.close()

    def _execute(self, ticket: StepTicket) -> None:
        try:
            outcome = execute(ticket, progress=self._progress, workplace=self._workplace)
        except Exception as error:  # a defect of this package must not end the whole run
            logger.exception("ticket %s", ticket.id)  # goes to stderr, which the executor reads when the worker is lost
            outcome = _broken(ticket, error)
        # The outcome goes out before the kernel has ended: the next step, in another worker, need not wait for that.
        self._send({"outcome": outcome.to_dict()})
        self._workplace.later.close()
        self._send({"free": True})

    def _listen(self) -> None:
        """Read orders; runs in a thread of its own, so that a cancellation arrives while a step runs."""
        try:
            buffer = b""
            while block := self._read():
                *lines, buffer = (buffer + block).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))
        except Exception:  # without an end of this process, the runner would wait for ever
            logger.exception("an order cannot be obeyed")
        self._abandon()

    def _read(self) -> bytes:
        """Return the next bytes; nothing when the runner is gone."""
        # A killed runner closes its end of the pipe, unless a process it started still holds a copy: so the parent's id
        # is checked, too.
        descriptor = self._source.fileno()
        while os.getppid() == self._parent:
            if select.select([descriptor], [], [], _LOOK)[0]:
                return os.read(descriptor, 65536)
        return b""

    def _obey(self, order: dict[str, Any]) -> None:
        if "ticket" in order:
            ticket = StepTicket.from_dict(order["ticket"])
            self._workplace = AttemptContext(
                alone=self._alone, forks=self._forks, ahead=self._ahead, changed=self._tell
            )
            self._current = ticket.id
            self._tickets.put(ticket)
        elif "prepare" in order:
            self._tickets.put(kernel_config_for(None, order["cwd"], {}, order["prepare"], self._forks))
        elif order.get("cancel") == self._current:
            self._workplace.cancel.ask(hard=bool(order.get("hard")))
        elif order.get("end"):
            self._tickets.put(None)

    def _abandon(self) -> None:
        """End the step with all its processes, and exit: the runner is gone, and no outcome is needed."""
        self._workplace.cancel.ask(hard=True)
        self._clear()
        time.sleep(_SECOND_LOOK)  # for processes that were just being started
        self._clear()
        os._exit(0)

    def _clear(self) -> None:
        self._workplace.clear()
        if self._ahead is not None:
            self._ahead.close()

    def _tell(self) -> None:
        """Report the kernel and folders that the runner has to clean up if this process dies."""
        folders = [str(folder) for folder in self._workplace.folders]
        kernel = self._workplace.kernel.pid if self._workplace.kernel else 0
        self._send({"holds": {"mark": self._workplace.mark, "kernel": kernel, "folders": folders}})

    def _progress(self, progress: TicketProgress) -> None:
        self._send({"progress": progress.to_dict()})

    def _send(self, document: dict[str, Any]) -> None:
        data = json.dumps(document, default=dict).encode() + b"\n"
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._target.write(data)
            self._target.flush()


def _broken(ticket: StepTicket, error: Exception) -> StepOutcome:
    fault = Diagnostic(
        code="JP901",
        message=f"step `{ticket.step}` could not be run: {type(error).__name__}: {error}",
        suggestion="run it again; if this happens again, report it together with the log",
        step=ticket.step,
        notes=(f"log: {ticket.publish['log']}",),
    )
    return StepOutcome(ticket=ticket.id, state="failed", fault=fault, log=ticket.publish["log"])


def main(forks: str | None = None) -> None:
    """Run a worker on its standard streams; other output of this process goes to stderr.

    Parameters
    ----------
    forks : str or None
        Socket of the zygote from which kernels are forked.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # Ray's processes block SIGINT: kernels would inherit that
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    block_imports(*SLOW)
    # Orders and answers get descriptors of their own: a stray print of a library would break the line protocol, and
    # a library that reads stdin would swallow orders.
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    WorkerLoop(source, target, forks).run()
    # A normal exit would wait for threads of libraries that do not end by themselves.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
