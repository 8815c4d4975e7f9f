"""Runs one command and says what it cost: wall time, CPU time of all that it started, and what else the machine did."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.groups import Group, kill, make_group

FIGURES = "figures.json"
"""A command that times a part of itself writes ``wall``, ``cpu`` and whatever else here; that counts then."""

OUTPUT = "output.txt"
_PATIENCE = 3.0
_TAIL = 1200


class BenchmarkFailed(Exception):
    """A command did not do what it is measured for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What is run.

    Parameters
    ----------
    argv : tuple of str
        The program, as a path, and its arguments.
    folder : Path
        Where it runs.
    environment : Mapping of str to str
        All of its environment.
    """

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one run of a command cost.

    Parameters
    ----------
    wall, cpu : float
        Seconds from start to exit; seconds of CPU of every process that it started, those included that outlived it.
    foreign : float or None
        Cores that others kept busy meanwhile; None where the machine does not tell.
    left : int
        Processes that were still there seconds after it had ended; they were killed.
    figures : Mapping of str to float
        What the command timed itself.
    """

    wall: float
    cpu: float
    foreign: float | None = None
    left: int = 0
    figures: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return it as JSON holds it."""
        return asdict(self)


def measure(command: Command, group: Callable[[], Group] = make_group) -> Measurement:
    """Run `command` and return what it cost.

    Raises
    ------
    BenchmarkFailed
        It exited with something else than 0.
    """
    members = group()
    try:
        busy, start = _busy(), time.perf_counter()
        process = _start(command, members)
        members.wait(process)
        wall = time.perf_counter() - start
        left = _let_go(members)
        cpu, whole = members.cpu(), time.perf_counter() - start
        foreign = None if busy is None else max(0.0, ((_busy() or 0.0) - busy - cpu) / whole)
    finally:
        kill(members)
        members.close()
    if process.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(command.argv)} exited with {process.returncode}:\n{tail(command.folder)}")
    figures = read_figures(command.folder)
    return Measurement(
        wall=figures.get("wall", wall), cpu=figures.get("cpu", cpu), foreign=foreign, left=left, figures=figures
    )


def run(argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run something that is not measured and return what it printed.

    Raises
    ------
    BenchmarkFailed
        It exited with something else than 0.
    """
    done = subprocess.run(
        argv, cwd=folder, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(argv)} exited with {done.returncode}:\n{text[-_TAIL:]}")
    return text


def output(folder: Path) -> str:
    """Return what the last measured command in `folder` printed."""
    return (folder / OUTPUT).read_text(encoding="utf-8", errors="replace")


def tail(folder: Path) -> str:
    """Return the end of it."""
    return output(folder)[-_TAIL:]


def read_figures(folder: Path) -> dict[str, float]:
    """Return what the command in `folder` timed itself, if it did."""
    path = folder / FIGURES
    return json.loads(path.read_text()) if path.exists() else {}


def _start(command: Command, group: Group) -> subprocess.Popen[bytes]:
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


def _let_go(group: Group) -> int:
    """Wait for what the command left running, then end it, so that the next one starts cold; return how many."""
    end = time.monotonic() + _PATIENCE
    while group.members() and time.monotonic() < end:
        time.sleep(0.005)
    left = kill(group)
    while group.members():
        time.sleep(0.005)
    return left


def _busy() -> float | None:
    """Return the seconds that all cores together were busy since the machine started."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    user, nice, system, _idle, _waiting, interrupts, soft = map(int, fields[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
