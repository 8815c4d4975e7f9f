"""Shared stores, to which several users write: records are used only if a trusted user has signed them.

Nothing is loaded, mapped or executed from a place where another user could exchange it meanwhile. The user has a local
cache, a store of their own, which alone holds runs, leases and temporary files. A record is taken from the shared
backend only with a trusted signature, blobs only if they have the digests that the record names, and both are copied to
the local cache before they are used. Results of the user are signed and written to both.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.blobs.blobs import BlobStore, Condition, IncomingFile, StagedBlob
from jupyter_pipelines.storage.blobs.digests import DigestCache, algorithm_of, digest_open, is_known
from jupyter_pipelines.storage.files.local_folder import LocalFolder, make_folder, remove
from jupyter_pipelines.storage.files.os_errors import unopenable_error, unreadable_error, unwritable_error
from jupyter_pipelines.storage.files.ownership import ownership_error
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.records.index import StoreIndex
from jupyter_pipelines.storage.records.record_store import RecordStore
from jupyter_pipelines.storage.shared.shared_folder import SharedFolder
from jupyter_pipelines.storage.signing.signatures import TrustPolicy, signed
from jupyter_pipelines.storage.step_record import MAX_TRACES, StepRecord, decode, encode, is_another_trace, trace_name
from jupyter_pipelines.storage.store import FOLDER_FORMAT, Store

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.artifacts import Artifact

VARIABLE = "JUPYTER_PIPELINES_FRONT"
SCHEME = "shared"
_SIGNERS = "signers"


class SharedBackend(Protocol):
    """Storage to which several users write. Nothing that it returns is trusted."""

    def record(self, key: str) -> bytes | None:
        """Return the file of the record of `key`; None if there is none.

        Raises
        ------
        OSError
            It cannot be read, or is no file of a sensible size.
        """

    def traces(self, key: str) -> list[str]:
        """Return the keys of the records that differ from `key` by their trace only, the newest file first.

        Raises
        ------
        OSError, StoreError
            A list cannot be read.
        """

    def remove_record(self, key: str) -> None:
        """Remove the record of `key`, if there is one and the user has the right."""

    def fetch(self, digest: str, target: Path) -> bool:
        """Copy the blob of `digest` to the new file `target`; False if there is none.

        Raises
        ------
        OSError
            It cannot be read, or `target` cannot be written.
        """

    def put_record(self, key: str, content: bytes) -> None:
        """Write the file of a record atomically.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """

    def put_blob(self, digest: str, path: Path) -> None:
        """Copy the file `path` to the blob of `digest`, unless an intact blob is there.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """

    def is_writable(self) -> bool:
        """Tell whether the user has the right to write."""

    def has_blob(self, digest: str) -> bool:
        """Tell whether there is an intact blob of `digest`, by reading all of it."""

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of every file in the sub-folders of ``records`` or ``blobs``, a sub-folder at a time.

        Raises
        ------
        OSError, StoreError
            A list cannot be read.
        """

    def format_file(self) -> bytes | None:
        """Return the content of the format file; None if there is none.

        Raises
        ------
        OSError
            It cannot be read.
        """

    def put_format(self) -> None:
        """Write a format file of the newest format.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """


class SharedStore(Store):
    """A local store in front of a shared backend that several users write to.

    Parameters
    ----------
    root : Path
        The local cache: a folder that no other user can write to.
    url : str
        URL that opens the same store.
    backend : SharedBackend
        The shared backend.
    trust : TrustPolicy
        The keys whose signatures are accepted.
    """

    def __init__(self, root: Path, url: str, backend: SharedBackend, trust: TrustPolicy) -> None:
        super().__init__(root)
        self._url = url
        self.backend = backend
        self.blobs = _SharedBlobStore(self.folder, self.index, backend)
        self.records = _SharedRecordStore(self.folder, self.index, self.blobs, backend, trust)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True) -> SharedStore:
        """Open the folder at `url` as a shared store, whatever its permissions are.

        Parameters
        ----------
        url : str or Path
            A folder, or a URL such as ``shared:///srv/team``.
        create : bool
            Make the folder when there is none.

        Raises
        ------
        StoreError
            The package `cryptography` is missing (JP411); the user has no key, or it cannot be used (JP412); the
            folder is no store (JP401), cannot be written (JP402), or was written by a newer version (JP406).
        """
        trust = TrustPolicy.of_user()
        folder = shared_folder_of(url)
        backend = SharedFolder(folder)
        backend.prepare(make=create)
        root = cache_folder(str(folder))
        require_private_cache(root, folder)
        Store.open(root).close()
        store = cls(root, str(url), backend, trust)
        store.records.drop_untrusted()
        return store

    @property
    def own(self) -> bool:
        """False: other users can write to the backend."""
        return False

    @property
    def url(self) -> str:
        """URL that opens the same store in another process."""
        return self._url

    records: _SharedRecordStore


