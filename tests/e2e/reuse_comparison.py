"""Run a project of reading steps before and after its edits, and once more against a fresh store; compare.

``python -m tests.e2e.reuse_comparison SECONDS FOLDER [SEED]`` does so with random projects. What fails is left in
FOLDER as a project that can be run by hand.
"""

from __future__ import annotations

import contextlib
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.e2e.notebook_project import CommandResult, NotebookProject
from tests.e2e.reuse_projects import HARMLESS, ReadingStep, edit_files, reading_projects, write_files

MOST_STEPS = 12


@dataclass
class ReuseFigures:
    """What was tried.

    Attributes
    ----------
    needless : Counter
        Steps that ran again though their edit is harmless and the value is the same, by what they are.
    """

    projects: int = 0
    edits: int = 0
    kept: int = 0
    needless: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.projects} projects, {self.edits} edits; {self.kept} steps were reused after their edit; "
            f"{self.needless.total()} harmless edits made a step run"
        )


def compare(folder: Path, steps: Sequence[ReadingStep], figures: ReuseFigures, environment: Mapping[str, str]) -> None:
    """Assert that steps give after their edits what a fresh store gives, and after an undo what they gave before.

    Parameters
    ----------
    folder : Path
        A folder that is there; all is written below it.
    steps : sequence of ReadingStep
        The steps of the project.
    figures : ReuseFigures
        Counts what is tried.
    environment : Mapping of str to str
        Variables of all runs.
    """
    book = NotebookProject(folder / "project", environment=dict(environment))
    lay_out(book, steps)
    shutil.copytree(book.folder, folder / "original", symlinks=True)
    before = _run(book, "store")
    edit(book, steps)
    after, fresh = _run(book, "store"), _run(book, "fresh")
    figures.projects += 1
    figures.edits += len(steps)
    for step in steps:
        _compare_step(step, (before, after, fresh), figures)
    shutil.rmtree(book.folder)
    shutil.copytree(folder / "original", book.folder, symlinks=True)
    book.environment = dict(environment)
    for step in steps:
        book.environment |= step.environment
    undone = _run(book, "store")
    for step in steps:
        reason = undone.steps("reason")[step.name]
        assert _values(undone)[step.name] == _values(before)[step.name], f"{step.title}, undone: {reason}"


def _compare_step(
    step: ReadingStep, results: tuple[CommandResult, CommandResult, CommandResult], figures: ReuseFigures
) -> None:
    before, after, fresh = (_values(result)[step.name] for result in results)
    decision, reason = (results[1].steps(about)[step.name] for about in ("decision", "reason"))
    assert after == fresh, f"{step.title}: {decision}, {reason}"
    if decision == "reuse":
        figures.kept += 1
    elif step.kind in HARMLESS and before == after is not None:
        figures.needless[f"{step.title}: {reason['code']}, {reason['text']}"] += 1


def edit(book: NotebookProject, steps: Sequence[ReadingStep]) -> None:
    """Edit the files, the cells and the variables of a project."""
    for step in steps:
        edit_files(book.folder, step.edits)
        for name, value in step.edited_environment.items():
            book.environment.pop(name, None)
            book.environment |= {name: value} if value is not None else {}
    write_notebook(book, [step.edited_cells for step in steps])


def lay_out(book: NotebookProject, steps: Sequence[ReadingStep]) -> None:
    """Write a project as it is before the edits."""
    book.folder.mkdir(parents=True)
    (book.folder / "pyproject.toml").touch()
    write_files(book.folder, steps)
    write_notebook(book, [step.cells for step in steps])
    for step in steps:
        book.environment |= step.environment


def write_notebook(book: NotebookProject, cells: Iterable[Sequence[str]]) -> None:
    """Write the cells of steps; there is but one cell of parameters."""
    texts = [text for several in cells for text in several]
    parameters = [text.removeprefix("%%params") for text in texts if text.startswith("%%params")]
    book.write(
        *(["%%params" + "".join(parameters)] if parameters else []),
        "import glob, json, os, pathlib",
        *(text for text in texts if not text.startswith("%%params")),
    )


