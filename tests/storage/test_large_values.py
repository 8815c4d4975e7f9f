"""Large blobs: digested once, known from then on, and never trusted for longer than is safe."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jupyter_pipelines.errors import CorruptOutput, StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.blobs import blobs, digests
from jupyter_pipelines.storage.blobs.blobs import IncomingFile
from jupyter_pipelines.storage.blobs.digests import LARGE, digest_bytes
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.maintenance.garbage_collection import collect
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from tests.storage.test_blobs import HARMS, make_tree, read_tree
from tests.storage.test_record_store import record

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")
CONTENT = os.urandom(64) * (LARGE // 32)
DIGEST = digest_bytes(CONTENT)


@pytest.fixture(autouse=True)
def on_a_disk_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "linux" and not filesystem_features.is_local(tmp_path.stat().st_dev):
        monkeypatch.setattr(filesystem_features, "kind_of", lambda device: "overlay")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of files that were read to the end for their digest."""
    sizes: list[int] = []
    real = digests._hash

    def counting(file: Any, algorithm: str, size: int) -> str:
        sizes.append(size)
        return real(file, algorithm, size)

    monkeypatch.setattr(digests, "_hash", counting)
    return sizes


def saved(folder: Path, value: Any = None) -> tuple[Path, serializers.SaveResult]:
    path = folder / "value"
    return path, serializers.save(np.frombuffer(CONTENT, "u1") if value is None else value, path)


def test_the_algorithm_stands_in_the_digest_and_in_the_name(store: Store) -> None:
    stored = store.blobs.put_bytes(CONTENT)
    assert stored == (DIGEST, len(CONTENT))
    algorithm, _, name = DIGEST.partition(":")
    assert algorithm == "blake3"
    assert store.blobs.path(DIGEST) == store.root / "blobs" / name[:2] / f"{name}.blake3"
    small = store.blobs.put_bytes(b"small").digest
    assert sorted(store.blobs.digests()) == sorted([DIGEST, small])
    assert store.blobs.verify(DIGEST) == store.blobs.verify(small) == "ok"


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("reopened", [False, True])
def test_a_damaged_large_blob_is_never_served_and_is_healed(
    store: Store, harm: Callable[[Path], None], reopened: bool, tmp_path: Path
) -> None:
    source = tmp_path / "output"
    source.write_bytes(CONTENT)
    store.blobs.put_file(source)
    assert store.blobs.verify(DIGEST) == "ok"
    harm(store.blobs.path(DIGEST))
    if reopened:
        store = open_store(store.root)
    assert store.blobs.verify_many([DIGEST]) == {DIGEST: "corrupt"}
    assert store.blobs.verify(DIGEST) == "corrupt"
    with pytest.raises(CorruptOutput):
        store.blobs.open(DIGEST)
    store.blobs.put_bytes(CONTENT)
    with store.blobs.open(DIGEST) as file:
        assert file.read() == CONTENT


@LINUX
def test_what_was_digested_while_it_was_written_is_never_read_for_its_digest(
    store: Store, hashed: list[int], tmp_path: Path
) -> None:
    path, save_result = saved(tmp_path)
    inode = path.stat().st_ino
    (stored,) = store.blobs.put_files([IncomingFile(path=path, digest=save_result.digest, mark=save_result.mark)])
    assert store.blobs.verify(stored.digest) == "ok"
    again = open_store(store.root)
    assert again.intact(save_result.artifact) == "ok"
    assert again.intact_many([save_result.artifact]) == {save_result.artifact: "ok"}
    assert hashed == []
    assert store.blobs.path(stored.digest).stat().st_ino == inode
    assert stat.S_IMODE(store.blobs.path(stored.digest).stat().st_mode) == 0o444


