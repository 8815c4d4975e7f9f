"""Papermill, called in a loop from Python: a kernel per step, one process for all."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.environments import python
from benchmarks.notebooks import write_for_papermill
from benchmarks.tools import PROGRAMS, check_values, require
from benchmarks.workload_data import PipelineShape

PLAN = "steps.json"


class PapermillTool:
    """The shortest program that runs notebooks one after the other."""

    name = "papermill"
    environment = "papermill"

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write a notebook per step, and their order."""
        names = [write_for_papermill(folder, step) for step in shape]
        (folder / PLAN).write_text(json.dumps(names), encoding="utf-8")

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (str(python(self.environment)), str(PROGRAMS / "papermill_loop.py"), PLAN)

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check the values."""
        check_values(folder, shape)

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:
        """Refuse: papermill reuses nothing."""
        raise ValueError(f"none of the {len(shape)} steps in {folder} is ever reused, so none can look done")

    def check_idle(self, text: str) -> None:
        """Refuse: it always runs all steps."""
        require(not text, "papermill ran")
