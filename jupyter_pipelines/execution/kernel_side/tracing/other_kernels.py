"""The kernels of other steps of the same run, those that have ended included.

What the system reports of files comes with the number of a process. Of a process that has ended, nothing tells any more
who started it; a kernel of another step is known by the file in which all kernels of a run leave their numbers.

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
"""Numbers that the system does not give out again once it has reached the last."""


class OtherKernels:
    """Tells which processes are certainly no children of this kernel.

    Parameters
    ----------
    folder : str
        The folder of this kernel; that of the run is the folder it is in.
    """

    def __init__(self, folder: str) -> None:
        shared = os.path.dirname(folder)
        self._file = os.path.join(shared, _FILE) if os.path.basename(shared).startswith(_PRIVATE) else ""
        self._foreign: dict[int, bool] = {}
        self._kernels: set[int] | None = None
        forks = _forks()
        if self._file and forks is not None:
            with contextlib.suppress(OSError), open(self._file, "a", encoding="ascii") as file:
                file.write(f"{os.getpid()} {forks}\n")

    def forget(self) -> None:
        """Look again: processes may have begun and ended."""
        self._foreign.clear()
        self._kernels = None

    def is_foreign(self, process: int) -> bool:
        """Tell whether a process is certainly no child of this kernel."""
        known = self._foreign.get(process)  # another thread may forget it at any time
        if known is None:
            known = self._foreign[process] = is_foreign(process) or process in self._numbers()
        return known

    def _numbers(self) -> set[int]:
        """Return the numbers of the other kernels, without those that the system may have given to a process since."""
        kernels = self._kernels
        if kernels is None:
            kernels, forks, last = set(), _forks(), _last_number()
            with contextlib.suppress(OSError, ValueError), open(self._file, encoding="ascii") as file:
                for line in file:
                    number, before = map(int, line.split())
                    if forks is not None and forks - before < last - _RESERVED and number != os.getpid():
                        kernels.add(number)
            self._kernels = kernels
        return kernels


def _forks() -> int | None:
    """Return how many processes and threads the system has made since it started; None where it does not count them."""
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/stat", "rb") as file:
        return int(file.read().partition(b"\nprocesses ")[2].split(maxsplit=1)[0])
    return None


def _last_number() -> int:
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        return int(file.read())
    return 0
