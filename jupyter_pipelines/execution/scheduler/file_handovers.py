"""Undeclared dependencies through files: a file that a step wrote and another step reads or writes."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.checks.file_checks import ignore_option, unordered_read_fault
from jupyter_pipelines.pipeline.artifacts import FileSource
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.ignored_paths import is_ignored
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.traces import Trace, details_of, path_in_trace, question
from jupyter_pipelines.planning.undeclared_files import is_left_out

_READING = frozenset({"file", "module"})
_MAGIC = re.compile(r"[*?\[]")
_PROGRAMS = frozenset({"program", "executable"})
_MARKERS = frozenset({".gitignore", "CACHEDIR.TAG"})
"""Files that libraries put into each of their cache folders: they are no results of a step."""


class _FileSearch(NamedTuple):
    """A folder that a step listed, or a glob pattern that it used; files that it made itself are excepted."""

    step: str
    pattern: str
    is_folder: bool
    own: frozenset[str]

    @property
    def folder(self) -> str | None:
        """The only folder in which it can match files; None if there may be several."""
        if self.is_folder:
            return self.pattern
        folder = posixpath.dirname(self.pattern)
        return None if _MAGIC.search(folder) or "**" in self.pattern else folder or "."

    def finds(self, path: str) -> bool:
        if path in self.own:
            return False
        if self.is_folder:
            return _folder_of(path) == self.pattern
        same_depth = "**" in self.pattern or self.pattern.count("/") == path.count("/")
        return same_depth and fnmatch.fnmatchcase(path, self.pattern)


class FileHandovers:
    """Compares the traces of the steps of a run to find dependencies that the pipeline does not declare.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline with its declared dependencies.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._reused: list[tuple[str, Trace, Collection[str]]] = []
        self._readers: dict[str, dict[str, None]] = {}
        self._writers: dict[str, dict[str, str]] = {}
        self._appending: dict[str, dict[str, None]] = {}
        self._searches: dict[str | None, list[_FileSearch]] = {}
        self._written_in: dict[str, dict[str, None]] = {}

    def note_reused(self, name: str, trace: Trace, appended: Collection[str] = ()) -> None:
        """Add the trace of a reused step; it is processed only when a step has run."""
        # A run that reuses everything compares nothing, and has to be fast.
        self._reused.append((name, trace, appended))

    def writer_of(self, path: str, name: str) -> str | None:
        """Return a step other than `name` that wrote a file, of the steps added so far; None if there is none."""
        self._note_all_reused()
        return next((writer for writer in self._writers.get(path, ()) if writer != name), None)

    def doubts(self, name: str, appended: Collection[str]) -> dict[str, str]:
        """Return questions that prevent reuse of a step: it appended to files that other steps write anew."""
        writers = ((path, self.writer_of(path, name)) for path in self._counted(name, appended))
        sentences = [f"it appends to `{path}`, which step `{writer}` writes" for path, writer in writers if writer]
        return {question("unwatched", sentence): sentence for sentence in sentences}

    def faults(self, name: str, trace: Trace, appended: Collection[str] = ()) -> list[Diagnostic]:
        """Add the trace of a step that has run; return its conflicts with the steps added before.

        Each conflict is found when the second of two steps is added, whichever of them reads.

        Parameters
        ----------
        name : str
            The step.
        trace : Mapping of str to str
            Its trace.
        appended : collection of str
            Files that it only appended to.
        """
        self._note_all_reused()
        faults = [
            *self._as_reader(name, trace),
            *self._as_writer(name, trace),
            *(
                _written_twice(name, writer, path, ordered=self._ordered(writer, name))
                for path in self._counted(name, appended)
                for writer in self._writers.get(path, ())
                if writer != name
            ),
        ]
        self._note(name, trace, appended)
        return faults

    def _note_all_reused(self) -> None:
        for name, trace, appended in self._reused:
            self._note(name, trace, appended)
        self._reused.clear()

    def _as_reader(self, name: str, trace: Trace) -> Iterator[Diagnostic]:
        if not self._writers:
            return
        searches = [(search, search.folder) for search in _searches(name, trace)]
        listed = (
            path
            for search, folder in searches
            for path in (self._writers if folder is None else self._written_in.get(folder, ()))
            if search.finds(path)
        )
        read = dict.fromkeys(self._read_by(self._pipeline[name], trace))
        for path in read | dict.fromkeys(listed):
            for writer in self._writers.get(path, ()):
                if writer != name and not self._ordered(writer, name):
                    yield self._unordered(name, writer, path, read=path in read)

    def _as_writer(self, name: str, trace: Trace) -> Iterator[Diagnostic]:
        for path, digest in self._written_by(name, trace):
            readers = self._readers.get(path, {})
            searches = (*self._searches.get(None, ()), *self._searches.get(_folder_of(path), ()))
            searching = dict.fromkeys(search.step for search in searches if search.finds(path))
            for reader in readers | searching:
                if reader != name and not self._ordered(reader, name):
                    yield self._unordered(reader, name, path, read=reader in readers)
            for other, other_digest in self._writers.get(path, {}).items():
                if other != name and other_digest != digest:
                    yield _written_twice(name, other, path, ordered=self._ordered(other, name))
            for other in self._appending.get(path, ()):
                if other != name:
                    yield _written_twice(name, other, path, ordered=self._ordered(other, name))

    def _unordered(self, reader: str, writer: str, path: str, *, read: bool) -> Diagnostic:
        """Return the error of a missing dependency; a warning if the reader only listed a folder or used a pattern."""
        fault = unordered_read_fault(self._pipeline[reader], self._pipeline[writer], path)
        return fault if read else replace(fault, severity="warning")

    def _ordered(self, one_step: str, other_step: str) -> bool:
        """Tell whether a step waits for the other, in either direction."""
        ancestors = self._pipeline.ancestors
        return one_step in ancestors(other_step) or other_step in ancestors(one_step)

    def _note(self, name: str, trace: Trace, appended: Collection[str]) -> None:
        for path in self._read_by(self._pipeline[name], trace):
            self._readers.setdefault(path, {})[name] = None
        for path, digest in self._written_by(name, trace):
            self._writers.setdefault(path, {})[name] = digest
            self._written_in.setdefault(_folder_of(path), {})[path] = None
        for path in self._counted(name, appended):
            self._appending.setdefault(path, {})[name] = None
        for search in _searches(name, trace):
            self._searches.setdefault(search.folder, []).append(search)

    def _counted(self, name: str, paths: Iterable[str]) -> Iterator[str]:
        """Yield the files that the step's present header does not ignore; the record may be older than the header."""
        ignored = self._pipeline[name].ignore
        return (path for path in paths if not is_ignored(path, ignored))

    def _written_by(self, name: str, trace: Trace) -> Iterator[tuple[str, str]]:
        """Yield the files that a step wrote and does not ignore, each with its digest."""
        ignored = self._pipeline[name].ignore
        return ((path, digest) for path, digest in _written(trace) if not is_ignored(path, ignored))

    def _read_by(self, step: Step, trace: Trace) -> Iterable[str]:
        """Return the files that a step opened or imported, by their names in traces; existence checks do not count.

        Nor do files of which the system does not tell whether this step or another process opened them.
        """
        read = (
            details[0]
            for kind, *details in map(details_of, trace)
            if kind in _READING and question("unattributed", details[0]) not in trace
        )
        paths = [path for path in read if not is_ignored(path, step.ignore)]
        sources = (step_input.source for step_input in step.inputs)
        files = (path for path in step.files if not is_left_out(self._pipeline, path, step.ignore))
        shown = (*files, *(source.path for source in sources if isinstance(source, FileSource)))
        folder, root = str(self._pipeline.folder), str(self._pipeline.root)
        paths += [path_in_trace(posixpath.normpath(posixpath.join(folder, path)), root) for path in shown]
        return dict.fromkeys(paths)


