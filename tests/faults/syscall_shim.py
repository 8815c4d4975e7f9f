"""Stand between a program and the file system: count its calls, log them, let one or all of them fail.

Everything that the store does to files goes through functions of `os`, also what goes through file objects: those that
`io.open` makes here read and write by `os.readv` and `os.write`. Only SQLite has a way of its own; its file is an index
that may be lost.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

READ = ("readv", "pread", "stat", "lstat", "fstat", "listdir", "scandir")
CHANGED = ("write", "replace", "rename", "mkdir", "unlink", "rmdir", "utime", "fchmod", "chmod", "ftruncate", "fsync")
GROWING = ("write", "replace", "rename", "mkdir", "ftruncate", "fsync", "open+")
OPENING = ("open", "open+", "listdir", "scandir")
HANDLES = frozenset({"write", "readv", "pread", "fstat", "fchmod", "ftruncate", "fsync"})
KINDS: dict[str, tuple[str, ...]] = {
    "ENOSPC": GROWING,
    "EDQUOT": GROWING,
    "EROFS": (*CHANGED, "open+"),
    "EIO": (*CHANGED, *READ, "open", "open+"),
    "EMFILE": OPENING,
    "short": ("write",),
    "crash": (*CHANGED, "open+"),
}
"""What can go wrong, and with which calls: `open+` may make a file."""


@dataclass
class SyscallShim:
    """Counts, logs and fails the calls for files below `root`.

    Parameters
    ----------
    root : str
        Calls for other files are left alone and not counted.
    kind : str
        What goes wrong, a key of `KINDS`.
    at : int
        The number of the call that fails, among those that can; 0 for none.
    forever : bool
        All later calls fail, too.
    log : list or None
        Where to write down what was changed.
    """

    root: str
    kind: str = "EIO"
    at: int = 0
    forever: bool = False
    log: list[tuple[Any, ...]] | None = None
    count: int = 0
    handles: dict[int, str] = field(default_factory=dict)
    real: dict[str, Callable[..., Any]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def install(self) -> SyscallShim:
        """Put it in place, for the rest of this process."""
        for name in (*READ, *CHANGED, "open", "close"):
            self.real[name] = getattr(os, name)
        for name in (*READ, *CHANGED):
            setattr(os, name, self._wrapped(name))
        os.open, os.close = self._open, self._close  # type: ignore[assignment]
        self.real["io.open"] = io.open
        io.open = self._io_open  # type: ignore[assignment]
        # A process that is killed loses nothing that it did not sync, and syncing takes long.
        self.real["fsync"] = lambda _: None
        return self

    def _wrapped(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            where = self._path_of(name, args)
            if where is None:
                return self.real[name](*args, **options)
            with self.lock:
                try:
                    self._inject(name, args)
                except _ShortWrite as short:
                    return short.args[0]
                answer = self.real[name](*args, **options)
                self._record(name, where, args)
                return answer

        return call

    def _path_of(self, name: str, args: tuple[Any, ...]) -> str | None:
        if name in HANDLES or (args and isinstance(args[0], int)):
            return self.handles.get(args[0])
        path = os.fspath(args[0]) if args else "."
        return path if isinstance(path, str) and self._is_below(path) else None

    def _is_below(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + "/")

    def _open(self, path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
        text = os.fspath(path)
        if "dir_fd" in options and options["dir_fd"] in self.handles:
            text = f"{self.handles[options['dir_fd']]}/{text}"
        if not self._is_below(str(text)):
            return self.real["open"](path, flags, mode, **options)
        with self.lock:
            makes = bool(flags & os.O_CREAT)
            self._inject("open+" if makes else "open", (path,))
            fresh = makes and not os.path.lexists(text)
            handle = self.real["open"](path, flags, mode, **options)
            self.handles[handle] = str(text)
            if fresh or flags & os.O_TRUNC:
                self._record("create", str(text), (path,))
            return handle

    def _close(self, handle: int) -> None:
        self.handles.pop(handle, None)
        self.real["close"](handle)

    def _io_open(self, file: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        known = self.handles.get(file) if isinstance(file, int) else os.fspath(file)
        if not isinstance(known, str) or not self._is_below(known):
            return self.real["io.open"](file, mode, buffering, *args, **options)
        handle = file if isinstance(file, int) else os.open(file, _flags(mode), 0o666)
        raw = _RawFile(handle, mode)
        buffered: Any = io.BufferedReader(raw) if "r" in mode and "+" not in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *args, **options)

    def _inject(self, name: str, args: tuple[Any, ...]) -> None:
        """Let this call fail if it is the call number `at`."""
        if name not in KINDS[self.kind]:
            return
        self.count += 1
        if not self.at or self.count < self.at or (self.count > self.at and not self.forever):
            return
        if self.kind in ("crash", "short") and name == "write":
            half = bytes(args[1])[: len(args[1]) // 2]
            self.real["write"](args[0], half)
            if self.kind == "short":
                raise _ShortWrite(len(half)) if not self.forever else OSError(errno.ENOSPC, "No space left on device")
        if self.kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self.kind)
        path = self.handles.get(args[0]) if isinstance(args[0], int) else args[0]
        raise OSError(number, os.strerror(number), str(path))

    def _record(self, name: str, where: str, args: tuple[Any, ...]) -> None:
        if self.log is None or name in READ:
            return
        if name == "write":
            at = os.lseek(args[0], 0, os.SEEK_CUR) - len(args[1])
            self.log.append((name, where, max(at, 0), bytes(args[1])))
        elif name in ("replace", "rename"):
            self.log.append(("rename", where, os.fspath(args[1])))
            self._rename_handles(where, os.fspath(args[1]))
        elif name == "ftruncate":
            self.log.append((name, where, args[1]))
        else:
            self.log.append((name, where))

    def _rename_handles(self, old: str, new: str) -> None:
        for handle, path in self.handles.items():
            if path == old or path.startswith(old + "/"):
                self.handles[handle] = new + path[len(old) :]


class _ShortWrite(Exception):
    """Less was written than asked for, and that is no error."""


class _RawFile(io.RawIOBase):
    """A file whose every call goes through `os`."""

    def __init__(self, handle: int, mode: str) -> None:
        self._handle = handle
        self.mode = mode
        self.name = handle

    def fileno(self) -> int:
        return self._handle

    def readable(self) -> bool:
        return "r" in self.mode

    def writable(self) -> bool:
        return "r" not in self.mode or "+" in self.mode

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return os.lseek(self._handle, offset, whence)

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        os.ftruncate(self._handle, size)
        return size

    def readinto(self, buffer: Any) -> int:
        return os.readv(self._handle, [buffer])

    def write(self, data: Any) -> int:
        return os.write(self._handle, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._handle)


def _flags(mode: str) -> int:
    if "x" in mode:
        return os.O_WRONLY | os.O_CREAT | os.O_EXCL
    if "w" in mode:
        return os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    if "a" in mode:
        return os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.O_RDONLY
