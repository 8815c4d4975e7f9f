"""The results of a ``--foreach`` step as a single artifact that names the artifacts of all items.

It is kept as a folder is: a manifest of digests, with an additional entry that says which item is which. All code that
checks, keeps or removes folders and their files treats gathered artifacts alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT, Gathered
from jupyter_pipelines.storing import folders
from jupyter_pipelines.storing.faults import damaged

if TYPE_CHECKING:
    from jupyter_pipelines.storing.store import Store

SCHEMA = "jupyter-pipelines/gathered/1"
_INDEX = "items.json"
Key = Sequence[tuple[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The contents of a gathered artifact.

    Parameters
    ----------
    keys : tuple of dict
        The values of each item, by name.
    artifacts : tuple of Artifact
        The result of each.
    failed : tuple of dict
        The values of items that failed.
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
    entries = [folders.Entry(path=_INDEX, digest=stored.digest, size=len(content))]
    for number, (_, artifact) in enumerate(succeeded):
        entries += _entries(store, f"{number:06}", artifact)
    manifest = store.blobs.put_bytes(folders.encode(entries))
    return Artifact(digest=manifest.digest, format=FORMAT, bytes=sum(artifact.bytes for _, artifact in succeeded))


def _entries(store: Store, name: str, artifact: Artifact) -> list[folders.Entry]:
    """Return what stands for an item: for a folder its own manifest and all that is in it."""
    own = folders.Entry(path=name, digest=artifact.digest, size=artifact.bytes)
    inner = store.blobs.manifest(artifact.digest) if artifact.format == "folder" else ()
    return [own, *(replace(entry, path=f"{name}.d/{entry.path}") for entry in inner)]


def contents(store: Store, digest: str) -> Contents:
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
        raise damaged(f"the gathered output {digest}", (repr(error),)) from error


def _decoded(index: Mapping[str, Any]) -> Contents:
    if index["schema"] != SCHEMA:
        raise ValueError(f"its format is {index['schema']!r}, not {SCHEMA!r}")
    return Contents(
        keys=tuple(_key(item["key"]) for item in index["items"]),
        artifacts=tuple(Artifact.from_dict(item) for item in index["items"]),
        failed=tuple(_key(pairs) for pairs in index["failed"]),
    )


def load(store: Store, digest: str) -> Gathered:
    """Return the results that the gathered artifact of `digest` names.

    Raises
    ------
    StoreError
        Something is not there (JP405), damaged (JP404) or cannot be read back (JP405).
    """
    gathered_contents = contents(store, digest)
    return Gathered(
        [store.load(artifact) for artifact in gathered_contents.artifacts],
        gathered_contents.keys,
        gathered_contents.failed,
    )


def _key(pairs: Sequence[Sequence[Any]]) -> dict[str, Any]:
    return {str(name): value for name, value in pairs}
