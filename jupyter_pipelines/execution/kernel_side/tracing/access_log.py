"""Log what the code of a step asks of files and of the environment, from Python's audit events and the watched folders.

Python cannot open or list anything without an audit event; what other languages open in this process, and what child
processes open, is seen in the watched folders. A look at a file without opening it has no event: `os.stat` and its kind
are wrapped.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import CountedPaths
from jupyter_pipelines.execution.kernel_side.tracing.environment_log import EnvironmentLog
from jupyter_pipelines.execution.kernel_side.tracing.folder_events import EventsLost, FolderEvent, FolderWatch

TRACE = "trace.json"
"""File in the folder of the attempt: what was logged."""

_PROGRAMS = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.fork", "os.forkpty"})
_LISTS = frozenset({"os.listdir", "os.scandir"})
_REMOVES = frozenset({"os.remove", "os.rmdir", "os.mkdir", "os.truncate"})
_KIND_ONLY = frozenset("exists lexists isfile isdir islink ismount is_file is_dir is_symlink is_mount samefile".split())
_IMPORTERS = (
    "/importlib/metadata/__init__.py",
    "/importlib_metadata/__init__.py",
    "/pkgutil.py",
    "/pkg_resources/__init__.py",
)
"""Modules that list folders to find modules and packages."""
_READ_EVERY = 512
"""Opened files after which the events of the folders are read, so that none is lost."""

_KINDS = ("kind", "size", "times")
"""What can be asked of a file without opening it, from the least to the most."""
Mark = list[int]


class AccessLog:
    """What a step read, looked for, listed and wrote.

    Attributes
    ----------
    problems : list of str
        Why the log is not complete.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._paths = CountedPaths("/nonexistent")
        self._noting = False
        self._process = os.getpid()
        self._read: dict[str, tuple[int, Mark | None]] = {}
        self._imported: dict[str, None] = {}
        self._fresh: set[str] = set()
        self._busy = 0
        self._listed: dict[str, None] = {}
        self._globbed: dict[tuple[str, ...], None] = {}
        self._asked: dict[str, str] = {}
        self._written: dict[str, None] = {}
        self._expected = ""
        self._opened = 0
        self._programs = False
        self._known: dict[str, str | None] = {}
        self._watch: FolderWatch | None = None
        self._begun = time.time_ns()
        self._environment = EnvironmentLog(self._is_own_code)
        self._stat, self._readlink = os.stat, os.readlink
        self._handlers: dict[str, Callable[[tuple[Any, ...]], None]] = {
            "open": self._on_open,
            "sqlite3.connect": self._on_connect,
            "os.rename": self._on_rename,
            "glob.glob": self._on_glob,
            "pathlib.Path.glob": lambda arguments: self._on_path_glob("Path.glob", arguments),
            "pathlib.Path.rglob": lambda arguments: self._on_path_glob("Path.rglob", arguments),
            **dict.fromkeys(_LISTS, self._on_list),
            **dict.fromkeys(_REMOVES, lambda arguments: self._on_write(arguments[0])),
            **dict.fromkeys(_PROGRAMS, self._on_program),
        }

    def attach(self) -> None:
        """Begin to listen to Python; there is no way to stop, so this is for kernels that end with their step."""
        handlers = self._handlers

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            handler = handlers.get(event)
            if handler is not None and self._noting and self._busy != threading.get_ident():
                with contextlib.suppress(Exception):  # it would be raised where the notebook opens a file
                    handler(arguments)

        self._environment.attach()
        self._wrap_looks()
        sys.addaudithook(hook)

    def note(self, *, on: bool) -> None:
        """Note what happens from now on, or stop to do so."""
        self._noting = self._environment.noting = on
        self._process = os.getpid()

    def begin(self, root: str, left_out: Iterable[str], outside: Iterable[str]) -> CountedPaths:
        """Begin with a step.

        Parameters
        ----------
        root : str
            The project's folder, which is watched.
        left_out : iterable of str
            Folders and files that do not count.
        outside : iterable of str
            Files and folders elsewhere that are watched, too.

        Returns
        -------
        CountedPaths
            Which paths count.
        """
        left_out = list(left_out)
        self._paths = CountedPaths(root, left_out)
        self._known.clear()
        self._programs = False
        self._written.clear()
        self._watch = FolderWatch(frozenset(map(os.path.realpath, [*left_out, *self._paths.python_inside()])))
        with contextlib.suppress(EventsLost):
            for folder in (root, *outside):
                self._watch.add(folder)
        self._begun = time.time_ns()
        return self._paths

    def document(self) -> dict[str, Any]:
        """Return what was logged, as JSON holds it."""
        self._read_events()
        self.note(on=False)
        watch = self._watch
        return {
            "read": {path: [since, mark] for path, (since, mark) in self._read.items() if self._counts(path)},
            "imported": [path for path in self._imported if self._counts(path) and path not in self._read],
            "listed": [path for path in self._listed if self._counts(path)],
            "globbed": [list(pattern) for pattern in self._globbed],
            "asked": {path: answer for path, answer in self._asked.items() if self._counts(path)},
            "written": [path for path in self._written if self._counts(path)],
            "environment": self._environment.variables(),
            "problems": list(dict.fromkeys(self.problems)),
            "unwatched": watch.unwatched if watch is not None else "",
        }

    def _counts(self, path: str) -> bool:
        return self._paths.path_of(path) is not None

    # Audit events

    def _on_open(self, arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments
        name = self._absolute(path)
        if name is None:
            return
        self._opened += 1
        if self._expected or self._opened % _READ_EVERY == 0:
            self._read_events()
        flags = flags if isinstance(flags, int) else 0
        writes = (flags & os.O_ACCMODE) != os.O_RDONLY or (isinstance(mode, str) and bool(set(mode) & set("wax+")))
        if not writes:
            self._note_opened(name)
        elif not (flags & os.O_APPEND or (isinstance(mode, str) and "a" in mode)):
            if not flags & os.O_TRUNC and (flags & os.O_ACCMODE) == os.O_RDWR and self._mark(name) is not None:
                self._note_read(name)
            self._note_write(name)

    def _note_opened(self, name: str) -> None:
        code = sys._getframe(3).f_code  # noqa: SLF001 - the code that opens
        if not code.co_filename.startswith("<frozen importlib"):
            if not (code.co_filename.endswith(("/tokenize.py", "/linecache.py")) and _is_report()):
                self._note_read(name)
            return
        path = self._paths.path_of(name, imported=True)
        if path is not None and path.endswith(".py"):
            self._imported.setdefault(path)
        elif path is not None:
            self._note_read(name)

    def _on_connect(self, arguments: tuple[Any, ...]) -> None:
        text = os.fsdecode(arguments[0]).partition("?")[0].removeprefix("file:")
        name = self._absolute(text) if text != ":memory:" else None
        if name is None:
            return
        if self._mark(name) is None:
            self._note_write(name)
        else:
            self._note_read(name)

    def _on_list(self, arguments: tuple[Any, ...]) -> None:
        name = self._absolute("." if arguments[0] is None else arguments[0])
        if name is None:
            return
        if _is_import() or _is_glob():
            # The event of the folder comes right after this: whatever else lists it has one of its own.
            self._read_events()
            self._expected = name
        elif self._path(name) is not None:
            self._listed.setdefault(name)

    def _on_glob(self, arguments: tuple[Any, ...]) -> None:
        pattern, recursive = os.fsdecode(arguments[0]), bool(arguments[1])
        self._globbed.setdefault(("glob", os.path.join(os.getcwd(), pattern), "recursive" if recursive else ""))

    def _on_path_glob(self, method: str, arguments: tuple[Any, ...]) -> None:
        self._globbed.setdefault((method, str(arguments[1]), os.path.abspath(arguments[0])))

    def _on_rename(self, arguments: tuple[Any, ...]) -> None:
        for path in arguments[:2]:
            self._on_write(path)

    def _on_write(self, path: Any) -> None:
        name = self._absolute(path)
        if name is not None:
            self._note_write(name)

    def _on_program(self, _: tuple[Any, ...]) -> None:
        if not self._programs:
            self._read_events()  # until now, whatever others opened was not a child's doing
        self._programs = True

    # Looks at files without opening them

    def _wrap_looks(self) -> None:
        for name in ("stat", "lstat", "access", "readlink", "open"):
            original = getattr(os, name)
            setattr(os, name, self._opener(original) if name == "open" else self._wrapped(original))
            for support in (os.supports_dir_fd, os.supports_follow_symlinks, os.supports_effective_ids, os.supports_fd):
                if original in support:
                    support.add(getattr(os, name))

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any, *arguments: Any, **options: Any) -> Any:
            __tracebackhide__ = True
            if self._noting and options.get("dir_fd") is None and not isinstance(path, int):
                with contextlib.suppress(Exception):
                    self._on_look(path)
            return original(path, *arguments, **options)

        look.__name__ = look.__qualname__ = original.__name__
        look.__doc__ = original.__doc__
        return look

    def _opener(self, original: Callable[..., int]) -> Callable[..., int]:
        """Wrap `os.open`: its audit event does not say which folder a relative path is in."""

        def open_file(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            __tracebackhide__ = True
            if not self._noting or dir_fd is None:
                return original(path, flags, mode, dir_fd=dir_fd)
            with contextlib.suppress(Exception):
                folder = self._readlink(f"/proc/self/fd/{dir_fd}")
                self._on_open((os.path.join(folder, os.fsdecode(path)), None, flags))
            before, self._busy = self._busy, threading.get_ident()
            try:
                return original(path, flags, mode, dir_fd=dir_fd)
            finally:
                self._busy = before

        open_file.__name__ = open_file.__qualname__ = "open"
        open_file.__doc__ = original.__doc__
        return open_file

    def _on_look(self, path: Any) -> None:
        name = self._absolute(path)
        if name is None or self._path(name) is None or name in self._written:
            return
        kind = self._asked_kind(sys._getframe(2))  # noqa: SLF001 - the code that looks
        if _KINDS.index(kind) > _KINDS.index(self._asked.get(name, "kind")) or name not in self._asked:
            self._asked[name] = kind

    def _asked_kind(self, frame: Any) -> str:
        """Return what code wants to know of a file: libraries that go by times do so to save work."""
        if frame.f_code.co_filename.endswith("/pathlib.py") and frame.f_code.co_name in ("stat", "lstat"):
            frame = frame.f_back
        name = frame.f_code.co_name
        if name == "getsize":
            return "size"
        if name in ("getmtime", "getctime", "getatime"):
            frame = frame.f_back
        return "times" if name not in _KIND_ONLY and self._is_own_code(frame.f_code.co_filename) else "kind"

    # What is noted

    def _note_read(self, name: str) -> None:
        path = self._path(name)
        if path is None or path in self._read or path in self._written:
            return
        now, status = time.time_ns(), self._status(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            self._asked.setdefault(path, "kind")  # what is in it is another question
        else:
            self._read[path] = (now, _mark_of(status))

    def _note_write(self, name: str) -> None:
        path = self._path(name)
        if path is None:
            return
        known = self._read.get(path)
        if known is not None and known[1] is not None and path not in self._written:
            self.problems.append(f"rewritten\0{path}")
        self._written.setdefault(path)

    def _status(self, path: str) -> os.stat_result | None:
        try:
            return self._stat(path)
        except OSError:
            return None

    def _mark(self, path: str) -> Mark | None:
        return _mark_of(self._status(path))

    def _read_events(self) -> None:
        expected, self._expected = self._expected, ""
        if self._watch is None or os.getpid() != self._process:
            return
        self._busy = threading.get_ident()
        try:
            for event in self._watch.read(self._read):
                self._on_event(event, expected)
        except EventsLost:
            self.problems.append("more files were opened at once than the system reports")
        finally:
            self._busy = 0

    def _on_event(self, event: FolderEvent, expected: str) -> None:
        if event.own is False and not self._had_children():
            return
        if event.changed:
            self._on_change(event)
        path = self._path(event.path)
        if not event.opened or path is None or path in self._written or path in self._fresh:
            return
        if not event.is_folder:
            if path not in self._read and path not in self._imported:
                self._read[path] = (self._begun, self._mark(path))
        elif path != expected:
            self._listed.setdefault(path)

    def _on_change(self, event: FolderEvent) -> None:
        if event.own is None:
            if event.created:
                self._fresh.add(event.path)
        elif event.created:
            # It was not there before: what was read of it is what the step, or a child of it, wrote.
            if self._read.get(event.path, (0, None))[1] is not None:
                del self._read[event.path]
            self._written.setdefault(event.path)
        elif event.own:
            self._note_write(event.path)

    def _had_children(self) -> bool:
        """Tell whether there are or were child processes: what others opened may be their doing."""
        if not self._programs:
            self._programs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0 or _has_children()
        return self._programs

    def _absolute(self, path: Any) -> str | None:
        if isinstance(path, int) or os.getpid() != self._process:
            return None
        text = os.fsdecode(path)
        if text.startswith("/") and "/." not in text and "//" not in text and not text.endswith("/"):
            return text
        return os.path.abspath(text) if text else None

    def _path(self, name: str) -> str | None:
        if name not in self._known:
            self._known[name] = self._paths.path_of(name)
        return self._known[name]

    def _is_own_code(self, file: str) -> bool:
        return file.startswith("<ipython") or "/ipykernel_" in file or self._paths.inside(file)


def _mark_of(status: os.stat_result | None) -> Mark | None:
    return [status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns] if status else None


def _is_import() -> bool:
    file = sys._getframe(3).f_code.co_filename  # noqa: SLF001 - the code that lists
    return file.startswith("<frozen importlib") or file.endswith(_IMPORTERS)


def _is_report() -> bool:
    """Tell whether a line of code is read to be shown in a warning or a traceback."""
    frame: Any = sys._getframe(4)  # noqa: SLF001 - above the code that opens
    for _ in range(8):
        if frame is None:
            return False
        if frame.f_code.co_filename.endswith(("/warnings.py", "/traceback.py", "/ultratb.py", "/stack_data/core.py")):
            return True
        frame = frame.f_back
    return False


def _is_glob() -> bool:
    """Tell whether a folder is listed for a pattern, which is noted itself."""
    frame: Any = sys._getframe(3)  # noqa: SLF001
    for _ in range(4):
        if frame is None:
            return False
        code = frame.f_code
        if code.co_filename.endswith("/glob.py"):
            return True
        if code.co_filename.endswith("/pathlib.py") and "select" in code.co_name:
            return True
        frame = frame.f_back
    return False


def _has_children() -> bool:
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
                if file.read().strip():
                    return True
    except OSError:
        return True
    return False
