"""Copy a store to another address, and verify everything on the way.

Outputs are copied and verified before the records that name them: whenever a copy ends, the destination holds no record
without its outputs. Intact entries of the destination are not copied again, so that a repeated call continues an
earlier one. Records are copied in batches, and only names are held in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs, manifests
from jupyter_pipelines.storage.blobs.blobs import IncomingFile
from jupyter_pipelines.storage.blobs.digests import IncrementalHash, algorithm_of, is_digest, is_known
from jupyter_pipelines.storage.files.local_folder import create, flush_files, make_folder, remove, sync_folder
from jupyter_pipelines.storage.files.os_errors import FULL, OTHER_STORE_HINT, writing
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.maintenance.exclusive_use import exclusive_use, require_unused
from jupyter_pipelines.storage.maintenance.store_summary import (
    StoreKind,
    StoreLocation,
    files_in,
    in_parallel,
    key_of,
    locate,
)
from jupyter_pipelines.storage.opening import open_store, scheme_of
from jupyter_pipelines.storage.records import run_store
from jupyter_pipelines.storage.shared.shared_store import SharedStore, shared_folder_of
from jupyter_pipelines.storage.signing.keyring import UserKeyring
from jupyter_pipelines.storage.signing.signatures import TrustPolicy, signed
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.store import MANIFESTS, Store, folder_of

RecordState = Literal["copied", "already", "replaced"]
_BATCH = 32
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class UncopiedRecord:
    """A record of the source that was not copied.

    Parameters
    ----------
    key, step : str
        The record; the step is empty where the record cannot be read.
    why : str
        Why it was left out, or why the destination's own record was kept.
    """

    key: str
    step: str
    why: str

    def to_dict(self) -> dict[str, str]:
        """Return the same as a document."""
        return {"key": self.key, "step": self.step, "why": self.why}


@dataclass(slots=True, kw_only=True)
class CopyReport:
    """Counts of a copy, also while it is in progress.

    Parameters
    ----------
    source, destination : str
        The stores.
    total : int
        Records of the source.
    copied, already, replaced : int
        Records that were new to the destination, that it already had, and that replaced an older record or, in a shared
        store, a record without a trusted signature.
    kept : list of UncopiedRecord
        Records of which the destination keeps its own version, which is not older.
    left_out : list of UncopiedRecord
        Records that are damaged, or have no trusted signature.
    artifacts, artifacts_already, bytes : int
        Outputs that were copied, that the destination already had, and the number of bytes copied.
    runs, runs_already : int
        Runs that were copied, and that the destination already had.
    removed : bool
        The source was removed.
    notes : list of str
        Further messages for the user.
    """

    source: str
    destination: str
    total: int = 0
    copied: int = 0
    already: int = 0
    replaced: int = 0
    kept: list[UncopiedRecord] = field(default_factory=list)
    left_out: list[UncopiedRecord] = field(default_factory=list)
    artifacts: int = 0
    artifacts_already: int = 0
    bytes: int = 0
    runs: int = 0
    runs_already: int = 0
    removed: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """Number of records processed so far."""
        return self.copied + self.already + self.replaced + len(self.kept) + len(self.left_out)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a document."""
        return {
            "schema": "jupyter-pipelines/store-move/1",
            "source": self.source,
            "destination": self.destination,
            "records": {name: getattr(self, name) for name in ("total", "copied", "already", "replaced")},
            "artifacts": {"copied": self.artifacts, "already": self.artifacts_already, "bytes": self.bytes},
            "runs": {"copied": self.runs, "already": self.runs_already},
            "kept": [record.to_dict() for record in self.kept],
            "left_out": [record.to_dict() for record in self.left_out],
            "removed": self.removed,
            "notes": self.notes,
        }


