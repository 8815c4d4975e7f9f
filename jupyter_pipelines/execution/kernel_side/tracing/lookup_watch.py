"""Watch the files that a process opens before it connects to anything: the tables of hosts, and Python's sockets.

Whatever resolves the name of a host opens ``/etc/hosts`` or ``/etc/resolv.conf``, in any language. A child in Python
that can connect has opened ``socket.py``, or its compiled code.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from importlib.util import cache_from_source

from jupyter_pipelines.execution.kernel_side.tracing.folder_events import OpenedFiles

_HOSTS = ("/etc/hosts", "/etc/resolv.conf")


class LookupWatch:
    """Tells which processes looked up hosts, and which could connect."""

    def __init__(self) -> None:
        sockets = [os.path.realpath(socket.__file__)]
        with contextlib.suppress(NotImplementedError):
            sockets.append(cache_from_source(sockets[0]))
        self._sockets = frozenset(path for path in sockets if os.path.exists(path))
        self._files = OpenedFiles((*_HOSTS, *self._sockets))
        self._process = os.getpid()
        self.own = False
        self.children = False
        self.sockets = False

    @property
    def complete(self) -> bool:
        """Whether Python's sockets are watched: without that, nothing is known of children."""
        return bool(self._sockets) and self._sockets <= self._files.watched

    def read(self, is_foreign: Callable[[int], bool]) -> None:
        """Take note of what was opened.

        `own` says that this process looked up a host, `children` that a child may have done so, and `sockets` that a
        child may have loaded Python's sockets.

        Parameters
        ----------
        is_foreign : callable
            Tells whether a process is certainly no child of this process.
        """
        if os.getpid() != self._process:
            return
        for path, process in self._files.read():
            if process == self._process:
                self.own = self.own or path in _HOSTS
            elif process is None:
                self.sockets = self.sockets or path in self._sockets
            elif not is_foreign(process):
                self.children = self.children or path in _HOSTS
                self.sockets = self.sockets or path in self._sockets
