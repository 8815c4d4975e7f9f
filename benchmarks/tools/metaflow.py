"""Metaflow: steps are plain Python, each in a process of its own; no notebook, no kernel, no reuse."""

from __future__ import annotations

from pathlib import Path

from benchmarks.environments import python
from benchmarks.measurement import output
from benchmarks.tools import require
from benchmarks.workload_data import PipelineShape, expected_values

_HEAD = "from metaflow import FlowSpec, step\n\n\nclass Chain(FlowSpec):\n"
_STEP = "    @step\n    def {name}(self):\n        self.value = {value}\n        self.next(self.{following})\n\n"
_END = '    @step\n    def end(self):\n        print("made", self.value)\n\n\nif __name__ == "__main__":\n    Chain()\n'


class MetaflowTool:
    """``python flow.py run``; for chains only."""

    name = "metaflow"
    environment = "metaflow"

    def write(self, folder: Path, shape: PipelineShape) -> None:
        """Write the flow; the first step must be called `start`, and a step `end` comes last."""
        names = ["start", *(step.name for step in shape[1:]), "end"]
        steps = [
            _STEP.format(name=name, value="self.value + 1" if number else "1", following=names[number + 1])
            for number, name in enumerate(names[:-1])
        ]
        (folder / "flow.py").write_text(_HEAD + "".join(steps) + _END, encoding="utf-8")

    def argv(self) -> tuple[str, ...]:
        """Return the command."""
        return (str(python(self.environment)), "flow.py", "--no-pylint", "run")

    def check(self, folder: Path, shape: PipelineShape) -> None:
        """Check the output of the last step."""
        require(f"made {expected_values(shape)[shape[-1].name]}" in output(folder), output(folder)[-2000:])

    def mark_done(self, folder: Path, shape: PipelineShape) -> None:
        """Refuse: Metaflow reuses nothing."""
        raise ValueError(f"none of the {len(shape)} steps in {folder} is ever reused, so none can look done")

    def check_idle(self, text: str) -> None:
        """Refuse: it always runs all steps."""
        require(not text, "Metaflow ran")