def copy_store(
    url: str | Path,
    destination: str | Path,
    *,
    removes: bool = False,
    on_progress: Callable[[CopyReport], None] = lambda _: None,
) -> CopyReport:
    """Copy the store at `url` to `destination`.

    Parameters
    ----------
    url, destination : str or Path
        Addresses of stores; the second is made if there is none.
    removes : bool
        Remove the source if everything in it is at the destination.
    on_progress : callable
        Called after every few records.

    Raises
    ------
    StoreError
        There is no store at `url` (JP401), a run goes on in either (JP407), a store lies in the other or cannot be
        copied (JP408), the destination holds other files (JP401) or cannot be written (JP402, JP403); a store is
        shared, and there is no key (JP412, JP411); a newer version wrote either (JP406).
    PluginError
        There is no store of a scheme (JP602).
    """
    location = locate(url)
    if removes and location.kind != "folder":
        raise StoreError(_others_use_it(location.address))
    _require_apart(location, destination)
    with contextlib.ExitStack() as stack:
        source = open_store(url, create=False)
        stack.callback(source.close)
        target: object = open_store(destination)
        if not isinstance(target, Store):
            raise StoreError(_of_a_plugin(str(destination)))
        stack.callback(target.close)
        # Two addresses of one store, such as a bucket with and without a trailing slash, have the same local cache.
        if target.root == source.root:
            raise StoreError(_not_apart(location.address, "they are the same store"))
        target.check_writable()
        stack.enter_context(exclusive_use(source, read_only=not removes))
        stack.enter_context(exclusive_use(target))
        copy = _StoreCopy(location, source, target, on_progress)
        report = copy.report
        copy.copy_all()
        if removes:
            copy.remove_source()
    return report


