"""Tickets for steps written as plain cells, rendered as every step is."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from jupyter_pipelines.notebook.rendering import render
from jupyter_pipelines.pipeline.data import Artifact, FileSource, Input, Output
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import SharedCode, Step, StepCell
from jupyter_pipelines.running.ticket import Given, Ticket, Wanted
from jupyter_pipelines.storing import serializers
from jupyter_pipelines.storing.store import Store

FIRST_CELL = 4
"""Number of a step's first cell in the notebook that it would have come from."""


class Workshop:
    """A store, a project's folder, and tickets for steps in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir(parents=True)
        self.store = Store.open(folder / "store")

    def ticket(
        self,
        *bodies: str,
        inputs: Mapping[str, Any] | None = None,
        outputs: str = "",
        shared: str = "",
        parameters: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Ticket:
        """Return a ticket. `inputs` are values (stored first), paths or None (missing); `outputs` ``name[:format]``."""
        given = {name: self.given(name, value) for name, value in (inputs or {}).items()}
        wanted = dict(_wanted(text) for text in outputs.split())
        key = secrets.token_hex(4)
        path = str(self.folder / "run" / f"{key}.ticket.json")
        step = Step(
            name="fit",
            cells=tuple(StepCell(number=n, id=None, text=body, body=body) for n, body in enumerate(bodies, FIRST_CELL)),
            inputs=tuple(Input(name=name, source=FileSource(path="x")) for name in given),
            outputs=tuple(Output(name=name, kind=one["kind"], format=one["format"]) for name, one in wanted.items()),
            parameters=tuple(parameters or ()),
            shared=(SharedCode(name="shared", kind="block", source=shared, cell=2),) if shared else (),
        )
        pipeline = Pipeline(notebook=None, folder=self.project, root=self.project, steps=(step,))
        return Ticket(
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

    def given(self, name: str, value: Any) -> Given:
        if value is None:
            return Given(kind="missing")
        if isinstance(value, Path):
            return Given(kind="file", path=value.name, digest=self.store.digest(value))
        artifact = value if isinstance(value, Artifact) else self.put(value)
        return Given(kind="artifact", digest=artifact.digest, format=artifact.format)

    def put(self, value: Any) -> Artifact:
        path = self.folder / secrets.token_hex(4)
        saved = serializers.save(value, path)
        self.store.blobs.put_file(path, digest=saved.digest)
        return saved.artifact

    def values(self, outputs: Mapping[str, Artifact]) -> dict[str, Any]:
        return {name: self.store.load(artifact) for name, artifact in outputs.items()}

    def leftovers(self) -> list[str]:
        """What an attempt should have removed."""
        return [path.name for path in (self.store.root / "tmp").glob("*")]


def _wanted(text: str) -> tuple[str, Wanted]:
    name, _, kind = text.partition(":")
    if kind in ("file", "folder"):
        return name, Wanted(kind=kind, format=None)  # type: ignore[typeddict-item]
    return name, Wanted(kind="value", format=kind or None)


def executed(ticket: Ticket) -> Any:
    """The published notebook."""
    return nbformat.read(ticket.publish["notebook"], as_version=4)


def log_of(ticket: Ticket) -> str:
    return Path(ticket.publish["log"]).read_text()


def states(ticket: Ticket) -> list[str]:
    """What papermill's metadata say of each code cell."""
    return [cell.metadata.papermill.status for cell in executed(ticket).cells if cell.cell_type == "code"]
