"""A bucket as the backend of a shared store: S3, Azure, Google Cloud or any other file system that fsspec knows.

Objects are immutable: blobs are named by their digests, records by their keys, and a record is put after its blobs.
Listings are only needed to copy or count a whole store. Contents are untrusted: records need a signature, blobs must
have their digests; see :mod:`jupyter_pipelines.storage.shared.shared_store`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs
from jupyter_pipelines.storage.blobs.digests import algorithm_of, digest_open
from jupyter_pipelines.storage.files.local_folder import LocalFolder, create
from jupyter_pipelines.storage.files.os_errors import OTHER_STORE_HINT, unopenable_error
from jupyter_pipelines.storage.locks.claimed_leases import BucketLeaseBackend, ClaimedLeases
from jupyter_pipelines.storage.shared.shared_folder import MAX_RECORD_BYTES
from jupyter_pipelines.storage.shared.shared_store import SharedStore, cache_folder, require_private_cache
from jupyter_pipelines.storage.signing.signatures import TrustPolicy
from jupyter_pipelines.storage.store import (
    FORMAT,
    FORMAT_FILE,
    Store,
    format_document,
    newer_format_error,
    read_format,
)

logger = logging.getLogger(__name__)
_RETRIES = 2
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
"""Names that libraries give to the time of the last change of an object."""
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "abfs": "adlfs", "az": "adlfs", "gs": "gcsfs", "gcs": "gcsfs"}


class BucketBackend:
    """Records and blobs in a bucket; see :class:`jupyter_pipelines.storage.shared.shared_store.SharedBackend`.

    Parameters
    ----------
    url : str
        A URL of fsspec: ``s3://bucket/prefix``.

    Raises
    ------
    StoreError
        The package for it is not installed (JP414).
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = _opened(url)
        self._put: set[str] = set()
        self._writable: bool | None = None

    def prepare(self, *, make: bool) -> None:
        """Check whether there is a store, or create it.

        Raises
        ------
        StoreError
            It cannot be reached or read (JP401), cannot be written (JP402), or was written by a newer version (JP406).
        """
        try:
            content = self._files.cat_file(self._at(FORMAT_FILE))
        except FileNotFoundError:
            if make:
                with self._putting("a store"):
                    self._files.pipe_file(self._at(FORMAT_FILE), format_document())
            return
        except Exception as error:
            # Credentials may have been corrected in a file since; a cached connection would keep the wrong ones.
            _connected.cache_clear()
            suggestion = f"look at its address and at your credentials, {OTHER_STORE_HINT}"
            raise unopenable_error(self.url, _first_line(error), suggestion) from error
        self._check(content)

    def _check(self, content: bytes) -> None:
        try:
            version, writer = read_format(content)
        except ValueError:
            raise unopenable_error(
                self.url, f"its `{FORMAT_FILE}` is none", f"look at what is there, {OTHER_STORE_HINT}"
            ) from None
        if version > FORMAT:
            raise newer_format_error(self.url, version, writer)

    def format_file(self) -> bytes | None:
        """Return the content of the format file; None if there is none.

        Raises
        ------
        OSError
            It cannot be reached or read.
        """
        with _reading():
            try:
                return bytes(self._files.cat_file(self._at(FORMAT_FILE)))
            except FileNotFoundError:
                return None

    def put_format(self) -> None:
        """Write a format file of the newest format.

        Raises
        ------
        StoreError
            It cannot be written (JP402).
        """
        with self._putting("its format"):
            self._files.pipe_file(self._at(FORMAT_FILE), format_document())

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of every file in the sub-folders of ``records`` or ``blobs``, a sub-folder at a time.

        Raises
        ------
        OSError
            A list cannot be read.
        """
        for subfolder in self._names(folder):
            if subfolder["type"] == "directory":
                path = f"{folder}/{subfolder['name'].rstrip('/').rpartition('/')[2]}"
                for entry in self._names(path):
                    if entry["type"] == "file":
                        yield entry["name"].rpartition("/")[2], int(entry["size"] or 0)

    def _names(self, folder: str) -> list[dict[str, Any]]:
        with _reading():
            try:
                entries = self._files.ls(self._at(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return []
        return sorted(entries, key=lambda entry: str(entry["name"]))

    def is_writable(self) -> bool:
        """Tell whether the user has the right to write; other problems show when something is written."""
        if self._writable is None:
            self._writable = self._can_write()
        return self._writable

    def record(self, key: str) -> bytes | None:
        """Return the file of the record of `key`; None if there is none.

        Raises
        ------
        OSError
            It cannot be read, or is of no sensible size.
        """
        with _reading():
            try:
                # One byte more than allowed is asked for, so that a huge object is refused without being downloaded.
                content = bytes(self._files.cat_file(self._at(step_record.path_of(key)), end=MAX_RECORD_BYTES + 1))
            except FileNotFoundError:
                return None
        if len(content) > MAX_RECORD_BYTES:
            raise OSError(f"it is larger than {MAX_RECORD_BYTES:,} bytes")
        return content

    def traces(self, key: str) -> list[str]:
        """Return the keys of the records that differ from `key` by their trace only, the newest object first.

        Raises
        ------
        OSError
            The list cannot be read.
        """
        entries = self._names(os.path.dirname(step_record.path_of(key)))
        times = {entry["name"]: str(next(filter(None, map(entry.get, _TIMES)), "")) for entry in entries}
        names = sorted(times, key=lambda name: times[name], reverse=True)
        return step_record.trace_names(key, names)

    def remove_record(self, key: str) -> None:
        """Remove the record of `key`, if there is one and the user has the right."""
        with contextlib.suppress(Exception):
            self._files.rm_file(self._at(step_record.path_of(key)))

    def fetch(self, digest: str, target: Path) -> bool:
        """Copy the blob of `digest` to the new file `target`; False if there is none.

        Raises
        ------
        OSError
            It cannot be read, or `target` cannot be written.
        """
        with _reading():
            try:
                source = self._files.open(self._at(blobs.path_of(digest)), "rb", block_size=1 << 23)
            except FileNotFoundError:
                return False
            with source, create(target) as file:
                # 8 MB pieces: a blob may be larger than memory, and each piece costs a request.
                while piece := source.read(1 << 23):
                    file.write(piece)
        return True

    def put_record(self, key: str, content: bytes) -> None:
        """Write the record of `key`.

        Raises
        ------
        StoreError
            It cannot be put (JP402).
        """
        with self._putting("a record"):
            self._files.pipe_file(self._at(step_record.path_of(key)), content)
        # Objects are checked once for each result; before the next one, a clean-up may have removed them.
        self._put.clear()

    def has_blob(self, digest: str) -> bool:
        """Tell whether there is an intact blob of `digest`, by reading all of it."""
        return self._is_unharmed(self._at(blobs.path_of(digest)), digest)

    def put_blob(self, digest: str, path: Path) -> None:
        """Copy the file `path` to the blob of `digest`, unless an intact blob is there.

        Raises
        ------
        StoreError
            It cannot be put (JP402).
        """
        target = self._at(blobs.path_of(digest))
        if digest in self._put:
            return
        with self._putting(f"`{path.name}`"):
            # An object of the right name may hold wrong bytes that another user put there: existence is not enough.
            if not self._is_unharmed(target, digest):
                self._files.put_file(str(path), target)
        self._put.add(digest)

    def leases(self, folder: LocalFolder) -> ClaimedLeases:
        """Return leases for which processes of all machines compete."""
        return ClaimedLeases(folder, BucketLeaseBackend(self._files, self._at("leases")))

    def _can_write(self) -> bool:
        """Tell whether the user may write, by an exclusive creation of the format file, which exists and stays."""
        try:
            self._files.pipe_file(self._at(FORMAT_FILE), format_document(), mode="create")
        except Exception as error:  # noqa: BLE001 - it exists, or whatever the library of a place raises
            # Any other error, such as FileExistsError or an unsupported mode, does not prove that writing is
            # impossible.
            if _is_forbidden(error):
                logger.info("the store %s is only read: %s", self.url, _first_line(error))
                return False
        return True

    def _is_unharmed(self, path: str, digest: str) -> bool:
        try:
            with self._files.open(path, "rb") as file:
                return digest_open(file, path, None, algorithm_of(digest)) == digest
        except Exception:  # noqa: BLE001 - what cannot be read is put again
            return False

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    @contextmanager
    def _putting(self, item: str) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            _connected.cache_clear()
            raise StoreError(_unwritable(self.url, item, error)) from error


class BucketStore(SharedStore):
    """A local store in front of a bucket; fsspec chooses its file system by the scheme of the URL."""

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True) -> BucketStore:
        """Open the store at `url`.

        Parameters
        ----------
        url : str
            For instance ``s3://bucket/prefix``.
        create : bool
            Create the store when there is none.

        Raises
        ------
        StoreError
            A package is missing (JP411, JP414); the user has no key (JP412); it cannot be reached (JP401) or written
            (JP402), or was written by a newer version (JP406).
        """
        url = str(url).rstrip("/")
        backend = BucketBackend(url)
        trust = TrustPolicy.of_user()
        backend.prepare(make=create)
        root = cache_folder(url)
        require_private_cache(root, None)
        Store.open(root).close()
        store = cls(root, url, backend, trust)
        store.records.drop_untrusted()
        store.leases = backend.leases(store.folder)
        return store


@contextmanager
def _reading() -> Iterator[None]:
    """Turn all errors of a cloud library into an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(_first_line(error)) from error


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of `url` and the path in it; connections are cached for each process and environment."""
    return _connected(url, os.getpid(), frozenset(os.environ.items()))


@lru_cache(maxsize=4)
def _connected(url: str, process: int, environment: frozenset[tuple[str, str]]) -> tuple[Any, str]:  # noqa: ARG001
    # Process and environment are part of the cache key: connections and the threads of fsspec do not survive a fork,
    # and the environment holds credentials.
    scheme = url.partition(":")[0]
    try:
        from fsspec.core import url_to_fs

        # fsspec caches listings and instances: records of other machines and new credentials would not be seen.
        files, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except (ImportError, ValueError) as error:
        raise StoreError(_no_package(scheme, error)) from error
    if isinstance(getattr(files, "retries", None), int):
        # The library below retries each of these several times as well, with a wait every time.
        files.retries = min(files.retries, _RETRIES)
    return files, str(root).rstrip("/")


def _first_line(error: BaseException) -> str:
    """Return the message of an error, in a single line and without its cause."""
    with contextlib.suppress(IndexError):
        return str(error).strip().splitlines()[0][:300].rstrip(".")
    return type(error).__name__


def _is_forbidden(error: Exception) -> bool:
    """Tell whether the user has no right to write; expired credentials, for instance, do not count."""
    # s3fs raises PermissionError for expired tokens, too; the code of the service tells them apart.
    response = getattr(error.__cause__, "response", None) or {}
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    return isinstance(error, PermissionError) and code in ("", "AccessDenied")


def _no_package(scheme: str, error: Exception) -> Diagnostic:
    package = _PACKAGES.get(scheme)
    suggestion = (
        f"install it: `pip install 'jupyter-pipelines[remote]' {package}`"
        if package
        else f"look at it, {OTHER_STORE_HINT}"
    )
    return Diagnostic(
        code="JP414",
        message=f"stores at `{scheme}:` cannot be opened: {_first_line(error)}",
        suggestion=suggestion,
    )


def _unwritable(url: str, item: str, error: Exception) -> Diagnostic:
    return Diagnostic(
        code="JP402",
        message=f"the store `{url}` cannot be written: {_first_line(error)}",
        suggestion=f"see that it answers and that you may write there, {OTHER_STORE_HINT}",
        notes=(f"what was to be put: {item}, by process {os.getpid()}",),
    )
