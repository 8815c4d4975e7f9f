"""What is done to stores while something goes wrong, and what must hold of them at any time.

A scene prepares a store, then works on it; `check` is asked afterwards by a process of its own. What `work` returns is
compared with what it returns when nothing goes wrong.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing.collecting import collect
from jupyter_pipelines.storing.examining import examine
from jupyter_pipelines.storing.records import StepRecord
from jupyter_pipelines.storing.store import Store

KEY = "ab" + "0" * 62
OLD_KEY = "cd" + "0" * 62
RUN = "20260101-000000-000000-abcdef"
OLD_RUN = "20250101-000000-000000-abcdef"
Digests = dict[str, str]


def record(key: str, outputs: dict[str, Artifact], created: str = "2026") -> StepRecord:
    return StepRecord(key=key, step="s", notebook=None, outputs=outputs, run=RUN, created=created, seconds=1.0)


def artifact(digest: str, format: str = "bytes") -> Artifact:  # noqa: A002
    return Artifact(digest=digest, format=format, bytes=1)


def tree(place: Path) -> Path:
    """A folder that a step has made."""
    (place / "sub").mkdir(parents=True)
    (place / "a").write_bytes(b"a")
    (place / "sub" / "b").write_bytes(b"b" * 1000)
    return place


def put(root: Path, *, settled: bool = True) -> Digests:
    """What a step leaves: a blob that is moved in, one that is written, a folder; then the record."""
    store = Store.open(root)
    folder = store.scratch()
    (folder / "value").write_bytes(b"moved in" * 1000)
    digests = {
        "moved": store.blobs.put_file(folder / "value").digest,
        "written": store.blobs.put_bytes(b"written" * 1000).digest,
        "folder": store.blobs.put_folder(tree(folder / "tree")).digest,
    }
    shutil.rmtree(folder, ignore_errors=True)
    outputs = {name: artifact(digest, "folder" if name == "folder" else "bytes") for name, digest in digests.items()}
    made = record(KEY, outputs)
    store.records.put(made, settled=settled)
    if not settled:
        store.settle([made])
    return digests


def put_and_settle_later(root: Path) -> Digests:
    return put(root, settled=False)


def keep_a_run(root: Path) -> Digests:
    """What the runner leaves of a run: a lease, its document, its events, its document again."""
    store = Store.open(root)
    with store.leases.lease(KEY) as lease:
        store.runs.remove(RUN)
        store.runs.create(RUN)
        store.runs.write(RUN, {"state": "running", "steps": []})
        for number in range(3):
            store.runs.append(RUN, {"kind": "begun", "number": number})
        store.runs.write(RUN, {"state": "succeeded", "steps": []})
        assert lease.held
    return {}


def old_store(root: Path) -> None:
    """A store with two records of one step, the older one of no use any more, and a run of last year."""
    store = Store.open(root)
    for key, created in ((OLD_KEY, "2025"), (KEY, "2026")):
        outputs = {name: artifact(store.blobs.put_bytes(f"{key}{name}".encode() * 500).digest) for name in "xy"}
        store.records.put(record(key, outputs, created))
    store.runs.create(OLD_RUN)
    store.runs.write(OLD_RUN, {"state": "succeeded", "steps": []})
    store.close()
    then = time.time() - 10_000_000
    for path in [*root.rglob("*"), root]:
        os.utime(path, (then, then))


def remove_the_old(root: Path) -> Digests:
    """What `gc` does."""
    store = Store.open(root)
    collect(store, older_than=1000)
    kept = store.records.get(KEY)
    assert kept is not None, "what was to be kept is gone"
    assert all(store.intact(one) == "ok" for one in kept.outputs.values()), "what was to be kept is gone"
    assert store.records.get(OLD_KEY) is None
    return {name: one.digest for name, one in kept.outputs.items()}


def damaged_store(root: Path) -> None:
    """The same store, harmed: a blob flipped, a record torn, one that leads nowhere, a strange file."""
    old_store(root)
    store = Store.open(root)
    found = store.records.get(OLD_KEY)
    assert found is not None
    flipped, gone = (store.blobs.path(one.digest) for one in found.outputs.values())
    store.close()
    flipped.chmod(0o600)
    flipped.write_bytes(b"other" * 500)
    gone.unlink()
    (root / "records" / "ab" / ("ab" + "1" * 62 + ".json")).write_text('{"sha256": ')
    (flipped.parent / "strange").write_text("strange")


def repair(root: Path) -> Digests:
    """What `fsck --repair` does."""
    found = examine(root, repair=True)
    assert found.code == 0, found
    return read(root)


def heal(root: Path) -> Digests:
    """What a run does with an entry that is damaged: it computes it again, and puts it where the damaged one is."""
    store = Store.open(root)
    digests = compute(store, OLD_KEY, "2025")
    assert all(store.blobs.verify(digest) == "ok" for digest in digests.values())
    return digests


def read(root: Path) -> Digests:
    """What a run does with a step that ran before: it looks the record up, checks and loads; or computes it again."""
    store = Store.open(root)
    found = store.records.get(KEY)
    whole = found is not None and set(store.intact_many(found.outputs.values()).values()) == {"ok"}
    if found is None or not whole:
        return compute(store, KEY, "2026")
    for name, one in found.outputs.items():
        with store.blobs.open(one.digest) as file:
            assert file.read() == f"{KEY}{name}".encode() * 500, "WRONG BYTES"
    return {name: one.digest for name, one in found.outputs.items()}


def compute(store: Store, key: str, created: str) -> Digests:
    digests = {name: store.blobs.put_bytes(f"{key}{name}".encode() * 500).digest for name in "xy"}
    store.records.put(record(key, {name: artifact(digest) for name, digest in digests.items()}, created))
    return digests


@dataclass(frozen=True)
class Scene:
    """Something that is done to a store."""

    work: Callable[[Path], Digests]
    prepare: Callable[[Path], None] = lambda root: None
    harmed: bool = False


SCENES = {
    "put": Scene(put),
    "put and settle later": Scene(put_and_settle_later),
    "keep a run": Scene(keep_a_run),
    "gc": Scene(remove_the_old, old_store),
    "repair": Scene(repair, damaged_store, harmed=True),
    "heal": Scene(heal, damaged_store, harmed=True),
    "read": Scene(read, old_store),
}


def check(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Return what is wrong with a store as whoever opens it next finds it: invariants that must hold at any time.

    Parameters
    ----------
    root : Path
        The store.
    harmed : bool
        It was damaged before: damage may be left, but is never served.
    dead : bool
        Whoever worked on it is dead, and what it left behind must be gone.
    """
    store = Store.open(root)
    wrong = []
    if dead:
        wrong += [f"I6: left behind: tmp/{name}" for name in store.door.ls("tmp")]
    if not harmed:
        wrong += [f"I2: put aside: {name}" for name in store.door.ls("aside")]
        wrong += [f"I2: torn: {one}" for one in store.blobs.digests() if store.blobs.examine(one) != "ok"]
    wrong += _wrong_records(store, harmed)
    wrong += _wrong_runs(store)
    store.close()
    return wrong


def _wrong_records(store: Store, harmed: bool) -> list[str]:
    wrong = []
    for key in store.records.all_keys():
        found = store.records.get(key)
        if found is None:
            wrong += [] if harmed else [f"I3: a torn record: {key}"]
            continue
        conditions = {one.digest: store.intact(one) for one in found.outputs.values()}
        if not harmed and set(conditions.values()) != {"ok"}:
            wrong.append(f"I3: a record without its outputs: {key}: {conditions}")
        for digest, condition in conditions.items():
            if condition == "ok" and store.blobs.examine(digest) != "ok":
                wrong.append(f"I2: wrong bytes would be served: {digest}")
    newest = store.records.latest("s")
    if newest is not None and store.records.get(newest.key) != newest:
        wrong.append("I2: the index serves another record than the files")
    return wrong


def _wrong_runs(store: Store) -> list[str]:
    wrong = []
    for run in store.runs.ids():
        state = store.runs.read(run)["state"]
        if state not in ("lost", "succeeded"):
            wrong.append(f"I5: run {run} is {state}")
        numbers = [event.get("number") for event in store.runs.events(run)]
        if numbers != sorted(set(numbers)):
            wrong.append(f"I2: events of {run} are torn: {numbers}")
    return wrong
