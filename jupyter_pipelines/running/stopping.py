"""How a run is asked to stop: from another thread, by a signal, once or twice."""

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


class Stop:
    """The wish that a run, or one step of it, stops. Any thread may utter it, as often as it likes.

    The first wish cancels and lets running steps clean up; the second one ends them at once. Signals only note the
    wish: nothing is torn in the middle of a write, and no traceback appears. Inside :meth:`interruptible` they raise
    ``KeyboardInterrupt``, because what happens there may take long and may be torn.
    """

    def __init__(self) -> None:
        self._wishes: deque[str | None] = deque()
        self._interruptible = False
        self._ending: int | None = None

    def request(self, step: str | None = None) -> None:
        """Ask for the end of the run, or of one step."""
        self._wishes.append(step)

    def take(self) -> list[str | None]:
        """Return the wishes uttered since the last call: names of steps, None for the whole run."""
        wishes = []
        while self._wishes:
            wishes.append(self._wishes.popleft())
        return wishes

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal interrupt the block.

        Raises
        ------
        KeyboardInterrupt
            A signal came, or had come before; the wish is noted all the same.
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
        """Turn signals into wishes while the block lasts; only the main thread can.

        An interrupt (Ctrl-C) always counts. What asks the process to end counts where it would end it: the run is
        cancelled first, and then the signal does what it was sent for.
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
            self._interruptible = False
            raise KeyboardInterrupt


def _signals() -> list[Any]:
    ending = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    return [signal.SIGINT, *(one for one in ending if signal.getsignal(one) == signal.SIG_DFL)]
