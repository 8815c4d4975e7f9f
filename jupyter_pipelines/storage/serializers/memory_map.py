"""Stored files as memory: large files are mapped, so that only accessed pages are read.

Maps are private (copy-on-write): changes stay in this process and never reach the file, so that a mapped value can be
modified like any other. Linux reports in ``/proc/self/smaps`` whether pages of a map were written to.
"""

from __future__ import annotations

import mmap
import os
import re
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines.storage.files import filesystem_features

MIN_MAPPED_BYTES = 1 << 20
"""Size in bytes from which a file is mapped; reading is faster for smaller files."""

_PAGES = Path("/proc/self/smaps")
_RANGE = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) ", re.MULTILINE)
# A written page of a private map becomes anonymous memory, which may be swapped out: both count as changed.
_CHANGED = re.compile(rb"^(?:Anonymous|Swap): +(\d+) kB$", re.MULTILINE)


class MappedRegion(NamedTuple):
    """A mapped file in the memory of this process.

    Parameters
    ----------
    holder : weakref.ref
        Reference to the map object.
    start : int
        Address of its first byte.
    size : int
        Size in bytes.
    """

    holder: weakref.ref[Any]
    start: int
    size: int

    def holds(self, address: int, size: int) -> bool:
        """Tell whether `size` bytes from `address` on lie in the region."""
        return self.start <= address and address + size <= self.start + self.size


_regions: list[MappedRegion] = []


def is_mapped(status: os.stat_result) -> bool:
    """Tell whether a file with this status is mapped; otherwise it is read at once.

    Only on local disks: if a file on a server vanishes, access to its map ends the process with SIGBUS.
    """
    return status.st_size >= MIN_MAPPED_BYTES and filesystem_features.is_local(status.st_dev)


def read_memory(path: Path) -> Any:
    """Return the bytes of a file as writable memory: a private map, or a bytearray for a small file."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if not is_mapped(status):
            content = bytearray(status.st_size)
            del content[file.readinto(content) :]
            return content
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    _regions[:] = [region for region in _regions if region.holder() is not None]
    _regions.append(MappedRegion(weakref.ref(mapped), address_of(mapped), len(mapped)))
    return mapped


def address_of(memory: Any) -> int:
    """Return the address of writable memory."""
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def regions() -> tuple[MappedRegion, ...]:
    """Return the regions that are mapped."""
    return tuple(region for region in _regions if region.holder() is not None)


def unwritten_regions(candidates: Iterable[MappedRegion]) -> set[MappedRegion]:
    """Return those of the candidate regions that the system reports as unwritten since they were mapped."""
    try:
        text = _PAGES.read_bytes()
    except OSError:
        return set()
    starts = list(_RANGE.finditer(text))
    ends = [match.start() for match in starts[1:]] + [len(text)]
    pages = [
        (int(match[1], 16), int(match[2], 16), text[match.end() : end]) for match, end in zip(starts, ends, strict=True)
    ]
    return {region for region in candidates if _is_unwritten(region, pages)}


def _is_unwritten(region: MappedRegion, pages: list[tuple[int, int, bytes]]) -> bool:
    """Tell whether a region is mapped completely and none of its pages has been written to."""
    stop = region.start + region.size
    seen = 0
    for first, end, fields in pages:
        if first < stop and end > region.start:
            amounts = _CHANGED.findall(fields)
            if not amounts or any(map(int, amounts)):
                return False
            seen += min(end, stop) - max(first, region.start)
    # A gap means that part of the region was unmapped or remapped: nothing is known about it.
    return seen == region.size
