"""Check a store (fsck): read every byte, whatever is cached of it, and report what is damaged or untrusted.

Runs do not depend on it: a damaged entry is a miss wherever it is read. It finds damage before a run does, including
damage that caches cannot see: bits that changed on the disk without a change of size and times.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs, manifests
from jupyter_pipelines.storage.blobs.digests import algorithm_of, is_digest, is_known
from jupyter_pipelines.storage.files.local_folder import remove
from jupyter_pipelines.storage.files.os_errors import is_transient, unreadable_error
from jupyter_pipelines.storage.files.ownership import ownership_error
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.records import index, run_store
from jupyter_pipelines.storage.shared.shared_folder import SharedFolder
from jupyter_pipelines.storage.shared.shared_store import SharedStore
from jupyter_pipelines.storage.signing.keyring import UserKeyring
from jupyter_pipelines.storage.signing.signatures import TrustPolicy
from jupyter_pipelines.storage.store import MANIFESTS, Store

Kind = Literal["damaged", "untrusted", "unchecked"]
BITS: dict[Kind, int] = {"damaged": 1, "untrusted": 2, "unchecked": 4}
"""Bits of the exit code, set if a finding of the kind is not repaired."""

_OTHERS_MAY_WRITE = 0o022
_TOP_FOLDERS = (blobs.FOLDER, step_record.FOLDER, run_store.FOLDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckFinding:
    """A problem with a file or folder of a store.

    Parameters
    ----------
    kind : {"damaged", "untrusted", "unchecked"}
        Wrong or missing bytes; possibly written by another user; cannot be checked in this environment.
    path : str
        Path relative to the store.
    why : str
        What is wrong with it.
    repaired : bool
        It was quarantined or closed to others; lost results are computed again when needed.
    """

    kind: Kind
    path: str
    why: str
    repaired: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a document."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckReport:
    """Report of a check of a store.

    Parameters
    ----------
    store : str
        The folder.
    findings : tuple of FsckFinding
        The problems.
    blobs, records, runs : int
        Numbers of entries that were checked.
    shared : bool
        Several users write to the store: records were checked by their signatures.
    """

    store: str
    findings: tuple[FsckFinding, ...] = ()
    blobs: int = 0
    records: int = 0
    runs: int = 0
    shared: bool = False

    @property
    def code(self) -> int:
        """The exit code: the sum of 1 damaged, 2 untrusted and 4 unchecked, for findings that are not repaired."""
        return sum({BITS[finding.kind] for finding in self.findings if not finding.repaired})

    def to_dict(self) -> dict[str, Any]:
        """Return the same as a document."""
        return {
            "schema": "jupyter-pipelines/examined/1",
            "store": self.store,
            "code": self.code,
            "shared": self.shared,
            "looked_at": {"blobs": self.blobs, "records": self.records, "runs": self.runs},
            "counts": {kind: sum(finding.kind == kind for finding in self.findings) for kind in BITS},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def examine(url: str | Path, *, repair: bool = False) -> FsckReport:
    """Read everything in a store and report what is damaged, untrusted or cannot be checked.

    Parameters
    ----------
    url : str or Path
        The store; it is not made if there is none.
    repair : bool
        Quarantine what is damaged, and records that another user may have written; close folders to others. In a
        shared store folders stay open, and only records without a trusted signature are quarantined: what the other
        records name stays.

    Raises
    ------
    StoreError
        There is something else at `url` (JP401), or the store cannot be written (JP402, JP403) for a repair; it is
        shared, and signatures cannot be checked (JP411, JP412).
    PluginError
        There is no store of this scheme.
    """
    store: object = open_store(url, create=False, guarded=False)
    if not isinstance(store, Store):
        why = "a store of a plug-in checks its own entries"
        return FsckReport(store=str(url), findings=(FsckFinding(kind="unchecked", path="", why=why),))
    try:
        return _FsckChecker(*_store_to_check(store), repair=repair).result()
    finally:
        store.close()


def _store_to_check(store: Store) -> tuple[Store, TrustPolicy | None, bool]:
    """Return the store to check, the trust policy of a shared store, and whether it is a local cache.

    A blob that is missing in a local cache is no finding: it may be in the backend.
    """
    if isinstance(store, SharedStore):
        if isinstance(store.backend, SharedFolder):
            return Store.open(store.backend.root, create=False), TrustPolicy.of_user(), False
        return Store.open(store.root, create=False), None, True
    is_shared = (
        os.path.isdir(store.root) and UserKeyring.of_user().has_own() and ownership_error(store.root) is not None
    )
    return store, TrustPolicy.of_user() if is_shared else None, False


class _FsckChecker:
    """A single check of a store."""

    def __init__(self, store: Store, trust: TrustPolicy | None, is_cache: bool, *, repair: bool) -> None:
        self._store = store
        self._trust = trust
        self._broken_conditions = ("corrupt",) if is_cache else ("missing", "corrupt")
        self._repair = repair
        self._records_writable = False
        self._corrupt_digests: set[str] = set()

    def result(self) -> FsckReport:
        """Check everything and return the report; blobs come before records, which are judged by them."""
        # In a shared store permissions are open on purpose; signatures decide about records instead.
        findings = [] if self._trust else [*self._permission_findings()]
        digests = list(self._store.blobs.all_digests_strict())
        findings += self._blob_findings(digests)
        keys = self._store.records.all_keys_strict()
        findings += [*self._unexpected_files(blobs.FOLDER, digests, blobs.path_of)]
        findings += [
            *self._record_findings(keys),
            *self._unexpected_files(step_record.FOLDER, keys, step_record.path_of),
        ]
        names = self._store.runs.names()
        findings += self._run_findings(names)
        if any(finding.repaired for finding in findings):
            self._forget_index()
        return FsckReport(
            store=str(self._store.root),
            findings=tuple(findings),
            blobs=len(digests),
            records=len(keys),
            runs=len(names),
            shared=self._trust is not None,
        )

    def _permission_findings(self) -> Iterator[FsckFinding]:
        """Yield the folders that others may have written to."""
        for path in _folders(self._store):
            folder = self._store.root / path if path else self._store.root
            try:
                why = _writable_reason(folder)
            except OSError as error:
                raise unreadable_error(error, self._store.root, f"`{path or folder}`") from error
            if why:
                self._records_writable = self._records_writable or path.split("/")[0] in ("", step_record.FOLDER)
                yield FsckFinding(kind="untrusted", path=path, why=why, repaired=self._repair and self._close(path))

    def _close(self, path: str) -> bool:
        """Remove the write permission of others from a folder, and tell whether that worked."""
        folder = self._store.root / path if path else self._store.root
        # chmod would follow the link and change a folder outside the store.
        if folder.is_symlink():
            return False
        try:
            folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~_OTHERS_MAY_WRITE)
        except OSError:
            return False
        return not _writable_reason(folder)

    def _blob_findings(self, digests: Iterable[str]) -> Iterator[FsckFinding]:
        for digest in digests:
            condition = self._store.blobs.examine(digest)
            if condition == "unknown":
                algorithm = algorithm_of(digest)
                not_installed = f"its digest is of {algorithm}, which is not installed here"
                why = "it cannot be read at the moment" if is_known(algorithm) else not_installed
                yield FsckFinding(kind="unchecked", path=blobs.path_of(digest), why=why)
            elif condition == "corrupt":
                self._corrupt_digests.add(digest)
                yield self._damage_finding(blobs.path_of(digest), "its bytes do not have the digest they are named by")

    def _unexpected_files(self, top_folder: str, names: Iterable[str], path_of: Any) -> Iterator[FsckFinding]:
        """Yield the files of a top-level folder that do not belong there."""
        expected_paths = {path_of(name) for name in names}
        for subfolder in self._store.folder.ls(top_folder):
            for name in self._store.folder.ls(f"{top_folder}/{subfolder}"):
                path = f"{top_folder}/{subfolder}/{name}"
                if path not in expected_paths:
                    yield self._damage_finding(path, "no such file belongs into a store")

    def _record_findings(self, keys: Iterable[str]) -> Iterator[FsckFinding]:
        for key in keys:
            path = step_record.path_of(key)
            try:
                record = step_record.decode(self._store.folder.read(path), key)
            except (OSError, ValueError, RecursionError, StoreError) as error:
                yield self._unreadable_finding(path, error)
                continue
            why = self._rejection_reason(path, record)
            if why:
                yield self._quarantine(FsckFinding(kind="untrusted", path=path, why=why))
            else:
                yield from self._broken_outputs(path, record)

    def _rejection_reason(self, path: str, record: step_record.StepRecord) -> str:
        """Return why a record must not be used; empty if it may."""
        if self._trust:
            return self._trust.rejection_reason(record)
        return _other_owner(self._store.root / path) or (
            "others could write to its folder" if self._records_writable else ""
        )

    def _broken_outputs(self, path: str, record: step_record.StepRecord) -> Iterator[FsckFinding]:
        for name, artifact in record.outputs.items():
            condition = self._condition(artifact.digest, artifact.format in MANIFESTS)
            if condition in self._broken_conditions:
                yield self._damage_finding(path, f"the output `{record.step}.{name}` is {condition}: {artifact.digest}")
                return
            if condition == "unknown" and not is_known(algorithm_of(artifact.digest)):
                yield FsckFinding(
                    kind="unchecked", path=path, why=f"the output `{record.step}.{name}` cannot be checked"
                )

    def _condition(self, digest: str, is_folder: bool) -> str:
        """Return the condition of an output by the blobs that were read before; "unknown" if no damage was found."""
        # "unknown" here means that nothing wrong is known: the blob exists and its bytes were checked before.
        if digest in self._corrupt_digests:
            return "corrupt"
        if not self._store.folder.exists(blobs.path_of(digest)):
            return "missing"
        members = self._members(digest) if is_folder else ()
        if members is None:
            return "corrupt"
        conditions = {self._condition(member, False) for member in members}
        return next((condition for condition in ("corrupt", "missing") if condition in conditions), "unknown")

    def _members(self, digest: str) -> tuple[str, ...] | None:
        try:
            entries = manifests.decode(self._store.folder.read(blobs.path_of(digest)))
        except (OSError, ValueError, StoreError):
            return None
        return tuple(entry.digest for entry in entries if entry.digest and is_digest(entry.digest))

    def _run_findings(self, names: Iterable[str]) -> Iterator[FsckFinding]:
        for name in names:
            path = f"{run_store.FOLDER}/{name}/{run_store.DOCUMENT}"
            try:
                if not isinstance(json.loads(self._store.folder.read(path)), dict):
                    yield self._damage_finding(path, "it is not the document of a run")
            except FileNotFoundError:
                continue
            except (OSError, ValueError, RecursionError, StoreError) as error:
                yield self._unreadable_finding(path, error)

    def _unreadable_finding(self, path: str, error: Exception) -> FsckFinding:
        if is_transient(error):
            return FsckFinding(kind="unchecked", path=path, why=f"it cannot be read at the moment: {error}")
        return self._damage_finding(path, f"it cannot be read: {error}")

    def _damage_finding(self, path: str, why: str) -> FsckFinding:
        return self._quarantine(FsckFinding(kind="damaged", path=path, why=why))

    def _quarantine(self, finding: FsckFinding) -> FsckFinding:
        """Quarantine the file of a finding, where a repair was requested."""
        if not self._repair:
            return finding
        self._store.folder.quarantine_path(finding.path, finding.why)
        return replace(finding, repaired=not self._store.folder.exists(finding.path))

    def _forget_index(self) -> None:
        """Remove the index, which may list quarantined files; it is rebuilt at the next query."""
        self._store.index.close()
        for ending in ("", "-wal", "-shm", "-journal"):
            remove(self._store.root / f"{index.INDEX_FILE}{ending}")


def _folders(store: Store) -> Iterator[str]:
    """Yield the folders whose contents are trusted, relative to the store; the store itself is the empty path."""
    if os.path.isdir(store.root):
        yield ""
    for top_folder in filter(lambda top_folder: os.path.isdir(store.root / top_folder), _TOP_FOLDERS):
        yield top_folder
        yield from (
            f"{top_folder}/{name}"
            for name in store.folder.ls(top_folder)
            if os.path.isdir(store.root / top_folder / name)
        )


def _writable_reason(path: Path) -> str:
    """Return why another user may have written to a folder; empty if that is impossible."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return "it is a link to somewhere else"
    return _other_owner(path) or ("other users can write to it" if status.st_mode & _OTHERS_MAY_WRITE else "")


def _other_owner(path: Path) -> str:
    """Return the owner of a file or folder as a text; empty if it is the user."""
    try:
        owner = path.lstat().st_uid
    except OSError:
        return ""
    own_uid = os.geteuid() if hasattr(os, "geteuid") else owner
    return "" if owner == own_uid else f"it belongs to another user: uid {owner}"