class _SharedBlobStore(BlobStore):
    """The blobs of the local cache; missing blobs are fetched from the backend, new blobs are also written to it.

    They are written at once and not with the record: a worker on another machine has a different local cache.
    """

    def __init__(self, folder: LocalFolder, cache: DigestCache | None, backend: SharedBackend) -> None:
        super().__init__(folder, cache)
        # A store without the overrides of this class: putting a fetched blob must not write it back to the backend.
        self._local_blobs = BlobStore(folder, cache)
        self._backend = backend

    def open(self, digest: str) -> BinaryIO:
        """Open the blob of `digest` for reading, after its bytes were checked; see :meth:`BlobStore.open`."""
        self.verify(digest)
        return super().open(digest)

    def is_cached(self, digest: str) -> bool:
        """Tell whether the local cache has a file for `digest`, intact or not.

        Raises
        ------
        StoreError
            Its status cannot be read (JP401).
        """
        try:
            self.path(digest).lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise unreadable_error(error, self._folder.root, f"the output {digest}") from error
        return True

    def _verify(self, digest: str, cache: DigestCache | None) -> Condition:
        condition = super()._verify(digest, cache)
        # Not for "unknown": without the hash algorithm a fetched blob could not be verified either.
        if condition in ("missing", "corrupt") and self._fetch(digest):
            return super()._verify(digest, cache)
        return condition

    def _publish(self, files: Sequence[StagedBlob], *, durable: bool = True) -> None:
        super()._publish(files, durable=durable)
        for digest in dict.fromkeys(blob.digest for blob in files):
            self.share(digest)

    def share(self, digest: str) -> None:
        """Copy a blob of the local cache to the backend, if the user may write there.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """
        if self._backend.is_writable():
            self._backend.put_blob(digest, self.path(digest))

    def _fetch(self, digest: str) -> bool:
        """Copy a blob from the backend to the local cache, and tell whether it exists with the right bytes."""
        if not is_known(algorithm_of(digest)):
            return False
        temporary = self._folder.temporary()
        try:
            if not self._backend.fetch(digest, temporary):
                return False
            # Hashed after the copy, in the private folder: the source could change between hashing and copying.
            with temporary.open("rb") as file:
                actual_digest = digest_open(file, str(temporary), None, algorithm_of(digest))
            if actual_digest == digest:
                self._local_blobs.put_files(
                    [IncomingFile(path=temporary, digest=digest, mark=StatSignature.of(temporary.lstat()))]
                )
            return actual_digest == digest
        # An unreachable backend, or a full local disk, is a miss: the step runs, or the plan says that it is missing.
        except (OSError, StoreError):
            return False
        finally:
            remove(temporary)


