"""Log which environment variables are read, with the values they had before the step changed any of them.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing import asking_frames
from jupyter_pipelines.pipeline.changing_variables import PERSONAL, READ_BY_PYTHON, changes_by_itself

_ALWAYS = ("TZ", "LC_ALL", "LC_COLLATE", "LC_NUMERIC", "LC_TIME", *READ_BY_PYTHON)
"""Variables that the C library and Python itself read; they always count."""
_READ_BY_PACKAGES = {"matplotlib": ("MPLBACKEND",)}
"""Variables that packages read when they are imported, perhaps before the step, and whose names may change by
themselves; they count for all steps that have loaded the package."""


class EnvironmentLog:
    """The environment variables that were read.

    Parameters
    ----------
    is_own_code : callable
        Takes the file name of a frame and tells whether it is the user's own code.
    report : callable
        Called with each variable that is read for the first time, and its value; with an empty name when the names of
        all variables are read. A forked process reports to its parent in this way.

    Attributes
    ----------
    names_asked : bool
        The names of all variables were read.
    """

    def __init__(self, is_own_code: Callable[[str], bool], report: Callable[[str, str | None], None]) -> None:
        self._report = report
        self._is_own_code = is_own_code
        self._first: dict[str, str | None] = {}
        self._set: set[str] = set()
        self._local = threading.local()
        self.noting = self.names_asked = False

    def attach(self) -> None:
        """Wrap the access methods of `os.environ`."""
        # On the class: special methods are looked up there, and `os.environb` is covered, too.
        kind: Any = type(os.environ)
        get, put, drop, names = kind.__getitem__, kind.__setitem__, kind.__delitem__, kind.__iter__

        def getitem(environ: Any, name: Any) -> Any:
            __tracebackhide__ = True
            if self.noting:
                self._note(environ, name)
            return get(environ, name)

        def setitem(environ: Any, name: Any, value: Any) -> None:
            __tracebackhide__ = True
            if self.noting:
                self._set.add(_text(name))
            put(environ, name, value)

        def delitem(environ: Any, name: Any) -> None:
            __tracebackhide__ = True
            if self.noting:
                self._set.add(_text(name))
            drop(environ, name)

        def iterate(environ: Any) -> Iterator[Any]:
            if self.noting and asking_frames.is_copy_for_program(_asking_frame(), self._is_own_code):
                return self._copied(list(names(environ)))
            if self.noting and not getattr(self._local, "copying", False):
                self._report("", None)
                self.names_asked = True
            return iter(names(environ))

        kind.__getitem__, kind.__setitem__, kind.__delitem__, kind.__iter__ = getitem, setitem, delitem, iterate

    def variables(self) -> dict[str, str | None]:
        """Return the variables that were read, with their first values; None for a variable that was not set."""
        noting, self.noting = self.noting, False
        loaded = [name for package, names in _READ_BY_PACKAGES.items() if package in sys.modules for name in names]
        always = {name: os.environ.get(name) for name in (*_ALWAYS, *loaded) if name not in self._set}
        self.noting = noting
        return always | self._first

    def changed_names(self) -> list[str]:
        """Return the variables that the step set or removed itself."""
        return sorted(self._set)

    def note_of_child(self, name: str, value: str | None) -> None:
        """Record a variable that a forked process has read; with an empty name, that it read all names."""
        if name:
            self._first.setdefault(name, value)
        else:
            self.names_asked = True

    def _note(self, environ: Any, name: Any) -> None:
        try:
            text = _text(name)
            if text in self._first or text in self._set or getattr(self._local, "copying", False):
                return
            special = changes_by_itself(text) or text in PERSONAL
            # Libraries read HOME, PATH and the like only to find their files: it is no dependency of the result.
            if special and not asking_frames.asks_for_itself(_asking_frame(), self._is_own_code):
                return
            value = environ._data.get(environ.encodekey(name))  # noqa: SLF001 - reading it would call this again
            self._first[text] = None if value is None else os.fsdecode(value)
            self._report(text, self._first[text])
        except Exception:  # noqa: BLE001 - what is raised here would be raised where the notebook reads a variable
            return

    def _copied(self, names: list[Any]) -> Iterator[Any]:
        """Yield the names of all variables to a library that copies the environment for a program it starts."""
        # The copy then reads each value by `__getitem__`; the flag keeps these reads from being logged.
        self._local.copying = True
        try:
            yield from names
        finally:
            self._local.copying = False


def _asking_frame() -> Any:
    frame: Any = sys._getframe(2)  # noqa: SLF001
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame


def _text(name: Any) -> str:
    return os.fsdecode(name) if isinstance(name, bytes) else str(name)
