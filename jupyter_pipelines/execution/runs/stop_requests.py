"""Requests to stop a run, written to a file in its folder by any process with write access.

No signal is sent: a pid may have been reused by another process, and the run may be on another machine. A request is a
line in a file beside the run's document; the scheduler's loop checks that file in every turn.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = "wishes.jsonl"


def request_stop(folder: Path, *, step: str | None = None, now: bool = False) -> None:
    """Request that the run in `folder`, or one step of it, stops; repeated requests change nothing.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    step : str or None
        The step to stop; None for the whole run.
    now : bool
        Kill running steps without time to clean up.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    path = folder / FILE
    line = json.dumps({"step": step, "now": now}).encode() + b"\n"
    # A client may repeat a request in each of its own turns: the file must not grow by that.
    if path.is_file() and line in path.read_bytes().splitlines(keepends=True):
        return
    # O_APPEND: several processes may request at once. O_NOFOLLOW: in a folder that others can write to, a link could
    # lead to any file of this user.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


class StopRequests:
    """Reads the stop requests of a run, in the process of the run.

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
        """Return the requests since the last call: names of steps, None for the whole run.

        A request with ``now`` is returned twice, as the second request for a step means a hard stop.
        """
        # Called in every turn of the loop: the size tells whether there is anything to read.
        try:
            if self._path.stat().st_size <= self._read:
                return []
            with self._path.open("rb") as file:
                file.seek(self._read)
                content = file.read()
        except OSError:
            return []
        # A line that is still being written is left for the next call.
        complete_lines = content[: content.rfind(b"\n") + 1]
        self._read += len(complete_lines)
        return [step for line in complete_lines.splitlines() for step in self._heard(line)]

    def _heard(self, line: bytes) -> list[str | None]:
        # Any process with access to the folder can write lines: what is no request is ignored.
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
