"""Trees of forked processes that one process keeps for a while: what comes next is likely to need them again."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.running.forking.owner import Zygote

IDLE = 300.0
"""Seconds after which a tree that nobody uses is ended."""

Sign = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class _Kept:
    zygote: Zygote
    users: int = 0
    timer: threading.Timer | None = None


@dataclass(slots=True)
class Keeper:
    """Keeps trees, one for each environment, command line, set of installed packages and set of limits.

    Parameters
    ----------
    idle : float
        Seconds that a tree lives on when nobody uses it.
    """

    idle: float = IDLE
    _kept: dict[Sign, _Kept] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def take(self, environment: Mapping[str, str], arguments: Sequence[str], kinds: Sequence[str]) -> Zygote:
        """Return a tree, started if need be; give it back with :meth:`release`.

        Raises
        ------
        OSError
            It cannot be started.
        """
        sign = (*sorted(environment.items()), *arguments, *_packages(), *_limits())
        with self._lock:
            found = self._kept.get(sign)
            if found is None or not found.zygote.lives():
                found = self._kept[sign] = _Kept(Zygote(environment, arguments, kinds))
            if found.timer is not None:
                found.timer.cancel()
            found.users += 1
            return found.zygote

    def release(self, zygote: Zygote) -> None:
        """Say that a tree is not used any more."""
        with self._lock:
            for one in [kept for kept in self._kept.values() if kept.zygote is zygote]:
                one.users -= 1
                if one.users == 0:
                    one.timer = threading.Timer(self.idle, self._end, [one])
                    one.timer.daemon = True
                    one.timer.start()

    def end_all(self) -> None:
        """End every tree."""
        with self._lock:
            for one in tuple(self._kept.values()):
                one.users = 0
                self._end(one)

    def _end(self, kept: _Kept) -> None:
        with self._lock:
            if kept.users:
                return
            if kept.timer is not None:
                kept.timer.cancel()
            self._kept = {sign: one for sign, one in self._kept.items() if one is not kept}
            kept.zygote.close()


def _packages() -> tuple[tuple[str, int], ...]:
    """Return when something was last installed or removed."""
    folders = [Path(one) for one in sys.path if one.endswith("-packages")]
    return tuple((str(one), one.stat().st_mtime_ns) for one in folders if one.is_dir())


def _limits() -> tuple[Any, ...]:
    """Return what processes inherit from the one that starts them."""
    import resource  # there is none on Windows, and no tree

    numbers = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
    limits = tuple((name, *resource.getrlimit(number)) for name, number in sorted(numbers.items()))
    status = Path("/proc/self/status").read_text("ascii", "replace")
    mask = next((line for line in status.splitlines() if line.startswith("Umask:")), "")
    return (*limits, mask, os.getpriority(os.PRIO_PROCESS, 0), *sorted(os.sched_getaffinity(0)))


KEEPER = Keeper()
atexit.register(KEEPER.end_all)
