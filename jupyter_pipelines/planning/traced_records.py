"""Records under a key: the record whose trace holds, or what has changed if none does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from jupyter_pipelines.pipeline.artifacts import FileSource
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.ignored_paths import is_clutter, is_ignored
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.secret_marks import is_of_another_user
from jupyter_pipelines.planning.keys.traces import (
    DIGEST,
    FOLDER,
    STANDARD,
    UNCHECKED,
    UNSET,
    Trace,
    TraceReader,
    depends_on_folder,
    details_of,
    path_on_disk,
    question,
)
from jupyter_pipelines.planning.reasons import Code, DecisionReason, Parts, shorten_digests
from jupyter_pipelines.planning.undeclared_files import files_at
from jupyter_pipelines.storage.signing.keyring import TEAM
from jupyter_pipelines.storage.step_record import StepRecord, traced_key

_MAX_CHANGES_SHOWN = 3
_GONE = "is missing now"
_SHARE_KEY = "for later results, share a key (`jupyter pipelines keys share`)"
_UNTRACED = DecisionReason(
    code="untraced",
    text="what it reads is not known yet: its stored result is older than traces",
    details=("it runs once more, and is watched",),
)


def holding_record(
    record: StepRecord,
    traces: TraceReader,
    look_up: Callable[[str], StepRecord | None],
    ignored: Sequence[str] = (),
) -> StepRecord | DecisionReason:
    """Return the record under a key whose trace holds now; without such a record, what has changed.

    Parameters
    ----------
    record : StepRecord
        The newest record of the key.
    traces : TraceReader
        Answers the questions of traces.
    look_up : callable
        Returns the record of another key.
    ignored : sequence of str
        Paths and patterns of files that do not count.
    """
    reason = changed_answer(record, traces, ignored)
    if reason is None:
        return record
    # The newest record may have asked other questions than older ones did: each set of questions is tried.
    for questions in (tuple(record.trace or ()), *record.asked):
        answers = traces.answers(questions)
        other = look_up(traced_key(record.key, answers))
        # The looked-up record is checked itself: the patterns that are ignored may have changed since it was written.
        if other is not None and other.trace == answers and changed_answer(other, traces, ignored) is None:
            return other
    return reason


def asks_for_files(record: StepRecord | None) -> bool:
    """Tell whether the step of a record asked for files: what runs before it may change them."""
    questions = (record.trace if record is not None else None) or ()
    return any(details_of(text)[0] in _ABOUT_FILES for text in questions)


def packages_asked(traces: Iterable[Iterable[str]]) -> set[str]:
    """Return the import names of the packages that questions are about."""
    return {details_of(text)[1] for trace in traces for text in trace if text.startswith('["package"')}


def changed_answer(record: StepRecord, traces: TraceReader, ignored: Sequence[str] = ()) -> DecisionReason | None:
    """Return what the step of a record would read differently now; None if nothing."""
    if record.trace is None:
        return _UNTRACED
    differing = traces.differing({_asked_now(text, ignored): answer for text, answer in record.trace.items()})
    if ignored:
        differing = [difference for difference in differing if not _is_left_out(difference[0], ignored)]
    differing += ((text, answer, "") for text, answer in _counting_again(record.trace, ignored))
    # A module that is found elsewhere explains the names that changed in the folders searched: it is reported once.
    moved = {details_of(text)[1] for text, *_ in differing if text.startswith('["origin"')}
    changes = [
        (text, _change(text, old, new, record))
        for text, old, new in differing
        if not (text.startswith('["searched"') and moved.issuperset(_modules_changed(details_of(text)[2], old, new)))
    ]
    if not changes:
        return None
    # The sort is stable: within a code, changes stay in the order of the trace.
    changes.sort(key=lambda change: _ORDER.index(change[1][0]))
    code = changes[0][1][0]
    first = [change for _, change in changes if change[0] == code]
    others = [change for _, change in changes if change[0] != code]
    texts = [text for _, text, _ in first[:_MAX_CHANGES_SHOWN]]
    omitted = [f"and {len(first) - _MAX_CHANGES_SHOWN} more"] if len(first) > _MAX_CHANGES_SHOWN else []
    details = [evidence for _, _, evidence in first[:_MAX_CHANGES_SHOWN] if evidence]
    details += [text for _, text, _ in (*first[_MAX_CHANGES_SHOWN:], *others)]
    return DecisionReason(code=code, text=", ".join([*texts, *omitted]), details=tuple(details))


def _asked_now(text: str, ignored: Sequence[str]) -> str:
    """Return a question about names in folders without those patterns that are no longer ignored."""
    if not text.startswith(_NAMES):
        return text
    kind, *details = details_of(text)
    if len(details) <= _DETAILS[kind]:
        return text
    patterns = [pattern for pattern in details[-1] if pattern in ignored]
    return question(kind, *details[:-1], *([patterns] if patterns else []))


def _counting_again(trace: Trace, ignored: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what a trace holds about files that were ignored then, and count now."""
    for text, answer in trace.items():
        if text.startswith('["ignored"') and not is_ignored(details_of(text)[1], ignored):
            yield text, answer


