"""Traces: what a step asked of files and the environment while it ran, and what the answers are at present.

A trace maps questions to answers. A question is JSON text, so that records hold it as it is:

====================================================  ================================================================
question                                              answer
====================================================  ================================================================
``["file", PATH]``                                    digest of its content; ``missing``, ``folder`` or ``unreadable``
``["module", PATH]``                                  the same of source code that was imported
``["written", PATH]``                                 digest of a file that the step wrote
``["left", PATH]``                                    the same of a log, or of a file that a child may have written
``["package", NAME]``                                 version of a package that was loaded or looked for, or
                                                      ``not installed``
``["origin", NAME, PATH, …]``                         first of the files that a module may come from, by `sys.path`
``["listing", PATH, NAMES]``                          digest of the names of files and folders in it, without
                                                      NAMES, which the step made; patterns of names that are left
                                                      out may follow
``["glob", PATTERN, FOLDER, RECURSIVE, NAMES]``       digest of the names that fit, of :func:`glob.glob`
``["path-glob", PATTERN, FOLDER, METHOD, NAMES]``     the same of ``Path.glob`` and ``Path.rglob``
``["kind", PATH]``                                    ``file``, ``folder`` or ``missing``
``["size", PATH]``                                    kind and size
``["times", PATH]``                                   kind, size and time of the last change
``["status", PATH]``                                  kind, size, time of the last change, permissions
``["rights", PATH, MODE]``                            what :func:`os.access` says
``["searched", FOLDER, NAMES]``                       which files and folders there are modules with these names;
                                                      ``*`` stands for those of the standard library
``["link", PATH]``                                    target of a link, as stored in it
``["variable", NAME]``                                keyed digest of its value; of `TZ` and `LC_*` the value; the
                                                      id of the key may follow, otherwise it is the user's own
``["unset", NAME, …]``                                which of these variables are set; as a rule none
``["variables", NAMES]``                              digest of the names of all variables, without NAMES, which
                                                      the step set, and without those that change by themselves
``["environment"]``                                   keyed digest of all variables: a child may ask for any; the
                                                      id of the key may follow
``["network", HOST]``                                 ``connected``: what it got cannot be asked for again;
                                                      ``perhaps`` may follow
``["program", NAME]``                                 ``started``: what the program did is not known
``["executable", PATH]``                              size and time of a program whose doings are all in the trace
``["place", OUTPUT, …]``                              digest of the path of the project's folder, which these outputs
                                                      contain
``["notebook-folder"]``                               the folder of the notebook, from which relative paths start
``["ignored", PATH]``                                 ``ignored``: the step used it, and it does not count
``["unattributed", PATH]``                            it was opened while the step ran, and the system does not tell by
                                                      which process
``["unwatched", WHY]``                                why the trace is not complete: never the same twice
``["elsewhere", WHY]``                                what is not on this machine: the step ran on another one
``["partly", WHY]``                                   what could not be watched, though nothing says that it mattered
====================================================  ================================================================

Paths are relative to the project's folder; others begin with ``/`` or, in the user's home, with ``~/``.
"""

from __future__ import annotations

import functools
import glob
import hashlib
import hmac
import importlib.machinery
import json
import os
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any

from jupyter_pipelines.pipeline.changing_variables import PERSONAL, changes_by_itself, set_by_user
from jupyter_pipelines.pipeline.ignored_paths import is_clutter, is_ignored
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.secret_marks import environment_keys, user_key

FOLDER = "folder"
UNREADABLE = "unreadable"
UNSET = "unset"
UNCHECKED = "unchecked"
"""Stands for a digest that was made with a key which the user does not have."""
DIGEST = "hmac "
"""Begin of the answers that are digests of environment variables."""
STANDARD = "*"
"""Stands for the modules of the standard library."""
UNKNOWN = "unknown"
"""Stands for the version of a package until the result is recorded."""
HIDDEN_NAMES = frozenset({"__pycache__", ".git", ".pipelines"})
"""Names that no listing counts: programs create them beside a user's files."""
_HEXDIGITS = 16
_WITH_DIGESTS = ('["file"', '["module"', '["written"', '["left"')
PLAIN = frozenset({"TZ", "LC_ALL", "LC_COLLATE", "LC_NUMERIC", "LC_TIME"})
"""Variables whose values are no secrets: colleagues with the same time zone share results."""

