"""The store: a folder with blobs, records, runs, leases and an index, and the interfaces to them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from jupyter_pipelines.errors import Diagnostic, StoreError, shell_path
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED_FORMAT
from jupyter_pipelines.storage.blobs.blobs import BlobStore, Condition
from jupyter_pipelines.storage.blobs.blobs import path_of as blob_path
from jupyter_pipelines.storage.blobs.digests import digest_files
from jupyter_pipelines.storage.blobs.manifests import digest_path, folder_contents
from jupyter_pipelines.storage.files.local_folder import QUARANTINE, TEMPORARY, LocalFolder, create, make_folder
from jupyter_pipelines.storage.files.os_errors import OTHER_STORE_HINT, unopenable_error, unwritable_error, writing
from jupyter_pipelines.storage.locks.leases import KeyLeases
from jupyter_pipelines.storage.records.index import INDEX_FILE as INDEX
from jupyter_pipelines.storage.records.index import StoreIndex
from jupyter_pipelines.storage.records.record_store import RecordStore
from jupyter_pipelines.storage.records.run_store import RunStore
from jupyter_pipelines.storage.signing.signatures import check_usable
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.step_record import path_of as record_path

SCHEMA = "jupyter-pipelines/store/"
FORMAT = 3
"""2: blobs may have BLAKE3 digests, marked in their file names. 3: records have traces. Older stores can be read, and
are marked with the newest format before the first run writes to them."""
FORMAT_FILE = "format.json"
FILE_FORMAT = "file"
FOLDER_FORMAT = "folder"
MANIFESTS = frozenset({FOLDER_FORMAT, GATHERED_FORMAT})
"""Formats of artifacts that name other artifacts."""
_OURS_LAST = (FORMAT_FILE, ".gitignore")
"""Removed after all others, so that a partly removed store is still recognised as a store."""
_OURS = frozenset({FORMAT_FILE, ".gitignore", "blobs", "records", "runs", "leases", "served", TEMPORARY, QUARANTINE})


class Store:
    """Where artifacts, step records and runs outlive the kernel.

    Get it by :func:`~jupyter_pipelines.storage.opening.open_store`.

    Parameters
    ----------
    root : Path
        The folder it lives in.

    Attributes
    ----------
    root : Path
        The folder it lives in.
    folder : LocalFolder
        File operations by relative paths.
    blobs, records, runs, leases : BlobStore, RecordStore, RunStore, KeyLeases
        Its contents.
    index : StoreIndex
        Cache; can be deleted at any time.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = LocalFolder(root)
        self.index = StoreIndex(root)
        self.blobs = BlobStore(self.folder, self.index)
        self.records = RecordStore(self.folder, self.index)
        self.runs = RunStore(self.folder)
        self.leases = KeyLeases(self.folder)

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True) -> Store:
        """Open the folder at `url` as a store, no matter which users can write to it.

        :func:`jupyter_pipelines.storage.opening.open_store` opens stores of every kind, and checks whose they are.

        Parameters
        ----------
        url : str or Path
            A folder, or a ``file:`` URL.
        create : bool
            Make the folder when there is none; otherwise a missing folder is an empty store.

        Raises
        ------
        StoreError
            There can be no store (JP401), it cannot be written (JP402), is full (JP403) or was written by a newer
            version (JP406).
        """
        store = cls(folder_of(url))
        store.prepare(make=create)
        return store

    @property
    def own(self) -> bool:
        """Whether only the user can write to the store; otherwise only records with a trusted signature are used."""
        return True

    @property
    def url(self) -> str:
        """URL that opens the same store in another process."""
        return str(self.root)

    def scratch(self, suffix: str = "") -> Path:
        """Make a private folder on the store's file system; it is removed after its process has ended.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        path = self.folder.temporary(suffix)
        with writing(self.root, "a temporary folder"):
            path.mkdir(mode=0o700)
        return path

    def flush(self, records: Iterable[StepRecord]) -> None:
        """Wait until records that were put with ``durable=False``, and their blobs, survive a power cut.

        Raises
        ------
        StoreError
            The file system reports an error (JP402, JP403).
        """
        stored_records = list(records)
        blobs = [blob_path(artifact.digest) for record in stored_records for artifact in record.outputs.values()]
        self.folder.sync_names([*blobs, *(record_path(record.key) for record in stored_records)])

    def check_writable(self) -> None:
        """Check that the store can be written, so that no step is computed in vain; update its format mark.

        Raises
        ------
        StoreError
            It is full (JP403) or cannot be written (JP402), or the user's key cannot be used (JP412).
        """
        check_usable()
        self.raise_format()
        path = self.folder.temporary()
        try:
            with writing(self.root, "an output"), create(path) as file:
                # A real write and fsync: quotas, full disks and read-only mounts do not show in permission bits.
                file.write(b"\0" * 4096)
                file.flush()
                os.fsync(file.fileno())
        finally:
            with contextlib.suppress(OSError):
                path.unlink()

    def raise_format(self) -> None:
        """Mark the store as one of the newest format, if it is marked as an older format.

        The contents stay as they are. Older versions of this package then refuse the store, instead of quarantining
        records and blobs of a format that they do not know.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        try:
            version, _ = read_format(self.folder.read(FORMAT_FILE))
        except (FileNotFoundError, ValueError):
            version = 0
        except OSError:
            return
        if version < FORMAT:
            self._write_format()

    def digest(self, path: Path) -> str:
        """Return the digest of the content of a file or folder of the user; unchanged files are not read twice.

        Raises
        ------
        OSError
            Something cannot be read.
        NotStorable
            A folder holds something that is neither file nor folder (JP205).
        """
        return digest_path(path, self.index)

    def folder_contents(self, path: Path) -> tuple[str, dict[str, str]]:
        """Return the digest of a folder of the user, and those of its files by path; for errors see :meth:`digest`."""
        return folder_contents(path, self.index)

    def digest_files(self, names: Iterable[str]) -> dict[str, str]:
        """Return the digests of the files with these names; what is no file, or cannot be read, is left out."""
        return digest_files(names, self.index)

    def intact(self, artifact: Artifact) -> Condition:
        """Return the condition of the bytes of `artifact`, for a folder the worst of its files.

        It is ``unknown`` where the hash algorithm is not installed; callers treat that as missing.
        """
        if artifact.format in MANIFESTS:
            return self.blobs.verify_folder(artifact.digest)
        return self.blobs.verify(artifact.digest)

    def intact_many(self, artifacts: Iterable[Artifact]) -> dict[Artifact, Condition]:
        """Return the condition of many artifacts; for those checked before, only the status of their files is read."""
        artifacts = list(artifacts)
        conditions = self.blobs.verify_many(dict.fromkeys(artifact.digest for artifact in artifacts))
        return {
            artifact: self.blobs.verify_folder(artifact.digest)
            if artifact.format in MANIFESTS
            else conditions[artifact.digest]
            for artifact in artifacts
        }

    def remove(self) -> bool:
        """Remove the files of the store, and tell whether its folder is removed, too; foreign files in it are kept.

        Raises
        ------
        StoreError
            The store cannot be written (JP402).
        """
        self.close()
        with writing(self.root, "the removal of the store"):
            for name in sorted(filter(_is_ours, os.listdir(self.root)), key=_OURS_LAST.count):
                path = self.root / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            if os.listdir(self.root):
                return False
            Path(os.path.realpath(self.root)).rmdir()
        return True

    def close(self) -> None:
        """Close the index; nothing else holds a resource."""
        self.index.close()

    def prepare(self, *, make: bool) -> None:
        """Check that the folder is a store and remove temporary files of ended processes, or make it a store.

        Raises
        ------
        StoreError
            See :meth:`open`.
        """
        if not self.exists():
            if make:
                self._make()
            return
        self.check_format(make=make)
        self.folder.sweep()

    def exists(self) -> bool:
        """Tell whether the folder is there.

        Raises
        ------
        StoreError
            It cannot be read, or is a file (JP401).
        """
        try:
            # A single call, since another process may be creating the folder at the same time.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                os.listdir(self.root)
                return True
            is_occupied = self._is_in_the_way()
        except OSError as error:
            raise unopenable_error(
                self.root, _os_reason(error), f"make the folder readable for you, {OTHER_STORE_HINT}"
            ) from error
        if is_occupied:
            raise unopenable_error(self.root, "there is a file of that name", f"move the file away, {OTHER_STORE_HINT}")
        return False

    def _is_in_the_way(self) -> bool:
        """Tell whether the path is occupied by a file or a broken link."""
        try:
            return not stat.S_ISDIR(os.lstat(self.root).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _make(self) -> None:
        try:
            make_folder(self.root)
        except FileExistsError as error:
            raise unopenable_error(
                self.root, "there is a file of that name", f"move the file away, {OTHER_STORE_HINT}"
            ) from error
        except NotADirectoryError as error:
            raise unopenable_error(
                self.root, "a folder above it is a file", f"give another folder: {OTHER_STORE_HINT}"
            ) from error
        except OSError as error:
            raise unwritable_error(error, self.root, "what a run makes") from error
        self._write_format()

    def check_format(self, *, make: bool) -> None:
        """Refuse a folder that is not a store or has a newer format; with `make`, write a missing format file.

        Raises
        ------
        StoreError
            See :meth:`open`.
        """
        try:
            version, writer = read_format(self.folder.read(FORMAT_FILE))
        except FileNotFoundError:
            self._claim_folder(make)
            return
        except OSError as error:
            raise unopenable_error(
                self.root, _os_reason(error), f"make the folder readable for you, {OTHER_STORE_HINT}"
            ) from error
        except ValueError:
            self._claim_folder(make)
            return
        if version > FORMAT:
            raise newer_format_error(self.root, version, writer)

    def _claim_folder(self, make: bool) -> None:
        """Make a folder without a format file a store, but only when no other files are in it."""
        try:
            # A crash between creating the folder and its format file leaves a folder with nothing but our own names.
            foreign_names = [name for name in sorted(os.listdir(self.root)) if not _is_ours(name)]
        except OSError as error:
            raise unopenable_error(
                self.root, _os_reason(error), f"make the folder readable for you, {OTHER_STORE_HINT}"
            ) from error
        if foreign_names:
            raise unopenable_error(
                self.root,
                "the folder holds other files and is not a store",
                "give a folder that is empty or does not exist, for instance "
                f"`--store {shell_path(str(self.root / '.pipelines'))}`",
                (f"found there: {', '.join(foreign_names[:5])}{' …' if len(foreign_names) > 5 else ''}",),
            )
        if make:
            with contextlib.suppress(OSError):
                self.root.chmod(0o700)
            self._write_format()

    def _write_format(self) -> None:
        # The format file last: it makes the folder a store, which must never be committed by accident.
        self.folder.write(".gitignore", b"*\n")
        self.folder.write(FORMAT_FILE, format_document())


def format_document() -> bytes:
    """Return the content of the format file, which marks a folder as a store."""
    return json.dumps({"schema": f"{SCHEMA}{FORMAT}", "writer": _writer()}).encode()


def folder_of(url: str | Path) -> Path:
    """Return the folder that a path or a ``file:`` URL names."""
    text = os.fspath(url)
    if isinstance(url, str) and text.lower().startswith("file:"):
        text = unquote(urlsplit(text).path)
    return Path(os.path.abspath(os.path.expanduser(text)))


def read_format(content: bytes) -> tuple[int, str]:
    """Return the format that :func:`format_document` names, and the version of this package that wrote it.

    Raises
    ------
    ValueError
        `content` names no format.
    """
    try:
        document = json.loads(content)
        prefix, _, number = document["schema"].rpartition("/")
        if f"{prefix}/" != SCHEMA:
            raise ValueError(f"it is of another kind: {document['schema']}")
        return int(number), str(document.get("writer", "unknown"))
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"it names no format: {error!r}") from error


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(INDEX)


def _writer() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jupyter-pipelines")
    except PackageNotFoundError:
        return "unknown"


def _os_reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()


def newer_format_error(address: Path | str, version: int, writer: str) -> StoreError:
    """Return the error to raise for a store of a format that this version does not know."""
    return StoreError(
        Diagnostic(
            code="JP406",
            message=f"the store `{address}` was written by a newer version of jupyter-pipelines",
            suggestion=f"update: `pip install -U jupyter-pipelines`, {OTHER_STORE_HINT}",
            notes=(f"its format is {version}, this version reads up to {FORMAT}", f"written by {writer}"),
        )
    )
