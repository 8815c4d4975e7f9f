"""Folders that code adds to the module search path, as far as its text shows them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePath

_JOINING = frozenset("Path PurePath abspath expanduser fspath join joinpath normpath realpath str".split())
_IDENTITY_FUNCTIONS = frozenset("Path absolute as_posix expanduser resolve".split())


def path_changes(node: ast.AST, folders_by_name: Mapping[str, str]) -> Iterator[str | None]:
    """Yield the folders that a call or assignment adds to the module search path; None for an unknown folder.

    Parameters
    ----------
    node : ast.AST
        The call or assignment.
    folders_by_name : Mapping of str to str
        Folders that names refer to; ``__file__`` where code has one.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield from _of_call(node, node.func, folders_by_name)
    elif isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if any(_is_path(target.value if isinstance(target, ast.Subscript) else target) for target in targets):
            yield from _folders_in(node.value, folders_by_name)


def _of_call(call: ast.Call, function: ast.Attribute, folders_by_name: Mapping[str, str]) -> Iterator[str | None]:
    if _is_path(function.value) and function.attr in ("append", "insert", "extend") and call.args:
        # `insert` takes a position before the folder.
        yield from _folders_in(call.args[-1], folders_by_name)
    elif function.attr in ("addsitedir", "chdir") and call.args:
        # A kernel searches its working folder for modules.
        yield path_value(call.args[0], folders_by_name)


def _is_path(node: ast.expr) -> bool:
    """Return whether `node` is ``sys.path``."""
    return isinstance(node, ast.Attribute) and node.attr == "path" and _name(node.value) == "sys"


def _folders_in(node: ast.expr, folders_by_name: Mapping[str, str]) -> Iterator[str | None]:
    if isinstance(node, ast.List | ast.Tuple):
        for element in node.elts:
            yield from _folders_in(element, folders_by_name)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _folders_in(node.left, folders_by_name)
        yield from _folders_in(node.right, folders_by_name)
    # `sys.path = [new, *sys.path]`: the path itself adds nothing.
    elif not _is_path(node.value if isinstance(node, ast.Starred) else node):
        yield path_value(node, folders_by_name)


def path_value(node: ast.expr, folders_by_name: Mapping[str, str]) -> str | None:
    """Return the path that an expression means, relative to the working folder; None when it is not known."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return folders_by_name.get(node.id)
    if isinstance(node, ast.Attribute):
        return _parent(path_value(node.value, folders_by_name), 0) if node.attr == "parent" else None
    if isinstance(node, ast.Subscript):
        return _of_parents(node, folders_by_name)
    if isinstance(node, ast.BinOp):
        return _joined([node.left, node.right], folders_by_name) if isinstance(node.op, ast.Div) else None
    return _of_function(node, folders_by_name) if isinstance(node, ast.Call) else None


def _of_parents(node: ast.Subscript, folders_by_name: Mapping[str, str]) -> str | None:
    """Return what ``path.parents[n]`` means."""
    is_parents = isinstance(node.value, ast.Attribute) and node.value.attr == "parents"
    if not is_parents or not isinstance(node.slice, ast.Constant) or not isinstance(node.slice.value, int):
        return None
    return _parent(path_value(node.value.value, folders_by_name), node.slice.value)  # type: ignore[attr-defined]


def _of_function(node: ast.Call, folders_by_name: Mapping[str, str]) -> str | None:
    method = node.func if isinstance(node.func, ast.Attribute) else None
    name = method.attr if method else _name(node.func)
    if name in ("getcwd", "cwd"):
        return "."
    if name == "dirname" and len(node.args) == 1:
        return _parent(path_value(node.args[0], folders_by_name), 0)
    parts = [method.value, *node.args] if method and name == "joinpath" else node.args
    if name in _JOINING and parts:
        return _joined(parts, folders_by_name)
    if name in _IDENTITY_FUNCTIONS and not node.args:
        return path_value(method.value, folders_by_name) if method else "."
    return None


def _joined(nodes: list[ast.expr], folders_by_name: Mapping[str, str]) -> str | None:
    parts = [path_value(node, folders_by_name) for node in nodes]
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
