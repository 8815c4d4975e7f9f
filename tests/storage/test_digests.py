"""A remembered digest is believed only while nothing can have changed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from jupyter_pipelines.storage.blobs import digests
from jupyter_pipelines.storage.blobs.digests import LARGE, HashingWriter, digest_bytes, digest_file, is_digest
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.filesystem_features import MtimeCutoff
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.records.index import StoreIndex

SECOND = 1_000_000_000


class CountingDigestCache:
    """A digest cache in memory that counts its hits."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[StatSignature, str]] = {}
        self.hits = 0

    def digest(self, path: str, mark: StatSignature) -> str | None:
        known = self.known.get(path)
        if known is None or known[0] != mark:
            return None
        self.hits += 1
        return known[1]

    def digests(self, marks: Mapping[str, StatSignature]) -> dict[str, str]:
        return {path: digest for path, mark in marks.items() if (digest := self.digest(path, mark)) is not None}

    def remember(self, path: str, mark: StatSignature, digest: str, *, durable: bool = False) -> None:
        self.known[path] = (mark, digest)

    def remember_all(self, these: Iterable[tuple[str, StatSignature, str, bool]]) -> None:
        for path, mark, digest, _ in these:
            self.remember(path, mark, digest)


@pytest.fixture(params=["", "vfat", "nfs4"])
def coarse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files lie on a disk whose clock is not this kernel's, or counts in seconds."""
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: request.param)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock go an hour ahead of the file system's."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * SECOND)


@pytest.mark.usefixtures("coarse")
def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path) -> None:
    memo = CountingDigestCache()
    (tmp_path / "a").write_bytes(b"1")
    assert digest_file(tmp_path / "a", memo) == digest_bytes(b"1")
    assert memo.known == {}


@pytest.mark.usefixtures("later")
def test_a_file_that_has_settled_is_read_once(tmp_path: Path) -> None:
    memo = CountingDigestCache()
    (tmp_path / "a").write_bytes(b"1")
    assert digest_file(tmp_path / "a", memo) == digest_file(tmp_path / "a", memo) == digest_bytes(b"1")
    assert memo.hits == 1


@pytest.mark.usefixtures("later")
def test_one_byte_changed_with_size_and_mtime_kept_is_found(tmp_path: Path) -> None:
    memo = StoreIndex(tmp_path)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert digest_file(path, memo) == digest_bytes(b"one")
    assert memo.digest(str(path), StatSignature.of(path.stat())) is not None
    before = path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert digest_file(path, memo) == digest_bytes(b"two")


@pytest.mark.parametrize(
    ("mtime", "ctime", "settled"),
    [
        (-10, -10, True),
        (-1.9, -10, False),
        (-10, -1.9, False),
        (-10, 0, False),
        (-10, +5, False),  # the clock was set back
        (+1, -10, False),
        (+3600, -10, True),  # an mtime may be anything; the ctime tells
    ],
)
def test_when_a_mark_is_settled(mtime: float, ctime: float, settled: bool) -> None:
    now = 1_000 * SECOND
    mark = StatSignature(inode=1, size=1, mtime_ns=now + int(mtime * SECOND), ctime_ns=now + int(ctime * SECOND))
    assert mark.is_stable(MtimeCutoff(now - 2 * SECOND, now - 2 * SECOND)) is settled


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = CountingDigestCache()
    path = tmp_path / "a"
    path.write_bytes(b"one")
    from jupyter_pipelines.storage.blobs import digests

    real = digests._hash

    def changing(*args: Any) -> str:
        digest = real(*args)
        path.write_bytes(b"longer than before")
        return digest

    monkeypatch.setattr(digests, "_hash", changing)
    digest_file(path, memo)
    assert memo.known == {}


