"""The file system of a store: a folder reached by relative paths only.

The methods of :class:`FileSystem` have the names of fsspec's. :class:`LocalFolder` is the local one. Nothing
appears under its final name before every byte of it is on the disk: it is written to ``tmp/``, flushed, renamed, and
the folder that holds the name is flushed, too.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.files.os_errors import unopenable_error, unreadable_error, writing
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity, parse_token
from jupyter_pipelines.storage.files.stat_signature import StatSignature

logger = logging.getLogger(__name__)
TEMPORARY = "tmp"
QUARANTINE = "aside"
DAY = 86_400.0
_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_MAX_THREADS = 16
# A link inside the store could redirect a read or write to a file outside it; O_NOFOLLOW refuses it at open.
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)
"""Without it, opening a named pipe that lies where a file is expected blocks until it has a writer."""


class FileSystem(Protocol):
    """The file operations that a store needs; paths are relative, with ``/``."""

    def open(self, path: str) -> BinaryIO:
        """Open the file at `path` for reading."""

    def exists(self, path: str) -> bool:
        """Tell whether there is something at `path`."""

    def ls(self, path: str) -> list[str]:
        """Return the names in the folder `path`, sorted; nothing when there is no such folder."""

    def put(self, local: Path, path: str, *, mode: int = _FILE_MODE) -> None:
        """Make the local file appear at `path`, whole or not at all; the local file is used up."""

    def mv(self, source: str, target: str) -> None:
        """Rename `source` to `target`."""

    def rm(self, path: str) -> None:
        """Remove the file or folder at `path`; nothing happens when there is none."""


class LocalFolder:
    """A local folder as the file system of a store.

    Parameters
    ----------
    root : Path
        The folder; it need not exist before something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._real = os.path.realpath(root)

    def locate(self, path: str) -> Path:
        """Return where `path` is.

        Raises
        ------
        StoreError
            A folder on the way is a link that leads out of the store (JP401).
        """
        target = self.root / _checked_path(path)
        # The last component may be a link: it is refused at open by O_NOFOLLOW, and replaced or removed as a link.
        parent = os.path.realpath(target.parent)
        if parent != self._real and not parent.startswith(self._real + os.sep):
            raise unopenable_error(
                self.root,
                f"`{target.parent}` is a link that leads out of it",
                f"remove the link: rm {target.parent}",
                (f"it leads to {parent}",),
            )
        return target

    def open(self, path: str) -> BinaryIO:
        """Open the file at `path` for reading; a link is refused with an OSError."""
        handle = os.open(self.locate(path), os.O_RDONLY | _NO_LINKS | _NO_WAITING)
        # Checked on the open handle: the path may be exchanged between a stat and the open.
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise IsADirectoryError(f"not a file: {path}")
        return os.fdopen(handle, "rb")

    def read(self, path: str) -> bytes:
        """Return the bytes of the file at `path`."""
        with self.open(path) as file:
            return file.read()

    def exists(self, path: str) -> bool:
        """Tell whether `path` exists; a broken link counts."""
        return os.path.lexists(self.locate(path))

    def device(self) -> int:
        """Return the device number of the store's file system; 0, an unknown device, if it cannot be read."""
        try:
            return self.root.stat().st_dev
        except OSError:
            return 0

    def mark(self, name: str) -> StatSignature | None:
        """Return the stat signature of the file with this absolute name.

        None if the file is missing, or if it or its folder is a link or of a special kind: those take a real open.
        """
        return self.marks([name]).get(name)

    def marks(self, names: Iterable[str]) -> dict[str, StatSignature]:
        """Return :meth:`mark` of many files, without those that have none; each folder is checked only once."""
        plain: dict[str, bool] = {}
        marks = {}
        for name in names:
            folder = name.rpartition("/")[0]
            if folder not in plain:
                plain[folder] = _status_if(stat.S_ISDIR, folder) is not None
            status = _status_if(stat.S_ISREG, name) if plain[folder] else None
            if status is not None:
                marks[name] = StatSignature.of(status)
        return marks

    def ls(self, path: str) -> list[str]:
        """Return the names in the folder `path`, sorted; nothing when it cannot be read."""
        try:
            return self.names(path)
        except StoreError:
            return []

    def names(self, path: str) -> list[str]:
        """Return the names in the folder `path`, for callers that remove what is not among them.

        Raises
        ------
        StoreError
            The folder is there and cannot be read (JP401).
        """
        try:
            folder = self.locate(path + "/x").parent
        except StoreError:
            return []  # a link that leads out of the store: nothing behind it is ever read
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise unreadable_error(error, self.root, f"`{path}`") from error

    def write(self, path: str, content: bytes, *, mode: int = _FILE_MODE, durable: bool = True) -> None:
        """Make a file with `content` appear at `path`, whole or not at all; `durable` as in :meth:`put_all`.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        temporary = self.temporary()
        try:
            with writing(self.root, f"`{path}`"), create(temporary) as file:
                file.write(content)
            self.put_all([(temporary, path)], mode=mode, durable=durable)
        finally:
            remove(temporary)

    def put(self, local: Path, path: str, *, mode: int = _FILE_MODE) -> None:
        """Make the file `local`, which is on the same disk, appear at `path`, whole or not at all.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        self.put_all([(local, path)], mode=mode)

    def put_all(self, files: Sequence[tuple[Path, str]], *, mode: int = _FILE_MODE, durable: bool = True) -> None:
        """Make several files appear; none has its name before the bytes of all are on the disk.

        Parameters
        ----------
        files : sequence of (Path, str)
            Each with the path at which it is to appear.
        mode : int
            Permission bits of the files.
        durable : bool
            Also wait until their names (folder entries) are on the disk; otherwise call :meth:`sync_names` later.

        Raises
        ------
        StoreError
            The store is full (JP403) or cannot be written (JP402).
        """
        targets = [(local, path, self.locate(path)) for local, path in files]
        what = f"`{files[0][1]}`" if len(files) == 1 else f"{len(files)} files"
        with writing(self.root, what):
            # The bytes are flushed before the rename: after a power cut a name must never refer to a file with holes.
            flush_files([local for local, _ in files], mode)
            make_folders([target.parent for _, _, target in targets], durable=durable)
            # os.replace is atomic for files but fails on a folder, so a folder in the way is quarantined first.
            for local, _, target in targets:
                self._clear_target(target)
                os.replace(local, target)
            if durable:
                run_parallel(sync_folder, list({target.parent for _, _, target in targets}))

    def sync_names(self, paths: Iterable[str]) -> None:
        """Wait until the names of files, and of the folders they are in, are on the disk.

        Raises
        ------
        StoreError
            The file system reports an error (JP402, JP403).
        """
        folders = {self.locate(path).parent for path in paths}
        with writing(self.root, f"{len(folders)} folders"):
            # With durable=False the folders themselves may be new: their entries in the parents need a flush, too.
            run_parallel(sync_folder, list({*folders, *(folder.parent for folder in folders), self.root}))

    def mv(self, source: str, target: str) -> None:
        """Rename `source` to `target`."""
        final = self.locate(target)
        with writing(self.root, f"`{target}`"):
            make_folder(final.parent)
            os.rename(self.locate(source), final)

    def rm(self, path: str) -> None:
        """Remove the file or folder at `path` at once; a link is removed, never followed."""
        target = self.locate(path)
        with writing(self.root, f"`{path}`"):
            if not target.is_dir() or target.is_symlink():
                target.unlink(missing_ok=True)
                return
            # Renamed first, so that no process sees half a folder; after a crash the sweep removes the rest from tmp/.
            trash = self.temporary()
            os.rename(target, trash)
        remove(trash)

    def temporary(self, suffix: str = "") -> Path:
        """Return a unique path in ``tmp/``, marked with its owner; its folder exists."""
        folder = self.locate(f"{TEMPORARY}/x").parent
        with writing(self.root, "a temporary file"):
            make_folder(folder)
        return folder / f"{ProcessIdentity.current().token()}.{secrets.token_hex(8)}{suffix}"

    def quarantine_path(self, path: str, why: str) -> None:
        """Move the file or folder at `path` to the quarantine folder ``aside/``; errors are ignored."""
        # Quarantined bytes are kept for inspection; the time and random digits let the same name come in again.
        name = f"{path.rpartition('/')[2]}.{time.time_ns()}.{secrets.token_hex(4)}"
        logger.info("quarantined %s of the store %s: %s", path, self.root, why)
        with contextlib.suppress(StoreError):
            self.mv(path, f"{QUARANTINE}/{name}")

    def sweep(self) -> None:
        """Remove temporary files of dead processes from ``tmp/``; errors are ignored."""
        for name in self.ls(TEMPORARY):
            path = self.root / TEMPORARY / name
            if _is_orphaned(path):
                remove(path)

    def _clear_target(self, target: Path) -> None:
        if target.is_dir() and not target.is_symlink():
            self.quarantine_path(target.relative_to(self.root).as_posix(), "a folder stands where a file belongs")


