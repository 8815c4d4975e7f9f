"""Stat signatures (marks): inode, size and times of a file, and when a change is sure to show in them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from jupyter_pipelines.storage.files.filesystem_features import COARSE_MARGIN_NS, MtimeCutoff


@dataclass(frozen=True, slots=True, kw_only=True)
class StatSignature:
    """The stat signature (mark) of a file: inode, size in bytes, mtime and ctime in nanoseconds."""

    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> StatSignature:
        """Return the mark of a file with this status."""
        return cls(inode=status.st_ino, size=status.st_size, mtime_ns=status.st_mtime_ns, ctime_ns=status.st_ctime_ns)

    def to_list(self) -> list[int]:
        """Return the mark as a JSON list."""
        return [self.inode, self.size, self.mtime_ns, self.ctime_ns]

    @classmethod
    def from_list(cls, numbers: Iterable[int]) -> StatSignature:
        """Return the mark from the list of :meth:`to_list`."""
        inode, size, mtime_ns, ctime_ns = map(int, numbers)
        return cls(inode=inode, size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns)

    def is_stable(self, cutoff: MtimeCutoff) -> bool:
        """Tell whether a change after the moment of `cutoff` is sure to change the mark.

        Clocks of file systems are coarse (two seconds on some): a file that changed just before its bytes were read
        might change once more without a change of its times.
        """
        # A fine ctime of a local kernel is proof enough: it cannot be set by programs, unlike the mtime.
        if cutoff.before_ns > cutoff.coarse_ns and self.ctime_ns % 1_000_000:
            return cutoff.is_past(self.ctime_ns)
        # On coarse clocks the mtime must lie outside the margin, too: it may be stamped by the clock of a server.
        now_ns = cutoff.coarse_ns + COARSE_MARGIN_NS
        return cutoff.is_past(self.ctime_ns) and abs(self.mtime_ns - now_ns) >= COARSE_MARGIN_NS
