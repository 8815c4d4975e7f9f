"""Features of the file system of a file: granularity of its times, reservation of space, shared blocks.

An unknown file system is taken for the worst: a disk somewhere in the network, with a clock of its own that counts in
seconds.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_MOUNTS = Path("/proc/self/mountinfo")
_LOCAL = frozenset({"bcachefs", "btrfs", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
"""File systems that take the time of a change from this kernel, in nanoseconds."""

_FINE = frozenset({"btrfs", "ext4", "tmpfs", "xfs"})
_FINE_SINCE = (6, 13)
"""Linux version from which a change gets a new time when the time of the previous change was read."""

_RESERVING = frozenset({"ext4", "xfs"})
"""File systems that reserve space at once; elsewhere the C library writes to every block instead."""

COARSE_MARGIN_NS = 2_000_000_000
_COARSE_CLOCK = 5
_TICKS = 20
_FLUSH_BYTES = 8 << 20
_RESERVED = 64 << 20
_BEGIN_WRITING = 2
_BLOCK = 1 << 20


class MtimeCutoff(NamedTuple):
    """The time before which a file must have changed last, so that its next change is sure to be seen.

    Parameters
    ----------
    before_ns : int
        Nanoseconds since the epoch.
    coarse_ns : int
        The same where times of files are in seconds, or of another machine's clock.
    """

    before_ns: int
    coarse_ns: int

    def is_past(self, time_ns: int) -> bool:
        """Tell whether a file whose last change has this time is safe; a time without nanoseconds is coarse."""
        return time_ns < (self.before_ns if time_ns % 1_000_000 else self.coarse_ns)


def mtime_cutoff(device: int) -> MtimeCutoff:
    """Return the cutoff of this moment for files on `device`; to be asked for before a file is read.

    The kernel gives a change the time of its last tick (4 ms ago at most on most machines), and that very clock can be
    read: what changed before its reading can only change again with a later time. Since Linux 6.13 nothing has to be
    waited for at all, because files whose time was read get a finer time.
    """
    kind = kind_of(device)
    coarse = time.time_ns() - COARSE_MARGIN_NS
    if kind not in _LOCAL:
        return MtimeCutoff(coarse, coarse)
    if kind in _FINE and _kernel() >= _FINE_SINCE:
        return MtimeCutoff(sys.maxsize, coarse)
    return MtimeCutoff(time.clock_gettime_ns(_COARSE_CLOCK), coarse)


def cutoff_after_tick(status: os.stat_result) -> MtimeCutoff:
    """Return the cutoff for a file that has just changed, after a wait for the kernel's next tick if need be."""
    cutoff = mtime_cutoff(status.st_dev)
    for _ in range(_TICKS):
        if not cutoff.coarse_ns < cutoff.before_ns <= status.st_ctime_ns:
            break
        time.sleep(0.001)
        cutoff = mtime_cutoff(status.st_dev)
    return cutoff


def is_local(device: int) -> bool:
    """Tell whether `device` is known to be a disk of this machine: what is on it does not go away while it is used."""
    return kind_of(device) in _LOCAL


def kind_of(device: int) -> str:
    """Return what kind of file system has this number, such as ``ext4``; empty where that cannot be known."""
    number = (os.major(device), os.minor(device))
    second = int(time.monotonic())
    # What is mounted is looked up once a second, and when it is not there.
    kind = _mounted(_MOUNTS, second).get(number)
    if kind is None:
        _mounted.cache_clear()
        kind = _mounted(_MOUNTS, second).get(number)
    return kind or ""


@functools.lru_cache(maxsize=1)
def _mounted(path: Path, second: int) -> Mapping[tuple[int, int], str]:  # noqa: ARG001 - only to forget it then
    mounts = {}
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError:
        return {}
    for line in text.splitlines():
        major, _, minor = line.split(" ", 3)[2].partition(":")
        mounts[(int(major), int(minor))] = line.rpartition(" - ")[2].partition(" ")[0]
    return mounts


@functools.cache
def _kernel() -> tuple[int, ...]:
    major, minor, *_ = (*platform.release().split("."), "0", "0")
    return (int(major), int(minor)) if platform.system() == "Linux" and (major + minor).isdigit() else (0, 0)


class WritebackPacer:
    """Starts the write-back of a file while it is being written, and reserves its space.

    Without it the whole file stays in memory until it is flushed, which then takes as long once more.

    Parameters
    ----------
    file : BinaryIO
        The file, new and empty.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._handle = file.fileno()
        self._end = 0
        self._begun = 0

    def reached(self, size: int) -> None:
        """Take note that the file has `size` bytes now."""
        if size - self._begun < _FLUSH_BYTES:
            return
        _begin_writing(self._handle, self._begun, size - self._begun)
        self._begun = size
        if size + _FLUSH_BYTES > self._end >= 0:
            self._reserve(size)

    def finish(self, size: int) -> None:
        """Give back what was reserved and not used; the file has all of its `size` bytes."""
        if self._end > size:
            os.ftruncate(self._handle, size)

    def _reserve(self, size: int) -> None:
        start = max(self._end, size)
        if kind_of(os.fstat(self._handle).st_dev) not in _RESERVING:
            self._end = -1
            return
        try:
            os.posix_fallocate(self._handle, start, _RESERVED)
            self._end = start + _RESERVED
        except OSError:
            # There may be space for the rest of the file, just not for that much; the next write will show.
            self._end = self._end or -1


def _begin_writing(handle: int, start: int, size: int) -> None:
    """Let the system begin to write a part of an open file to the disk, and do not wait for it."""
    sync_file_range = _sync_file_range()
    if sync_file_range is not None:
        sync_file_range(handle, start, size, _BEGIN_WRITING)


@functools.cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return ``sync_file_range`` of the C library, which Python lacks; None where there is none."""
    if platform.system() != "Linux":
        return None
    import ctypes

    function: Any = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function  # type: ignore[no-any-return]


def is_open_for_writing(handle: int) -> bool:
    """Tell whether any process has the file open for writing, or mapped; False where that is unknown.

    Parameters
    ----------
    handle : int
        The file, opened for reading.
    """
    try:
        import fcntl
        import signal

        # When another process opens it meanwhile, the kernel sends this, which does nothing.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # type: ignore[attr-defined, unused-ignore]
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # type: ignore[attr-defined, unused-ignore]
    except BlockingIOError:
        return True
    except (ImportError, AttributeError, OSError):
        return False
    with contextlib.suppress(OSError):
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)  # type: ignore[attr-defined, unused-ignore]
    return False


def copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copy an open file from where it stands to its end; a disk that can share the bytes does so."""
    if not _cloned(source, target):
        shutil.copyfileobj(source, target, _BLOCK)


def _cloned(source: BinaryIO, target: BinaryIO) -> bool:
    """Let the target share the blocks of the source, where the disk can."""
    if platform.system() != "Linux":
        return False
    import fcntl

    try:
        if source.tell() or target.tell():
            return False
        fcntl.ioctl(target.fileno(), _CLONE, source.fileno())
    except (OSError, ValueError):
        return False
    return True


_CLONE = 0x40049409
