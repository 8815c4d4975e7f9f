"""What `fsck` finds in a store, what it reports, and what a repair leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.interfaces.cli import main
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.blobs import digests
from jupyter_pipelines.storage.maintenance.fsck import FsckReport, examine
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord, encode, path_of
from jupyter_pipelines.storage.store import Store

KEYS = ("aa" + "0" * 62, "bb" + "0" * 62)
RUN = "20260101-000000-000000-abcdef"


def filled(root: Path) -> Store:
    """A store with two records, a folder output and a run."""
    tree = root.parent / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "member").write_bytes(b"member")
    store = open_store(root)
    value = Artifact(digest=store.blobs.put_bytes(b"value").digest, format="bytes", bytes=5)
    folder = Artifact(digest=store.blobs.put_folder(tree).digest, format="folder", bytes=6)
    made = {"notebook": "n", "run": RUN, "created": "2026", "seconds": 1.0}
    store.records.put(StepRecord(key=KEYS[0], step="load", outputs={"x": value}, **made))
    store.records.put(StepRecord(key=KEYS[1], step="train", outputs={"x": value, "d": folder}, **made))
    store.runs.create(RUN)
    store.runs.write(RUN, {"state": "succeeded", "steps": []})
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path / "store")


def blob(store: Store, content: bytes) -> Path:
    return next(path for path in (store.root / "blobs").glob("*/*") if path.read_bytes() == content)


def overwrite(path: Path, content: bytes) -> None:
    """Write other bytes, and leave size and times as they look."""
    before = path.stat()
    path.chmod(0o600)
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def flipped(store: Store) -> None:
    overwrite(blob(store, b"value"), b"valuf")


def truncated(store: Store) -> None:
    overwrite(blob(store, b"value"), b"")


def member_gone(store: Store) -> None:
    blob(store, b"member").unlink()


def swapped(store: Store) -> None:
    first, second = (store.root / path_of(key) for key in KEYS)
    second.write_bytes(first.read_bytes())


def rolled_back(store: Store) -> None:
    """A record whose checksum fits, but which does not belong to its file name."""
    older_record = store.records.get(KEYS[0])
    assert older_record is not None
    (store.root / path_of(KEYS[1])).write_bytes(encode(older_record))


def stripped(store: Store) -> None:
    path = store.root / path_of(KEYS[0])
    path.write_text(json.dumps({"record": json.loads(path.read_text())["record"]}))


def edited(store: Store) -> None:
    path = store.root / path_of(KEYS[0])
    path.write_text(path.read_text().replace('"load"', '"lead"'))


def strange(store: Store) -> None:
    (blob(store, b"value").parent / "notes.txt").write_text("mine")


def run_torn(store: Store) -> None:
    (store.root / "runs" / RUN / "run.json").write_text('{"state": "succ')


DAMAGE = (flipped, truncated, member_gone, swapped, rolled_back, stripped, edited, strange, run_torn)


def test_a_store_with_nothing_wrong(store: Store) -> None:
    report = examine(store.root)
    assert report.findings == ()
    assert report.code == 0
    assert (report.blobs, report.records, report.runs) == (3, 2, 1)


def test_no_store_is_as_good_as_an_empty_one_and_is_not_made(tmp_path: Path) -> None:
    assert examine(tmp_path / "none").code == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("harm", DAMAGE)
def test_damage_is_found_repaired_and_does_not_come_back(store: Store, harm: Callable[[Store], None]) -> None:
    """R40 R41: each kind of damage is reported, and a repair leaves nothing that fsck would report again."""
    assert {store.blobs.verify(digest) for digest in store.blobs.digests()} == {"ok"}  # remembered from now on
    harm(store)
    report = examine(store.root)
    assert report.code == 1
    assert {finding.kind for finding in report.findings} == {"damaged"}
    repaired = examine(store.root, repair=True)
    assert [finding.path for finding in repaired.findings if not finding.repaired] == []
    assert repaired.code == 0
    assert examine(store.root) == FsckReport(
        store=str(store.root), blobs=repaired_count(store, "blobs"), records=repaired_count(store, "records"), runs=1
    )


def repaired_count(store: Store, folder: str) -> int:
    return len(list((store.root / folder).glob("*/*")))


def test_damage_is_found_although_the_file_looks_as_it_did(store: Store) -> None:
    """Bits that change on the disk leave size and times as they were; what is remembered is not believed here."""
    path = blob(store, b"value")
    digest = store.blobs.put_bytes(b"value").digest
    path.chmod(0o600)
    path.write_bytes(b"valuf")
    status = path.stat()
    from jupyter_pipelines.storage.files.stat_signature import StatSignature

    store.index.remember(str(path), StatSignature.of(status), digest, durable=True)
    assert store.blobs.verify(digest) == "ok"
    assert examine(store.root).code == 1
    assert examine(store.root, repair=True).code == 0
    assert open_store(store.root).blobs.verify(digest) == "missing"


def test_what_cannot_be_checked_here_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """S07: without the package a digest is made with, nothing is taken for good; it is neither served nor removed."""
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    digest = f"blake3:ab{'0' * 62}"
    path = store.blobs.path(digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"large")
    report = examine(store.root, repair=True)
    assert report.code == 4
    assert [finding.kind for finding in report.findings] == ["unchecked"]
    assert path.exists()
    with pytest.raises(StoreError, match="blake3"):
        store.blobs.open(digest)


def test_what_others_may_have_written_is_untrusted(store: Store) -> None:
    """S06: a store writable by others is refused, reported and closed by a repair; its records are not trusted."""
    store.root.chmod(0o777)
    with pytest.raises(StoreError) as caught:
        open_store(store.root)
    assert caught.value.code == "JP401"
    report = examine(store.root)
    assert report.code == 2
    assert [finding.path for finding in report.findings] == ["", *sorted(map(path_of, KEYS))]
    assert examine(store.root, repair=True).code == 0
    assert open_store(store.root).records.all_keys() == ()
    assert examine(store.root).code == 0


def test_a_folder_of_records_that_others_may_write_to(store: Store) -> None:
    """S06: the store itself is closed to writing by others, a folder in it is not."""
    store.root.chmod(0o755)
    (store.root / "records").chmod(0o777)
    with pytest.raises(StoreError, match="records"):
        open_store(store.root)
    assert examine(store.root).code == 2
    assert examine(store.root, repair=True).code == 0
    assert open_store(store.root).records.all_keys() == ()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_record_of_another_user(store: Store) -> None:
    """S06: a record that another user wrote is reported and quarantined."""
    os.chown(store.root / path_of(KEYS[0]), 65534, -1)
    report = examine(store.root)
    assert (report.code, report.findings[0].why) == (2, "it belongs to another user: uid 65534")
    assert examine(store.root, repair=True).code == 0
    assert open_store(store.root).records.all_keys() == (KEYS[1],)


def test_a_folder_of_the_store_that_is_a_link_is_left_alone(store: Store, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o777)
    (tmp_path / "elsewhere").chmod(0o777)
    (store.root / "records").rename(tmp_path / "away")
    (store.root / "records").symlink_to(tmp_path / "elsewhere")
    assert examine(store.root, repair=True).code & 2
    assert (tmp_path / "elsewhere").stat().st_mode & 0o777 == 0o777


def test_the_command(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    project = store.root.parent
    (project / "n.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    monkeypatch.chdir(project)
    arguments = ["fsck", "n.ipynb", "--store", str(store.root)]
    assert main.call(arguments) == 0
    assert "3 outputs, 2 records and 1 run looked at: all is well" in capsys.readouterr().out
    flipped(store)
    assert main.call([*arguments, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["code"] == 1
    assert {finding["kind"] for finding in document["findings"]} == {"damaged"}
    assert main.call(arguments) == 1
    assert "3 things wrong" in capsys.readouterr().out
    assert main.call([*arguments, "--repair"]) == 0
    assert "repaired: blobs/" in capsys.readouterr().out
    assert main.call(arguments) == 0
