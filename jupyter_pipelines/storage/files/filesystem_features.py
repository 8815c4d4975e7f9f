"""Features of the file system of a file: granularity of its times, reservation of space, shared blocks.

An unknown file system is treated as the worst case: a network file system whose server stamps times by its own clock,
in whole seconds.
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
"""File systems whose timestamps come from the clock of this kernel and are kept in nanoseconds."""

_FINE = frozenset({"btrfs", "ext4", "tmpfs", "xfs"})
_FINE_SINCE = (6, 13)
"""Linux version with multigrain timestamps: a change gets a new time if the previous time has been read."""

_RESERVING = frozenset({"ext4", "xfs"})
"""File systems that reserve space at once; elsewhere the C library writes to every block instead."""

# FAT keeps modification times in steps of two seconds, the coarsest of the file systems in use.
COARSE_MARGIN_NS = 2_000_000_000
# CLOCK_REALTIME_COARSE, which Linux uses for the times of files; the time module has no name for it.
_COARSE_CLOCK = 5
_TICKS = 20
_FLUSH_BYTES = 8 << 20
_RESERVED = 64 << 20
# SYNC_FILE_RANGE_WRITE of linux/fs.h: start write-back of dirty pages without waiting for it.
_BEGIN_WRITING = 2
_BLOCK = 1 << 20


class MtimeCutoff(NamedTuple):
    """The latest ctime at which a file counts as stable: any change from this moment on is sure to alter its times.

    Parameters
    ----------
    before_ns : int
        Nanoseconds since the epoch.
    coarse_ns : int
        The same for file systems with times in seconds, or with the clock of another machine.
    """

    before_ns: int
    coarse_ns: int

    def is_past(self, time_ns: int) -> bool:
        """Tell whether a file with this ctime is stable; a time in whole milliseconds is taken for a coarse time."""
        return time_ns < (self.before_ns if time_ns % 1_000_000 else self.coarse_ns)


def mtime_cutoff(device: int) -> MtimeCutoff:
    """Return the cutoff of this moment for files on `device`; call it before the file is read.

    The kernel gives a change the time of its last tick (4 ms ago at most on most machines), and that very clock can be
    read: a file that changed before that clock was read can only change again with a later time. Since Linux 6.13 no
    wait is needed, because a file whose time has been read gets a finer time at its next change.
    """
    kind = kind_of(device)
    coarse = time.time_ns() - COARSE_MARGIN_NS
    if kind not in _LOCAL:
        return MtimeCutoff(coarse, coarse)
    if kind in _FINE and _kernel() >= _FINE_SINCE:
        # No wait for times with nanoseconds; a time in whole milliseconds may be coarse and still has to be old enough.
        return MtimeCutoff(sys.maxsize, coarse)
    return MtimeCutoff(time.clock_gettime_ns(_COARSE_CLOCK), coarse)


def cutoff_after_tick(status: os.stat_result) -> MtimeCutoff:
    """Return the cutoff for a file that has just changed, after a wait for the kernel's next tick if need be."""
    cutoff = mtime_cutoff(status.st_dev)
    # A tick lasts 1 to 10 ms depending on CONFIG_HZ; the bound keeps a stopped clock from blocking a run.
    for _ in range(_TICKS):
        if not cutoff.coarse_ns < cutoff.before_ns <= status.st_ctime_ns:
            break
        time.sleep(0.001)
        cutoff = mtime_cutoff(status.st_dev)
    return cutoff


def is_local(device: int) -> bool:
    """Tell whether `device` is known to be a local disk, whose files do not vanish while they are open or mapped."""
    return kind_of(device) in _LOCAL


def kind_of(device: int) -> str:
    """Return the type of the file system with this device number, such as ``ext4``; empty if it is unknown."""
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
        # Optional fields of varying number precede " - "; the file system type is the first word after it.
        major, _, minor = line.split(" ", 3)[2].partition(":")
        mounts[(int(major), int(minor))] = line.rpartition(" - ")[2].partition(" ")[0]
    return mounts


@functools.cache
def _kernel() -> tuple[int, ...]:
    major, minor, *_ = (*platform.release().split("."), "0", "0")
    return (int(major), int(minor)) if platform.system() == "Linux" and (major + minor).isdigit() else (0, 0)


class WritebackPacer:
    """Starts the write-back of a file to the disk while it is still being written, and reserves its space.

    Otherwise the whole file stays in the page cache until fsync, which then takes as long as the writing did.

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
        """Report that the file has `size` bytes; every 8 MB a write-back is started."""
        if size - self._begun < _FLUSH_BYTES:
            return
        _begin_writing(self._handle, self._begun, size - self._begun)
        self._begun = size
        if size + _FLUSH_BYTES > self._end >= 0:
            self._reserve(size)

    def finish(self, size: int) -> None:
        """Release space that was reserved and not used; the file has all of its `size` bytes."""
        if self._end > size:
            os.ftruncate(self._handle, size)

    def _reserve(self, size: int) -> None:
        start = max(self._end, size)
        if kind_of(os.fstat(self._handle).st_dev) not in _RESERVING:
            # posix_fallocate is emulated by glibc on other file systems, which writes a byte into every block.
            self._end = -1
            return
        try:
            os.posix_fallocate(self._handle, start, _RESERVED)
            self._end = start + _RESERVED
        except OSError:
            # There may be space for the rest of the file, just not for that much; the next write will show.
            self._end = self._end or -1


def _begin_writing(handle: int, start: int, size: int) -> None:
    """Start the write-back of a part of an open file without waiting for it."""
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
    """Tell whether any process has the file open for writing, or mapped for writing; False if that is unknown.

    Parameters
    ----------
    handle : int
        The file, opened for reading.
    """
    try:
        import fcntl
        import signal

        # A process that opens the file breaks the lease, which raises SIGIO; that kills by default, SIGURG is ignored.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)  # type: ignore[attr-defined, unused-ignore]
        # A read lease is granted only while no process has the file open for writing: EAGAIN answers the question.
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # type: ignore[attr-defined, unused-ignore]
    except BlockingIOError:
        return True
    except (ImportError, AttributeError, OSError):
        return False
    with contextlib.suppress(OSError):
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)  # type: ignore[attr-defined, unused-ignore]
    return False


def copy(source: BinaryIO, target: BinaryIO) -> None:
    """Copy an open file from its position to its end, by sharing blocks (reflink) where the file system can."""
    if not _cloned(source, target):
        shutil.copyfileobj(source, target, _BLOCK)


def _cloned(source: BinaryIO, target: BinaryIO) -> bool:
    """Clone the blocks of the source into the target, and tell whether that worked."""
    if platform.system() != "Linux":
        return False
    import fcntl

    try:
        # FICLONE replaces the whole target by the whole source, whatever the file positions are.
        if source.tell() or target.tell():
            return False
        fcntl.ioctl(target.fileno(), _CLONE, source.fileno())
    except (OSError, ValueError):
        return False
    return True


# FICLONE of linux/fs.h, for Btrfs, XFS and overlay file systems on them; other file systems refuse it.
_CLONE = 0x40049409