class _StoreCopy:
    """A single copy of a store."""

    def __init__(
        self, location: StoreLocation, source: Store, target: Store, on_progress: Callable[[CopyReport], None]
    ) -> None:
        self._location = location
        self._source = source
        self._target = target
        self._shared_target = target if isinstance(target, SharedStore) else None
        self._kind: StoreKind = "bucket" if "bucket" in (location.kind, _kind_of(target)) else location.kind
        self._trust = _trust(source, target)
        self._on_progress = on_progress
        self._settled: dict[str, str] = {}
        self._members_of: dict[str, tuple[str, ...]] = {}
        self.report = CopyReport(source=location.address, destination=target.url)
        if self._shared_target is not None and not self._shared_target.backend.is_writable():
            raise StoreError(_only_read(target.url))

    def copy_all(self) -> None:
        """Copy records with their outputs, then runs with theirs."""
        keys = [key for name, _ in files_in(self._location, step_record.FOLDER) if (key := key_of(name))]
        self.report.total = len(keys)
        self._on_progress(self.report)
        for batch in _batches(keys):
            self._copy_records(batch)
            self._on_progress(self.report)
        for run in self._source.runs.names():
            self._copy_run(run)
            self._on_progress(self.report)
        quarantined = len(self._source.folder.ls("aside"))
        if quarantined:
            self.report.notes.append(f"{quarantined} damaged files that were put aside are not copied")

    # Records -----------------------------------------------------------------------------------------------

    def _copy_records(self, keys: list[str]) -> None:
        """Copy a batch of records after their outputs."""
        records = []
        for record in in_parallel(self._checked_record, keys, self._kind):
            if isinstance(record, UncopiedRecord):
                self.report.left_out.append(record)
            elif self._is_wanted(record):
                records.append(record)
        problems = self._copy_artifacts(artifact for record in records for artifact in record.outputs.values())
        complete = []
        for record in records:
            problem = _first_problem(record, problems)
            if problem:
                self.report.left_out.append(UncopiedRecord(key=record.key, step=record.step, why=problem))
            else:
                complete.append(record)
        states = in_parallel(self._put_record, complete, self._kind)
        self.report.copied += states.count("copied")
        self.report.already += states.count("already")
        self.report.replaced += states.count("replaced")
        if self._shared_target is None:
            self._target.flush(complete)
        elif self._target.index.listing is not None:
            self._target.index.listing.add(complete)

    def _checked_record(self, key: str) -> StepRecord | UncopiedRecord:
        """Return the record of `key` if it is intact and trusted, else the reason."""
        try:
            content = self._location.backend.record(key)
            record = step_record.decode(content or b"", key)
        except (OSError, ValueError, RecursionError) as error:
            return UncopiedRecord(key=key, step="", why=f"the record is damaged: {error}")
        why = self._rejection_reason(record)
        if why:
            return UncopiedRecord(key=key, step=record.step, why=why)
        return self._placed(record)

    def _placed(self, record: StepRecord) -> StepRecord:
        """Return the record under its key at the destination, where a newer one with another trace may have its key."""
        other, _ = self._record_there(record.key)
        if other is None or other.created < record.created or not step_record.is_another_trace(record, other):
            return record
        return replace(record, key=step_record.trace_name(record))

    def _rejection_reason(self, record: StepRecord) -> str:
        if self._trust is None:
            return ""
        if not self._source.own or (self._shared_target is not None and record.signature is not None):
            return self._trust.rejection_reason(record)
        return "its signature does not fit: it was changed" if self._trust.is_forged(record) else ""

    def _is_wanted(self, record: StepRecord) -> bool:
        """Tell whether to copy a record; True also for one that the destination has, to check its outputs."""
        other, _ = self._record_there(record.key)
        if other is None or other == record or other.created < record.created:
            return True
        why = f"the destination has a result of the same key, computed {other.created}"
        self.report.kept.append(UncopiedRecord(key=record.key, step=record.step, why=why))
        return False

    def _record_there(self, key: str) -> tuple[StepRecord | None, bool]:
        """Return the destination's record of `key` if it may be used, and whether there is one.

        In a shared destination there may be a record without a trusted signature, which may not be used.
        """
        if self._shared_target is None:
            record = self._target.records.read(key)
            return record, record is not None
        content = None
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = self._shared_target.backend.record(key)
            record = step_record.decode(content or b"", key)
            if self._trust is not None and not self._trust.rejection_reason(record):
                return record, True
        return None, content is not None

    def _put_record(self, record: StepRecord) -> RecordState:
        other, is_there = self._record_there(record.key)
        if other == record:
            return "already"
        if self._shared_target is None:
            # Flushed once for each batch by _copy_records, which is much faster than an fsync for each record.
            self._target.records.put(record, durable=False)
        else:
            self._shared_target.records.keep_replaced(record)
            self._shared_target.backend.put_record(record.key, step_record.encode(signed(record, required=True)))
        return "replaced" if is_there else "copied"

    # Outputs -----------------------------------------------------------------------------------------------

    def _copy_artifacts(self, artifacts: Iterable[Artifact]) -> Mapping[str, str]:
        """Copy outputs, files of folders before the folders, and return the problem of each digest, empty if none."""
        wanted = dict.fromkeys(artifacts)
        self._members_of.clear()
        containers = dict.fromkeys(
            artifact.digest
            for artifact in wanted
            if artifact.format in MANIFESTS and artifact.digest not in self._settled
        )
        self._copy_blobs(dict.fromkeys(member for digest in containers for member in self._members(digest)))
        for digest in containers:
            problem = next((self._settled[member] for member in self._members(digest) if self._settled[member]), "")
            if problem:
                self._settled[digest] = problem
        self._copy_blobs(dict.fromkeys(artifact.digest for artifact in wanted))
        return {artifact.digest: self._settled[artifact.digest] for artifact in wanted}

    def _copy_blobs(self, digests: Iterable[str]) -> None:
        missing = [digest for digest in digests if digest not in self._settled]
        for batch in _batches(missing):
            for digest, (why, size) in zip(batch, in_parallel(self._copy_blob, batch, self._kind), strict=True):
                self._settled[digest] = why
                self.report.artifacts += size is not None
                self.report.artifacts_already += size is None and not why
                self.report.bytes += size or 0
            if self._shared_target is None:
                self._target.folder.sync_names(blobs.path_of(digest) for digest in batch if not self._settled[digest])

    def _members(self, digest: str) -> tuple[str, ...]:
        """Return the digests of a folder's files; none if its manifest is missing or damaged."""
        if digest not in self._members_of:
            entries: tuple[manifests.ManifestEntry, ...] = ()
            with self._fetched(digest) as (path, why):
                problem = why
                with contextlib.suppress(OSError):
                    try:
                        entries = () if why else manifests.decode(path.read_bytes())
                    except ValueError as error:
                        problem = f"it is no folder: {error}"
            if problem:
                self._settled[digest] = problem
            self._members_of[digest] = tuple(dict.fromkeys(entry.digest for entry in entries if entry.digest))
        return self._members_of[digest]

    def _copy_blob(self, digest: str) -> tuple[str, int | None]:
        """Copy a blob unless the destination has it; return its problem, and the number of bytes copied or None."""
        if self._has(digest):
            return "", None
        with self._fetched(digest) as (path, why):
            if why:
                return why, None
            size = path.stat().st_size
            if self._shared_target is not None:
                self._shared_target.backend.put_blob(digest, path)
            else:
                mark = StatSignature.of(path.lstat())
                self._target.blobs.put_files([IncomingFile(path=path, digest=digest, mark=mark)], durable=False)
        return "", size

    def _has(self, digest: str) -> bool:
        if self._shared_target is not None:
            return self._shared_target.backend.has_blob(digest)
        return self._target.blobs.verify(digest) == "ok"

    @contextlib.contextmanager
    def _fetched(self, digest: str) -> Iterator[tuple[Path, str]]:
        """Yield a private, verified copy of a blob of the source, and its problem, empty if none."""
        path = self._target.folder.temporary()
        try:
            yield path, self._fetch(digest, path)
        finally:
            remove(path)

    def _fetch(self, digest: str, path: Path) -> str:
        algorithm = algorithm_of(digest)
        if not is_known(algorithm):
            return f"it cannot be checked: {algorithm} is not installed here"
        try:
            if not self._location.backend.fetch(digest, path):
                return "it is missing"
            # Hashed after the copy: in a shared folder the source may be exchanged between two readings.
            content = IncrementalHash(algorithm)
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    content.update(block)
        except OSError as error:
            # An error of the source leaves out one blob; an error of the destination ends the copy.
            if error.errno not in FULL and str(path) not in (error.filename, error.filename2):
                return f"it cannot be read: {error}"
            with writing(self._target.root, "an output"):
                raise
        return "" if content.digest() == digest else "it is damaged: its bytes do not have its digest"

    # Runs --------------------------------------------------------------------------------------------------

    def _copy_run(self, run: str) -> None:
        """Copy the folder of a run and the outputs in its document; paths in its files are changed to the copy."""
        place = f"{run_store.FOLDER}/{run}"
        if self._target.folder.exists(f"{place}/{run_store.DOCUMENT}"):
            self.report.runs_already += 1
            return
        try:
            document = self._source.folder.read(f"{place}/{run_store.DOCUMENT}")
        except OSError:
            return  # a run without a document is none
        self._copy_artifacts(_outputs_of(document))
        old, new = (store.root / place for store in (self._source, self._target))
        temporary = self._target.folder.temporary()
        try:
            with writing(self._target.root, f"the run {run}"):
                _copy_folder(old, temporary, _renamed(old, new))
                make_folder(new.parent)
            self._target.folder.rm(place)
            self._target.folder.mv(temporary.relative_to(self._target.root).as_posix(), place)
            with writing(self._target.root, f"the run {run}"):
                sync_folder(new.parent)
        finally:
            remove(temporary)
        self.report.runs += 1

    # The source --------------------------------------------------------------------------------------------

    def remove_source(self) -> None:
        """Remove the source if everything in it is at the destination, records before outputs.

        Raises
        ------
        StoreError
            A run has begun in it meanwhile (JP407); it cannot be written (JP402).
        """
        if self.report.left_out or self.report.kept:
            self.report.notes.append("the source stays: the destination does not have all of its records")
            return
        require_unused(self._source)
        for key in self._source.records.all_keys_strict():
            record = self._source.records.read(key)
            if record is not None and (copy := self._placed(record)) == self._record_there(copy.key)[0]:
                self._source.records.forget(key)
        for run in self._source.runs.names():
            if self._target.folder.exists(f"{run_store.FOLDER}/{run}/{run_store.DOCUMENT}"):
                self._source.runs.remove(run)
        # What was added since the copy is still there; the outputs are removed only if nothing refers to them.
        if self._source.records.all_keys_strict() or self._source.runs.ids():
            self.report.notes.append("the source stays: something was added to it meanwhile; copy it again")
            return
        require_unused(self._source)
        self.report.removed = self._source.remove()
        if not self.report.removed:
            self.report.notes.append(f"files that are no part of the store stay in {self._source.root}")


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _first_problem(record: StepRecord, problems: Mapping[str, str]) -> str:
    """Return what is wrong with an output of a record; empty if nothing."""
    for name, artifact in record.outputs.items():
        if why := problems[artifact.digest]:
            return f"its output `{record.step}.{name}`: {why}"
    return ""