@LINUX
def test_a_file_is_read_once_for_its_digest_and_renamed(store: Store, hashed: list[int], tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(CONTENT)
    inode = (tmp_path / "output").stat().st_ino
    store.blobs.put_file(tmp_path / "output")
    assert store.blobs.verify(DIGEST) == "ok"
    assert hashed == [len(CONTENT)]
    assert store.blobs.path(DIGEST).stat().st_ino == inode


@LINUX
def test_putting_the_same_again_does_not_read_what_is_there(store: Store, hashed: list[int]) -> None:
    for _ in range(3):
        store.blobs.put_bytes(CONTENT)
        assert store.blobs.verify(DIGEST) == "ok"
    assert hashed == []


def test_putting_the_same_again_begins_its_grace_anew(store: Store) -> None:
    store.blobs.put_bytes(CONTENT)
    os.utime(store.blobs.path(DIGEST), (0, 0))
    store.blobs.put_bytes(CONTENT)
    store.blobs.discard(DIGEST, grace=60)
    assert store.blobs.verify(DIGEST) == "ok"


def test_on_a_disk_with_a_clock_of_its_own_nothing_new_is_trusted(
    store: Store, hashed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: "nfs4")
    store.blobs.put_bytes(CONTENT)
    assert store.blobs.verify(DIGEST) == "ok"
    assert store.blobs.verify(DIGEST) == "ok"
    assert hashed == [len(CONTENT)] * 2


def test_what_is_known_of_sealed_bytes_on_the_disk_outlives_a_restart(
    store: Store, hashed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.blobs.put_bytes(CONTENT)
    (tmp_path / "input").write_bytes(CONTENT)
    store.digest(tmp_path / "input")
    del hashed[:]
    here = ProcessIdentity.current()
    monkeypatch.setattr(ProcessIdentity, "current", lambda: replace_boot(here))
    assert store.blobs.verify(DIGEST) == "ok"
    store.digest(tmp_path / "input")
    assert hashed == [len(CONTENT)]


def replace_boot(owner: ProcessIdentity) -> ProcessIdentity:
    return ProcessIdentity(pid=owner.pid, started=owner.started, boot="another", host=owner.host, space=owner.space)


def test_a_digest_is_not_remembered_before_its_bytes_are_on_the_disk(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_remember = os.fsync, store.index.remember
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(kind(handle)), real_sync(handle)))
    monkeypatch.setattr(
        store.index, "remember", lambda *args, **more: (done.append("remember"), real_remember(*args, **more))
    )
    store.blobs.put_bytes(CONTENT)
    first = done.index("file")
    assert done[first:][-2:] == ["folder", "remember"]
    assert done.count("file") == 1


def kind(handle: int) -> str:
    return "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"


# What comes in


@pytest.mark.parametrize("change", ["grown", "same-size", "touched"])
def test_a_value_that_was_changed_after_it_was_saved_is_refused(store: Store, tmp_path: Path, change: str) -> None:
    path, save_result = saved(tmp_path)
    with path.open("r+b") as file:
        if change != "touched":
            file.seek(0, os.SEEK_SET if change == "same-size" else os.SEEK_END)
            file.write(b"!")
    if change == "touched":
        os.utime(path)
        assert (
            store.blobs.put_files([IncomingFile(path=path, digest=save_result.digest, mark=save_result.mark)])[0].digest
            == save_result.digest
        )
        return
    with pytest.raises(CorruptOutput, match="damaged"):
        store.blobs.put_files([IncomingFile(path=path, digest=save_result.digest, mark=save_result.mark)])
    assert list(store.blobs.digests()) == []


def test_a_value_that_a_second_name_leads_to_is_copied_and_compared(store: Store, tmp_path: Path) -> None:
    path, save_result = saved(tmp_path)
    os.link(path, tmp_path / "other")
    (stored,) = store.blobs.put_files([IncomingFile(path=path, digest=save_result.digest, mark=save_result.mark)])
    (tmp_path / "other").write_bytes(b"changed by its other name")
    assert stored.digest == save_result.digest
    assert store.blobs.verify(save_result.digest) == "ok"


@LINUX
@pytest.mark.parametrize("how", ["opened", "mapped"])
def test_a_file_that_is_still_open_for_writing_is_copied(store: Store, tmp_path: Path, how: str) -> None:
    path = tmp_path / "output"
    path.write_bytes(CONTENT)
    with path.open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 0) if how == "mapped" else None
        if shared is not None:
            file.close()
        stored = store.blobs.put_file(path)
        if shared is not None:
            shared[:5] = b"later"
            shared.close()
        else:
            file.write(b"later")
    assert stored.digest == DIGEST
    assert store.blobs.verify(DIGEST) == "ok"
    with store.blobs.open(DIGEST) as file:
        assert file.read() == CONTENT
    assert not path.exists()


