"""The steps of a workload as notebooks: a single one for our tool, or one per step for papermill and Ploomber."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.workload_data import PipelineShape, WorkStep

NOTEBOOK = "work.ipynb"
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_COUNT_ON = "value += 1"


def write_ours(folder: Path, shape: PipelineShape) -> None:
    """Write a notebook with a ``%%step`` cell for each step; values are passed by name."""
    # The root of the project, so that no folder above it is searched.
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    cells = ["%load_ext jupyter_pipelines", *(cell for step in shape for cell in our_cells(step))]
    write_notebook(folder / NOTEBOOK, cells)


def our_cells(step: WorkStep) -> list[str]:
    """Return the cells of a step in the syntax of our tool."""
    takes = f" -i {' '.join(map(_value, step.needs))}" if step.needs else ""
    header = f"%%step {step.name}{takes} -o {_value(step.name)}"
    total = " + ".join([*map(_value, step.needs), "1"])
    first = "\n".join(filter(None, [header, step.work, f"{_value(step.name)} = {total}"]))
    more = f"%%step {step.name}\n{_value(step.name)} += 1"
    return [first, *[more] * (step.cells - 1)]


def write_for_papermill(folder: Path, step: WorkStep) -> str:
    """Write the notebook of a step: a cell with parameters, and a cell that reads JSON, adds 1 and writes JSON."""
    inputs = [f"{name}.json" for name in step.needs]
    parameters = f'inputs = {inputs!r}\noutput = "not-given.json"'
    body = [
        "import json",
        "from pathlib import Path",
        *filter(None, [step.work]),
        "value = sum(json.loads(Path(name).read_text()) for name in inputs) + 1",
    ]
    written = "Path(output).write_text(json.dumps(value))"
    # The last cell writes the value, so that a step of a single cell stays a single cell.
    cells = ["\n".join(body), *[_COUNT_ON] * (step.cells - 1)]
    cells[-1] += f"\n{written}"
    name = f"{step.name}.ipynb"
    write_notebook(folder / name, [parameters, *cells], tagged=True)
    return name


def write_for_ploomber(folder: Path, step: WorkStep) -> str:
    """Write the notebook of a step with Ploomber's parameters ``upstream`` and ``product``."""
    parameters = f"upstream = {list(step.needs) or None!r}\nproduct = None"
    body = [
        "import json",
        "from pathlib import Path",
        *filter(None, [step.work]),
        'inputs = [upstream[name]["data"] for name in upstream] if upstream else []',
        "value = sum(json.loads(Path(name).read_text()) for name in inputs) + 1",
        'Path(product["data"]).write_text(json.dumps(value))',
    ]
    name = f"{step.name}.ipynb"
    write_notebook(folder / name, [parameters, "\n".join(body)], tagged=True)
    return name


def write_notebook(path: Path, cells: Sequence[str], *, tagged: bool = False) -> None:
    """Write a notebook of code cells; `tagged` tags the first cell as papermill's parameters."""
    documents = [_cell(number, source) for number, source in enumerate(cells)]
    if tagged:
        documents[0]["metadata"] = {"tags": ["parameters"]}
    document = {"cells": documents, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def read_values(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the values that the steps of a peer have written."""
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
