"""A thread that watches a kernel while its cells run: timeout, cancellation, memory, progress."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Literal

from jupyter_pipelines.execution.kernels import processes
from jupyter_pipelines.execution.kernels.launch import StepKernel

Reason = Literal["timed-out", "cancelled"]

GRACE = 3.0
"""Seconds that code has to react to an interrupt before it is killed."""

_TICK = 0.05
_REPORT = 0.5
_STACK = getattr(signal, "SIGUSR1", None)


class CancelToken:
    """A request to end an attempt; thread-safe."""

    def __init__(self) -> None:
        self._soft = threading.Event()
        self._hard = threading.Event()

    def ask(self, *, hard: bool = False) -> None:
        """Request the end; `hard` leaves no time to clean up."""
        if hard:
            self._hard.set()
        self._soft.set()

    @property
    def asked(self) -> bool:
        """Whether the end was requested."""
        return self._soft.is_set()

    @property
    def hard(self) -> bool:
        """Whether the end was requested at once, without time to clean up."""
        return self._hard.is_set()


class KernelWatchdog(threading.Thread):
    """Ends a kernel that runs too long or was cancelled.

    Parameters
    ----------
    kernel : StepKernel
        A connected kernel.
    timeout : float or None
        Seconds from now; None for no limit.
    cancel : CancelToken
        Cancellation of the attempt.
    report : callable
        Called every half second while cells run.

    Attributes
    ----------
    reason : {"timed-out", "cancelled"} or None
        Why the watchdog stopped the kernel; None if it did not.
    memory : int
        Largest resident memory of the kernel that was sampled, in bytes.
    """

    def __init__(
        self, kernel: StepKernel, *, timeout: float | None, cancel: CancelToken, report: Callable[[], None]
    ) -> None:
        super().__init__(name="jupyter-pipelines-watch", daemon=True)
        self._kernel = kernel
        self._cancel = cancel
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._report = report
        self._reported = time.monotonic()
        self._over = threading.Event()
        self.reason: Reason | None = None
        self.memory = 0

    def run(self) -> None:
        """Watch until :meth:`stop` is called, or until the kernel was made to stop."""
        while not self._over.wait(_TICK):
            self._look()
            self.reason = self._why_stop()
            if self.reason is not None:
                self._make_stop()
                return

    def stop(self) -> None:
        """End the watch; the cells have run."""
        self._over.set()
        if self.is_alive():
            self.join()

    def _why_stop(self) -> Reason | None:
        if self._cancel.asked:
            return "cancelled"
        late = self._deadline is not None and time.monotonic() >= self._deadline
        return "timed-out" if late else None

    def _look(self) -> None:
        if time.monotonic() - self._reported < _REPORT:
            return
        self.memory = max(self.memory, processes.memory_of(self._kernel.pid))
        self._report()
        self._reported = time.monotonic()

    def _make_stop(self) -> None:
        """Interrupt, terminate, kill: each step only when the one before did not help."""
        if not self._cancel.hard:
            self._dump_stack()
            for name, patience in (("SIGINT", GRACE), ("SIGTERM", 0.5)):
                self._kernel.send(name)
                if self._stopped_within(patience):
                    return
        # Listed before the kill: orphans get another parent, and could no longer be found from the kernel.
        children = processes.descendants(self._kernel.pid)
        self._kernel.kill()
        processes.kill_all(lambda: [child for child in children if child.is_running()])

    def _dump_stack(self) -> None:
        """Let the kernel write its stack to a file, by the signal that `cell_log` registered with faulthandler."""
        if _STACK is not None and self._kernel.process is not None:
            self._kernel.process.send_signal(_STACK)
            # The stack has to be written before the interrupt unwinds it.
            self._over.wait(_TICK)

    def _stopped_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._cancel.hard:
            if self._over.wait(_TICK) or self._kernel.exit_code() is not None:
                return True
        return self._over.is_set() or self._kernel.exit_code() is not None
