"""Parcels: a ticket packed with the files that it needs from this machine, and the outcome that comes back.

A remote worker shares only the store with this machine. So a parcel holds the step's input files, as digests in the
store, and the source of the project's modules that it reaches; the worker lays them out at the same relative paths.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines.errors import Diagnostic, StepFailed
from jupyter_pipelines.execution.executors.remote.asked_files import AskedFiles
from jupyter_pipelines.execution.executors.remote.worker_traces import compared_trace
from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import is_below, is_skipped_below
from jupyter_pipelines.execution.ticket import InputSpec, SourceFile, StepOutcome, StepTicket
from jupyter_pipelines.planning.keys.traces import PLAIN, STANDARD, question
from jupyter_pipelines.storage.blobs.blobs import IncomingFile
from jupyter_pipelines.storage.files.os_errors import writing
from jupyter_pipelines.storage.store import Store

OUTSIDE = "outside"
"""Folder beside the project's in which a worker lays out files from outside of the project."""
Parcel = dict[str, Any]


def pack(ticket: StepTicket, store: Store) -> Parcel:
    """Pack a ticket with its files as a JSON document; files have been put into the store when this returns.

    Parameters
    ----------
    ticket : StepTicket
        The ticket to run on a remote worker.
    store : Store
        The store of the ticket, opened.

    Raises
    ------
    StepFailed
        An input file cannot be read (JP310).
    StoreError
        The store cannot be written.
    """
    return _ParcelBuilder(ticket, store).parcel()


