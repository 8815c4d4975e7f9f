"""Summary of a store: its format, and counts of records, outputs, runs and temporary files; the store is only read."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs
from jupyter_pipelines.storage.files.local_folder import QUARANTINE, TEMPORARY
from jupyter_pipelines.storage.files.os_errors import OTHER_STORE_HINT, unopenable_error
from jupyter_pipelines.storage.files.ownership import ownership_error
from jupyter_pipelines.storage.maintenance.garbage_collection import collect, size_of
from jupyter_pipelines.storage.opening import DATABASE_VARIABLE, scheme_of
from jupyter_pipelines.storage.records import run_store
from jupyter_pipelines.storage.shared.buckets import BucketBackend, BucketStore
from jupyter_pipelines.storage.shared.shared_folder import SharedFolder
from jupyter_pipelines.storage.shared.shared_store import SharedBackend, SharedStore, cache_path, shared_folder_of
from jupyter_pipelines.storage.signing.keyring import UserKeyring
from jupyter_pipelines.storage.store import FORMAT, Store, folder_of, read_format

StoreKind = Literal["folder", "shared-folder", "bucket"]
COLLECT_AGE_DAYS = 30
"""Default age from which a garbage collection removes runs."""
_BATCH = 64
_READERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLocation:
    """The location of a store, with access to its files that trusts none of them.

    Parameters
    ----------
    address : str
        Its folder or URL.
    kind : {"folder", "shared-folder", "bucket"}
        A folder that only its user can write to, a folder that others can write to, or a bucket.
    backend : SharedBackend
        Reads and writes its files.
    local : Path or None
        The folder with its runs and temporary files; None if it does not exist.
    """

    address: str
    kind: StoreKind
    backend: SharedBackend
    local: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCount:
    """A number of files and their size in bytes."""

    count: int = 0
    bytes: int = 0

    def to_dict(self) -> dict[str, int]:
        """Return the same as a document."""
        return {"count": self.count, "bytes": self.bytes}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordCounts:
    """Counts of the records of a store.

    Parameters
    ----------
    files : FileCount
        All of them.
    traced, untraced, unreadable : int
        With a trace; without one, so that their steps run again; damaged, or of a newer format.
    schemas : Mapping of str to int
        Counts by version of the format.
    signed : Mapping of str to int
        Counts by signer: ``you``, ``trusted``, ``unknown`` and ``unsigned``. Signatures are not verified.
    """

    files: FileCount
    traced: int = 0
    untraced: int = 0
    unreadable: int = 0
    schemas: Mapping[str, int] = field(default_factory=dict)
    signed: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a document."""
        counts = {name: getattr(self, name) for name in ("traced", "untraced", "unreadable")}
        return {**self.files.to_dict(), **counts, "schemas": dict(self.schemas), "signed": dict(self.signed)}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSummary:
    """Summary of a store.

    Parameters
    ----------
    location : StoreLocation
        The store.
    format : int or None
        Its format; None if the format file is missing or damaged; the next run writes it again.
    writer : str
        The version of this package that wrote the format file.
    writable : bool
        Whether the user may write there, and this version knows the format.
    database : bool
        Whether a team's database is used with it.
    records : RecordCounts
        Its records.
    artifacts, runs, temporary, quarantined : FileCount
        Its outputs, runs, temporary files, and files in quarantine.
    collectable : int or None
        Bytes that a garbage collection would free; None for shared stores, and if a record is unreadable.
    """

    location: StoreLocation
    format: int | None
    writer: str
    writable: bool
    database: bool
    records: RecordCounts
    artifacts: FileCount
    runs: FileCount
    temporary: FileCount
    quarantined: FileCount
    collectable: int | None

    @property
    def is_newer(self) -> bool:
        """Whether a newer version of this package is needed."""
        return self.format is not None and self.format > FORMAT

    @property
    def needs_upgrade(self) -> bool:
        """Whether a newer format is known."""
        return self.format is not None and self.format < FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a document."""
        return {
            "schema": "jupyter-pipelines/store-info/1",
            "store": self.location.address,
            "kind": self.location.kind,
            "database": self.database,
            "format": self.format,
            "newest_format": FORMAT,
            "writer": self.writer,
            "readable": not self.is_newer,
            "writable": self.writable,
            "needs_upgrade": self.needs_upgrade,
            "records": self.records.to_dict(),
            "artifacts": self.artifacts.to_dict(),
            "runs": self.runs.to_dict(),
            "temporary": self.temporary.to_dict(),
            "quarantined": self.quarantined.to_dict(),
            "collectable": self.collectable,
        }


def locate(url: str | Path) -> StoreLocation:
    """Return the location of the store at `url`; unlike opening it, this never creates a store.

    Raises
    ------
    StoreError
        There is none, or it cannot be read (JP401); it belongs to a plug-in (JP408).
    PluginError
        There is no store of this scheme (JP602).
    """
    scheme = scheme_of(url)
    store_class: object = plugins.load("stores", scheme)
    if store_class is BucketStore:
        address = str(url).rstrip("/")
        return _existing(StoreLocation(address=address, kind="bucket", backend=BucketBackend(address), local=None))
    if store_class not in (Store, SharedStore):
        raise StoreError(_of_a_plugin(str(url)))
    folder = shared_folder_of(url) if store_class is SharedStore else folder_of(url)
    if not Store(folder).exists():
        raise unopenable_error(folder, "there is none", f"run a pipeline first, {OTHER_STORE_HINT}")
    is_shared = store_class is SharedStore or ownership_error(folder) is not None
    kind: StoreKind = "shared-folder" if is_shared else "folder"
    return _existing(
        StoreLocation(address=str(folder), kind=kind, backend=SharedFolder(folder), local=None if is_shared else folder)
    )


def _existing(location: StoreLocation) -> StoreLocation:
    """Return the location with its local folder; raise StoreError if there is no store."""
    _format(location)
    if format_content(location) is None and location.kind == "bucket":
        raise unopenable_error(location.address, "there is none", f"run a pipeline first, {OTHER_STORE_HINT}")
    if location.kind == "folder":
        return location
    address = os.path.realpath(location.address) if location.kind == "shared-folder" else location.address
    front = cache_path(address)
    return StoreLocation(
        address=location.address,
        kind=location.kind,
        backend=location.backend,
        local=front if front.is_dir() else None,
    )


def format_content(location: StoreLocation) -> bytes | None:
    """Return the content of the format file; None if there is none.

    Raises
    ------
    StoreError
        It cannot be read (JP401).
    """
    try:
        return location.backend.format_file()
    except OSError as error:
        raise _unreadable(location.address, error) from error


def summarise(url: str | Path) -> StoreSummary:
    """Count what the store at `url` holds.

    Raises
    ------
    StoreError
        There is none, something else is there, or it cannot be read (JP401); it belongs to a plug-in (JP408).
    PluginError
        There is no store of this scheme (JP602).
    """
    location = locate(url)
    number, writer = _format(location)
    records = count_records(location)
    artifacts = _total(size for _, size in files_in(location, blobs.FOLDER))
    readable = number is None or number <= FORMAT
    return StoreSummary(
        location=location,
        format=number,
        writer=writer,
        writable=readable and location.backend.is_writable(),
        database=bool(os.environ.get(DATABASE_VARIABLE)),
        records=records,
        artifacts=artifacts,
        runs=_count_folder(location.local, run_store.FOLDER),
        temporary=_count_folder(location.local, TEMPORARY),
        quarantined=_count_folder(location.local, QUARANTINE),
        collectable=_collectable(location, records) if readable else None,
    )


def _format(location: StoreLocation) -> tuple[int | None, str]:
    """Return the format of a store and its writer; a folder of other files without a valid format file is refused."""
    content = format_content(location)
    try:
        return read_format(content or b"")
    except ValueError:
        if location.kind != "bucket":
            Store(Path(location.address)).check_format(make=False)
        return None, "unknown"


def files_in(location: StoreLocation, folder: str) -> Iterator[tuple[str, int]]:
    """Yield name and size of every file in the sub-folders of ``records`` or ``blobs``.

    Raises
    ------
    StoreError
        A list cannot be read (JP401).
    """
    try:
        yield from location.backend.files(folder)
    except OSError as error:
        raise _unreadable(location.address, error) from error


def count_records(location: StoreLocation) -> RecordCounts:
    """Read every record of a store, and count.

    Raises
    ------
    StoreError
        A list cannot be read (JP401).
    """
    signers = _signers()
    counts: Counter[str] = Counter()
    schemas: Counter[str] = Counter()
    signed: Counter[str] = Counter()
    total = size = 0
    names = ((name, length) for name, length in files_in(location, step_record.FOLDER) if key_of(name))
    for batch in _batches(names):
        total += len(batch)
        size += sum(length for _, length in batch)
        keys = [key_of(name) for name, _ in batch]
        for state, schema, signer in in_parallel(partial(_classify, location.backend), keys, location.kind):
            counts[state] += 1
            schemas[schema] += bool(schema)
            if state != "unreadable":
                signed[signers.get(signer, "unknown") if signer else "unsigned"] += 1
    return RecordCounts(
        files=FileCount(count=total, bytes=size),
        traced=counts["traced"],
        untraced=counts["untraced"],
        unreadable=counts["unreadable"],
        schemas={schema: schemas[schema] for schema in sorted(schemas) if schema},
        signed=dict(sorted(signed.items())),
    )


def _classify(backend: SharedBackend, key: str) -> tuple[str, str, str]:
    """Return state, version of the format and signer of a record."""
    try:
        content = backend.record(key) or b""
        document = json.loads(content)["record"]
        schema = str(document["schema"]).rpartition("/")[2]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "unreadable", "", ""
    try:
        record = step_record.decode(content, key)
    except (ValueError, RecursionError):
        return "unreadable", schema, ""
    signer = record.signature.key if record.signature else ""
    return "untraced" if record.trace is None else "traced", schema, signer


def key_of(name: str) -> str:
    """Return the key of the record whose file has this name; empty if it is none."""
    key = name.removesuffix(".json")
    return key if key != name and step_record.is_key(key) else ""


def in_parallel(work: Any, items: Iterable[Any], kind: StoreKind) -> list[Any]:
    """Call `work` with each item and return the results in order; in threads for a bucket, to hide its latency."""
    if kind != "bucket":
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(work, items))


def _batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _signers() -> dict[str, str]:
    """Return ``you`` or ``trusted`` by id of the key; empty if the user's keys cannot be used."""
    try:
        keyring = UserKeyring.of_user()
        own = keyring.own()
        signers = {key.id: "trusted" for key in keyring.trusted().values()}
    except StoreError:
        return {}
    return signers | ({own.public.id: "you"} if own else {})


