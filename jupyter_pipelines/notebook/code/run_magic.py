"""``%run FILE``: which file a cell runs, and how its code relates to the cells around it.

The code of a file that only defines what its cell could define itself is shared code like that of the cell, piece by
piece. Every other file is run as it stands, by the same ``%run``, in the steps that use one of its names.
"""

from __future__ import annotations

import ast
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jupyter_pipelines.notebook.code.analyze import analyse_bodies
from jupyter_pipelines.notebook.code.ast_walk import every_node
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.name_usage import DeferredUsage, NameBinding, NameUsage, SourceSpan
from jupyter_pipelines.notebook.code.toplevel import TopLevelStatement, top_level_statements
from jupyter_pipelines.notebook.code.visitor import StarNames
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries

_RUN_MAGICS = frozenset({"run", "%run"})
_VALUE_OPTIONS = frozenset({"-N", "-b", "-D", "-l", "-s", "-T"})
_FLAGS = frozenset({"-i", "-n", "-e", "-t", "-p", "-d", "-r", "-G"})
_NOTEBOOK_SUFFIXES = (".ipy", ".ipynb")
# Names that mean something else in a file than in a cell.
_OWN_NAMES = frozenset(
    {"__file__", "__spec__", "__loader__", "__package__", "globals", "locals", "vars", "dir", "exec", "eval"}
)
_OWN_ATTRIBUTES = frozenset({"argv", "parse_args", "parse_known_args", "currentframe", "stack", "getsource"})

BoundElsewhere = Mapping[str, frozenset[str]]
"""Names that the notebook binds outside the file, each with the code that binds it, empty for computed values."""


