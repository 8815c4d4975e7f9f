"""What code certainly changes in place: the objects behind which names.

Certain only: an item or attribute is assigned, or a method is called that is known to change what it is called on.
Whatever else may happen is found when the step runs, by comparing its inputs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

# Called for their effect on lists, dicts, sets, deques, arrays; a few return a value as well.
_CHANGING = frozenset(
    "append extend insert remove clear sort reverse update add discard appendleft extendleft rotate fill "
    "difference_update intersection_update symmetric_difference_update partial_fit".split()
)
_TAKING = frozenset("pop popitem popleft setdefault".split())
# Frames and series of several libraries have methods of these names that return a changed copy.
_AMBIGUOUS = frozenset("sort reverse update add clear insert append remove extend fill".split())


def changes_of(tree: ast.Module, outside: frozenset[str]) -> dict[str, ast.AST]:
    """Return the names among `outside` whose object `tree` certainly changes, with the first place.

    Parameters
    ----------
    tree : ast.Module
        The code of a step, all its cells together.
    outside : frozenset of str
        Names that come from outside; a name that is rebound first is nobody's business.
    """
    walk = _Walk(outside)
    for number, statement in enumerate(tree.body):
        walk.last = number == len(tree.body) - 1
        walk.statement(statement)
    return walk.found


class _Walk:
    """Follows aliases of outside names through the top level of the code, in order."""

    def __init__(self, outside: frozenset[str]) -> None:
        self.alias: dict[str, str] = {name: name for name in outside}
        self.found: dict[str, ast.AST] = {}
        self.last = False

    def statement(self, node: ast.stmt) -> None:
        """Follow one statement, and those in its blocks."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self.alias.pop(node.name, None)
            return
        for expression in _own_expressions(node):
            self._calls(expression)
        self._effect(node)
        for block in _blocks(node):
            for one in block:
                self.statement(one)

    def _effect(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr(value=ast.Call() as call):
                self._call_for_effect(call)
            case ast.Assign():
                self._assign(node)
            case ast.AugAssign(target=ast.Attribute() | ast.Subscript() as target):
                self._target(target, node)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._bind(target, value)
            case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
                self._bind(target, value)
            case ast.Delete(targets=targets):
                for one in targets:
                    self._delete(one)

    def _assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            parts = _elements(target), _elements(node.value)
            if parts[0] and len(parts[0]) == len(parts[1]):
                for one, value in zip(*parts, strict=True):
                    self._bind(one, value)
            else:
                self._bind(target, node.value)

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            origin = self.alias.get(value.id) if isinstance(value, ast.Name) else None
            if origin is None:
                self.alias.pop(target.id, None)
            else:
                self.alias[target.id] = origin
        elif isinstance(target, ast.Tuple | ast.List | ast.Starred):
            for one in ast.iter_child_nodes(target):
                if isinstance(one, ast.expr):
                    self._bind(one, ast.Constant(value=None))
        else:
            self._target(target, target)

    def _target(self, target: ast.expr, node: ast.AST) -> None:
        self._mark(_root(target), node)

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self.alias.pop(target.id, None)
        else:
            self._target(target, target)

    def _mark(self, name: str | None, node: ast.AST) -> None:
        origin = self.alias.get(name) if name else None
        if origin is not None:
            self.found.setdefault(origin, node)

    def _call_for_effect(self, call: ast.Call) -> None:
        if not isinstance(call.func, ast.Attribute) or not isinstance(call.func.value, ast.Name):
            return
        if call.func.attr in _CHANGING and not (self.last and call.func.attr in _AMBIGUOUS):
            self._mark(call.func.value.id, call)

    def _calls(self, node: ast.expr) -> None:
        for call in ast.walk(node):
            if isinstance(call, ast.Lambda):
                continue
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                in_place = any(one.arg == "inplace" and _is_true(one.value) for one in call.keywords)
                if (in_place or call.func.attr in _TAKING) and isinstance(call.func.value, ast.Name):
                    self._mark(call.func.value.id, call)


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple | ast.List) else []


def _root(node: ast.expr) -> str | None:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _own_expressions(node: ast.stmt) -> Iterator[ast.expr]:
    """Yield the expressions of a statement itself, without those of its blocks."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield child
        elif isinstance(child, ast.withitem):
            yield child.context_expr


def _blocks(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        yield getattr(node, name, [])
    for handler in getattr(node, "handlers", []):
        yield handler.body
    for case in getattr(node, "cases", []):
        yield case.body
