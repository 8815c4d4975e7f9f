"""Tickets for steps written as plain cells, rendered like the steps of a real pipeline."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from jupyter_pipelines.execution.ticket import InputSpec, OutputSpec, StepTicket
from jupyter_pipelines.notebook.step_notebook import render
from jupyter_pipelines.pipeline.artifacts import Artifact, FileSource, Input, Output
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import SharedCode, Step, StepCell
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.opening import open_store

FIRST_CELL = 4
"""Number of a step's first cell in its (imaginary) source notebook."""


class TicketFactory:
    """Create tickets for steps of a project folder with a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir(parents=True)
        self.store = open_store(folder / "store")

    def ticket(
        self,
        *bodies: str,
        inputs: Mapping[str, Any] | None = None,
        outputs: str = "",
        shared: str = "",
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> StepTicket:
        """Return a ticket. `inputs` are values (stored first), paths or None (missing); `outputs` ``name[:format]``."""
        given = {name: self.given(name, value) for name, value in (inputs or {}).items()}
        wanted = dict(_output_spec(text) for text in outputs.split())
        key = secrets.token_hex(4)
        path = str(self.folder / "run" / f"{key}.ticket.json")
        step = Step(
            name="fit",
            cells=tuple(StepCell(number=n, id=None, text=body, body=body) for n, body in enumerate(bodies, FIRST_CELL)),
            inputs=tuple(Input(name=name, source=FileSource(path="x")) for name in given),
            outputs=tuple(Output(name=name, kind=spec["kind"], format=spec["format"]) for name, spec in wanted.items()),
            parameters=tuple(parameters or ()),
            shared=(SharedCode(name="shared", kind="block", source=shared, cell=2),) if shared else (),
        )
        pipeline = Pipeline(notebook=None, folder=self.project, root=self.project, steps=(step,))
        return StepTicket(
            id=key,
            run="run",
            step="fit",
            notebook=render(pipeline, step, values=parameters or {}, ticket=path),
            path=path,
            cwd=str(self.project),
            store=self.store.url,
            parameters=parameters or {},
            inputs=given,
            outputs=wanted,
            publish={
                "notebook": str(self.folder / "run" / f"{key}.ipynb"),
                "log": str(self.folder / "run" / f"{key}.log"),
            },
            **more,
        )

    def given(self, name: str, value: Any) -> InputSpec:
        if value is None:
            return InputSpec(kind="missing")
        if isinstance(value, Path):
            return InputSpec(kind="file", path=value.name, digest=self.store.digest(value))
        artifact = value if isinstance(value, Artifact) else self.put(value)
        return InputSpec(kind="artifact", digest=artifact.digest, format=artifact.format)

    def put(self, value: Any) -> Artifact:
        path = self.folder / secrets.token_hex(4)
        saved = serializers.save(value, path)
        self.store.blobs.put_file(path, digest=saved.digest)
        return saved.artifact

    def values(self, outputs: Mapping[str, Artifact]) -> dict[str, Any]:
        return {name: load_value(self.store, artifact) for name, artifact in outputs.items()}

    def leftovers(self) -> list[str]:
        """Return the temporary files that an attempt should have removed."""
        return [path.name for path in (self.store.root / "tmp").glob("*")]


def _output_spec(text: str) -> tuple[str, OutputSpec]:
    name, _, kind = text.partition(":")
    if kind in ("file", "folder"):
        return name, OutputSpec(kind=kind, format=None)  # type: ignore[typeddict-item]
    return name, OutputSpec(kind="value", format=kind or None)


def executed(ticket: StepTicket) -> Any:
    """Return the published notebook."""
    return nbformat.read(ticket.publish["notebook"], as_version=4)


def log_of(ticket: StepTicket) -> str:
    return Path(ticket.publish["log"]).read_text()


def states(ticket: StepTicket) -> list[str]:
    """Return the status in papermill's metadata of each code cell."""
    return [cell.metadata.papermill.status for cell in executed(ticket).cells if cell.cell_type == "code"]
