"""A shared folder that several users write to, as the backend of a shared store.

Files are made with the permissions of the folder itself, so that its users can read them. Contents are untrusted:
links, pipes and folders in the place of files are refused, and so are records of more than ``MAX_RECORD_BYTES``.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage import step_record
from jupyter_pipelines.storage.blobs import blobs
from jupyter_pipelines.storage.blobs.digests import algorithm_of, digest_open
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.files.local_folder import TEMPORARY, LocalFolder, create, remove, sync_folder
from jupyter_pipelines.storage.files.os_errors import writing
from jupyter_pipelines.storage.store import FORMAT_FILE, Store, format_document

MAX_RECORD_BYTES = 64 << 20
"""Largest size of a record's file; a larger file is not a record."""
_NEW_FOLDER_MODE = 0o2770
"""Mode of a new folder: open to its group; setgid, so that files in it belong to the group."""
_FILE_MODE = 0o644
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class SharedFolder:
    """Records and blobs in a folder of several users.

    See :class:`jupyter_pipelines.storage.shared.shared_store.SharedBackend`.

    Parameters
    ----------
    root : Path
        The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folder = LocalFolder(root)

    def prepare(self, *, make: bool) -> None:
        """Check that the folder is a store, or make it a store.

        Raises
        ------
        StoreError
            It is none (JP401), cannot be written (JP402), or was written by a newer version (JP406).
        """
        if make and not os.path.lexists(self.root):
            with writing(self.root, "a shared store"):
                self.root.mkdir(parents=True)
                # mkdir applies the umask and ignores setgid on some systems.
                self.root.chmod(_NEW_FOLDER_MODE)
        Store.open(self.root, create=False).close()
        if make and self.is_writable() and not os.path.lexists(self.root / FORMAT_FILE):
            with writing(self.root, "a shared store"):
                self._put_bytes(b"*\n", ".gitignore")
                self._put_bytes(format_document(), FORMAT_FILE)

    def format_file(self) -> bytes | None:
        """Return the content of the format file; None if there is none.

        Raises
        ------
        OSError
            It cannot be read.
        """
        try:
            with self._open(FORMAT_FILE) as file:
                return file.read(MAX_RECORD_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put_format(self) -> None:
        """Write a format file of the newest format.

        Raises
        ------
        StoreError
            The folder is full (JP403) or cannot be written (JP402).
        """
        with writing(self.root, f"`{FORMAT_FILE}`"):
            self._put_bytes(format_document(), FORMAT_FILE)

    def files(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of every file in the sub-folders of ``records`` or ``blobs``, a sub-folder at a time.

        Raises
        ------
        OSError, StoreError
            A folder cannot be read.
        """
        for subfolder in self._folder.names(folder):
            for name in self._folder.names(f"{folder}/{subfolder}"):
                status = self._folder.locate(f"{folder}/{subfolder}/{name}").lstat()
                if stat.S_ISREG(status.st_mode):
                    yield name, status.st_size

    def is_writable(self) -> bool:
        """Tell whether the user has the right to write to the folder."""
        return os.access(self.root, os.W_OK | os.X_OK)

    def record(self, key: str) -> bytes | None:
        """Return the file of the record of `key`; None if there is none.

        Raises
        ------
        OSError
            It cannot be read, or is no file of a sensible size.
        """
        try:
            with self._open(step_record.path_of(key)) as file:
                content = file.read(MAX_RECORD_BYTES + 1)
        except FileNotFoundError:
            return None
        if len(content) > MAX_RECORD_BYTES:
            raise OSError(f"it is larger than {MAX_RECORD_BYTES:,} bytes")
        return content

    def traces(self, key: str) -> list[str]:
        """Return the keys of the records that differ from `key` by their trace only, the newest file first.

        Raises
        ------
        OSError, StoreError
            The folder cannot be read.
        """
        folder = os.path.dirname(step_record.path_of(key))
        kept = step_record.trace_names(key, self._folder.names(folder))
        times = {name: self._folder.locate(step_record.path_of(name)).lstat().st_mtime_ns for name in kept}
        return sorted(kept, key=lambda name: times[name], reverse=True)

    def remove_record(self, key: str) -> None:
        """Remove the record of `key`, if there is one and the user has the right."""
        with contextlib.suppress(OSError, StoreError):
            self._folder.rm(step_record.path_of(key))

    def fetch(self, digest: str, target: Path) -> bool:
        """Copy the blob of `digest` to the new file `target`; False if there is none.

        Raises
        ------
        OSError
            It cannot be read, or `target` cannot be written.
        """
        try:
            source = self._open(blobs.path_of(digest))
        except FileNotFoundError:
            return False
        with source, create(target) as file:
            filesystem_features.copy(source, file)
        return True

    def put_record(self, key: str, content: bytes) -> None:
        """Write the file of a record atomically.

        Raises
        ------
        StoreError
            The folder is full (JP403) or cannot be written (JP402).
        """
        with writing(self.root, "a record"):
            self._put_bytes(content, step_record.path_of(key))

    def has_blob(self, digest: str) -> bool:
        """Tell whether there is an intact blob of `digest`, by reading all of it."""
        return self._is_unharmed(blobs.path_of(digest), digest)

    def put_blob(self, digest: str, path: Path) -> None:
        """Copy the file `path` to the blob of `digest`, unless an intact blob is there.

        Raises
        ------
        StoreError
            The folder is full (JP403) or cannot be written (JP402).
        """
        target = blobs.path_of(digest)
        if self._is_unharmed(target, digest):
            return
        with writing(self.root, f"`{path.name}`"), path.open("rb") as source:
            self._publish(target, blobs.BLOB_MODE, lambda file: filesystem_features.copy(source, file))

    def _open(self, path: str) -> BinaryIO:
        """Open a regular file for reading; a link or a pipe is refused without blocking."""
        handle = os.open(self._folder.locate(path), _READ_FLAGS)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(f"not a file: {path}")
        return os.fdopen(handle, "rb")

    def _is_unharmed(self, path: str, digest: str) -> bool:
        """Tell whether there is a blob with the right bytes; without the digest cache, as any user can set mtimes."""
        try:
            with self._open(path) as file:
                return digest_open(file, str(self.root / path), None, algorithm_of(digest)) == digest
        except OSError:
            return False

    def _put_bytes(self, content: bytes, path: str) -> None:
        self._publish(path, _FILE_MODE, lambda file: file.write(content))

    def _publish(self, path: str, mode: int, write: Callable[[BinaryIO], object]) -> None:
        """Write a file atomically: its bytes and then its name are flushed to the disk."""
        target = self._folder.locate(path)
        self._make(target.parent)
        temporary = self._temporary()
        try:
            with create(temporary) as file:
                write(file)
                file.flush()
                # By handle, not by name: another user could exchange the file under that name.
                os.fchmod(file.fileno(), mode & (0o700 | self._rights()))
                os.fsync(file.fileno())
            self._clear_target(target)
            # Replaces, and does not keep, what another user put under this name.
            os.replace(temporary, target)
        finally:
            remove(temporary)
        sync_folder(target.parent)

    def _clear_target(self, target: Path) -> None:
        if target.is_dir() and not target.is_symlink():
            trash = self._temporary()
            os.rename(target, trash)
            remove(trash)

    def _temporary(self) -> Path:
        """Return a unique temporary path; it is removed after its process has ended."""
        self._make(self.root / TEMPORARY)
        return self._folder.temporary()

    def _make(self, folder: Path) -> None:
        """Make a folder and those above it, with the permissions of the store's folder."""
        if folder.is_dir():
            return
        self._make(folder.parent)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(self._rights())
            sync_folder(folder.parent)

    def _rights(self) -> int:
        return stat.S_IMODE(self.root.stat().st_mode)
