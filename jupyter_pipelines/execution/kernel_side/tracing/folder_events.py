"""File system events of the folders of a project, from fanotify or inotify: accesses by any process, in any language.

fanotify tells which events this process caused, so that files opened by other programs do not count for the step.
Where it is not available (before Linux 5.13, some containers, some file systems), inotify reports the same events
without the process. Other systems have neither.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
import sys
from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

from jupyter_pipelines.execution.kernel_side.tracing import compiled_copies
from jupyter_pipelines.execution.kernel_side.tracing.file_marks import status_of

MAX_FOLDERS = 50_000
"""Largest number of folders that are watched; in a larger project the step is not traced."""

_SKIPPED = frozenset(
    """
    .git .hg .svn .venv .tox .nox node_modules __pycache__ .ipynb_checkpoints .mypy_cache .pytest_cache .ruff_cache
    """.split()
)
"""Names of folders whose content never counts."""

_BUFFER = 1 << 18
_AT_FDCWD = -100
_OPEN, _MODIFY, _CREATE, _DELETE, _MOVED_TO, _ONDIR = 0x20, 0x2, 0x100, 0x200, 0x80, 0x40000000
_CLOSED = 0x10
_MASK = _OPEN | _MODIFY | _CREATE | _DELETE | _MOVED_TO | _CLOSED
_OVERFLOW = 0x4000
# FAN_REPORT_DIR_FID | FAN_REPORT_NAME: fanotify without privileges (Linux 5.13) requires reports by file handle.
_WITH_NAMES, _NONBLOCK, _CLOEXEC = 0xC00, 2, 1
_ON_CHILD = 0x08000000
_HANDLE_BYTES = 128
_HANDLE_FID, _FOLLOW = 0x200, 0x400
_FANOTIFY_EVENT = struct.Struct("=IBBHQii")
_INOTIFY_EVENT = struct.Struct("=iIII")
_HANDLE = struct.Struct("=Ii")
_ONLYDIR = 0x01000000


class FolderEvent(NamedTuple):
    """An event of a file or folder.

    Parameters
    ----------
    path : str
        Absolute path as seen from the project, not resolved through links.
    is_folder : bool
        The path is a folder; to open a folder means to list it.
    opened, changed, created, closed : bool
        Kinds of access, in no known order: the system merges events of one file until they are read. `closed` means
        closed after reading.
    own : bool or None
        This process caused the event; None where the system does not tell.
    process : int
        Id of the process that caused the event; 0 where the system does not tell.
    """

    path: str
    is_folder: bool
    opened: bool
    changed: bool
    created: bool
    closed: bool
    own: bool | None
    process: int = 0


class EventsLost(Exception):
    """The system's queue of events overflowed."""


def is_skipped(name: str) -> bool:
    """Tell whether the content of folders called `name` never counts."""
    return name in _SKIPPED


