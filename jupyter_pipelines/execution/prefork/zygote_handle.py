"""Handle of a zygote in the process that owns it: the zygote, with all it has forked, ends with its owner."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from jupyter_pipelines.execution.prefork import socket_messages
from jupyter_pipelines.execution.prefork.fork_safety import QUIET

VARIABLE = "JUPYTER_PIPELINES_WARM"
"""Environment variable: ``0`` starts processes the usual way, ``ahead`` too, but kernels before they are needed."""

_MODULE = "jupyter_pipelines.execution.prefork.zygote"
_INLINE = "module://matplotlib_inline.backend_inline"
_PATIENCE = 7.0
_BACKLOG = 128


def can_fork(environment: Mapping[str, str]) -> bool:
    """Tell whether processes are to be forked: the system supports it, and :data:`VARIABLE` does not forbid it."""
    setting = environment.get(VARIABLE, "1")
    return sys.platform.startswith("linux") and hasattr(socket, "send_fds") and setting not in ("0", "ahead")


def is_ahead(environment: Mapping[str, str]) -> bool:
    """Tell whether kernels are started before they are needed."""
    return environment.get(VARIABLE, "1") != "0"


class ZygoteHandle:
    """Starts and ends a zygote.

    Parameters
    ----------
    environment : Mapping of str to str
        The environment of the forked processes; imports see it.
    arguments : sequence of str
        Command-line arguments of kernels; ``{folder}`` stands for the private folder of each kernel.
    kinds : sequence of str
        Kinds of processes that will be requested: their branches are started at once.
    """

    def __init__(self, environment: Mapping[str, str], arguments: Sequence[str], kinds: Sequence[str]) -> None:
        self.environment = dict(environment)
        self._owner = os.getpid()
        self.folder = Path(tempfile.mkdtemp(prefix="jp-", dir=_socket_folder()))
        self.path = str(self.folder / "z")
        self._errors = (self.folder / "errors").open("w+b")
        mine, theirs = socket.socketpair()
        self._link = mine
        with socket.socket(socket.AF_UNIX) as listener, theirs:
            listener.bind(self.path)
            listener.listen(_BACKLOG)
            # Started afresh, as this process may have threads. Its stdin is the link to the owner: when that is
            # closed, also by a crash of the owner, the zygote ends.
            self._process = subprocess.Popen(
                [sys.executable, "-m", _MODULE, str(listener.fileno())],
                stdin=theirs.fileno(),
                stdout=self._errors,
                stderr=self._errors,
                pass_fds=[listener.fileno()],
                cwd=self.folder,
                env={"MPLBACKEND": _INLINE, **self.environment, **QUIET},
                start_new_session=True,
            )
        settings = {"environment": self.environment, "arguments": list(arguments), "kinds": list(kinds)}
        with contextlib.suppress(OSError):  # it has ended; requests are refused
            socket_messages.send(mine, settings | {"folder": str(self.folder)})

    def lives(self) -> bool:
        """Tell whether the root process runs."""
        return self._process.poll() is None

    def complaints(self) -> str:
        """Return the text that the zygote wrote to its standard error."""
        return (self.folder / "errors").read_text("utf-8", "replace")

    def close(self) -> None:
        """End the zygote with all that it has forked; in a forked child of the owner, only close the connection."""
        self._link.close()
        if os.getpid() != self._owner:
            return
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _socket_folder() -> str | None:
    """Return a folder in which paths are short enough for sockets; None for the default folder."""
    # Paths of Unix sockets have at most 107 bytes; the folders and names below take the rest.
    usual = tempfile.gettempdir()
    return "/tmp" if len(os.fsencode(usual)) > 40 and Path("/tmp").is_dir() else None  # noqa: S108 - private folders in it
