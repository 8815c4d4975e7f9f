"""Events of the folders of a project, from the operating system: what was opened there, in whatever language.

fanotify says which events are this process's own, so that nothing another program opens counts for the step. Where it
is not available (before Linux 5.13, some containers, some file systems), inotify reports the same without saying whose
they are. Elsewhere there is neither.

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

MAX_FOLDERS = 50_000
"""Largest number of folders that are watched."""

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
_WITH_NAMES, _NONBLOCK, _CLOEXEC = 0xC00, 2, 1
_ON_CHILD = 0x08000000
_HANDLE_BYTES = 128
_HANDLE_FID, _FOLLOW = 0x200, 0x400
_FANOTIFY_EVENT = struct.Struct("=IBBHQii")
_INOTIFY_EVENT = struct.Struct("=iIII")
_ONLYDIR = 0x01000000


class FolderEvent(NamedTuple):
    """Something that happened to a file or folder.

    Parameters
    ----------
    path : str
        Absolute path, by the way the project reaches it.
    is_folder : bool
        It is a folder; to open a folder is to list it.
    opened, changed, created, closed : bool
        What happened, in no known order: events of one file are merged until they are read. Closed is what was open
        for reading.
    own : bool or None
        It was this process; None where the system does not tell.
    process : int
        Which process it was; 0 where the system does not tell.
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
    """Watches folders and what is below them; links to folders are followed.

    Parameters
    ----------
    skipped : frozenset of str
        Real paths of folders that are left out, with all below them.

    Attributes
    ----------
    unwatched : str
        Why something is not watched; empty if everything is.
    links : list of (str, str)
        The links in the folders, each with the path that it leads to.
    """

    def __init__(self, skipped: frozenset[str]) -> None:
        self._skipped = skipped
        self._system = _system()
        self._real: set[str] = set()
        self._listed_here: set[str] = set()
        self._number = os.getpid()
        self.unwatched = "" if self._system else "this system does not tell which files are opened"
        self.links: list[tuple[str, str]] = []

    def add(self, root: str) -> None:
        """Watch a folder and those below it, or a file, before anything is read there.

        A folder is listed once it is watched: the system has to report that, or nothing can be expected of it.
        """
        if self._system is None:
            return
        if not os.path.isdir(root):
            folder, name = os.path.split(root)
            self._mark(folder, {name: root})
            return
        self._walk([root])
        reported = self.drain()
        if reported is not None and root not in reported and not self.unwatched:
            self.unwatched = f"the file system of `{root}` does not tell which files are opened"

    def drain(self) -> set[str] | None:
        """Read all events; return the paths of all that was reported; None if some of it was lost."""
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
        """Return what has happened since this was called last.

        Parameters
        ----------
        known : container of str
            Paths whose opening is no news.

        Raises
        ------
        EventsLost
            More happened than the system kept.
        """
        if self._system is None or os.getpid() != self._number:
            return []
        listed_here, self._listed_here = self._listed_here, set()
        events = [event for event in self._system.events(known) if not _is_listing(event, listed_here)]
        for event in events:
            if event.is_folder and event.created and event.path not in self._real:
                before = set(self._real)
                self._walk([event.path])
                self._listed_here |= self._real - before
        return events

    def _walk(self, pending: list[str]) -> None:
        while pending and self._system is not None:
            following = []
            for folder in pending:
                real = os.path.realpath(folder)
                if real in self._real or real in self._skipped:
                    continue
                if len(self._real) >= MAX_FOLDERS:
                    self.unwatched = f"there are more than {MAX_FOLDERS} folders"
                    return
                self._real.add(real)
                if self._mark(folder):
                    following += self._below(folder)
            pending = following

    def _mark(self, folder: str, names: dict[str, str] | None = None) -> bool:
        try:
            self._system.watch(folder, names)  # type: ignore[union-attr]
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                return False
            return self._fall_back(folder, names, error)
        return True

    def _fall_back(self, folder: str, names: dict[str, str] | None, error: OSError) -> bool:
        """Watch everything by inotify where fanotify is refused for one of the folders."""
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
        return self._system is not None

    def _below(self, folder: str) -> list[str]:
        """Return the folders in a folder; a file that a link leads to is watched where it is."""
        folders = []
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name in _SKIPPED:
                    continue
                if entry.is_symlink():
                    self.links.append((entry.path, os.path.realpath(entry.path)))
                if entry.is_dir() and not os.path.exists(f"{entry.path}/pyvenv.cfg"):
                    folders.append(entry.path)
                elif entry.is_symlink():
                    self._watch_target(entry.path)
        return folders

    def _watch_target(self, link: str) -> None:
        target = os.path.realpath(link)
        parent, name = os.path.split(target)
        if os.path.isfile(target) and parent not in self._real:
            self._mark(parent, {name: link})


