"""Ploomber: tasks are notebooks, run by papermill; states are a file beside each product."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.environments import program, python, variables
from benchmarks.measurement import run
from benchmarks.notebooks import write_for_ploomber
from benchmarks.tools import PROGRAMS, check_values, require, write_values
from benchmarks.workload_data import PipelineShape


class PloomberTool:
    """``ploomber build``.

    Parameters
    ----------
    processes : int or None
        How many at once; 0 for as many as Ploomber takes by default, None for sequential execution.
    """

    environment = "ploomber"

    def __init__(self, processes: int | None = None) -> None:
        self.name = "ploomber" if processes is None else f"ploomber parallel{f' {processes}' if processes else ''}"
        self._processes = processes

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write a notebook per step, and the pipeline as YAML (JSON is YAML)."""
        tasks = [
            {
                "source": write_for_ploomber(folder, step),
                "name": step.name,
                "product": {"nb": f"{step.name}.out.ipynb", "data": f"{step.name}.json"},
            }
            for step in shape
        ]
        document: dict[str, Any] = {"tasks": tasks, "executor": self._executor()}
        (folder / "pipeline.yaml").write_text(json.dumps(document), encoding="utf-8")

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (program(self.environment, "ploomber"), "build")

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check the values."""
        check_values(folder, shape)

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:
        """Have Ploomber build with tasks that only write their products."""
        write_values(folder, shape)
        run(
            [str(python(self.environment)), str(PROGRAMS / "ploomber_mark_done.py")],
            folder,
            variables(self.environment),
        )

    def check_idle(self, text: str) -> None:
        """Check the column `Ran?`."""
        require("False" in text and not re.search(r"\bTrue\b", text), text[-2000:])

    def _executor(self) -> object:
        if self._processes is None:
            return "serial"
        if self._processes == 0:
            return "parallel"
        return {"dotted_path": "ploomber.executors.Parallel", "processes": self._processes}
