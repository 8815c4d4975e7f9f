"""Listings of folders by imports and patterns, which are no dependency: their fanotify or inotify events are dropped.

Python's audit event comes before a folder is listed; the system's event comes after, to the thread that happens to
read the queue. So a listing is expected until the system reports it, or until its thread has run on.

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
        The bytecode instruction of the call; a later one means that the call is done.
    """

    path: str
    thread: int
    frame: int
    instruction: int


class ExpectedListings:
    """Listings whose events are still to come; not thread-safe, the caller holds a lock."""

    def __init__(self) -> None:
        self._pending: list[ExpectedListing] = []
        self._done: list[ExpectedListing] = []

    def add(self, path: str, frame: Any) -> None:
        """Expect that a frame of this thread lists a folder."""
        # By its id: a reference to the frame would keep the user's local variables alive.
        self._pending.append(ExpectedListing(path, threading.get_ident(), id(frame), frame.f_lasti))

    def has_own(self) -> bool:
        """Tell whether a listing by this thread is expected; as the thread has come here, it is done."""
        return any(listing.thread == threading.get_ident() for listing in self._pending)

    def begin_reading(self) -> None:
        """Mark the listings that are done, before events are read: their events are in the queue already."""
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
        """Forget the listings that were done when reading began."""
        self._done.clear()


def _is_listing(frame: Any, listing: ExpectedListing) -> bool:
    for _ in range(_DEPTH):
        if frame is None:
            return False
        if id(frame) == listing.frame:
            return bool(frame.f_lasti == listing.instruction)
        frame = frame.f_back
    return False
