"""Entries of `os.scandir`, and `os.fstat`, that report what code asks of them; the originals answer without an event.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

Ask = Callable[[str, Any, bool], None]
"""Takes the name of the method, the path, and whether links are followed."""


class TracedEntry:
    """An `os.DirEntry` that reports when it is asked for more than its name."""

    __slots__ = ("_ask", "_entry", "name", "path")

    def __init__(self, entry: os.DirEntry[Any], ask: Ask) -> None:
        self._entry, self._ask = entry, ask
        self.name, self.path = entry.name, entry.path

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # what type checks of others see
        return os.DirEntry

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return what `os.DirEntry.stat` returns."""
        __tracebackhide__ = True
        self._ask("stat", self.path, follow_symlinks)
        return self._entry.stat(follow_symlinks=follow_symlinks)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Return what `os.DirEntry.is_dir` returns."""
        __tracebackhide__ = True
        self._ask("is_dir", self.path, follow_symlinks)
        return self._entry.is_dir(follow_symlinks=follow_symlinks)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Return what `os.DirEntry.is_file` returns."""
        __tracebackhide__ = True
        self._ask("is_file", self.path, follow_symlinks)
        return self._entry.is_file(follow_symlinks=follow_symlinks)

    def is_symlink(self) -> bool:
        """Return what `os.DirEntry.is_symlink` returns."""
        __tracebackhide__ = True
        self._ask("is_symlink", self.path, False)
        return self._entry.is_symlink()

    def is_junction(self) -> bool:
        """Return what `os.DirEntry.is_junction` returns."""
        return bool(getattr(self._entry, "is_junction", bool)())

    def inode(self) -> int:
        """Return what `os.DirEntry.inode` returns."""
        return self._entry.inode()

    def __fspath__(self) -> Any:
        return self.path

    def __repr__(self) -> str:
        return repr(self._entry)


class TracedEntries:
    """The iterator that `os.scandir` returns, with entries that report what code asks of them."""

    def __init__(self, entries: Any, ask: Ask) -> None:
        self._entries, self._ask = entries, ask

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return TracedEntry(next(self._entries), self._ask)

    def __enter__(self) -> TracedEntries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the listing."""
        self._entries.close()


def traced_fstat(report: Callable[[int, os.stat_result], os.stat_result]) -> Any:
    """Return `os.fstat` as it has to be to report each file and answer; `report` returns the answer."""
    original = os.fstat

    def fstat(fd: int) -> os.stat_result:
        __tracebackhide__ = True
        # Packages ask for the size of each file that they open: this has to cost nothing.
        if "/site-packages/" in sys._getframe(1).f_code.co_filename:  # noqa: SLF001
            return original(fd)
        return report(fd, original(fd))

    fstat.__qualname__, fstat.__module__, fstat.__doc__ = "fstat", "os", original.__doc__
    return fstat