class _ParcelBuilder:
    def __init__(self, ticket: StepTicket, store: Store) -> None:
        self._ticket = ticket
        self._store = store
        self._cwd = Path(os.path.abspath(ticket.cwd))  # noqa: PTH100 - links stay what they are
        self._root = Path(os.path.abspath(ticket.root)) if ticket.root else self._cwd  # noqa: PTH100
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._texts: dict[str, str] = {}
        self._ways: dict[str, None] = {}
        self._names: dict[str, None] = {}
        self._marks: dict[str, tuple[int, int]] = {}

    def parcel(self) -> Parcel:
        inputs = {name: self._input(name, given) for name, given in self._ticket.inputs.items()}
        for source in self._ticket.sources:
            self._source(source)
        self._asked()
        # Time zone and language are those of the user, wherever a step runs.
        environment = {name: os.environ[name] for name in sorted(PLAIN) if name in os.environ}
        environment |= self._ticket.environment
        ticket = replace(self._ticket, inputs=inputs, sources=(), root="", environment=environment)
        return {
            "ticket": ticket.to_dict(),
            "cwd": self._within(self._cwd) or ".",
            "files": self._outermost(self._files),
            "folders": self._outermost(self._folders),
            "texts": self._texts,
            "names": list(self._names),
            "marks": self._marks,
            "ways": list(self._ways),
        }

    def _input(self, name: str, given: InputSpec) -> InputSpec:
        if given["kind"] != "file":
            return given
        path = Path(os.path.normpath(self._cwd / given["path"]))
        within = self._within(path)
        place = within or f"../{OUTSIDE}/{name}/{path.name}"
        try:
            self._put(path, place)
        except OSError as error:
            raise StepFailed(_missing_file_fault(name, path, self._ticket.step, error)) from error
        # A relative path inside of the project leads to the same file there; others are rewritten by the worker.
        return given if within and not Path(given["path"]).is_absolute() else {**given, "path": f"{{project}}/{place}"}

    def _put(self, path: Path, place: str) -> None:
        if path.is_dir():
            self._folders[place] = self._store.blobs.put_folder(path).digest
            for folder, _, names in os.walk(path):
                for file in (Path(folder, name) for name in names):
                    self._mark(file, f"{place}/{file.relative_to(path).as_posix()}")
        else:
            self._put_files({place: path})

    def _put_files(self, paths: Mapping[str, Path]) -> None:
        stored = self._store.blobs.put_files([IncomingFile(path=path, move=False) for path in paths.values()])
        self._files |= {place: blob.digest for place, blob in zip(paths, stored, strict=True)}
        for place, path in paths.items():
            self._mark(path, place)

    def _mark(self, path: Path, place: str) -> None:
        """Note time and permissions of a file: code that asks for them gets the same answers on the worker."""
        with contextlib.suppress(OSError):
            status = path.stat()
            self._marks[place] = (status.st_mtime_ns, status.st_mode & 0o777)

    def _asked(self) -> None:
        """Pack what the step asked for in earlier runs, or in an attempt that lacked it."""
        asked = AskedFiles(str(self._root), [str(self._store.root)], self._ticket.ignored)
        files: dict[str, Path] = {}
        # Each import looks in the working directory first, also for modules of the standard library.
        imports = question("searched", self._within(self._cwd) or ".", [STANDARD])
        for path in map(Path, asked.paths([imports, *self._ticket.asked])):
            place = self._within(path) or ""
            if path.is_dir():
                self._names[place] = None
            elif place not in self._files and place not in self._texts and not is_below(place, self._folders):
                files[place] = path
        # A file that cannot be read is none that the step could have read here.
        readable = {place: path for place, path in files.items() if os.access(path, os.R_OK) and path.is_file()}
        try:
            self._put_files(readable)
        except OSError as error:
            path = Path(error.filename or self._root)
            raise StepFailed(_missing_file_fault("", path, self._ticket.step, error)) from error

    def _outermost(self, placed: Mapping[str, str]) -> dict[str, str]:
        """Return what is not in a folder that is sent as a whole."""
        folders = list(self._folders)
        return {
            place: digest
            for place, digest in placed.items()
            if not is_below(place, [folder for folder in folders if folder != place])
        }

    def _source(self, source: SourceFile) -> None:
        path = Path(os.path.normpath(self._cwd / source["path"]))
        within = self._within(path)
        if within is None:
            return  # of another project that is installed here: workers are compared by its version
        if "text" in source:
            self._texts[within] = source["text"]
            self._bytes_of_module(path, within)
            self._module(path, source.get("name", path.stem))
            return
        try:
            if path.is_file() or path.is_dir():
                self._put(path, within)
        except OSError as error:
            raise StepFailed(_missing_file_fault("", path, self._ticket.step, error)) from error

    def _bytes_of_module(self, path: Path, within: str) -> None:
        """Send a module byte by byte if it still is what was read: a text has lost its encoding and its line ends."""
        with contextlib.suppress(OSError, ValueError, SyntaxError):
            with tokenize.open(path) as file:
                unchanged = file.read().removeprefix("\ufeff") == self._texts[within]
            if unchanged:
                self._put_files({within: path})

    def _module(self, path: Path, name: str) -> None:
        """Record the `sys.path` entry of a module, and pack the ``__init__.py`` files of the packages around it."""
        depth = name.count(".") + (1 if path.name == "__init__.py" else 0)
        for folder in path.parents[: depth or 0]:
            package = folder / "__init__.py"
            within = self._within(package)
            if within and within not in self._texts and package.is_file():
                self._texts[within] = package.read_text(encoding="utf-8")
                self._bytes_of_module(package, within)
        way = self._within(path.parents[min(depth, len(path.parents) - 1)])
        if way is not None and way != self._within(self._cwd):
            self._ways[way or "."] = None

    def _within(self, path: Path) -> str | None:
        """Return a path relative to the project's folder; None if it lies outside."""
        try:
            relative = path.relative_to(self._root).as_posix()
        except ValueError:
            return None
        return "" if relative == "." else relative


class ReturnedParcel(NamedTuple):
    """What came back for a parcel.

    Parameters
    ----------
    outcome : StepOutcome
        The outcome, with a trace that this machine can check.
    lacking : dict of str to list of str
        Questions that would have been answered differently if files of this machine had been sent, with these files.
    """

    outcome: StepOutcome
    lacking: dict[str, list[str]]


