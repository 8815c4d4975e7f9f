"""The results of a ``--foreach`` step as a single artifact that names the artifacts of all items.

It is stored like a folder: as a manifest of digests, with an additional entry that maps items to results. Code that
verifies, keeps or removes folders treats gathered artifacts in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT
from jupyter_pipelines.storage.blobs import manifests
from jupyter_pipelines.storage.files.os_errors import corrupt_error

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

SCHEMA = "jupyter-pipelines/gathered/1"
_INDEX = "items.json"
Key = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredContents:
    """The contents of a gathered artifact.

    Parameters
    ----------
    keys : tuple of dict
        The loop values of each item, by name.
    artifacts : tuple of Artifact
        The result of each.
    failed : tuple of dict
        The loop values of failed items.
    """

    keys: tuple[Mapping[str, Any], ...]
    artifacts: tuple[Artifact, ...]
    failed: tuple[Mapping[str, Any], ...] = ()


def put(store: Store, items: Sequence[tuple[Key, Artifact | None]]) -> Artifact:
    """Store the artifact that names the artifacts of `items`, in their order; None for an item that failed.

    Raises
    ------
    StoreError
        The store is full (JP403) or cannot be written (JP402), or an item's folder is not there (JP405).
    """
    succeeded = [(key, artifact) for key, artifact in items if artifact is not None]
    index = {
        "schema": SCHEMA,
        "items": [{"key": [list(pair) for pair in key], **artifact.to_dict()} for key, artifact in succeeded],
        "failed": [[list(pair) for pair in key] for key, artifact in items if artifact is None],
    }
    content = json.dumps(index, separators=(",", ":")).encode()
    stored = store.blobs.put_bytes(content)
    entries = [manifests.ManifestEntry(path=_INDEX, digest=stored.digest, size=len(content))]
    for number, (_, artifact) in enumerate(succeeded):
        entries += _entries(store, f"{number:06}", artifact)
    manifest = store.blobs.put_bytes(manifests.encode(entries))
    return Artifact(digest=manifest.digest, format=FORMAT, bytes=sum(artifact.bytes for _, artifact in succeeded))


def _entries(store: Store, name: str, artifact: Artifact) -> list[manifests.ManifestEntry]:
    """Return the entries of an item: its blob, and for a folder also the files that its manifest names."""
    container_entry = manifests.ManifestEntry(path=name, digest=artifact.digest, size=artifact.bytes)
    # Garbage collection follows one level of manifests only, so the files of a folder are listed here, too.
    inner = store.blobs.manifest(artifact.digest) if artifact.format == "folder" else ()
    return [container_entry, *(replace(entry, path=f"{name}.d/{entry.path}") for entry in inner)]


def contents(store: Store, digest: str) -> GatheredContents:
    """Return what the gathered artifact of `digest` names.

    Raises
    ------
    StoreError
        It is not there (JP405), or damaged (JP404).
    """
    entries = {entry.path: entry.digest for entry in store.blobs.manifest(digest)}
    try:
        with store.blobs.open(entries[_INDEX]) as file:
            index = json.loads(file.read())
        return _decoded(index)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        raise corrupt_error(f"the gathered output {digest}", (repr(error),)) from error


def _decoded(index: Mapping[str, Any]) -> GatheredContents:
    if index["schema"] != SCHEMA:
        raise ValueError(f"its format is {index['schema']!r}, not {SCHEMA!r}")
    return GatheredContents(
        keys=tuple(_key(item["key"]) for item in index["items"]),
        artifacts=tuple(Artifact.from_dict(item) for item in index["items"]),
        failed=tuple(_key(pairs) for pairs in index["failed"]),
    )


def _key(pairs: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {str(name): value for name, value in pairs}
