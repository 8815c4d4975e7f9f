"""The features of a file system are those that it shows; the worst is assumed of the others."""

from __future__ import annotations

import io
import mmap
import os
import sys
import time
from pathlib import Path

import pytest

from jupyter_pipelines.storage.blobs.digests import HashingWriter, digest_bytes
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.filesystem_features import MtimeCutoff, WritebackPacer
from jupyter_pipelines.storage.files.stat_signature import StatSignature

SECOND = 1_000_000_000
MOUNTS = b"""\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:5 / /dev rw shared:2 master:1 - devtmpfs devtmpfs rw
24 22 0:44 / /home/a\\040b rw - nfs4 host:/export rw,vers=4.2
25 22 8:17 /sub /mnt rw - vfat /dev/sdb1 rw
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "mountinfo"
    path.write_bytes(MOUNTS)
    monkeypatch.setattr(filesystem_features, "_MOUNTS", path)
    return path


@pytest.mark.parametrize(
    ("major", "minor", "kind"), [(253, 0, "ext4"), (0, 44, "nfs4"), (8, 17, "vfat"), (8, 1, ""), (0, 0, "")]
)
def test_the_kind_of_a_disk(mounts: Path, major: int, minor: int, kind: str) -> None:
    assert filesystem_features.kind_of(os.makedev(major, minor)) == kind
    assert filesystem_features.is_local(os.makedev(major, minor)) is (kind == "ext4")


def test_what_is_mounted_later_is_seen(mounts: Path) -> None:
    assert filesystem_features.kind_of(os.makedev(0, 99)) == ""
    mounts.write_bytes(MOUNTS + b"26 22 0:99 / /tmp rw - tmpfs none rw\n")
    assert filesystem_features.kind_of(os.makedev(0, 99)) == "tmpfs"


def test_without_a_list_of_mounts_nothing_is_known(mounts: Path) -> None:
    mounts.unlink()
    assert filesystem_features.kind_of(os.makedev(253, 0)) == ""


@LINUX
def test_how_fine_the_clock_of_a_disk_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_features, "_kernel", lambda: (5, 15))
    delays = {}
    for kind in ("", "nfs4", "overlay", "ext4"):
        monkeypatch.setattr(filesystem_features, "kind_of", lambda device, kind=kind: kind)
        before_ns = filesystem_features.mtime_cutoff(1).before_ns
        delays[kind] = time.time_ns() - before_ns
    assert delays[""] >= 2 * SECOND
    assert delays["nfs4"] >= 2 * SECOND
    assert delays["overlay"] < SECOND
    assert delays["ext4"] < SECOND
    monkeypatch.setattr(filesystem_features, "_kernel", lambda: (6, 13))
    assert filesystem_features.mtime_cutoff(1).before_ns == sys.maxsize
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: "overlay")
    assert filesystem_features.mtime_cutoff(1).before_ns <= time.time_ns()


@LINUX
def test_the_clock_of_this_disk_is_as_fine_as_it_is_said_to_be(tmp_path: Path) -> None:
    """A file changes a thousand times as fast as possible: every settled signature shows the change."""
    path = tmp_path / "file"
    path.write_bytes(b"0")
    settled = 0
    for number in range(1000):
        horizon = filesystem_features.mtime_cutoff(path.stat().st_dev)
        before = StatSignature.of(path.stat())
        with path.open("r+b") as file:
            file.write(b"%d" % (number % 10))
        if before.is_stable(horizon):
            settled += 1
            assert StatSignature.of(path.stat()) != before
    if filesystem_features.mtime_cutoff(path.stat().st_dev).before_ns == sys.maxsize:
        assert settled > 900


@pytest.mark.parametrize(
    ("ctime", "settled"),
    [
        (999_999_999, True),
        (1_000_000_001, False),  # in the tick in which it was looked at, or later
        (990_000_000, False),  # no nanoseconds: the disk counts in something coarser, whatever it is called
        (-1_500_000_000, True),
    ],
)
def test_a_mark_is_settled_one_tick_after_the_change(ctime: int, settled: bool) -> None:
    horizon = MtimeCutoff(before_ns=1_000_000_001, coarse_ns=-1_000_000_000)
    assert StatSignature(inode=1, size=1, mtime_ns=-10 * SECOND, ctime_ns=ctime).is_stable(horizon) is settled


@LINUX
def test_after_a_tick_a_new_file_is_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_features, "_kernel", lambda: (5, 15))
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: "ext4")
    (tmp_path / "file").write_bytes(b"new")
    status = (tmp_path / "file").stat()
    assert StatSignature.of(status).is_stable(filesystem_features.cutoff_after_tick(status))


def test_there_is_no_wait_for_a_disk_that_counts_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: "")
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    (tmp_path / "file").write_bytes(b"new")
    status = (tmp_path / "file").stat()
    assert not StatSignature.of(status).is_stable(filesystem_features.cutoff_after_tick(status))


@pytest.mark.parametrize("kind", ["ext4", ""], ids=["reserved", "as-it-comes"])
@pytest.mark.parametrize("size", [10, (9 << 20) + 3, (100 << 20) + 1])
def test_a_large_file_has_what_was_written_and_no_more(
    tmp_path: Path, size: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: kind)
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with (tmp_path / "file").open("xb") as file:
        writer = HashingWriter(file, WritebackPacer(file))
        writer.write(content[:100])
        writer.write(content[100:])
        writer.finish()
        assert writer.size == size
    assert (tmp_path / "file").read_bytes() == content
    assert writer.digest == digest_bytes(content)


def test_no_space_to_reserve_is_no_reason_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    monkeypatch.setattr(filesystem_features, "kind_of", lambda device: "ext4")
    with (tmp_path / "file").open("xb") as file:
        writer = HashingWriter(file, WritebackPacer(file))
        for _ in range(20):
            writer.write(bytes(1 << 20))
        writer.finish()
    assert (tmp_path / "file").stat().st_size == 20 << 20


@LINUX
def test_who_else_has_a_file_open(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(mmap.PAGESIZE))
    with path.open("rb") as file:
        assert not filesystem_features.is_open_for_writing(file.fileno())
        with path.open("rb"):
            assert not filesystem_features.is_open_for_writing(file.fileno())
        with path.open("r+b"):
            assert filesystem_features.is_open_for_writing(file.fileno())
        with path.open("r+b") as other:
            shared = mmap.mmap(other.fileno(), 0)
        assert filesystem_features.is_open_for_writing(file.fileno())
        shared.close()
        assert not filesystem_features.is_open_for_writing(file.fileno())


@LINUX
def test_who_has_something_else_open_is_not_known() -> None:
    ends = os.pipe()
    assert not filesystem_features.is_open_for_writing(ends[0])
    for end in ends:
        os.close(end)


def test_a_copy_has_all_there_is_from_where_the_source_stands(tmp_path: Path) -> None:
    content = os.urandom((1 << 20) + 5)
    (tmp_path / "source").write_bytes(content)
    for number, start in enumerate((0, 7)):
        with (tmp_path / "source").open("rb") as source, (tmp_path / f"{number}").open("xb") as target:
            source.seek(start)
            filesystem_features.copy(source, target)
        assert (tmp_path / f"{number}").read_bytes() == content[start:]
    target_in_memory = io.BytesIO()
    with (tmp_path / "source").open("rb") as source:
        filesystem_features.copy(source, target_in_memory)
    assert target_in_memory.getvalue() == content
