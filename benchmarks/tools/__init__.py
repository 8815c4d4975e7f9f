"""A module per tool: how it writes, runs and checks a workload, and marks it as done."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from benchmarks.measurement import BenchmarkFailed
from benchmarks.notebooks import read_values
from benchmarks.workload_data import PipelineShape, expected_values

PROGRAMS = Path(__file__).parents[1] / "programs"
"""Programs that run in the environments of the tools."""


class BenchmarkTool(Protocol):
    """The interface of a tool.

    Attributes
    ----------
    name : str
        Its name in results.
    environment : str
        The environment in which it is installed.
    """

    name: str
    environment: str

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write the steps into the empty folder `folder`, as a user of the tool would."""

    def argv(self) -> tuple[str, ...]:
        """Return the command that runs the steps, as a user would type it."""

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check that a run has computed everything."""

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:
        """Mark all steps as done, without a kernel."""

    def check_idle(self, text: str) -> None:
        """Check, from its output, that it has run nothing."""


def check_values(folder: Path, shape: PipelineShape) -> None:
    """Check the values in the files that the steps have written."""
    expected = expected_values(shape)
    require(read_values(folder, expected) == expected, "the steps have not computed what they should")


def write_values(folder: Path, shape: PipelineShape) -> None:
    """Write the files that the steps would write."""
    for name, value in expected_values(shape).items():
        (folder / f"{name}.json").write_text(str(value), encoding="utf-8")


def require(condition: bool, words: str) -> None:
    """Raise an error unless `condition` holds.

    Raises
    ------
    BenchmarkFailed
        `condition` does not hold.
    """
    if not condition:
        raise BenchmarkFailed(words)
