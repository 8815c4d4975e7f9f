"""Work on stores during which faults are injected, and the invariants that must hold at any time.

A scenario prepares a store, then works on it; `check` runs afterwards in a process of its own. What `work` returns is
compared with what it returns when nothing goes wrong.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.maintenance.format_upgrade import upgrade
from jupyter_pipelines.storage.maintenance.fsck import examine
from jupyter_pipelines.storage.maintenance.garbage_collection import collect
from jupyter_pipelines.storage.maintenance.store_copy import copy_store
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.store import FORMAT, Store

KEY = "ab" + "0" * 62
OLD_KEY = "cd" + "0" * 62
RUN = "20260101-000000-000000-abcdef"
OLD_RUN = "20250101-000000-000000-abcdef"
Digests = dict[str, str]


def record(key: str, outputs: dict[str, Artifact], created: str = "2026") -> StepRecord:
    return StepRecord(key=key, step="s", notebook=None, outputs=outputs, run=RUN, created=created, seconds=1.0)


def artifact(digest: str, format: str = "bytes") -> Artifact:  # noqa: A002
    return Artifact(digest=digest, format=format, bytes=1)


def make_tree(folder: Path) -> Path:
    """Make a folder as a step does."""
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"a")
    (folder / "sub" / "b").write_bytes(b"b" * 1000)
    return folder


def put(root: Path, *, durable: bool = True) -> Digests:
    """What a step leaves: a blob that is moved in, one that is written, a folder; then the record."""
    store = open_store(root)
    folder = store.scratch()
    (folder / "value").write_bytes(b"moved in" * 1000)
    digests = {
        "moved": store.blobs.put_file(folder / "value").digest,
        "written": store.blobs.put_bytes(b"written" * 1000).digest,
        "folder": store.blobs.put_folder(make_tree(folder / "tree")).digest,
    }
    shutil.rmtree(folder, ignore_errors=True)
    outputs = {name: artifact(digest, "folder" if name == "folder" else "bytes") for name, digest in digests.items()}
    made = record(KEY, outputs)
    store.records.put(made, durable=durable)
    if not durable:
        store.flush([made])
    return digests


def put_and_flush_later(root: Path) -> Digests:
    return put(root, durable=False)


def keep_a_run(root: Path) -> Digests:
    """What the runner leaves of a run: a lease, its document, its events, its document again."""
    store = open_store(root)
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
    store = open_store(root)
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
    store = open_store(root)
    collect(store, older_than=1000)
    kept = store.records.get(KEY)
    assert kept is not None, "what was to be kept is gone"
    assert all(store.intact(output) == "ok" for output in kept.outputs.values()), "what was to be kept is gone"
    assert store.records.get(OLD_KEY) is None
    return {name: output.digest for name, output in kept.outputs.items()}


def damaged_store(root: Path) -> None:
    """The same store, harmed: a blob flipped, a record torn, a blob missing, an unexpected file."""
    old_store(root)
    store = open_store(root)
    stored = store.records.get(OLD_KEY)
    assert stored is not None
    flipped, gone = (store.blobs.path(output.digest) for output in stored.outputs.values())
    store.close()
    flipped.chmod(0o600)
    flipped.write_bytes(b"other" * 500)
    gone.unlink()
    (root / "records" / "ab" / ("ab" + "1" * 62 + ".json")).write_text('{"sha256": ')
    (flipped.parent / "strange").write_text("strange")


def repair(root: Path) -> Digests:
    """What `fsck --repair` does."""
    report = examine(root, repair=True)
    assert report.code == 0, report
    return read(root)


def heal(root: Path) -> Digests:
    """What a run does with an entry that is damaged: it computes it again, and puts it where the damaged one is."""
    store = open_store(root)
    digests = compute(store, OLD_KEY, "2025")
    assert all(store.blobs.verify(digest) == "ok" for digest in digests.values())
    return digests


def read(root: Path) -> Digests:
    """What a run does with a step that ran before: it looks the record up, checks and loads; or computes it again."""
    store = open_store(root)
    stored = store.records.get(KEY)
    whole = stored is not None and set(store.intact_many(stored.outputs.values()).values()) == {"ok"}
    if stored is None or not whole:
        return compute(store, KEY, "2026")
    for name, output in stored.outputs.items():
        with store.blobs.open(output.digest) as file:
            assert file.read() == f"{KEY}{name}".encode() * 500, "WRONG BYTES"
    return {name: output.digest for name, output in stored.outputs.items()}


def older_store(root: Path) -> None:
    """A store of the format before traces, with a record that has none."""
    store = open_store(root)
    compute(store, KEY, "2026")
    untraced = store.records.get(KEY)
    assert untraced is not None
    store.records.put(replace(untraced, trace=None))
    store.close()
    (root / "format.json").write_text('{"schema": "jupyter-pipelines/store/2", "writer": "0.1.0"}')


def bring_up_to_date(root: Path) -> Digests:
    """What `store upgrade` does."""
    upgrade(root)
    assert json.loads((root / "format.json").read_bytes())["schema"].endswith(f"/{FORMAT}"), "it is of an older format"
    return read(root)


def copied_here(root: Path) -> Digests:
    """What `store move` does to its destination."""
    with tempfile.TemporaryDirectory() as folder:
        source = open_store(Path(folder, "source"))
        compute(source, KEY, "2026")
        tree = make_tree(Path(folder, "tree"))
        outputs = {"tree": artifact(source.blobs.put_folder(tree).digest, "folder")}
        source.records.put(record(OLD_KEY, outputs, "2025"))
        source.runs.create(RUN)
        source.runs.write(RUN, {"state": "succeeded", "steps": []})
        source.close()
        report = copy_store(source.root, root)
    assert report.left_out == []
    assert report.kept == []
    store = open_store(root)
    assert store.runs.read(RUN)["state"] == "succeeded"
    kept = [store.records.get(key) for key in (KEY, OLD_KEY)]
    store.close()
    return {name: output.digest for stored in kept if stored for name, output in stored.outputs.items()}


def compute(store: Store, key: str, created: str) -> Digests:
    digests = {name: store.blobs.put_bytes(f"{key}{name}".encode() * 500).digest for name in "xy"}
    store.records.put(record(key, {name: artifact(digest) for name, digest in digests.items()}, created))
    return digests


@dataclass(frozen=True)
class FaultScenario:
    """Work that is done on a store, and how the store is prepared for it."""

    work: Callable[[Path], Digests]
    prepare: Callable[[Path], None] = lambda root: None
    harmed: bool = False


SCENARIOS = {
    "put": FaultScenario(put),
    "put and flush later": FaultScenario(put_and_flush_later),
    "keep a run": FaultScenario(keep_a_run),
    "gc": FaultScenario(remove_the_old, old_store),
    "repair": FaultScenario(repair, damaged_store, harmed=True),
    "heal": FaultScenario(heal, damaged_store, harmed=True),
    "read": FaultScenario(read, old_store),
    "upgrade": FaultScenario(bring_up_to_date, older_store),
    "copy": FaultScenario(copied_here),
}


def check(root: Path, *, harmed: bool = False, dead: bool = True) -> list[str]:
    """Return which invariants a store breaks for the next process that opens it.

    Parameters
    ----------
    root : Path
        The store.
    harmed : bool
        It was damaged before: damage may be left, but is never served.
    dead : bool
        The process that worked on it is dead, and what it left behind must be gone.
    """
    store = open_store(root)
    wrong = []
    if dead:
        wrong += [f"I6: left behind: tmp/{name}" for name in store.folder.ls("tmp")]
    if not harmed:
        wrong += [f"I2: put aside: {name}" for name in store.folder.ls("aside")]
        wrong += [f"I2: torn: {digest}" for digest in store.blobs.digests() if store.blobs.examine(digest) != "ok"]
    wrong += _wrong_records(store, harmed)
    wrong += _wrong_runs(store)
    store.close()
    return wrong


def _wrong_records(store: Store, harmed: bool) -> list[str]:
    wrong = []
    for key in store.records.all_keys():
        stored = store.records.get(key)
        if stored is None:
            wrong += [] if harmed else [f"I3: a torn record: {key}"]
            continue
        conditions = {output.digest: store.intact(output) for output in stored.outputs.values()}
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
