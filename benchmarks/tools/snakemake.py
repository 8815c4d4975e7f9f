"""Snakemake: rules that call papermill, states by time stamps and provenance."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environments import program, variables
from benchmarks.measurement import run
from benchmarks.notebooks import write_for_papermill
from benchmarks.tools import check_values, require, write_values
from benchmarks.workload_data import PipelineShape, WorkStep


class SnakemakeTool:
    """``snakemake --cores 1``, a rule per step."""

    name = "snakemake"
    environment = "snakemake"

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write a notebook per step, and the rules."""
        target = f'rule all:\n    input: "{shape[-1].name}.json"\n'
        rules = [_rule(step, write_for_papermill(folder, step)) for step in shape]
        (folder / "Snakefile").write_text("\n".join([target, *rules]), encoding="utf-8")

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (program(self.environment, "snakemake"), "--cores", "1")

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check the values."""
        check_values(folder, shape)

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:
        """Write the values, and have Snakemake mark them as its outputs."""
        write_values(folder, shape)
        run([*self.argv(), "--touch", "--forceall"], folder, variables(self.environment))

    def check_idle(self, text: str) -> None:
        """Check that there was nothing to do."""
        require("Nothing to be done" in text, text[-2000:])


def _rule(step: WorkStep, notebook: str) -> str:
    inputs = ", ".join(f'"{name}"' for name in (notebook, *(f"{need}.json" for need in step.needs)))
    command = f"papermill {notebook} {step.name}.out.ipynb -p output {{output}}"
    return f'rule {step.name}:\n    input: {inputs}\n    output: "{step.name}.json"\n    shell: "{command}"\n'
