"""Garbage collection: remove old runs, and records and blobs that nothing refers to.

Kept are runs that are live or younger than the given age; records to which they refer, and the newest record of every
step of every notebook; blobs to which these refer, files of folders included. Everything younger than the grace period
is kept: another process may be about to refer to it. While a run is live or a key is being computed, no record or blob
is removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs, manifests
from jupyter_pipelines.storage.blobs.digests import is_digest
from jupyter_pipelines.storage.files.local_folder import QUARANTINE, age
from jupyter_pipelines.storage.files.os_errors import unreadable_error
from jupyter_pipelines.storage.records import run_store

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

# A blob is stored before its record: this is the longest time between the two that is allowed for.
GRACE = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GcReport:
    """Report of a garbage collection: what it removed, or would remove.

    Parameters
    ----------
    runs, records, blobs : tuple of str
        Ids, keys and digests.
    aside : tuple of str
        Damaged files that had been quarantined.
    bytes : int
        Total size.
    dry_run : bool
        Nothing was removed.
    notes : tuple of str
        Reasons why something was kept.
    """

    runs: tuple[str, ...]
    records: tuple[str, ...]
    blobs: tuple[str, ...]
    aside: tuple[str, ...]
    bytes: int
    dry_run: bool
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a document."""
        return {
            "schema": "jupyter-pipelines/collected/1",
            "runs": list(self.runs),
            "records": list(self.records),
            "blobs": list(self.blobs),
            "aside": list(self.aside),
            "bytes": self.bytes,
            "dry_run": self.dry_run,
            "notes": list(self.notes),
        }


def collect(store: Store, *, older_than: float, grace: float | None = None, dry_run: bool = False) -> GcReport:
    """Remove old runs, and records and blobs that no kept run and no step needs.

    Parameters
    ----------
    store : Store
        The store.
    older_than : float
        Age in seconds from which runs are removed.
    grace : float or None
        Age in seconds below which records and blobs are kept in any case; an hour, or `older_than` if that is less.
    dry_run : bool
        Only report what would be removed.

    Raises
    ------
    StoreError
        The store cannot be written (JP402), or a run or record cannot be read that may refer to other entries (JP401).
    """
    old_runs = set(_old_runs(store, older_than))
    grace_seconds = min(older_than, GRACE) if grace is None else grace
    contents = _read_contents(store, old_runs)
    keys = tuple(_unneeded_records(store, contents, grace_seconds))
    digests = tuple(_unneeded_blobs(store, contents, set(keys), grace_seconds))
    # Determined last, so that a run that began during the scan is seen.
    notes = _live_work_notes(store)
    if notes:
        keys, digests = (), ()
    quarantined = tuple(
        name for name in store.folder.ls(QUARANTINE) if age(store.root / QUARANTINE / name) >= older_than
    )
    removed_paths = [*(f"{run_store.FOLDER}/{run}" for run in sorted(old_runs)), *map(step_record.path_of, keys)]
    removed_paths += [*map(blobs.path_of, digests), *(f"{QUARANTINE}/{name}" for name in quarantined)]
    report = GcReport(
        runs=tuple(sorted(old_runs)),
        records=keys,
        blobs=digests,
        aside=quarantined,
        bytes=sum(size_of(store.root / path) for path in removed_paths),
        dry_run=dry_run,
        notes=notes,
    )
    if not dry_run:
        _remove(store, report, grace_seconds)
    return report


def _old_runs(store: Store, older_than: float) -> Iterator[str]:
    for run in store.folder.ls(run_store.FOLDER):
        if run_store.is_run(run) and not store.runs.is_live(run) and _age_of_run(store, run) >= older_than:
            yield run


def _age_of_run(store: Store, run: str) -> float:
    """Return seconds since the document of a run was last written, or if there is none, since its folder changed."""
    folder = store.root / run_store.FOLDER / run
    document = folder / run_store.DOCUMENT
    return age(document if os.path.exists(document) else folder)