PERHAPS = "perhaps"
"""Added to a question about a host that code names, where it is not known whether the step connected to it."""
_ABOUT_PATHS = frozenset(
    """
    file module written left origin listing glob path-glob kind size times status rights searched link place
    """.split()
)
_PATH = {"origin": 1, "glob": 1, "path-glob": 1}
"""Where the path stands in questions in which it is not the first detail."""
CONSTANT_ANSWERS = {
    "network": "connected",
    "program": "started",
    "ignored": "ignored",
    "unattributed": "by this step or another process",
}
"""Answers of questions that are only recorded; see :mod:`jupyter_pipelines.planning.result_lifetime`."""

Trace = Mapping[str, str]
DigestFiles = Callable[[Iterable[str]], Mapping[str, str]]


def question(kind: str, *details: Any) -> str:
    """Return a question as traces hold it."""
    # The text is compared as it is: separators and escapes must be the same on every Python.
    if len(details) == 1 and isinstance(details[0], str):  # about a file, of which there may be thousands
        return f'["{kind}",{encode_basestring_ascii(details[0])}]'
    return json.dumps([kind, *details], separators=(",", ":"), ensure_ascii=True)


def details_of(text: str) -> list[Any]:
    """Return the kind and the details of a question."""
    return list(_parsed(text))


@functools.lru_cache(maxsize=1 << 16)
def _parsed(text: str) -> tuple[Any, ...]:
    return tuple(json.loads(text))


def path_in_trace(path: str, root: str) -> str:
    """Return an absolute path as traces name it."""
    base = root.rstrip("/")
    if path == base:
        return "."
    if path.startswith(f"{base}/"):
        return path[len(base) + 1 :]
    home = os.path.expanduser("~")
    return f"~/{path[len(home) + 1 :]}" if path.startswith(f"{home}/") else path


def path_on_disk(path: str, root: str) -> str:
    """Return the absolute path that a trace names."""
    # Normalised only where it can make a difference: every path of every trace comes through here.
    if path.startswith(("/", "~")) or "." in (path[:1], path[-1:]) or "/." in path:
        return os.path.normpath(os.path.join(root, os.path.expanduser(path)))
    return f"{root}/{path}"


def variable_answer(name: str, value: str, key: bytes | None = None) -> str:
    """Return what a trace holds of an environment variable: as a rule it tells changes, and nothing else.

    Parameters
    ----------
    name, value : str
        The variable.
    key : bytes or None
        The key of the digest; None is the user's own.
    """
    if name in PLAIN:
        return value
    # Records may be shared with others: a plain digest of a short value could be guessed.
    digest = hmac.new(user_key() if key is None else key, value.encode("utf-8", "surrogateescape"), hashlib.sha256)
    return f"{DIGEST}{digest.hexdigest()[:_HEXDIGITS]}"


def environment_answer(environment: Mapping[str, str], key: bytes | None = None) -> str:
    """Return what a trace holds of all variables that a program may ask for; some change by themselves."""
    names = sorted(name for name in environment if name not in PERSONAL and not changes_by_itself(name))
    return variable_answer("", "\0".join(f"{name}={environment[name]}" for name in names), key)


def place_answer(root: str) -> str:
    """Return what a trace holds of the project's folder, whose path an output contains."""
    return f"folder {hashlib.sha256(root.encode('utf-8', 'surrogateescape')).hexdigest()[:_HEXDIGITS]}"


