"""The work: the same steps for every tool, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HEAVY = "import pandas as pd\nfrom sklearn import linear_model\nimport matplotlib.pyplot as plt"
SLEEP = "import time\ntime.sleep(0.2)"
BURN = "import time\nstart = time.process_time()\nwhile time.process_time() - start < 0.2:\n    pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: it adds up what the steps before it made, and one more.

    Parameters
    ----------
    name : str
        What it is called.
    needs : tuple of str
        The steps before it.
    work : str
        What it does besides.
    cells : int
        How many cells it has; all but the first count on.
    """

    name: str
    needs: tuple[str, ...] = ()
    work: str = ""
    cells: int = 1


Shape = tuple[Step, ...]


def chain(length: int, work: str = "") -> Shape:
    """Return steps one after the other."""
    return tuple(
        Step(name=f"s{number}", needs=(f"s{number - 1}",) if number else (), work=work) for number in range(length)
    )


def wide(width: int, work: str) -> Shape:
    """Return one step, then `width` beside each other, then one that takes them all; each does `work`."""
    middle = tuple(Step(name=f"w{number}", needs=("first",), work=work) for number in range(width))
    last = Step(name="last", needs=tuple(step.name for step in middle), work=work)
    return (Step(name="first", work=work), *middle, last)


def long(cells: int) -> Shape:
    """Return a single step of many cells."""
    return (Step(name="long", cells=cells),)


def results(shape: Shape) -> Mapping[str, int]:
    """Return what each step makes, to check what a tool says it has done."""
    found: dict[str, int] = {}
    for step in shape:
        found[step.name] = sum(found[name] for name in step.needs) + step.cells
    return found