@pytest.mark.usefixtures("later")
def test_what_is_remembered_outlives_the_process_and_a_move_does_not_deceive(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    path = tmp_path / "a"
    path.write_bytes(b"one")
    store.digest(path)
    store.close()
    again = open_store(tmp_path / "store")
    assert again.index.digest(str(path), StatSignature.of(path.stat())) == digest_bytes(b"one")
    path.rename(tmp_path / "b")
    path.write_bytes(b"two")
    assert again.digest(path) == digest_bytes(b"two")
    assert again.digest(tmp_path / "b") == digest_bytes(b"one")


def test_a_name_that_is_not_utf8_is_no_obstacle(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    path.write_bytes(b"one")
    assert store.digest(path) == digest_bytes(b"one")
    store.index.remember(str(path), StatSignature.of(path.stat()), "x")
    assert store.index.digest(str(path), StatSignature.of(path.stat())) == "x"


def test_forgetting_what_is_gone(tmp_path: Path) -> None:
    index = StoreIndex(tmp_path)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    mark = StatSignature.of(path.stat())
    index.remember(str(path), mark, "x")
    index.remember(str(tmp_path / "gone"), mark, "y")
    index.prune()
    assert index.digest(str(path), mark) == "x"
    assert index.digest(str(tmp_path / "gone"), mark) is None


# Algorithms

SMALL, BIG = b"x" * (LARGE - 1), b"y" * (LARGE + 1)


@pytest.fixture
def without_blake3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_blake3", lambda: None)


def test_small_contents_have_sha256_and_large_ones_blake3() -> None:
    assert digest_bytes(SMALL) == "sha256:" + hashlib.sha256(SMALL).hexdigest()
    assert digest_bytes(BIG) == "blake3:" + blake3(BIG).hexdigest()
    assert digest_bytes(BIG[:LARGE]) == "blake3:" + blake3(BIG[:LARGE]).hexdigest()


@pytest.mark.usefixtures("without_blake3")
def test_without_blake3_there_is_sha256() -> None:
    assert digest_bytes(SMALL) == "sha256:" + hashlib.sha256(SMALL).hexdigest()
    assert digest_bytes(BIG) == "sha256:" + hashlib.sha256(BIG).hexdigest()
    assert is_digest(digest_bytes(BIG))
    assert not digests.is_known("blake3")


@pytest.mark.parametrize("size", [0, LARGE - 1, LARGE, LARGE + 1, 17 << 20, (24 << 20) + 7])
@pytest.mark.parametrize("missing", [False, True])
def test_however_a_content_comes_its_digest_is_the_same(
    size: int, missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setattr(digests, "_blake3", lambda: None)
    content = os.urandom(size)
    path = tmp_path / "file"
    with path.open("xb") as file:
        writer = HashingWriter(file)
        for start in range(0, size, 300_001):
            writer.write(content[start : start + 300_001])
    assert writer.digest == digest_bytes(content) == digest_file(path)


def test_a_remembered_digest_of_another_algorithm_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "store")
    path = tmp_path / "file"
    path.write_bytes(BIG)
    store.index.remember(str(path), StatSignature.of(path.stat()), "sha256:" + hashlib.sha256(BIG).hexdigest())
    assert store.digest(path) == store.digest_files([str(path)])[str(path)] == "blake3:" + blake3(BIG).hexdigest()
    monkeypatch.setattr(digests, "_blake3", lambda: None)
    assert (
        store.digest(path) == store.digest_files([str(path)])[str(path)] == "sha256:" + hashlib.sha256(BIG).hexdigest()
    )


# After a restart


def test_a_power_cut_may_have_undone_what_was_not_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memo = StoreIndex(tmp_path)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    mark = StatSignature.of(path.stat())
    memo.remember(str(path), mark, "x")
    memo.remember("/blob", mark, "y", durable=True)
    assert memo.digests({str(path): mark, "/blob": mark}) == {str(path): "x", "/blob": "y"}
    here = ProcessIdentity.current()
    monkeypatch.setattr(ProcessIdentity, "current", lambda: replace(here, boot="another"))
    assert memo.digests({str(path): mark, "/blob": mark}) == {"/blob": "y"}


def test_many_at_once(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    paths = [tmp_path / str(number) for number in range(1200)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % number)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"in it")
    by_name = store.digest_files(map(str, [*paths, folder, tmp_path / "none"]))
    assert by_name == {str(path): digest_bytes(path.read_bytes()) for path in paths}
    assert by_name == {str(path): store.digest(path) for path in paths}
    paths[7].write_bytes(b"changed")
    assert store.digest_files(map(str, paths))[str(paths[7])] == digest_bytes(b"changed")
