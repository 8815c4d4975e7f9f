"""Provide a notebook in a project folder, and call the command line on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

COMMAND = Path(sys.executable).with_name("jupyter-pipelines")


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """JSON document on standard output."""
        return json.loads(self.out)

    def steps(self, field_name: str) -> dict[str, Any]:
        """One field of every step."""
        return {step["name"]: step[field_name] for step in self.document["steps"]}

    @property
    def reasons(self) -> dict[str, str]:
        """The reason's code for every step."""
        return {name: reason["code"] for name, reason in self.steps("reason").items()}


@dataclass
class NotebookProject:
    """Notebook in a folder of its own, with the commands of the command line as methods."""

    folder: Path
    name: str = "book.ipynb"
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / self.name

    def write(self, *cells: str | dict[str, Any]) -> NotebookProject:
        """Write the notebook; a text is a code cell, a text that starts with ``#md`` a markdown cell."""
        self.folder.mkdir(parents=True, exist_ok=True)
        made = [cell if isinstance(cell, dict) else make_cell(cell, number) for number, cell in enumerate(cells)]
        self.save({"cells": made, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5})
        return self

    def read(self) -> dict[str, Any]:
        return json.loads(self.path.read_text(encoding="utf-8"))

    def save(self, document: dict[str, Any]) -> None:
        self.path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        """Replace `old` in the only cell that has it."""
        document = self.read()
        matching = [cell for cell in document["cells"] if old in "".join(cell["source"])]
        assert len(matching) == 1, f"{old!r} is in {len(matching)} cells"
        matching[0]["source"] = "".join(matching[0]["source"]).replace(old, new)
        self.save(document)

    def start(self, command: str, *options: str, **popen: Any) -> subprocess.Popen[str]:
        """Start ``jupyter pipelines COMMAND``, and do not wait."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(
            [str(COMMAND), command, self.name, *options],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            text=True,
            **{**pipes, **popen},
        )

    def call(self, command: str, *options: str) -> CommandResult:
        """Call ``jupyter pipelines COMMAND`` and return what it answered."""
        process = self.start(command, *options)
        out, err = process.communicate(timeout=PATIENCE)
        return CommandResult(process.returncode, out, err)

    def run(self, *options: str) -> CommandResult:
        return self.call("run", "--json", *options)

    def plan(self, *options: str) -> CommandResult:
        return self.call("plan", "--json", *options)

    def value(self, name: str, *options: str) -> Any:
        """Return the stored value of ``STEP.NAME``; for JSON values only."""
        answer = self.call("output", name, "--json", *options)
        assert answer.code == 0, answer.err
        return json.loads(Path(answer.document["path"]).read_text())


METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def make_cell(text: str, number: int) -> dict[str, Any]:
    """Return a cell as nbformat has it."""
    if text.startswith("#md"):
        return {"cell_type": "markdown", "id": f"m{number}", "metadata": {}, "source": text[3:]}
    cell = {"cell_type": "code", "id": f"c{number}", "metadata": {}, "source": text}
    return {**cell, "execution_count": None, "outputs": []}