def create(path: Path) -> BinaryIO:
    """Create the file `path` with mode 0600 and open it for writing; it must not exist."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS, _FILE_MODE)
    return os.fdopen(handle, "wb")


def flush_files(paths: Sequence[Path], mode: int) -> None:
    """Set the mode of files and wait until their bytes are on the disk (fsync)."""

    def flush_file(path: Path) -> None:
        with _opened(path) as handle:
            # On the handle, not the path: the file is made read-only before it gets its final name.
            os.fchmod(handle, mode)
            os.fsync(handle)

    run_parallel(flush_file, paths)


def run_parallel(action: Callable[[Path], None], paths: Sequence[Path]) -> None:
    """Call `action` with several paths in parallel: concurrent fsync calls share one commit of the file system."""
    if len(paths) < 2:
        for path in paths:
            action(path)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(paths), _MAX_THREADS)) as pool:
        list(pool.map(action, paths))


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | _NO_LINKS)
    try:
        yield handle
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make the folder `path` and those above it, closed to other users, and wait until their names are on the disk."""
    make_folders([path])


def make_folders(paths: Iterable[Path], *, durable: bool = True) -> None:
    """Make several folders and those above them; wait for their names only if `durable`."""
    changed: dict[Path, None] = {}
    for path in dict.fromkeys(paths):
        _make_folder(path, changed)
    if durable:
        run_parallel(sync_folder, list(changed))


