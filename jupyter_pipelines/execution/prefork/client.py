"""Client of the zygote: requests a forked process and handles it like a :class:`subprocess.Popen`."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from jupyter_pipelines.execution.prefork import socket_messages

_TURN = 0.05

PATIENCE = 90.0
"""Seconds to wait for a forked process; the zygote may be busy with an import, or stuck in one."""


class ForkUnavailable(Exception):
    """No forked process is available; start an ordinary process instead.

    Parameters
    ----------
    why : str
        The reason, for developers.
    """


def prepare(path: str, request: dict[str, Any]) -> None:
    """Ask the zygote to fork an idle process for the next request of this kind; failures are not reported.

    Parameters
    ----------
    path : str
        The socket of the zygote.
    request : dict
        As for :class:`ForkedProcess`, without ``order``.
    """
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.connect(path)
        socket_messages.send(connection, request)


class ForkedProcess:
    """A process that the zygote has forked, with the used part of the interface of :class:`subprocess.Popen`.

    Parameters
    ----------
    path : str
        The socket of the zygote.
    request : dict
        ``kind``, ``shared``, ``own``, ``cwd`` and ``order``; see :mod:`jupyter_pipelines.execution.prefork.zygote`.
    descriptors : sequence of int
        Its stdin, stdout and stderr; the caller may close its own copies when this returns.

    Raises
    ------
    ForkUnavailable
        The zygote has ended.
    """

    stdin = stdout = stderr = None

    def __init__(self, path: str, request: dict[str, Any], descriptors: Sequence[int]) -> None:
        self.args = [request["kind"]]
        self.returncode: int | None = None
        self.facts: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(path)
            socket_messages.send(self._connection, request, descriptors)
        except OSError as error:
            self._connection.close()
            raise ForkUnavailable(str(error)) from error

    @property
    def pid(self) -> int:
        """Process id; waits until the process has been forked."""
        if not self.facts:
            self.settle(lambda: False)
        return int(self.facts["pid"])

    def settle(self, give_up: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until the process has been forked and is ready.

        Parameters
        ----------
        give_up : callable
            Tells whether the process is no longer needed.
        patience : float
            Seconds to wait.

        Raises
        ------
        ForkUnavailable
            It cannot be forked, is not ready in time, or is no longer needed.
        """
        end = time.monotonic() + patience
        while not self._has_message(_TURN):
            if give_up() or time.monotonic() > end:
                self.close()
                raise ForkUnavailable("it is no longer waited for")
        message = self._hear()
        if message is None or "refused" in message:
            self.close()
            raise ForkUnavailable(message["refused"] if message else "the zygote has ended")
        self.facts = message

    def poll(self) -> int | None:
        """Return its exit status, the negative number of the signal that killed it, or None while it lives."""
        # The lock keeps two threads from each reading a part of a message.
        with self._lock:
            while self.returncode is None and self._has_message(0):
                self._note(self._hear())
            return self.returncode

    def _note(self, message: dict[str, Any] | None) -> None:
        if message is not None and "pid" in message:
            self.facts = message
            return
        # Without a message the zygote has gone, and has killed the process.
        self.returncode = int((message or {}).get("ended", -signal.SIGKILL))
        self.close()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends, and return its exit status.

        Raises
        ------
        subprocess.TimeoutExpired
            It still lives after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._has_message(left)
        return self.returncode or 0

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the process ends; negative after that."""
        return self._connection.fileno()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it lives."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close the connection to the zygote, which then ends the process if it lives."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes threads that wait for the process; close() does not
        self._connection.close()

    def _has_message(self, timeout: float | None) -> bool:
        waiting = select.poll()
        try:
            waiting.register(self._connection, select.POLLIN)
        except (OSError, ValueError):  # another thread has heard the end and let go
            return True
        return bool(waiting.poll(None if timeout is None else timeout * 1000))

    def _hear(self) -> dict[str, Any] | None:
        try:
            message = socket_messages.receive(self._connection)
        except OSError:
            return None
        return message[0] if message else None
