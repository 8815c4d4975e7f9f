"""Files that steps of a run hand to each other without saying so: what a step wrote and another reads or writes."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.checks.file_checks import unordered_read_fault
from jupyter_pipelines.pipeline.artifacts import FileSource
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.traces import Trace, details_of, path_in_trace, question

_LOOKS = frozenset({"file", "kind", "size", "times"})


class _FileGlob(NamedTuple):
    """A pattern by which a step looked for files."""

    step: str
    pattern: str

    def fits(self, path: str) -> bool:
        same_depth = "**" in self.pattern or self.pattern.count("/") == path.count("/")
        return same_depth and fnmatch.fnmatchcase(path, self.pattern)


class FileHandovers:
    """Compares the traces of the steps of a run with each other.

    Parameters
    ----------
    pipeline : Pipeline
        Says which step waits for which.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._reused: list[tuple[str, Trace]] = []
        self._readers: dict[str, dict[str, None]] = {}
        self._writers: dict[str, dict[str, str]] = {}
        self._globs: list[_FileGlob] = []

    def note_reused(self, name: str, trace: Trace) -> None:
        """Note that the result of a step is reused; its trace is looked at once a step has run."""
        self._reused.append((name, trace))

    def faults(self, name: str, trace: Trace) -> list[Diagnostic]:
        """Note the trace of a step that has run, and return what is wrong between it and those noted before.

        Parameters
        ----------
        name : str
            The step.
        trace : Mapping of str to str
            What it asked and wrote.
        """
        for reused, earlier in self._reused:
            self._note(reused, earlier)
        self._reused.clear()
        faults = [*self._as_reader(name, trace), *self._as_writer(name, trace)]
        self._note(name, trace)
        return faults

    def _as_reader(self, name: str, trace: Trace) -> Iterator[Diagnostic]:
        if not self._writers:
            return
        for path in self._read_by(self._pipeline[name], trace):
            for writer in self._writers.get(path, ()):
                if writer != name and not self._ordered(writer, name):
                    yield unordered_read_fault(self._pipeline[name], self._pipeline[writer], path)

    def _as_writer(self, name: str, trace: Trace) -> Iterator[Diagnostic]:
        for path, digest in _written(trace):
            globbing = (glob.step for glob in self._globs if glob.fits(path))
            for reader in dict.fromkeys((*self._readers.get(path, ()), *globbing)):
                if reader != name and not self._ordered(reader, name):
                    yield unordered_read_fault(self._pipeline[reader], self._pipeline[name], path)
            for other, other_digest in self._writers.get(path, {}).items():
                if other != name and (other_digest != digest or not digest):
                    yield _written_twice(name, other, path, ordered=self._ordered(other, name))

    def _ordered(self, one_step: str, other_step: str) -> bool:
        """Tell whether a step waits for the other, in either direction."""
        ancestors = self._pipeline.ancestors
        return one_step in ancestors(other_step) or other_step in ancestors(one_step)

    def _note(self, name: str, trace: Trace) -> None:
        for path in self._read_by(self._pipeline[name], trace):
            self._readers.setdefault(path, {})[name] = None
        for path, digest in _written(trace):
            self._writers.setdefault(path, {})[name] = digest
        for kind, *details in map(details_of, trace):
            if kind in ("glob", "path-glob"):
                pattern, folder, *_ = details
                inner = f"**/{pattern}" if kind == "path-glob" and details[2] == "rglob" else pattern
                self._globs.append(_FileGlob(name, posixpath.normpath(posixpath.join(folder, inner))))

    def _read_by(self, step: Step, trace: Trace) -> Iterable[str]:
        """Return the paths of the files that a step read or looked at, as traces name them."""
        paths = [details[0] for kind, *details in map(details_of, trace) if kind in _LOOKS]
        sources = (step_input.source for step_input in step.inputs)
        shown = (*step.files, *(source.path for source in sources if isinstance(source, FileSource)))
        folder, root = str(self._pipeline.folder), str(self._pipeline.root)
        paths += [path_in_trace(posixpath.normpath(posixpath.join(folder, path)), root) for path in shown]
        return dict.fromkeys(paths)


def _written(trace: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the files that a step wrote, each with its digest; empty if others may have written it meanwhile."""
    for text, digest in trace.items():
        kind, *details = details_of(text)
        if kind == "written":
            yield details[0], "" if question("disputed", *details) in trace else digest


def _written_twice(name: str, other: str, path: str, *, ordered: bool) -> Diagnostic:
    after = "each run computes both again" if ordered else "what it holds depends on which of them ends last"
    return Diagnostic(
        code="JP222",
        message=f"steps `{other}` and `{name}` both write `{path}`, and not the same: {after}",
        suggestion=f"write to another file in one of them, or move what writes `{path}` into one step",
        severity="warning" if ordered else "error",
        step=name,
    )
