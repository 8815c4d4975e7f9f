"""Who takes part in a workload: what is prepared, what is timed, and how it is checked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import OURS, ROOT, program, python, variables, version
from benchmarks.measuring import FIGURES, Command, Measurement, measure, output, run
from benchmarks.notebooks import NOTEBOOK, write_ours
from benchmarks.shapes import Shape
from benchmarks.tools import INSIDE, Tool


def _nothing(folder: Path) -> None:
    """Nothing has to be prepared, or checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One command that is timed in a workload.

    Parameters
    ----------
    name : str
        What it is called in results; ours is called ``ours``.
    environment : str
        Whose environment it runs in.
    argv : tuple of str
        The command.
    prepare : callable
        Fills an empty folder.
    check : callable
        Raises when the command has not done in the folder what it is timed for.
    keeps : bool
        The same folder serves every round: the command leaves it as it was.
    package : str
        What is measured, as it is called among packages; by default the tool of the environment.
    """

    name: str
    environment: str
    argv: tuple[str, ...]
    prepare: Callable[[Path], None] = _nothing
    check: Callable[[Path], None] = _nothing
    keeps: bool = False
    package: str = ""

    @property
    def version(self) -> str:
        """The package that is measured, and its version."""
        return version(self.environment, self.package)

    def time(self, folder: Path) -> Measurement:
        """Run the command once in `folder` and return what it cost, after it was checked.

        Raises
        ------
        BenchmarkFailed
            It failed, or has not done what it is timed for.
        """
        (folder / FIGURES).unlink(missing_ok=True)
        command = Command(argv=self.argv, folder=folder, environment=variables(self.environment))
        found = measure(command)
        self.check(folder)
        return found


@contextmanager
def folders() -> Iterator[Callable[[Entrant], Path]]:
    """Return what gives an entrant its folder: always a new one, or the one that it keeps; all go in the end."""
    root = Path(tempfile.mkdtemp(prefix="jp-bench-"))
    kept: dict[str, Path] = {}

    def folder(entrant: Entrant) -> Path:
        if entrant.name in kept:
            return kept[entrant.name]
        made = Path(tempfile.mkdtemp(dir=root))
        entrant.prepare(made)
        if entrant.keeps:
            kept[entrant.name] = made
        else:
            _empty_but(root, {made, *kept.values()})
        return made

    try:
        yield folder
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _empty_but(root: Path, spared: set[Path]) -> None:
    for path in root.iterdir():
        if path not in spared:
            shutil.rmtree(path)


def cold(tool: Tool, shape: Shape) -> Entrant:
    """Return `tool` with nothing computed yet."""
    return Entrant(
        name=tool.name,
        environment=tool.environment,
        argv=tool.argv(),
        prepare=lambda folder: tool.write(folder, shape),
        check=lambda folder: tool.check(folder, shape),
    )


def idle(tool: Tool, shape: Shape) -> Entrant:
    """Return `tool` with everything computed, so that it finds nothing to do."""
    return Entrant(
        name=tool.name,
        environment=tool.environment,
        argv=tool.argv(),
        prepare=_settled(tool, shape),
        check=lambda folder: tool.check_idle(output(folder)),
        keeps=True,
    )


def status(tool: Tool, shape: Shape, *arguments: str) -> Entrant:
    """Return the command with which `tool` says what would run, with everything computed."""
    return Entrant(
        name=f"{tool.name} {arguments[-1]}",
        environment=tool.environment,
        argv=(program(tool.environment, tool.environment), *arguments),
        prepare=_settled(tool, shape),
        keeps=True,
    )


def quickstart() -> Entrant:
    """Return ``jupyter-pipelines plan`` on the example notebook, with its results stored."""

    def prepare(folder: Path) -> None:
        (folder / "pyproject.toml").write_text("", encoding="utf-8")
        for name in ("quickstart.ipynb", "tumours.py"):
            shutil.copy(ROOT / "notebooks" / name, folder)
        run([command, "run", "quickstart.ipynb"], folder, variables(OURS))

    command = program(OURS, "jupyter-pipelines")
    argv = (command, "plan", "quickstart.ipynb")
    return Entrant(name=OURS, environment=OURS, argv=argv, prepare=prepare, keeps=True)


def live(shape: Shape) -> Entrant:
    """Return ``%pipeline run`` in a running kernel, with everything computed."""
    return Entrant(
        name=OURS,
        environment=OURS,
        argv=_inside("live_kernel.py", NOTEBOOK),
        prepare=_settled_ours(shape),
        keeps=True,
    )


def artifact(name: str, kind: str, size: int) -> Entrant:
    """Return a value of `kind` saved by one process and loaded by another, by us or by joblib."""
    package = "" if name == OURS else name
    argv = _inside("artifacts.py", name, kind, str(size))
    return Entrant(name=name, environment=OURS, argv=argv, package=package)


def forks(name: str, modules: str, count: int) -> Entrant:
    """Return bare children of a process that has imported `modules`: they end at once."""
    return Entrant(name=name, environment=OURS, argv=_inside("floor.py", modules, str(count)))


def _settled(tool: Tool, shape: Shape) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        tool.write(folder, shape)
        tool.settle(folder, shape)

    return prepare


def _settled_ours(shape: Shape) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        write_ours(folder, shape)
        run(_inside("ours_settle.py", NOTEBOOK), folder, variables(OURS))

    return prepare


def _inside(script: str, *arguments: str) -> tuple[str, ...]:
    return (str(python(OURS)), str(INSIDE / script), *arguments)
