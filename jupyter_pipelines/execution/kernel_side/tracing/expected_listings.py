"""Listings of folders that are no question of the step: the event that the system reports for each is left out.

An audit event comes before a folder is listed, and the system reports the listing once it is done, to whichever thread
reads the events. So a listing is expected until it is reported, or until its thread has gone on.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, NamedTuple

_DEPTH = 16
"""Frames above the one that lists: those of the audit hook."""


class ExpectedListing(NamedTuple):
    """A folder that a thread is about to list.

    Parameters
    ----------
    path : str
        The folder.
    thread : int
        The thread.
    frame : int
        Identity of the frame that lists the folder.
    instruction : int
        The instruction with which it does so: another one means that it has done it.
    """

    path: str
    thread: int
    frame: int
    instruction: int


class ExpectedListings:
    """The listings that are expected; the caller sees to it that a single thread at a time uses this."""

    def __init__(self) -> None:
        self._pending: list[ExpectedListing] = []
        self._done: list[ExpectedListing] = []

    def add(self, path: str, frame: Any) -> None:
        """Expect that a folder is listed by a frame of this thread."""
        self._pending.append(ExpectedListing(path, threading.get_ident(), id(frame), frame.f_lasti))

    def has_own(self) -> bool:
        """Tell whether a listing by this thread is expected: it is done by now."""
        return any(listing.thread == threading.get_ident() for listing in self._pending)

    def begin_reading(self) -> None:
        """Take note of which listings are done, before the events are read: what is done is reported by now."""
        pending: list[ExpectedListing] = []
        frames = sys._current_frames() if self._pending else {}  # noqa: SLF001
        for listing in self._pending:
            goes_on = listing.thread != threading.get_ident() and _is_listing(frames.get(listing.thread), listing)
            (pending if goes_on else self._done).append(listing)
        self._pending = pending

    def __contains__(self, path: str) -> bool:
        # Whose the event is cannot be told, and the system may report several listings as a single one.
        return any(listing.path == path for listing in (*self._done, *self._pending))

    def end_reading(self) -> None:
        """Expect nothing more of what was done."""
        self._done.clear()


def _is_listing(frame: Any, listing: ExpectedListing) -> bool:
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if id(frame) == listing.frame:
            return bool(frame.f_lasti == listing.instruction)
        frame = frame.f_back
    return False
