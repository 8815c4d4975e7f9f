"""Requests to stop a run, written to a file in its folder by any process that may write there.

Nothing is sent to a process: a pid may belong to another process by now, and the run may live on another machine. A
request is a line in a file beside the run's document; the loop looks at that file in every turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "wishes.jsonl"


def request_stop(folder: Path, *, step: str | None = None, now: bool = False) -> None:
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


class StopRequests:
    """Reads the stop requests of a run; the run itself does so.

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
        """Return the requests that have come since the last call: names of steps, None for the whole run.

        A request that says ``now`` is returned twice, as if it had been made again at once.
        """
        try:
            if self._path.stat().st_size <= self._read:
                return []
            with self._path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except OSError:
            return []
        complete_lines = content[: content.rfind(b"\n") + 1]
        self._read += len(complete_lines)
        return [step for line in complete_lines.splitlines() for step in self._heard(line)]

    def _heard(self, line: bytes) -> list[str | None]:
        try:
            request: Mapping[str, Any] = json.loads(line)
            step, now = request["step"], bool(request["now"])
        except (ValueError, TypeError, KeyError):
            return []
        if not isinstance(step, str | None) or (step, now) in self._known:
            return []
        is_repeated = now and (step, False) in self._known
        self._known |= {(step, now), (step, False)}
        return [step] if is_repeated or not now else [step, step]
