"""Watch the files that a process opens before it connects or starts programs: host tables, and modules of Python.

The C library's resolver opens ``/etc/hosts`` or ``/etc/resolv.conf``, whatever the language. A Python child that can
connect has opened ``socket.py`` or its bytecode; one that can start programs, ``subprocess.py``.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import select
import socket
import subprocess
from collections.abc import Callable
from importlib.util import cache_from_source

from jupyter_pipelines.execution.kernel_side.tracing.file_marks import status_of
from jupyter_pipelines.execution.kernel_side.tracing.folder_events import OpenedFiles

_CHECK_MS = 500
"""Milliseconds between two checks of the reading thread whether it is to end."""
_HOSTS = ("/etc/hosts", "/etc/resolv.conf")


@functools.cache
def module_files() -> tuple[str, ...]:
    """Return the files of the modules that Python loads to connect or to start programs; not all need exist."""
    modules = [os.path.realpath(str(module.__file__)) for module in (socket, subprocess)]
    with contextlib.suppress(NotImplementedError):
        modules += map(cache_from_source, list(modules))
    return tuple(modules)


class LookupWatch:
    """Tells whether this process or children looked up hosts, and whether Python children loaded such modules."""

    def __init__(self) -> None:
        # A child of an earlier step may have made compiled copies since: they are read instead of the sources then.
        self._modules = frozenset(path for path in module_files() if status_of(path) is not None)
        self._hosts = frozenset(map(os.path.realpath, _HOSTS))
        self._files = OpenedFiles((*self._hosts, *self._modules))
        self._process = os.getpid()
        self._reading = _thread.allocate_lock()
        self._ended = False
        self.own = False
        self.children = False
        self.modules = False

    @property
    def complete(self) -> bool:
        """Whether the modules are watched; otherwise nothing can be said about children."""
        return bool(self._modules) and self._modules <= self._files.watched

    def read(self, is_foreign: Callable[[int], bool]) -> None:
        """Read the pending events and set the three flags.

        `own`: this process looked up a host; `children`: a child may have done so; `modules`: a child may have loaded
        ``socket`` or ``subprocess``.

        Parameters
        ----------
        is_foreign : callable
            Tells whether a process is certainly no child of this process.
        """
        if os.getpid() != self._process:
            return
        with self._reading:
            for path, process in self._files.read():
                if process == self._process:
                    self.own = self.own or path in self._hosts
                elif process is None:
                    self.modules = self.modules or path in self._modules
                elif not is_foreign(process):
                    self.children = self.children or path in self._hosts
                    self.modules = self.modules or path in self._modules

    def follow(self, is_foreign: Callable[[int], bool], begin: Callable[[], None]) -> None:
        """Read events in a thread as they happen: the parent of a process can be looked up only while it lives.

        Parameters
        ----------
        is_foreign : callable
            Tells whether a process is certainly no child of this process.
        begin : callable
            Called first, in the thread.
        """
        self.read(lambda _: True)  # events so far cannot come from a child
        if self._files.descriptor >= 0:
            # `_thread`, not `threading`: the thread stays out of `threading.enumerate()`, so neither user code nor the
            # search for pending work counts it.
            _thread.start_new_thread(self._follow, (is_foreign, begin))

    def _follow(self, is_foreign: Callable[[int], bool], begin: Callable[[], None]) -> None:
        begin()
        poller = select.poll()
        poller.register(self._files.descriptor, select.POLLIN)
        with contextlib.suppress(OSError):
            while not self._ended:
                if poller.poll(_CHECK_MS):
                    self.read(is_foreign)

    def end(self) -> None:
        """Let the reading thread end."""
        self._ended = True
