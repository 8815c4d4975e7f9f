"""Log which programs a step starts, and whether all that they ask is seen.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import glob
import os
import re
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import is_below, is_skipped_below
from jupyter_pipelines.execution.kernel_side.tracing.program_words import (
    FILES_ONLY,
    ProgramUse,
    programs_of,
    programs_of_text,
)
from jupyter_pipelines.execution.kernel_side.tracing.python_scripts import ScriptUse, script_use

_OWN_COMMANDS = frozenset("echo true false printf cd : pwd exit".split())
"""What shells do themselves, on a system that has no such programs."""
_PLACE = re.compile(r"(?:~|\.{1,2})?/.*")
_WORKERS = (
    *("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver"),
    *("joblib.externals.loky.backend.popen_loky_posix", "loky.backend.popen_loky_posix"),
)
"""Modules that are loaded when a worker process is started that is not forked."""


class ProgramLog:
    """The programs that a step started.

    Parameters
    ----------
    note_file : callable
        Takes the path of a file that a program is told to read.

    Attributes
    ----------
    executables : dict of str to None
        Paths of programs whose doings are seen.
    unknown : dict of str to None
        Names of programs that may have asked for more.
    python : bool
        A child in Python was started: what it asks besides files is another question.
    variables : dict of str to None
        Variables that children in Python may ask for though they change by themselves.
    """

    def __init__(self, note_file: Callable[[str], None]) -> None:
        self.executables: dict[str, None] = {}
        self.unknown: dict[str, None] = {}
        self.python = self._asks_variables = False
        self.variables: dict[str, None] = {}
        self._scripts: list[ScriptUse] = []
        self._lists = False
        self._note_file = note_file
        self._root = "/nonexistent"

    def begin(self, root: str) -> None:
        """Begin with a step of a project."""
        self._root = root

    def note_fork(self) -> None:
        """Take note of a process that is forked: it may list folders, and no event says that it was not a script."""
        self._lists = True

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event."""
        self.on_start(*start_of(event, arguments))

    def on_start(self, words: Sequence[str] | str, folder: str, search: str) -> None:
        """Take note of a program that is started.

        Parameters
        ----------
        words : sequence of str or str
            The words, the first of them its name; a text is run by a shell.
        folder : str
            Where it starts.
        search : str
            The folders in which the program is looked for, as `PATH` has them.
        """
        for use in programs_of_text(words) if isinstance(words, str) else programs_of(words):
            self._note(use, folder, search)

    def _note(self, use: ProgramUse, folder: str, search: str) -> None:
        path = _executable(use.name, folder, search)
        name = os.path.basename(use.name)
        if path is None:
            if name not in _OWN_COMMANDS:  # a shell may do it itself, or it is found by other means
                self.unknown.setdefault(name)
            return
        known = use.known and self._is_inside(folder) and self._note_words(use.words, folder)
        if not use.known and _is_own_python(path):
            self.python = True
            known = self._is_inside(folder) and self._note_words(use.words, folder) and "-m" not in use.words
            known = known and self._is_known_script(use.words, folder)
        else:
            self._lists = self._lists or name not in FILES_ONLY or _may_list(name, use.words, folder)
            self._asks_variables = self._asks_variables or name not in FILES_ONLY
        if known:
            self.executables.setdefault(os.path.realpath(path))
        else:
            self.unknown.setdefault(name)

    def _is_known_script(self, words: Sequence[str], folder: str) -> bool:
        use = script_use(words, folder, self._root, package_folders())
        self._scripts.append(use)
        self.variables.update(dict.fromkeys(use.variables))
        return use.known

    def folders_of_scripts(self) -> dict[str, list[str]]:
        """Return the folders that nothing but Python's search for modules has listed, with the modules looked for."""
        if self._lists or _has_workers() or not all(use.folder for use in self._scripts):
            return {}
        modules: dict[str, set[str]] = {}
        for use in self._scripts:
            modules.setdefault(use.folder, set()).update(use.modules)
        return {folder: sorted(names) for folder, names in modules.items()}

    def _note_words(self, words: Iterable[str], folder: str) -> bool:
        """Note the files outside of the project that words name; tell whether all of them can be seen."""
        return all(self._note_word(text, folder) for word in words for text in _places(word))

    def _note_word(self, text: str, folder: str) -> bool:
        path = os.path.abspath(os.path.join(folder, os.path.expanduser(text))) if text and "\n" not in text else ""
        if path and self._is_inside(path):
            if not os.path.lexists(path):
                self._note_file(path)  # no system reports that a program looks for it in vain
            return not is_skipped_below(path, f"{self._root}/") or not os.path.lexists(path)
        if not path or is_below(path, ("/dev", "/usr", "/etc", "/proc", "/sys", "/bin")):
            return True
        if os.path.isdir(path) or glob.has_magic(path):
            return path == "/" or not (os.path.isdir(path) or bool(glob.glob(path)))
        self._note_file(path)
        return "{" not in path

    def _is_inside(self, path: str) -> bool:
        return is_below(path, (self._root,))

    def document(self) -> dict[str, Any]:
        """Return what was logged, as JSON holds it."""
        return {
            "executables": list(self.executables),
            "unknown": list(self.unknown),
            "packages": package_folders() if self.python else [],
            "environment": self.python or self._asks_variables,
            "variables": list(self.variables),
            "workers": _has_workers(),
        }