def _trust(source: Store, target: Store) -> TrustPolicy | None:
    """Return the trusted keys; None between stores of the user if the user has no usable keys."""
    if source.own and target.own:
        if not UserKeyring.of_user().has_own():
            return None
        with contextlib.suppress(StoreError):
            return TrustPolicy.of_user()
        return None
    return TrustPolicy.of_user()


def _kind_of(target: Store) -> str:
    is_folder = scheme_of(target.url) in ("file", "shared")
    return "folder" if is_folder else "bucket"


def _outputs_of(content: bytes) -> Iterator[Artifact]:
    """Yield the outputs that the document of a run names."""
    with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError, RecursionError):
        for step in json.loads(content)["steps"]:
            for output in step["outputs"].values():
                if is_digest(output["digest"]):
                    yield Artifact.from_dict(output)


def _renamed(old: Path, new: Path) -> Callable[[bytes], bytes]:
    """Return a function that replaces the folder `old` by `new` in the paths of JSON texts."""
    # As JSON strings without the final quote, so that escaped characters of paths match.
    before, after = (json.dumps(f"{path}/")[:-1].encode() for path in (old, new))
    return lambda content: content.replace(before, after)


def _copy_folder(source: Path, target: Path, rename: Callable[[bytes], bytes]) -> None:
    """Copy the files of a folder, without links, and flush them to the disk."""
    target.mkdir(mode=0o700)
    for child in sorted(source.iterdir()):
        if child.is_symlink():
            continue
        if child.is_dir():
            _copy_folder(child, target / child.name, rename)
        elif child.is_file():
            with child.open("rb") as file, create(target / child.name) as copy:
                if child.suffix in (".json", ".jsonl"):
                    copy.write(rename(file.read()))
                else:
                    shutil.copyfileobj(file, copy, _BLOCK)
    flush_files([child for child in target.iterdir() if child.is_file()], 0o600)
    sync_folder(target)


