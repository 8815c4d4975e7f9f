"""The index: finds records by step and remembers digests. It can be deleted at any time.

Files are the source of truth. The index holds the mtime of every sub-folder of records at its last reading (the tables
call a sub-folder a shelf); a sub-folder that has changed is read again. A damaged index is rebuilt; where its file
cannot be written, an index in memory is used.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.step_record import FOLDER, is_key

if TYPE_CHECKING:
    import sqlite3

    from jupyter_pipelines.storage.files.local_folder import LocalFolder
    from jupyter_pipelines.storage.step_record import StepRecord

logger = logging.getLogger(__name__)
INDEX_FILE = "index.sqlite"
VERSION = 2
_MEMORY = ":memory:"
_BUSY_SECONDS = 5.0
# Builds of SQLite before 3.32 allow 999 variables in a statement.
_MAX_OPERANDS = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    key TEXT PRIMARY KEY, shelf TEXT NOT NULL, step TEXT NOT NULL, notebook TEXT, created TEXT NOT NULL,
    mark TEXT, document TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS records_by_step ON records (step, created);
CREATE TABLE IF NOT EXISTS shelves (shelf TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digests (
    path TEXT PRIMARY KEY, inode TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, digest TEXT NOT NULL, boot TEXT NOT NULL
) WITHOUT ROWID;
"""


class RecordListing(Protocol):
    """A list of records outside the index of this machine. It is only a hint: none of its methods raises."""

    def add(self, records: Sequence[StepRecord]) -> None:
        """Add records to the list."""

    def drop(self, key: str) -> None:
        """Remove the record of `key` from the list."""

    def find(self, steps: Sequence[str], notebook: str | None) -> list[tuple[str, str, str]]:
        """Return step, key and time of the records of `steps`, of any notebook when none is given."""

    def close(self) -> None:
        """Close it."""


