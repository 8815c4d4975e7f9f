"""Names at the top level of a cell, followed statement by statement: what is read before it is certainly bound."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from jupyter_pipelines.notebook.scopes import COMPREHENSIONS, FUNCTIONS, inner_of, outer_parts

# What a kernel's namespace has without anybody's doing.
BUILTINS = frozenset(dir(builtins)) | frozenset(
    "__name__ __file__ __doc__ __builtins__ __annotations__ get_ipython display In Out _ __ ___ _i exit quit".split()
)
_ALWAYS = {"exec": "`exec`", "eval": "`eval`", "get_ipython": "`get_ipython()`"}
_BARE = {"globals": "`globals()`", "locals": "`locals()`", "vars": "`vars()`"}
_IMPORTING = frozenset({"import_module", "__import__"})


@dataclass(frozen=True, slots=True)
class At:
    """Where something stands: the number of the cell, and the node in its tree."""

    cell: int
    node: ast.AST


class Flow(ast.NodeVisitor):
    """One walk over the statements of a module, cell by cell.

    Attributes
    ----------
    reads : dict of str to At
        Names whose value is needed before the code certainly bound them itself.
    deferred : dict of str to At
        Names that functions need when they are called.
    binds, modules, definitions : dict of str to At
        Names bound at top level; those of them bound by ``import``; those bound by ``def`` and ``class``.
    deletes : set of str
        Names deleted and not bound again.
    stars : list of ImportFrom
        ``from … import *``.
    unknown : list of str
        What cannot be known, one sentence each.
    """

    def __init__(self, cell: int = 0) -> None:
        self.cell = cell
        self.certain: set[str] = set()
        self.reads: dict[str, At] = {}
        self.deferred: dict[str, At] = {}
        self.binds: dict[str, At] = {}
        self.modules: dict[str, At] = {}
        self.definitions: dict[str, At] = {}
        self.deletes: set[str] = set()
        self.stars: list[ast.ImportFrom] = []
        self.unknown: list[str] = []

    def run(self, statements: Iterable[ast.stmt]) -> None:
        """Walk over statements."""
        for one in statements:
            self.visit(one)

    @property
    def needs(self) -> Mapping[str, At]:
        """Every name that has to exist outside, now or when a function is called; built-ins included."""
        later = {name: at for name, at in self.deferred.items() if name not in self.binds}
        return {**later, **self.reads}

    # names

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._read(node.id, node)
        elif isinstance(node.ctx, ast.Store):
            self._bind(node.id, node)
        else:
            self._read(node.id, node)
            self.deletes.add(node.id)
            self.certain.discard(node.id)

    def _read(self, name: str, node: ast.AST) -> None:
        if name not in self.certain:
            self.reads.setdefault(name, At(self.cell, node))

    def _bind(self, name: str, node: ast.AST) -> None:
        self.certain.add(name)
        self.binds.setdefault(name, At(self.cell, node))
        self.deletes.discard(name)

    # expressions and statements whose parts are evaluated in another order than they stand

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self.visit(target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)
        self.visit(node.annotation)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id, node.target)
        self.visit(node.value)
        self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self.visit(node.target)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        with self._perhaps():
            for one in node.values[1:]:
                self.visit(one)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self._either([node.body], [node.orelse])

    def visit_Call(self, node: ast.Call) -> None:
        """Take note of calls that can do anything to names."""
        self.unknown += dynamic(node)
        self.generic_visit(node)

    # branches and loops

    @contextmanager
    def _perhaps(self) -> Iterator[None]:
        before = set(self.certain)
        yield
        self.certain &= before

    def _either(self, *branches: Iterable[ast.AST]) -> None:
        before, ends = set(self.certain), []
        for branch in branches:
            self.certain = set(before)
            for one in branch:
                self.visit(one)
            ends.append(self.certain)
        self.certain = set.intersection(*ends)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._either(node.body, node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._either([*node.body, *node.orelse], [])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        self._either([node.target, *node.body, *node.orelse], [])

    visit_AsyncFor = visit_For

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self.visit(item.optional_vars)
        self.run(node.body)

    visit_AsyncWith = visit_With

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        before = set(self.certain)
        self.run([*node.body, *node.orelse])
        ends = [self.certain]
        for handler in node.handlers:
            self.certain = set(before)
            self.visit(handler)
            if not _leaves(handler.body):
                ends.append(self.certain)
        self.certain = set.intersection(*ends)
        self.run(node.finalbody)

    visit_TryStar = visit_Try

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.type is not None:
            self.visit(node.type)
        if node.name:
            self._bind(node.name, node)
        self.run(node.body)
        if node.name:
            self.certain.discard(node.name)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        self._either(*([case.pattern, *([case.guard] if case.guard else []), *case.body] for case in node.cases), [])

    def _captured(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self.generic_visit(node)
        if node.name:
            self._bind(node.name, node)

    visit_MatchAs = _captured
    visit_MatchStar = _captured

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self._bind(node.rest, node)

    # nested scopes

    def _nested(self, node: ast.AST) -> None:
        for one in outer_parts(node):
            self.visit(one)
        for call in ast.walk(node):
            if isinstance(call, ast.Call):
                self.unknown += dynamic(call)
        inner = inner_of(node)
        later = isinstance(node, FUNCTIONS)
        for name, at in inner.reads.items():
            if later:
                self.deferred.setdefault(name, At(self.cell, at))
            else:
                self._read(name, at)
        for name, at in inner.binds.items():
            self.binds.setdefault(name, At(self.cell, at))
            if isinstance(node, COMPREHENSIONS):
                self.certain.add(name)

    visit_Lambda = _nested
    visit_ListComp = _nested
    visit_SetComp = _nested
    visit_DictComp = _nested
    visit_GeneratorExp = _nested

    def _named(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        parameters = {one.name for one in getattr(node, "type_params", [])}
        known = parameters - self.certain
        self.certain |= known
        self._nested(node)
        self.certain -= known
        for name in known:
            self.deferred.pop(name, None)
        self._bind(node.name, node)
        self.definitions.setdefault(node.name, At(self.cell, node))

    visit_FunctionDef = _named
    visit_AsyncFunctionDef = _named
    visit_ClassDef = _named

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            self._bind(name, node)
            self.modules.setdefault(name, At(self.cell, node))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for alias in node.names:
            if alias.name == "*":
                self.stars.append(node)
            else:
                self._bind(alias.asname or alias.name, node)
                self.modules.setdefault(alias.asname or alias.name, At(self.cell, node))


def _leaves(statements: list[ast.stmt]) -> bool:
    return bool(statements) and isinstance(statements[-1], ast.Raise | ast.Return | ast.Continue | ast.Break)


def dynamic(call: ast.Call) -> list[str]:
    """Return why a call makes the code unknowable, in one sentence, or nothing."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    bare = isinstance(call.func, ast.Name)
    if bare and name in _ALWAYS:
        return [f"line {call.lineno}: {_ALWAYS[name]} can read and change anything"]
    if bare and name in _BARE and not call.args:
        return [f"line {call.lineno}: {_BARE[name]} can read and change any name"]
    if name in _IMPORTING and not (call.args and isinstance(call.args[0], ast.Constant)):
        return [f"line {call.lineno}: which module `{name}` imports is known only when it runs"]
    return []
