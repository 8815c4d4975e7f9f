"""Paths, and the parts of a file's status, as they are logged.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import stat

Mark = list[int]
_STAT, _READLINK = os.stat, os.readlink  # as they are before the log wraps them


def absolute(path: str) -> str:
    """Return an absolute, normalized path; faster than `os.path.abspath` for a path that is both already."""
    if path.startswith("/") and "/." not in path and "//" not in path and not path.endswith("/"):
        return path
    return os.path.abspath(path)


def status_of(path: str) -> os.stat_result | None:
    """Return the status of a file; None if it is missing or out of reach."""
    try:
        return _STAT(path)
    except OSError:
        return None


def link_target(path: str) -> str:
    """Return where a symbolic link leads, as stored in it."""
    return _READLINK(path)


def is_link(path: str) -> bool:
    """Tell whether a path is that of a symbolic link."""
    try:
        _READLINK(path)
    except OSError:
        return False
    return True


def mark_of(status: os.stat_result | None) -> Mark | None:
    """Return what tells whether a file has changed; None for a file that is missing."""
    # No program can set the ctime, so it also shows changes whose mtime was put back.
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns] if status else None


def look_of(status: os.stat_result | None) -> list[int] | None:
    """Return kind, size, time, mode, owner and group of a file; None for a file that is missing."""
    if status is None:
        return None
    about = [int(stat.S_ISDIR(status.st_mode)), status.st_size, status.st_mtime_ns, status.st_mode]
    return [*about, status.st_uid, status.st_gid]
