"""Detection of expressions that are constant: their value follows from the text alone, whatever has run before.

Besides literals: what is made of them by operators, containers, formatting, comprehensions and a few built-in functions
that always return the same; names of other constants; attributes, items and types taken from what is imported; and
calls that define rather than compute (``namedtuple``, ``TypeVar``, ``re.compile`` of a text).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_pipelines.notebook.code.ast_walk import children

# Built-in functions that return the same for the same, and make a new object each time.
_PURE = frozenset(
    "abs bool bytes complex dict divmod enumerate float frozenset int len list max min pow range repr reversed round "
    "set slice sorted str sum tuple zip".split()
)
_ITERATORS = frozenset({"enumerate", "reversed", "zip"})
_TEXT_METHODS = frozenset(
    "capitalize casefold encode format join lower lstrip replace rstrip split splitlines strip title upper "
    "zfill".split()
)
_DEFINING = frozenset("namedtuple NamedTuple NewType ParamSpec TypedDict TypeVar TypeVarTuple partial".split())


def is_constant(node: ast.expr) -> bool:
    """Return whether the value of `node` follows from its text, given that the names in it are constant.

    An iterator, such as a generator, is not: reading it uses it up.
    """
    if isinstance(node, ast.GeneratorExp) or (isinstance(node, ast.Call) and _callee_name(node) in _ITERATORS):
        return False
    try:
        return _is_constant(node)
    except RecursionError:
        return False


def _callee_name(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else ""


def _is_constant(node: ast.expr | None) -> bool:
    if node is None:
        return True
    check = _CHECKS.get(type(node))
    return check is not None and check(node)


def _all_constant(nodes: Any) -> bool:
    return all(_is_constant(node) for node in nodes)


def _children(node: ast.AST) -> bool:
    return all(_is_constant(child) for child in children(node) if isinstance(child, ast.expr))


def _call(node: ast.Call) -> bool:
    if not _all_constant(node.args) or not _all_constant(keyword.value for keyword in node.keywords):
        return False
    function = node.func
    if isinstance(function, ast.Name):
        return function.id in _PURE or function.id in _DEFINING
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr in _TEXT_METHODS and isinstance(function.value, ast.Constant | ast.JoinedStr):
        return True
    return isinstance(function.value, ast.Name) and (
        function.attr in _DEFINING or (function.value.id == "re" and function.attr == "compile")
    )


def _comprehension(node: Any) -> bool:
    parts = [getattr(node, name, None) for name in ("key", "value", "elt")]
    return _all_constant(parts) and all(
        not generator.is_async and _is_constant(generator.iter) and _all_constant(generator.ifs)
        for generator in node.generators
    )


_CHECKS: Mapping[type[ast.expr], Callable[[Any], bool]] = {
    ast.Constant: lambda node: True,
    ast.Name: lambda node: True,
    ast.Attribute: lambda node: isinstance(node.value, ast.Name | ast.Attribute) and _is_constant(node.value),
    ast.Lambda: lambda node: _all_constant([*node.args.defaults, *filter(None, node.args.kw_defaults)]),
    ast.Call: _call,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    **dict.fromkeys(
        (
            ast.BinOp, ast.BoolOp, ast.Compare, ast.Dict, ast.FormattedValue, ast.IfExp, ast.JoinedStr, ast.List,
            ast.Set, ast.Slice, ast.Starred, ast.Subscript, ast.Tuple, ast.UnaryOp,
        ),
        _children,
    ),
}  # fmt: skip
