"""Runs of a store: a folder for each run, with its document and the log of its events."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.files.local_folder import DAY, age, make_folder
from jupyter_pipelines.storage.files.os_errors import missing_error, unreadable_error, writing
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity

if TYPE_CHECKING:
    from jupyter_pipelines.storage.files.local_folder import LocalFolder

FOLDER = "runs"
DOCUMENT = "run.json"
EVENTS = "events.jsonl"
RUNNING = "running"
LOST = "lost"
_LINE = json.JSONEncoder(separators=(",", ":"))
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{6}")


class RunStore:
    """The runs of a store.

    Parameters
    ----------
    folder : LocalFolder
        Where the store lives.
    """

    def __init__(self, folder: LocalFolder) -> None:
        self._folder = folder

    @staticmethod
    def new_id() -> str:
        """Return an id for a run that starts now; ids sort by time."""
        return f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"

    def create(self, run: str) -> Path:
        """Create the folder of a run and return its path.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        folder = self.folder(run)
        with writing(self._folder.root, f"the run {run}"):
            make_folder(folder)
        return folder

    def folder(self, run: str) -> Path:
        """Return the path of the folder of a run, which need not exist."""
        if not is_run(run):
            raise missing_error(f"a run `{run}`", self._folder.root)
        return self._folder.locate(f"{FOLDER}/{run}")

    def write(self, run: str, document: Mapping[str, Any]) -> None:
        """Write the document of a run; readers see the old document or the new document, never half of it.

        While its ``state`` is ``running``, the calling process is noted as its ``owner``.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        self.folder(run)
        run_document = dict(document)
        if run_document.get("state") == RUNNING:
            run_document.setdefault("owner", ProcessIdentity.current().to_dict())
        self._folder.write(f"{FOLDER}/{run}/{DOCUMENT}", json.dumps(run_document, separators=(",", ":")).encode())

    def read(self, run: str) -> dict[str, Any]:
        """Return the document of a run; a running run whose process has ended is changed to ``lost``, also on the disk.

        Raises
        ------
        StoreError
            There is no such run, or its document is damaged (JP405).
        """
        document = self._document(run)
        if document.get("state") == RUNNING and not self._is_live(run, document):
            # Read again: the owner may have written its final document after the first reading and before it ended.
            document = self._document(run)
            if document.get("state") == RUNNING:
                document = _lost(document)
                # A store that is only readable still shows the run as lost.
                with contextlib.suppress(StoreError):
                    self.write(run, document)
        return document

    def ids(self) -> tuple[str, ...]:
        """Return the ids of all runs that have a document, newest first."""
        return tuple(name for name in reversed(self.names()) if self._folder.exists(f"{FOLDER}/{name}/{DOCUMENT}"))

    def all_documents_strict(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the id and document of all runs, for callers that remove data to which no run refers.

        Raises
        ------
        StoreError
            Something is there and cannot be read (JP401).
        """
        for run in filter(is_run, self._folder.names(FOLDER)):
            try:
                document = json.loads(self._folder.read(f"{FOLDER}/{run}/{DOCUMENT}"))
            except (FileNotFoundError, ValueError, RecursionError):
                continue
            except OSError as error:
                raise unreadable_error(error, self._folder.root, f"the document of the run `{run}`") from error
            if isinstance(document, dict):
                yield run, document

    def names(self) -> tuple[str, ...]:
        """Return the ids of all runs that have a folder, oldest first; faster than :meth:`ids`."""
        return tuple(name for name in self._folder.ls(FOLDER) if is_run(name))

    def is_live(self, run: str) -> bool:
        """Tell whether a run is running and its process is alive."""
        try:
            document = self._document(run)
        except StoreError:
            return False
        return document.get("state") == RUNNING and self._is_live(run, document)

    def append(self, run: str, *events: Mapping[str, Any]) -> None:
        """Append events to the log of a run in a single write.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        path = self.folder(run) / EVENTS
        lines = "".join([f"{_LINE.encode(event)}\n" for event in events]).encode()
        with writing(self._folder.root, f"an event of the run {run}"):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                _append(handle, lines)
            finally:
                os.close(handle)

    def events(self, run: str) -> list[dict[str, Any]]:
        """Return the events of a run in order; a line truncated by a crash is left out."""
        self.folder(run)
        try:
            lines = self._folder.read(f"{FOLDER}/{run}/{EVENTS}").splitlines()
        except OSError:
            return []
        return [event for event in map(_parsed, lines) if event is not None]

    def remove(self, run: str) -> None:
        """Remove a run with everything in its folder.

        Raises
        ------
        StoreError
            The store cannot be written (JP402).
        """
        self.folder(run)
        self._folder.rm(f"{FOLDER}/{run}")

    def _document(self, run: str) -> dict[str, Any]:
        self.folder(run)
        try:
            document = json.loads(self._folder.read(f"{FOLDER}/{run}/{DOCUMENT}"))
        except (OSError, ValueError, RecursionError) as error:
            raise missing_error(f"a readable document of the run `{run}`", self._folder.root) from error
        if not isinstance(document, dict):
            raise missing_error(f"a readable document of the run `{run}`", self._folder.root)
        return document

    def _is_live(self, run: str, document: Mapping[str, Any]) -> bool:
        try:
            state = ProcessIdentity.from_dict(document["owner"]).state()
        except (KeyError, TypeError, ValueError):
            return False
        # Of a process on another machine only the time of its last write is known.
        return state == "alive" or (state == "unknown" and age(self.folder(run) / DOCUMENT) < DAY)


def _append(handle: int, lines: bytes) -> None:
    """Append lines in a single write, after a newline if the last line of the file is truncated."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":
        lines = b"\n" + lines
    # A single write with O_APPEND is atomic towards other writers; a second one for the rest would not be.
    if os.write(handle, lines) < len(lines):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def is_run(text: object) -> bool:
    """Tell whether `text` has the form of a run's id."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def _lost(document: Mapping[str, Any]) -> dict[str, Any]:
    steps = document.get("steps")
    return {**document, "state": LOST, "steps": [_lost_step(step) for step in steps] if isinstance(steps, list) else []}


def _lost_step(step: Any) -> Any:
    return {**step, "state": LOST} if isinstance(step, dict) and step.get("state") == RUNNING else step


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
