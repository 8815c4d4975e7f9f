"""Writers to try the harness on: two that are wrong, which it has to find, and the one that the store has.

Who reads what they wrote believes it: nothing but the way of writing keeps torn bytes from being seen.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from jupyter_pipelines.storing.door import Folder, make_folder
from jupyter_pipelines.storing.store import Store

OLD, NEW = b"old" * 3000, b"new" * 4000
Writer = Callable[[Path, bytes], None]


def in_place(path: Path, content: bytes) -> None:
    """Not atomic: who looks while it writes, or after it died, sees half of it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def without_fsync(path: Path, content: bytes) -> None:
    """Atomic for who looks; after a power cut the name may be there before the bytes are."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
    part.replace(path)


def by_the_door(path: Path, content: bytes) -> None:
    """The way of the store."""
    Folder(path.parent).write(path.name, content)


def working(writer: Writer, root: Path) -> dict[str, str]:
    """Write a file, and then something else in its place."""
    make_folder(root)
    for content in (OLD, NEW):
        writer(root / "value", content)
    return {"value": hashlib.sha256((root / "value").read_bytes()).hexdigest()}


def believed(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Return what a reader would take for whole that is not."""
    path = root / "value"
    found = path.read_bytes() if path.exists() else OLD
    return [] if found in (OLD, NEW) else [f"I2: {len(found)} torn bytes would be served"]


def served(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Return what a store would serve that is not what was stored; what is missing or damaged is a miss."""
    store = Store.open(root)
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


def lost(root: Path, expected: dict[str, str]) -> list[str]:
    """Return what is gone although whoever wrote it had been told that it would last."""
    if "value" in expected:
        return [] if believed(root) == [] and (root / "value").exists() else ["I3: what was to last is gone"]
    store = Store.open(root)
    gone = [name for name, digest in expected.items() if store.blobs.verify(digest) != "ok"]
    records = store.records.all_keys() or not expected
    runs = [store.runs.read(run)["state"] for run in store.runs.ids()]
    store.close()
    whole = not gone and records and (expected or runs == ["succeeded"])
    return [] if whole else [f"I3: what was to last is gone: {gone} {records} {runs}"]