class StoreIndex:
    """The index of a store.

    Parameters
    ----------
    root : Path
        The store's folder.

    Notes
    -----
    May be used by several threads and processes at once. Nothing here raises because of the index itself.

    Attributes
    ----------
    listing : RecordListing or None
        List of a team's records in a database.
    """

    def __init__(self, root: Path) -> None:
        self.listing: RecordListing | None = None
        self._root = root
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._caught_up = False
        self._file: tuple[int, int] | None = None

    # Digests -----------------------------------------------------------------------------------------------

    def digest(self, path: str, mark: StatSignature) -> str | None:
        """Return the cached digest of `path`; None if it has none for this mark."""
        return self.digests({path: mark}).get(path)

    def digests(self, marks: Mapping[str, StatSignature]) -> dict[str, str]:
        """Return the cached digests of those paths that have one for their mark."""
        paths = {_escaped_path(path): path for path in marks}
        # Rows of an earlier boot do not count: a power cut may have lost bytes that were hashed in the page cache.
        boots = ("", ProcessIdentity.current().boot)
        cached = {}
        for row in self._query_in("SELECT * FROM digests WHERE path IN ({})", list(paths)):
            path, inode, size, mtime_ns, ctime_ns, digest, boot = row
            mark = StatSignature(inode=int(inode), size=size, mtime_ns=mtime_ns, ctime_ns=ctime_ns)
            if boot in boots and marks[paths[path]] == mark:
                cached[paths[path]] = str(digest)
        return cached

    def remember(self, path: str, mark: StatSignature, digest: str, *, durable: bool = False) -> None:
        """Cache the digest of `path`, whose mark must be stable (:meth:`StatSignature.is_stable`).

        After a power cut a file may have the same mark and other bytes, unless they were `durable`: on the disk.
        """
        self.remember_all([(path, mark, digest, durable)])

    def remember_all(self, digests: Iterable[tuple[str, StatSignature, str, bool]]) -> None:
        """Cache the digests of many files in one transaction: path, mark, digest, durable."""
        boot = ProcessIdentity.current().boot
        self._execute(
            *(
                (
                    "INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (_escaped_path(path), *map(str, mark.to_list()), digest, "" if durable else boot),
                )
                for path, mark, digest, durable in digests
            )
        )

    def prune(self) -> None:
        """Remove the digests of files that no longer exist."""
        vanished = [(path,) for (path,) in self._query("SELECT path FROM digests", ()) if not os.path.exists(path)]
        self._execute(*(("DELETE FROM digests WHERE path = ?", row) for row in vanished))

    # Records -----------------------------------------------------------------------------------------------

    def add_record(self, record: StepRecord) -> None:
        """Add a record, without its content."""
        self._execute(_insert(record))
        if self.listing is not None:
            self.listing.add([record])

    def keep_records(self, records: Iterable[tuple[StepRecord, StatSignature]]) -> None:
        """Add records with their content, which is valid while their files have these marks."""
        pairs = list(records)
        self._execute(*(_insert(record, mark) for record, mark in pairs))
        if self.listing is not None:
            self.listing.add([record for record, _ in pairs])

    def kept_records(self, marks: Mapping[str, StatSignature]) -> dict[str, str]:
        """Return, by key, the text of those records whose files still have these marks, each with its signature."""
        query = "SELECT key, mark, document FROM records WHERE key IN ({}) AND document IS NOT NULL"
        rows = self._query_in(query, list(marks))
        return {key: str(document) for key, mark, document in rows if _encoded(marks[key]) == mark}

    def drop_record(self, key: str) -> None:
        """Remove the record of `key`."""
        self._execute(("DELETE FROM records WHERE key = ?", (key,)))
        if self.listing is not None:
            self.listing.drop(key)

    def keys_of(self, step: str, notebook: str | None) -> tuple[str, ...]:
        """Return the keys of the records of `step`, newest first."""
        # Two stable sorts: records of the same time come in the order of their keys, on every machine.
        rows = sorted(self._listed_records([step], notebook), key=lambda row: row[1])
        return tuple(dict.fromkeys(key for _, key, _ in sorted(rows, key=lambda row: row[2], reverse=True)))

    def latest_keys(self, steps: Sequence[str], notebook: str | None) -> dict[str, str]:
        """Return the key of the newest record of each step."""
        rows = sorted(self._listed_records(steps, notebook), key=lambda row: row[1], reverse=True)
        return {step: key for step, key, _ in sorted(rows, key=lambda row: row[2])}

    def _listed_records(self, steps: Sequence[str], notebook: str | None) -> list[tuple[str, str, str]]:
        """Return step, key and time of the records in the index and in the list of the team."""
        notebook_clause = "" if notebook is None else " AND notebook = ?"
        query = f"SELECT step, key, created FROM records WHERE step IN ({{}}){notebook_clause}"  # noqa: S608
        local_rows = self._query_in(query, steps, () if notebook is None else (notebook,))
        rows = [(str(step), str(key), str(created)) for step, key, created in local_rows]
        return rows if self.listing is None else [*rows, *self.listing.find(steps, notebook)]

    def catch_up(self, folder: LocalFolder, read: Callable[[str], StepRecord | None]) -> None:
        """Read the sub-folders of records that changed since their last reading; only the first call does anything."""
        with self._lock:
            self._connect()
            if self._caught_up:
                return
            self._caught_up = True
            known_mtimes = dict(self._query("SELECT shelf, mtime_ns FROM shelves", ()))
            subfolders = folder.ls(FOLDER)
            for subfolder in subfolders:
                mtime = _mtime(folder.root / FOLDER / subfolder)
                if known_mtimes.get(subfolder) != mtime:
                    self._read_subfolder(folder, subfolder, mtime, read)
            for subfolder in set(known_mtimes) - set(subfolders):
                self._execute(*_forget_subfolder(subfolder))

    def _read_subfolder(
        self, folder: LocalFolder, subfolder: str, mtime_ns: int, read: Callable[[str], StepRecord | None]
    ) -> None:
        # Taken before the listing: a record added meanwhile must leave the sub-folder marked as changed.
        cutoff = filesystem_features.mtime_cutoff(folder.device())
        keys = {
            name[:-5] for name in folder.ls(f"{FOLDER}/{subfolder}") if name.endswith(".json") and is_key(name[:-5])
        }
        known_keys = {key for (key,) in self._query("SELECT key FROM records WHERE shelf = ?", (subfolder,))}
        new_records = [record for record in map(read, sorted(keys - known_keys)) if record is not None]
        changes = [_insert(record) for record in new_records]
        changes += [("DELETE FROM records WHERE key = ?", (key,)) for key in sorted(known_keys - keys)]
        # A mtime too close to the present may hide a later change; such a sub-folder is simply read again.
        if cutoff.is_past(mtime_ns):
            changes.append(("INSERT OR REPLACE INTO shelves VALUES (?, ?)", (subfolder, mtime_ns)))
        self._execute(*changes)

    # The database ------------------------------------------------------------------------------------------

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                self._connection.close()
            self._connection = None
        if self.listing is not None:
            self.listing.close()

    def _query(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        rows: list[Any] = self._use(lambda connection: connection.execute(query, values).fetchall(), [])
        return rows

    def _query_in(self, query: str, operands: Sequence[str], more_operands: tuple[Any, ...] = ()) -> Iterator[Any]:
        """Run `query` with an ``IN ({})`` list of any length, in chunks of at most 500 operands."""
        for start in range(0, len(operands), _MAX_OPERANDS):
            chunk = operands[start : start + _MAX_OPERANDS]
            yield from self._query(query.format(", ".join("?" * len(chunk))), (*chunk, *more_operands))

    def _execute(self, *changes: tuple[str, tuple[Any, ...]]) -> None:
        if changes:
            self._use(lambda connection: _write(connection, changes), None)

    def _use(self, action: Callable[[sqlite3.Connection], Any], default: Any) -> Any:
        """Call `action` with the database; rebuild it if damaged, use one in memory if locked or full."""
        import sqlite3

        with self._lock:
            # OperationalError (locked, full, read-only) leaves the file alone; any other error of SQLite means damage.
            for _ in range(2):
                try:
                    return action(self._connect())
                except sqlite3.OperationalError as error:
                    logger.info("index of %s not used: %s", self._root, error)
                    self._fall_back()
                except sqlite3.Error as error:
                    logger.info("index of %s is made anew: %s", self._root, error)
                    self._discard()
            return default

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None and self._file is not None and _identity(self._root / INDEX_FILE) != self._file:
            # The file was deleted or replaced: other processes would not see what is written to the old inode.
            self.close()
        if self._connection is None or self._pid != os.getpid():
            # A connection must not be used across a fork, and not be closed there either.
            self._pid = os.getpid()
            self._caught_up = False
            self._connection = self._open()
        return self._connection

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        path = self._root / INDEX_FILE
        # The second attempt is for a file that was damaged and has been deleted by the first.
        for name in (str(path), str(path), _MEMORY):
            try:
                connection = _open_database(name)
                self._file = None if name == _MEMORY else _identity(path)
                return connection
            except sqlite3.DatabaseError as error:
                logger.info("index %s cannot be used: %s", name, error)
                if not isinstance(error, sqlite3.OperationalError):
                    _delete(path)
        raise AssertionError("a database in memory can always be opened")

    def _discard(self) -> None:
        self.close()
        _delete(self._root / INDEX_FILE)

    def _fall_back(self) -> None:
        """Switch to an index in memory, as the file is locked for too long, read-only, or on a full disk."""
        self.close()
        self._pid = os.getpid()
        self._caught_up = False
        self._file = None
        self._connection = _open_database(_MEMORY)


def _open_database(name: str) -> sqlite3.Connection:
    import sqlite3

    if name != _MEMORY:
        _prepare(Path(name))
    connection = sqlite3.connect(name, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        # WAL lets processes read while another writes; NORMAL may lose the last commits in a power cut, which is
        # harmless for an index that is rebuilt from the files.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _create_tables(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(path: Path) -> None:
    """Create the file with mode 0600, and remove the journal that a deleted file left."""
    import sqlite3

    try:
        # A link could make SQLite write to a database outside the store.
        if path.is_symlink():
            path.unlink()
        # SQLite would replay a leftover -wal or -journal into the new, empty database.
        if not path.exists():
            _delete(path)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise sqlite3.OperationalError(str(error)) from error


def _create_tables(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    if version != 0:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            connection.execute(f'DROP TABLE "{table}"')
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _write(connection: sqlite3.Connection, changes: tuple[tuple[str, tuple[Any, ...]], ...]) -> None:
    # IMMEDIATE takes the write lock at once: upgrading a read lock later can fail with SQLITE_BUSY without waiting.
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, values in changes:
            connection.execute(statement, values)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(Exception):
            connection.execute("ROLLBACK")
        raise


def _insert(record: StepRecord, mark: StatSignature | None = None) -> tuple[str, tuple[Any, ...]]:
    content = (_encoded(mark), _document(record)) if mark else (None, None)
    row = (record.key, record.key[:2], record.step, record.notebook, record.created, *content)
    return "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", row


def _document(record: StepRecord) -> str:
    signature = {} if record.signature is None else {"signature": record.signature.to_dict()}
    return json.dumps({**record.to_dict(), **signature}, separators=(",", ":"))


def _encoded(mark: StatSignature) -> str:
    return ":".join(map(str, mark.to_list()))


def _forget_subfolder(subfolder: str) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return (
        ("DELETE FROM records WHERE shelf = ?", (subfolder,)),
        ("DELETE FROM shelves WHERE shelf = ?", (subfolder,)),
    )


def _delete(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
        with contextlib.suppress(OSError):
            name.unlink()


def _identity(path: Path) -> tuple[int, int]:
    """Return device and inode of a file; (0, 0) if there is none."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_dev, status.st_ino)


def _mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return -1


def _escaped_path(path: str) -> str:
    """Return a path as valid UTF-8, which SQLite requires, by escaping surrogates."""
    return path.encode("utf-8", "backslashreplace").decode() if not path.isascii() else path
