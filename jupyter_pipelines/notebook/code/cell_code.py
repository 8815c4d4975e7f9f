"""The Python of a cell, parsed."""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.code.ipython_syntax import TranslatedCell, replace_escapes, translate_cell_magics

_CACHE_SIZE = 1 << 15


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCode:
    """The Python code of a cell.

    Parameters
    ----------
    tree : ast.Module or None
        None when the cell is in another language or has a syntax error. It is shared and must not be changed.
    source : str
        The Python text that was parsed, with as many lines as the body of the cell.
    magics : tuple of str
        Lines of IPython's own that may affect results, verbatim.
    unknown : tuple of str
        What cannot be determined because of them, a sentence for each.
    opaque : str or None
        Name of the cell magic when the whole cell is in another language.
    fault : Diagnostic or None
        Its syntax error (JP107).
    indent : int
        Characters that IPython removes from the beginning of every line.
    """

    tree: ast.Module | None
    source: str
    magics: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    opaque: str | None = None
    fault: Diagnostic | None = None
    indent: int = 0


def parse_code(body: str, number: int = 0, offset: int = 0) -> CellCode:
    """Parse the body of a cell; nothing is executed, and nothing is raised.

    Parameters
    ----------
    body : str
        What a kernel would run.
    number : int
        The cell's number, for the place of a fault.
    offset : int
        Lines that the cell has above `body`.
    """
    # Cached by the text alone: number and offset differ between equal cells, and are added to the fault.
    code = _parse(body)
    if code.fault is None or code.fault.place is None:
        return code
    place = replace(code.fault.place, cell=number, line=code.fault.place.line + offset)
    return replace(code, fault=replace(code.fault, place=place))


@lru_cache(maxsize=_CACHE_SIZE)
def _parse(body: str) -> CellCode:
    lines, indent = _dedented(body.removeprefix("\ufeff").split("\n"))
    translated = translate_cell_magics(lines)
    if translated.opaque:
        sentence = f"`%%{translated.opaque}` is not Python; what it reads, changes and binds is not known"
        return CellCode(tree=None, source="", magics=(body,), unknown=(sentence,), opaque=translated.opaque)
    try:
        tree = _tree("\n".join(translated.lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _parse_translated(translated, indent, error)
    return _code(tree, translated, indent)


def _parse_translated(translated: TranslatedCell, indent: int, error: Exception) -> CellCode:
    """Parse again with lines of IPython's own replaced; only a cell that is not Python can have any."""
    # The fault shows the lines as they were written.
    original = list(translated.lines)
    if replace_escapes(translated):
        try:
            return _code(_tree("\n".join(translated.lines)), translated, indent)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as second:
            error = second
    code = _code(None, translated, indent)
    return replace(code, fault=_fault(error, original, indent))


def _code(tree: ast.Module | None, translated: TranslatedCell, indent: int) -> CellCode:
    if tree is not None and translated.timed:
        tree = _inside_function(tree)
    return CellCode(
        tree=tree,
        source="\n".join(translated.lines),
        magics=tuple(translated.magics),
        unknown=tuple(dict.fromkeys(translated.unknown)),
        indent=indent,
    )


def _tree(source: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the kernel that runs the cell shows them
        tree = ast.parse(source)
        # Some errors are found only by the compiler: `return` outside a function, a name that is local and global.
        compile(_without_future(tree), "cell", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return tree


def _without_future(tree: ast.Module) -> ast.Module:
    """Return `tree` without `__future__` imports: Python allows them only at the top, IPython anywhere in a cell."""
    kept = [
        statement
        for statement in tree.body
        if not (isinstance(statement, ast.ImportFrom) and statement.module == "__future__")
    ]
    return tree if len(kept) == len(tree.body) else ast.Module(body=kept, type_ignores=[])


def _dedented(lines: list[str]) -> tuple[list[str], int]:
    """Remove the indent of the first line that is not empty from all lines, as IPython does."""
    first = next((line for line in lines if line.strip()), "")
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    return ([line.removeprefix(indent) for line in lines], len(indent)) if indent else (lines, 0)


def _inside_function(tree: ast.Module) -> ast.Module:
    """Return a tree that runs the statements of `tree` in a function, as ``%%timeit`` does."""
    if not tree.body:
        return tree
    arguments = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.FunctionDef(name="_timed_", args=arguments, body=tree.body, decorator_list=[], returns=None)
    call = ast.Expr(value=ast.Call(func=ast.Name(id="_timed_", ctx=ast.Load()), args=[], keywords=[]))
    module = ast.Module(body=[function, call], type_ignores=[])
    return ast.fix_missing_locations(module)


def _fault(error: Exception, lines: list[str], indent: int) -> Diagnostic:
    if not isinstance(error, SyntaxError):
        deep = isinstance(error, RecursionError | MemoryError)
        message = "the cell is nested too deeply to be parsed" if deep else f"the cell cannot be parsed: {error}"
        return Diagnostic(
            code="JP107",
            message=message,
            suggestion="take it apart into smaller expressions",
            place=_line_place(1, lines),
        )
    line = min(max(error.lineno or 1, 1), len(lines))
    text = lines[line - 1]
    column = min(max((error.offset or 1) - 1, 0), len(text))
    end = error.end_offset - 1 if error.end_offset and error.end_lineno == error.lineno else column + 1
    place = SourceLocation(
        cell=0, line=line, column=column + indent, length=max(end - column, 1), text=" " * indent + text
    )
    return Diagnostic(
        code="JP107",
        message=f"the cell has a syntax error: {error.msg}",
        suggestion="correct the line; Python stopped reading at the caret",
        place=place,
    )


def _line_place(line: int, lines: list[str]) -> SourceLocation:
    return SourceLocation(cell=0, line=line, text=lines[line - 1][:80])
