"""Wishes that a run stops, left in its folder by anybody who may write there, in any process.

Nothing is sent to a process: a pid may belong to somebody else by now, and the run may live on another machine. A wish
is a line in a file beside the run's document; the loop looks at that file in every turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "wishes.jsonl"


def leave(folder: Path, *, step: str | None = None, now: bool = False) -> None:
    """Ask the run in `folder` to stop, or one step of it; asking again for the same changes nothing.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    step : str or None
        Which step; None for the whole run.
    now : bool
        Do not wait for what is running to clean up.

    Raises
    ------
    OSError
        It cannot be written there.
    """
    path = folder / FILE
    line = json.dumps({"step": step, "now": now}).encode() + b"\n"
    if path.is_file() and line in path.read_bytes().splitlines(keepends=True):
        return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


class Mailbox:
    """The wishes for one run, as the run itself reads them.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read = 0
        self._known: set[tuple[str | None, bool]] = set()

    def take(self) -> list[str | None]:
        """Return the wishes that have come since the last call: names of steps, None for the whole run.

        A wish that is not to be waited for stands there twice, as if it had been uttered again at once.
        """
        try:
            if self._path.stat().st_size <= self._read:
                return []
            with self._path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        return [wish for line in whole.splitlines() for wish in self._heard(line)]

    def _heard(self, line: bytes) -> list[str | None]:
        try:
            wish: Mapping[str, Any] = json.loads(line)
            step, now = wish["step"], bool(wish["now"])
        except (ValueError, TypeError, KeyError):
            return []
        if not isinstance(step, str | None) or (step, now) in self._known:
            return []
        again = now and (step, False) in self._known
        self._known |= {(step, now), (step, False)}
        return [step] if again or not now else [step, step]
