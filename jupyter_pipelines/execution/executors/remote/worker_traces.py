"""Traces of steps that ran on workers, compared with this machine: here they are checked before the next reuse."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.executors.remote.asked_files import AskedFiles
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.pipeline.changing_variables import READ_BY_PYTHON
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.traces import (
    PLAIN,
    UNKNOWN,
    DigestFiles,
    TraceReader,
    details_of,
    environment_answer,
    path_in_trace,
    question,
    variable_answer,
)

_ENGINES = (
    *"RAY_ DASK_ CUDA_ NVIDIA_ OMP_ MKL_ OPENBLAS_ NUMEXPR_ VECLIB_ BLIS_ KMP_".split(),
    *READ_BY_PYTHON,  # the Python of a worker is started by the engine
)
_NEVER_EQUAL = ("package", "unwatched", "partly")
_MAX_SHOWN = 3
_OF_NAMES = ("listing", "glob", "path-glob", "searched", "origin")
_SENT_WITH_FILES = ("file", "module", "kind", "size", "times", "status", "rights", "origin", "listing", "searched")


class WorkerTrace(NamedTuple):
    """The trace of a step that ran elsewhere.

    Parameters
    ----------
    trace : dict of str to str
        Questions and answers that this machine can check.
    lacking : dict of str to list of str
        Questions that the worker answered differently because files of this machine were not sent to it, each with
        these files.
    """

    trace: dict[str, str]
    lacking: dict[str, list[str]]


def compared_trace(
    trace: Mapping[str, str], ticket: StepTicket, files: AskedFiles, digest_files: DigestFiles
) -> WorkerTrace:
    """Return a worker's trace as this machine can check it.

    Parameters
    ----------
    trace : Mapping of str to str
        The trace that came from the worker.
    ticket : StepTicket
        The ticket as it was sent, with the key of its trace.
    files : AskedFiles
        Finds the files of the project that questions are about.
    digest_files : callable
        Returns the digests of files.
    """
    comparison = _TraceComparison(ticket, files, digest_files)
    comparison.reader.prepare(trace)
    answers = {text: answer for item in trace.items() for text, answer in comparison.answers(*item)}
    # They were sent with the ticket.
    answers |= {question("variable", name): os.environ[name] for name in PLAIN if name in os.environ}
    return WorkerTrace(answers, comparison.lacking)


class _TraceComparison:
    def __init__(self, ticket: StepTicket, files: AskedFiles, digest_files: DigestFiles) -> None:
        self.reader = TraceReader(Path(ticket.root or ticket.cwd), digest_files, os.environ, Path(ticket.cwd))
        self.lacking: dict[str, list[str]] = {}
        self._key = bytes.fromhex(ticket.trace_key)
        self._files = files
        self._asked = frozenset(ticket.asked)
        self._special: Mapping[str, Callable[[str, str], Iterator[tuple[str, str]]]] = {
            "variable": self._variable,
            "unset": self._unset,
            "variables": self._names,
            "environment": self._environment,
            "executable": self._executable,
            "link": self._link,
            "place": self._place,
            "notebook-folder": self._folder,
        }

    def answers(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        """Yield what is recorded for an answer of the worker."""
        kind, *details = details_of(text)
        if kind in self._special:
            yield from self._special[kind](text, there)
            return
        if kind == "package" and there == UNKNOWN:
            yield _elsewhere("which packages the kernel on the worker has is not known")
            return
        if kind in _NEVER_EQUAL or self.reader.answer(text) == there:
            yield text, there
            return
        if _may_lack_files(kind, there) and (files := self._files.paths([text])):
            self.lacking[text] = files
        path = str(details[0])
        if there == MISSING and kind in _SENT_WITH_FILES and self._files.withheld(path):
            yield _elsewhere(f"`{path}`, which it asked for, is not sent to workers, as it may hold secrets")
        elif kind in ("listing", "glob", "path-glob") and text in self._asked:
            yield _elsewhere(f"the names that fit `{path}`, which it asked for, are not all sent to workers")
            yield text, there  # so that the next run knows what it asks for
        elif kind in _SENT_WITH_FILES and path.startswith(("/", "~")) and self.reader.answer(text) == MISSING:
            yield _elsewhere(f"`{path}`, which it used on the worker, is not here")
        else:
            yield text, there

    def _variable(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        name = details_of(text)[1]
        value = os.environ.get(name)
        if name in PLAIN and value is not None:
            return  # the value that was sent counts
        if value is not None and variable_answer(name, value, self._key) == there:
            yield text, self.reader.answer(text)
        elif not name.startswith(_ENGINES):
            yield _elsewhere(f"the environment variable `{name}` is not the same on the worker as here")

    def _unset(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        names = details_of(text)[1:]
        differing = set(self.reader.answer(text).split()) ^ set(there.split())
        equal = [name for name in names if name not in differing]
        if equal:
            yield question("unset", *equal), " ".join(name for name in there.split() if name in equal)
        for name in sorted(differing):
            if not name.startswith(_ENGINES):
                yield _elsewhere(f"the environment variable `{name}` is set here, and not on the worker")

    def _names(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        if self.reader.answer(text) == there:
            yield text, there
        else:
            yield _elsewhere("it asked for the names of all environment variables, and others are set on the worker")

    def _environment(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        if environment_answer(os.environ, self._key) == there:
            yield text, self.reader.answer(text)
        else:
            yield _elsewhere("a program that it started may ask for environment variables, and others are set there")

    def _executable(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        if self.reader.answer(text) == there:
            yield text, there
        else:
            yield _elsewhere(f"the program `{details_of(text)[1]}` is not the same on the worker as here")

    def _place(self, text: str, _: str) -> Iterator[tuple[str, str]]:
        names = ", ".join(f"`{name}`" for name in details_of(text)[1:])
        yield _elsewhere(f"the path of its folder on the worker is in {names}, and that folder is gone")

    def _folder(self, text: str, _: str) -> Iterator[tuple[str, str]]:
        yield text, self.reader.answer(text)

    def _link(self, text: str, there: str) -> Iterator[tuple[str, str]]:
        """Yield where a link of the project leads on this machine: what it leads to was sent in its place."""
        inside = not details_of(text)[1].startswith(("/", "~"))
        yield text, self.reader.answer(text) if inside else there


def _may_lack_files(kind: str, there: str) -> bool:
    """Tell whether a worker may have given this answer because it did not have a file."""
    return there == MISSING or kind in _OF_NAMES or (kind == "rights" and there == "no")


def _elsewhere(why: str) -> tuple[str, str]:
    return question("elsewhere", why), why


def late_files_warnings(ticket: StepTicket, files: Sequence[str], starts: int, *, complete: bool) -> list[Diagnostic]:
    """Return a warning if a step was started several times because it asked for files that had not been sent.

    Parameters
    ----------
    ticket : StepTicket
        The ticket of the step.
    files : sequence of str
        The files.
    starts : int
        How often it was started.
    complete : bool
        In the end it had all that it asked for.
    """
    if not files:
        return []
    names = [path_in_trace(path, ticket.root or ticket.cwd) for path in dict.fromkeys(files)]
    shown = ", ".join(f"`{name}`" for name in names[:_MAX_SHOWN])
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    counted = f"was started {starts} times" if starts > 1 else "may have missed a file"
    end = "" if complete else ", and some of it is still missing there"
    return [
        Diagnostic(
            code="JP609",
            message=f"step `{ticket.step}` {counted}: it asked for {shown}{more}, which had not been sent{end}",
            suggestion="declare what it reads with `-i NAME=PATH`, so that the file or folder is sent at once",
            severity="warning",
            step=ticket.step,
        )
    ]
