"""The statements at the top level of a cell: shared definitions and exploration."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from jupyter_pipelines.notebook.code.analyze import analyse, analyse_bodies
from jupyter_pipelines.notebook.code.cell_code import CellCode, parse_code
from jupyter_pipelines.notebook.code.constant_expressions import is_constant
from jupyter_pipelines.notebook.code.name_usage import ModuleImport, NameUsage
from jupyter_pipelines.notebook.code.visitor import StarNames
from jupyter_pipelines.pipeline.step import SharedKind

StatementKind = SharedKind | Literal["computed", "star"]

_REMEMBERED = 1 << 14
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_MESSAGE_FUNCTIONS = frozenset({"print", "warn", "warning", "info", "debug", "display"})
_SUPPRESSING_CONTEXTS = frozenset({"suppress", "catch_warnings"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TopLevelStatement:
    """A statement at the top level of a cell, or a single name of an import statement.

    Parameters
    ----------
    kind : str
        What kind of shared code it is; ``computed`` when it is exploration, ``star`` for ``from … import *``.
    source : str
        Its text, decorators included.
    line : int
        Its first line in the body of the cell, counted from 1.
    names : NameUsage
        How it uses names.
    star : ModuleImport or None
        What a star import imports from.
    """

    kind: StatementKind
    source: str
    line: int
    names: NameUsage
    star: ModuleImport | None = None

    @property
    def is_future(self) -> bool:
        """Whether it is a ``__future__`` import, which changes how later code is compiled."""
        return any(import_.module == "__future__" for import_ in self.names.imports)


@lru_cache(maxsize=_REMEMBERED)
def top_level_statements(body: str) -> tuple[TopLevelStatement, ...]:
    """Return the pieces of a cell; none when it is not Python or has a syntax error."""
    code = parse_code(body)
    if code.tree is None:
        return ()
    extractor = _StatementExtractor(code)
    return tuple(piece for statement in code.tree.body for piece in extractor.pieces(statement))


def setup_statement(body: str, star_names: StarNames) -> TopLevelStatement:
    """Return a whole ``%%setup`` cell as a piece."""
    names = analyse([parse_code(body)], star_names)
    return TopLevelStatement(kind="setup", source=body, line=1, names=names)


class _StatementExtractor:
    """Splits the text of a cell into pieces."""

    def __init__(self, code: CellCode) -> None:
        self.lines = code.source.split("\n")

    def pieces(self, statement: ast.stmt) -> Iterator[TopLevelStatement]:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield from self._imports(statement)
        else:
            yield self._piece(kind_of(statement) or "computed", statement)

    def _imports(self, statement: ast.Import | ast.ImportFrom) -> Iterator[TopLevelStatement]:
        """Yield a piece for each name, so that a step gets only those imports that it reaches."""
        for alias in statement.names:
            single_import = _import_of_alias(statement, alias)
            text = self._text(statement) if len(statement.names) == 1 else ast.unparse(single_import)
            star = None
            if alias.name == "*" and isinstance(statement, ast.ImportFrom):
                star = ModuleImport(statement.module or "", ("*",), statement.level)
            kind: StatementKind = "star" if star else "import"
            yield TopLevelStatement(
                kind=kind, source=text, line=statement.lineno, names=analyse_bodies([[single_import]]), star=star
            )

    def _piece(self, kind: StatementKind, statement: ast.stmt) -> TopLevelStatement:
        names = analyse_bodies([[statement]])
        return TopLevelStatement(kind=kind, source=self._text(statement), line=_first_line(statement), names=names)

    def _text(self, statement: ast.stmt) -> str:
        """Return the text of a statement: whole lines, unless it shares a line with another statement."""
        first, last = _first_line(statement), statement.end_lineno or statement.lineno
        before = _cut(self.lines[statement.lineno - 1], 0, statement.col_offset)
        after = _cut(self.lines[last - 1], statement.end_col_offset or 0, None).strip()
        lines = self.lines[first - 1 : last]
        if before.strip() or (after and not after.startswith("#")):
            return _segment(lines, statement)
        return "\n".join(lines)


def _import_of_alias(statement: ast.Import | ast.ImportFrom, alias: ast.alias) -> ast.stmt:
    """Return a statement that imports only `alias`."""
    if isinstance(statement, ast.Import):
        single_import: ast.stmt = ast.Import(names=[alias])
    else:
        single_import = ast.ImportFrom(module=statement.module, names=[alias], level=statement.level)
    return ast.copy_location(single_import, statement)


def _first_line(statement: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(statement, "decorator_list", [])
    # `lineno` is the line of `def` or `class`, below the decorators.
    return min([statement.lineno, *(decorator.lineno for decorator in decorators)])


def _segment(lines: Sequence[str], statement: ast.stmt) -> str:
    cut = list(lines)
    cut[-1] = _cut(cut[-1], 0, statement.end_col_offset)
    # With decorators, the first line belongs to a decorator, and no other statement can stand before it.
    if len(cut) == (statement.end_lineno or 0) - statement.lineno + 1:
        cut[0] = _cut(cut[0], statement.col_offset, None)
    return "\n".join(cut)


def _cut(line: str, start: int, end: int | None) -> str:
    """Return part of a line, by the bytes that Python counts in."""
    return line.encode()[start:end].decode(errors="ignore")


# What is shared, and what is exploration


def kind_of(statement: ast.stmt) -> SharedKind | None:
    """Return what kind of shared code a statement is; None for exploration."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return "import"
    if isinstance(statement, _DEFINITIONS):
        return "class" if isinstance(statement, ast.ClassDef) else "function"
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return _kind_of_assignment(statement)
    # By its name: `ast.TypeAlias` exists from Python 3.12 on.
    if statement.__class__.__name__ == "TypeAlias":
        return "class"
    return "block" if isinstance(statement, ast.If | ast.Try | ast.With) and _is_block(statement) else None


def _kind_of_assignment(statement: ast.Assign | ast.AnnAssign | ast.AugAssign) -> SharedKind | None:
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    if statement.value is None or not all(_is_names(target) for target in targets) or not is_constant(statement.value):
        return None
    return "function" if isinstance(statement.value, ast.Lambda) else "constant"


def _is_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(_is_names(element) for element in target.elts)
    return isinstance(target, ast.Name)


def _is_block(statement: ast.If | ast.Try | ast.With) -> bool:
    """Return whether a compound statement only defines: ``try: import …``, ``if TYPE_CHECKING:``."""
    if isinstance(statement, ast.If) and not is_constant(statement.test):
        return False
    if isinstance(statement, ast.With) and not all(_is_suppressing(item.context_expr) for item in statement.items):
        return False
    body = list(_statements(statement))
    return all(_defines(child) for child in body) and any(kind_of(child) for child in body)


def _statements(statement: ast.stmt) -> Iterator[ast.stmt]:
    for name in ("body", "orelse", "finalbody"):
        yield from getattr(statement, name, [])
    for handler in getattr(statement, "handlers", []):
        yield from handler.body


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Pass | ast.Raise):
        return True
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) or _is_message(statement.value)
    return kind_of(statement) is not None


def _is_message(node: ast.expr) -> bool:
    """Return whether an expression only shows a message: ``print("not installed")``."""
    return (
        isinstance(node, ast.Call)
        and _name(node.func) in _MESSAGE_FUNCTIONS
        and all(is_constant(argument) for argument in node.args)
    )


def _is_suppressing(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) in _SUPPRESSING_CONTEXTS


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