def test_several_files_at_once(store: Store, tmp_path: Path) -> None:
    contents = [b"one", CONTENT, b"two", b"one", b""]
    files = [tmp_path / str(number) for number in range(len(contents))]
    for path, content in zip(files, contents, strict=True):
        path.write_bytes(content)
    kept = tmp_path / "kept"
    kept.write_bytes(b"kept")
    stored = store.blobs.put_files([*(IncomingFile(path=path) for path in files), IncomingFile(path=kept, move=False)])
    assert [blob.digest for blob in stored] == [digest_bytes(content) for content in (*contents, b"kept")]
    assert [blob.size for blob in stored] == [3, len(CONTENT), 3, 3, 0, 4]
    assert not any(path.exists() for path in files)
    assert kept.read_bytes() == b"kept"
    assert store.folder.ls("tmp") == []
    assert set(store.blobs.verify_many({blob.digest for blob in stored}).values()) == {"ok"}


def test_of_several_files_none_is_stored_when_one_cannot_be(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"one")
    with pytest.raises(OSError, match="none"):
        store.blobs.put_files([IncomingFile(path=tmp_path / "one"), IncomingFile(path=tmp_path / "none")])
    assert list(store.blobs.digests()) == []
    assert (tmp_path / "one").read_bytes() == b"one"
    assert store.folder.ls("tmp") == []


def test_no_file_has_its_name_before_the_bytes_of_all_are_on_the_disk(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(kind(handle)), real_sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("rename"), real_replace(*names)))
    (tmp_path / "folder").mkdir()
    for number in range(20):
        (tmp_path / "folder" / str(number)).write_bytes(b"%d" % number)
    files = [IncomingFile(path=path) for path in sorted((tmp_path / "folder").iterdir())]
    store.blobs.put_files(files)
    before = done[: done.index("rename")]
    assert before.count("file") == done.count("file") == 20
    assert set(done[len(before) :]) == {"rename", "folder"}
    assert done[-1] == "folder"


def test_a_folder_that_is_used_up_is_moved(store: Store, tmp_path: Path) -> None:
    make_tree(tmp_path / "plots")
    (tmp_path / "plots" / "large.bin").write_bytes(CONTENT)
    inode = (tmp_path / "plots" / "large.bin").stat().st_ino
    expected = read_tree(tmp_path / "plots")
    stored = store.blobs.put_folder(tmp_path / "plots", move=True)
    assert store.blobs.path(DIGEST).stat().st_ino == inode
    store.blobs.materialise(stored.digest, tmp_path / "again")
    assert read_tree(tmp_path / "again") == expected


# Without blake3


