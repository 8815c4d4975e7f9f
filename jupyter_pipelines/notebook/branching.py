"""Branches and loops: which ways lead through code, and where they meet.

In functions a name is local or not whatever the way, so their statements are walked over in order.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.notebook.flow import State, merged
from jupyter_pipelines.notebook.scopes import bound_by
from jupyter_pipelines.notebook.trees import children, every_node

if TYPE_CHECKING:
    from jupyter_pipelines.notebook.walking import Walker

_CATCHING = frozenset({"NameError", "UnboundLocalError"})


def _flows(walker: Walker) -> bool:
    return walker.scope is walker.flow


def branches(walker: Walker, *ways: Callable[[], None]) -> None:
    """Follow several ways from here, and go on where they meet."""
    if not _flows(walker):
        for way in ways:
            way()
        return
    start, ends = walker.flow.state, []
    with walker.flow.branching():
        for way in ways:
            walker.flow.state = start.copy()
            way()
            ends.append(walker.flow.state)
    walker.flow.state = merged(ends)


def if_(walker: Walker, node: ast.If) -> None:
    """Walk over ``if``."""
    walker.visit(node.test)
    branches(walker, lambda: walker.visit_all(node.body), lambda: walker.visit_all(node.orelse))


def if_expression(walker: Walker, node: ast.IfExp) -> None:
    """Walk over ``a if b else c``."""
    walker.visit(node.test)
    branches(walker, lambda: walker.visit(node.body), lambda: walker.visit(node.orelse))


def bool_op(walker: Walker, node: ast.BoolOp) -> None:
    """Walk over ``a and b``: what stands behind the first may not run."""
    walker.visit(node.values[0])
    branches(walker, lambda: walker.visit_all(node.values[1:]), lambda: None)


def for_(walker: Walker, node: ast.For | ast.AsyncFor) -> None:
    """Walk over ``for``."""
    walker.visit(node.iter)
    walker.bind_targets(node.target, walker.element_roots(node.iter))
    _loop(walker, node.body, node.orelse)


def while_(walker: Walker, node: ast.While) -> None:
    """Walk over ``while``."""
    walker.visit(node.test)
    endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
    _loop(walker, node.body, node.orelse, endless=endless)


def _loop(walker: Walker, body: list[ast.stmt], orelse: list[ast.stmt], *, endless: bool = False) -> None:
    """Walk over a loop as if it ran at least once: what it would bind is missing otherwise, and Python says so."""
    if not _flows(walker):
        walker.visit_all([*body, *orelse])
        return
    start = walker.flow.state.copy()
    walker.flow.enter_loop()
    walker.visit_all(body)
    out = walker.flow.end_round()
    if walker.flow.state.dead and not out:
        walker.flow.state = start
    walker.visit_all(orelse)
    walker.flow.state.dead = walker.flow.state.dead or (endless and bool(out))
    walker.flow.state = merged([walker.flow.state, *out])


def leave_loop(walker: Walker, node: ast.AST) -> None:
    """Walk over ``break`` or ``continue``."""
    if _flows(walker):
        walker.flow.leave_round(out=isinstance(node, ast.Break))


def leave(walker: Walker, node: ast.Raise | ast.Return) -> None:
    """Walk over ``raise`` or ``return``."""
    walker.visit_all(children(node))
    if _flows(walker):
        walker.flow.leave()


def with_(walker: Walker, node: ast.With | ast.AsyncWith) -> None:
    """Walk over ``with``."""
    for item in node.items:
        walker.visit(item.context_expr)
        if item.optional_vars is not None:
            walker.store(item.optional_vars)
    walker.visit_all(node.body)


def try_(walker: Walker, node: Any) -> None:
    """Walk over ``try``."""
    if not _flows(walker):
        with _guarded(walker, guarded=_is_guard(node)):
            walker.visit_all(node.body)
        walker.visit_all([*node.handlers, *node.orelse, *node.finalbody])
        return
    start = walker.flow.state.copy()
    with _guarded(walker, guarded=_is_guard(node)):
        walker.visit_all(node.body)
    halfway = State(set(start.definite), start.possible | walker.flow.state.possible, dict(start.aliases))
    walker.visit_all(node.orelse)
    ends = [walker.flow.state]
    with walker.flow.branching():
        for handler in node.handlers:
            walker.flow.state = halfway.copy()
            walker.visit(handler)
            ends.append(walker.flow.state)
    walker.flow.state = merged(ends)
    walker.visit_all(node.finalbody)


@contextmanager
def _guarded(walker: Walker, *, guarded: bool) -> Iterator[None]:
    """Follow code in which a missing name is no mistake: ``try: x`` … ``except NameError``."""
    walker.flow.guards += guarded
    walker.hints += guarded
    yield
    walker.hints -= guarded
    walker.flow.guards -= guarded


def handler(walker: Walker, node: ast.ExceptHandler) -> None:
    """Walk over ``except``; its name is unbound behind it."""
    walker.visit_all([node.type])
    if node.name:
        walker.scope.bind(node.name, walker.spot(node))
    walker.visit_all(node.body)
    if node.name and _flows(walker):
        walker.flow.forget(node.name)


def match(walker: Walker, node: ast.Match) -> None:
    """Walk over ``match``."""
    walker.visit(node.subject)
    ways: list[Callable[[], None]] = [partial(_case, walker, case) for case in node.cases]
    if not any(_takes_all(case) for case in node.cases):
        ways.append(lambda: None)
    branches(walker, *ways)


def _case(walker: Walker, case: ast.match_case) -> None:
    walker.visit(case.pattern)
    walker.visit_all([case.guard, *case.body])


def captured(walker: Walker, node: ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
    """Walk over a pattern that binds names."""
    walker.visit_all(children(node))
    for name in bound_by(node):
        walker.scope.bind(name, walker.spot(node))


def _is_guard(node: Any) -> bool:
    """Return whether a ``try`` asks if a name exists."""
    caught = {
        name_node.id
        for handler in node.handlers
        if handler.type
        for name_node in every_node(handler.type)
        if isinstance(name_node, ast.Name)
    }
    asks = len(node.body) == 1 and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Name)
    return bool(caught & _CATCHING) or asks


def _takes_all(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


BRANCHING: Mapping[type[ast.AST], Callable[[Walker, Any], None]] = {
    ast.If: if_,
    ast.IfExp: if_expression,
    ast.BoolOp: bool_op,
    ast.For: for_,
    ast.AsyncFor: for_,
    ast.While: while_,
    ast.Break: leave_loop,
    ast.Continue: leave_loop,
    ast.Raise: leave,
    ast.Return: leave,
    ast.With: with_,
    ast.AsyncWith: with_,
    ast.Try: try_,
    ast.TryStar: try_,
    ast.ExceptHandler: handler,
    ast.Match: match,
    ast.MatchAs: captured,
    ast.MatchStar: captured,
    ast.MatchMapping: captured,
}
"""What to do with each kind of node."""
