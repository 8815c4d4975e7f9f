"""Write the document and the events of a run while it goes on; a store that cannot be written never stops the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault, StoreError
from jupyter_pipelines.storing.runs import DOCUMENT
from jupyter_pipelines.storing.store import Store

logger = logging.getLogger(__name__)


class Journal:
    """The document and the events of a run on disk.

    While the run goes on, a temporary file keeps as much space as its last document will need: a run that fills the
    disk can still say so.

    Parameters
    ----------
    store : Store
        Where they go.
    run : str
        Id of the run.

    Attributes
    ----------
    folder : Path or None
        The folder of the run; None when it could not be made.
    fault : Fault or None
        What the store said when it could first not be written.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store = store
        self._run = run
        self.folder: Path | None = None
        self.fault: Fault | None = None
        self._reserve: Path | None = None
        self._events: list[Mapping[str, Any]] = []

    def open(self) -> None:
        """Make the folder of the run; it may have been removed meanwhile."""

        def make() -> None:
            self.folder = self._store.runs.create(self._run)

        self._try(make)

    def reserve(self) -> None:
        """Keep space for the last document: twice the size of the present document."""

        def keep() -> None:
            if self.folder is not None:
                size = 2 * (self.folder / DOCUMENT).stat().st_size
                self._reserve = self._store.door.temporary()
                self._reserve.write_bytes(bytes(size))

        self._try(keep)

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the document of the run, whole or not at all."""
        if self.folder is not None:
            self._try(lambda: self._store.runs.write(self._run, document))

    def close(self, document: Mapping[str, Any]) -> None:
        """Write the last document, with the space that was kept for it."""
        if self._reserve is not None:
            self._try(self._reserve.unlink)
        self.write(document)

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event; it is written by the next :meth:`flush`."""
        self._events.append(event)

    def flush(self) -> None:
        """Write the events that were added: many are written as fast as one."""
        events, self._events = self._events, []
        if events and self.folder is not None:
            self._try(lambda: self._store.runs.append(self._run, *events))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
        except StoreError as error:
            logger.info("run %s: %s", self._run, error)
            self.fault = self.fault or error.faults[0]
        except OSError as error:
            logger.info("run %s: %s", self._run, error)
