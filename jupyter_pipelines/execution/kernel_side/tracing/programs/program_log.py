"""Log which programs a step starts, and whether all of their dependencies can be observed.

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
from jupyter_pipelines.execution.kernel_side.tracing.programs.program_words import (
    FILES_ONLY,
    ProgramUse,
    programs_of,
    programs_of_text,
)
from jupyter_pipelines.execution.kernel_side.tracing.programs.python_scripts import ScriptUse, script_use

_OWN_COMMANDS = frozenset("echo true false printf cd : pwd exit".split())
"""Commands that are built into shells, for systems that have no programs of these names."""
_PLACE = re.compile(r"(?:~|\.{1,2})?/.*")
_WORKERS = (
    *("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver"),
    *("joblib.externals.loky.backend.popen_loky_posix", "loky.backend.popen_loky_posix"),
)
"""Modules that are loaded when a worker process is started by other means than fork."""


class ProgramLog:
    """The programs that a step started.

    Parameters
    ----------
    note_file : callable
        Called with the path of a file that a program gets as an argument.

    Attributes
    ----------
    executables : dict of str to None
        Paths of programs whose dependencies are all observed; they count by content.
    unknown : dict of str to None
        Names of programs that may have used more than files; with any of them the step is not reused.
    python : bool
        A Python child was started: installed packages and environment variables count for it.
    variables : dict of str to None
        Volatile variables (such as `PWD`) whose names stand in the code of Python children.
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
        """Set the project's folder."""
        self._root = root

    def note_fork(self) -> None:
        """Record a fork without exec: its listings of folders cannot be told from those of a script's imports."""
        self._lists = True

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record the program of an audit event."""
        self.on_start(*start_of(event, arguments))

    def on_start(self, words: Sequence[str] | str, folder: str, search: str) -> None:
        """Record a started program.

        Parameters
        ----------
        words : sequence of str or str
            The argument list with the program's name first, or a command line for a shell.
        folder : str
            Its working directory.
        search : str
            The folders in which the program is searched for, in the form of `PATH`.
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
            # `-m` runs the code of an installed package, which is not read.
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
        """Return folders listed only by the imports of Python scripts, each with the modules searched for there."""
        if self._lists or _has_workers() or not all(use.folder for use in self._scripts):
            return {}
        modules: dict[str, set[str]] = {}
        for use in self._scripts:
            modules.setdefault(use.folder, set()).update(use.modules)
        return {folder: sorted(names) for folder, names in modules.items()}

    def _note_words(self, words: Iterable[str], folder: str) -> bool:
        """Record files outside of the project named by arguments; tell whether all named files can be observed."""
        return all(self._note_word(text, folder) for word in words for text in _places(word))

    def _note_word(self, text: str, folder: str) -> bool:
        path = os.path.abspath(os.path.join(folder, os.path.expanduser(text))) if text and "\n" not in text else ""
        if path and self._is_inside(path):
            if not os.path.lexists(path):
                self._note_file(path)  # neither fanotify nor inotify reports a failed open
            return not is_skipped_below(path, f"{self._root}/") or not os.path.lexists(path)
        if not path or is_below(path, ("/dev", "/usr", "/etc", "/proc", "/sys", "/bin")):
            return True
        if os.path.isdir(path) or glob.has_magic(path):
            return path == "/" or not (os.path.isdir(path) or bool(glob.glob(path)))
        self._note_file(path)
        return "{" not in path

    def _is_inside(self, path: str) -> bool:
        return is_below(path, (self._root,))

    def document(self, *, known: bool) -> dict[str, Any]:
        """Return the log as a JSON-serializable document.

        Parameters
        ----------
        known : bool
            All files that programs opened were seen, and they connected to nothing; otherwise programs may have used
            more.
        """
        names = [] if known else [os.path.basename(path) for path in self.executables]
        return {
            "executables": list(self.executables) if known else [],
            "unknown": [*self.unknown, *names],
            "packages": package_folders() if self.python else [],
            "environment": self.python or self._asks_variables,
            "variables": list(self.variables),
            "workers": _has_workers(),
        }


def package_folders() -> list[str]:
    """Return the folders in which a Python child finds installed packages."""
    folders = [*map(sysconfig.get_path, ("purelib", "platlib"))]
    folders += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return list(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))


def start_of(event: str, arguments: tuple[Any, ...]) -> tuple[list[str] | str, str, str]:
    """Return the program of an audit event: arguments, working directory, and `PATH` by which it is searched for."""
    search = os.environ.get("PATH", os.defpath)
    if event == "os.system":
        return os.fsdecode(arguments[0]), os.getcwd(), search
    executable, words = arguments[0], _words(arguments[1])
    folder = arguments[2] if event == "subprocess.Popen" else None
    # Popen, exec and posix_spawn have the environment last; None means that it is inherited.
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
    """Return the parts of an argument that may name a file: all of it, the value after `=`, or a path in an option."""
    if word.startswith("-") and "=" not in word:
        return [match[0]] if (match := _PLACE.search(word)) else []
    name, sign, value = word.partition("=")
    if word.startswith("-"):
        return [value]
    return [word, value] if sign and name.isalnum() else [word]


def _may_list(name: str, words: Sequence[str], folder: str) -> bool:
    """Tell whether a tool, or a shell that expands its arguments, may list a folder."""
    if name in ("grep", "egrep", "fgrep") and any(re.match(r"-\w*[rR]|--(?:deref|rec)", word) for word in words):
        return True
    return any(glob.has_magic(word) or os.path.isdir(os.path.join(folder, word)) for word in words)


def _has_workers() -> bool:
    return any(module in sys.modules for module in _WORKERS)


def _executable(name: str, folder: str, search: str) -> str | None:
    """Return the path of an executable file; None if there is none."""
    for place in [""] if "/" in name else search.split(os.pathsep):
        path = os.path.join(folder, place, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _is_own_python(path: str) -> bool:
    """Tell whether a program is the Python that this process runs in, or a script for it."""
    real, own = os.path.realpath(path), os.path.realpath(sys.executable)
    return real == own or os.path.realpath(os.path.join(sys.prefix, "bin", "python")) == real