def _is_left_out(text: str, ignored: Sequence[str]) -> bool:
    """Tell whether a question is about a file that is ignored now."""
    kind, *details = details_of(text)
    return kind in _ABOUT_FILES and not kind.endswith("glob") and is_ignored(details[0], ignored)


_ABOUT_FILES = frozenset("file module listing glob path-glob kind size times status rights link written left".split())
_NAMES = ('["listing"', '["glob"', '["path-glob"')
_DETAILS = {"listing": 2, "glob": 4, "path-glob": 4}
"""How many details questions about names have; patterns of files that are ignored may follow."""
_SITES = "-packages"
"""Ends the paths of folders with installed packages: their names say what is installed."""
_ORDER: tuple[Code, ...] = (
    "file",
    "module",
    "package",
    "environment-variable",
    "program",
    "output-missing",
    "unwatched",
)


def _change(text: str, old: str, new: str, record: StepRecord) -> tuple[Code, str, str]:
    """Return code, words and evidence for an answer that differs."""
    kind, *details = details_of(text)
    if kind in ("variable", "environment"):
        obstacle = _incomparable(kind, details, new, record)
        if obstacle:
            noun = "environment variables" if kind == "environment" else f"environment variable `{details[0]}`"
            return "environment-variable", f"{noun} cannot be compared on this machine", obstacle
    code, words, evidence = _WORDS[kind](details, old, new)
    # A path outside the project has never been here if another user has computed the result.
    if words.endswith(_GONE) and str(details[0]).startswith(("/", "~/")) and is_of_another_user(record):
        words = f"{words.removesuffix(_GONE)}is missing on this machine"
    return code, words, evidence


def _incomparable(kind: str, details: list[Any], new: str, record: StepRecord) -> str:
    """Return why the digest of an environment variable cannot be made here; empty if it can."""
    if new == UNCHECKED and str(details[-1]).startswith(f"{TEAM}-"):
        return f"its digest needs the {details[-1]} key: ask a colleague for it, then `jupyter pipelines keys join KEY`"
    is_keyless = len(details) == (0 if kind == "environment" else 1)
    if new == UNCHECKED or (is_keyless and new.startswith(DIGEST) and is_of_another_user(record)):
        return f"its digest was made with a key of another user or machine: {_SHARE_KEY}"
    return ""


