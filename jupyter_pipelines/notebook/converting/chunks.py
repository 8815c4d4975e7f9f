"""A code cell split into chunks: statements with the comments above them, each with its kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from jupyter_pipelines.notebook.code.analyze import analyse_bodies
from jupyter_pipelines.notebook.code.cell_code import CellCode, parse_code
from jupyter_pipelines.notebook.code.name_usage import NameUsage
from jupyter_pipelines.notebook.code.toplevel import kind_of
from jupyter_pipelines.notebook.headers.cell_layout import PYTHON_MAGICS

ChunkKind = Literal["import", "star", "function", "class", "constant", "block", "magic", "computed"]
DEFINING: frozenset[ChunkKind] = frozenset({"import", "star", "function", "class", "constant", "block"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeChunk:
    """Whole lines of a cell: one statement, or several that share a line, and the comments above.

    Parameters
    ----------
    text : str
        The lines as their author wrote them.
    kind : str
        What it is; ``magic`` for a line of IPython's own, ``computed`` for statements with effects.
    names : NameUsage
        How it uses names.
    body : tuple of ast.stmt
        Its statements.
    """

    text: str
    kind: ChunkKind
    names: NameUsage
    body: tuple[ast.stmt, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkedCell:
    """A cell, split into chunks.

    Parameters
    ----------
    code : CellCode
        Its Python code, parsed.
    chunks : tuple of CodeChunk
        In order; together they are the cell.
    whole : bool
        It cannot be split: another language, a cell magic on top, a syntax error.
    """

    code: CellCode
    chunks: tuple[CodeChunk, ...]
    whole: bool = False


def split_into_chunks(text: str) -> ChunkedCell:
    """Split a cell into chunks."""
    code = parse_code(text)
    first = next((line.strip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")), "")
    # A cell magic applies to its cell as a whole, and pieces of an indented cell are not valid Python.
    if code.tree is None or code.indent or (first.startswith("%%") and _is_magic(first)):
        body = tuple(code.tree.body) if code.tree else ()
        chunk = CodeChunk(text=text, kind="computed", names=analyse_bodies([list(body)]), body=body)
        return ChunkedCell(code=code, chunks=(chunk,), whole=True)
    return ChunkedCell(code=code, chunks=tuple(_chunks(text, code.tree)))


def _is_magic(line: str) -> bool:
    return line[2:].split(" ", maxsplit=1)[0] in PYTHON_MAGICS or line[2:3].isalpha()


def _chunks(text: str, tree: ast.Module) -> Iterator[CodeChunk]:
    lines = text.split("\n")
    start = 0
    for statements, last in _statements_by_line(tree.body):
        end = last
        yield _chunk("\n".join(lines[start:end]), tuple(statements))
        start = end
    trailing = "\n".join(lines[start:])
    if trailing.strip():
        yield CodeChunk(text=trailing, kind="computed", names=NameUsage(), body=())


def _statements_by_line(body: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int]]:
    """Yield the statements that share lines, with the last of these lines."""
    run: list[ast.stmt] = []
    last = 0
    for statement in body:
        if run and statement.lineno > last:
            yield run, last
            run = []
        run.append(statement)
        last = max(last, statement.end_lineno or statement.lineno)
    if run:
        yield run, last


def _chunk(text: str, body: tuple[ast.stmt, ...]) -> CodeChunk:
    return CodeChunk(text=text, kind=_kind(text, body), names=analyse_bodies([list(body)]), body=body)


def _kind(text: str, body: tuple[ast.stmt, ...]) -> ChunkKind:
    lines = [line.strip() for line in text.split("\n") if line.strip() and not line.lstrip().startswith("#")]
    if lines and (lines[0][0] in "%!" or lines[-1].endswith("?")):
        return "magic"
    kinds = {_kind_of(statement) for statement in body}
    return kinds.pop() if len(kinds) == 1 else "computed"


def _kind_of(statement: ast.stmt) -> ChunkKind:
    if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
        return "star"
    kind = kind_of(statement)
    return "computed" if kind is None or kind == "setup" else kind
