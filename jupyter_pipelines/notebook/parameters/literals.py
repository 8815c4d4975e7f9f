"""Evaluation of literals and of arithmetic with numbers, without running any code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_MAX_POWER = 1024
_BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


class NotLiteral(ValueError):
    """An expression whose value is known only when it is run.

    Parameters
    ----------
    node : ast.expr
        The part that is no literal.
    """

    def __init__(self, node: ast.expr) -> None:
        # The dump of a long expression can have megabytes, and nothing shows more of it.
        super().__init__(ast.dump(node)[:200])
        self.node = node


def literal(node: ast.expr) -> Any:
    """Return the value of a literal: plain values, lists, tuples, sets, dicts, ``60 * 60`` and ``float("inf")``.

    Raises
    ------
    NotLiteral
        It is something else.
    """
    reader = _READERS.get(type(node))
    if reader is None:
        raise NotLiteral(node)
    try:
        return reader(node)
    except NotLiteral:
        raise
    except (ArithmeticError, TypeError, ValueError, RecursionError):
        raise NotLiteral(node) from None


def _dict(node: ast.Dict) -> dict[Any, Any]:
    # A key of None stands for `**spread`.
    if any(key is None for key in node.keys):
        raise NotLiteral(node)
    return {literal(key): literal(value) for key, value in zip(node.keys, node.values, strict=True) if key}


def _unary(node: ast.UnaryOp) -> Any:
    value = literal(node.operand)
    if not isinstance(value, int | float) or isinstance(value, bool) or not isinstance(node.op, ast.USub | ast.UAdd):
        raise NotLiteral(node)
    return -value if isinstance(node.op, ast.USub) else value


def _binary(node: ast.BinOp) -> Any:
    left, right = literal(node.left), literal(node.right)
    is_arithmetic = type(left) in (int, float) and type(right) in (int, float) and type(node.op) in _BINARY
    # A power may be larger than memory.
    if not is_arithmetic or (isinstance(node.op, ast.Pow) and (abs(right) > _MAX_POWER or abs(left) > _MAX_POWER)):
        raise NotLiteral(node)
    return _BINARY[type(node.op)](left, right)


def _call(node: ast.Call) -> Any:
    """Evaluate ``float("nan")`` and ``float("inf")``, which have no literals."""
    is_float_call = (
        isinstance(node.func, ast.Name) and node.func.id == "float" and len(node.args) == 1 and not node.keywords
    )
    value = literal(node.args[0]) if is_float_call else None
    if not isinstance(value, str | int | float):
        raise NotLiteral(node)
    return float(value)


_READERS: Mapping[type[ast.expr], Callable[[Any], Any]] = {
    ast.Constant: lambda node: node.value,
    ast.List: lambda node: [literal(element) for element in node.elts],
    ast.Tuple: lambda node: tuple(literal(element) for element in node.elts),
    ast.Set: lambda node: {literal(element) for element in node.elts},
    ast.Dict: _dict,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Call: _call,
}
