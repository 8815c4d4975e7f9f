"""The kernels of other steps of the same run, those that have ended included.

fanotify reports a process id with each event. The parent of a process that has ended can no longer be looked up, so it
might be a child of this step; kernels of other steps are told apart by a file to which all kernels of a run append
their process ids.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os

from jupyter_pipelines.execution.kernel_side.tracing.process_sockets import is_foreign

_PRIVATE = "jp-"
"""Begins the name of the folder that the kernels of a run share."""
_FILE = "kernels"
_RESERVED = 1000
"""Margin: after a wrap, Linux starts again above 300, and processes may start while ids are compared."""


class OtherKernels:
    """Tells which processes are certainly no children of this kernel.

    Parameters
    ----------
    folder : str
        The folder with this kernel's sockets; its parent is shared by the kernels of the run.
    """

    def __init__(self, folder: str) -> None:
        shared = os.path.dirname(folder)
        self._file = os.path.join(shared, _FILE) if os.path.basename(shared).startswith(_PRIVATE) else ""
        self._foreign: dict[int, bool] = {}
        self._kernels: set[int] | None = None
        forks = _forks()
        if self._file and forks is not None:
            # One short append is atomic, so kernels that start at the same moment need no lock.
            with contextlib.suppress(OSError), open(self._file, "a", encoding="ascii") as file:
                file.write(f"{os.getpid()} {forks}\n")

    def forget(self) -> None:
        """Drop cached answers: a process id may belong to another process by now."""
        self._foreign.clear()
        self._kernels = None

    def is_foreign(self, process: int) -> bool:
        """Tell whether a process is certainly no child of this kernel."""
        known = self._foreign.get(process)  # another thread may forget it at any time
        if known is None:
            known = self._foreign[process] = is_foreign(process) or process in self._numbers()
        return known

    def _numbers(self) -> set[int]:
        """Return the process ids of the other kernels, without those that Linux may have reused since."""
        kernels = self._kernels
        if kernels is None:
            kernels, forks, last = set(), _forks(), _last_number()
            with contextlib.suppress(OSError, ValueError), open(self._file, encoding="ascii") as file:
                for line in file:
                    number, before = map(int, line.split())
                    # Ids are given out in order: none is reused before about pid_max processes or threads start.
                    if forks is not None and forks - before < last - _RESERVED and number != os.getpid():
                        kernels.add(number)
            self._kernels = kernels
        return kernels


def _forks() -> int | None:
    """Return the number of processes and threads started since boot; None where it is not counted."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/stat", "rb") as file:
        return int(file.read().partition(b"\nprocesses ")[2].split(maxsplit=1)[0])
    return None


def _last_number() -> int:
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        return int(file.read())
    return 0
