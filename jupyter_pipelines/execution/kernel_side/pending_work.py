"""Detect pending work in a kernel (threads, open files, exit handlers): without any, the kernel can be killed at once.

A kernel without pending work is not asked to shut down: it is killed while the next step runs already, which saves the
time of an orderly exit. In doubt, work counts as pending. Runs inside the kernel, so it imports the standard library
only.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing import step_trace

_MOST = 20_000
_DEEPEST = 50
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType)
"""Types of objects that modules refer to as well: they outlive the namespace, so no finalizer runs for them."""

_OF_THE_SHELL = frozenset({"In", "Out", "_ih", "_oh", "_dh", "get_ipython", "exit", "quit", "open", "__builtins__"})
_READING = os.O_RDONLY
_HARMLESS = ("anon_inode:", "/memfd:", "/dev/null", "/dev/urandom")


@dataclass(frozen=True, slots=True)
class KernelBaseline:
    """The pending work that a kernel has before the first cell runs."""

    files: frozenset[str]
    threads: frozenset[int]
    callbacks: int
    finalizers: frozenset[Any]
    logs: int

    @classmethod
    def now(cls) -> KernelBaseline:
        """Return the pending work at this moment."""
        with step_trace.unnoted():
            files = frozenset(_files())
        return cls(
            files=files,
            threads=frozenset(thread.ident or 0 for thread in threading.enumerate()),
            callbacks=_callbacks(),
            finalizers=_finalizers(),
            # Handlers may buffer records (MemoryHandler) until logging.shutdown() flushes them at the exit.
            logs=len(getattr(sys.modules.get("logging"), "_handlerList", ())),
        )

    def pending_work(self, namespace: Mapping[str, Any]) -> list[str]:
        """Return the kinds of pending work that began after the baseline; empty if there is none.

        Parameters
        ----------
        namespace : Mapping
            The names of the user's code.
        """
        now = KernelBaseline.now()
        with step_trace.unnoted():
            has_children = _children()
        leftovers = {
            "open files": now.files - self.files,
            "threads": now.threads - self.threads,
            "callbacks at exit": now.callbacks > self.callbacks or bool(now.finalizers - self.finalizers),
            "logs": now.logs > self.logs,
            "processes": has_children,
            "objects that end by themselves": _holds_finalizers(namespace),
        }
        return [what for what, present in leftovers.items() if present]


_KNOWN: list[KernelBaseline] = []


def record_baseline() -> None:
    """Record the present state as the baseline of this kernel."""
    _KNOWN[:] = [KernelBaseline.now()]


def pending_work(namespace: Mapping[str, Any]) -> list[str]:
    """Return the kinds of work that the cells have left pending; see :meth:`KernelBaseline.pending_work`."""
    return _KNOWN[0].pending_work(namespace) if _KNOWN else ["no baseline was recorded"]


def _files() -> Iterator[str]:
    """Yield the descriptors that are or may be open for writing, each as its number and target."""
    try:
        numbers = os.listdir("/proc/self/fd")  # noqa: PTH208 - once for every step
    except OSError:
        # Random, so that it differs from the baseline and counts as pending.
        yield f"unknown {os.urandom(8).hex()}"  # what cannot be seen may be there
        return
    for number in numbers:
        try:
            target = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115
            harmless = target.startswith(_HARMLESS) or _is_read_only(number, target)
        except OSError:
            # Closed between listing and reading, as the descriptor of the listing itself always is.
            continue
        if not harmless:
            yield f"{number} {target}"


def _is_read_only(number: str, target: str) -> bool:
    """Tell whether a descriptor is a file (no pipe or socket) that is open for reading only."""
    if not target.startswith("/"):
        return False
    with open(f"/proc/self/fdinfo/{number}", encoding="ascii") as file:  # noqa: PTH123
        flags = next(line for line in file if line.startswith("flags:"))
    return int(flags.split()[1], 8) & os.O_ACCMODE == _READING


def _children() -> bool:
    try:
        with open("/proc/thread-self/children", encoding="ascii") as file:  # noqa: PTH123
            mine = file.read().split()
        # Linux lists children by the thread that forked them.
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
    """Return the number of functions that run at the exit; :mod:`threading` keeps its own list beside :mod:`atexit`."""
    counted = getattr(atexit, "_ncallbacks", None)
    registered: Iterable[Any] = getattr(threading, "_threading_atexits", ())
    return (counted() if counted else sys.maxsize) + len(list(registered))


def _finalizers() -> frozenset[Any]:
    registry: Mapping[Any, Any] = getattr(weakref.finalize, "_registry", {})
    return frozenset(registry)


def _holds_finalizers(namespace: Mapping[str, Any]) -> bool:
    """Tell whether an object with a finalizer can be reached from the namespace.

    The search stops at ``_MOST`` objects or ``_DEEPEST`` levels; what is not searched counts as having one.
    """
    seen: set[int] = set()
    level = [value for name, value in namespace.items() if name not in _OF_THE_SHELL]
    for _ in range(_DEEPEST):
        level = [value for value in level if id(value) not in seen and not isinstance(value, _SHARED)]
        if not level:
            return False
        seen.update(map(id, level))
        if len(seen) > _MOST or any(map(_has_finalizer, level)):
            return True
        # The collector tracks only objects that can refer to others: arrays of numbers and strings end the search.
        level = [referent for referent in gc.get_referents(*level) if gc.is_tracked(referent)]
    return True


def _has_finalizer(value: Any) -> bool:
    """Tell whether a value's class has ``__del__`` or ``close``; a generator may be suspended inside a ``with``."""
    kind = type(value)
    return hasattr(kind, "__del__") or hasattr(kind, "close")
