"""Scopes below the module level: functions, classes and comprehensions, by Python's rules."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Protocol

from jupyter_pipelines.notebook.code.ast_walk import children
from jupyter_pipelines.notebook.code.name_usage import CallSite, DeferredUsage, Kind, NameMutation, NameRead, SourceSpan

Roots = Mapping[str, bool]
"""The outside names whose objects something may be, each with whether it certainly is."""

NO_ROOTS: Roots = {}


class NameScope(Protocol):
    """A scope, in which names are read and bound."""

    def read(self, name: str, span: SourceSpan, *, sure: bool = True) -> None:
        """Record that a name is read."""

    def bind(self, name: str, span: SourceSpan, kind: Kind = "value", roots: Roots = NO_ROOTS) -> None:
        """Record that a name is bound, to the object of which of `roots`."""

    def bind_walrus(self, name: str, span: SourceSpan, roots: Roots) -> None:
        """Record ``name := …``, which binds outside comprehensions."""

    def delete(self, name: str, span: SourceSpan) -> None:
        """Record that a name is deleted."""

    def roots(self, name: str) -> Roots:
        """Return the outside names whose objects `name` may refer to."""

    def is_outside(self, name: str) -> bool:
        """Return whether `name` is certainly not bound here so far."""

    def mutate(self, roots: Roots, mutation: NameMutation) -> None:
        """Record that the objects of `roots` are changed in place."""

    def call(self, call: CallSite) -> None:
        """Record a call that passes outside names."""

    def later(self, name: str | None, later: DeferredUsage) -> None:
        """Record what a function does when it is called; without a name it is called at once."""

    def declare(self, names: list[str]) -> None:
        """Record ``global``."""


class FunctionScope:
    """The body of a function or lambda.

    Parameters
    ----------
    local : frozenset of str
        Names bound in it.
    arguments : ast.arguments
        Its signature.
    """

    def __init__(self, local: frozenset[str], arguments: ast.arguments) -> None:
        self.local = local
        positional = tuple(argument.arg for argument in (*arguments.posonlyargs, *arguments.args))
        self.parameters = frozenset(positional).union(argument.arg for argument in arguments.kwonlyargs)
        self.globals: set[str] = set()
        self.aliases: dict[str, Roots] = {}
        self.found = DeferredUsage(parameters=positional)

    def read(self, name: str, span: SourceSpan, *, sure: bool = True) -> None:
        """Record that a name is read."""
        if name not in self.local:
            self.found.read(name, NameRead(span, sure))

    def bind(self, name: str, span: SourceSpan, kind: Kind = "value", roots: Roots = NO_ROOTS) -> None:  # noqa: ARG002 - as every scope has it
        """Record that a name is bound."""
        if name in self.globals:
            self.found.binds[name] = span
        else:
            self.aliases[name] = roots

    def bind_walrus(self, name: str, span: SourceSpan, roots: Roots) -> None:
        """Record ``name := …``."""
        self.bind(name, span, roots=roots)

    def delete(self, name: str, span: SourceSpan) -> None:
        """Record that a name is deleted."""
        self.read(name, span)

    def roots(self, name: str) -> Roots:
        """Return the outside names whose objects `name` may refer to."""
        if name in self.aliases:
            return self.aliases[name]
        return {name: True} if name in self.parameters or name not in self.local else NO_ROOTS

    def is_outside(self, name: str) -> bool:
        """Return whether `name` is certainly not bound here so far."""
        return name not in self.local

    def mutate(self, roots: Roots, mutation: NameMutation) -> None:
        """Record that the objects of `roots` are changed in place."""
        for name in roots:
            if name in self.parameters:
                self.found.changes.add(name)
            elif name not in self.local:
                self.found.mutates.setdefault(name, mutation)

    def call(self, call: CallSite) -> None:
        """Record a call that passes outside names."""
        if call.function not in self.local:
            self.found.inner.append(
                call.without(frozenset(argument[1] for argument in call.arguments) - self.parameters)
            )
            self.found.calls.append(call.without(self.local))

    def later(self, name: str | None, later: DeferredUsage) -> None:  # noqa: ARG002 - as every scope has it
        """Record what a function does when it is called."""
        self.found.changes |= later.mutates.keys() & self.parameters
        self.found.merge(later.without(self.local))

    def declare(self, names: list[str]) -> None:
        """Record ``global``."""
        self.globals.update(names)


class InnerScope:
    """A comprehension, or the type parameters of a function or class: a few local names, all others outside."""

    def __init__(self, outer: NameScope, local: frozenset[str]) -> None:
        self.outer = outer
        self.local = local
        self.aliases: dict[str, Roots] = {}

    def read(self, name: str, span: SourceSpan, *, sure: bool = True) -> None:
        """Record that a name is read."""
        if name not in self.local:
            self.outer.read(name, span, sure=sure)

    def bind(self, name: str, span: SourceSpan, kind: Kind = "value", roots: Roots = NO_ROOTS) -> None:  # noqa: ARG002 - as every scope has it
        """Record that a name is bound."""
        self.aliases[name] = roots

    def bind_walrus(self, name: str, span: SourceSpan, roots: Roots) -> None:
        """Record ``name := …``."""
        self.outer.bind_walrus(name, span, roots)

    def delete(self, name: str, span: SourceSpan) -> None:
        """Record that a name is deleted."""
        self.outer.delete(name, span)

    def roots(self, name: str) -> Roots:
        """Return the outside names whose objects `name` may refer to."""
        return self.aliases.get(name, NO_ROOTS) if name in self.local else self.outer.roots(name)

    def is_outside(self, name: str) -> bool:
        """Return whether `name` is certainly not bound here so far."""
        return name not in self.local and self.outer.is_outside(name)

    def mutate(self, roots: Roots, mutation: NameMutation) -> None:
        """Record that the objects of `roots` are changed in place."""
        self.outer.mutate(roots, mutation)

    def call(self, call: CallSite) -> None:
        """Record a call that passes outside names."""
        if call.function not in self.local:
            self.outer.call(call)

    def later(self, name: str | None, later: DeferredUsage) -> None:
        """Record what a function does when it is called."""
        self.outer.later(name, later.without(self.local))

    def declare(self, names: list[str]) -> None:
        """Record ``global``."""
        self.outer.declare(names)


class ClassScope:
    """The body of a class: runs at once, and its functions do not see its names."""

    def __init__(self, outer: NameScope) -> None:
        # A class inside a class does not see the names of the outer one.
        self.outer: NameScope = outer.outer if isinstance(outer, ClassScope) else outer
        self.bound: set[str] = set()
        self.globals: set[str] = set()
        self.functions: dict[str, DeferredUsage] = {}

    def read(self, name: str, span: SourceSpan, *, sure: bool = True) -> None:
        """Record that a name is read."""
        if name not in self.bound:
            self.outer.read(name, span, sure=sure)
        # A function that the body uses runs while the class is made.
        elif name in self.functions:
            self.outer.later(None, self.functions.pop(name))

    def bind(self, name: str, span: SourceSpan, kind: Kind = "value", roots: Roots = NO_ROOTS) -> None:
        """Record that a name is bound."""
        if name in self.globals:
            self.outer.bind(name, span, kind, roots)
        else:
            self.bound.add(name)

    def bind_walrus(self, name: str, span: SourceSpan, roots: Roots) -> None:
        """Record ``name := …``."""
        self.bind(name, span, roots=roots)

    def delete(self, name: str, span: SourceSpan) -> None:  # noqa: ARG002 - as every scope has it
        """Record that a name is deleted."""
        self.bound.discard(name)

    def roots(self, name: str) -> Roots:
        """Return the outside names whose objects `name` may refer to."""
        return NO_ROOTS if name in self.bound else self.outer.roots(name)

    def is_outside(self, name: str) -> bool:
        """Return whether `name` is certainly not bound here so far."""
        return name not in self.bound and self.outer.is_outside(name)

    def mutate(self, roots: Roots, mutation: NameMutation) -> None:
        """Record that the objects of `roots` are changed in place."""
        self.outer.mutate(roots, mutation)

    def call(self, call: CallSite) -> None:
        """Record a call that passes outside names."""
        self.outer.call(call)

    def later(self, name: str | None, later: DeferredUsage) -> None:
        """Record what a function does when it is called."""
        if name is None:
            self.outer.later(None, later)
        else:
            self.functions.setdefault(name, DeferredUsage()).merge(later)

    @property
    def methods(self) -> DeferredUsage:
        """Usage of those functions that the body of the class does not use itself."""
        deferred = DeferredUsage()
        for later in self.functions.values():
            deferred.merge(later)
        return deferred

    def declare(self, names: list[str]) -> None:
        """Record ``global``."""
        self.globals.update(names)


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def local_names(body: list[ast.stmt] | ast.expr, arguments: ast.arguments) -> frozenset[str]:
    """Return the names that are local to a function: its arguments, and what its body binds."""
    names = {argument.arg for argument in arguments_of(arguments)}
    outer: set[str] = set()
    stack: list[ast.AST] = list(body) if isinstance(body, list) else [body]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Global | ast.Nonlocal):
            outer.update(node.names)
        else:
            names.update(bound_by(node))
            stack.extend(_same_scope(node))
    return frozenset(names - outer)


def bound_by(node: ast.AST) -> list[str]:
    """Return the names that `node` itself binds, without those its parts do."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, (*_NAMED, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return [node.name] if node.name else []
    return [node.rest] if isinstance(node, ast.MatchMapping) and node.rest else []


def _same_scope(node: ast.AST) -> list[ast.AST]:
    """Return the parts of `node` that are evaluated in the scope it stands in."""
    if isinstance(node, FUNCTIONS):
        outer: list[ast.AST] = [*getattr(node, "decorator_list", []), *node.args.defaults]
        return outer + [default for default in node.args.kw_defaults if default is not None]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    if isinstance(node, ast.comprehension):
        return [node.iter, *node.ifs]  # its target is local to it, a walrus in it is not
    return children(node)


def arguments_of(arguments: ast.arguments) -> list[ast.arg]:
    """Return every argument of a signature."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return named + [variadic for variadic in (arguments.vararg, arguments.kwarg) if variadic is not None]