def _make_folder(path: Path, changed: dict[Path, None]) -> None:
    if path.is_dir():
        return
    _make_folder(path.parent, changed)
    try:
        path.mkdir(mode=_FOLDER_MODE)
    # Another process may have made the folder since the check.
    except FileExistsError:
        if not path.is_dir():
            raise
    changed[path.parent] = None


def sync_folder(path: Path) -> None:
    """Wait until the names in the folder `path` are on the disk."""
    # fsync of a folder makes its entries durable; POSIX does not promise that fsync of the file does so.
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(path: Path) -> None:
    """Remove a file or a folder with its contents; errors are ignored."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def age(path: Path) -> float:
    """Return seconds since the mtime of the file or folder; 0, which keeps callers from removing it, if unknown."""
    try:
        return max(0.0, time.time() - path.lstat().st_mtime)
    except OSError:
        return 0.0


def _is_orphaned(path: Path) -> bool:
    owner = parse_token(path.name)
    state = owner.state() if owner else "unknown"
    # Of a process on another machine or in another container only the age of the file is known.
    return state == "dead" or (state == "unknown" and age(path) > DAY)


def _checked_path(path: str) -> str:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") or "\0" in part or os.sep in part for part in parts):
        raise ValueError(f"not a path inside a store: {path!r}")
    return path


def _status_if(kind: Callable[[int], bool], name: str) -> os.stat_result | None:
    """Return the status of the file with this absolute name if it is of this kind and not a link."""
    try:
        status = os.lstat(name)
    except OSError:
        return None
    return status if kind(status.st_mode) else None
