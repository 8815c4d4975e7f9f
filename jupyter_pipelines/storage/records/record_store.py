"""The records of a store: one small file for each key. The files are the source of truth."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.os_errors import is_transient, unreadable_error
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.signing.signatures import signed
from jupyter_pipelines.storage.step_record import (
    FOLDER,
    RecordSignature,
    StepRecord,
    decode,
    encode,
    is_key,
    path_of,
    stored_as,
    trace_names,
)

if TYPE_CHECKING:
    from jupyter_pipelines.storage.files.local_folder import LocalFolder
    from jupyter_pipelines.storage.records.index import StoreIndex


class RecordStore:
    """The records of a store.

    Parameters
    ----------
    folder : LocalFolder
        Where the store lives.
    index : StoreIndex
        Finds records by step; its answers are checked against the files.
    """

    def __init__(self, folder: LocalFolder, index: StoreIndex) -> None:
        self._folder = folder
        self._index = index
        self._damaged_keys: set[str] = set()

    def get(self, key: str) -> StepRecord | None:
        """Return the record of `key`; a damaged or foreign file is quarantined and counts as a miss."""
        try:
            return self.read(key)
        except StoreError:
            return None

    def read(self, key: str) -> StepRecord | None:
        """Return the record of `key`; a file that cannot be read at the moment is an error, not a miss.

        Raises
        ------
        StoreError
            There is a file, and it cannot be read at the moment (JP401).
        """
        path = path_of(key)
        try:
            return decode(self._folder.read(path), key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            # An intact record must not be quarantined for a cause outside of it; EIO may be a disk that comes back.
            if isinstance(error, OSError) and (is_transient(error) or error.errno == errno.EIO):
                raise unreadable_error(error, self._folder.root, f"`{path}`") from error
            self._folder.quarantine_path(path, str(error))
            self._damaged_keys.add(key)
            return None

    def was_damaged(self, key: str) -> bool:
        """Tell whether this process quarantined a damaged record of `key`, and has stored none since."""
        return key in self._damaged_keys

    def refusal(self, key: str) -> str:  # noqa: ARG002
        """Return why an existing record of `key` is not used; empty if there is none, or it is used."""
        return ""

    def others(self, key: str) -> list[StepRecord]:
        """Return the records that were kept when others with the same key and other traces replaced them.

        Newest first; those that are damaged or not trusted are left out.
        """
        return self._sorted(self._kept_names(key))

    def _kept_names(self, key: str) -> list[str]:
        return trace_names(key, self._folder.ls(os.path.dirname(path_of(key))))

    def _sorted(self, names: Iterable[str]) -> list[StepRecord]:
        records = [record for name in names if (record := self.get(name)) is not None]
        return sorted(records, key=lambda record: record.created, reverse=True)

    def get_many(self, keys: Iterable[str]) -> dict[str, StepRecord]:
        """Return the records of those of `keys` that have one; unchanged files are not read twice."""
        paths = {key: f"{self._folder.root}/{path_of(key)}" for key in keys}
        seen_marks = self._folder.marks(paths.values())
        marks = {key: seen_marks[path] for key, path in paths.items() if path in seen_marks}
        records = {}
        for key, text in self._index.kept_records(marks).items():
            # A malformed row of the index counts as absent; the file is read instead.
            with contextlib.suppress(ValueError):
                document = json.loads(text)
                signature = RecordSignature.from_dict(document["signature"]) if "signature" in document else None
                records[key] = replace(stored_as(StepRecord.from_dict(document), key), signature=signature)
        records |= self._read_all({key: mark for key, mark in marks.items() if key not in records})
        return {key: records[key] for key in paths if key in records}

    def _read_all(self, marks: Mapping[str, StatSignature]) -> dict[str, StepRecord]:
        """Read the files of records, and add those with stable marks to the index."""
        if not marks:
            return {}
        cutoff = filesystem_features.mtime_cutoff(self._folder.device())
        records = {key: record for key in marks if (record := self.get(key)) is not None}
        self._index.keep_records(
            (record, marks[key]) for key, record in records.items() if marks[key].is_stable(cutoff)
        )
        return records

    def put(self, record: StepRecord, *, durable: bool = True) -> None:
        """Store a record, signed if the user has a key; every blob it names must have been put before.

        Parameters
        ----------
        record : StepRecord
            What to store.
        durable : bool
            Wait until it survives a power cut; otherwise call :meth:`Store.flush` later. A record whose name survives
            a power cut while that of a blob does not is a miss, never a wrong result: the bytes of both are on the
            disk before they have names.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402), or the user's key cannot be used (JP412).
        """
        record = signed(record)
        self._folder.write(path_of(record.key), encode(record), durable=durable)
        self._damaged_keys.discard(record.key)
        # The mark after the rename: renaming changes the ctime.
        mark = self._folder.mark(f"{self._folder.root}/{path_of(record.key)}")
        if mark is not None and mark.is_stable(filesystem_features.mtime_cutoff(self._folder.device())):
            self._index.keep_records([(record, mark)])
        else:
            self._index.add_record(record)

    def forget(self, key: str) -> None:
        """Remove the record of `key`; nothing happens if there is none."""
        self._folder.rm(path_of(key))
        self._index.drop_record(key)

    def latest(self, step: str, notebook: str | None = None) -> StepRecord | None:
        """Return the newest record of `step`, of any notebook when none is given."""
        return next(iter(self._newest_first(step, notebook)), None)

    def latest_many(self, steps: Iterable[str], notebook: str | None = None) -> dict[str, StepRecord]:
        """Return, by its name, the newest record of each step that has one; see :meth:`latest`."""
        self._index.catch_up(self._folder, self.get)
        keys = self._index.latest_keys(list(dict.fromkeys(steps)), notebook)
        records = self.get_many(keys.values())
        newest = {step: records[key] for step, key in keys.items() if key in records and records[key].step == step}
        # The index is only a hint: for a step with a wrong entry, its records are read one by one.
        newest |= {
            step: record for step in keys if step not in newest and (record := self.latest(step, notebook)) is not None
        }
        return newest

    def for_step(self, step: str, notebook: str | None = None) -> tuple[StepRecord, ...]:
        """Return the records of `step`, newest first."""
        return tuple(self._newest_first(step, notebook))

    def all_keys(self) -> tuple[str, ...]:
        """Return the key of every record there is."""
        return self._keys(self._folder.ls)

    def all_keys_strict(self) -> tuple[str, ...]:
        """Return the key of every record, for callers that remove what no record names.

        Raises
        ------
        StoreError
            A folder cannot be read (JP401).
        """
        return self._keys(self._folder.names)

    def _keys(self, names_in: Callable[[str], list[str]]) -> tuple[str, ...]:
        names = [name for subfolder in names_in(FOLDER) for name in names_in(f"{FOLDER}/{subfolder}")]
        return tuple(name[:-5] for name in names if name.endswith(".json") and is_key(name[:-5]))

    def _newest_first(self, step: str, notebook: str | None) -> Any:
        self._index.catch_up(self._folder, self.get)
        for key in self._index.keys_of(step, notebook):
            record = self.get(key)
            if record is None:
                self._index.drop_record(key)
            # The key does not contain the step name: after a rename of the step the same key may have a newer record.
            elif record.step != step:
                self._index.add_record(record)
            else:
                yield record
