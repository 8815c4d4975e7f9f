"""Watch what a process opens before it connects or starts programs: the tables of hosts, and modules of Python.

Whatever resolves the name of a host opens ``/etc/hosts`` or ``/etc/resolv.conf``, in any language. A child in Python
that can connect has opened ``socket.py``, or its compiled code; if it can start programs, ``subprocess.py``.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import socket
import subprocess
from collections.abc import Callable
from importlib.util import cache_from_source

from jupyter_pipelines.execution.kernel_side.tracing.folder_events import OpenedFiles

_CHECK_MS = 500
"""Milliseconds after which the thread that follows looks whether it is to end."""
_HOSTS = ("/etc/hosts", "/etc/resolv.conf")


class LookupWatch:
    """Tells which processes looked up hosts, and which children in Python could do more."""

    def __init__(self) -> None:
        modules = [os.path.realpath(str(module.__file__)) for module in (socket, subprocess)]
        with contextlib.suppress(NotImplementedError):
            modules += map(cache_from_source, list(modules))
        self._modules = frozenset(path for path in modules if os.path.exists(path))
        self._files = OpenedFiles((*_HOSTS, *self._modules))
        self._process = os.getpid()
        self._reading = _thread.allocate_lock()
        self._ended = False
        self.own = False
        self.children = False
        self.modules = False

    @property
    def complete(self) -> bool:
        """Whether these modules are watched: without that, nothing is known of children."""
        return bool(self._modules) and self._modules <= self._files.watched

    def read(self, is_foreign: Callable[[int], bool]) -> None:
        """Take note of what was opened.

        `own` says that this process looked up a host, `children` that a child may have done so, and `modules` that a
        child may have loaded what connects or starts programs.

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
                    self.own = self.own or path in _HOSTS
                elif process is None:
                    self.modules = self.modules or path in self._modules
                elif not is_foreign(process):
                    self.children = self.children or path in _HOSTS
                    self.modules = self.modules or path in self._modules

    def follow(self, is_foreign: Callable[[int], bool], begin: Callable[[], None]) -> None:
        """Take note of what is opened as it happens, in a thread, while it can be told whose child a process is.

        Parameters
        ----------
        is_foreign : callable
            Tells whether a process is certainly no child of this process.
        begin : callable
            Called first, in the thread.
        """
        self.read(lambda _: True)  # until now, whatever others opened was not a child's doing
        if self._files.descriptor >= 0:
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
        """Take note of nothing more."""
        self._ended = True
