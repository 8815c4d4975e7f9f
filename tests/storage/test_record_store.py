"""Records: a damaged, foreign or too new one is as good as none, and the index never matters."""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord, checksum_of, encode
from jupyter_pipelines.storage.store import Store

KEY = "ab" + "0" * 62
DIGEST = "sha256:" + "1" * 64


def record(key: str = KEY, **changes: Any) -> StepRecord:
    made = StepRecord(
        key=key,
        step="train",
        notebook="churn.ipynb",
        parts={"code:1": "x", "parameter:trees": "200"},
        outputs={"model": Artifact(digest=DIGEST, format="pickle", bytes=5)},
        run="20260101-000000-000000-abcdef",
        created="2026-01-01T00:00:00+00:00",
        seconds=1.5,
        attempts=2,
        warnings=("w",),
    )
    return replace(made, **changes)


def key(number: int) -> str:
    return f"{number:064x}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def file_of(store: Store, record_key: str = KEY) -> Path:
    return store.root / "records" / record_key[:2] / f"{record_key}.json"


def test_a_record_comes_back_as_it_was(store: Store) -> None:
    store.records.put(record())
    assert store.records.get(KEY) == record()
    assert open_store(store.root).records.get(KEY) == record()
    assert StepRecord.from_dict(record().to_dict()) == record()
    assert stat.S_IMODE(file_of(store).stat().st_mode) == 0o600


def test_what_was_never_put_is_none(store: Store) -> None:
    assert store.records.get(KEY) is None
    assert store.records.latest("train") is None
    assert store.records.for_step("train") == ()


@pytest.mark.parametrize("bad", ["", "../../x", "A" * 64, "0" * 63, "0" * 64 + "\n", None])
def test_what_is_no_key_is_no_path(store: Store, bad: Any) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.records.get(bad)