@pytest.fixture
def unknown(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """A large value that was stored with blake3, which is not installed any more."""
    path, save_result = saved(tmp_path)
    store.blobs.put_files([IncomingFile(path=path, digest=save_result.digest, mark=save_result.mark)])
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    return save_result.artifact


def test_what_cannot_be_checked_is_as_good_as_missing_and_is_left_alone(store: Store, unknown: Artifact) -> None:
    assert store.intact(unknown) == "unknown"
    assert store.intact_many([unknown]) == {unknown: "unknown"}
    for act in (lambda artifact: load_value(store, artifact), lambda artifact: store.blobs.open(artifact.digest)):
        with pytest.raises(StoreError, match="blake3, which is not installed") as caught:
            act(unknown)
        assert caught.value.code == "JP405"
        assert "pip install blake3" in str(caught.value)
    store.blobs.quarantine(unknown.digest)
    assert store.folder.ls("aside") == []
    store.blobs.path(unknown.digest).unlink()
    assert store.intact(unknown) == "missing"


def test_both_kinds_live_in_one_store(store: Store, unknown: Artifact, tmp_path: Path) -> None:
    other = store.blobs.put_bytes(CONTENT).digest
    assert other == "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    assert store.blobs.verify_many([other, unknown.digest]) == {other: "ok", unknown.digest: "unknown"}
    assert set(store.blobs.digests()) == {other, unknown.digest}


def test_a_value_whose_digest_cannot_be_checked_gets_another(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, save_result = saved(tmp_path)
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    content = path.read_bytes()
    (stored,) = store.blobs.put_files([IncomingFile(path=path, digest=save_result.digest, mark=save_result.mark)])
    assert stored.digest == "sha256:" + hashlib.sha256(content).hexdigest()


def test_a_collection_keeps_what_a_folder_names_though_it_cannot_be_checked(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(9000):
        (folder / f"{number:0120d}").write_bytes(b"same")
    stored = store.blobs.put_folder(folder, move=True)
    assert stored.digest.startswith("blake3:")
    artifact = Artifact(digest=stored.digest, format="folder", bytes=stored.size)
    store.records.put(record(outputs={"plots": artifact}))
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    assert collect(store, older_than=0, grace=0).blobs == ()
    monkeypatch.undo()
    assert store.intact(artifact) == "ok"


# Stores of the format before


def test_a_store_of_the_format_before_is_read_and_marked_anew(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    small = store.blobs.put_bytes(b"small").digest
    large = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
    path = store.root / blobs.path_of(large)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(CONTENT)
    mark = store.root / "format.json"
    mark.write_text(json.dumps({"schema": "jupyter-pipelines/store/1", "writer": "0.1"}))
    store.close()
    seen = open_store(tmp_path / "store", create=False)
    assert json.loads(mark.read_text())["schema"].endswith("/1")
    again = open_store(tmp_path / "store")
    for opened in (seen, again):
        assert opened.blobs.verify(large) == opened.blobs.verify(small) == "ok"
        with opened.blobs.open(large) as file:
            assert file.read() == CONTENT
    assert json.loads(mark.read_text())["schema"].endswith("/1")
    again.check_writable()
    assert json.loads(mark.read_text())["schema"].endswith("/3")


# Many at once


def test_many_artifacts_at_once(store: Store, tmp_path: Path) -> None:
    artifacts = [
        Artifact(digest=store.blobs.put_bytes(b"%d" % number).digest, format="json", bytes=1) for number in range(700)
    ]
    make_tree(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "lonely").write_bytes(b"lonely")
    folders = [
        Artifact(digest=store.blobs.put_folder(tmp_path / name).digest, format="folder", bytes=1)
        for name in ("one", "two")
    ]
    gone = Artifact(digest=digest_bytes(b"never put"), format="json", bytes=1)
    HARMS[0](store.blobs.path(artifacts[5].digest))
    store.blobs.path(digest_bytes(b"lonely")).unlink()
    for opened in (store, open_store(store.root)):
        states = opened.intact_many([*artifacts, *folders, gone])
        assert states == {artifact: opened.intact(artifact) for artifact in (*artifacts, *folders, gone)}
        assert states[artifacts[5]] == "corrupt"
        assert [states[folder] for folder in folders] == ["ok", "missing"]
        assert states[gone] == "missing"
        assert list(states.values()).count("ok") == 700


def test_what_lies_behind_a_link_is_not_looked_up_in_a_hurry(store: Store, tmp_path: Path) -> None:
    store.blobs.put_bytes(CONTENT)
    folder = store.blobs.path(DIGEST).parent
    folder.rename(tmp_path / "outside")
    folder.symlink_to(tmp_path / "outside")
    assert store.blobs.verify_many([DIGEST]) == {DIGEST: store.blobs.verify(DIGEST)} == {DIGEST: "corrupt"}


def test_a_mark_is_a_list_of_numbers_in_documents(tmp_path: Path) -> None:
    mark = StatSignature.of(tmp_path.stat())
    assert StatSignature.from_list(json.loads(json.dumps(mark.to_list()))) == mark
