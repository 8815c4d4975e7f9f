"""All processes that a command starts, as a group: their CPU time, and the processes that are left over.

A command's grandchildren can outlive their parents (fork servers, daemons, pools). The times that the kernel reports to
the parent of a child leave them out, so the processes are counted as a group: by a control group where it can be
created, else by adopting all orphans.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import psutil

CGROUPS = Path("/sys/fs/cgroup")
_PR_SET_CHILD_SUBREAPER = 36


class ProcessGroup(Protocol):
    """The processes of one command.

    Attributes
    ----------
    accounting : str
        How their CPU time is counted, for readers of the results.
    """

    accounting: str

    def enter(self) -> None:
        """Join the group; the child does so before it executes the command, so that the group has all processes."""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the command itself."""

    def members(self) -> list[int]:
        """Return the ids of the processes that are alive."""

    def cpu(self) -> float:
        """Return the seconds of CPU that all of them took so far, the dead ones included."""

    def close(self) -> None:
        """Remove the group."""


class ControlGroup:
    """A control group of Linux, in a hierarchy that accounts for CPU time.

    Parameters
    ----------
    folder : Path
        The folder that is created for it.
    unified : bool
        Whether the hierarchy is of version 2.
    """

    def __init__(self, folder: Path, *, unified: bool) -> None:
        folder.mkdir()
        self.accounting = f"control group, version {2 if unified else 1}"
        self._folder = folder
        self._unified = unified

    def enter(self) -> None:
        """Join the group."""
        (self._folder / "cgroup.procs").write_text(str(os.getpid()))

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the command itself."""
        process.wait()

    def members(self) -> list[int]:
        """Return the ids of the processes that are alive."""
        return [int(line) for line in (self._folder / "cgroup.procs").read_text().split()]

    def cpu(self) -> float:
        """Return the seconds of CPU that all of them took so far."""
        if not self._unified:
            return int((self._folder / "cpuacct.usage").read_text()) / 1e9
        lines = (line.split() for line in (self._folder / "cpu.stat").read_text().splitlines())
        return int(dict(lines)["usage_usec"]) / 1e6

    def close(self) -> None:
        """Remove the group, which is empty now."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class AdoptedProcesses:
    """Children, and orphans that this process adopts; each is reaped, and the CPU times are added up.

    Where orphans cannot be adopted (outside Linux) their time is lost, and `accounting` says so.
    """

    def __init__(self) -> None:
        adopts = sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        self.accounting = "children and adopted orphans" if adopts else "children only: orphans are missing"
        self._seconds = 0.0

    def enter(self) -> None:
        """Do nothing: children belong to this process anyway."""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the command itself, and reap orphans meanwhile."""
        ended, status = 0, 0
        while ended != process.pid:
            ended, status = self._reap(0)
        process.returncode = os.waitstatus_to_exitcode(status)

    def members(self) -> list[int]:
        """Return the ids of the processes that are alive."""
        with contextlib.suppress(ChildProcessError):
            while self._reap(os.WNOHANG)[0]:
                pass
        return [process.pid for process in psutil.Process().children(recursive=True)]

    def cpu(self) -> float:
        """Return the seconds of CPU of the processes that have ended."""
        return self._seconds

    def close(self) -> None:
        """Do nothing: no group was created."""

    def _reap(self, options: int) -> tuple[int, int]:
        pid, status, usage = os.wait4(-1, options)
        self._seconds += usage.ru_utime + usage.ru_stime if pid else 0.0
        return pid, status


def make_group() -> ProcessGroup:
    """Create the best kind of group that this machine supports."""
    name = f"jupyter-pipelines-bench-{os.getpid()}"
    unified = (CGROUPS / "cgroup.controllers").exists()
    try:
        return ControlGroup((CGROUPS if unified else CGROUPS / "cpuacct") / name, unified=unified)
    except OSError:
        return AdoptedProcesses()


def kill_members(group: ProcessGroup) -> int:
    """Kill the processes of `group` that are left, and return their number."""
    members = group.members()
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(members)
