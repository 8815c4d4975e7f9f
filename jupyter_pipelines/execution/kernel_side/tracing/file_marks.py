"""The parts of a file's status that are logged.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import stat

Mark = list[int]


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
