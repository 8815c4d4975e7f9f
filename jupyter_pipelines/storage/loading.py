"""Load the values of artifacts: single values, files, folders, and the gathered results of all items of a step."""

from __future__ import annotations

from typing import Any

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED_FORMAT
from jupyter_pipelines.pipeline.foreach import GatheredResults
from jupyter_pipelines.storage import gathered_items, serializers
from jupyter_pipelines.storage.store import FILE_FORMAT, FOLDER_FORMAT, Store


def load_value(store: Store, artifact: Artifact) -> Any:
    """Return the value of `artifact` after verifying its bytes; for a file its path in the store, for a folder a copy.

    Raises
    ------
    CorruptOutput
        The stored bytes are damaged (JP404); they are quarantined.
    StoreError
        The store does not hold them (JP405), or they cannot be read back (JP405).
    """
    if artifact.format == FOLDER_FORMAT:
        target = store.scratch() / "folder"
        store.blobs.materialise(artifact.digest, target)
        return target
    if artifact.format == GATHERED_FORMAT:
        return _load_gathered(store, artifact.digest)
    # Opening verifies the digest; serializers that map files into memory need a path, not a handle.
    store.blobs.open(artifact.digest).close()
    path = store.blobs.path(artifact.digest)
    return path if artifact.format == FILE_FORMAT else serializers.load(path, artifact.format)


def _load_gathered(store: Store, digest: str) -> GatheredResults:
    contents = gathered_items.contents(store, digest)
    values = [load_value(store, artifact) for artifact in contents.artifacts]
    return GatheredResults(values, contents.keys, contents.failed)


def store_alone(store: Store, artifact: Artifact) -> Artifact:
    """Store an output that shares a file with others in a file of its own; this unpickles, and so runs code.

    Raises
    ------
    CorruptOutput
        The stored bytes are damaged (JP404); they are quarantined.
    StoreError
        They are not there or cannot be read back (JP405), or the store cannot be written (JP402, JP403).
    """
    path = store.scratch() / "value"
    saved = serializers.save(load_value(store, artifact), path)
    stored = store.blobs.put_file(path, move=True, digest=saved.digest)
    return Artifact(digest=stored.digest, format=saved.format, bytes=stored.size)