def _file(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    path = details[0]
    if MISSING in (old, new):
        return _presence("file", path, "read", old)
    return "file", f"file `{path}`, which it read, changed", _from_to(path, old, new)


def _presence(noun: str, path: str, verb: str, old: str) -> tuple[Code, str, str]:
    """Return the words for a file or folder that has appeared or disappeared."""
    if old == MISSING:
        return "file", f"{noun} `{path}`, which it looked for, is there now", ""
    return "file", f"{noun} `{path}`, which it {verb}, is missing now", ""


def _module(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    path = details[0]
    words = "is missing now" if new == MISSING else "changed"
    return "module", f"module file `{path}`, which it imported, {words}", _from_to(path, old, new)


def _origin(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    words = "is missing now" if new == MISSING else f"now comes from `{new}`"
    return "module", f"module `{details[0]}` {words}", "" if new == MISSING else f"{details[0]}: {old} -> {new}"


def _package(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    name = details[0]
    old_version, new_version = old.partition(" (")[0], new.partition(" (")[0]
    if old_version != new_version and "sources" not in (old.split(maxsplit=1)[0], new.split(maxsplit=1)[0]):
        return "package", f"{name} {old_version} -> {new_version}", ""
    return "package", f"the files of package `{name}` changed", f"{name}: {old} -> {new}"


def _written(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    path = details[0]
    words = "is missing now" if new == MISSING else "is not what it wrote any more"
    return "output-missing", f"file `{path}`, which it wrote, {words}", _from_to(path, old, new)


def _left(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    path = details[0]
    words = "is missing now" if new == MISSING else "changed"
    return (
        "output-missing",
        f"file `{path}`, which it or its programs may have written, {words}",
        _from_to(path, old, new),
    )


def _counts_again(details: list[Any], _: str, __: str) -> tuple[Code, str, str]:
    return "file", f"file `{details[0]}`, which it used, is not ignored any more", ""


def _listing(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    folder = details[0]
    if MISSING in (old, new):
        return _presence("folder", folder, "listed", old)
    return "file", f"the names in folder `{folder}`, which it listed, changed", _from_to(folder, old, new)


def _glob(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    if str(details[1]).endswith(_SITES):
        return "package", f"other packages are installed in `{details[1]}`", ""
    folder = "" if details[1] == "." else f"{details[1]}/"
    pattern = details[0] if details[0].startswith("/") else f"{folder}{details[0]}"
    return "file", f"the files that fit `{pattern}` changed", _from_to(pattern, old, new)


def _kind(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    path = details[0]
    if MISSING in (old, new):
        return _presence(new if old == MISSING else old, path, "looked at", old)
    return "file", f"`{path}`, which it looked at, is a {new} now", f"{path}: {old} -> {new}"


def _times(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    if MISSING in (old, new) or FOLDER in (old, new):
        return _kind(details, old.partition(" ")[0], new.partition(" ")[0])
    before, after = old.split(), new.split()
    if before[:3] == after[:3] and len(before) > 3:
        what = "owner" if before[3:4] == after[3:4] else "permissions"
        return "file", f"the {what} of `{details[0]}`, which it asked for, changed", _from_to(details[0], old, new)
    return "file", f"size or time of file `{details[0]}`, which it asked for, changed", _from_to(details[0], old, new)


def _rights(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    return "file", f"the permissions of `{details[0]}`, which it asked for, changed", f"{details[0]}: {old} -> {new}"


def _searched(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    folder, names = details
    nouns = ", ".join(f"`{name}`" for name in _modules_changed(names, old, new))
    where = "" if folder == "." else f" in `{folder}`"
    return "module", f"what{where} is imported as {nouns} changed", f"{folder}: {old or MISSING} -> {new or MISSING}"


def _modules_changed(names: Sequence[str], old: str, new: str) -> list[str]:
    """Return the modules for which a folder holds other files than before."""
    changed = {entry.partition(".")[0] for entry in set(old.split()) ^ set(new.split())}
    return sorted(changed) if STANDARD in names else [name for name in names if name in changed]


def _variables(_: list[Any], __: str, ___: str) -> tuple[Code, str, str]:
    return "environment-variable", "other environment variables are set, and it asked for the names of all", ""


def _link(details: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    path = details[0]
    if new == MISSING:
        return "file", f"link `{path}`, which it followed, is missing now", ""
    return "file", f"link `{path}`, which it followed, leads elsewhere now", f"{path}: {old} -> {new}"


def _variable(details: list[Any], _: str, new: str) -> tuple[Code, str, str]:
    unset = "is no longer set" if len(details) == 1 else "is not set"
    words = unset if new == UNSET else "changed"
    return "environment-variable", f"environment variable `{details[0]}` {words}", ""


def _unset(_: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    names = sorted(set(new.split()) ^ set(old.split()))
    verb = "is set now" if len(names) == 1 else "are set now"
    noun = "environment variable" if len(names) == 1 else "environment variables"
    return "environment-variable", f"{noun} {', '.join(f'`{name}`' for name in names)} {verb}", ""


def _environment(_: list[Any], __: str, ___: str) -> tuple[Code, str, str]:
    return "environment-variable", "environment variables changed, and a program that it started may ask for them", ""


def _executable(details: list[Any], _: str, new: str) -> tuple[Code, str, str]:
    words = "is missing now" if new == MISSING else "changed"
    return "program", f"program `{details[0]}`, which it started, {words}", ""


def _unwatched(_: list[Any], old: str, __: str) -> tuple[Code, str, str]:
    return "unwatched", f"what it read cannot be determined: {old}", ""


def _place(details: list[Any], _: str, __: str) -> tuple[Code, str, str]:
    names = ", ".join(f"`{name}`" for name in details)
    verb = "contain" if len(details) > 1 else "contains"
    return "file", f"the project is in another folder now, and {names} {verb} the path of the old one", ""


def _notebook_folder(_: list[Any], old: str, new: str) -> tuple[Code, str, str]:
    return "file", f"the notebook is in `{new}` now, and it used files while it was in `{old}`", ""


def _elsewhere(_: list[Any], old: str, __: str) -> tuple[Code, str, str]:
    return "unwatched", f"it cannot be checked on this machine: {old}", ""


_WORDS: dict[str, Callable[[list[Any], str, str], tuple[Code, str, str]]] = {
    "file": _file,
    "module": _module,
    "origin": _origin,
    "package": _package,
    "written": _written,
    "left": _left,
    "ignored": _counts_again,
    "listing": _listing,
    "glob": _glob,
    "path-glob": _glob,
    "link": _link,
    "partly": _unwatched,
    "executable": _executable,
    "kind": _kind,
    "size": _times,
    "times": _times,
    "status": _times,
    "rights": _rights,
    "searched": _searched,
    "variables": _variables,
    "variable": _variable,
    "unset": _unset,
    "environment": _environment,
    "unwatched": _unwatched,
    "elsewhere": _elsewhere,
    "place": _place,
    "notebook-folder": _notebook_folder,
}


def _from_to(name: str, old: str, new: str) -> str:
    return "" if MISSING in (old, new) else f"{name}: {shorten_digests(old)} -> {shorten_digests(new)}"


def beyond_key(trace: Trace, step: Step, pipeline: Pipeline, parts: Parts) -> Iterator[tuple[str, str]]:
    """Yield the questions of a trace, with their answers, that the key of the step does not answer already.

    Parameters
    ----------
    trace : Mapping of str to str
        What the step asked.
    step : Step
        The step: its declared inputs and the files that its code shows are parts of its key.
    pipeline : Pipeline
        Holds the step.
    parts : Mapping of str to str
        What the key is made of: it names the modules.
    """
    covered = _CoveredPaths(step, pipeline, parts)
    of_key = frozenset(parts.values())
    folder_counts = False
    for text, answer in trace.items():
        kind, *details = details_of(text)
        if kind == "notebook-folder":
            continue
        if kind == "module" and covered.module(details[0]):
            continue
        if kind == "package" and f"package:{details[0]}" in parts:
            continue
        # A file that was changed after the decision and before it was read is not the one in the key.
        changed = kind == "file" and covered.single_file(details[0]) and answer not in of_key
        if kind in ("file", "listing", "kind", "left") and covered.file(details[0]) and not changed:
            continue
        folder_counts = folder_counts or depends_on_folder(text)
        yield text, answer
    if folder_counts and (text := question("notebook-folder")) in trace:
        yield text, trace[text]


class _CoveredPaths:
    """The files whose content is part of a step's key."""

    def __init__(self, step: Step, pipeline: Pipeline, parts: Parts) -> None:
        self._root = str(pipeline.root)
        folder = str(pipeline.folder)
        sources = [step_input.source.path for step_input in step.inputs if isinstance(step_input.source, FileSource)]
        read = [name for path in step.files for name in files_at(pipeline, path)]
        self._files = {os.path.normpath(os.path.join(folder, path)) for path in (*sources, *read)}
        # A pattern has one digest for all its files, and so has a folder.
        single = [path for path in step.files if f"file:{path}" in parts and files_at(pipeline, path) == [path]]
        self._read = {os.path.normpath(os.path.join(folder, path)) for path in single}
        self._folders = tuple(f"{path}/" for path in self._files if os.path.isdir(path))
        # Of every step: objects among the inputs may bring modules that the step itself does not import.
        modules = {module.path for other in pipeline for module in other.modules if f"module:{module.name}" in parts}
        self._modules = {os.path.normpath(os.path.join(folder, path)) for path in modules}
        # The notebook changes with every edit; its code is in the key already.
        if pipeline.notebook is not None:
            self._files.add(str(pipeline.notebook))

    def single_file(self, path: str) -> bool:
        """Tell whether a file has a part of its own in the key, with its digest."""
        return path_on_disk(path, self._root) in self._read

    def file(self, path: str) -> bool:
        absolute = path_on_disk(path, self._root)
        return absolute in self._files or any(
            # Digests of folders leave these files out, so the key says nothing about them.
            absolute.startswith(folder) and not any(map(is_clutter, absolute.removeprefix(folder).split("/")))
            for folder in self._folders
        )

    def module(self, path: str) -> bool:
        return path_on_disk(path, self._root) in self._modules