def package_folders() -> list[str]:
    """Return the folders in which a child in Python finds packages."""
    folders = [*map(sysconfig.get_path, ("purelib", "platlib"))]
    folders += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return list(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))


def start_of(event: str, arguments: tuple[Any, ...]) -> tuple[list[str] | str, str, str]:
    """Return what an audit event says of a program: words, the folder it starts in, and where it is looked for."""
    search = os.environ.get("PATH", os.defpath)
    if event == "os.system":
        return os.fsdecode(arguments[0]), os.getcwd(), search
    executable, words = arguments[0], _words(arguments[1])
    folder = arguments[2] if event == "subprocess.Popen" else None
    environment = arguments[-1]
    if isinstance(environment, Mapping) and len(arguments) > 2:
        folders = environment.get("PATH", environment.get(b"PATH"))
        search = os.fsdecode(folders) if folders is not None else os.defpath
    name = os.fsdecode(executable) if executable else ""
    if name and (not words or "/" not in words[0]):
        words = [name, *words[1:]]
    return words, os.path.abspath(os.fsdecode(folder) if folder else "."), search


def _words(arguments: Any) -> list[str]:
    if isinstance(arguments, str | bytes | os.PathLike):
        return [os.fsdecode(arguments)]
    return [os.fsdecode(word) for word in arguments or ()]


def _places(word: str) -> list[str]:
    """Return what may name a file in a word: all of it, what stands behind `=`, or the path in an option."""
    if word.startswith("-") and "=" not in word:
        return [match[0]] if (match := _PLACE.search(word)) else []
    name, sign, value = word.partition("=")
    if word.startswith("-"):
        return [value]
    return [word, value] if sign and name.isalnum() else [word]


def _may_list(name: str, words: Sequence[str], folder: str) -> bool:
    """Tell whether a tool, or the shell for it, may list a folder."""
    if name in ("grep", "egrep", "fgrep") and any(re.match(r"-\w*[rR]|--(?:deref|rec)", word) for word in words):
        return True
    return any(glob.has_magic(word) or os.path.isdir(os.path.join(folder, word)) for word in words)


def _has_workers() -> bool:
    return any(module in sys.modules for module in _WORKERS)


def _executable(name: str, folder: str, search: str) -> str | None:
    """Return the path of a program; None if there is none."""
    for place in [""] if "/" in name else search.split(os.pathsep):
        path = os.path.join(folder, place, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _is_own_python(path: str) -> bool:
    """Tell whether a program is the Python that this process runs in, or a script for it."""
    real, own = os.path.realpath(path), os.path.realpath(sys.executable)
    return real == own or os.path.realpath(os.path.join(sys.prefix, "bin", "python")) == real