def examine(brought: Mapping[str, Any], ticket: StepTicket, store: Store) -> ReturnedParcel:
    """Return what came back for a parcel, after its trace was compared with this machine.

    Parameters
    ----------
    brought : Mapping
        The document that the worker returned.
    ticket : StepTicket
        The original ticket.
    store : Store
        The store of the ticket, opened.
    """
    outcome = StepOutcome.from_dict(brought["outcome"])
    if outcome.trace is None:
        return ReturnedParcel(outcome, {})
    files = AskedFiles(ticket.root or ticket.cwd, [str(store.root)], ticket.ignored)
    trace, lacking = compared_trace(outcome.trace, ticket, files, store.digest_files)
    return ReturnedParcel(replace(outcome, trace=trace if outcome.state == "succeeded" else None), lacking)


def unpack(brought: Mapping[str, Any], outcome: StepOutcome, ticket: StepTicket, store: Store) -> StepOutcome:
    """Return an outcome with the paths of notebook and log, after all files that came back were put into their places.

    Parameters
    ----------
    brought : Mapping
        The document that the worker returned.
    outcome : StepOutcome
        The outcome in it.
    ticket : StepTicket
        The original ticket.
    store : Store
        The store of the ticket, opened.

    Raises
    ------
    StoreError
        A file is not in the store, or cannot be written.
    """
    for named, digest in brought.get("written", {}).items():
        path = _place_here(named, outcome, ticket, store)
        if path is not None and not _is_here(path, digest, store):
            with writing(store.root, f"`{named}`, which step `{ticket.step}` wrote"):
                _place(store, digest, path)
    paths: dict[str, str | None] = {"notebook": None, "log": None}
    for what, target in _targets(ticket):
        digest = brought.get(what)
        if digest:
            with writing(store.root, f"the {what} of step `{ticket.step}`"):
                _place(store, digest, Path(target))
            paths[what] = target
    return replace(outcome, notebook=paths["notebook"], log=paths["log"])


def _place_here(named: str, outcome: StepOutcome, ticket: StepTicket, store: Store) -> Path | None:
    """Return where a file that a step wrote into the project belongs; None if it must stay away.

    What comes over the network must lead to no other files of this user, and a file that was changed here while the
    step ran is left as it is: the trace then differs from it, and the step runs again.
    """
    root = os.path.realpath(ticket.root or ticket.cwd)
    path = os.path.normpath(os.path.join(root, named))  # noqa: PTH118 - paths here are texts
    inside = path.startswith(f"{root}/") and os.path.realpath(path) == path
    if not inside or is_skipped_below(path, root) or is_below(path, (str(store.root),)):
        return None
    trace, here = outcome.trace or {}, store.digest_files([path]).get(path)
    if here is None and not os.path.lexists(path):
        return Path(path) if question("written", named) in trace or question("left", named) in trace else None
    return Path(path) if question("written", named) in trace and here == _sent_digest(named, ticket, store) else None


def _sent_digest(place: str, ticket: StepTicket, store: Store) -> str | None:
    """Return the digest with which a file was sent, alone or in a folder; None if it was not sent."""
    if place in ticket.sent:
        return ticket.sent[place]
    for folder, digest in ticket.sent.items():
        if place.startswith(f"{folder}/"):
            entries = {entry.path: entry.digest for entry in store.blobs.manifest(digest)}
            return entries.get(place.removeprefix(f"{folder}/"))
    return None


def _is_here(path: Path, digest: str, store: Store) -> bool:
    return store.digest_files([str(path)]).get(str(path)) == digest


def _targets(ticket: StepTicket) -> Iterator[tuple[str, str]]:
    yield "notebook", ticket.publish["notebook"]
    yield "log", ticket.publish["log"]


def _place(store: Store, digest: str, target: Path) -> None:
    # The log may hold pieces that were streamed while the step ran: the complete file takes its place in one step.
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with store.blobs.open(digest) as source, temporary.open("wb") as file:
            shutil.copyfileobj(source, file)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _missing_file_fault(name: str, path: Path, step: str, error: OSError) -> Diagnostic:
    what = f"the input `{name}`" if name else "a file"
    return Diagnostic(
        code="JP310",
        message=f"{what} of step `{step}` cannot be sent to a worker: {path}: {error.strerror or error}",
        suggestion="put the file back, and run again",
        step=step,
    )
