"""The competitors in a workload: how each is prepared, timed and checked."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import OURS, ROOT, program, python, variables, version
from benchmarks.measurement import FIGURES, MeasuredCommand, RunMeasurement, measure, output, run
from benchmarks.notebooks import NOTEBOOK, write_ours
from benchmarks.tools import PROGRAMS, BenchmarkTool
from benchmarks.workload_data import PipelineShape


def _no_action(folder: Path) -> None:
    """Do nothing: no preparation or check is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompetitorSpec:
    """A command that is timed in a workload.

    Parameters
    ----------
    name : str
        Its name in results; our own tool is called ``ours``.
    environment : str
        The environment in which it runs.
    argv : tuple of str
        The command.
    prepare : callable
        Fills an empty folder.
    check : callable
        Raises when the command has not done its work in the folder.
    keeps : bool
        All rounds use the same folder, because the command does not change it.
    package : str
        The package that is measured; by default the tool of the environment.
    """

    name: str
    environment: str
    argv: tuple[str, ...]
    prepare: Callable[[Path], None] = _no_action
    check: Callable[[Path], None] = _no_action
    keeps_folder: bool = False
    package: str = ""

    @property
    def version(self) -> str:
        """The package that is measured, and its version."""
        return version(self.environment, self.package)

    def time(self, folder: Path) -> RunMeasurement:
        """Run the command in `folder`, check its work, and return the measurement.

        Raises
        ------
        BenchmarkFailed
            It failed, or has not done its work.
        """
        (folder / FIGURES).unlink(missing_ok=True)
        command = MeasuredCommand(argv=self.argv, folder=folder, environment=variables(self.environment))
        measurement = measure(command)
        self.check(folder)
        return measurement


@contextmanager
def folders() -> Iterator[Callable[[CompetitorSpec], Path]]:
    """Return a function that returns the folder of a competitor, a new one per round unless it is kept."""
    root = Path(tempfile.mkdtemp(prefix="jp-bench-"))
    kept: dict[str, Path] = {}

    def folder(competitor: CompetitorSpec) -> Path:
        if competitor.name in kept:
            return kept[competitor.name]
        made = Path(tempfile.mkdtemp(dir=root))
        competitor.prepare(made)
        if competitor.keeps_folder:
            kept[competitor.name] = made
        else:
            _remove_all_but(root, {made, *kept.values()})
        return made

    try:
        yield folder
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _remove_all_but(root: Path, spared: set[Path]) -> None:
    for path in root.iterdir():
        if path not in spared:
            shutil.rmtree(path)


def cold(tool: BenchmarkTool, shape: PipelineShape) -> CompetitorSpec:
    """Return `tool` with nothing computed yet."""
    return CompetitorSpec(
        name=tool.name,
        environment=tool.environment,
        argv=tool.argv(),
        prepare=lambda folder: tool.write(folder, shape),
        check=lambda folder: tool.check(folder, shape),
    )


def idle(tool: BenchmarkTool, shape: PipelineShape) -> CompetitorSpec:
    """Return `tool` with everything computed, so that nothing has to run."""
    return CompetitorSpec(
        name=tool.name,
        environment=tool.environment,
        argv=tool.argv(),
        prepare=_marked_done(tool, shape),
        check=lambda folder: tool.check_idle(output(folder)),
        keeps_folder=True,
    )


def status(tool: BenchmarkTool, shape: PipelineShape, *arguments: str) -> CompetitorSpec:
    """Return the command of `tool` that prints what would run, with everything computed."""
    return CompetitorSpec(
        name=f"{tool.name} {arguments[-1]}",
        environment=tool.environment,
        argv=(program(tool.environment, tool.environment), *arguments),
        prepare=_marked_done(tool, shape),
        keeps_folder=True,
    )


def quickstart() -> CompetitorSpec:
    """Return ``jupyter-pipelines plan`` on the example notebook, with its results stored."""

    def prepare(folder: Path) -> None:
        (folder / "pyproject.toml").write_text("", encoding="utf-8")
        for name in ("quickstart.ipynb", "tumours.py"):
            shutil.copy(ROOT / "notebooks" / name, folder)
        run([command, "run", "quickstart.ipynb"], folder, variables(OURS))

    command = program(OURS, "jupyter-pipelines")
    argv = (command, "plan", "quickstart.ipynb")
    return CompetitorSpec(name=OURS, environment=OURS, argv=argv, prepare=prepare, keeps_folder=True)


def live(shape: PipelineShape) -> CompetitorSpec:
    """Return ``%pipeline run`` in a running kernel, with everything computed."""
    return CompetitorSpec(
        name=OURS,
        environment=OURS,
        argv=_program_command("live_kernel.py", NOTEBOOK),
        prepare=_ours_marked_done(shape),
        keeps_folder=True,
    )


def artifact(name: str, kind: str, size: int) -> CompetitorSpec:
    """Return the transfer of a value of `kind` between two processes, by our tool or by joblib."""
    package = "" if name == OURS else name
    argv = _program_command("artifact_transfer.py", name, kind, str(size))
    return CompetitorSpec(name=name, environment=OURS, argv=argv, package=package)


def forks(name: str, modules: str, count: int) -> CompetitorSpec:
    """Return a process that has imported `modules` and forks children that end at once."""
    return CompetitorSpec(name=name, environment=OURS, argv=_program_command("bare_fork.py", modules, str(count)))


def _marked_done(tool: BenchmarkTool, shape: PipelineShape) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        tool.write(folder, shape)
        tool.mark_done(folder, shape)

    return prepare


def _ours_marked_done(shape: PipelineShape) -> Callable[[Path], None]:
    def prepare(folder: Path) -> None:
        write_ours(folder, shape)
        run(_program_command("ours_mark_done.py", NOTEBOOK), folder, variables(OURS))

    return prepare


def _program_command(script: str, *arguments: str) -> tuple[str, ...]:
    return (str(python(OURS)), str(PROGRAMS / script), *arguments)
