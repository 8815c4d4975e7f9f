"""Order of a step's shared code: the pairs of pieces whose order can make a difference.

Two pieces may stand in either order unless they bind the same name, or the first uses at once, while it defines, a
name that the second binds, directly or through what it calls; or both do at once what may have effects: calls,
decorators, base classes, ``%%setup``. Setup may prepare anything, so its order relative to imports counts, too.

What cannot be determined is taken to depend on order. Moving imports and plain functions about has no consequence.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

from jupyter_pipelines.pipeline.step import SharedKind

_CACHE_SIZE = 1 << 14
_Pair = frozenset[int]
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_WITHOUT_EFFECT = (
    *(ast.Assign, ast.AnnAssign, ast.Pass, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import),
    *(ast.ImportFrom, ast.alias, ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.Slice, ast.List, ast.Tuple),
    *(ast.Set, ast.Dict, ast.Starred, ast.Lambda, ast.arguments, ast.arg, ast.UnaryOp, ast.BinOp, ast.BoolOp),
    *(ast.Compare, ast.IfExp, ast.JoinedStr, ast.FormattedValue, ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
    *(ast.expr_context, ast.If, ast.Try, ast.ExceptHandler),
)


@dataclass(frozen=True, slots=True)
class CodeEffects:
    """How a piece of shared code uses names, and its effects.

    Parameters
    ----------
    binds : frozenset of str
        Names that it binds.
    uses : frozenset of str
        Names that stand in it anywhere.
    at_once : frozenset of str
        Those of `uses` that are evaluated when the piece runs, not only when something in it is called.
    acts : bool
        Whether running it may do more than bind names.
    imports : bool
        Whether running it imports something.
    """

    binds: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()
    at_once: frozenset[str] = frozenset()
    acts: bool = True
    imports: bool = True


def order_constraints(pieces: Sequence[tuple[str, SharedKind, str]], inert: tuple[str, ...] = ()) -> list[str]:
    """Return ``a < b`` for pairs of pieces, in running order, that must not change places.

    Parameters
    ----------
    pieces : sequence of (str, str, str)
        Label, kind and source of each piece, in the order in which they run.
    inert : tuple of str
        Names with parts that do not count; see :func:`.inert_names`.
    """
    effects_of_pieces = [effects_of(source, inert) for _, _, source in pieces]
    setups = [index for index, (_, kind, _) in enumerate(pieces) if kind == "setup"]
    pairs = {*_by_name(effects_of_pieces), *_by_effect(effects_of_pieces), *_by_setup(effects_of_pieces, setups)}
    return sorted(f"{pieces[min(pair)][0]} < {pieces[max(pair)][0]}" for pair in pairs if min(pair) != max(pair))


@lru_cache(maxsize=_CACHE_SIZE)
def effects_of(source: str, inert: tuple[str, ...] = ()) -> CodeEffects:
    """Return the effects of a piece of shared code."""
    from jupyter_pipelines.notebook.code.cell_code import parse_code  # a slow import that plain reasons do not need
    from jupyter_pipelines.planning.keys.inert_code import replacements

    code = parse_code(source, 0)
    if code.tree is None:
        return CodeEffects()  # a step that runs it is never reused
    replaced = replacements(code.tree, inert) if inert else {}
    now = list(_at_once(code.tree.body, replaced))
    acts = bool(code.magics) or not all(_is_effect_free(node) for node in now)
    return CodeEffects(
        binds=frozenset(_bound(code.tree.body)),
        uses=frozenset(_names(_at_once(code.tree.body, replaced, functions=False))),
        at_once=frozenset(_names(now)),
        acts=acts,
        imports=any(isinstance(node, ast.Import | ast.ImportFrom) for node in now),
    )


def _by_name(effects_of_pieces: Sequence[CodeEffects]) -> Iterator[_Pair]:
    """Yield pairs of pieces that bind the same name, or of which the first needs at once what the second binds."""
    binders: dict[str, list[int]] = {}
    for index, effects in enumerate(effects_of_pieces):
        for name in effects.binds:
            binders.setdefault(name, []).append(index)
    uses = _uses_by_name(effects_of_pieces)
    for index, effects in enumerate(effects_of_pieces):
        for name in effects.binds | _reached(effects.at_once, uses):
            yield from (frozenset({index, other}) for other in binders.get(name, ()))


def _by_effect(effects_of_pieces: Sequence[CodeEffects]) -> Iterator[_Pair]:
    """Yield each piece that may have effects with the next such piece, which fixes the order of all of them."""
    acting = [index for index, effects in enumerate(effects_of_pieces) if effects.acts]
    # A chain is enough: pairs of neighbours fix the order of all, and grow linearly.
    yield from (frozenset(pair) for pair in pairwise(acting))


def _by_setup(effects_of_pieces: Sequence[CodeEffects], setups: Iterable[int]) -> Iterator[_Pair]:
    importing = [index for index, effects in enumerate(effects_of_pieces) if effects.imports]
    yield from (frozenset({setup, other}) for setup in setups for other in importing)


def _uses_by_name(effects_of_pieces: Iterable[CodeEffects]) -> dict[str, set[str]]:
    uses: dict[str, set[str]] = {}
    for effects in effects_of_pieces:
        for name in effects.binds:
            uses.setdefault(name, set()).update(effects.uses)
    return uses


def _reached(names: frozenset[str], uses: Mapping[str, set[str]]) -> frozenset[str]:
    reached, pending = set(names), list(names)
    while pending:
        new = uses.get(pending.pop(), set()) - reached
        reached |= new
        pending.extend(new)
    return frozenset(reached)


def _at_once(
    statements: Iterable[ast.stmt],
    replaced: Mapping[int, Sequence[ast.AST]] = MappingProxyType({}),
    *,
    functions: bool = True,
    classes: bool = True,
) -> Iterator[ast.AST]:
    """Yield the nodes that are evaluated when the statements run: of a function all but its body."""
    inner = (*(_FUNCTIONS if functions else ()), *(() if classes else (ast.ClassDef,)))
    stack = [node for statement in statements for node in replaced.get(id(statement), (statement,))]
    while stack:
        node = stack.pop()
        yield node
        body = node.body if isinstance(node, inner) else []
        below = [child for child in ast.iter_child_nodes(node) if child not in body]
        stack += [new for child in below for new in replaced.get(id(child), (child,))]


def _is_effect_free(node: ast.AST) -> bool:
    """Return whether evaluating `node` does nothing but make a value or bind a name."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    # An assignment to an attribute or an element may call `__setattr__` or `__setitem__`.
    if isinstance(node, ast.Attribute | ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return False
    # Base classes and metaclasses may run code of their own (`__init_subclass__`).
    if isinstance(node, ast.ClassDef) and (node.bases or node.keywords):
        return False
    return isinstance(node, _WITHOUT_EFFECT) and not getattr(node, "decorator_list", None)


def _names(nodes: Iterable[ast.AST]) -> set[str]:
    return {node.id for node in nodes if isinstance(node, ast.Name)}


def _bound(statements: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements bind in their own scope, not inside functions and classes."""
    for node in _at_once(statements, classes=False):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
            yield node.name or ""
        elif isinstance(node, ast.MatchMapping):
            yield node.rest or ""
