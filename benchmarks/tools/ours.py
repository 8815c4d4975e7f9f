"""Our own command."""

from __future__ import annotations

import json
import re
from pathlib import Path

from benchmarks.environments import OURS, program, python, variables
from benchmarks.measuring import run
from benchmarks.notebooks import NOTEBOOK, write_ours
from benchmarks.shapes import Shape, results
from benchmarks.tools import INSIDE, require


class Ours:
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

    def write(self, folder: Path, shape: Shape) -> None:
        """Write one notebook."""
        write_ours(folder, shape)

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (program(OURS, "jupyter-pipelines"), "run", NOTEBOOK, *self._options)

    def check(self, folder: Path, shape: Shape) -> None:
        """Ask for the last value of the notebook."""
        last = shape[-1].name
        command = [program(OURS, "jupyter-pipelines"), "output", NOTEBOOK, f"{last}.value_{last}", "--json"]
        document = json.loads(run(command, folder, variables(OURS)))
        value = json.loads(Path(document["path"]).read_text(encoding="utf-8"))
        require(value == results(shape)[last], f"`{last}` made {value}")

    def settle(self, folder: Path, shape: Shape) -> None:  # noqa: ARG002 - the notebook has it all
        """Have the real loop record steps that an executor without kernels pretends to run."""
        run([str(python(OURS)), str(INSIDE / "ours_settle.py"), NOTEBOOK], folder, variables(OURS))

    def check_idle(self, text: str) -> None:
        """Look at what the steps were."""
        require(bool(re.search(r"\breused\b", text)) and not re.search(r"\b(ran|failed)\b", text), text[-2000:])
