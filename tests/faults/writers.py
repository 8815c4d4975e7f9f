"""Writers to try the harness on: two that are wrong, which it has to find, and the writer of the store.

The reader checks nothing: only the way of writing keeps torn bytes from being seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from jupyter_pipelines.storage.files.local_folder import LocalFolder, make_folder
from jupyter_pipelines.storage.opening import open_store

OLD, NEW = b"old" * 3000, b"new" * 4000
Writer = Callable[[Path, bytes], None]


def in_place(path: Path, content: bytes) -> None:
    """Not atomic: a reader sees half of it while it is written, or after the writer died."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def without_fsync(path: Path, content: bytes) -> None:
    """Atomic for readers; after a power cut the name may be there before the bytes are."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
    part.replace(path)


def by_local_folder(path: Path, content: bytes) -> None:
    """Write as the store does."""
    LocalFolder(path.parent).write(path.name, content)


def write_twice(writer: Writer, root: Path) -> dict[str, str]:
    """Write a file, and then something else in its place."""
    make_folder(root)
    for content in (OLD, NEW):
        writer(root / "value", content)
    return {"value": hashlib.sha256((root / "value").read_bytes()).hexdigest()}


def torn_bytes(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Return the torn content that a reader would take for whole."""
    path = root / "value"
    content = path.read_bytes() if path.exists() else OLD
    return [] if content in (OLD, NEW) else [f"I2: {len(content)} torn bytes would be served"]


def wrongly_served(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Return what a store would serve that is not what was stored; what is missing or damaged is a miss."""
    store = open_store(root)
    wrong = []
    for key in store.records.all_keys():
        record = store.records.get(key)
        for name, artifact in record.outputs.items() if record else ():
            if store.intact(artifact) == "ok" and store.blobs.examine(artifact.digest) != "ok":
                wrong.append(f"I2: wrong bytes of {name} would be served")
    for run in store.runs.ids():
        try:
            state = store.runs.read(run)["state"]
        except Exception as error:  # noqa: BLE001
            wrong.append(f"I5: run {run} cannot be read: {error!r}")
            continue
        if state not in ("lost", "succeeded"):
            wrong.append(f"I5: run {run} is {state}")
    store.close()
    return wrong


def lost_results(root: Path, expected: dict[str, str]) -> list[str]:
    """Return what is gone although the write was reported as durable."""
    if "value" in expected:
        return [] if torn_bytes(root) == [] and (root / "value").exists() else ["I3: what was to last is gone"]
    store = open_store(root)
    gone = [name for name, digest in expected.items() if store.blobs.verify(digest) != "ok"]
    records = store.records.all_keys() or not expected
    runs = [store.runs.read(run)["state"] for run in store.runs.ids()]
    store.close()
    whole = not gone and records and (expected or runs == ["succeeded"])
    return [] if whole else [f"I3: what was to last is gone: {gone} {records} {runs}"]
