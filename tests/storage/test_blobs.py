"""Blobs are whole or absent, checked before they are served, and healed by computing them again."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_pipelines.errors import CorruptOutput, NotStorable, StoreError
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

CONTENT = b"what a step made" * 100
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def put(store: Store, content: bytes = CONTENT) -> str:
    return store.blobs.put_bytes(content).digest


def leftovers(store: Store) -> list[str]:
    return store.folder.ls("tmp")


def quarantined(store: Store) -> list[str]:
    return store.folder.ls("aside")


def test_bytes_are_stored_under_their_digest(store: Store) -> None:
    stored = store.blobs.put_bytes(CONTENT)
    assert stored == (DIGEST, len(CONTENT))
    assert store.blobs.path(DIGEST) == store.root / "blobs" / DIGEST[7:9] / DIGEST[7:]
    with store.blobs.open(DIGEST) as file:
        assert file.read() == CONTENT
    assert store.blobs.verify(DIGEST) == "ok"
    assert leftovers(store) == []


def test_a_blob_is_read_only_and_private(store: Store) -> None:
    path = store.blobs.path(put(store))
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    for folder in (path.parent, path.parent.parent, store.root, store.root / "tmp"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = open_store(tmp_path / "store")
        path = store.blobs.path(put(store))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (path.parent, store.root)} == {0o700}
    assert stat.S_IMODE((store.root / "format.json").stat().st_mode) == 0o600


def test_a_file_is_moved_in(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "output"
    source.write_bytes(CONTENT)
    inode = source.stat().st_ino
    assert store.blobs.put_file(source) == (DIGEST, len(CONTENT))
    assert not source.exists()
    assert store.blobs.path(DIGEST).stat().st_ino == inode


def test_a_file_may_stay_where_it_is(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "output"
    source.write_bytes(CONTENT)
    store.blobs.put_file(source, move=False)
    source.write_bytes(b"changed later")
    assert store.blobs.verify(DIGEST) == "ok"


def test_a_file_with_a_second_name_is_copied(store: Store, tmp_path: Path) -> None:
    source, other = tmp_path / "output", tmp_path / "other"
    source.write_bytes(CONTENT)
    os.link(source, other)
    store.blobs.put_file(source)
    other.write_bytes(b"changed by its other name")
    assert store.blobs.verify(DIGEST) == "ok"


def test_a_link_is_followed_and_copied(store: Store, tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(CONTENT)
    (tmp_path / "link").symlink_to("real")
    assert store.blobs.put_file(tmp_path / "link").digest == DIGEST
    assert (tmp_path / "real").read_bytes() == CONTENT
    assert not store.blobs.path(DIGEST).is_symlink()


def test_a_put_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with store.blobs.writer() as writer:
            writer.write(CONTENT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert store.blobs.verify(DIGEST) == "missing"
    assert leftovers(store) == []


def test_what_is_not_there_is_missing(store: Store) -> None:
    assert store.blobs.verify(DIGEST) == "missing"
    with pytest.raises(StoreError) as caught:
        store.blobs.open(DIGEST)
    assert caught.value.code == "JP405"


def flip(path: Path) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def flip_and_hide(path: Path) -> None:
    before = path.stat()
    flip(path)
    path.chmod(0o444)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def truncate(path: Path) -> None:
    path.chmod(0o600)
    os.truncate(path, 10)


def empty(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"")


def lengthen(path: Path) -> None:
    path.chmod(0o600)
    with path.open("ab") as file:
        file.write(b"!")


def swap(path: Path) -> None:
    other = path.with_name("0" * 64)
    other.write_bytes(b"another blob")
    other.replace(path)


def make_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def link_outside(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.write_bytes(CONTENT)
    path.unlink()
    path.symlink_to(outside)


def dangle(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


HARMS = [flip, flip_and_hide, truncate, empty, lengthen, swap, make_folder, link_outside, dangle]


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("reopened", [False, True])
def test_a_damaged_blob_is_never_served_and_is_healed(
    store: Store, harm: Callable[[Path], None], reopened: bool
) -> None:
    put(store)
    assert store.blobs.verify(DIGEST) == "ok"
    harm(store.blobs.path(DIGEST))
    if reopened:
        store = open_store(store.root)
    assert store.blobs.verify(DIGEST) == "corrupt"
    with pytest.raises(CorruptOutput) as caught:
        store.blobs.open(DIGEST)
    assert caught.value.code == "JP404"
    assert len(quarantined(store)) == 1
    put(store)
    with store.blobs.open(DIGEST) as file:
        assert file.read() == CONTENT


@pytest.mark.parametrize("harm", HARMS)
def test_a_put_that_finds_a_damaged_blob_replaces_it(
    store: Store, harm: Callable[[Path], None], tmp_path: Path
) -> None:
    put(store)
    harm(store.blobs.path(DIGEST))
    source = tmp_path / "output"
    source.write_bytes(CONTENT)
    store.blobs.put_file(source)
    assert store.blobs.verify(DIGEST) == "ok"
    assert stat.S_IMODE(store.blobs.path(DIGEST).lstat().st_mode) == 0o444
    assert len(quarantined(store)) == 1


def test_what_was_healed_meanwhile_is_not_put_aside(store: Store) -> None:
    digest = put(store)
    store.blobs.quarantine(digest)
    assert store.blobs.verify(digest) == "ok"
    assert quarantined(store) == []


def test_nothing_is_written_through_a_link_in_place_of_a_folder_of_blobs(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.root / "blobs").mkdir()
    (store.root / "blobs" / DIGEST[7:9]).symlink_to(outside)
    with pytest.raises(StoreError, match="leads out of it") as caught:
        put(store)
    assert caught.value.code == "JP401"
    assert list(outside.iterdir()) == []
    assert store.blobs.verify(DIGEST) == "corrupt"


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:" + "g" * 64, "sha256:../../etc/passwd", "md5:" + "0" * 64, DIGEST.upper(), DIGEST + "\n"],
)
def test_what_is_no_digest_is_no_path(store: Store, digest: str) -> None:
    with pytest.raises(ValueError, match="not a digest"):
        store.blobs.path(digest)


# Folders


def make_tree(root: Path) -> None:
    (root / "sub" / "deeper").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a.txt").write_bytes(b"a")
    (root / "same.txt").write_bytes(b"a")
    (root / "sub" / "ä ö.bin").write_bytes(CONTENT)
    (root / "sub" / "deeper" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "sub" / "deeper" / "run.sh").chmod(0o755)
    Path(os.fsdecode(os.fsencode(root) + b"/not-utf8-\xff")).write_bytes(b"x")


def read_tree(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), os.access(path, os.X_OK) and bool(path.stat().st_mode & 0o100))
        if path.is_file()
        else None
        for path in root.rglob("*")
    }


def test_a_folder_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    make_tree(tmp_path / "plots")
    stored = store.blobs.put_folder(tmp_path / "plots")
    assert stored.size == 1 + 1 + len(CONTENT) + 10 + 1
    store.blobs.materialise(stored.digest, tmp_path / "again")
    assert read_tree(tmp_path / "again") == read_tree(tmp_path / "plots")
    assert store.blobs.verify_folder(stored.digest) == "ok"
    assert store.digest(tmp_path / "again") == stored.digest


def test_what_is_taken_from_the_store_can_be_changed_without_harm(store: Store, tmp_path: Path) -> None:
    make_tree(tmp_path / "plots")
    digest = store.blobs.put_folder(tmp_path / "plots").digest
    store.blobs.materialise(digest, tmp_path / "again")
    (tmp_path / "again" / "a.txt").write_bytes(b"changed")
    file = store.blobs.put_bytes(CONTENT).digest
    store.blobs.copy(file, tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"changed")
    assert store.blobs.verify_folder(digest) == "ok"
    assert store.blobs.verify(file) == "ok"


def test_a_folder_may_be_used_up(store: Store, tmp_path: Path) -> None:
    make_tree(tmp_path / "plots")
    expected = read_tree(tmp_path / "plots")
    stored = store.blobs.put_folder(tmp_path / "plots", move=True)
    assert not (tmp_path / "plots" / "a.txt").exists()
    store.blobs.materialise(stored.digest, tmp_path / "again")
    assert read_tree(tmp_path / "again") == expected


@pytest.mark.parametrize("harm", [flip, flip_and_hide, empty])
def test_a_damaged_member_makes_the_folder_corrupt(store: Store, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    make_tree(tmp_path / "plots")
    digest = store.blobs.put_folder(tmp_path / "plots").digest
    harm(store.blobs.path(DIGEST))
    assert store.blobs.verify_folder(digest) == "corrupt"
    with pytest.raises(CorruptOutput):
        store.blobs.materialise(digest, tmp_path / "again")
    assert store.blobs.verify_folder(digest) == "missing"
    store.blobs.put_folder(tmp_path / "plots")
    assert store.blobs.verify_folder(digest) == "ok"


@pytest.mark.parametrize(
    "row",
    [
        ["../out", DIGEST, 1, False],
        ["/out", DIGEST, 1, False],
        ["a/../../out", DIGEST, 1, False],
        ["", DIGEST, 1, False],
        ["a", "nonsense", 1, False],
        ["a/", DIGEST, 1, False],
        ["a"],
        3,
    ],
)
def test_a_manifest_that_leads_out_of_its_folder_is_refused(store: Store, tmp_path: Path, row: object) -> None:
    import json

    put(store)
    digest = put(store, json.dumps({"schema": "jupyter-pipelines/folder/1", "files": [row]}).encode())
    with pytest.raises(CorruptOutput):
        store.blobs.materialise(digest, tmp_path / "deep" / "target")
    assert not (tmp_path / "deep" / "out").exists()
    assert store.blobs.verify_folder(digest) == "corrupt"


def _socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        # The path of a socket may not be long.
        here = Path.cwd()
        os.chdir(path.parent)
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "neither a file nor a folder"),
        (_socket, "neither a file nor a folder"),
        (lambda path: path.symlink_to("nowhere"), "leads nowhere"),
        (lambda path: path.symlink_to(path.parent), "lies in"),
    ],
)
def test_what_is_no_file_cannot_be_stored_and_is_named(
    store: Store, tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    (tmp_path / "plots" / "sub").mkdir(parents=True)
    make(tmp_path / "plots" / "sub" / "odd")
    with pytest.raises(NotStorable, match=words) as caught:
        store.blobs.put_folder(tmp_path / "plots")
    assert "`sub/odd`" in str(caught.value)


def test_links_within_a_folder_count_as_what_they_lead_to(store: Store, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(CONTENT)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").symlink_to(tmp_path / "data" / "a")
    (tmp_path / "folder" / "b").symlink_to(tmp_path / "data")
    digest = store.blobs.put_folder(tmp_path / "folder").digest
    store.blobs.materialise(digest, tmp_path / "again")
    assert read_tree(tmp_path / "again") == {"a": (CONTENT, False), "b": None, "b/a": (CONTENT, False)}
