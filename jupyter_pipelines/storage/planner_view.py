"""The planner's view of a store: batched look-ups, and a cache of unchanged files."""

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
    from jupyter_pipelines.pipeline.url_inputs import UrlAnswer, UrlRequest
    from jupyter_pipelines.storage.step_record import StepRecord
    from jupyter_pipelines.storage.store import Store

_MANIFESTS = ("folder", "gathered")
_Mark = tuple[int, int, int, int, int, int]


class StoreView:
    """The read interface of a store for planning one notebook.

    Each look-up reads the status of the file; the file is read and verified again only if the status has changed.

    Parameters
    ----------
    store : Store
        The store.
    notebook : str or None
        Name of the notebook in the store.
    """

    def __init__(self, store: Store, notebook: str | None) -> None:
        self.store = store
        self.notebook = notebook
        self._root = f"{store.root}/"
        self._seen: dict[str, tuple[_Mark, StepRecord | None]] = {}

    def record(self, key: str) -> StepRecord | None:
        """Return the record of `key`; None if there is none."""
        seen = self._cached_if_unchanged(step_record.path_of(key))
        return seen[1] if seen else self.store.records.get(key)

    def damaged(self, key: str) -> bool:
        """Tell whether the record of `key` was damaged and has been quarantined."""
        return self.store.records.was_damaged(key)

    def refused(self, key: str) -> str:
        """Return why an existing record of `key` is not used."""
        return self.store.records.refusal(key)

    def others(self, key: str) -> Iterable[StepRecord]:
        """Return the records of `key` with other traces that are kept beside it, newest first."""
        return self.store.records.others(key)

    def latest(self, step: str) -> StepRecord | None:
        """Return the newest record of `step` in this notebook, or in any notebook if its name is None."""
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

    def url_contents(self, requests: Iterable[UrlRequest]) -> Mapping[str, UrlAnswer]:
        """Return the present contents of URLs."""
        # Imported only where a header declares a URL: HTTP and TLS take long to import.
        from jupyter_pipelines.storage.url_downloads import UrlDownloads

        return UrlDownloads(self.store).fetch(requests)

    def at_once(self, steps: Iterable[str]) -> PreloadedStoreView:
        """Load the newest records of steps and the condition of their outputs in one batch, as a view for one plan."""
        # Before the files are read, so that a change during the reading is not taken for the state that was read.
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
        """Cache a file that was read, unless it changed so recently that its times may hide another change."""
        mark = self._mark(path)
        if mark is not None and mark[-1] < cutoff_ns:
            self._seen[path] = (mark, content)

    def _cached_if_unchanged(self, path: str) -> tuple[_Mark, StepRecord | None] | None:
        """Return the cached entry of a file if its status has not changed."""
        seen = self._seen.get(path)
        return seen if seen is not None and self._mark(path) == seen[0] else None

    def _mark(self, path: str) -> _Mark | None:
        """Return the parts of a file's status that change with its content or identity."""
        try:
            status = os.lstat(self._root + path)
        except OSError:
            return None
        return (status.st_mode, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class PreloadedStoreView:
    """A snapshot of a store for making one plan.

    Parameters
    ----------
    view : StoreView
        Answers for records and outputs that are not in the snapshot.
    latest : Mapping of str to StepRecord
        The newest records of steps.
    conditions : Mapping of Artifact to str
        The conditions of their outputs.
    """

    def __init__(self, view: StoreView, latest: Mapping[str, StepRecord], conditions: Mapping[Artifact, str]) -> None:
        self._view = view
        self._latest = latest
        self._records = {record.key: record for record in latest.values()}
        self._conditions = conditions

    def record(self, key: str) -> StepRecord | None:
        """Return the record of `key`; None if there is none."""
        return self._records.get(key) or self._view.record(key)

    def damaged(self, key: str) -> bool:
        """Tell whether the record of `key` was damaged and has been quarantined."""
        return self._view.damaged(key)

    def refused(self, key: str) -> str:
        """Return why an existing record of `key` is not used."""
        return self._view.refused(key)

    def others(self, key: str) -> Iterable[StepRecord]:
        """Return the records of `key` with other traces that are kept beside it, newest first."""
        return self._view.others(key)

    def latest(self, step: str) -> StepRecord | None:
        """Return the newest record of `step`."""
        return self._latest.get(step) or self._view.latest(step)

    def intact(self, artifact: Artifact) -> str:
        """Return whether the bytes of `artifact` are ``ok``, ``missing`` or ``corrupt``."""
        return self._conditions.get(artifact) or self._view.intact(artifact)

    def newest(self) -> Iterable[StepRecord]:
        """Return the newest records of the steps that the snapshot was made for."""
        return self._latest.values()

    def digest_files(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the digests of the files with these names; what is no file, or cannot be read, is left out."""
        return self._view.digest_files(names)

    def digest(self, path: Path) -> str:
        """Return the digest of a file's or folder's content."""
        return self._view.digest(path)

    def url_contents(self, requests: Iterable[UrlRequest]) -> Mapping[str, UrlAnswer]:
        """Return the present contents of URLs."""
        return self._view.url_contents(requests)

    def folder_contents(self, path: Path) -> tuple[str, Mapping[str, str]]:
        """Return the digest of a folder, and those of its files by path."""
        return self._view.folder_contents(path)
