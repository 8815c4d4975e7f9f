"""A remembered digest is believed only while nothing can have changed."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.storing import disks
from jupyter_pipelines.storing.digests import Mark, digest_bytes, digest_file
from jupyter_pipelines.storing.disks import Horizon
from jupyter_pipelines.storing.index import Index
from jupyter_pipelines.storing.store import Store

SECOND = 1_000_000_000


class Counting:
    """A memo that counts what it is asked and told."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Mark, str]] = {}
        self.hits = 0

    def digest(self, path: str, mark: Mark) -> str | None:
        found = self.known.get(path)
        if found is None or found[0] != mark:
            return None
        self.hits += 1
        return found[1]

    def digests(self, marks: Mapping[str, Mark]) -> dict[str, str]:
        return {path: found for path, mark in marks.items() if (found := self.digest(path, mark)) is not None}

    def remember(self, path: str, mark: Mark, digest: str, *, durable: bool = False) -> None:
        self.known[path] = (mark, digest)


@pytest.fixture(params=["", "vfat", "nfs4"])
def coarse(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files lie on a disk whose clock is not this kernel's, or counts in seconds."""
    monkeypatch.setattr(disks, "kind_of", lambda device: request.param)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the clock go an hour ahead of the file system's."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3600 * SECOND)


@pytest.mark.usefixtures("coarse")
def test_a_file_that_has_just_changed_is_not_remembered(tmp_path: Path) -> None:
    memo = Counting()
    (tmp_path / "a").write_bytes(b"1")
    assert digest_file(tmp_path / "a", memo) == digest_bytes(b"1")
    assert memo.known == {}


@pytest.mark.usefixtures("later")
def test_a_file_that_has_settled_is_read_once(tmp_path: Path) -> None:
    memo = Counting()
    (tmp_path / "a").write_bytes(b"1")
    assert digest_file(tmp_path / "a", memo) == digest_file(tmp_path / "a", memo) == digest_bytes(b"1")
    assert memo.hits == 1


@pytest.mark.usefixtures("later")
def test_one_byte_changed_with_size_and_mtime_kept_is_found(tmp_path: Path) -> None:
    memo = Index(tmp_path)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    assert digest_file(path, memo) == digest_bytes(b"one")
    assert memo.digest(str(path), Mark.of(path.stat())) is not None
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
    mark = Mark(inode=1, size=1, mtime_ns=now + int(mtime * SECOND), ctime_ns=now + int(ctime * SECOND))
    assert mark.settled(Horizon(now - 2 * SECOND, now - 2 * SECOND)) is settled


@pytest.mark.usefixtures("later")
def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memo = Counting()
    path = tmp_path / "a"
    path.write_bytes(b"one")
    from jupyter_pipelines.storing import digests

    real = digests._hash

    def changing(*args: Any) -> str:
        found = real(*args)
        path.write_bytes(b"longer than before")
        return found

    monkeypatch.setattr(digests, "_hash", changing)
    digest_file(path, memo)
    assert memo.known == {}


@pytest.mark.usefixtures("later")
def test_what_is_remembered_outlives_the_process_and_a_move_does_not_deceive(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    path = tmp_path / "a"
    path.write_bytes(b"one")
    store.digest(path)
    store.close()
    again = Store.open(tmp_path / "store")
    assert again.index.digest(str(path), Mark.of(path.stat())) == digest_bytes(b"one")
    path.rename(tmp_path / "b")
    path.write_bytes(b"two")
    assert again.digest(path) == digest_bytes(b"two")
    assert again.digest(tmp_path / "b") == digest_bytes(b"one")


def test_a_name_that_is_not_utf8_is_no_obstacle(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    path.write_bytes(b"one")
    assert store.digest(path) == digest_bytes(b"one")
    store.index.remember(str(path), Mark.of(path.stat()), "x")
    assert store.index.digest(str(path), Mark.of(path.stat())) == "x"


def test_forgetting_what_is_gone(tmp_path: Path) -> None:
    index = Index(tmp_path)
    path = tmp_path / "a"
    path.write_bytes(b"one")
    mark = Mark.of(path.stat())
    index.remember(str(path), mark, "x")
    index.remember(str(tmp_path / "gone"), mark, "y")
    index.prune()
    assert index.digest(str(path), mark) == "x"
    assert index.digest(str(tmp_path / "gone"), mark) is None