class FolderWatch:
    """Watches folders with their subfolders; links to folders are followed.

    Parameters
    ----------
    skipped : frozenset of str
        Real paths of folders that are left out, with their subfolders.

    Attributes
    ----------
    unwatched : str
        Why the watch is incomplete; empty if it is complete.
    links : list of (str, str)
        The symbolic links in the folders, each with its target.
    copies : list of str
        The folders of compiled copies. They are watched: Python does not open the source of what it has compiled.
    """

    def __init__(self, skipped: frozenset[str]) -> None:
        self._skipped = skipped
        self._system = _system()
        self._real: set[str] = set()
        self._listed_here: set[str] = set()
        self._number = os.getpid()
        self.unwatched = "" if self._system else "this system does not tell which files are opened"
        self.links: list[tuple[str, str]] = []
        self.copies: list[str] = []

    def add(self, root: str) -> None:
        """Watch a folder with its subfolders, or a file; where nothing can be watched, only find `copies`.

        The watch lists the folder itself and expects the event: some file systems accept a watch and report nothing.
        """
        if not os.path.isdir(root):
            folder, name = os.path.split(root)
            self._mark(folder, {name: root})
            return
        self._walk([root])
        reported = self.drain()
        if reported is not None and root not in reported and not self.unwatched:
            self.unwatched = f"the file system of `{root}` does not tell which files are opened"

    def drain(self) -> set[str] | None:
        """Read and discard all events; return their paths, or None if the queue overflowed."""
        paths: set[str] = set()
        lost = False
        while True:
            try:
                paths |= {event.path for event in self.read()}
            except EventsLost:
                lost = True
                continue
            return None if lost else paths

    def read(self, known: Container[str] = ()) -> list[FolderEvent]:
        """Return the events since the last call.

        Parameters
        ----------
        known : container of str
            Paths that are recorded as read already: events of further opening are dropped.

        Raises
        ------
        EventsLost
            The system's queue overflowed.
        """
        if self._system is None or os.getpid() != self._number:
            return []
        listed_here, self._listed_here = self._listed_here, set()
        events = [event for event in self._system.events(known) if not _is_listing(event, listed_here)]
        # A mark covers one folder, not its subfolders: each new folder needs its own.
        for event in events:
            if event.is_folder and event.created and event.path not in self._real:
                before = set(self._real)
                self._walk([event.path])
                self._listed_here |= self._real - before
        return events

    def _walk(self, folders: list[str]) -> None:
        pending = [(folder, os.path.realpath(folder)) for folder in folders]
        while pending:
            following = []
            for folder, real in pending:
                if real in self._real or real in self._skipped:
                    continue
                if len(self._real) >= MAX_FOLDERS:
                    self.unwatched = f"there are more than {MAX_FOLDERS} folders"
                    return
                self._real.add(real)
                if self._mark(folder):
                    following += self._below(folder, real)
            pending = following

    def _mark(self, folder: str, names: dict[str, str] | None = None) -> bool:
        """Watch a folder, if anything can be watched; tell whether the folder can be entered."""
        if self._system is None:
            return True
        try:
            self._system.watch(folder, names)
        except OSError as error:
            # Gone, or closed to this user: the step cannot read anything there either.
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                return False
            self._fall_back(folder, names, error)
        return True

    def _fall_back(self, folder: str, names: dict[str, str] | None, error: OSError) -> None:
        """Switch to inotify for all folders if fanotify is refused for one; if that is refused, too, watch nothing."""
        known = self._system.folders() if self._system else ()
        fanotify = isinstance(self._system, _FanotifyQueue)
        if self._system is not None:
            self._system.close()
        self._system = None
        try:
            if not fanotify:
                raise error
            self._system = _InotifyQueue()
            for path, aliases in [*known, (folder, names)]:
                self._system.watch(path, aliases)
        except OSError as refusal:
            self._system = None
            self.unwatched = f"`{folder}` cannot be watched: {refusal.strerror or refusal}"

    def _below(self, folder: str, real: str) -> list[tuple[str, str]]:
        """Return the subfolders of a folder, each with its path without symbolic links.

        The target of a link to a file is watched in its own folder.
        """
        folders = []
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == compiled_copies.FOLDER:
                    self.copies.append(entry.path)
                elif entry.name in _SKIPPED:
                    continue
                # To resolve each path with its parents takes most of the time of a walk.
                resolved = f"{real}/{entry.name}"
                if entry.is_symlink():
                    resolved = os.path.realpath(entry.path)
                    self.links.append((entry.path, resolved))
                # Virtual environments are left out: installed packages count by their versions.
                if entry.is_dir() and status_of(f"{entry.path}/pyvenv.cfg") is None:
                    folders.append((entry.path, resolved))
                elif entry.is_symlink():
                    self._watch_target(entry.path, resolved)
        return folders

    def _watch_target(self, link: str, target: str) -> None:
        parent, name = os.path.split(target)
        if os.path.isfile(target) and parent not in self._real:
            self._mark(parent, {name: link})


def _is_listing(event: FolderEvent, folders: set[str]) -> bool:
    """Tell whether an event is the listing of one of `folders`, without a change in it."""
    is_listing = event.is_folder and event.opened and not event.changed
    return bool(folders) and is_listing and os.path.realpath(event.path) in folders


class _WatchedFolder:
    """A watched folder; with aliases, only these of its files are of interest, each under another path."""

    __slots__ = ("aliases", "path")

    def __init__(self, path: str, aliases: dict[str, str] | None) -> None:
        self.path = path
        self.aliases = aliases

    def path_of(self, name: str) -> str | None:
        if self.aliases is None:
            return self.path if name in ("", ".") else f"{self.path}/{name}"
        return self.aliases.get(name)

    def merge(self, path: str, aliases: dict[str, str] | None) -> None:
        if aliases is None:
            self.path, self.aliases = path, None
        elif self.aliases is not None:
            self.aliases = {**self.aliases, **aliases}


