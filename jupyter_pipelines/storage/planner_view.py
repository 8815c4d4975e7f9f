"""The planner's view of a store: batched look-ups, and no file read twice that has not changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs
from jupyter_pipelines.storage.files import filesystem_features

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.artifacts import Artifact
    from jupyter_pipelines.storage.step_record import StepRecord
    from jupyter_pipelines.storage.store import Store

_MANIFESTS = ("folder", "gathered")
_Mark = tuple[int, int, int, int, int, int]


class StoreView:
    """What planning may ask of a store, on behalf of one notebook.

    The status of a file is looked at each time. Only a file that is unchanged since it was read and checked is not read
    and checked again.

    Parameters
    ----------
    store : Store
        The store.
    notebook : str or None
        What it calls the notebook.
    """

    def __init__(self, store: Store, notebook: str | None) -> None:
        self.store = store
        self.notebook = notebook
        self._root = f"{store.root}/"
        self._seen: dict[str, tuple[_Mark, StepRecord | None]] = {}

    def record(self, key: str) -> StepRecord | None:
        """Return what is stored under `key`."""
        seen = self._cached_if_unchanged(step_record.path_of(key))
        return seen[1] if seen else self.store.records.get(key)

    def damaged(self, key: str) -> bool:
        """Tell whether the record of `key` was damaged, and has been quarantined."""
        return self.store.records.was_damaged(key)

    def refused(self, key: str) -> str:
        """Return why what is stored under `key` is not used, although there is something."""
        return self.store.records.refusal(key)

    def latest(self, step: str) -> StepRecord | None:
        """Return the newest record of `step`, of this notebook if it has records of it."""
        return self.store.records.latest(step, self.notebook)

    def intact(self, artifact: Artifact) -> str:
        """Return whether the bytes of `artifact` are ``ok``, ``missing`` or ``corrupt``."""
        if artifact.format not in _MANIFESTS and self._cached_if_unchanged(blobs.path_of(artifact.digest)):
            return "ok"
        return self.store.intact(artifact)

    def digest(self, path: Path) -> str:
        """Return the digest of a file's or folder's content."""
        return self.store.digest(path)

    def folder_contents(self, path: Path) -> tuple[str, Mapping[str, str]]:
        """Return the digest of a folder, and those of its files by path."""
        return self.store.folder_contents(path)

    def digest_files(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of the files with these names; what is no file, or cannot be read, is left out."""
        return self.store.digest_files(names)

    def at_once(self, steps: Iterable[str]) -> PreloadedStoreView:
        """Look at what there is of many steps, and return what answers from that for as long as a plan is made."""
        cutoff_ns = time.time_ns() - filesystem_features.COARSE_MARGIN_NS
        latest = self.store.records.latest_many(list(steps), self.notebook)
        outputs = {artifact for record in latest.values() for artifact in record.outputs.values()}
        conditions = self.store.intact_many(outputs)
        for record in latest.values():
            self._note(step_record.path_of(record.key), cutoff_ns, record)
        for artifact, condition in conditions.items():
            if condition == "ok":
                self._note(blobs.path_of(artifact.digest), cutoff_ns)
        return PreloadedStoreView(self, latest, conditions)

    def _note(self, path: str, cutoff_ns: int, content: StepRecord | None = None) -> None:
        """Remember a file that was read, unless it may have changed since: its times would say so."""
        mark = self._mark(path)
        if mark is not None and mark[-1] < cutoff_ns:
            self._seen[path] = (mark, content)

    def _cached_if_unchanged(self, path: str) -> tuple[_Mark, StepRecord | None] | None:
        """Return what is remembered of a file, if it is still the same file."""
        seen = self._seen.get(path)
        return seen if seen is not None and self._mark(path) == seen[0] else None

    def _mark(self, path: str) -> _Mark | None:
        """Return what tells a file from any other, and from what it was before it changed."""
        try:
            status = os.lstat(self._root + path)
        except OSError:
            return None
        return (status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class PreloadedStoreView:
    """What a store held at one moment.

    Parameters
    ----------
    view : StoreView
        Asked for what was not looked at.
    latest : Mapping of str to StepRecord
        The newest records of steps.
    conditions : Mapping of Artifact to str
        How their outputs are.
    """

    def __init__(self, view: StoreView, latest: Mapping[str, StepRecord], conditions: Mapping[Artifact, str]) -> None:
        self._view = view
        self._latest = latest
        self._records = {record.key: record for record in latest.values()}
        self._conditions = conditions

    def record(self, key: str) -> StepRecord | None:
        """Return what is stored under `key`."""
        return self._records.get(key) or self._view.record(key)

    def damaged(self, key: str) -> bool:
        """Tell whether the record of `key` was damaged, and has been quarantined."""
        return self._view.damaged(key)

    def refused(self, key: str) -> str:
        """Return why what is stored under `key` is not used, although there is something."""
        return self._view.refused(key)

    def latest(self, step: str) -> StepRecord | None:
        """Return the newest record of `step`."""
        return self._latest.get(step) or self._view.latest(step)

    def intact(self, artifact: Artifact) -> str:
        """Return whether the bytes of `artifact` are ``ok``, ``missing`` or ``corrupt``."""
        return self._conditions.get(artifact) or self._view.intact(artifact)

    def newest(self) -> Iterable[StepRecord]:
        """Return the newest records of the steps it was made for."""
        return self._latest.values()

    def digest_files(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of the files with these names; what is no file, or cannot be read, is left out."""
        return self._view.digest_files(names)

    def digest(self, path: Path) -> str:
        """Return the digest of a file's or folder's content."""
        return self._view.digest(path)

    def folder_contents(self, path: Path) -> tuple[str, Mapping[str, str]]:
        """Return the digest of a folder, and those of its files by path."""
        return self._view.folder_contents(path)