def _is_listing(event: FolderEvent, folders: Container[str]) -> bool:
    """Tell whether an event is that a folder was listed, and the folder is one of `folders`."""
    return event.is_folder and event.opened and not event.changed and os.path.realpath(event.path) in folders


class _WatchedFolder:
    """A folder, and the names in it that count under another path; None if all count under their own."""

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
    """What fanotify and inotify have in common: a descriptor to read from, and folders by what events call them."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._folders: dict[Any, _WatchedFolder] = {}

    def folders(self) -> list[tuple[str, dict[str, str] | None]]:
        return [(folder.path, folder.aliases) for folder in self._folders.values()]

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    def blocks(self) -> Iterator[bytes]:
        """Yield what can be read now."""
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

    def _event(self, key: Any, mask: int, name: str, own: bool | None, known: Container[str]) -> FolderEvent | None:
        folder = self._folders.get(key)
        path = folder.path_of(name) if folder else None
        if path is None or (not mask & ~(_OPEN | _CLOSED) and path in known):
            return None
        return FolderEvent(
            path=path,
            is_folder=bool(mask & _ONDIR),
            opened=bool(mask & _OPEN),
            changed=bool(mask & (_MODIFY | _CREATE | _DELETE | _MOVED_TO)),
            created=bool(mask & _CREATE),
            closed=bool(mask & _CLOSED),
            own=own,
        )


class _FanotifyQueue(_EventQueue):
    """Events with the process that caused them."""

    def __init__(self) -> None:
        flags = ctypes.c_uint(_CLOEXEC | _NONBLOCK | _WITH_NAMES)
        super().__init__(_checked(_libc().fanotify_init(flags, ctypes.c_uint(os.O_RDONLY))))
        self._process = os.getpid()

    def watch(self, path: str, aliases: dict[str, str] | None) -> None:
        encoded = os.fsencode(path)
        mask = ctypes.c_uint64(_MASK | _ONDIR | _ON_CHILD)
        _checked(_libc().fanotify_mark(self.descriptor, ctypes.c_uint(1), mask, _AT_FDCWD, encoded))
        self._note(_handle(encoded), path, aliases)

    def events(self, known: Container[str]) -> Iterator[FolderEvent]:
        for data in self.blocks():
            start = 0
            while start < len(data):
                length, _, _, header, mask, _, process = _FANOTIFY_EVENT.unpack_from(data, start)
                if mask & _OVERFLOW:
                    raise EventsLost
                event = self._parse(data[start + header : start + length], mask, process, known)
                if event is not None:
                    yield event
                start += length

    def _parse(self, information: bytes, mask: int, process: int, known: Container[str]) -> FolderEvent | None:
        if len(information) < 20:
            return None
        size, kind = struct.unpack_from("=Ii", information, 12)
        end = 20 + size
        name = os.fsdecode(information[end:].split(b"\0", 1)[0])
        event = self._event((kind, information[20:end]), mask, name, process == self._process, known)
        return event and event._replace(process=process)


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
                name = os.fsdecode(data[start : start + length].split(b"\0", 1)[0])
                event = self._event(number, mask & (_MASK | _ONDIR), name, None, known)
                if event is not None and (event.opened or event.changed or event.closed):
                    yield event
                start += length


class OpenedFiles:
    """Watches single files.

    Parameters
    ----------
    paths : iterable of str
        The files.

    Attributes
    ----------
    watched : set of str
        Those whose opening is reported.
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
        """Becomes readable when a file was opened; -1 where nothing is reported."""
        return self._queue.descriptor if self._queue is not None else -1

    def _watch(self, path: str) -> Any:
        if self._queue is None:
            raise OSError(errno.ENOSYS, "this system does not tell which files are opened")
        descriptor, name = self._queue.descriptor, os.fsencode(path)
        if isinstance(self._queue, _InotifyQueue):
            return _checked(_libc().inotify_add_watch(descriptor, name, _OPEN))
        mask = ctypes.c_uint64(_OPEN)
        _checked(_libc().fanotify_mark(descriptor, ctypes.c_uint(1), mask, _AT_FDCWD, name))
        return os.path.basename(os.path.realpath(path))

    def read(self) -> Iterator[tuple[str, int | None]]:
        """Yield what was opened since this was called last, and by which process; None where that is not reported.

        A queue that has overflowed reports every file, opened by a process that is not known.
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
    """Return what fanotify calls a folder."""
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
    """Return fanotify where it is available, else inotify; ``JUPYTER_PIPELINES_WATCH`` may select less."""
    wanted = os.environ.get("JUPYTER_PIPELINES_WATCH", "fanotify")
    if not sys.platform.startswith("linux") or wanted == "none":
        return None
    for kind in (_FanotifyQueue, _InotifyQueue) if wanted == "fanotify" else (_InotifyQueue,):
        with contextlib.suppress(OSError, AttributeError):
            return kind()
    return None
