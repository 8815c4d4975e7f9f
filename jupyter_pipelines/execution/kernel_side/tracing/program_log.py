"""Log which programs a step starts, and whether all that they ask is seen.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import glob
import os
import shutil
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import is_below
from jupyter_pipelines.execution.kernel_side.tracing.program_words import ProgramUse, programs_of, programs_of_text


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
    """

    def __init__(self, note_file: Callable[[str], None]) -> None:
        self.executables: dict[str, None] = {}
        self.unknown: dict[str, None] = {}
        self.python = False
        self._note_file = note_file
        self._root = "/nonexistent"

    def begin(self, root: str) -> None:
        """Begin with a step of a project."""
        self._root = root

    def on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take note of an audit event."""
        if event == "os.system":
            self.note_text(os.fsdecode(arguments[0]))
            return
        executable, words = arguments[0], _words(arguments[1])
        folder = arguments[2] if event == "subprocess.Popen" else None
        name = os.fsdecode(executable) if executable else ""
        if name and (not words or "/" not in words[0]):
            words = [name, *words[1:]]
        self.note(words, os.fsdecode(folder) if folder else "")

    def note_text(self, text: str) -> None:
        """Take note of a text that a shell runs."""
        for use in programs_of_text(text):
            self._note(use, os.getcwd())

    def note(self, words: Sequence[str], folder: str = "") -> None:
        """Take note of a program that is started with these words in a folder."""
        for use in programs_of(words):
            self._note(use, os.path.abspath(folder or "."))

    def _note(self, use: ProgramUse, folder: str) -> None:
        path = _found(use.name, folder)
        name = os.path.basename(use.name)
        if path is None:
            return  # it does not start
        known = use.known and self._is_inside(folder) and self._note_words(use.words, folder)
        if not use.known and _is_own_python(path):
            self.python = True
            known = self._is_inside(folder) and self._note_words(use.words, folder) and "-m" not in use.words
        if known:
            self.executables.setdefault(os.path.realpath(path))
        else:
            self.unknown.setdefault(name)

    def _note_words(self, words: Iterable[str], folder: str) -> bool:
        """Note the files outside of the project that words name; tell whether all of them can be seen."""
        for word in words:
            if word.startswith("-") and "=" not in word:
                continue
            text = os.path.expanduser(word.rpartition("=")[2] if word.startswith("-") else word)
            path = os.path.abspath(os.path.join(folder, text)) if text and "\n" not in text else ""
            if path and self._is_inside(path):
                if not os.path.lexists(path):
                    self._note_file(path)  # no system reports that a program looks for it in vain
                continue
            if not path or is_below(path, ("/dev", "/usr", "/etc", "/proc", "/sys", "/bin")):
                continue
            if os.path.isdir(path) or glob.has_magic(path):
                if path != "/" and (os.path.isdir(path) or glob.glob(path)):
                    return False
            else:
                self._note_file(path)
        return True

    def _is_inside(self, path: str) -> bool:
        return is_below(path, (self._root,))

    def document(self) -> dict[str, Any]:
        """Return what was logged, as JSON holds it."""
        return {
            "executables": list(self.executables),
            "unknown": list(self.unknown),
            "packages": package_folders() if self.python else [],
        }


def package_folders() -> list[str]:
    """Return the folders in which a child in Python finds packages."""
    folders = [*map(sysconfig.get_path, ("purelib", "platlib"))]
    folders += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return list(dict.fromkeys(folder for folder in folders if os.path.isdir(folder)))


def _words(arguments: Any) -> list[str]:
    if isinstance(arguments, str | bytes | os.PathLike):
        return [os.fsdecode(arguments)]
    return [os.fsdecode(word) for word in arguments or ()]


def _found(name: str, folder: str) -> str | None:
    return os.path.join(folder, name) if "/" in name else shutil.which(name)


def _is_own_python(path: str) -> bool:
    """Tell whether a program is the Python that this process runs in, or a script for it."""
    real, own = os.path.realpath(path), os.path.realpath(sys.executable)
    return real == own or os.path.realpath(os.path.join(sys.prefix, "bin", "python")) == real
