"""Stage the inputs of a step from the store into its folder, and its outputs back into the store."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StepFailed, StoreError
from jupyter_pipelines.execution.kernel_side.step_io import MANIFEST
from jupyter_pipelines.execution.ticket import InputSpec, StepTicket, fault_from_dict
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED
from jupyter_pipelines.storage.blobs.blobs import IncomingFile
from jupyter_pipelines.storage.blobs.digests import algorithm_of
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.gathered_items import contents
from jupyter_pipelines.storage.serializers.memory_map import is_mapped
from jupyter_pipelines.storage.store import Store

_PIECE = 1 << 20
_NPY_HEADER = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedOutputs:
    """The outputs that a step left in its folder, staged into the store.

    Parameters
    ----------
    outputs : Mapping of str to Artifact
        All declared outputs, in the store; empty if there is a fault.
    warnings : tuple of Diagnostic
        Warnings of the kernel about values.
    changed : tuple of str
        Inputs that the step changed in place, of those stored in one file with other outputs.
    placed : tuple of str
        Outputs that contain the path of the project's folder: they mean something else in another folder.
    fault : Diagnostic or None
        Why the step is no success.
    """

    outputs: Mapping[str, Artifact] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    changed: tuple[str, ...] = ()
    placed: tuple[str, ...] = ()
    fault: Diagnostic | None = None


def stage_inputs(ticket: StepTicket, store: Store, folder: Path) -> dict[str, InputSpec]:
    """Verify the stored inputs, and return the inputs with the paths from which the kernel loads them.

    Raises
    ------
    StepFailed
        A stored input is missing or damaged (JP310).
    StoreError
        A folder cannot be copied out of the store.
    """
    return {name: _stage_input(name, spec, ticket, store, folder) for name, spec in ticket.inputs.items()}


def _stage_input(name: str, spec: InputSpec, ticket: StepTicket, store: Store, folder: Path) -> InputSpec:
    if spec["kind"] != "artifact":
        return spec
    artifact = Artifact(digest=spec["digest"], format=spec["format"], bytes=0)
    condition = store.intact(artifact)
    if condition != "ok":
        raise StepFailed(_not_intact(name, condition, artifact, ticket))
    if artifact.format == GATHERED:
        return _stage_items(name, spec, ticket, store, folder)
    if artifact.format == "folder":
        path = folder / "inputs" / name
        store.blobs.materialise(artifact.digest, path)
    elif "filename" in spec:
        path = store.blobs.under_name(artifact.digest, folder / "inputs" / name / spec["filename"])
    else:
        # No copy: blobs are read-only, and large values are mapped straight from the store.
        path = store.blobs.path(artifact.digest)
    return {**spec, "path": str(path)}


def _stage_items(name: str, spec: InputSpec, ticket: StepTicket, store: Store, folder: Path) -> InputSpec:
    gathered = contents(store, spec["digest"])
    return {
        **spec,
        "kind": "gathered",
        "items": [
            _stage_input(f"{name}/{number}", item_spec, ticket, store, folder)
            for number, item_spec in enumerate(map(_artifact_spec, gathered.artifacts))
        ],
        "keys": [dict(key) for key in gathered.keys],
        "failed": [dict(key) for key in gathered.failed],
    }


def _artifact_spec(artifact: Artifact) -> InputSpec:
    return {"kind": "artifact", "digest": artifact.digest, "format": artifact.format}


def has_no_pending_work(folder: Path) -> bool:
    """Tell whether the kernel has reported that it has no pending work."""
    # Without a manifest it has not reported: then it is shut down in the orderly way.
    return _manifest(folder).get("unfinished") == []


def stage_outputs(ticket: StepTicket, store: Store, folder: Path) -> StagedOutputs:
    """Move the outputs of a step into the store; a missing output or a changed input yields a fault."""
    manifest = _manifest(folder)
    fault = next(_faults(ticket, store, manifest["outputs"]), None)
    if fault is not None:
        return StagedOutputs(fault=fault)
    warnings = tuple(fault_from_dict(warning) for warning in manifest["warnings"])
    saved = {name: manifest["outputs"][name] for name in ticket.outputs}
    # Before the files are moved into the store.
    is_placed = {output["path"]: _names_project(output, ticket.root or ticket.cwd) for output in saved.values()}
    placed = tuple(name for name, output in saved.items() if is_placed[output["path"]])
    try:
        outputs = _put(store, saved)
        return StagedOutputs(
            outputs=outputs, warnings=warnings, changed=tuple(manifest.get("changed", ())), placed=placed
        )
    except StoreError as error:
        return StagedOutputs(fault=error.faults[0])


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError):
        return {"outputs": {}, "warnings": []}


def _faults(ticket: StepTicket, store: Store, saved: Mapping[str, Any]) -> Iterator[Diagnostic]:
    for name in ticket.outputs:
        if name not in saved:
            yield _not_saved(name, ticket)
    for name, spec in ticket.inputs.items():
        if _changed(spec, ticket, store):
            yield _file_changed(name, spec, ticket)


def _put(store: Store, saved: Mapping[str, Mapping[str, Any]]) -> dict[str, Artifact]:
    """Move outputs into the store; they are flushed to the disk with the record that names them."""
    # By path: several outputs that refer to common objects are in one file.
    files = {output["path"]: _incoming(output) for output in saved.values() if output["kind"] != "folder"}
    stored = dict(zip(files, store.blobs.put_files(files.values(), durable=False), strict=True))
    stored |= {output["path"]: store.blobs.put_folder(Path(output["path"]), move=True) for _, output in _folders(saved)}
    blobs = {name: stored[output["path"]] for name, output in saved.items()}
    return {
        name: Artifact(digest=blobs[name].digest, format=output.get("format") or output["kind"], bytes=blobs[name].size)
        for name, output in saved.items()
    }


def _names_project(output: Mapping[str, Any], root: str) -> bool:
    """Tell whether the file of an output contains the path of the project's folder, as `Path.cwd()` gives it."""
    if output["kind"] == "folder" or (output.get("format") == "npy" and not _holds_texts(output["path"])):
        return False
    folders = {root, os.path.realpath(root)} - {"/"}
    forms = {form for path in folders for form in _forms(path, output.get("format"))}
    # The first piece of each form tells nearly always that it does not occur: large files are read once.
    beginnings = _texts_in(output["path"], {form[0] for form in forms})
    return any(form[0] in beginnings and _texts_in(output["path"], form) == set(form) for form in forms)


