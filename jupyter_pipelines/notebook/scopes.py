"""Names inside functions, lambdas, comprehensions and classes, as Python's own rules see them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(slots=True)
class Inner:
    """What a nested scope does to names outside it.

    Parameters
    ----------
    reads : dict of str to node
        Names it takes from outside when it runs.
    binds : dict of str to node
        Names outside it that it binds: through ``global``, or by a walrus in a comprehension.
    """

    reads: dict[str, ast.AST] = field(default_factory=dict)
    binds: dict[str, ast.AST] = field(default_factory=dict)


def inner_of(node: ast.AST) -> Inner:
    """Return what the *body* of a function, lambda or comprehension does to names outside it."""
    scope = _Scope()
    scope.enter(node)
    return scope.outside()


class _Scope(ast.NodeVisitor):
    def __init__(self) -> None:
        self.loads: dict[str, ast.AST] = {}
        self.stores: dict[str, ast.AST] = {}
        self.globals: set[str] = set()
        self.nonlocals: set[str] = set()
        self.below: list[Inner] = []
        self.walrus_outward = False

    def enter(self, node: ast.AST) -> None:
        if isinstance(node, FUNCTIONS):
            for argument in arguments_of(node.args):
                self.stores[argument.arg] = argument
            for one in node.body if isinstance(node.body, list) else [node.body]:
                self.visit(one)
        elif isinstance(node, COMPREHENSIONS):
            self.walrus_outward = True
            self._comprehension(node)
        elif isinstance(node, ast.ClassDef):
            for one in node.body:
                self.visit(one)

    def _comprehension(self, node: ast.AST) -> None:
        for number, generator in enumerate(node.generators):  # type: ignore[attr-defined]
            if number:  # the first iterable is evaluated outside
                self.visit(generator.iter)
            self.visit(generator.target)
            for test in generator.ifs:
                self.visit(test)
        for one in ("key", "value", "elt"):
            if getattr(node, one, None) is not None:
                self.visit(getattr(node, one))

    def outside(self) -> Inner:
        found = Inner()
        own = self.stores.keys() - self.globals - self.nonlocals
        for name, node in self.loads.items():
            if name not in own:
                found.reads.setdefault(name, node)
        for name in self.globals & self.stores.keys():
            found.binds[name] = self.stores[name]
        for inner in self.below:
            for name, node in inner.reads.items():
                if name not in own:
                    found.reads.setdefault(name, node)
            found.binds.update(inner.binds)
        return found

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.loads.setdefault(node.id, node)
        else:
            self.stores.setdefault(node.id, node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        if self.walrus_outward:
            self.below.append(Inner(binds={node.target.id: node.target}))
        else:
            self.stores.setdefault(node.target.id, node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self.loads.setdefault(node.target.id, node.target)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        self.globals.update(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.nonlocals.update(node.names)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name != "*":
                self.stores.setdefault(alias.asname or alias.name.partition(".")[0], node)

    visit_Import = _import
    visit_ImportFrom = _import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.stores.setdefault(node.name, node)
        self.generic_visit(node)

    def _captured(self, node: ast.MatchAs | ast.MatchStar) -> None:
        if node.name:
            self.stores.setdefault(node.name, node)
        self.generic_visit(node)

    visit_MatchAs = _captured
    visit_MatchStar = _captured

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.stores.setdefault(node.rest, node)
        self.generic_visit(node)

    def _nested(self, node: ast.AST) -> None:
        for one in outer_parts(node):
            self.visit(one)
        inner = inner_of(node)
        if isinstance(node, COMPREHENSIONS) and not self.walrus_outward:
            # A walrus in a comprehension binds in the function around it.
            for name, at in inner.binds.items():
                self.stores.setdefault(name, at)
            inner = Inner(reads=inner.reads)
        self.below.append(inner)

    visit_Lambda = _nested
    visit_ListComp = _nested
    visit_SetComp = _nested
    visit_DictComp = _nested
    visit_GeneratorExp = _nested

    def _named(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._nested(node)
        self.stores.setdefault(node.name, node)

    visit_FunctionDef = _named
    visit_AsyncFunctionDef = _named
    visit_ClassDef = _named


def outer_parts(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the parts of a nested scope that are evaluated outside it: decorators, defaults, bases, annotations."""
    yield from getattr(node, "decorator_list", [])
    yield from getattr(node, "bases", [])
    for keyword in getattr(node, "keywords", []):
        yield keyword.value
    if isinstance(node, FUNCTIONS):
        yield from node.args.defaults
        yield from (one for one in node.args.kw_defaults if one is not None)
        yield from (one.annotation for one in arguments_of(node.args) if one.annotation is not None)
        if getattr(node, "returns", None) is not None:
            yield node.returns  # type: ignore[union-attr,misc]
    if isinstance(node, COMPREHENSIONS):
        yield node.generators[0].iter


def arguments_of(arguments: ast.arguments) -> list[ast.arg]:
    """Return every argument of a signature."""
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