class _EventQueue:
    """Common part of fanotify and inotify: the descriptor to read, and folders by their identity in events.

    With the id of this process, events tell which process caused them; without (0), they do not.
    """

    def __init__(self, descriptor: int, process: int = 0) -> None:
        self.descriptor = descriptor
        self._process = process
        self._folders: dict[Any, _WatchedFolder] = {}

    def folders(self) -> list[tuple[str, dict[str, str] | None]]:
        return [(folder.path, folder.aliases) for folder in self._folders.values()]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def blocks(self) -> Iterator[bytes]:
        """Yield blocks of events until the queue is empty."""
        while True:
            try:
                yield os.read(self.descriptor, _BUFFER)
            except BlockingIOError:
                return
            except OSError:
                return

    def _note(self, key: Any, path: str, aliases: dict[str, str] | None) -> None:
        known = self._folders.get(key)
        if known is None:
            self._folders[key] = _WatchedFolder(path, aliases)
        else:
            known.merge(path, aliases)

    def _event(self, key: Any, mask: int, name: bytes, process: int, known: Container[str]) -> FolderEvent | None:
        """Return an event; None if it is in no watched folder, or only opens or closes a file of `known`."""
        folder = self._folders.get(key)
        path = folder.path_of(os.fsdecode(name)) if folder else None
        if path is None or (not mask & ~(_OPEN | _CLOSED) and path in known):
            return None
        return FolderEvent(
            path=path,
            is_folder=bool(mask & _ONDIR),
            opened=bool(mask & _OPEN),
            changed=bool(mask & (_MODIFY | _CREATE | _DELETE | _MOVED_TO)),
            created=bool(mask & _CREATE),
            closed=bool(mask & _CLOSED),
            own=process == self._process if self._process else None,
            process=process,
        )


class _FanotifyQueue(_EventQueue):
    """Events with the process that caused them."""

    def __init__(self) -> None:
        self._add, self._mask = ctypes.c_uint(1), ctypes.c_uint64(_MASK | _ONDIR | _ON_CHILD)
        flags = ctypes.c_uint(_CLOEXEC | _NONBLOCK | _WITH_NAMES)
        super().__init__(_checked(_libc().fanotify_init(flags, ctypes.c_uint(os.O_RDONLY))), os.getpid())

    def watch(self, path: str, aliases: dict[str, str] | None) -> None:
        encoded = os.fsencode(path)
        _checked(_libc().fanotify_mark(self.descriptor, self._add, self._mask, _AT_FDCWD, encoded))
        self._note(_handle(encoded), path, aliases)

    def events(self, known: Container[str]) -> Iterator[FolderEvent]:
        for data in self.blocks():
            start = 0
            while start < len(data):
                length, _, _, header, mask, _, process = _FANOTIFY_EVENT.unpack_from(data, start)
                if mask & _OVERFLOW:
                    raise EventsLost
                event = self._parse(data, start + header, start + length, mask, process, known)
                if event is not None:
                    yield event
                start += length

    def _parse(
        self, data: bytes, start: int, end: int, mask: int, process: int, known: Container[str]
    ) -> FolderEvent | None:
        """Return the event whose information stands between `start` and `end`; None if it does not matter."""
        if end - start < 20:
            return None
        # fanotify_event_info_fid: 4 bytes of header, 8 of file system id, then a file handle (size, type, bytes), then
        # the name. Without privileges the kernel reports only this process's own id, and 0 for all others.
        size, kind = _HANDLE.unpack_from(data, start + 12)
        at = start + 20 + size
        name = data[at:end].partition(b"\0")[0]
        return self._event((kind, data[start + 20 : at]), mask, name, process, known)


class _InotifyQueue(_EventQueue):
    """Events without the process that caused them."""

    def __init__(self) -> None:
        super().__init__(_checked(_libc().inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)))

    def watch(self, path: str, aliases: dict[str, str] | None) -> None:
        number = _checked(_libc().inotify_add_watch(self.descriptor, os.fsencode(path), _MASK | _ONLYDIR))
        self._note(number, path, aliases)

    def events(self, known: Container[str]) -> Iterator[FolderEvent]:
        for data in self.blocks():
            start = 0
            while start < len(data):
                number, mask, _, length = _INOTIFY_EVENT.unpack_from(data, start)
                start += _INOTIFY_EVENT.size
                if mask & _OVERFLOW:
                    raise EventsLost
                name = data[start : start + length].split(b"\0", 1)[0]
                event = self._event(number, mask & (_MASK | _ONDIR), name, 0, known)
                if event is not None and (event.opened or event.changed or event.closed):
                    yield event
                start += length