class RunCommand(NamedTuple):
    """A ``%run`` line.

    Parameters
    ----------
    text : str
        The text after ``%run``.
    file : str or None
        The file; None if it is known only when the line runs.
    options : frozenset of str
        Its flags, such as ``-i``.
    arguments : tuple of str
        What the file gets as its arguments.
    """

    text: str
    file: str | None = None
    options: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The line that runs the file."""
        return f"%run {self.text}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptCode:
    """The code that a ``%run`` line runs.

    Parameters
    ----------
    name : str
        The file, as the line names it.
    path : Path
        The file.
    source : str
        Its text.
    pieces : tuple of TopLevelStatement or None
        Its statements, if they may stand in the cell instead of the line; None if the file has to be run.
    names : NameUsage
        How running it uses names of the notebook.
    """

    name: str
    path: Path
    source: str
    pieces: tuple[TopLevelStatement, ...] | None
    names: NameUsage


class MissingScript(NamedTuple):
    """A ``%run`` line whose file cannot be run: it does not exist, or is not Python."""

    file: str
    reason: str = ""


def command_of(piece: TopLevelStatement) -> RunCommand | None:
    """Return the ``%run`` line that a piece of a cell stands for; None for any other piece."""
    if piece.kind != "computed" or "get_ipython()" not in piece.source:
        return None
    tree = parse_code(piece.source).tree
    return _run_command(tree.body[0]) if tree and tree.body else None


def _run_command(statement: ast.stmt) -> RunCommand | None:
    call = statement.value if isinstance(statement, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    if not isinstance(call, ast.Call) or not isinstance(function, ast.Attribute) or call.keywords or not call.args:
        return None
    shell = function.value
    if not (isinstance(shell, ast.Call) and isinstance(shell.func, ast.Name) and shell.func.id == "get_ipython"):
        return None
    texts = [node.value if isinstance(node, ast.Constant) else None for node in call.args]
    if function.attr == "run_line_magic" and texts[0] == "run" and len(texts) > 1 and isinstance(texts[1], str):
        return _parsed(texts[1])
    magic, _, rest = str(texts[0]).strip().partition(" ")
    return _parsed(rest) if function.attr == "magic" and magic in _RUN_MAGICS else None


def _parsed(text: str) -> RunCommand:
    """Parse the text after ``%run`` as IPython does."""
    text = text.strip()
    try:
        # IPython splits lines by the rules of the platform: a backslash is an ordinary character on Windows.
        words = shlex.split(text, posix=os.name == "posix")
    except ValueError:
        return RunCommand(text)
    options: set[str] = set()
    while words and words[0].startswith("-"):
        word = words.pop(0)
        if word == "--":
            break
        if word in _VALUE_OPTIONS and words:
            words.pop(0)
        elif word[:2] not in _VALUE_OPTIONS:
            flags = {f"-{letter}" for letter in word[1:]}
            if not flags <= _FLAGS:
                return RunCommand(text)
            options |= flags
    # IPython expands `{…}` and `$…` only when the line runs.
    if not words or "{" in text or "$" in text:
        return RunCommand(text)
    return RunCommand(text, words[0], frozenset(options), tuple(words[1:]))


class ScriptFinder:
    """Finds the files that ``%run`` lines name, and reads their code.

    Parameters
    ----------
    folder : Path
        The notebook's folder.
    recorded_queries : RecordedQueries
        Looks at the files.
    star_names : callable
        Returns the names that a star import binds, or None when that is not known.
    """

    def __init__(self, folder: Path, recorded_queries: RecordedQueries, star_names: StarNames) -> None:
        self._folder = folder
        self._witness = recorded_queries
        self._star_names = star_names

    def pieces(self, command: RunCommand) -> tuple[TopLevelStatement, ...]:
        """Return the statements of the file that a command runs, if it can be read."""
        path = self._path(command.file) if command.file else None
        return top_level_statements(self._witness.text(path)) if path else ()

    def find(self, command: RunCommand, elsewhere: BoundElsewhere) -> ScriptCode | MissingScript | None:
        """Return the code that a command runs; None if that is known only when it runs.

        Parameters
        ----------
        command : RunCommand
            The command.
        elsewhere : Mapping
            The names that the notebook binds outside the file.
        """
        if command.file is None:
            return None
        path = self._path(command.file)
        if path is None:
            return MissingScript(command.file)
        if path.name.lower().endswith(_NOTEBOOK_SUFFIXES):
            return None
        source = self._witness.text(path)
        code = parse_code(source)
        if code.fault is not None or code.magics or code.tree is None:
            place = code.fault.place if code.fault else None
            line = f" in line {place.line}" if place else ""
            return MissingScript(command.file, f"it has a syntax error{line}")
        return self._script(command, path, source, elsewhere)

    def _path(self, name: str) -> Path | None:
        """Return the file that IPython finds under a name: with or without the ending."""
        expanded = os.path.expanduser(name)  # noqa: PTH111 - as IPython does, which raises nothing
        names = [expanded] if name.endswith(".py") else [expanded, f"{expanded}.py"]
        candidates: list[Path] = [self._folder / candidate for candidate in names]
        return next((path for path in candidates if self._witness.is_file(path)), None)

    def _script(self, command: RunCommand, path: Path, source: str, elsewhere: BoundElsewhere) -> ScriptCode:
        body = parse_code(source).tree.body  # type: ignore[union-attr]
        if "-n" in command.options:
            body = [statement for statement in body if not _asks_for_main(statement)]
        usage = analyse_bodies([body], self._star_names)
        shares_names = "-i" in command.options
        fits = not command.arguments and command.options <= {"-i", "-n", "-e"} and not self._is_own_program(path, body)
        if "-n" in command.options:
            # With `-n` the file does not run as `__main__`: code that looks at its name would differ in a cell.
            fits = fits and "__name__" not in usage.reads and not _mentions(body, "__name__")
        if not shares_names:
            fits = fits and not _has_globals(body) and not _clashes(usage, source, elsewhere)
        pieces = tuple(_pieces(source, skipping_main="-n" in command.options)) if fits else None
        names = usage if shares_names else _of_own_namespace(usage)
        name = command.file or path.name
        return ScriptCode(name=name, path=path, source=source, pieces=pieces, names=names)

    def _is_own_program(self, path: Path, body: list[ast.stmt]) -> bool:
        """Return whether code depends on being run as a file: on its arguments, its frames or modules beside it."""
        for node in every_node(ast.Module(body=body, type_ignores=[])):
            if isinstance(node, ast.Name) and node.id in _OWN_NAMES:
                return True
            if isinstance(node, ast.Attribute) and node.attr in _OWN_ATTRIBUTES:
                return True
            if isinstance(node, ast.ImportFrom) and any(alias.name in _OWN_ATTRIBUTES for alias in node.names):
                return True
            # The folder of the file comes first on `sys.path` while `%run` runs it, but not for code in a cell.
            if path.parent != self._folder and any(map(self._is_beside(path), _imported(node))):
                return True
        return False

    def _is_beside(self, path: Path) -> Callable[[str], bool]:
        def beside(name: str) -> bool:
            return name not in sys.stdlib_module_names and bool(self._witness.named(path.parent, name))

        return beside


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [(node.module or "").partition(".")[0]] if isinstance(node, ast.ImportFrom) else []


def _asks_for_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and not statement.orelse and _is_main_test(statement.test)


def _is_main_test(test: ast.expr) -> bool:
    return ast.unparse(test) in ("__name__ == '__main__'", "'__main__' == __name__")


def _mentions(body: list[ast.stmt], name: str) -> bool:
    nodes = every_node(ast.Module(body=body, type_ignores=[]))
    return any(isinstance(node, ast.Name) and node.id == name for node in nodes)


def _has_globals(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Global) for node in every_node(ast.Module(body=body, type_ignores=[])))


def _pieces(source: str, *, skipping_main: bool) -> Iterator[TopLevelStatement]:
    for piece in top_level_statements(source):
        tree = parse_code(piece.source).tree if skipping_main else None
        if tree is None or not any(map(_asks_for_main, tree.body)):
            yield piece


def _clashes(usage: NameUsage, source: str, elsewhere: BoundElsewhere) -> bool:
    """Return whether the file and the notebook mean different things by a name that the file uses.

    What a file defines keeps the file's names when ``%run`` has ended; the notebook gets copies of them.
    """
    own: dict[str, set[str]] = {}
    for piece in top_level_statements(source):
        for name in piece.names.binds:
            own.setdefault(name, set()).add(code_of(piece))
    used = {*usage.reads, *usage.later.reads}
    used.update(name for later in usage.functions.values() for name in later.reads)
    return any(elsewhere.get(name, frozenset()) - own.get(name, set()) for name in used)


def code_of(piece: TopLevelStatement) -> str:
    """Return the code of a piece without comments and formatting; empty for computed values."""
    tree = parse_code(piece.source).tree
    return ast.unparse(tree) if tree and piece.kind != "computed" else ""


def _of_own_namespace(usage: NameUsage) -> NameUsage:
    """Return how a file with a namespace of its own uses the notebook's names: it binds copies of its own there."""
    span = SourceSpan(0, 1, 0, 1)
    return NameUsage(
        binds={name: NameBinding(span, bind.kind, bind.sure) for name, bind in usage.binds.items()},
        later=DeferredUsage(),
        imports=usage.imports,
        paths=usage.paths,
        stars=usage.stars,
        unknown=usage.unknown,
        dynamic=usage.dynamic,
    )
