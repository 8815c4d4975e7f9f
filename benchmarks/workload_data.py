"""The steps of the workloads as plain data, the same for all tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HEAVY = "import pandas as pd\nfrom sklearn import linear_model\nimport matplotlib.pyplot as plt"
SLEEP = "import time\ntime.sleep(0.2)"
BURN = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.2:\n    pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStep:
    """A step that adds up the values of its upstream steps, plus 1.

    Parameters
    ----------
    name : str
        The name of the step.
    needs : tuple of str
        Names of the upstream steps.
    work : str
        Additional code.
    cells : int
        The number of cells; each but the first adds 1.
    """

    name: str
    needs: tuple[str, ...] = ()
    work: str = ""
    cells: int = 1


PipelineShape = tuple[WorkStep, ...]


def chain(length: int, work: str = "") -> PipelineShape:
    """Return a chain of steps."""
    return tuple(
        WorkStep(name=f"s{number}", needs=(f"s{number - 1}",) if number else (), work=work) for number in range(length)
    )


def wide(width: int, work: str) -> PipelineShape:
    """Return a first step, `width` parallel steps, and a last step that takes all their values; each does `work`."""
    middle = tuple(WorkStep(name=f"w{number}", needs=("first",), work=work) for number in range(width))
    last = WorkStep(name="last", needs=tuple(step.name for step in middle), work=work)
    return (WorkStep(name="first", work=work), *middle, last)


def long(cells: int) -> PipelineShape:
    """Return a single step of many cells."""
    return (WorkStep(name="long", cells=cells),)


def expected_values(shape: PipelineShape) -> Mapping[str, int]:
    """Return the value of each step, to check the results of a tool."""
    totals: dict[str, int] = {}
    for step in shape:
        totals[step.name] = sum(totals[name] for name in step.needs) + step.cells
    return totals
