"""The canonical form of Python code: equal for code with the same meaning, on every supported Python.

Does not count: comments, formatting, line ends, a byte order mark, the spelling of a literal (``u''``, ``0x10``,
implicit concatenation), the docstrings of modules, classes and functions, which parentheses a ``del`` or ``with`` has.
Everything else counts: names, the type and exact value of every constant, the order of statements.

Python's own forms will not do: ``ast.dump``, ``ast.unparse``, tokens and byte code differ between 3.11, 3.12 and 3.13
for most files of the standard library. The canonical form drops what differs (positions, contexts, ``None`` and empty
fields, how an f-string is cut up) and sorts the fields of a node, so that a field added by a later Python changes
nothing.

Nothing but the standard library is imported, so that another interpreter can load this file alone.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

_CACHE_SIZE = 1 << 15
_ABSENT = "~"  # `None` in a list of nodes: no key in front of `**spread`, no default; not the constant ``None``
_IGNORED = frozenset({"ctx", "type_comment", "type_ignores"})
_WITH_DOCSTRING = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LINE_END = re.compile(r"\r\n?")
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {}
Replaced = Mapping[int, Sequence[ast.AST]]
"""By identity of a node: the nodes that count in its place."""


def canonical(
    code: str | ast.AST, magics: Sequence[str] = (), *, docstrings: bool = False, replaced: Replaced | None = None
) -> str:
    """Return the digest of the canonical form of `code`.

    Parameters
    ----------
    code : str or ast.AST
        Python text, or a tree of it. Text that is not Python counts as it stands.
    magics : sequence of str
        Lines of IPython's own that are not in the tree; they count as they stand.
    docstrings : bool
        Whether docstrings count: something reads them.
    replaced : Mapping of int to sequence of ast.AST, optional
        Nodes of a tree, by identity, that count as other nodes, or not at all.

    Returns
    -------
    str
        64 hexadecimal digits. It is the same for every text without statements.
    """
    if isinstance(code, str) and not magics:
        return _of_text(code, docstrings)
    form = (
        _form_of_text(code, docstrings)
        if isinstance(code, str)
        else form_of(code, docstrings=docstrings, replaced=replaced)
    )
    return _digest(form + "".join(f"\n{magic!a}" for magic in magics))


def form_of(tree: ast.AST, *, docstrings: bool = False, replaced: Replaced | None = None) -> str:
    """Return the canonical form itself, with docstrings or without; any depth, no recursion."""
    parts: list[str] = []
    # A stack, not recursion: generated code may nest deeper than the limit of the interpreter.
    stack: list[Any] = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            parts.append(part)
        else:
            stack.extend(reversed(_pieces(part, docstrings, replaced or {})))
    return "".join(parts)


@lru_cache(maxsize=_CACHE_SIZE)
def _of_text(text: str, docstrings: bool) -> str:
    return _digest(_form_of_text(text, docstrings))


def _form_of_text(text: str, docstrings: bool) -> str:
    text = text.removeprefix("\ufeff")
    try:
        # `ast.parse` warns about invalid escapes and comparisons by `is`; the user sees that where the code runs.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return form_of(ast.parse(text), docstrings=docstrings)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Every character counts then; `ascii`, so that lone surrogates can be encoded.
        return "text " + ascii(_LINE_END.sub("\n", text))


def _digest(form: str) -> str:
    return hashlib.sha256(form.encode("ascii")).hexdigest()


def _pieces(part: Any, docstrings: bool, replaced: Replaced) -> list[Any]:
    """Return the texts, nodes and lists that `part` consists of, a level down."""
    if isinstance(part, list):
        part = [child for node in part for child in replaced.get(id(node), (node,))] if replaced else part
        return ["[", *(piece for child in part for piece in (_ABSENT if child is None else _piece(child), ",")), "]"]
    if isinstance(part, ast.Constant):
        return [_constant(part.value)]
    pieces: list[Any] = [type(part).__name__, "("]
    for name in _fields(type(part)):
        value = getattr(part, name, None) if docstrings and name == "body" else _field(part, name)
        if value is not None and value != [] and not (replaced and id(value) in replaced):
            pieces += [name, "=", _piece(value), ","]
    return [*pieces, ")"]


def _piece(value: Any) -> Any:
    return value if isinstance(value, ast.AST | list) else _constant(value)


def _fields(kind: type[ast.AST]) -> tuple[str, ...]:
    if kind not in _FIELDS:
        _FIELDS[kind] = tuple(sorted(set(kind._fields) - _IGNORED))
    return _FIELDS[kind]


def _field(node: ast.AST, name: str) -> Any:
    value: Any = getattr(node, name, None)
    if name == "body" and isinstance(node, _WITH_DOCSTRING):
        return _without_docstring(node, value or [])
    if name == "targets" and isinstance(node, ast.Delete):
        return list(_unpacked(value))
    if name == "values" and isinstance(node, ast.JoinedStr):
        return _joined(value)
    return value


def _without_docstring(node: ast.AST, body: list[ast.stmt]) -> list[ast.stmt]:
    if not body or not _is_text(body[0]):
        return body
    # A body cannot be empty: `pass` stands for a docstring alone, and equals it.
    return body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])


def _is_text(statement: ast.stmt) -> bool:
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return is_constant and isinstance(statement.value.value, str)  # type: ignore[attr-defined]


def _unpacked(targets: Iterable[ast.expr]) -> list[ast.expr]:
    """Return the targets of a ``del`` without the parentheses around them, which formatters add and remove."""
    flattened: list[ast.expr] = []
    stack = list(targets)[::-1]
    while stack:
        target = stack.pop()
        if isinstance(target, ast.Tuple):
            stack.extend(reversed(target.elts))
        else:
            flattened.append(target)
    return flattened


def _joined(values: Iterable[ast.expr]) -> list[ast.expr]:
    """Return the pieces of an f-string, neighbouring texts joined and empty texts left out: Pythons cut differently."""
    joined: list[ast.expr] = []
    for is_text, pieces in groupby(values, key=lambda value: isinstance(value, ast.Constant)):
        if is_text:
            text = "".join(str(piece.value) for piece in pieces if isinstance(piece, ast.Constant))
            joined += [ast.Constant(text)] if text else []
        else:
            joined += pieces
    return joined


def _constant(value: Any) -> str:
    write = _CONSTANTS.get(type(value))
    if write is None:
        raise TypeError(f"not a constant of Python code: {value!r}")
    return write(value)


def _complex(value: complex) -> str:
    return f"c{value.real.hex()},{value.imag.hex()}"


# `ascii`, because `repr` of text depends on the Unicode tables of the Python; `hex`, because decimals have a limit.
_CONSTANTS: Mapping[type, Callable[[Any], str]] = {
    str: ascii,
    bytes: ascii,
    int: hex,
    float: lambda value: f"f{value.hex()}",
    complex: _complex,
    bool: str,
    type(None): str,
    type(...): str,
    tuple: lambda value: f"({','.join(_constant(element) for element in value)})",
    frozenset: lambda value: f"{{{','.join(sorted(_constant(element) for element in value))}}}",
}