def _require_apart(location: StoreLocation, destination: str | Path) -> None:
    """Raise StoreError if the destination is the source, lies in it, or contains it."""
    scheme = scheme_of(destination)
    if scheme in ("file", "shared") and location.kind != "bucket":
        source = os.path.realpath(location.address)
        target = os.path.realpath(shared_folder_of(destination) if scheme == "shared" else folder_of(destination))
        if target == source:
            raise StoreError(_not_apart(location.address, "they are the same store"))
        for inner, outer, why in (
            (target, source, "the destination lies in it"),
            (source, target, "it lies in the destination"),
        ):
            if inner.startswith(f"{outer}{os.sep}"):
                raise StoreError(_not_apart(location.address, why))
    elif scheme not in ("file", "shared") and location.kind == "bucket":
        source, target = (f"{str(url).rstrip('/')}/" for url in (location.address, destination))
        if source.startswith(target) or target.startswith(source):
            raise StoreError(_not_apart(location.address, "one address begins with the other"))


def _not_apart(address: str, why: str) -> Diagnostic:
    return Diagnostic(
        code="JP408",
        message=f"the store `{address}` cannot be copied there: {why}",
        suggestion="give an address that lies beside it: `jupyter pipelines store move DESTINATION`",
    )


def _others_use_it(address: str) -> Diagnostic:
    return Diagnostic(
        code="JP408",
        message=f"the store `{address}` cannot be moved away: several people may use it",
        suggestion="leave out `--remove`: then it is copied, and stays",
    )


def _of_a_plugin(url: str) -> Diagnostic:
    return Diagnostic(
        code="JP408",
        message=f"the store `{url}` cannot be copied to: it belongs to a plug-in",
        suggestion="give a folder or the address of a bucket",
    )


def _only_read(address: str) -> Diagnostic:
    return Diagnostic(
        code="JP402",
        message=f"the store `{address}` cannot be written: you may only read it",
        suggestion=f"ask its owner for the right to write there, {OTHER_STORE_HINT}",
    )
