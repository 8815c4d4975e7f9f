"""Everything that a command starts, as one group: its CPU time, and who of it is left.

A command's grandchildren can outlive their parents (fork servers, daemons, pools). The times that the kernel hands to
whoever waits for a child leave them out, so the processes are counted as a group: by a control group where one can be
made, else by adopting every orphan.
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


class Group(Protocol):
    """The processes of one command.

    Attributes
    ----------
    how : str
        How they are counted, for readers of the results.
    """

    how: str

    def enter(self) -> None:
        """Join the group: the child calls it before the command, so that all it starts belongs to it."""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the command itself."""

    def members(self) -> list[int]:
        """Return the ids of the processes that are alive."""

    def cpu(self) -> float:
        """Return the seconds of CPU that all of them took so far, the dead ones included."""

    def close(self) -> None:
        """Leave nothing behind."""


class ControlGroup:
    """A control group of Linux, in a hierarchy that accounts for CPU time.

    Parameters
    ----------
    folder : Path
        The folder that is made for it.
    unified : bool
        Whether the hierarchy is of version 2.
    """

    def __init__(self, folder: Path, *, unified: bool) -> None:
        folder.mkdir()
        self.how = f"control group, version {2 if unified else 1}"
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
        """Remove the group; it is empty by now."""
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class Adopted:
    """Children, and orphans that this process adopts; each is waited for, and its time added up.

    Where orphans cannot be adopted (outside Linux) their time is lost, and `how` says so.
    """

    def __init__(self) -> None:
        adopts = sys.platform == "linux" and ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        self.how = "children and adopted orphans" if adopts else "children only: orphans are missing"
        self._seconds = 0.0

    def enter(self) -> None:
        """Nothing has to be joined."""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for the command itself, and on the way for orphans."""
        ended, status = 0, 0
        while ended != process.pid:
            ended, status = self._reap(0)
        process.returncode = os.waitstatus_to_exitcode(status)

    def members(self) -> list[int]:
        """Return the ids of the processes that are alive."""
        with contextlib.suppress(ChildProcessError):
            while self._reap(os.WNOHANG)[0]:
                pass
        return [one.pid for one in psutil.Process().children(recursive=True)]

    def cpu(self) -> float:
        """Return the seconds of CPU of those that have ended."""
        return self._seconds

    def close(self) -> None:
        """Nothing was made."""

    def _reap(self, options: int) -> tuple[int, int]:
        pid, status, usage = os.wait4(-1, options)
        self._seconds += usage.ru_utime + usage.ru_stime if pid else 0.0
        return pid, status


def make_group() -> Group:
    """Return the best kind of group that this machine has."""
    name = f"jupyter-pipelines-bench-{os.getpid()}"
    unified = (CGROUPS / "cgroup.controllers").exists()
    try:
        return ControlGroup((CGROUPS if unified else CGROUPS / "cpuacct") / name, unified=unified)
    except OSError:
        return Adopted()


def kill(group: Group) -> int:
    """End every process of `group` that is left, and return how many there were."""
    members = group.members()
    for pid in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(members)
