"""What code in a kernel has left unfinished: while there is nothing of that kind, the kernel need not be waited for.

A kernel that holds nothing which could still change the world is not asked to end: it is ended, while the next step
runs. In doubt something counts as unfinished. Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_READING = os.O_RDONLY
_HARMLESS = ("anon_inode:", "/memfd:", "/dev/null", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class Baseline:
    """What there was before the first cell."""

    files: frozenset[str]
    threads: frozenset[int]
    callbacks: int
    finalizers: int

    @classmethod
    def now(cls) -> Baseline:
        """Return what there is."""
        return cls(
            files=frozenset(_files()),
            threads=frozenset(thread.ident or 0 for thread in threading.enumerate()),
            callbacks=_callbacks(),
            finalizers=_finalizers(),
        )

    def unfinished(self, namespace: Mapping[str, Any]) -> list[str]:
        """Return what has come since and may still have something to do, in words; empty when there is nothing.

        Parameters
        ----------
        namespace : Mapping
            The names of the user's code.
        """
        now = Baseline.now()
        found = {
            "open files": now.files - self.files,
            "threads": now.threads - self.threads,
            "callbacks at exit": now.callbacks > self.callbacks or now.finalizers > self.finalizers,
            "processes": _children(),
            "objects that end by themselves": any(_has_end(value) for value in tuple(namespace.values())),
        }
        return [what for what, there in found.items() if there]


_KNOWN: list[Baseline] = []


def remember() -> None:
    """Take what there is now for what a kernel always has."""
    _KNOWN[:] = [Baseline.now()]


def unfinished(namespace: Mapping[str, Any]) -> list[str]:
    """Return what the cells have left unfinished; see :meth:`Baseline.unfinished`."""
    return _KNOWN[0].unfinished(namespace) if _KNOWN else ["nobody has looked before"]


def _files() -> Iterator[str]:
    """Yield what is open for writing, or may be."""
    try:
        numbers = os.listdir("/proc/self/fd")  # noqa: PTH208 - once for every step
    except OSError:
        yield f"unknown {os.urandom(8).hex()}"  # what cannot be seen may be there
        return
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
            harmless = target.startswith(_HARMLESS) or _is_read_only(number, target)
        except OSError:
            continue
        if not harmless:
            yield f"{number} {target}"


def _is_read_only(number: str, target: str) -> bool:
    """Tell whether a file of a file system is open for reading alone."""
    if not target.startswith("/"):
        return False
    with open(f"/proc/self/fdinfo/{number}", encoding="ascii") as file:  # noqa: PTH123
        flags = next(line for line in file if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE == _READING


def _children() -> bool:
    try:
        with open("/proc/thread-self/children", encoding="ascii") as file:  # noqa: PTH123
            mine = file.read().split()
        return bool(mine) or any(_of_thread(name) for name in os.listdir("/proc/self/task"))  # noqa: PTH208
    except OSError:
        return True


def _of_thread(name: str) -> bool:
    try:
        with open(f"/proc/self/task/{name}/children", encoding="ascii") as file:  # noqa: PTH123
            return bool(file.read().split())
    except OSError:
        return False


def _callbacks() -> int:
    """Return how many functions run at the exit; those of :mod:`threading` are not counted by :mod:`atexit`."""
    counted = getattr(atexit, "_ncallbacks", None)
    waiting: Iterable[Any] = getattr(threading, "_threading_atexits", ())
    return (counted() if counted else sys.maxsize) + len(list(waiting))


def _finalizers() -> int:
    registry: Mapping[Any, Any] = getattr(weakref.finalize, "_registry", {})
    return len(registry)


def _has_end(value: Any) -> bool:
    """Tell whether a value's class says what to do when it goes; generators may stand in a ``with``."""
    kind = type(value)
    return hasattr(kind, "__del__") or (hasattr(kind, "close") and not isinstance(value, type))
