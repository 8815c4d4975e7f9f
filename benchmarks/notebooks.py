"""The same steps as notebooks: one of ours for all of them, or one for papermill for each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.shapes import Shape, Step

NOTEBOOK = "work.ipynb"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_COUNT_ON = "value += 1"


def write_ours(folder: Path, shape: Shape) -> None:
    """Write one notebook with a ``%%step`` cell for each step; values go from step to step by name."""
    # Marks the root of a project, so that nothing above the folder counts.
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    cells = ["%load_ext jupyter_pipelines", *(cell for step in shape for cell in our_cells(step))]
    write_notebook(folder / NOTEBOOK, cells)


def our_cells(step: Step) -> list[str]:
    """Return the cells of a step in our words."""
    takes = f" -i {' '.join(map(_value, step.needs))}" if step.needs else ""
    header = f"%%step {step.name}{takes} -o {_value(step.name)}"
    total = " + ".join([*map(_value, step.needs), "1"])
    first = "\n".join(filter(None, [header, step.work, f"{_value(step.name)} = {total}"]))
    more = f"%%step {step.name}\n{_value(step.name)} += 1"
    return [first, *[more] * (step.cells - 1)]


def write_for_papermill(folder: Path, step: Step) -> str:
    """Write the notebook of one step: a cell with parameters, and one that reads JSON, adds one and writes JSON."""
    inputs = [f"{name}.json" for name in step.needs]
    parameters = f'inputs = {inputs!r}\noutput = "not-given.json"'
    body = [
        "import json",
        "from pathlib import Path",
        *filter(None, [step.work]),
        "value = sum(json.loads(Path(one).read_text()) for one in inputs) + 1",
    ]
    written = "Path(output).write_text(json.dumps(value))"
    # What is written last stands in the last cell, so that a step of one cell has one.
    cells = ["\n".join(body), *[_COUNT_ON] * (step.cells - 1)]
    cells[-1] += f"\n{written}"
    name = f"{step.name}.ipynb"
    write_notebook(folder / name, [parameters, *cells], tagged=True)
    return name


def write_for_ploomber(folder: Path, step: Step) -> str:
    """Write the same with Ploomber's own parameters, ``upstream`` and ``product``."""
    parameters = f"upstream = {list(step.needs) or None!r}\nproduct = None"
    body = [
        "import json",
        "from pathlib import Path",
        *filter(None, [step.work]),
        'inputs = [upstream[name]["data"] for name in upstream] if upstream else []',
        "value = sum(json.loads(Path(one).read_text()) for one in inputs) + 1",
        'Path(product["data"]).write_text(json.dumps(value))',
    ]
    name = f"{step.name}.ipynb"
    write_notebook(folder / name, [parameters, "\n".join(body)], tagged=True)
    return name


def write_notebook(path: Path, cells: Sequence[str], *, tagged: bool = False) -> None:
    """Write a notebook of code cells; `tagged` makes the first one papermill's."""
    made = [_cell(number, source) for number, source in enumerate(cells)]
    if tagged:
        made[0]["metadata"] = {"tags": ["parameters"]}
    document = {"cells": made, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_values(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return what the steps of a peer have written."""
    return {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}


def _value(step: str) -> str:
    return f"value_{step}"


def _cell(number: int, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": f"cell-{number}",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": source,
    }