def for_shared_store(trace: Trace, environment: Mapping[str, str]) -> dict[str, str]:
    """Return a trace whose digests of environment variables the users of a shared store can check.

    Digests are made again with the key of the team, if the user has one, and name their key. Only values that still
    have the recorded digest are used.

    Parameters
    ----------
    trace : Mapping of str to str
        A trace with digests that were made with the user's own key.
    environment : Mapping of str to str
        The variables that the step got.
    """
    key_id, key = next(iter(environment_keys().items()))
    shared = dict(trace)
    for text, answer in trace.items():
        kind, *details = _parsed(text)
        if kind == "environment" and not details and environment_answer(environment) == answer:
            answers = {question(kind, key_id): environment_answer(environment, key)}
        elif kind == "variable" and len(details) == 1 and details[0] not in PLAIN:
            name = details[0]
            value = environment.get(name)
            if value is None or variable_answer(name, value) != answer:
                continue
            answers = {question(kind, name, key_id): variable_answer(name, value, key)}
        else:
            continue
        del shared[text]
        shared |= answers
    return shared


def depends_on_folder(text: str) -> bool:
    """Tell whether a step that runs in another folder may have another path in mind, and so ask another question."""
    kind, *details = _parsed(text)
    return kind in _ABOUT_PATHS and not (kind != "place" and str(details[_PATH.get(kind, 0)]).startswith("/"))


def stat_answer(kind: str, status: Sequence[int] | None) -> str:
    """Return the answer to a look at a file.

    Parameters
    ----------
    kind : {"kind", "size", "times", "status"}
        What is asked.
    status : sequence of int or None
        Whether it is a folder, its size in bytes, the time of its last change in nanoseconds, its mode, its owner and
        its group; None if it is missing.
    """
    if status is None:
        return MISSING
    is_folder, size, time_ns, mode, *owner = status
    if is_folder or kind == "kind":
        return FOLDER if is_folder else "file"
    answers = {
        "size": f"file {size}",
        "times": f"file {size} {time_ns}",
        "status": f"file {size} {time_ns} {mode:o} {':'.join(map(str, owner))}",
    }
    return answers[kind]


