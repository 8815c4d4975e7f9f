"""Calls to the operating system: fork a child that dies with its parent, adopt orphans, reap, kill."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_DEATH_SIGNAL = 1
_SUBREAPER = 36


def fork() -> int:
    """Fork; Linux kills the child when this process ends.

    Raises
    ------
    OSError
        The system refuses another process.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _control(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the system knew
            os._exit(1)
    return pid


def adopt_orphans() -> None:
    """Become the parent of processes whose own parent, a descendant of this process, ends."""
    _control(_SUBREAPER, 1)


def children() -> list[int]:
    """Return the ids of this process's children, zombies and adopted orphans included."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split()]
    except OSError:
        return []


def reap_children() -> bool:
    """Reap children that have ended; tell whether others still live."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def kill(pid: int) -> None:
    """Kill a child, and its process group if it leads one."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            end(pid, signal.SIGKILL)


def _control(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
