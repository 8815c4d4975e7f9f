"""Bring a store to the newest format, in place.

The contents of older formats are valid in the newest one: no record or output is rewritten, and signatures stay valid.
Only the format file changes, atomically.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage.files.os_errors import OTHER_STORE_HINT
from jupyter_pipelines.storage.maintenance.exclusive_use import exclusive_use
from jupyter_pipelines.storage.maintenance.store_summary import (
    RecordCounts,
    StoreLocation,
    count_records,
    format_content,
    locate,
)
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.shared.shared_store import SharedStore
from jupyter_pipelines.storage.store import FORMAT, Store, newer_format_error, read_format


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeReport:
    """What an upgrade of a store has changed.

    Parameters
    ----------
    store : str
        The store.
    before : int or None
        Its format before; None if the format file was missing or damaged.
    records : RecordCounts
        Its records: those without traces are kept, and their steps run once more.
    """

    store: str
    before: int | None
    records: RecordCounts

    @property
    def is_changed(self) -> bool:
        """Whether the store had another format before."""
        return self.before != FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        return {
            "schema": "jupyter-pipelines/store-upgrade/1",
            "store": self.store,
            "from": self.before,
            "to": FORMAT,
            "changed": self.is_changed,
            "records": self.records.to_dict(),
        }


def upgrade(url: str | Path) -> UpgradeReport:
    """Bring the store at `url` to the newest format; a store of the newest format stays as it is.

    Raises
    ------
    StoreError
        There is none (JP401), it is in use (JP407), a newer version wrote it (JP406), or it cannot be written (JP402,
        JP403); it is shared, and there is no key (JP412, JP411); it belongs to a plug-in (JP408).
    PluginError
        There is no store of this scheme (JP602).
    """
    location = locate(url)
    store = open_store(url, create=False)
    try:
        with exclusive_use(store):
            # Read under exclusive use: another process may have upgraded the store since it was located.
            before = _format_of(location)
            if before != FORMAT:
                _mark(store, location)
        records = count_records(location)
    finally:
        store.close()
    return UpgradeReport(store=location.address, before=before, records=records)


def _format_of(location: StoreLocation) -> int | None:
    try:
        version, writer = read_format(format_content(location) or b"")
    except ValueError:
        return None
    if version > FORMAT:
        raise newer_format_error(location.address, version, writer)
    return version


def _mark(store: Store, location: StoreLocation) -> None:
    """Write the format file of the newest format."""
    if not isinstance(store, SharedStore):
        store.raise_format()
    elif store.backend.is_writable():
        store.backend.put_format()
    else:
        raise StoreError(_only_read(location.address))


def _only_read(address: str) -> Diagnostic:
    return Diagnostic(
        code="JP402",
        message=f"the store `{address}` cannot be written: you may only read it",
        suggestion=f"ask its owner for the right to write there, {OTHER_STORE_HINT}",
    )