def _edited(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Change a record and mend its checksum, as a program of another version would have written it."""

    def harm(path: Path) -> None:
        document = record().to_dict()
        change(document)
        path.write_text(json.dumps({"sha256": checksum_of(document), "record": document}))

    return harm


def _flip(path: Path) -> None:
    content = path.read_bytes()
    at = content.index(b"1111")
    path.write_bytes(content[:at] + b"2" + content[at + 1 :])


def _in_the_way(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def _link(path: Path) -> None:
    outside = path.parents[3] / "outside.json"
    path.replace(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:40]), id="truncated"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xfe"), id="not-text"),
        pytest.param(lambda path: path.write_text("[" * 100_000), id="deep"),
        pytest.param(lambda path: path.write_text("3"), id="a-number"),
        pytest.param(lambda path: path.write_text("{}"), id="foreign"),
        pytest.param(lambda path: path.write_text('{"record": {}, "sha256": 1}'), id="no-checksum"),
        pytest.param(_flip, id="bit-flip"),
        pytest.param(lambda path: path.write_bytes(encode(record(key(1)))), id="of-another-key"),
        pytest.param(_edited(lambda document: document.update(schema="jupyter-pipelines/record/3")), id="newer"),
        pytest.param(_edited(lambda document: document.pop("outputs")), id="field-missing"),
        pytest.param(_edited(lambda document: document.update(outputs=3)), id="field-of-another-type"),
        pytest.param(_edited(lambda document: document["outputs"]["model"].update(digest="../x")), id="no-digest"),
        pytest.param(_edited(lambda document: document.update(attempts=math.inf)), id="endless"),
        pytest.param(_edited(lambda document: document.update(seconds=10**400)), id="huge"),
        pytest.param(_edited(lambda document: document["outputs"]["model"].update(bytes=math.inf)), id="vast"),
        pytest.param(_in_the_way, id="a-folder"),
        pytest.param(_link, id="a-link"),
    ],
)
def test_a_damaged_record_is_a_miss_is_put_aside_and_can_be_written_again(
    store: Store, harm: Callable[[Path], None]
) -> None:
    store.records.put(record())
    harm(file_of(store))
    assert store.records.get(KEY) is None
    assert len(store.folder.ls("aside")) == 1
    assert store.records.latest("train") is None
    store.records.put(record())
    assert store.records.get(KEY) == record()
    assert store.records.latest("train") == record()


def test_additions_of_a_later_version_do_no_harm(store: Store) -> None:
    store.records.put(record())
    _edited(lambda document: document.update(later="?"))(file_of(store))
    assert store.records.get(KEY) == record()


def test_a_record_is_forgotten(store: Store) -> None:
    store.records.put(record())
    store.records.forget(KEY)
    store.records.forget(KEY)
    assert store.records.get(KEY) is None
    assert store.records.latest("train") is None


def test_the_newest_of_a_step_comes_first(store: Store) -> None:
    first = record(key(1), created="2026-01-01T00:00:00+00:00")
    last = record(key(2), created="2026-01-03T00:00:00+00:00")
    other = record(key(3), created="2026-01-02T00:00:00+00:00", notebook="other.ipynb")
    for step_record in (last, first, other, record(key(4), step="load")):
        store.records.put(step_record)
    assert store.records.for_step("train") == (last, other, first)
    assert store.records.latest("train", "other.ipynb") == other
    assert store.records.latest("train", "churn.ipynb") == last
    assert store.records.latest("train", "third.ipynb") is None
    assert sorted(store.records.all_keys()) == [key(number) for number in (1, 2, 3, 4)]


# The index


def index_file(store: Store) -> Path:
    return store.root / "index.sqlite"


def _delete(path: Path) -> None:
    for name in path.parent.glob("index.sqlite*"):
        name.unlink()


def _delete_only_the_file(path: Path) -> None:
    path.unlink()


def _garbage(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def _cut(path: Path) -> None:
    for name in path.parent.glob("index.sqlite?*"):
        name.unlink()
    os.truncate(path, 5000)


def _other_tables(path: Path) -> None:
    _delete(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE records (nonsense)")
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def _wrong_content(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM records")
        connection.execute("DELETE FROM shelves")
    connection.close()


def _folder(path: Path) -> None:
    _delete(path)
    path.mkdir()


@pytest.mark.parametrize(
    "harm", [_delete, _delete_only_the_file, _garbage, _cut, _other_tables, _wrong_content, _folder]
)
@pytest.mark.parametrize("closed", [True, False])
def test_the_index_can_be_lost_at_any_time(store: Store, harm: Callable[[Path], None], closed: bool) -> None:
    records = [record(key(number), created=f"2026-01-{number:02}T00:00:00+00:00") for number in range(1, 6)]
    for step_record in records:
        store.records.put(step_record)
    if closed:
        store.close()
    harm(index_file(store))
    again = open_store(store.root)
    assert again.records.for_step("train") == tuple(reversed(records))
    # A store that had it open goes on, too.
    extra = record(key(9), created="2026-02-01T00:00:00+00:00")
    store.records.put(extra)
    assert store.records.latest("train") == extra
    assert open_store(store.root).records.latest("train") == extra


def test_the_index_notices_what_others_did_to_the_files(store: Store) -> None:
    for number in range(1, 4):
        store.records.put(record(key(number), created=f"2026-01-{number:02}T00:00:00+00:00"))
    file_of(store, key(3)).unlink()
    file_of(store, KEY).parent.mkdir()
    file_of(store, KEY).write_bytes(encode(record(created="2026-01-09T00:00:00+00:00")))
    again = open_store(store.root)
    assert [step_record.key for step_record in again.records.for_step("train")] == [KEY, key(2), key(1)]


def test_the_index_notices_that_a_shelf_is_gone(store: Store) -> None:
    store.records.put(record())
    assert store.records.latest("train") is not None
    shutil.rmtree(file_of(store).parent)
    assert open_store(store.root).records.latest("train") is None


def test_a_locked_index_is_done_without(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_pipelines.storage.records import index

    monkeypatch.setattr(index, "_BUSY_SECONDS", 0.01)
    store.records.put(record())
    with sqlite3.connect(index_file(store), isolation_level=None) as blocker:
        blocker.execute("BEGIN EXCLUSIVE")
        late = open_store(store.root)
        late.records.put(record(key(2), created="2026-02-01T00:00:00+00:00"))
        assert late.records.latest("train") == record(key(2), created="2026-02-01T00:00:00+00:00")
        blocker.execute("ROLLBACK")
    blocker.close()
    assert [step_record.key for step_record in open_store(store.root).records.for_step("train")] == [key(2), KEY]


def test_a_record_that_cannot_be_written_is_an_error_and_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError) as caught:
        store.records.put(record())
    assert caught.value.code == "JP402"
    assert store.folder.ls("tmp") == []
    assert store.records.get(KEY) is None


# Many at once


def many(store: Store, count: int = 600) -> dict[str, StepRecord]:
    made = {
        key(number): record(key(number), step=f"s{number % 7}", created=f"2026-{number:04}") for number in range(count)
    }
    for step_record in made.values():
        store.records.put(step_record)
    return made


def test_many_records_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = many(store)
    file_of(store, key(3)).write_bytes(b"damaged")
    file_of(store, key(4)).unlink()
    expected = {
        record_key: step_record for record_key, step_record in made.items() if record_key not in (key(3), key(4))
    }
    asked = [*reversed(made), key(9999)]
    filesystem_features.cutoff_after_tick(file_of(store, key(599)).stat())
    assert store.records.get_many(asked) == expected
    assert list(store.records.get_many(asked)) == [record_key for record_key in asked if record_key in expected]
    again = open_store(store.root)
    # One time in a million is a whole number of milliseconds, and looks coarse.
    fine = [
        record_key
        for record_key in expected
        if filesystem_features.is_local(store.root.stat().st_dev)
        and file_of(store, record_key).stat().st_ctime_ns % 1_000_000
    ]
    monkeypatch.setattr(again.records, "get", lambda record_key: pytest.fail(f"read {record_key} again"))
    assert again.records.get_many(fine) == {record_key: expected[record_key] for record_key in fine}


@pytest.mark.parametrize("harm", ["replaced", "in-place", "kept-mtime"])
def test_a_record_that_changes_is_read_again(store: Store, harm: str) -> None:
    many(store, 3)
    store.records.get_many([key(1)])
    path = file_of(store, key(1))
    before = path.stat()
    if harm == "replaced":
        store.records.put(record(key(1), step="other"))
        assert store.records.get_many([key(1)])[key(1)].step == "other"
        return
    path.write_bytes(path.read_bytes().replace(b"churn", b"CHURN"))
    if harm == "kept-mtime":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.records.get_many([key(1)]) == {}
    assert len(store.folder.ls("aside")) == 1


def test_what_the_index_keeps_of_a_record_does_not_matter(store: Store) -> None:
    made = many(store, 3)
    store.records.get_many(made)
    store.close()
    for content in ("{}", "no JSON", '{"schema": "other"}'):
        with sqlite3.connect(store.root / "index.sqlite") as connection:
            connection.execute("UPDATE records SET document = ?", (content,))
        connection.close()
        assert open_store(store.root).records.get_many(made) == made


def test_the_latest_of_many_steps(store: Store) -> None:
    made = many(store, 50)
    steps = [f"s{number}" for number in range(9)]
    latest = store.records.latest_many(steps, "churn.ipynb")
    assert latest == {
        step: step_record for step in steps if (step_record := store.records.latest(step, "churn.ipynb")) is not None
    }
    assert latest["s0"] == made[key(49)]
    assert set(latest) == {f"s{number}" for number in range(7)}
    assert store.records.latest_many(steps, "another.ipynb") == {}
    assert store.records.latest_many(steps) == latest
    file_of(store, key(49)).unlink()
    assert store.records.latest_many(["s0"])["s0"] == made[key(42)]
    (store.root / "index.sqlite").unlink()
    assert open_store(store.root).records.latest_many(["s0"])["s0"] == made[key(42)]
