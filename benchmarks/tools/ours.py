"""Our own tool, jupyter-pipelines."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.environments import OURS, program, python, variables
from benchmarks.measurement import run
from benchmarks.notebooks import NOTEBOOK, write_ours
from benchmarks.tools import PROGRAMS, require
from benchmarks.workload_data import PipelineShape, expected_values


class PipelinesTool:
    """``jupyter-pipelines run``, as users call it.

    Parameters
    ----------
    options : str
        Further options.
    """

    name = OURS
    environment = OURS

    def __init__(self, *options: str) -> None:
        self._options = options

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write one notebook."""
        write_ours(folder, shape)

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (program(OURS, "jupyter-pipelines"), "run", NOTEBOOK, *self._options)

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check the value of the last step."""
        last = shape[-1].name
        command = [program(OURS, "jupyter-pipelines"), "output", NOTEBOOK, f"{last}.value_{last}", "--json"]
        document = json.loads(run(command, folder, variables(OURS)))
        value = json.loads(Path(document["path"]).read_text(encoding="utf-8"))
        require(value == expected_values(shape)[last], f"`{last}` made {value}")

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:  # noqa: ARG002 - the notebook contains the steps
        """Have the real scheduler record the steps, with a fake executor that runs no kernel."""
        run([str(python(OURS)), str(PROGRAMS / "ours_mark_done.py"), NOTEBOOK], folder, variables(OURS))

    def check_idle(self, text: str) -> None:
        """Check that all steps were reused."""
        require(bool(re.search(r"\breused\b", text)) and not re.search(r"\b(ran|failed)\b", text), text[-2000:])
