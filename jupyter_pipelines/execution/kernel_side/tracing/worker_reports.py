"""Reports of forked worker processes: their memory is their own, so they leave what they do in a file.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

_QUESTIONS = frozenset({"read", "look", "right"})
"""Kinds of reports that begin with a path."""


class WorkerReports:
    """The file in which forked workers report what they do.

    Attributes
    ----------
    path : str
        The file; empty where nothing is reported.
    """

    def __init__(self) -> None:
        self.path = ""

    def add(self, kind: str, about: Any) -> None:
        """Report something from a worker."""
        if self.path:
            # Short lines that are appended do not mix with those of other workers.
            with open(self.path, "a", encoding="utf-8", errors="surrogateescape") as file:
                file.write(f"{json.dumps([kind, about])}\n")

    def read(self, made: Iterable[str], is_own: Callable[[str], bool]) -> tuple[list[tuple[str, Any]], bool]:
        """Return the reports that count, in their order, and whether all of them are complete.

        What the step or a worker has made is no question to the system. Workers often look for a file before they make
        it, so looks at it do not count at all; that it was read counts if it was there before.

        Parameters
        ----------
        made : iterable of str
            Folders that the step has made.
        is_own : callable
            Tells whether the step or a worker was seen to make a file.
        """
        reports, complete = self._all()
        made_so_far = set(made)
        made_at_all = {about for kind, about in reports if kind == "made"} | made_so_far
        counting = []
        for kind, about in reports:
            if kind == "made":
                made_so_far.add(about)
            elif kind not in _QUESTIONS or not (
                is_own(about[0]) or _is_made(about[0], made_so_far if kind == "read" else made_at_all)
            ):
                counting.append((kind, about))
        return counting, complete

    def _all(self) -> tuple[list[tuple[str, Any]], bool]:
        reports: list[tuple[str, Any]] = []
        complete = True
        with contextlib.suppress(OSError), open(self.path, encoding="utf-8") as file:
            for line in file:
                try:
                    kind, about = json.loads(line)
                except ValueError:  # a worker was killed while it wrote
                    complete = False
                else:
                    reports.append((kind, about))
        return reports, complete


def _is_made(path: str, made: Collection[str]) -> bool:
    """Tell whether a path, or a folder that it is in, is one of those that were made."""
    while path not in made:
        parent = os.path.dirname(path)
        if parent == path:
            return False
        path = parent
    return True
