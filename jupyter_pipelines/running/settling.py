"""Between the store and a step's folder: inputs are laid out before the step, outputs are taken after it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault, StepFailed, StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED
from jupyter_pipelines.running.inside import MANIFEST
from jupyter_pipelines.running.ticket import Given, Ticket, fault_from_dict
from jupyter_pipelines.storing.blobs import Incoming
from jupyter_pipelines.storing.digests import Mark, algorithm_of
from jupyter_pipelines.storing.gathered import contents
from jupyter_pipelines.storing.serializers.mapped import is_mapped
from jupyter_pipelines.storing.store import Store

__all__ = ["Given", "Taken", "lay_out", "nothing_unfinished", "take"]


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
        raise StepFailed(_not_intact(name, condition, artifact, ticket))
    if artifact.format == GATHERED:
        return _lay_out_items(name, given, ticket, store, folder)
    if artifact.format == "folder":
        path = folder / "inputs" / name
        store.blobs.materialise(artifact.digest, path)
    else:
        path = store.blobs.path(artifact.digest)
    return {**given, "path": str(path)}


def _lay_out_items(name: str, given: Given, ticket: Ticket, store: Store, folder: Path) -> Given:
    found = contents(store, given["digest"])
    return {
        **given,
        "kind": "gathered",
        "items": [
            _lay_out_one(f"{name}/{number}", one, ticket, store, folder)
            for number, one in enumerate(map(_given, found.artifacts))
        ],
        "keys": [dict(key) for key in found.keys],
        "failed": [dict(key) for key in found.failed],
    }


def _given(artifact: Artifact) -> Given:
    return {"kind": "artifact", "digest": artifact.digest, "format": artifact.format}


def nothing_unfinished(folder: Path) -> bool:
    """Tell whether the kernel has said that nothing it holds could still change anything."""
    return _manifest(folder).get("unfinished") == []


def take(ticket: Ticket, store: Store, folder: Path) -> Taken:
    """Put what a step left in its folder into the store; nothing less than every declared output counts."""
    manifest = _manifest(folder)
    fault = next(_faults(ticket, store, manifest["outputs"]), None)
    if fault is not None:
        return Taken(fault=fault)
    warnings = tuple(fault_from_dict(one) for one in manifest["warnings"])
    try:
        return Taken(
            outputs=_put(store, {name: manifest["outputs"][name] for name in ticket.outputs}), warnings=warnings
        )
    except StoreError as error:
        return Taken(fault=error.faults[0])


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError):
        return {"outputs": {}, "warnings": []}


def _faults(ticket: Ticket, store: Store, saved: Mapping[str, Any]) -> Iterator[Fault]:
    for name in ticket.outputs:
        if name not in saved:
            yield _not_saved(name, ticket)
    for name, given in ticket.inputs.items():
        if _changed(given, ticket, store):
            yield _file_changed(name, given, ticket)


def _put(store: Store, saved: Mapping[str, Mapping[str, Any]]) -> dict[str, Artifact]:
    """Put outputs into the store; their files are used up. Whoever records them settles them."""
    files = {name: _incoming(one) for name, one in saved.items() if one["kind"] != "folder"}
    stored = dict(zip(files, store.blobs.put_files(files.values(), settled=False), strict=True))
    stored |= {name: store.blobs.put_folder(Path(one["path"]), move=True) for name, one in _folders(saved)}
    return {
        name: Artifact(digest=stored[name].digest, format=one.get("format") or one["kind"], bytes=stored[name].size)
        for name, one in saved.items()
    }


def _folders(saved: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, one) for name, one in saved.items() if one["kind"] == "folder")


def _incoming(saved: Mapping[str, Any]) -> Incoming:
    mark = Mark.from_list(saved["mark"]) if saved.get("mark") else None
    return Incoming(path=Path(saved["path"]), digest=saved.get("digest"), mark=mark)


def _changed(given: Given, ticket: Ticket, store: Store) -> bool:
    """Tell whether what the step had before it is not what it was: it may have been written to."""
    if given.get("format") == GATHERED:
        return any(_changed(_given(one), ticket, store) for one in contents(store, given["digest"]).artifacts)
    if given["kind"] == "artifact":
        return _is_seen(given, store) and store.blobs.verify(given["digest"]) != "ok"
    if given["kind"] == "missing" or not given.get("digest"):
        return False
    try:
        found = store.digest(Path(ticket.cwd, given["path"]))
    except OSError:
        return True
    return found != given["digest"] and algorithm_of(found) == algorithm_of(given["digest"])


def _is_seen(given: Given, store: Store) -> bool:
    """Tell whether the step has seen the stored file itself: it got its path, or the file was its memory."""
    if given["format"] in ("file", "folder"):
        return given["format"] == "file"
    try:
        return is_mapped(store.blobs.path(given["digest"]).stat())
    except OSError:
        return True


def _not_intact(name: str, condition: str, artifact: Artifact, ticket: Ticket) -> Fault:
    algorithm = algorithm_of(artifact.digest)
    unknown = f"it was stored with {algorithm}, which is not installed here"
    return Fault(
        code="JP310",
        message=f"the input `{name}` of step `{ticket.step}` cannot be loaded: "
        + (unknown if condition == "unknown" else f"what is stored is {condition}"),
        suggestion=f"pip install {algorithm}, or run the pipeline again: it is computed anew"
        if condition == "unknown"
        else "run the pipeline again: it is computed anew",
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
    what = given.get("path") or "what is stored of an earlier step"
    return Fault(
        code="JP307",
        message=f"the input file `{name}` of step `{ticket.step}` ({what}) changed while the step ran",
        suggestion="let the step write to a file output of its own (`-o NAME:file`), or run again if something else "
        "changed it",
        step=ticket.step,
    )
