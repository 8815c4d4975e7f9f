"""What a garbage collection removes, and above all what it keeps."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.maintenance.garbage_collection import GcReport, collect
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.records.run_store import RunStore
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.store import Store
from tests.storage import helper_processes

DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def make_old(path: Path, days: float = 30) -> None:
    then = time.time() - days * DAY
    for member in (path, *path.rglob("*")) if path.is_dir() else (path,):
        os.utime(member, (then, then), follow_symlinks=False)


def blob(store: Store, content: bytes, days: float = 30) -> Artifact:
    digest, size = store.blobs.put_bytes(content)
    make_old(store.blobs.path(digest), days)
    return Artifact(digest=digest, format="bytes", bytes=size)


def record(
    store: Store, number: int, *outputs: Artifact, step: str = "train", notebook: str = "n", days: float = 30
) -> StepRecord:
    stored = StepRecord(
        key=f"{number:064x}",
        step=step,
        notebook=notebook,
        outputs={str(at): artifact for at, artifact in enumerate(outputs)},
        run="r",
        created=f"2026-01-01T00:00:{number:02}+00:00",
        seconds=1.0,
    )
    store.records.put(stored)
    make_old(store.root / "records" / stored.key[:2] / f"{stored.key}.json", days)
    return stored


def run(store: Store, *records: StepRecord, state: str = "succeeded", days: float = 30) -> str:
    run_id = RunStore.new_id()
    folder = store.runs.create(run_id)
    steps = [
        {
            "name": step_record.step,
            "key": step_record.key,
            "outputs": {n: a.to_dict() for n, a in step_record.outputs.items()},
        }
        for step_record in records
    ]
    store.runs.write(run_id, {"run": run_id, "state": state, "steps": steps})
    (folder / "train.ipynb").write_bytes(b"x" * 1000)
    make_old(folder, days)
    return run_id


def remaining(store: Store) -> tuple[set[str], set[str], set[str]]:
    return set(store.runs.ids()), set(store.records.all_keys()), set(store.blobs.digests())


def keys(*records: StepRecord) -> set[str]:
    return {record.key for record in records}


def digests(artifacts: Iterable[Artifact]) -> set[str]:
    return {artifact.digest for artifact in artifacts}


def test_the_newest_record_of_each_step_stays_and_older_ones_go(store: Store) -> None:
    values = [blob(store, str(number).encode() * 100) for number in range(5)]
    old, new, other_step, other_notebook = (
        record(store, 1, values[0]),
        record(store, 2, values[1]),
        record(store, 1_0, values[2], step="load"),
        record(store, 2_0, values[3], notebook="other"),
    )
    report = collect(store, older_than=7 * DAY)
    assert set(report.records) == keys(old)
    assert set(report.blobs) == {values[0].digest, values[4].digest}
    assert remaining(store) == (set(), keys(new, other_step, other_notebook), digests(values[1:4]))
    assert store.records.get(old.key) is None
    assert store.records.latest("train", "n") == new


def test_old_runs_go_and_what_only_they_named(store: Store) -> None:
    values = [blob(store, str(number).encode() * 100) for number in range(3)]
    records = [record(store, number, values[number]) for number in range(3)]
    old, young = run(store, records[0], days=30), run(store, records[1], days=1)
    report = collect(store, older_than=7 * DAY)
    assert report.runs == (old,)
    assert remaining(store) == ({young}, keys(*records[1:]), digests(values[1:]))
    assert not (store.root / "runs" / old).exists()


def test_what_a_kept_run_names_stays_even_without_its_record(store: Store) -> None:
    value = blob(store, b"value")
    kept = record(store, 1, value)
    run(store, kept, days=1)
    store.records.forget(kept.key)
    collect(store, older_than=7 * DAY)
    assert store.blobs.verify(value.digest) == "ok"


def test_what_is_young_stays(store: Store) -> None:
    blob(store, b"put a moment ago, its record is still to come", days=0)
    old_blob = blob(store, b"old")
    record(store, 1)
    record(store, 2, days=0)
    record(store, 3, days=0)
    report = collect(store, older_than=7 * DAY)
    assert set(report.blobs) == {old_blob.digest}
    assert len(store.records.all_keys()) == 2
    collect(store, older_than=0)
    assert remaining(store) == (set(), {f"{3:064x}"}, set())


def test_putting_the_same_bytes_again_makes_a_blob_young(store: Store) -> None:
    value = blob(store, b"value")
    store.blobs.put_bytes(b"value")
    collect(store, older_than=7 * DAY)
    assert store.blobs.verify(value.digest) == "ok"


def test_a_blob_that_is_put_while_it_is_collected_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    value = blob(store, b"value")
    other = open_store(store.root)
    discard = store.blobs.discard

    def put_first(digest: str, grace: float) -> None:
        other.blobs.put_bytes(b"value")
        discard(digest, grace)

    monkeypatch.setattr(store.blobs, "discard", put_first)
    collect(store, older_than=7 * DAY)
    assert store.blobs.verify(value.digest) == "ok"


def test_members_of_a_folder_stay_with_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "a").write_bytes(b"a")
    (tmp_path / "plots" / "b").write_bytes(b"b")
    digest, size = store.blobs.put_folder(tmp_path / "plots")
    make_old(store.root / "blobs")
    record(store, 1, Artifact(digest=digest, format="folder", bytes=size))
    collect(store, older_than=7 * DAY)
    assert store.blobs.verify_folder(digest) == "ok"
    record(store, 2)
    report = collect(store, older_than=7 * DAY)
    assert len(report.blobs) == 3
    assert remaining(store)[2] == set()


LIVE = """
store = open_store(sys.argv[1])
run = store.runs.new_id()
store.runs.create(run)
store.runs.write(run, {"state": "running", "steps": []})
print(run, flush=True)
sys.stdin.read()
"""


def test_nothing_a_live_run_might_need_is_touched(store: Store) -> None:
    value = blob(store, b"value")
    records = [record(store, 1, value), record(store, 2)]
    owner = helper_processes.start(LIVE, store.root)
    live = helper_processes.next_line(owner)
    make_old(store.root / "runs" / live)
    gone = run(store)
    report = collect(store, older_than=7 * DAY)
    assert report.runs == (gone,)
    assert live in report.notes[0]
    assert remaining(store) == ({live}, keys(*records), {value.digest})
    owner.communicate()
    report = collect(store, older_than=7 * DAY)
    assert (report.runs, report.records, report.blobs) == ((live,), (records[0].key,), (value.digest,))


def test_nothing_is_touched_while_a_step_is_computed(store: Store) -> None:
    value = blob(store, b"value")
    with store.leases.lease("f" * 64):
        report = collect(store, older_than=0)
        assert report.notes
        assert store.blobs.verify(value.digest) == "ok"
    assert collect(store, older_than=0).blobs == (value.digest,)


def test_a_dry_run_says_the_same_and_touches_nothing(store: Store) -> None:
    values = [blob(store, bytes(1000)), blob(store, b"x" * 500)]
    record(store, 1, values[0])
    record(store, 2, values[1])
    run(store)
    before = remaining(store)
    dry = collect(store, older_than=7 * DAY, dry_run=True)
    assert remaining(store) == before
    wet = collect(store, older_than=7 * DAY)
    assert dry.dry_run
    assert not wet.dry_run
    assert (dry.runs, dry.records, dry.blobs, dry.bytes) == (wet.runs, wet.records, wet.blobs, wet.bytes)
    assert dry.to_dict() == {**wet.to_dict(), "dry_run": True}


def test_the_bytes_said_to_be_freed_are_freed(store: Store) -> None:
    blob(store, bytes(1_000_000))
    run(store)
    keep = record(store, 2)

    def size() -> int:
        return sum(path.stat().st_size for path in store.root.rglob("*") if path.is_file() and "index" not in path.name)

    before = size()
    report = collect(store, older_than=7 * DAY)
    assert report.bytes > 1_001_000
    assert before - size() == report.bytes
    assert store.records.all_keys() == (keep.key,)


def test_damaged_things_that_were_put_aside_go_when_they_are_old(store: Store) -> None:
    damaged = record(store, 1)
    (store.root / "records" / damaged.key[:2] / f"{damaged.key}.json").write_text("damaged")
    assert store.records.get(damaged.key) is None
    assert collect(store, older_than=7 * DAY).aside == ()
    make_old(store.root / "aside")
    assert len(collect(store, older_than=7 * DAY).aside) == 1
    assert store.folder.ls("aside") == []


def test_a_damaged_manifest_and_damaged_documents_are_no_obstacle(store: Store) -> None:
    value = blob(store, b"value")
    with_bad_manifest = record(store, 1, value, Artifact(digest="sha256:" + "0" * 64, format="folder", bytes=1))
    kept = run(store, with_bad_manifest, days=1)
    (store.root / "runs" / kept / "run.json").write_text(
        '{"steps": [3, {"key": 4, "outputs": [5]}, {"outputs": {"a": 6}}]}'
    )
    other = run(store, days=1)
    (store.root / "runs" / other / "run.json").write_text("{")
    empty = RunStore.new_id()
    store.runs.create(empty)
    assert collect(store, older_than=7 * DAY).to_dict()["records"] == []
    assert store.blobs.verify(value.digest) == "ok"
    make_old(store.root / "runs")
    assert set(collect(store, older_than=7 * DAY).runs) == {kept, other, empty}


def test_an_empty_store_has_nothing_to_collect(store: Store) -> None:
    report = collect(store, older_than=0)
    assert isinstance(report, GcReport)
    assert (report.runs, report.records, report.blobs, report.bytes) == ((), (), (), 0)


def test_collecting_over_and_over_breaks_no_run(store: Store) -> None:
    """A live run finds everything that it has put."""
    code = """
    store = open_store(sys.argv[1])
    run = store.runs.new_id()
    store.runs.create(run)
    store.runs.write(run, {"state": "running", "steps": []})
    print("begun", flush=True)
    for number in range(80):
        digest = store.blobs.put_bytes(str(number % 7).encode() * 1000).digest
        key = f"{number:064x}"
        with store.leases.lease(key):
            store.records.put(record(key, digest))
            assert store.blobs.verify(digest) == "ok", number
            assert store.records.get(key) is not None
    """
    writer = helper_processes.start(code, store.root)
    assert helper_processes.next_line(writer) == "begun"
    while writer.poll() is None:
        collect(store, older_than=0)
    assert writer.communicate() == ("", "")
