"""Measure a command: wall time, CPU time of all its processes, and the load by other programs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.cgroups import ProcessGroup, kill_members, make_group

FIGURES = "figures.json"
"""File into which a command that times itself writes ``wall``, ``cpu`` and other figures; they take precedence."""

OUTPUT = "output.txt"
_LEFTOVER_TIMEOUT = 3.0
_TAIL = 1200


class BenchmarkFailed(Exception):
    """A command failed, or did not do its work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCommand:
    """A command that is measured.

    Parameters
    ----------
    argv : tuple of str
        The program, as a path, and its arguments.
    folder : Path
        Its working directory.
    environment : Mapping of str to str
        All of its environment variables.
    """

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeasurement:
    """The measurement of a single run of a command.

    Parameters
    ----------
    wall, cpu : float
        Seconds from start to exit; seconds of CPU of all its processes, including the ones that outlived it.
    foreign : float or None
        Cores that other programs kept busy meanwhile; None where that is unknown.
    left : int
        Number of processes that were still alive seconds after the command had ended; they were killed.
    figures : Mapping of str to float
        The figures that the command measured itself.
    """

    wall: float
    cpu: float
    foreign: float | None = None
    left: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return the measurement as a JSON document."""
        return asdict(self)


def measure(command: MeasuredCommand, group: Callable[[], ProcessGroup] = make_group) -> RunMeasurement:
    """Run `command` and return its measurement.

    Raises
    ------
    BenchmarkFailed
        Its exit code is not 0.
    """
    members = group()
    try:
        busy, start = _busy_seconds(), time.perf_counter()
        process = _start(command, members)
        members.wait(process)
        wall = time.perf_counter() - start
        left = _end_leftovers(members)
        cpu, whole = members.cpu(), time.perf_counter() - start
        foreign = None if busy is None else max(0.0, ((_busy_seconds() or 0.0) - busy - cpu) / whole)
    finally:
        kill_members(members)
        members.close()
    if process.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(command.argv)} exited with {process.returncode}:\n{tail(command.folder)}")
    figures = read_figures(command.folder)
    return RunMeasurement(
        wall=figures.get("wall", wall), cpu=figures.get("cpu", cpu), foreign=foreign, left=left, figures=figures
    )


def run(argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a command that is not measured and return its output.

    Raises
    ------
    BenchmarkFailed
        Its exit code is not 0.
    """
    done = subprocess.run(
        argv, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(argv)} exited with {done.returncode}:\n{text[-_TAIL:]}")
    return text


def output(folder: Path) -> str:
    """Return the output of the last measured command in `folder`."""
    return (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")


def tail(folder: Path) -> str:
    """Return the end of the output of the last measured command in `folder`."""
    return output(folder)[-_TAIL:]


def read_figures(folder: Path) -> dict[str, float]:
    """Return the figures that the command in `folder` measured itself."""
    path = folder / FIGURES
    return json.loads(path.read_text()) if path.exists() else {}


def _start(command: MeasuredCommand, group: ProcessGroup) -> subprocess.Popen[bytes]:
    with (command.folder / OUTPUT).open("wb") as file:
        return subprocess.Popen(
            command.argv,
            cwd=command.folder,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=group.enter,  # noqa: PLW1509 - this process has no threads
        )


def _end_leftovers(group: ProcessGroup) -> int:
    """Wait for processes that the command left running, then kill the rest, so that the next command starts cold."""
    end = time.monotonic() + _LEFTOVER_TIMEOUT
    while group.members() and time.monotonic() < end:
        time.sleep(0.005)
    left = kill_members(group)
    while group.members():
        time.sleep(0.005)
    return left


def _busy_seconds() -> float | None:
    """Return the seconds that all cores together were busy since the machine started."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft = map(int, fields[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
