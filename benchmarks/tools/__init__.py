"""One module per tool: how the same work is written for it, run by it, and made to look done."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from benchmarks.measuring import BenchmarkFailed
from benchmarks.notebooks import read_values
from benchmarks.shapes import Shape, results

INSIDE = Path(__file__).parents[1] / "inside"
"""Programs that run in the environments of the tools."""


class Tool(Protocol):
    """What a benchmark asks of a tool.

    Attributes
    ----------
    name : str
        What it is called in results.
    environment : str
        The environment that it is installed in.
    """

    name: str
    environment: str

    def write(self, folder: Path, shape: Shape) -> None:
        """Write the work into the empty folder `folder`, as a user of the tool would."""

    def argv(self) -> tuple[str, ...]:
        """Return the command that runs it, as a user would type it."""

    def check(self, folder: Path, shape: Shape) -> None:
        """Make sure that a run has computed everything."""

    def settle(self, folder: Path, shape: Shape) -> None:
        """Make all of it look done, without running a kernel."""

    def check_idle(self, text: str) -> None:
        """Make sure, from what it printed, that it has run nothing."""


def check_values(folder: Path, shape: Shape) -> None:
    """Make sure that the files which the steps write hold what they should."""
    expected = results(shape)
    require(read_values(folder, expected) == expected, "the steps have not computed what they should")


def write_values(folder: Path, shape: Shape) -> None:
    """Write what the steps would write."""
    for name, value in results(shape).items():
        (folder / f"{name}.json").write_text(str(value), encoding="utf-8")


def require(condition: bool, words: str) -> None:
    """Fail when something measured is not what it is called.

    Raises
    ------
    BenchmarkFailed
        `condition` does not hold.
    """
    if not condition:
        raise BenchmarkFailed(words)
