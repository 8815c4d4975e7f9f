"""Garbage collection: remove what no kept run and no step needs, once it is old enough.

Reachability: kept are the runs younger than the age asked for and those still running; the records these name, and the
newest record of every step of every notebook; the blobs these name, the members of folders included. What is
younger than the grace period stays in any case: another process may be about to name it. While a run is live or a key
is being computed, records and blobs are left alone altogether.
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
        Size of it all.
    dry_run : bool
        Nothing was removed.
    notes : tuple of str
        Why something was left that might have gone.
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
    """Remove what no kept run and no step needs any more.

    Parameters
    ----------
    store : Store
        Where to look.
    older_than : float
        Age in seconds from which runs go.
    grace : float or None
        Age in seconds below which records and blobs stay even if nothing names them; an hour, or `older_than` if that
        is less.
    dry_run : bool
        Only find out.

    Raises
    ------
    StoreError
        The store cannot be written (JP402), or something in it cannot be read that may need what would be removed
        (JP401).
    """
    old_runs = set(_old_runs(store, older_than))
    grace_seconds = min(older_than, GRACE) if grace is None else grace
    contents = _read_contents(store, old_runs)
    keys = tuple(_unneeded_records(store, contents, grace_seconds))
    digests = tuple(_unneeded_blobs(store, contents, set(keys), grace_seconds))
    # Asked last, so that a run that began meanwhile is seen.
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
    """Return seconds since the document of a run was written last, or since its folder changed."""
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
    """All records and run documents, read once: what cannot be read now must not look as if nothing were needed."""

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
    needed |= {digest for document in contents.documents for digest in _digests_in(document)}
    needed |= {member for digest in tuple(needed) for member in _members(store, digest)}
    for digest in store.blobs.digests():
        if digest not in needed and age(store.blobs.path(digest)) >= grace:
            yield digest


def _members(store: Store, digest: str) -> set[str]:
    """Return what the folder `digest` names, if it is a folder; manifests are recognised by how they begin."""
    try:
        with store.folder.open(blobs.path_of(digest)) as file:
            head = file.read(len(_MANIFEST))
            # Unchecked: a damaged manifest may keep a blob too many, and what cannot be checked here keeps its own.
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
    """Remove records before the blobs they name, so that no record is ever without its blobs."""
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