class _SharedRecordStore(RecordStore):
    """The records of the local cache; a missing record is taken from the backend if a trusted user has signed it."""

    def __init__(
        self,
        folder: LocalFolder,
        index: StoreIndex,
        blobs: _SharedBlobStore,
        backend: SharedBackend,
        trust: TrustPolicy,
    ) -> None:
        super().__init__(folder, index)
        self._blobs = blobs
        self._backend = backend
        self._trust = trust
        self._refused: dict[str, str] = {}

    def read(self, key: str) -> StepRecord | None:
        """Return the record of `key`; see :meth:`RecordStore.read`."""
        return super().read(key) or self._import_record(key)

    def refusal(self, key: str) -> str:
        """Return why a record of the backend is not used."""
        return self._refused.get(key, "")

    def put(self, record: StepRecord, *, durable: bool = True) -> None:
        """Sign a record and store it in the backend and in the local cache; see :meth:`RecordStore.put`.

        The backend comes first: a record that only the local cache has would be reused here and never be shared.
        """
        record = signed(record, required=True)
        for digest in self._cached_digests(record.outputs.values()):
            self._blobs.share(digest)
        if self._backend.is_writable():
            self.keep_replaced(record)
            self._backend.put_record(record.key, encode(record))
        self._put_local(record, durable=durable)

    def others(self, key: str) -> list[StepRecord]:
        """Return the records of `key` with other traces, in the backend and in the local cache, newest first.

        The record of `key` in the backend is among them: another user may have replaced the one in the local cache.
        """
        names = self._kept_names(key)
        with contextlib.suppress(OSError, StoreError):
            names += self._backend.traces(key)
        newest = self._fetched_record(key)
        local = super().read(key)
        records = self._sorted(dict.fromkeys(names))
        if newest is None or newest == local:
            return records
        if local is None or local.created < newest.created:
            with contextlib.suppress(StoreError):  # a copy here only saves the next download
                self._put_local(newest)
        return sorted([newest, *records], key=lambda record: record.created, reverse=True)

    def keep_replaced(self, record: StepRecord) -> None:
        """Keep the record of the backend that `record` is going to replace, if its trace is another.

        It is kept as it is, with the signature of the user who computed it: what is signed does not include its place.
        The oldest records of the key are removed.

        Raises
        ------
        StoreError
            The place is full (JP403) or cannot be written (JP402).
        """
        try:
            content = self._backend.record(record.key)
            replaced = None if content is None else decode(content, record.key)
        except (OSError, ValueError, RecursionError, StoreError):
            return
        # A record of a user whom this user does not trust is kept as well: others may trust that user.
        if content is None or replaced is None or replaced.signature is None or self._trust.is_forged(replaced):
            return
        if is_another_trace(replaced, record):
            self._backend.put_record(trace_name(replaced), content)
            with contextlib.suppress(OSError, StoreError):
                for key in self._backend.traces(record.step_key)[MAX_TRACES - 1 :]:
                    self._backend.remove_record(key)

    def _put_local(self, record: StepRecord, *, durable: bool = True) -> None:
        """Put a signed record into the local cache, and keep the record that it replaces if its trace is another."""
        self._note_signer(record)
        replaced = super().read(record.key)
        if replaced is not None and is_another_trace(replaced, record):
            super().put(replace(replaced, key=trace_name(replaced)), durable=durable)
            for other in self._sorted(self._kept_names(record.step_key))[MAX_TRACES - 1 :]:
                self.forget(other.key)
        super().put(record, durable=durable)

    def drop_untrusted(self) -> None:
        """Remove cached records whose signers are no longer trusted."""
        noted_signers = set(self._folder.ls(_SIGNERS))
        dropped_signers = noted_signers - self._trust.ids
        if not dropped_signers:
            return
        for key in self.all_keys():
            record = super().read(key)
            if record is not None and self._trust.rejection_reason(record):
                self.forget(key)
        # After their records: if this is interrupted, the next process finds the signer and starts over.
        for signer in dropped_signers:
            self._folder.rm(f"{_SIGNERS}/{signer}")

    def _import_record(self, key: str) -> StepRecord | None:
        """Copy the record of `key` from the backend to the local cache and return it, if it has a trusted signature."""
        record = self._fetched_record(key)
        if record is not None:
            self._put_local(record)
        return record

    def _fetched_record(self, key: str) -> StepRecord | None:
        """Return the record of `key` in the backend, if it has a trusted signature."""
        self._refused.pop(key, None)
        try:
            content = self._backend.record(key)
            record = None if content is None else decode(content, key)
        except (OSError, ValueError, RecursionError, StoreError) as error:
            self._refused[key] = f"it cannot be read: {error}"
            return None
        if record is None:
            return None
        reason = self._trust.rejection_reason(record)
        if reason:
            self._refused[key] = reason
            return None
        return record

    def _note_signer(self, record: StepRecord) -> None:
        """Write down the signer of a record; must be called before the record is put into the local cache."""
        # An empty file for each signer makes the check of drop_untrusted a listing instead of reading all records.
        path = f"{_SIGNERS}/{record.signature.key}" if record.signature else ""
        if path and not self._folder.exists(path):
            self._folder.write(path, b"")

    def _cached_digests(self, artifacts: Iterable[Artifact]) -> Iterator[str]:
        """Yield the digests of the cached blobs of artifacts, the files of a folder before its manifest."""
        for artifact in artifacts:
            if not self._blobs.is_cached(artifact.digest):
                continue
            if artifact.format == FOLDER_FORMAT:
                yield from {entry.digest for entry in self._blobs.manifest(artifact.digest) if entry.digest}
            yield artifact.digest


def cache_path(url: str) -> Path:
    """Return the path of the local cache of the store at `url`, which need not exist."""
    configured = os.environ.get(VARIABLE)
    base = (
        Path(os.path.abspath(os.path.expanduser(configured)))
        if configured
        else _user_data_folder() / "jupyter-pipelines" / "shared"
    )
    return base / hashlib.sha256(url.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def cache_folder(url: str) -> Path:
    """Make and return the folder of the local cache of the store at `url`."""
    root = cache_path(url)
    try:
        make_folder(root)
    except OSError as error:
        raise unwritable_error(error, root, "what comes from a shared store") from error
    return root


def require_private_cache(root: Path, shared: Path | None) -> None:
    """Refuse a local cache that others can write to, or that lies inside the shared folder."""
    error = ownership_error(root)
    if error is not None:
        raise error
    # Other users could rename or replace a private folder inside a folder that they can write to.
    if shared is not None and Path(os.path.realpath(root)).is_relative_to(shared):
        suggestion = f"name a folder of your own, outside of it, in {VARIABLE}, or unset it"
        raise unopenable_error(root, f"it lies in `{shared}`, which several people write to", suggestion)


def _user_data_folder() -> Path:
    configured = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_DATA_HOME")
    return (
        Path(configured)
        if configured and os.path.isabs(configured)
        else Path(os.path.expanduser("~"), ".local", "share")
    )


def shared_folder_of(url: str | Path) -> Path:
    """Return the folder that a path or a ``shared:`` URL names."""
    text = os.fspath(url)
    if isinstance(url, str) and text.lower().startswith(f"{SCHEME}:"):
        text = unquote(urlsplit(text).path)
    # Resolved, so that each store has one local cache, whatever link or relative path names it.
    return Path(os.path.realpath(os.path.expanduser(text)))
