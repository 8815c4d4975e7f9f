"""Log the files and environment variables that a step uses, from Python's audit events and events of watched folders.

Python's own functions open and list nothing without an audit event; files opened by native code in this process, or by
child processes, are reported by fanotify or inotify for the watched folders. Calls that examine a file without opening
it (`os.stat`, `os.access`, `os.readlink`) raise no audit event, so these functions are wrapped.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing import asking_frames, compiled_copies
from jupyter_pipelines.execution.kernel_side.tracing.asking_frames import caller
from jupyter_pipelines.execution.kernel_side.tracing.connection_log import ConnectionLog
from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import (
    DATABASES,
    CountedPaths,
    database_logs,
    is_below,
    names_digest,
)
from jupyter_pipelines.execution.kernel_side.tracing.environment_log import EnvironmentLog
from jupyter_pipelines.execution.kernel_side.tracing.expected_listings import ExpectedListings
from jupyter_pipelines.execution.kernel_side.tracing.file_marks import (
    Mark,
    is_link,
    link_target,
    look_of,
    mark_of,
    status_of,
)
from jupyter_pipelines.execution.kernel_side.tracing.folder_events import EventsLost, FolderEvent, FolderWatch
from jupyter_pipelines.execution.kernel_side.tracing.loaded_packages import RequestFinder, module_origins
from jupyter_pipelines.execution.kernel_side.tracing.look_wrappers import LookHooks, LookWrappers
from jupyter_pipelines.execution.kernel_side.tracing.lookup_watch import LookupWatch
from jupyter_pipelines.execution.kernel_side.tracing.module_searches import ModuleSearches
from jupyter_pipelines.execution.kernel_side.tracing.other_kernels import OtherKernels
from jupyter_pipelines.execution.kernel_side.tracing.programs.child_processes import had_children, has_children
from jupyter_pipelines.execution.kernel_side.tracing.programs.program_log import ProgramLog, start_of
from jupyter_pipelines.execution.kernel_side.tracing.worker_reports import WorkerReports

TRACE = "trace.json"
"""File in the folder of the attempt: what was logged."""

REWRITTEN = "rewritten"
"""Prefix of a problem: a file was read and then written; its path follows after a zero byte."""

_STARTS = ("subprocess.Popen", "os.system", "os.posix_spawn", "os.exec", "os.spawn")
_RESOLVING = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_SENDING = ("socket.sendto", "socket.sendmsg")
_REMOVING = ("os.remove", "os.rmdir")
_LISTS = frozenset({"os.listdir", "os.scandir"})
_READ_EVERY = 512
"""Number of opened files after which folder events are read, before the system's queue (usually 16,384) is full."""
_SITES = "-packages"
"""Ends the paths of folders with installed packages: ``site-packages``, ``dist-packages``."""
_KINDS = ("kind", "size", "times", "status")
"""Questions about a file that need no opening, from the least specific to the most specific."""