def _holds_texts(path: str) -> bool:
    """Tell whether the array in a npy file holds texts; in doubt it does."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path from the manifest
            return re.search(rb"descr': '[<>|=]?[fiubcmM?]", file.read(_NPY_HEADER)) is None
    except OSError:
        return True


def _texts_in(path: str, texts: Collection[bytes]) -> set[bytes]:
    """Return which of the texts a file contains; all of them if it cannot be read, so that in doubt they count."""
    missing, longest = set(texts), max(map(len, texts), default=0)
    piece = b""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a path from the manifest
            while missing and (part := file.read(_PIECE)):
                piece = piece[-longest:] + part
                missing = {text for text in missing if text not in piece}
    except OSError:
        return set(texts)
    return set(texts) - missing


def _forms(path: str, format_: str | None) -> Iterator[tuple[bytes, ...]]:
    """Yield the ways in which a path is stored, each as pieces that all occur: text, JSON, NumPy's texts, pickles."""
    yield (path.encode("utf-8", "surrogateescape"),)
    yield (json.dumps(path)[1:-1].encode("ascii"),)
    if format_ == "npy":
        yield (path.encode("utf-32-le", "surrogatepass"),)
    if format_ in ("arrow", "parquet", "json", "text", "bytes", "npy", "file"):
        return
    # The parts of a `Path`: pickle has each once, as SHORT_BINUNICODE with a length of one byte.
    parts = {part.encode("utf-8", "surrogateescape") for part in path.strip("/").split("/")}
    if max(map(len, parts)) < 256:
        yield tuple(b"\x8c%c%s" % (len(part), part) for part in sorted(parts, key=len, reverse=True))


def _folders(saved: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((name, output) for name, output in saved.items() if output["kind"] == "folder")


def _incoming(saved: Mapping[str, Any]) -> IncomingFile:
    # The kernel has digested the file while writing it: with an unchanged stat signature it is not read again.
    mark = StatSignature.from_list(saved["mark"]) if saved.get("mark") else None
    return IncomingFile(path=Path(saved["path"]), digest=saved.get("digest"), mark=mark)


def _changed(spec: InputSpec, ticket: StepTicket, store: Store) -> bool:
    """Tell whether an input file has changed since the step was planned: the step may have read either content."""
    if spec.get("format") == GATHERED:
        return any(
            _changed(_artifact_spec(artifact), ticket, store) for artifact in contents(store, spec["digest"]).artifacts
        )
    if spec["kind"] == "artifact":
        return _is_seen(spec, store) and store.blobs.verify(spec["digest"]) != "ok"
    if spec["kind"] == "missing" or not spec.get("digest"):
        return False
    try:
        digest = store.digest(Path(ticket.cwd, spec["path"]))
    except OSError:
        return True
    # Digests of two algorithms (with and without the package blake3) cannot be compared.
    return digest != spec["digest"] and algorithm_of(digest) == algorithm_of(spec["digest"])


def _is_seen(spec: InputSpec, store: Store) -> bool:
    """Tell whether the step had access to the stored file itself: by its path, or as mapped memory."""
    # Values that were read into memory are copies: their files need not be verified again.
    if spec["format"] in PATH_FORMATS:
        return spec["format"] == "file"
    try:
        return is_mapped(store.blobs.path(spec["digest"]).stat())
    except OSError:
        return True


def _not_intact(name: str, condition: str, artifact: Artifact, ticket: StepTicket) -> Diagnostic:
    algorithm = algorithm_of(artifact.digest)
    unknown = f"it was stored with {algorithm}, which is not installed here"
    return Diagnostic(
        code="JP310",
        message=f"the input `{name}` of step `{ticket.step}` cannot be loaded: "
        + (unknown if condition == "unknown" else f"what is stored is {condition}"),
        suggestion=f"`pip install {algorithm}`, or run the pipeline again: it is computed anew"
        if condition == "unknown"
        else "run the pipeline again: it is computed anew",
        step=ticket.step,
    )


def _not_saved(name: str, ticket: StepTicket) -> Diagnostic:
    return Diagnostic(
        code="JP204",
        message=f"step `{ticket.step}` finished without saving its output `{name}`",
        suggestion=f"assign `{name}` in the step, or take it out of `-o`",
        step=ticket.step,
    )


def _file_changed(name: str, spec: InputSpec, ticket: StepTicket) -> Diagnostic:
    what = spec.get("path") or "what is stored of an earlier step"
    return Diagnostic(
        code="JP307",
        message=f"the input file `{name}` of step `{ticket.step}` ({what}) changed while the step ran",
        suggestion="let the step write to a file output of its own (`-o NAME:file`), or run again if something else "
        "changed it",
        step=ticket.step,
    )
