"""Values that certainly cannot be stored, as code assigns them: generators, open files, locks, connections."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

_CALLS = {
    ("threading", "Lock"): "_thread.lock",
    ("threading", "RLock"): "_thread.RLock",
    ("sqlite3", "connect"): "sqlite3.Connection",
}
"""The class of what a function of the standard library returns, by module and function."""
_GENERATOR, _COROUTINE = "builtins.generator", "builtins.coroutine"
_TEXT_FILE = "_io.TextIOWrapper"
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def unstorable_class(name: str, trees: Sequence[ast.Module], shared: Sequence[ast.Module] = ()) -> str | None:
    """Return the full name of the class of `name` when code has run; None unless it certainly cannot be stored.

    Parameters
    ----------
    name : str
        What the code binds.
    trees : sequence of ast.Module
        The code, cell by cell.
    shared : sequence of ast.Module
        The shared code that runs before it.
    """
    values = [
        statement.value
        for tree in trees
        for statement in tree.body
        if isinstance(statement, ast.Assign) and _is_alone(statement.targets, name)
    ]
    if len(values) != 1 or not isinstance(values[0], ast.GeneratorExp | ast.Call):
        return None
    if len(list(_bindings(name, trees))) != 1:
        return None
    value = values[0]
    return _GENERATOR if isinstance(value, ast.GeneratorExp) else _returned_by(value, trees, shared)


def _is_alone(targets: Sequence[ast.expr], name: str) -> bool:
    return len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == name


def _returned_by(call: ast.Call, trees: Sequence[ast.Module], shared: Sequence[ast.Module]) -> str | None:
    code = [*shared, *trees]
    match call.func:
        case ast.Attribute(value=ast.Name(id=module), attr=function) if (module, function) in _CALLS:
            bindings = list(_bindings(module, code))
            is_module = bindings and all(_imports(binding, module) for binding in bindings)
            return _CALLS[module, function] if is_module and not _may_return_another_class(call) else None
        case ast.Name(id="open"):
            return _TEXT_FILE if not list(_bindings("open", code)) and _is_text_mode(call) else None
        case ast.Name(id=function):
            bindings = list(_bindings(function, code))
            # A method or an inner function of that name is not what the call reaches.
            is_global = any(bindings[0] in tree.body for tree in code) if bindings else False
            return _class_of_call(bindings[0]) if len(bindings) == 1 and is_global else None
    return None


def _imports(node: ast.AST, module: str) -> bool:
    return isinstance(node, ast.Import) and all(
        alias.asname is None for alias in node.names if _bound_by(alias) == module
    )


def _may_return_another_class(call: ast.Call) -> bool:
    """Return whether an argument may be a factory, as `sqlite3.connect` takes one."""
    return len(call.args) > 1 or any(keyword.arg in ("factory", None) for keyword in call.keywords)


def _is_text_mode(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg in ("mode", None))]
    return all(isinstance(mode, ast.Constant) and "b" not in str(mode.value) for mode in modes) and not any(
        isinstance(argument, ast.Starred) for argument in call.args
    )


def _class_of_call(definition: ast.AST) -> str | None:
    """Return the class of what a function returns that runs only when it is iterated over, or awaited."""
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef) or definition.decorator_list:
        return None
    yields = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in _own_nodes(definition))
    if isinstance(definition, ast.AsyncFunctionDef):
        return None if yields else _COROUTINE
    return _GENERATOR if yields else None


def _own_nodes(definition: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[ast.AST]:
    stack: list[ast.AST] = list(definition.body)
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*_DEFINITIONS, ast.Lambda)):
            stack += ast.iter_child_nodes(node)


def _bindings(name: str, trees: Sequence[ast.Module]) -> Iterator[ast.AST]:
    """Yield whatever may bind a name or unbind it, at any depth; star imports and `global` may bind every name."""
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.Name(id=bound, ctx=ast.Store() | ast.Del()) if bound == name:
                    yield node
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if node.name == name:
                    yield node
                case ast.Import() | ast.ImportFrom() if any(_bound_by(alias) in (name, "*") for alias in node.names):
                    yield node
                case ast.Global(names=names) | ast.Nonlocal(names=names) if name in names:
                    yield node
                case ast.ExceptHandler(name=bound) | ast.MatchAs(name=bound) | ast.MatchStar(name=bound):
                    if bound == name:
                        yield node
                case ast.MatchMapping(rest=bound) if bound == name:
                    yield node


def _bound_by(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]