class AccessLog:
    """The files that a step read, looked for, listed and wrote, its programs, connections and variables.

    Attributes
    ----------
    problems : list of str
        Reasons why the log is no proof; with any of them, the step's result is not reused.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._paths = CountedPaths("/nonexistent")
        self._known: dict[str, str | None] = {}
        self._noting = False
        self._process = os.getpid()
        self._local = threading.local()
        self._read: dict[str, tuple[int, Mark | None]] = {}
        self._unattributed: set[str] = set()
        self._imported: dict[str, tuple[int, Mark | None]] = {}
        self._listed: dict[str, str] = {}
        self._listed_here: set[str] = set()
        self._digested: set[str] = set()
        self._globbed: dict[tuple[str, ...], None] = {}
        self._asked: dict[str, tuple[str, list[int] | None]] = {}
        self._rights: dict[tuple[str, int], None] = {}
        self._searches = ModuleSearches(self._is_own_code)
        self._links: dict[str, None] = {}
        self._written: dict[str, None] = {}
        self._appended: set[str] = set()
        self._overwritten, self._disputed = set[str](), set[str]()
        self._logs: set[str] = set()
        self._child_writes: dict[str, None] = {}
        self._created: set[str] = set()
        self._expected = ExpectedListings()
        # Other threads of the kernel import modules while the step runs. Nothing is imported while this is held: a
        # thread that imports the same may wait for it.
        self._reading = threading.RLock()
        self._own_folders: set[str] = set()
        self._opened, self._begun = 0, time.time_ns()
        self._children = self._programs = False
        self._watch: FolderWatch | None = None
        self._environment = EnvironmentLog(self._is_own_code, self._report_variable)
        self._requests = RequestFinder(self._is_noting, self._report)
        self._connections = ConnectionLog()
        self._started = ProgramLog(self._note_read)
        self._lookups: LookupWatch | None = None
        self._reports = WorkerReports()
        self._others = OtherKernels("")
        self._handlers: dict[str, Callable[[tuple[Any, ...]], None]] = {
            "open": self._on_open,
            "sqlite3.connect": self._on_connect,
            "os.rename": self._on_rename,
            **dict.fromkeys(_REMOVING, lambda arguments: self._on_write(arguments[0], *arguments[1:2])),
            "os.truncate": lambda arguments: self._on_write(arguments[0]),
            "os.mkdir": self._on_mkdir,
            "os.symlink": self._on_symlink,
            "os.link": self._on_link,
            "glob.glob/2": self._on_glob,
            "pathlib.Path.glob": lambda arguments: self._on_path_glob("Path.glob", arguments),
            "pathlib.Path.rglob": lambda arguments: self._on_path_glob("Path.rglob", arguments),
            **dict.fromkeys(_LISTS, self._on_list),
            "os.fork": self._on_worker,
            "os.forkpty": self._on_fork,
            **{event: functools.partial(self._on_start, event) for event in _STARTS},
            "socket.connect": self._on_connection,
            **dict.fromkeys(_SENDING, self._on_message),
            **dict.fromkeys(_RESOLVING, lambda arguments: self._report_host(self._connections.on_resolve(arguments))),
        }

    def attach(self) -> None:
        """Install the audit hook and the wrappers for the rest of the process; hooks cannot be removed."""
        handlers, local = self._handlers, self._local

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            handler = handlers.get(event)
            if handler is not None and self._noting and not getattr(local, "busy", False):
                with contextlib.suppress(Exception):  # it would be raised where the notebook opens a file
                    handler(arguments)

        self._environment.attach()
        looks = (self._on_access, self._on_look, self._on_entry, self._on_look_at_open_file)
        LookWrappers(LookHooks(self._is_noting, self.unnoted, self._absolute, self._on_open, *looks)).attach()
        sys.meta_path.insert(0, self._requests)
        sys.addaudithook(hook)

    def note(self, *, on: bool) -> None:
        """Start or stop logging."""
        self._noting = self._environment.noting = on
        self._process = os.getpid()

    def begin(
        self,
        root: str,
        left_out: Iterable[str],
        outside: Iterable[str],
        *,
        ignored: Iterable[str] = (),
        children_file: str = "",
        kernel_folder: str = "",
    ) -> CountedPaths:
        """Prepare the log for a step, and watch its folders.

        Parameters
        ----------
        root : str
            The project's folder, which is watched.
        left_out : iterable of str
            Folders and files that are no dependencies: the store, the folder of the attempt.
        outside : iterable of str
            Files and folders outside of the project that are watched, too.
        ignored : iterable of str
            Paths and patterns of files of the project that are no dependencies.
        children_file : str
            File to which forked processes append what they read, look for, make, connect to and start.
        kernel_folder : str
            The folder of this kernel's sockets.

        Returns
        -------
        CountedPaths
            Tells which paths are dependencies.
        """
        left_out = list(left_out)
        self._paths = CountedPaths(root, left_out, ignored)
        self._reports.path = children_file
        self._others = OtherKernels(kernel_folder)
        self._started.begin(root)
        self._connections.begin()
        self._lookups = LookupWatch()
        self._known.clear()
        self._children = self._programs = False
        for path in self._written:  # made while packages were imported ahead of time: the step has not made it
            self._asked.pop(path, None)
        self._written.clear()
        self._watch = FolderWatch(frozenset(map(os.path.realpath, [*left_out, *self._paths.python_inside()])))
        for folder in (root, *outside):
            self._watch.add(folder)
        compiled_copies.drop_outdated(filter(self._paths.holds_own_code, self._watch.copies), root)
        self._begun = time.time_ns()
        return self._paths

    def forget_events(self) -> None:
        """Discard folder events of what the kernel itself did before the step."""
        if self._watch is not None:
            with self._reading, self.unnoted():
                self._watch.drain()

    def document(self) -> dict[str, Any]:
        """Return the log as a JSON-serializable document, and stop logging."""
        self._read_events()
        self.note(on=False)
        self._read_reports()
        self.problems += compiled_copies.outdated(filter(self._counts, {**self._read, **self._imported}))
        if self._lookups is not None:
            self._lookups.read(self._others.is_foreign)
            self._lookups.end()
        return {
            **self._connections.document(looked_up=self._lookups is not None and self._lookups.own),
            "programs": self._program_document(),
            "ignored": list(self._paths.ignored),
            "read": {
                path: about
                for path, about in self._counted(self._read).items()
                if about[1] is not None or path not in self._created
            },
            "imported": {
                path: about for path, about in self._counted(self._imported).items() if path not in self._read
            },
            "unattributed": sorted(path for path in self._unattributed if self._counts(path)),
            "globbed": [list(pattern) for pattern in self._globbed],
            "asked": self._counted(self._asked),
            "rights": [list(about) for about in self._rights if self._counts(about[0])],
            **self._folder_document(),
            "links": list(dict.fromkeys([*self._counted(self._links), *self._links_used()])),
            "written": {path: self._mark_of_written(path) for path in self._written if self._counts(path)},
            "appended": sorted((self._appended - self._overwritten) | self._logs),
            "child_writes": [path for path in self._child_writes if path not in self._written],
            "environment": self._environment.variables(),
            "packages": self._requests.packages(),
            "origins": module_origins(self._imported),
            "variables": self._environment.changed_names() if self._environment.names_asked else None,
            "problems": list(dict.fromkeys(self.problems)),
            "unwatched": self._watch.unwatched if self._watch is not None else "",
        }

    def _program_document(self) -> dict[str, Any]:
        """Return the part of the document about started programs."""
        lookups, watch = self._lookups, self._watch
        unseen = watch is None or bool(watch.unwatched) or lookups is None or not lookups.complete
        connected = lookups is not None and (lookups.children or (self._started.python and lookups.modules))
        return self._started.document(known=not unseen and not connected)

    def _folder_document(self) -> dict[str, Any]:
        """Return the part of the document about folders; one that only scripts listed, to find modules, is searched."""
        scripts = self._started.folders_of_scripts()
        searched = {path: scripts[path] for path in self._listed if path in scripts and path not in self._listed_here}
        listed = {path: names for path, names in self._counted(self._listed).items() if path not in searched}
        return {"listed": listed, "searched": self._searches.names(searched)}

    def _counted(self, noted: dict[str, Any]) -> dict[str, Any]:
        return {path: about for path, about in noted.items() if self._counts(path)}

    def _mark_of_written(self, path: str) -> Mark | None:
        """Return inode, size and times of a written file; None if it is gone or another process changed it."""
        return None if path in self._disputed else mark_of(status_of(path))

    def _counts(self, path: str) -> bool:
        return self._paths.path_of(path) is not None

    def _links_used(self) -> Iterator[str]:
        """Yield the symbolic links of the project whose targets were used, by the link's path or the target's."""
        used = [*self._read, *self._listed, *self._imported]
        for link, target in self._watch.links if self._watch is not None else ():
            if any(is_below(path, (link, target)) for path in used):
                yield link

    def note_search(self, folder: str, module: str) -> None:
        """Record that the import system searched a folder of the project for a module."""
        if self._noting and self._path(folder) is not None:
            self._searches.note(folder, module)

    def note_path_entry(self, folder: str) -> None:
        """Record that the import system checked whether an entry of `sys.path` exists."""
        if self._noting and folder != os.getcwd():  # the step starts there: it exists
            self._note_look(folder, "kind")

    # Audit events

    def _on_open(self, arguments: tuple[Any, ...]) -> None:
        path, mode, flags = arguments
        name = self._absolute(path, of_child=True)
        if name is None:
            return
        if os.getpid() != self._process:
            self._on_open_in_worker(name, mode, flags, caller(2))
            return
        self._opened += 1
        # A listing that this thread has done is matched with its event at once, before user code lists the folder.
        if self._expected.has_own() or self._opened % _READ_EVERY == 0:
            self._read_events()
        flags = flags if isinstance(flags, int) else 0
        letters = set(mode) if isinstance(mode, str) else set()
        if (flags & os.O_ACCMODE) == os.O_RDONLY and not letters & set("wax+"):
            self._note_opened(name, caller(2))
        elif flags & os.O_APPEND or "a" in letters:
            if "+" in letters or (flags & os.O_ACCMODE) == os.O_RDWR:
                self._note_read(name)
            self._appended.add(name)
        elif (flags & os.O_EXCL or "x" in letters) and status_of(name) is not None:
            self._note_look(name, "kind")  # it is refused
        else:
            # Opened for both without being emptied: what it holds may be read.
            if not flags & os.O_TRUNC and (flags & os.O_ACCMODE) == os.O_RDWR and status_of(name) is not None:
                self._note_read(name)
            if asking_frames.is_logging(caller(2)):
                self._logs.add(name)
            self._on_write(name)

    def _on_open_in_worker(self, name: str, mode: Any, flags: Any, frame: Any) -> None:
        letters = set(mode) if isinstance(mode, str) else set()
        access = flags & os.O_ACCMODE if isinstance(flags, int) else os.O_RDONLY
        writes = access != os.O_RDONLY or bool(letters & set("wax+"))
        if not writes or access == os.O_RDWR or "+" in letters:
            known = name in self._read
            if status_of(name) is None:
                self._note_look(name, "kind")
            elif not asking_frames.is_import(frame):  # imports are seen in the watched folders
                self._note_read(name)
            if not known and name in self._read:
                self._report("read", [name, *self._read[name]])
        if writes:
            self._on_write(name)

    def _note_opened(self, name: str, frame: Any) -> None:
        if not asking_frames.is_import(frame):
            if not (
                frame.f_code.co_filename.endswith(("/tokenize.py", "/linecache.py")) and asking_frames.is_shown(frame)
            ):
                self._note_read(name)
            return
        # Extension modules have no source to compare: they count by content, like data.
        path = self._paths.path_of(name, imported=True)
        if path is not None and not path.endswith(".py"):
            self._note_read(name)
        elif path is not None and path not in self._imported:
            self._imported[path] = (time.time_ns(), mark_of(status_of(path)))

    def _on_connect(self, arguments: tuple[Any, ...]) -> None:
        # SQLite opens the database in C, without an `open` event; the name may be a URI.
        text = os.fsdecode(arguments[0]).partition("?")[0].removeprefix("file:")
        name = self._absolute(text) if text != ":memory:" else None
        if name is None:
            return
        if status_of(name) is None:
            self._on_write(name)
            return
        self._note_read(name)
        self._note_database_logs(name)  # now, as the step may make them itself and remove them

    def _on_list(self, arguments: tuple[Any, ...]) -> None:
        name = self._absolute("." if arguments[0] is None else arguments[0])
        if name is None:
            return
        frame = caller(2)
        if name.endswith(_SITES) and not asking_frames.is_import(frame):
            self._note_installed(name, frame)
        if asking_frames.is_search_for_modules(frame, self._is_own_code) or asking_frames.is_pattern(frame):
            # The event of the folder comes right after this: whatever else lists it has an event of its own.
            with self._reading:
                self._read_events()
                self._expected.add(name, frame)
        else:
            self._listed_here.add(name)
            self._note_listing(name)

    def _on_glob(self, arguments: tuple[Any, ...]) -> None:
        pattern, recursive, folder, _ = arguments
        base = os.path.abspath(os.fsdecode(folder)) if folder is not None else os.getcwd()
        self._globbed.setdefault(("glob", os.fsdecode(pattern), base, "recursive" if recursive else ""))

    def _on_path_glob(self, method: str, arguments: tuple[Any, ...]) -> None:
        self._globbed.setdefault((method, str(arguments[1]), os.path.abspath(arguments[0]), ""))

    def _on_link(self, arguments: tuple[Any, ...]) -> None:
        source, target, *folders = arguments
        name = self._absolute(source, *folders[:1])
        if name is not None:
            self._note_read(name)  # what is read by the new name later is its content
        self._on_write(target, *folders[1:2])

    def _on_symlink(self, arguments: tuple[Any, ...]) -> None:
        source, target, *folders = arguments
        name = self._absolute(target, *folders[:1])
        # A file that the link leads to is read by the name of the link, which counts as the step's own.
        leads_to = self._absolute(os.path.join(os.path.dirname(name), os.fsdecode(source))) if name else None
        if leads_to is not None and status_of(leads_to) is not None:
            self._note_read(leads_to)
        self._on_write(target, *folders[:1])

    def _on_rename(self, arguments: tuple[Any, ...]) -> None:
        source, target, *folders = arguments
        name, new_name = self._absolute(source, *folders[:1]), self._absolute(target, *folders[1:2])
        if new_name is not None and compiled_copies.is_copy(new_name):
            return  # the last act of writing a copy
        if name is not None:
            self._note_read(name)
        self._on_write(source, *folders[:1])
        self._on_write(target, *folders[1:2])
        # The event comes before the rename: the files are still below the old name.
        if name is not None and new_name is not None and os.path.isdir(name):
            for path in self._files_below(name):
                self._on_write(f"{new_name}{path.removeprefix(name)}")

    def _files_below(self, folder: str) -> list[str]:
        with self.unnoted():
            return [f"{path}/{name}" for path, _, names in os.walk(folder) for name in names]

    def _on_mkdir(self, arguments: tuple[Any, ...]) -> None:
        name = self._absolute(arguments[0], *arguments[2:3], of_child=True)
        if name is None:
            return
        if status_of(name) is None:
            self._own_folders.add(name)
            self._on_write(name)
        else:
            self._note_look(name, "kind")  # it is refused

    def _on_write(self, path: Any, folder: int = -1) -> None:
        name = self._absolute(path, folder, of_child=True)
        if name is not None and compiled_copies.is_copy(name):
            return  # its source is not written to
        if name is not None and os.getpid() != self._process:
            if self._path(name) is not None and name not in self._written and status_of(name) is None:
                self._written.setdefault(name)
                self._report("made", name)
        elif name is not None:
            # Reads before this write are noted first: later, the file counts as the step's own.
            self._overwritten.add(name)
            if self._path(name) is not None:
                self._read_events()
                self._note_write(name)

    def _on_start(self, event: str, arguments: tuple[Any, ...]) -> None:
        if os.getpid() != self._process:
            with self.unnoted():
                self._report(event, start_of(event, arguments))
            return
        self._on_fork(arguments)
        with self.unnoted():
            self._started.on_event(event, arguments)

    def _on_connection(self, arguments: tuple[Any, ...]) -> None:
        self._report_host(self._connections.on_connect(arguments, caller(2)))

    def _on_message(self, arguments: tuple[Any, ...]) -> None:
        self._report_host(self._connections.on_message(arguments, caller(2)))

    def _report_host(self, host: str | None) -> None:
        if host:
            self._report("host", host)

    def _report_variable(self, name: str, value: str | None) -> None:
        self._report("variable", [name, value])

    def _is_noting(self) -> bool:
        return self._noting and not getattr(self._local, "busy", False)

    def _report(self, kind: str, about: Any) -> None:
        """Report something to the kernel if this is a forked process."""
        if os.getpid() != self._process:
            with self.unnoted():
                self._reports.add(kind, about)

    def _read_reports(self) -> None:
        reports, complete = self._reports.read(self._own_folders, self._is_own)
        if not complete:
            self.problems.append("a worker process was ended while it reported what it did")
        note: dict[str, Callable[..., Any]] = {
            "read": self._note_read_by_worker,
            "look": self._add_look,
            "right": lambda name, mode: self._rights.setdefault((name, mode)),
            "link": self._links.setdefault,
            "request": self._requests.names.setdefault,
            "glob": lambda *pattern: self._globbed.setdefault(pattern),
            "host": self._connections.hosts.setdefault,
            "variable": self._environment.note_of_child,
        }
        for kind, about in reports:
            if isinstance(about, str):
                note[kind](about)
            else:
                note.get(kind, self._started.on_start)(*about)

    def _note_read_by_worker(self, path: str, since: int, mark: Mark | None) -> None:
        self._unattributed.discard(path)
        self._read.setdefault(path, (since, mark))

    def _is_own(self, path: str) -> bool:
        return path in self._written or path in self._child_writes or path in self._created

    def _on_worker(self, arguments: tuple[Any, ...]) -> None:
        self._on_fork(arguments)
        self._started.note_fork()

    def _on_fork(self, _: tuple[Any, ...]) -> None:
        if not self._programs:
            self._read_events()  # events so far cannot come from a child
            if self._lookups is not None:
                with self.unnoted():
                    self._lookups.follow(self._others.is_foreign, self._ignore_thread)
        self._children = self._programs = True

    def _ignore_thread(self) -> None:
        # Runs in the thread that reads lookups: its own accesses are none of the step's.
        self._local.busy = True

    # Looks at files without opening them

    def _on_look_at_open_file(self, number: int, answer: Any) -> Any:
        """Note what the user's own code asks of an open file; libraries ask for the size, part of its content."""
        __tracebackhide__ = True
        if not self._is_noting() or not asking_frames.asks_for_itself(caller(2), self._is_own_code):
            return answer
        with contextlib.suppress(Exception):
            name = link_target(f"/proc/self/fd/{number}")
            status = status_of(name)
            # Pipes, and temporary files without a name, are at no path.
            is_there = status is not None and os.path.samestat(status, answer)
            counts = is_there and self._path(name) is not None and name not in self._appended and not self._is_own(name)
            if counts:
                self._note_counted_look(name, asking_frames.what_is_asked(caller(2), self._is_own_code), answer)
        return answer

    def _on_entry(self, method: str, path: Any, follows: bool) -> None:
        if not self._is_noting():
            return
        with contextlib.suppress(Exception):
            name = self._absolute(path, of_child=True)
            if name is None or self._path(name) is None or name in self._written:
                return
            if not follows and is_link(name):
                self._note_link(name)
            kind = asking_frames.what_is_asked(caller(2), self._is_own_code) if method == "stat" else "kind"
            self._note_look(name, kind)

    def _on_access(self, path: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        mode = arguments[0] if arguments else options["mode"]
        folder = options.get("dir_fd")
        name = self._absolute(path, -1 if folder is None else folder, of_child=True)
        if name is None or self._path(name) is None or name in self._written:
            return
        if mode == os.F_OK:
            self._note_look(name, "kind")
        else:
            known = (name, mode) in self._rights
            self._rights.setdefault((name, mode))
            if not known:
                self._report("right", [name, mode])

    def _on_look(self, path: Any, options: dict[str, Any], answer: Any, *, follows: bool) -> None:
        folder = options.get("dir_fd")
        name = self._absolute(path, -1 if folder is None else folder, of_child=True)
        if name is None:
            return
        frame = caller(3)
        if asking_frames.is_search_for_packages(frame):
            # `importlib.metadata` lists a folder once, and then only looks whether its time has changed.
            self._note_installed(name, frame)
        if self._path(name) is None or name in self._written:
            return
        if not follows or options.get("follow_symlinks") is False:
            if is_link(name):
                self._note_link(name)
            answer = status_of(name)
        self._note_counted_look(name, asking_frames.what_is_asked(frame, self._is_own_code), answer)
        if asking_frames.is_comparison(frame):
            # Where the links in the path lead is part of the answer.
            for part in filter(self._path, (name, *map(str, PurePath(name).parents))):
                if is_link(part):
                    self._note_link(part)

    def _note_link(self, name: str) -> None:
        if name not in self._links:
            self._report("link", name)
        self._links.setdefault(name)

    # What is noted

    def _note_look(self, name: str, kind: str) -> None:
        if self._path(name) is not None and name not in self._written:
            self._note_counted_look(name, kind, status_of(name))

    def _note_counted_look(self, name: str, kind: str, status: os.stat_result | None) -> None:
        known, look = self._asked.get(name), look_of(status)
        self._add_look(name, kind, look)
        if self._asked[name] != known:
            self._report("look", [name, kind, look])

    def _add_look(self, name: str, kind: str, look: list[int] | None) -> None:
        # The most specific question includes the others.
        known = self._asked.get(name)
        if known is not None and known[0] != kind:
            kind = max(kind, known[0], key=_KINDS.index)
        # The last answer counts: code may wait for a file.
        self._asked[name] = (kind, look)

    def _note_read(self, name: str) -> None:
        path = self._path(name)
        if path is None or path in self._read or path in self._written:
            self._unattributed.discard(name)
            return
        now, status = time.time_ns(), status_of(path)
        if status is not None and stat.S_ISDIR(status.st_mode):
            self._note_look(path, "kind")  # its content counts only if it is listed
        else:
            self._read[path] = (now, mark_of(status))

    def _note_listing(self, name: str) -> None:
        path = self._path(name)
        # A folder that the step itself has made may hold files of others in the next run.
        counts = path not in self._written or path in self._own_folders
        if path is not None and path not in self._listed and counts:
            with self.unnoted():
                self._listed[path] = names_digest(path)
                # Digesting lists the folder: the event of that is the log's own, not the step's.
                self._digested.add(path)

    def _note_installed(self, folder: str, frame: Any) -> None:
        """Record that the user's own code, and not a library, asks what is installed in a folder."""
        if not asking_frames.asks_what_is_installed(frame, self._is_own_code):
            return
        if self._path(folder) is not None:
            self._note_listing(folder)
        elif folder.endswith(_SITES):
            pattern = ("glob", "*", folder, "")
            if pattern not in self._globbed:
                self._report("glob", pattern)
            self._globbed[pattern] = None

    def _note_write(self, name: str) -> None:
        path = self._path(name)
        if path is None:
            return
        known = self._read.get(path)
        if known is not None and known[1] is not None and path not in self._written and path not in self._created:
            self.problems.append(f"{REWRITTEN}\0{path}")
        self._written.setdefault(path)

    # Events of the folders

    @contextlib.contextmanager
    def unnoted(self) -> Iterator[None]:
        """Suspend logging in this thread."""
        before, self._local.busy = getattr(self._local, "busy", False), True
        try:
            yield
        finally:
            self._local.busy = before

    def _read_events(self) -> None:
        if self._watch is None or os.getpid() != self._process:
            return
        with self._reading, self.unnoted():
            self._others.forget()
            self._expected.begin_reading()
            try:
                self._digested.clear()
                self._take_events()
                # Recording a listing digests the folder, which makes another event: until there is none.
                while self._digested:
                    self._take_events()
            except EventsLost:
                self.problems.append("more files were opened at once than the system reports")
            self._expected.end_reading()

    def _take_events(self) -> None:
        """Record the pending events, without those of listings that the log itself made for digests."""
        digested, self._digested = self._digested, set()
        for event in self._watch.read(self._read) if self._watch is not None else ():
            if not (event.own and event.is_folder and not event.changed and event.path in digested):
                self._on_event(event)

    def _on_event(self, event: FolderEvent) -> None:
        path = self._path(event.path)
        is_foreign_event = event.own is False and not (
            self._had_children() and not self._others.is_foreign(event.process)
        )
        if compiled_copies.is_copy(event.path):
            # To make a copy is no change of its source, and to open it is to read the source.
            if path is not None and event.opened and not is_foreign_event:
                self._on_event_read(event, path)
            return
        # The file is no longer surely as the step left it, so its digest would prove nothing.
        if path in self._written and event.changed and is_foreign_event:
            self._disputed.add(str(path))
        if path is None or is_foreign_event:
            return
        if event.created:
            self._created.add(path)
        if event.changed and event.own:
            self._on_own_change(event, path)
        elif event.changed and self._had_children():
            self._on_child_change(event, path)
        if event.is_folder:
            if event.opened:
                self._on_listing(event, path)
        else:
            self._on_event_read(event, path)

    def _on_event_read(self, event: FolderEvent, path: str) -> None:
        if not self._is_read(event, path):
            return
        self._read[path] = (self._begun, mark_of(status_of(path)))
        if not event.own and not event.process:
            self._unattributed.add(path)
        if path.endswith(DATABASES):
            self._note_database_logs(path)

    def _note_database_logs(self, database: str) -> None:
        """Note the logs that a database has or may get."""
        with self.unnoted():
            logs = database_logs(database)
        for log in logs:
            if status_of(log) is None:
                self._note_look(log, "kind")
            else:
                self._note_read(log)

    def _on_listing(self, event: FolderEvent, path: str) -> None:
        if event.own is not False and path in self._expected:
            return
        # Worker processes that are not forked have no audit event, and list the folders of `sys.path` to find modules.
        if event.own is not False or self._programs or path not in map(os.path.abspath, sys.path):
            self._note_listing(path)
            if event.own is not False:
                self._listed_here.add(path)

    def _is_read(self, event: FolderEvent, path: str) -> bool:
        """Tell whether an event shows a read; for files appended to, only closing after reading does."""
        if path in self._read or path in self._imported or path in self._written or path in self._created:
            return False
        return event.closed if path in self._appended or path in self._child_writes else event.opened

    def _on_own_change(self, event: FolderEvent, path: str) -> None:
        if path in self._appended and not event.created:
            return
        if event.closed and event.opened and not event.created and path not in self._written and path not in self._read:
            # Read and written by native code. Events carry no order and no time: the step's start is the safe guess.
            self._read[path] = (self._begun, mark_of(status_of(path)))
        self._note_write(path)

    def _on_child_change(self, event: FolderEvent, path: str) -> None:
        """Record files that a child may have written: the step is reused only while they are unchanged."""
        files = self._files_below(path) if event.is_folder and not event.created else [path]
        self._child_writes.update(dict.fromkeys(file for file in files if self._path(file) is not None))

    def _had_children(self) -> bool:
        """Tell whether there are or were child processes: events of other processes may then be theirs."""
        if not self._children:
            self._children = had_children() or has_children()
        return self._children

    # Paths

    def _absolute(self, path: Any, folder: int = -1, *, of_child: bool = False) -> str | None:
        if isinstance(path, int) or (os.getpid() != self._process and not of_child):
            return None
        # Members of an enumeration are texts that show another one where they are formatted.
        text = path if type(path) is str else "".join(os.fsdecode(path))
        # Normalized already: this runs for every file that Python opens, and `abspath` is slow.
        if "/." not in text and "//" not in text and not text.endswith("/"):
            if text.startswith("/"):
                return text
            if folder < 0 and text and not text.startswith("."):
                return os.getcwd().rstrip("/") + "/" + text
        if folder >= 0 and not text.startswith("/"):
            text = os.path.join(link_target(f"/proc/self/fd/{folder}"), text)
        return os.path.abspath(text) if text else None

    def _path(self, name: str) -> str | None:
        if name not in self._known:
            self._known[name] = self._paths.path_of(name)
        return self._known[name]

    def _is_own_code(self, file: str) -> bool:
        if file.startswith("<ipython") or "/ipykernel_" in file:
            return True
        return self._paths.inside(file) and self._paths.path_of(file) is not None
