"""DVC: stages that call papermill, states by content in ``dvc.lock``."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.environments import program, variables
from benchmarks.measurement import run
from benchmarks.notebooks import write_for_papermill
from benchmarks.tools import check_values, require, write_values
from benchmarks.workload_data import PipelineShape, WorkStep


class DvcTool:
    """``dvc repro``, without Git."""

    name = "dvc"
    environment = "dvc"

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write a notebook per step, and the stages as YAML (JSON is YAML)."""
        stages = {step.name: self._stage(folder, step) for step in shape}
        (folder / "dvc.yaml").write_text(json.dumps({"stages": stages}), encoding="utf-8")
        self._call(folder, "init", "--no-scm", "--quiet")

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (program(self.environment, "dvc"), "repro")

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check the values."""
        check_values(folder, shape)

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:
        """Write the values, and have DVC commit them as they are."""
        write_values(folder, shape)
        self._call(folder, "commit", "--force", "--quiet")

    def check_idle(self, text: str) -> None:
        """Check that no stage ran."""
        require("up to date" in text and "Running stage" not in text, text[-2000:])

    def _stage(self, folder: Path, step: WorkStep) -> dict[str, object]:
        notebook = write_for_papermill(folder, step)
        return {
            "cmd": f"papermill {notebook} {step.name}.out.ipynb -p output {step.name}.json",
            "deps": [notebook, *(f"{name}.json" for name in step.needs)],
            "outs": [f"{step.name}.json"],
        }

    def _call(self, folder: Path, *arguments: str) -> None:
        run([program(self.environment, "dvc"), *arguments], folder, variables(self.environment))
