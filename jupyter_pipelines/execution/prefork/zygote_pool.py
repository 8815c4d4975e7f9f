"""A pool of zygotes that are kept for a while after their last use: the next run of the process reuses them."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.execution.prefork.zygote_handle import ZygoteHandle

IDLE = 300.0
"""Seconds after which an unused zygote is ended."""

Sign = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class _PooledZygote:
    zygote: ZygoteHandle
    users: int = 0
    timer: threading.Timer | None = None


@dataclass(slots=True)
class ZygotePool:
    """Keeps one zygote for each environment, command line, state of the installed packages, and process limits.

    Parameters
    ----------
    idle : float
        Seconds that an unused zygote is kept.
    """

    idle: float = IDLE
    _kept: dict[Sign, _PooledZygote] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(self, environment: Mapping[str, str], arguments: Sequence[str], kinds: Sequence[str]) -> ZygoteHandle:
        """Return a zygote, started if need be; give it back with :meth:`release`.

        Raises
        ------
        OSError
            It cannot be started.
        """
        sign = (*sorted(environment.items()), *arguments, *_packages(), *_limits())
        with self._lock:
            kept = self._kept.get(sign)
            if kept is None or not kept.zygote.lives():
                kept = self._kept[sign] = _PooledZygote(ZygoteHandle(environment, arguments, kinds))
            if kept.timer is not None:
                kept.timer.cancel()
            kept.users += 1
            return kept.zygote

    def release(self, zygote: ZygoteHandle) -> None:
        """Give back a zygote; it is ended after it has been unused for the idle time."""
        with self._lock:
            for kept in [kept for kept in self._kept.values() if kept.zygote is zygote]:
                kept.users -= 1
                if kept.users == 0:
                    kept.timer = threading.Timer(self.idle, self._end, [kept])
                    kept.timer.daemon = True
                    kept.timer.start()

    def end_all(self) -> None:
        """End every zygote."""
        with self._lock:
            for kept in tuple(self._kept.values()):
                kept.users = 0
                self._end(kept)

    def _end(self, kept: _PooledZygote) -> None:
        with self._lock:
            # Taken again between the timer's expiry and this lock.
            if kept.users:
                return
            if kept.timer is not None:
                kept.timer.cancel()
            self._kept = {sign: other for sign, other in self._kept.items() if other is not kept}
            kept.zygote.close()


def _packages() -> tuple[tuple[str, int], ...]:
    """Return the modification times of the package folders: installing or removing a package changes them."""
    folders = [Path(path) for path in sys.path if path.endswith("-packages")]
    return tuple((str(folder), folder.stat().st_mtime_ns) for folder in folders if folder.is_dir())


def _limits() -> tuple[Any, ...]:
    """Return the limits, umask, priority and cores that a child process inherits."""
    # A forked kernel inherits them from the zygote, not from this process: if they differ, it needs another zygote.
    import resource  # absent on Windows, where there are no zygotes either

    numbers = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    limits = tuple((name, *resource.getrlimit(number)) for name, number in sorted(numbers.items()))
    status = Path("/proc/self/status").read_text("ascii", "replace")
    mask = next((line for line in status.splitlines() if line.startswith("Umask:")), "")
    return (*limits, mask, os.getpriority(os.PRIO_PROCESS, 0), *sorted(os.sched_getaffinity(0)))


ZYGOTE_POOL = ZygotePool()
atexit.register(ZYGOTE_POOL.end_all)
