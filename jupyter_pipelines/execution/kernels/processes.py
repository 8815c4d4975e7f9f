"""Find and end the processes that a step started, daemons included; names of signals; memory in use."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

_SET_CHILD_SUBREAPER = 36
_QUIETLY = 0.3
_POLITELY = 0.5
_BY_FORCE = 1.0
_ROUNDS = 20
_POLL = 0.02

Finder = Callable[[], Iterable[psutil.Process]]


def adopt_orphans() -> bool:
    """Make this process a child subreaper: orphaned descendants become its children, and daemons can be found.

    Returns
    -------
    bool
        False where the system has no subreapers: only Linux has.
    """
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) == 0


def descendants(pid: int | None = None) -> list[psutil.Process]:
    """Return the living descendants of process `pid`, by default of this one.

    Nothing for 0, a kernel that has not started: on macOS everything descends from a process with that number.
    """
    if pid == 0:
        return []
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def marked_processes(name: str, value: str, *, session: int = 0) -> list[psutil.Process]:
    """Return the processes whose environment variable `name` is `value`, which children inherit.

    Parameters
    ----------
    name, value : str
        Variable and value.
    session : int
        Also return the processes of this session, whatever their environment; 0 for none.
    """
    # Forked kernels are children of the zygote, not of the worker: descent alone would not find what they start.
    return [
        process
        for process in psutil.process_iter()
        if _is_of(process, session) or _environment_of(process).get(name) == value
    ]


def _is_of(process: psutil.Process, session: int) -> bool:
    try:
        return bool(session) and os.getsid(process.pid) == session
    except OSError:
        return False


def _environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def end_all(find: Finder) -> None:
    """End every process that `find` returns, also those that start meanwhile.

    Each has 0.3 s to exit by itself, then gets SIGTERM, and after another 0.5 s SIGKILL.

    Parameters
    ----------
    find : callable
        Returns the processes to end; called again and again.
    """
    if left := _survivors(find, _QUIETLY):
        _for_each(left, psutil.Process.terminate)
        _survivors(find, _POLITELY)
        kill_all(find)


def kill_all(find: Finder) -> None:
    """Kill every process that `find` returns, until it returns none."""
    # Again and again, as a process may fork between the search and its end; limited, as one may be unkillable.
    for _ in range(_ROUNDS):
        left = _survivors(find, 0)
        if not left:
            return
        _for_each(left, psutil.Process.kill)
        _survivors(find, _BY_FORCE)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to the process group that `pid` leads, or to `pid` alone where there are no groups.

    Nothing where `pid` is 0, as of a kernel that has not started: the system would take that for our own group.
    """
    if pid <= 0:
        return
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def signal_name(number: int) -> str:
    """Return the name of a signal, such as ``SIGKILL``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def out_of_memory_kills() -> int | None:
    """Return the number of processes that Linux's OOM killer has killed in this control group; None if not known."""
    for path in _memory_events():
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return None


def _memory_events() -> list[Path]:
    """Return the files in which control groups (version 2, version 1) count OOM kills."""
    paths = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                paths.append(Path("/sys/fs/cgroup" + path, "memory.events"))
            elif "memory" in controllers.split(","):
                paths.append(Path("/sys/fs/cgroup/memory" + path, "memory.oom_control"))
    return paths


def memory_of(pid: int) -> int:
    """Return the resident memory of process `pid` in bytes; 0 if it has ended."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _survivors(find: Finder, timeout: float) -> list[psutil.Process]:
    """Wait at most `timeout` seconds for all processes to end; return those that still live."""
    end = time.monotonic() + timeout
    while (alive := [process for process in find() if _lives(process)]) and time.monotonic() < end:
        time.sleep(_POLL)
    return alive


def _lives(process: psutil.Process) -> bool:
    """Tell whether a process lives; a dead child of this process is reaped."""
    try:
        if process.status() != psutil.STATUS_ZOMBIE:
            return process.is_running()
        if process.ppid() == os.getpid():
            process.wait(0)
    except psutil.Error:
        pass
    return False


def _for_each(processes: Iterable[psutil.Process], action: Callable[[psutil.Process], object]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            action(process)