def _live_work_notes(store: Store) -> tuple[str, ...]:
    live = [run for run in store.runs.ids() if store.runs.is_live(run)]
    if live:
        return (f"records and outputs are left alone while a run goes on: {', '.join(live)}",)
    if next(store.leases.held(), None):
        return ("records and outputs are left alone while a step is being computed",)
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoreContents:
    """All records and run documents, read once; an unreadable one is an error, as its blobs would look unneeded."""

    documents: tuple[dict[str, Any], ...]
    records: Mapping[str, step_record.StepRecord]


def _read_contents(store: Store, old_runs: set[str]) -> _StoreContents:
    documents = tuple(document for run, document in store.runs.all_documents_strict() if run not in old_runs)
    records_by_key = {key: store.records.read(key) for key in store.records.all_keys_strict()}
    return _StoreContents(
        documents=documents, records={key: record for key, record in records_by_key.items() if record}
    )


def _unneeded_records(store: Store, contents: _StoreContents, grace: float) -> Iterator[str]:
    needed = {key for document in contents.documents for key in _keys_in(document)}
    newest = _newest(contents)
    for key in contents.records:
        if key not in needed and key not in newest and age(store.root / step_record.path_of(key)) >= grace:
            yield key


def _newest(contents: _StoreContents) -> set[str]:
    """Return the key of the newest record of every step of every notebook."""
    newest: dict[tuple[str, str | None], step_record.StepRecord] = {}
    for record in contents.records.values():
        step_id = (record.step, record.notebook)
        if step_id not in newest or newest[step_id].created < record.created:
            newest[step_id] = record
    return {record.key for record in newest.values()}


def _unneeded_blobs(store: Store, contents: _StoreContents, removed_keys: set[str], grace: float) -> Iterator[str]:
    kept_records = [record for key, record in contents.records.items() if key not in removed_keys]
    needed = {artifact.digest for record in kept_records for artifact in record.outputs.values()}
    # Contents of URLs are kept as long as a result that was made from them: they are downloaded once.
    needed |= {content["digest"] for record in kept_records for content in record.urls.values() if "digest" in content}
    needed |= {digest for document in contents.documents for digest in _digests_in(document)}
    needed |= {member for digest in tuple(needed) for member in _members(store, digest)}
    for digest in store.blobs.digests():
        if digest not in needed and age(store.blobs.path(digest)) >= grace:
            yield digest


def _members(store: Store, digest: str) -> set[str]:
    """Return the digests of the files of a folder; manifests are recognised by their first bytes."""
    try:
        with store.folder.open(blobs.path_of(digest)) as file:
            head = file.read(len(_MANIFEST))
            # Not verified: a damaged manifest keeps at worst a blob too many, and verifying needs its hash algorithm.
            entries = manifests.decode(head + file.read()) if head == _MANIFEST else ()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise unreadable_error(error, store.root, f"the output {digest}") from error
    except (StoreError, ValueError):
        return set()
    return {entry.digest for entry in entries if entry.digest}


_MANIFEST = b'{"schema":"jupyter-pipelines/folder/'


def _steps_of(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    steps = document.get("steps")
    yield from (step for step in steps if isinstance(step, dict)) if isinstance(steps, list) else ()


def _keys_in(document: Mapping[str, Any]) -> Iterator[str]:
    yield from (step["key"] for step in _steps_of(document) if step_record.is_key(step.get("key")))


def _digests_in(document: Mapping[str, Any]) -> Iterator[str]:
    for step in _steps_of(document):
        outputs = step.get("outputs")
        for output in outputs.values() if isinstance(outputs, dict) else ():
            digest = output.get("digest") if isinstance(output, dict) else None
            if isinstance(digest, str) and is_digest(digest):
                yield digest


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    try:
        if path.is_dir() and not path.is_symlink():
            return sum(size_of(child) for child in path.iterdir())
        return path.lstat().st_size
    except OSError:
        return 0


def _remove(store: Store, report: GcReport, grace: float) -> None:
    """Remove the reported entries; records before their blobs, so that a crash leaves no record without its blobs."""
    for run in report.runs:
        store.runs.remove(run)
    for key in report.records:
        store.records.forget(key)
    for digest in report.blobs:
        store.blobs.discard(digest, grace)
    for name in report.aside:
        store.folder.rm(f"{QUARANTINE}/{name}")
    store.leases.discard(max(grace, GRACE))
    store.index.prune()