class OpenedFiles:
    """Watches the opening of single files.

    Parameters
    ----------
    paths : iterable of str
        The files, without symbolic links in their paths.

    Attributes
    ----------
    watched : set of str
        The files that the system accepted to watch.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._queue = _system()
        self._names: dict[Any, str] = {}
        self.watched: set[str] = set()
        for path in paths:
            with contextlib.suppress(OSError, AttributeError):
                self._names[self._watch(path)] = path
                self.watched.add(path)

    @property
    def descriptor(self) -> int:
        """The descriptor that becomes readable when a file was opened; -1 where the system reports nothing."""
        return self._queue.descriptor if self._queue is not None else -1

    def _watch(self, path: str) -> Any:
        if self._queue is None:
            raise OSError(errno.ENOSYS, "this system does not tell which files are opened")
        descriptor, name = self._queue.descriptor, os.fsencode(path)
        if isinstance(self._queue, _InotifyQueue):
            return _checked(_libc().inotify_add_watch(descriptor, name, _OPEN))
        mask = ctypes.c_uint64(_OPEN)
        _checked(_libc().fanotify_mark(descriptor, ctypes.c_uint(1), mask, _AT_FDCWD, name))
        return os.path.basename(path)

    def read(self) -> Iterator[tuple[str, int | None]]:
        """Yield each file opened since the last call with the id of the process; None where that is not reported.

        After an overflow of the queue, every file is yielded, opened by an unknown process.
        """
        for data in self._queue.blocks() if self._queue is not None else ():
            start = 0
            while start < len(data):
                if isinstance(self._queue, _InotifyQueue):
                    key, mask, _, length = _INOTIFY_EVENT.unpack_from(data, start)
                    start, process = start + _INOTIFY_EVENT.size + length, None
                else:
                    length, _, _, header, mask, _, process = _FANOTIFY_EVENT.unpack_from(data, start)
                    key = _file_name(data[start + header : start + length])
                    start += length
                if mask & _OVERFLOW:
                    yield from ((path, None) for path in self.watched)
                elif key in self._names:
                    yield self._names[key], process


def _file_name(information: bytes) -> str:
    """Return the name of a file in what fanotify reports of it."""
    size = struct.unpack_from("=I", information, 12)[0] if len(information) >= 20 else 0
    return os.fsdecode(information[20 + size :].split(b"\0", 1)[0])


_LIBRARY: list[Any] = []


def _libc() -> Any:
    if not _LIBRARY:
        _LIBRARY.append(ctypes.CDLL(None, use_errno=True))
    return _LIBRARY[0]


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _handle(path: bytes) -> tuple[int, bytes]:
    """Return the file handle by which fanotify identifies a folder."""
    # AT_HANDLE_FID (Linux 6.5) comes second: older kernels refuse it, and file systems that cannot be exported over
    # NFS have no other handles.
    buffer = ctypes.create_string_buffer(8 + _HANDLE_BYTES)
    mount = ctypes.c_int()
    for flags in (_FOLLOW, _FOLLOW | _HANDLE_FID):
        struct.pack_into("=Ii", buffer, 0, _HANDLE_BYTES, 0)
        if _libc().name_to_handle_at(_AT_FDCWD, path, buffer, ctypes.byref(mount), flags) == 0:
            size, kind = struct.unpack_from("=Ii", buffer, 0)
            return kind, buffer.raw[8 : 8 + size]
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))


def _system() -> _FanotifyQueue | _InotifyQueue | None:
    """Open a fanotify queue, else inotify, else None; ``JUPYTER_PIPELINES_WATCH`` may select less."""
    wanted = os.environ.get("JUPYTER_PIPELINES_WATCH", "fanotify")
    if not sys.platform.startswith("linux") or wanted == "none":
        return None
    for kind in (_FanotifyQueue, _InotifyQueue) if wanted == "fanotify" else (_InotifyQueue,):
        with contextlib.suppress(OSError, AttributeError):
            return kind()
    return None
