"""Between the store and a step's folder: inputs are laid out before the step, outputs are taken after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault, StepFailed, StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.running.inside import MANIFEST
from jupyter_pipelines.running.ticket import Given, Ticket, fault_from_dict
from jupyter_pipelines.storing.store import Store

__all__ = ["Given", "Taken", "lay_out", "take"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a step left in its folder.

    Parameters
    ----------
    outputs : Mapping of str to Artifact
        All that was declared, in the store; empty when there is a fault.
    warnings : tuple of Fault
        What is doubtful.
    fault : Fault or None
        Why it does not count.
    """

    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    warnings: tuple[Fault, ...] = ()
    fault: Fault | None = None


def lay_out(ticket: Ticket, store: Store, folder: Path) -> dict[str, Given]:
    """Return where the kernel finds each input, after the stored ones were verified.

    Raises
    ------
    StepFailed
        A stored input is missing or damaged (JP310).
    StoreError
        A folder cannot be laid out.
    """
    return {name: _lay_out_one(name, given, ticket, store, folder) for name, given in ticket.inputs.items()}


def _lay_out_one(name: str, given: Given, ticket: Ticket, store: Store, folder: Path) -> Given:
    if given["kind"] != "artifact":
        return given
    artifact = Artifact(digest=given["digest"], format=given["format"], bytes=0)
    condition = store.intact(artifact)
    if condition != "ok":
        raise StepFailed(_not_intact(name, condition, ticket))
    if artifact.format == "folder":
        path = folder / "inputs" / name
        store.blobs.materialise(artifact.digest, path)
    else:
        path = store.blobs.path(artifact.digest)
    return {**given, "path": str(path)}


def take(ticket: Ticket, store: Store, folder: Path) -> Taken:
    """Put what a step left in its folder into the store; nothing less than every declared output counts."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        manifest = {"outputs": {}, "warnings": []}
    fault = next(_faults(ticket, store, manifest["outputs"]), None)
    if fault is not None:
        return Taken(fault=fault)
    warnings = tuple(fault_from_dict(one) for one in manifest["warnings"])
    try:
        return Taken(
            outputs={name: _put(store, manifest["outputs"][name]) for name in ticket.outputs}, warnings=warnings
        )
    except StoreError as error:
        return Taken(fault=error.faults[0])


def _faults(ticket: Ticket, store: Store, saved: Mapping[str, Any]) -> Iterator[Fault]:
    for name in ticket.outputs:
        if name not in saved:
            yield _not_saved(name, ticket)
    for name, given in ticket.inputs.items():
        if _changed(given, ticket, store):
            yield _file_changed(name, given, ticket)


def _put(store: Store, saved: Mapping[str, Any]) -> Artifact:
    path = Path(saved["path"])
    if saved["kind"] == "value":
        digest, size = store.blobs.put_file(path, digest=saved["digest"])
        return Artifact(digest=digest, format=saved["format"], bytes=size)
    digest, size = store.blobs.put_folder(path) if saved["kind"] == "folder" else store.blobs.put_file(path)
    return Artifact(digest=digest, format=saved["kind"], bytes=size)


def _changed(given: Given, ticket: Ticket, store: Store) -> bool:
    """Tell whether a file that the step got by its path is not what it was: it may have been written to."""
    if given["kind"] == "artifact":
        return given["format"] == "file" and store.blobs.verify(given["digest"]) != "ok"
    if given["kind"] == "missing" or not given.get("digest"):
        return False
    try:
        return store.digest(Path(ticket.cwd, given["path"])) != given["digest"]
    except OSError:
        return True


def _not_intact(name: str, condition: str, ticket: Ticket) -> Fault:
    return Fault(
        code="JP310",
        message=f"the input `{name}` of step `{ticket.step}` cannot be loaded: what is stored is {condition}",
        suggestion="run the pipeline again: it is computed anew",
        step=ticket.step,
    )


def _not_saved(name: str, ticket: Ticket) -> Fault:
    return Fault(
        code="JP204",
        message=f"step `{ticket.step}` finished without saving its output `{name}`",
        suggestion=f"assign `{name}` in the step, or take it out of `-o`",
        step=ticket.step,
    )


def _file_changed(name: str, given: Given, ticket: Ticket) -> Fault:
    what = given.get("path") or "the output of an earlier step"
    return Fault(
        code="JP307",
        message=f"the input file `{name}` of step `{ticket.step}` ({what}) changed while the step ran",
        suggestion="let the step write to a file output of its own (`-o NAME:file`), or run again if something else "
        "changed it",
        step=ticket.step,
    )
