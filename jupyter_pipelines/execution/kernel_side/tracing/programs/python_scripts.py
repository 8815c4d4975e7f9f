"""Analyse the code that a Python child runs: whether it may depend on more than the files that are observed.

Files that a child opens in the project are observed, but not files elsewhere, and not whether a folder is listed by its
own code or by the import system, which lists the folder of a script to find modules.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import is_below
from jupyter_pipelines.execution.kernel_side.tracing.folder_events import is_skipped
from jupyter_pipelines.pipeline.changing_variables import PERSONAL, changes_by_itself

STANDARD = "*"
"""Placeholder for the names of all modules of the standard library."""
_FLAGS = frozenset({"-u", "-B", "-O", "-OO", "-s", "-q", "-E"})
_STARTS = re.compile(r"system|popen|exec[lv]p?e?|spawn[lv]p?e?|posix_spawnp?|fork_exec|create_subprocess_\w+")
_UNREADABLE = frozenset(
    "__import__ import_module ctypes cffi runpy pty subprocess multiprocessing pexpect importlib".split()
)
_UNREADABLE_CALLS = frozenset("exec eval compile".split())
_ELSEWHERE = frozenset("expanduser expandvars home gettempdir parents pardir".split())
"""Names by which code builds paths that may lie outside of the project."""
_LISTS = frozenset(
    """
    listdir scandir glob iglob rglob iterdir walk fwalk copytree rmtree make_archive dircmp getattr vars globals
    __dict__ pkgutil compileall tarfile zipapp filecmp http unittest doctest site zipimport importlib
    """.split()
)
"""Names by which code may list folders."""
_LISTS_NOTHING = frozenset({"numpy"})
_SYSTEM = ("/dev", "/usr", "/etc", "/proc", "/sys", "/bin")
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{2,}")
_MAX_FILES = 100
_MAX_BYTES = 1_000_000


class ScriptUse(NamedTuple):
    """Possible dependencies of the code of a Python child.

    Parameters
    ----------
    known : bool
        The code starts no program, and names no file outside of the project.
    folder : str
        The folder that the import system lists, if the code itself lists none; else empty.
    modules : tuple of str
        Names of the modules that are searched for there.
    variables : tuple of str
        Volatile environment variables whose names stand in the code.
    """

    known: bool
    folder: str = ""
    modules: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


def script_use(words: Sequence[str], folder: str, root: str, packages: Iterable[str]) -> ScriptUse:
    """Analyse the script or ``-c`` code of a Python command line.

    Parameters
    ----------
    words : sequence of str
        The arguments of the interpreter.
    folder : str
        Its working directory.
    root : str
        The project's folder.
    packages : iterable of str
        Folders with installed packages.
    """
    rest = list(words)
    while rest and rest[0] in _FLAGS:
        rest.pop(0)
    try:
        if rest[:1] == ["-c"]:
            reader = _ScriptReader(folder, folder, root, packages)
            reader.add_text(rest[1])
        else:
            file = os.path.realpath(os.path.join(folder, rest[0]))
            reader = _ScriptReader(os.path.dirname(file), folder, root, packages)
            reader.add_file(file)
    except (OSError, ValueError, SyntaxError, IndexError, RecursionError):
        return ScriptUse(known=False)
    lists = reader.lists or "PYTHONSAFEPATH" in os.environ
    return ScriptUse(
        known=reader.known,
        folder="" if lists else reader.base,
        modules=(*sorted(reader.modules), STANDARD),
        variables=tuple(sorted(reader.variables)),
    )


class _ScriptReader:
    """Reads a script and the modules beside it that it imports."""

    def __init__(self, base: str, folder: str, root: str, packages: Iterable[str]) -> None:
        self.base = base
        self.known, self.lists = True, False
        self.modules: set[str] = set()
        self.variables: set[str] = set()
        self._folder, self._root = folder, root
        self._packages = list(packages)
        self._files: set[str] = set()

    def add_file(self, path: str) -> None:
        """Read a file of Python code, once."""
        if path in self._files:
            return
        self._files.add(path)
        if len(self._files) > _MAX_FILES or os.path.getsize(path) > _MAX_BYTES:
            raise ValueError("too much code to read")
        with open(path, "rb") as file:
            self.add_text(file.read())

    def add_text(self, text: str | bytes) -> None:
        """Read Python code."""
        tree = ast.parse(text)
        from_file = any(isinstance(node, ast.Name) and node.id == "__file__" for node in ast.walk(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self._add_constant(node.value, from_file=from_file)
            elif isinstance(node, ast.Import):
                self._add_imports(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                self._add_names(alias.name for alias in node.names)
                self._add_imports([node.module or ""] if not node.level else [])
            elif isinstance(node, ast.Attribute):
                self._add_names([node.attr])
                self._add_climb(node)
            elif isinstance(node, ast.Name):
                self._add_names([node.id])
                self.known = self.known and node.id not in _UNREADABLE_CALLS
            elif isinstance(node, ast.Call):
                self._add_climb(node)

    def _add_names(self, names: Iterable[str]) -> None:
        for name in names:
            if _STARTS.fullmatch(name) or name in _UNREADABLE or name in _ELSEWHERE:
                self.known = False
            self.lists = self.lists or name in _LISTS

    def _add_climb(self, node: ast.expr) -> None:
        """Detect code that goes up two folders, or up from the working directory: it may leave the project."""
        inner = _parent_of(node)
        if inner is None:
            return
        names = {getattr(part, "attr", getattr(part, "id", "")) for part in ast.walk(inner)}
        if any(_parent_of(part) is not None for part in ast.walk(inner)) or names & {"cwd", "getcwd"}:
            self.known = False

    def _add_constant(self, text: str, *, from_file: bool) -> None:
        if _VARIABLE.fullmatch(text) and (text in PERSONAL or changes_by_itself(text)):
            self.variables.add(text)
        if any(map(is_skipped, text.split("/"))):
            self.known = False  # skipped folders, such as `.git`, are not watched
        if not text.startswith(("/", "~", "..")) or "\n" in text or text in ("/", "..."):
            return
        expanded = os.path.expanduser(text)
        for start in {self.base} if from_file else {self.base, self._folder}:
            path = os.path.abspath(os.path.join(start, expanded))
            parent = os.path.dirname(path)
            there = os.path.lexists(path) or (parent != "/" and os.path.lexists(parent)) or text.startswith("~")
            if there and not is_below(path, (self._root, *_SYSTEM)):
                self.known = False

    def _add_imports(self, names: Iterable[str]) -> None:
        for name in names:
            parts = name.split(".")
            self._add_names(parts)
            self._add_module(parts[0])

    def _add_module(self, name: str) -> None:
        if name in self.modules or not name:
            return
        self.modules.add(name)
        path = os.path.join(self.base, name)
        if os.path.isfile(f"{path}.py"):
            self._add_beside(f"{path}.py")
        elif os.path.isdir(path) and _holds_code(path):
            for folder, _, files in os.walk(path):
                for file in sorted(files):
                    if file.endswith(".py"):
                        self._add_beside(os.path.join(folder, file))
        elif name not in sys.stdlib_module_names:
            self.lists = self.lists or name not in _LISTS_NOTHING
            self.known = self.known and any(_holds(folder, name) for folder in self._packages)

    def _add_beside(self, path: str) -> None:
        if not is_below(path, (self._root,)):
            self.known = False  # code outside of the project is not watched
        self.add_file(path)


def _parent_of(node: ast.AST) -> ast.expr | None:
    """Return ``x`` for an expression ``x.parent`` or ``dirname(x)``; None for any other."""
    if isinstance(node, ast.Attribute) and node.attr == "parent":
        return node.value
    if isinstance(node, ast.Call) and node.args:
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        return node.args[0] if called == "dirname" else None
    return None


def _holds_code(folder: str) -> bool:
    return any(name.endswith(".py") for name in os.listdir(folder))


def _holds(folder: str, name: str) -> bool:
    try:
        return any(entry.partition(".")[0] == name for entry in os.listdir(folder))
    except OSError:
        return False