class TraceReader:
    """Answers the questions of traces from the present state of files and of the environment.

    Parameters
    ----------
    root : Path
        The project's folder.
    digest_files : callable
        Returns the digests of the files with these names; what is no file, or cannot be read, is left out.
    environment : Mapping of str to str
        The variables that steps get.
    folder : Path or None
        The notebook's folder, in which steps run; None is the project's folder.
    """

    def __init__(
        self, root: Path, digest_files: DigestFiles, environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self._version: Callable[[str], str] = lambda _: UNKNOWN
        self._root = str(root).rstrip("/")
        self._digest_files = digest_files
        self._digests: dict[str, str | None] = {}
        # What kernels get anyway may be set where the plan is made in a kernel, and not in a terminal.
        self._environment = environment = set_by_user(environment)
        self._answers: dict[str, str] = {}
        self._folders: dict[str, list[str]] = {}
        self._keys = functools.cache(environment_keys)
        self._kinds: Mapping[str, Callable[..., str]] = {
            "file": self._file,
            "module": self._file,
            "written": self._file,
            "left": self._file,
            "origin": self._origin,
            "listing": self._listing,
            "glob": self._glob,
            "path-glob": self._path_glob,
            **{kind: functools.partial(self._look, kind) for kind in ("kind", "size", "times", "status")},
            "rights": self._rights,
            "searched": self._searched,
            "variables": self._variables,
            "link": self._link,
            "environment": lambda *key: self._keyed(functools.partial(environment_answer, environment), *key),
            "executable": functools.partial(self._look, "times"),
            **{kind: functools.partial(_constant, answer) for kind, answer in CONSTANT_ANSWERS.items()},
            "variable": self._variable,
            "unset": lambda *names: " ".join(name for name in names if name in environment),
            # Differs from every recorded answer, so that such a trace never holds.
            "unwatched": lambda why: f"{why}; asked again",
            "elsewhere": lambda why: f"{why}; asked again",
            "partly": str,
            "place": lambda *_: place_answer(self._root),
            "notebook-folder": lambda: path_in_trace(str(folder or root), self._root),
        }

    def with_versions(self, version: Callable[[str], str]) -> TraceReader:
        """Return this reader with the packages of another Python; its other answers are shared.

        Parameters
        ----------
        version : callable
            Returns the version of the package of an import name.
        """
        # A shallow copy: the answers that do not depend on the interpreter are shared, also those to come.
        reader = copy(self)
        reader.__dict__["_version"] = version
        return reader

    def answer(self, text: str) -> str:
        """Return the answer to a question; each is looked for once."""
        if text.startswith('["package"'):
            return self._version(_parsed(text)[1])
        if text not in self._answers:
            kind, *details = _parsed(text)
            # A question of a newer version has an answer that equals none: the step runs again.
            self._answers[text] = self._kinds[kind](*details) if kind in self._kinds else f"unknown question {kind}"
        return self._answers[text]

    def prepare(self, questions: Iterable[str]) -> None:
        """Look up the digests that questions ask for, all at once."""
        texts = (text for text in questions if text.startswith(_WITH_DIGESTS))
        names = {self._path(_parsed(text)[1]) for text in texts if text not in self._answers}
        names.difference_update(self._digests)
        if names:
            # None for all names first: a file that cannot be read is not looked for a second time.
            self._digests |= dict.fromkeys(names) | dict(self._digest_files(names))

    def answers(self, questions: Iterable[str]) -> dict[str, str]:
        """Return the answers to several questions."""
        questions = list(questions)
        self.prepare(questions)
        return {text: self.answer(text) for text in questions}

    def differing(self, trace: Trace) -> list[tuple[str, str, str]]:
        """Return the questions of a trace whose answers have changed, each with the old and the new answer."""
        self.prepare(trace)
        return [(text, old, new) for text, old in trace.items() if (new := self.answer(text)) != old]

    def _path(self, path: str) -> str:
        return path_on_disk(path, self._root)

    def _file(self, path: str) -> str:
        name = self._path(path)
        if name not in self._digests:
            self.prepare([question("file", path)])
        digest = self._digests[name]
        if digest is None:
            kind = _kind(_status(name))
            return kind if kind in (MISSING, FOLDER) else UNREADABLE
        return digest

    def _origin(self, _: str, *paths: str) -> str:
        return next((path for path in paths if _status(self._path(path)) is not None), MISSING)

    def _listing(self, path: str, made: Sequence[str], ignored: Sequence[str] = ()) -> str:
        # Patterns that are ignored are relative to the project's folder, not to the folder listed.
        folder = "" if path == "." else f"{path}/"
        try:
            with os.scandir(self._path(path)) as entries:
                names = [
                    f"{entry.name}/" if entry.is_dir() else entry.name
                    for entry in entries
                    if entry.name not in made and not is_ignored(f"{folder}{entry.name}", ignored)
                ]
        except OSError:
            return MISSING
        return _names_digest(names, ())

    def _glob(
        self, pattern: str, folder: str, recursive: bool, made: Sequence[str], ignored: Sequence[str] = ()
    ) -> str:
        names = names_fitting("glob", pattern, self._path(folder), recursive)
        return _names_digest((name for name in self._relative(names) if not is_ignored(name, ignored)), made)

    def _path_glob(
        self, pattern: str, folder: str, method: str, made: Sequence[str], ignored: Sequence[str] = ()
    ) -> str:
        try:
            paths = names_fitting("path-glob", pattern, self._path(folder), method)
        except (OSError, ValueError, NotImplementedError):  # pathlib raises the last for absolute patterns
            return MISSING
        return _names_digest((name for name in self._relative(paths) if not is_ignored(name, ignored)), made)

    def _relative(self, paths: Iterable[str]) -> Iterator[str]:
        return (path_in_trace(os.path.normpath(path), self._root) for path in paths)

    def _look(self, kind: str, path: str) -> str:
        status = _status(self._path(path))
        if status is None:
            return stat_answer(kind, None)
        about = [int(stat.S_ISDIR(status.st_mode)), status.st_size, status.st_mtime_ns, status.st_mode]
        return stat_answer(kind, [*about, status.st_uid, status.st_gid])

    def _rights(self, path: str, mode: int) -> str:
        return "yes" if os.access(self._path(path), mode) else "no"

    def _searched(self, folder: str, names: Sequence[str]) -> str:
        base = self._path(folder)
        # Every import searches the same folders of `sys.path`: each is listed once.
        if base not in self._folders:
            try:
                self._folders[base] = os.listdir(base)
            except OSError:
                self._folders[base] = []
        return " ".join(sorted(named_modules(base, self._folders[base], names)))

    def _variables(self, made: Sequence[str]) -> str:
        names = sorted(name for name in self._environment if name not in made and not changes_by_itself(name))
        return f"{len(names)} names {hashlib.sha256(' '.join(names).encode()).hexdigest()[:_HEXDIGITS]}"

    def _link(self, path: str) -> str:
        try:
            return os.readlink(self._path(path))
        except OSError:
            return _kind(_status(self._path(path)))

    def _variable(self, name: str, *key: str) -> str:
        value = self._environment.get(name)
        return UNSET if value is None else self._keyed(functools.partial(variable_answer, name, value), *key)

    def _keyed(self, answer: Callable[..., str], key_id: str = "") -> str:
        """Return an answer whose digest is made with the key of this id."""
        if not key_id:
            return answer()
        key = self._keys().get(key_id)
        return UNCHECKED if key is None else answer(key=key)


def _constant(answer: str, *_: str) -> str:
    return answer


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None


def names_fitting(kind: str, pattern: str, folder: str, how: Any) -> list[str]:
    """Return the absolute paths that fit a pattern.

    Parameters
    ----------
    kind : {"glob", "path-glob"}
        Asked with :mod:`glob`, or with a method of :class:`pathlib.Path`.
    pattern, folder : str
        The pattern, and the folder in which it is looked for.
    how : bool or str
        For ``glob``, whether it is recursive; for ``path-glob``, the name of the method.

    Raises
    ------
    OSError, ValueError, NotImplementedError
        `pathlib` refuses the pattern.
    """
    if kind == "glob":
        return [os.path.join(folder, name) for name in glob.iglob(pattern, root_dir=folder, recursive=how)]
    return [str(path) for path in getattr(Path(folder), how)(pattern)]


def named_modules(folder: str, entries: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return the entries of a folder that Python may import under one of these names."""
    wanted = set(names) | (sys.stdlib_module_names if STANDARD in names else set())
    named = (entry for entry in entries if entry.partition(".")[0] in wanted)
    suffixes = tuple(importlib.machinery.all_suffixes())
    return [entry for entry in named if entry.endswith(suffixes) or os.path.isdir(os.path.join(folder, entry))]


def _kind(status: os.stat_result | None) -> str:
    if status is None:
        return MISSING
    return FOLDER if stat.S_ISDIR(status.st_mode) else "file"


def _is_hidden(name: str) -> bool:
    return name in HIDDEN_NAMES or is_clutter(name)


def _names_digest(names: Iterable[str], made: Sequence[str]) -> str:
    counted = sorted(name for name in set(names).difference(made) if not any(map(_is_hidden, name.split("/"))))
    # Names on Linux may be any bytes, which Python decodes to surrogates.
    text = "\0".join(counted).encode("utf-8", "surrogateescape")
    return f"{len(counted)} names {hashlib.sha256(text).hexdigest()[:_HEXDIGITS]}"
