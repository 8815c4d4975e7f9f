"""Folders that code adds to the module search path, as far as its text shows them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePath

_JOINING = frozenset("Path PurePath abspath expanduser fspath join joinpath normpath realpath str".split())
_IDENTITY_FUNCTIONS = frozenset("Path absolute as_posix expanduser resolve".split())


def path_changes(node: ast.AST, known: Mapping[str, str]) -> Iterator[str | None]:
    """Yield the folders that a call or assignment adds to the module search path; None for an unknown folder.

    Parameters
    ----------
    node : ast.AST
        The call or assignment.
    known : Mapping of str to str
        Folders that names stand for; ``__file__`` where code has one.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _of_call(node, node.func, known)
    elif isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(_is_path(target.value if isinstance(target, ast.Subscript) else target) for target in targets):
            yield from _folders_in(node.value, known)


def _of_call(call: ast.Call, function: ast.Attribute, known: Mapping[str, str]) -> Iterator[str | None]:
    if _is_path(function.value) and function.attr in ("append", "insert", "extend") and call.args:
        yield from _folders_in(call.args[-1], known)
    elif function.attr in ("addsitedir", "chdir") and call.args:
        yield path_value(call.args[0], known)


def _is_path(node: ast.expr) -> bool:
    """Return whether `node` is ``sys.path``."""
    return isinstance(node, ast.Attribute) and node.attr == "path" and _name(node.value) == "sys"


def _folders_in(node: ast.expr, known: Mapping[str, str]) -> Iterator[str | None]:
    if isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from _folders_in(element, known)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _folders_in(node.left, known)
        yield from _folders_in(node.right, known)
    elif not _is_path(node.value if isinstance(node, ast.Starred) else node):
        yield path_value(node, known)


def path_value(node: ast.expr, known: Mapping[str, str]) -> str | None:
    """Return the path that an expression means, relative to the working folder; None when it is not known."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute):
        return _parent(path_value(node.value, known), 0) if node.attr == "parent" else None
    if isinstance(node, ast.Subscript):
        return _of_parents(node, known)
    if isinstance(node, ast.BinOp):
        return _joined([node.left, node.right], known) if isinstance(node.op, ast.Div) else None
    return _of_function(node, known) if isinstance(node, ast.Call) else None


def _of_parents(node: ast.Subscript, known: Mapping[str, str]) -> str | None:
    """Return what ``path.parents[n]`` means."""
    is_parents = isinstance(node.value, ast.Attribute) and node.value.attr == "parents"
    if not is_parents or not isinstance(node.slice, ast.Constant) or not isinstance(node.slice.value, int):
        return None
    return _parent(path_value(node.value.value, known), node.slice.value)  # type: ignore[attr-defined]


def _of_function(node: ast.Call, known: Mapping[str, str]) -> str | None:
    method = node.func if isinstance(node.func, ast.Attribute) else None
    name = method.attr if method else _name(node.func)
    if name in ("getcwd", "cwd"):
        return "."
    if name == "dirname" and len(node.args) == 1:
        return _parent(path_value(node.args[0], known), 0)
    parts = [method.value, *node.args] if method and name == "joinpath" else node.args
    if name in _JOINING and parts:
        return _joined(parts, known)
    if name in _IDENTITY_FUNCTIONS and not node.args:
        return path_value(method.value, known) if method else "."
    return None


def _joined(nodes: list[ast.expr], known: Mapping[str, str]) -> str | None:
    parts = [path_value(node, known) for node in nodes]
    return str(PurePath(*(part for part in parts if part is not None))) if None not in parts else None


def _parent(path: str | None, count: int) -> str | None:
    """Return the folder around a path; that of ``.`` is only known as ``..``."""
    for _ in range(count + 1):
        if path is None:
            return None
        pure = PurePath(path)
        path = str(pure / "..") if pure.name in ("", "..") and not pure.root else str(pure.parent)
    return path


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""