def _total(sizes: Iterable[int]) -> FileCount:
    count = total = 0
    for size in sizes:
        count += 1
        total += size
    return FileCount(count=count, bytes=total)


def _count_folder(root: Path | None, name: str) -> FileCount:
    """Return the number of entries in a folder of a store, and their total size."""
    if root is None:
        return FileCount()
    try:
        children = list(os.scandir(root / name))
    except OSError:
        return FileCount()
    return FileCount(count=len(children), bytes=sum(size_of(Path(child.path)) for child in children))


def _collectable(location: StoreLocation, records: RecordCounts) -> int | None:
    """Return the bytes that a garbage collection would free; None for shared stores and with damaged records."""
    # collect() reads records through the store, which quarantines damaged ones; a summary must not change anything.
    if location.kind != "folder" or location.local is None or records.unreadable:
        return None
    store = Store(location.local)
    try:
        report = collect(store, older_than=COLLECT_AGE_DAYS * 86_400.0, dry_run=True)
    except StoreError:
        return None
    finally:
        store.close()
    return report.bytes


def _unreadable(address: str, error: OSError) -> StoreError:
    suggestion = f"look at its address and at your rights, {OTHER_STORE_HINT}"
    return unopenable_error(address, (error.strerror or str(error)).lower(), suggestion)


def _of_a_plugin(url: str) -> Diagnostic:
    return Diagnostic(
        code="JP408",
        message=f"the store `{url}` cannot be read as files: it belongs to a plug-in",
        suggestion="run the pipeline with another store: what is not there is computed again",
    )