def _run(book: NotebookProject, store: str) -> CommandResult:
    result = book.run("--continue", "--jobs", "1", "--store", str(book.folder.parent / store))
    assert '"steps"' in result.out, result.out + result.err
    return result


def _values(result: CommandResult) -> dict[str, Any]:
    """Return what each step gave; None where it failed."""
    return {
        name: {output: about["digest"] for output, about in outputs.items()} or None
        for name, outputs in result.steps("outputs").items()
    }


def try_for(seconds: float, kept: Path, seed: int, figures: ReuseFigures) -> None:
    """Compare random projects until the time is over; keep a step that fails without the others.

    Parameters
    ----------
    seconds : float
        How long new projects are begun.
    kept : Path
        Gets the project that fails, to be run by hand.
    seed : int
        Says which projects come.
    figures : ReuseFigures
        Counts what is tried.
    """
    until = time.monotonic() + seconds

    @hypothesis.seed(seed)
    @settings(
        max_examples=10_000,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(reading_projects(MOST_STEPS))
    def all_fresh(steps: list[ReadingStep]) -> None:
        if time.monotonic() < until and not kept.exists():
            try:
                _compare_apart(steps, figures)
            except AssertionError:
                keep(kept, _smallest(steps))
                raise

    all_fresh()


def _compare_apart(steps: Sequence[ReadingStep], figures: ReuseFigures) -> None:
    with compared_folder() as folder:
        compare(folder, steps, figures, isolated(folder))


def _smallest(steps: Sequence[ReadingStep]) -> Sequence[ReadingStep]:
    """Return a single step that fails without the others; without such a step, all of them."""
    for step in steps:
        try:
            _compare_apart([step], ReuseFigures())
        except AssertionError:
            return [step]
    return steps


def keep(folder: Path, steps: Sequence[ReadingStep]) -> None:
    """Write a project with a script that edits it."""
    shutil.rmtree(folder, ignore_errors=True)
    book = NotebookProject(folder / "project")
    lay_out(book, steps)
    (folder / "steps.pickle").write_bytes(pickle.dumps(list(steps)))
    variables = " ".join(f"{name}={value}" for name, value in book.environment.items())
    edited = {name: value for step in steps for name, value in step.edited_environment.items()}
    lines = [
        *(step.title for step in steps),
        "",
        f"cd project; {variables} jupyter-pipelines run {book.name} --continue --json",
        f"edit: (in the repository) python -m tests.e2e.reuse_comparison --edit {folder}; variables: {edited}",
    ]
    (folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


@contextlib.contextmanager
def compared_folder() -> Iterator[Path]:
    """Make a folder for one comparison; it has a short path, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="jp-", ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def isolated(folder: Path) -> dict[str, str]:
    """Return variables that keep the user's own settings and caches out."""
    (folder / "home").mkdir()
    return {"HOME": str(folder / "home"), "JUPYTER_PIPELINES_CACHE": str(folder / "cache")}


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    """Try random projects, or edit one that was kept."""
    if arguments[0] == "--edit":
        folder = Path(arguments[1])
        edit(NotebookProject(folder / "project"), pickle.loads((folder / "steps.pickle").read_bytes()))
        return 0
    seconds, kept = float(arguments[0]), Path(arguments[1])
    seed = int(arguments[2]) if len(arguments) > 2 else random.randrange(1 << 32)
    shutil.rmtree(kept, ignore_errors=True)
    figures = ReuseFigures()
    _say(f"seed {seed}")
    try:
        try_for(seconds, kept, seed, figures)
    except AssertionError as error:
        _say(f"{error}\n\nseed {seed}: the project is in {kept}")
        return 1
    finally:
        _say(figures)
        for about, count in figures.needless.most_common():
            _say(f"{count:4}  needless: {about}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