def _folder_of(path: str) -> str:
    return posixpath.dirname(path) or "."


def _searches(name: str, trace: Trace) -> Iterator[_FileSearch]:
    """Yield the folders that a step listed and the patterns that it used.

    Of a step that started programs, listings are left out: programs list folders for their own purposes.
    """
    questions = [details_of(text) for text in trace]
    started = any(kind in _PROGRAMS for kind, *_ in questions)
    for kind, *details in questions:
        if kind == "listing" and not started:
            folder, made, *_ = details
            own = (posixpath.normpath(posixpath.join(folder, each)) for each in made)
            yield _FileSearch(name, folder, is_folder=True, own=frozenset(own))
        elif kind in ("glob", "path-glob"):
            yield _FileSearch(name, _whole_pattern(kind, details), is_folder=False, own=frozenset(details[3]))


def _whole_pattern(kind: str, details: list[Any]) -> str:
    pattern, folder, method, *_ = details
    inner = f"**/{pattern}" if kind == "path-glob" and method == "rglob" else pattern
    return posixpath.normpath(posixpath.join(folder, inner))


def _written(trace: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the files that a step wrote, each with its digest."""
    for text, digest in trace.items():
        kind, *details = details_of(text)
        if kind == "written" and posixpath.basename(details[0]) not in _MARKERS:
            yield details[0], digest


def _written_twice(name: str, other: str, path: str, *, ordered: bool) -> Diagnostic:
    after = "each run computes both again" if ordered else "what it holds depends on which of them ends last"
    return Diagnostic(
        code="JP222",
        message=f"steps `{other}` and `{name}` both write `{path}`, and not the same: {after}",
        suggestion=f"write `{path}` in one of them only, or add `{ignore_option(path)}` to both headers "
        "if it is no result",
        severity="warning" if ordered else "error",
        step=name,
    )
