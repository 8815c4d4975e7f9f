"""Follow and cancel runs of other processes through the folders of these runs.

All state is read from the disk each time. A run is alive as long as its process is, identified by pid, start time and
boot; after the death of the process, its document on the disk may still say ``running``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.execution.runs import stop_requests
from jupyter_pipelines.execution.runs.events import Event, RunFinished, event_from_dict
from jupyter_pipelines.execution.runs.result import SCHEMA, Run
from jupyter_pipelines.storage.files.os_errors import writing
from jupyter_pipelines.storage.records.run_store import EVENTS, LOST, RUNNING
from jupyter_pipelines.storage.store import Store

CANCELLING = "cancelling"
POLL_INTERVAL = 0.1
"""Seconds between two reads of the event file of a run."""
_DOUBT_AFTER = 1.0
_OVER = "run-finished"


class EventTail:
    """Reads the events that are appended to the event file of a run.

    Parameters
    ----------
    folder : Path
        The folder of the run.

    Attributes
    ----------
    count : int
        Number of events that have been read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS
        self._offset = 0
        self.count = 0

    def read(self) -> list[dict[str, Any]]:
        """Return the events since the last call; a line that is still being written waits for a later call."""
        # Followers poll ten times a second: the size tells whether there is anything to read.
        try:
            if self._path.stat().st_size <= self._offset:
                return []
            with self._path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except OSError:
            return []
        complete_lines = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete_lines)
        # A crash or power cut may damage a line: it is passed over.
        events = [event for event in map(_parsed, complete_lines.splitlines()) if event is not None]
        self.count += len(events)
        return events


class RunFollower:
    """Follows a run of another process by polling; no call blocks.

    Parameters
    ----------
    store : Store
        The store of the run.
    run : str
        Id of the run.

    Attributes
    ----------
    ended : bool
        Whether the last event, ``run-finished``, has been returned; its state is ``lost`` if the process is gone.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store = store
        self._runs = store.runs
        self._run = run
        self._tail = EventTail(store.runs.folder(run))
        self._doubt = time.monotonic()
        self.ended = False

    def read(self) -> list[dict[str, Any]]:
        """Return the events since the last call; the first call returns all events so far."""
        if self.ended:
            return []
        # The document is read only when no events come, at most once a second: it is much larger than an event.
        events = self._tail.read()
        if not events and time.monotonic() >= self._doubt:
            self._doubt = time.monotonic() + _DOUBT_AFTER
            events = self._final_events()
        self.ended = any(event.get("event") == _OVER for event in events)
        return events

    def listen(self) -> list[Event]:
        """Return the events of :meth:`read` as objects; the last one has the whole run as its result."""
        events = [event for event in map(event_from_dict, self.read()) if event is not None]
        return [_completed(self._store, event) for event in events]

    def _final_events(self) -> list[dict[str, Any]]:
        """Return the remaining events of a run that has ended, with a final event if it wrote none; else nothing."""
        document = read_document(self._runs, self._run)
        if document.get("state") == RUNNING:
            return []
        # The run writes its final document before its last event: events may have come since the last read.
        events = self._tail.read()
        if any(event.get("event") == _OVER for event in events):
            return events
        return [*events, _end(self._run, document)]


def read_document(runs: Any, run: str) -> dict[str, Any]:
    """Return the document of a run; for a run that was removed, a document with the state ``lost``."""
    try:
        document: dict[str, Any] = runs.read(run)
    except StoreError:
        return {
            "schema": SCHEMA,
            "run": run,
            "state": LOST,
            "seconds": 0.0,
            "saved": 0.0,
            "parameters": {},
            "steps": [],
        }
    return document


def follow(store: Store, run: str) -> Iterator[dict[str, Any]]:
    """Yield all events of a run as documents, from its start until it has ended or its process is gone; blocks."""
    watch = RunFollower(store, run)
    # Polling: the file may be on a network disk, of whose changes the system reports nothing.
    while not watch.ended:
        events = watch.read()
        yield from events
        if not events:
            time.sleep(POLL_INTERVAL)


def listen(store: Store, run: str) -> Iterator[Event]:
    """Yield all events of a run as objects; the last one has the whole run as its result; blocks."""
    for line in follow(store, run):
        event = event_from_dict(line)
        if event is not None:
            yield _completed(store, event)


def _completed(store: Store, event: Event) -> Event:
    if not isinstance(event, RunFinished):
        return event
    return replace(event, result=Run.from_dict(read_document(store.runs, event.run), store))


def cancel(store: Store, document: Mapping[str, Any], *, step: str | None = None, now: bool = False) -> str:
    """Request that a run, or one step of it, stops; return ``cancelling``, or its state if it has ended already.

    Parameters
    ----------
    store : Store
        The store of the run.
    document : Mapping
        The document of the run.
    step : str or None
        The step to stop; None for the whole run.
    now : bool
        Kill running steps without time to clean up.

    Raises
    ------
    StoreError
        The request cannot be written (JP402, JP403).
    """
    # The document may be a second old: a request for a step that has ended since is ignored by the run.
    states = {step_document["name"]: str(step_document["state"]) for step_document in document["steps"]}
    state = str(document["state"]) if step is None else states.get(step, RUNNING)
    if document["state"] != RUNNING or state in _ENDS:
        return state
    run = str(document["run"])
    with writing(store.root, f"the request to stop the run {run}"):
        stop_requests.request_stop(store.runs.folder(run), step=step, now=now)
    return CANCELLING


_ENDS = frozenset({"succeeded", "reused", "failed", "blocked", "skipped", "cancelled"})


def _end(run: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a final event for a run whose process ended before it wrote one."""
    fields = {
        "state": document.get("state"),
        "seconds": document.get("seconds", 0.0),
        "saved": document.get("saved", 0.0),
    }
    return {"event": _OVER, "run": run, "at": document.get("finished") or "", **fields}


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
