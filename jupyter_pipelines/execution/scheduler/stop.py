"""Stop token of a run: requests to stop from other threads and from signals."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_ENDING = ("SIGTERM", "SIGHUP")


class StopToken:
    """Collects requests to stop a run, or a step of it, from any thread and from signals.

    The first request cancels and lets running steps clean up; the second request ends them at once. Signal handlers
    only record a request: no write is interrupted, and no traceback appears. Inside :meth:`interruptible` they raise
    ``KeyboardInterrupt``, for long operations that may be interrupted anywhere.
    """

    def __init__(self) -> None:
        self._wishes: deque[str | None] = deque()
        self._interruptible = False
        self._ending: int | None = None

    def request(self, step: str | None = None) -> None:
        """Request the end of the run, or of one step; thread-safe."""
        # deque.append and popleft are atomic, also against signal handlers: no lock is needed.
        self._wishes.append(step)

    def take(self) -> list[str | None]:
        """Return the requests made since the last call: names of steps, None for the whole run."""
        requests = []
        # Not `list` and `clear`: a request made in between would be lost.
        while self._wishes:
            requests.append(self._wishes.popleft())
        return requests

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal interrupt the block.

        Raises
        ------
        KeyboardInterrupt
            A signal came, or had come before; the request is recorded all the same.
        """
        self._interruptible = True
        try:
            if None in self._wishes:
                raise KeyboardInterrupt
            yield
        finally:
            self._interruptible = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Turn signals into stop requests while the block lasts; does so in the main thread only.

        SIGINT (Ctrl-C) is always handled; SIGTERM and SIGHUP only where their default action ends the process.
        The run is cancelled first, and at the end of the block the signal is sent again and ends the process.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            if self._ending is not None:
                os.kill(os.getpid(), self._ending)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # No lock is taken here: the thread that is interrupted may be holding it.
        if number != signal.SIGINT:
            self._ending = number
        self._wishes.append(None)
        if self._interruptible:
            # Once: a second signal must not interrupt the handling of the first.
            self._interruptible = False
            raise KeyboardInterrupt


def _signals() -> list[Any]:
    ending = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    return [signal.SIGINT, *(number for number in ending if signal.getsignal(number) == signal.SIG_DFL)]
