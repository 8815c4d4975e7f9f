"""Names that code certainly evaluates when it runs: not in branches, loops or functions that nothing calls."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jupyter_pipelines.notebook.code.ast_walk import children
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.scopes import local_names

_REMEMBERED = 1 << 12
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
# After such a statement, the rest of the code may not run.
_LEAVING = (ast.Raise, ast.Return, ast.Break, ast.Continue, ast.Assert)
# Context managers that swallow no error.
_PLAIN_CONTEXTS = frozenset({"open", "catch_warnings", "Pool", "ThreadPoolExecutor", "ProcessPoolExecutor"})


class CertainUse(NamedTuple):
    """What a piece of code certainly does: names that it reads, and names that it calls as functions."""

    reads: frozenset[str]
    calls: frozenset[str]


@lru_cache(maxsize=_REMEMBERED)
def certain_use(source: str) -> CertainUse:
    """Return what code certainly does when it runs as a cell, unless it fails before."""
    tree = parse_code(source).tree
    return _use_of(tree.body if tree else [])


@lru_cache(maxsize=_REMEMBERED)
def certain_use_of_function(source: str, name: str) -> CertainUse:
    """Return what the function `name`, which code defines at its top level, certainly does when it is called."""
    tree = parse_code(source).tree
    for statement in tree.body if tree else ():
        # A decorator may replace the function by another.
        if isinstance(statement, ast.FunctionDef) and statement.name == name and not statement.decorator_list:
            if _is_generator(statement.body):
                break
            local = local_names(statement.body, statement.args)
            use = _use_of(statement.body)
            return CertainUse(use.reads - local, use.calls - local)
    return CertainUse(frozenset(), frozenset())


def _is_generator(body: Iterable[ast.AST]) -> bool:
    """Return whether a function runs only when it is iterated over."""
    stack = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, (*_FUNCTIONS, ast.Lambda, ast.ClassDef)):
            stack += children(node)
    return False


def _use_of(body: Iterable[ast.stmt]) -> CertainUse:
    reads: set[str] = set()
    calls: set[str] = set()
    for node in _certain_nodes(body):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            reads.add(node.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            calls.add(node.func.id)
    return CertainUse(frozenset(reads), frozenset(calls))


def _certain_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield what is certainly evaluated, up to the first statement after which the code may not continue."""
    for statement in body:
        yield from _inside(statement)
        if any(isinstance(node, _LEAVING) or _exits(node) for node in ast.walk(statement)):
            return


def _exits(node: ast.AST) -> bool:
    """Return whether a call may end the program, or bind any name: ``exit()``, ``exec()``, ``globals()``."""
    if not isinstance(node, ast.Call):
        return False
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return name in ("exit", "quit", "_exit", "abort", "exec", "eval", "globals", "vars", "locals", "get_ipython")


def _inside(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for part in _evaluated(node):
        yield from _inside(part)


def _evaluated(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a node that are evaluated whenever the node is."""
    parts = _EVALUATED_PARTS.get(type(node))
    return children(node) if parts is None else [part for part in parts(node) if part is not None]


def _is_plain(node: ast.With) -> bool:
    names = [item.context_expr.func for item in node.items if isinstance(item.context_expr, ast.Call)]
    plain = [getattr(name, "attr", getattr(name, "id", "")) in _PLAIN_CONTEXTS for name in names]
    return len(plain) == len(node.items) and all(plain)


def _of_try(node: ast.Try) -> list[ast.AST]:
    # A handler may catch an error before the rest of the body is evaluated.
    return [] if node.handlers else [*node.body, *node.finalbody]


def _of_with(node: ast.With) -> list[ast.AST]:
    return [*(item.context_expr for item in node.items), *(node.body if _is_plain(node) else [])]


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.AST | None]:
    return [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]


def _nothing(_: ast.AST) -> list[ast.AST]:
    return []


_EVALUATED_PARTS: Mapping[type[ast.AST], Callable[[Any], Sequence[ast.AST | None]]] = {
    **dict.fromkeys((ast.If, ast.While, ast.IfExp), lambda node: [node.test]),
    **dict.fromkeys((ast.For, ast.AsyncFor), lambda node: [node.iter]),
    # Only the first iterable is evaluated at once, all else for each of its items.
    **dict.fromkeys(_COMPREHENSIONS, lambda node: [node.generators[0].iter]),
    **dict.fromkeys(_FUNCTIONS, _of_function),
    **dict.fromkeys((ast.Lambda, ast.ClassDef, ast.TryStar, ast.Delete, ast.AsyncWith), _nothing),
    # `and`, `or` and chained comparisons stop at the first value that decides.
    ast.BoolOp: lambda node: node.values[:1],
    ast.Compare: lambda node: [node.left, node.comparators[0]],
    ast.AnnAssign: lambda node: [node.value, node.target],
    ast.Match: lambda node: [node.subject],
    ast.Try: _of_try,
    ast.With: _of_with,
}
