"""Analysis of the names that cells and single statements read, bind and change."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from jupyter_pipelines.notebook.code.ast_walk import every_node
from jupyter_pipelines.notebook.code.cell_code import CellCode
from jupyter_pipelines.notebook.code.name_usage import ModuleImport, NameBinding, NameRead, NameUsage, SourceSpan
from jupyter_pipelines.notebook.code.visitor import NameVisitor, StarNames

_CACHE_SIZE = 1 << 14
TOO_DEEP = "the code is nested too deeply to be followed"


def analyse(codes: Sequence[CellCode], star_names: StarNames = lambda _star_import: None) -> NameUsage:
    """Return how cells that run one after the other use names.

    Parameters
    ----------
    codes : sequence of CellCode
        The cells.
    star_names : callable
        Returns the names that a star import binds, or None when that is not known.
    """
    trees = tuple([code.tree for code in codes])
    return _analyse_closed_cells(trees) or analyse_bodies(_bodies(trees), star_names)


@lru_cache(maxsize=_CACHE_SIZE)
def _analyse_closed_cells(trees: tuple[ast.Module | None, ...]) -> NameUsage | None:
    """Return how cells use names; None where that depends on more than the cells.

    Each edit of one cell analyses all others again, so results are cached: equal cells share one tree object.
    """
    star_imports: list[ModuleImport] = []
    names = analyse_bodies(_bodies(trees), star_imports.append)
    too_deep = any(sentence == TOO_DEEP for _, sentence in names.unknown)  # how deep is too deep depends on the caller
    return None if star_imports or too_deep else names


def _bodies(trees: Sequence[ast.Module | None]) -> list[list[ast.stmt]]:
    return [tree.body if tree else [] for tree in trees]


def analyse_bodies(bodies: Sequence[list[ast.stmt]], star_names: StarNames = lambda _star_import: None) -> NameUsage:
    """Return how lists of statements that run one after the other use names."""
    visitor = NameVisitor(star_names)
    try:
        for part, body in enumerate(bodies):
            visitor.run(body, part)
    # Expressions nested more deeply than the stack allows: branches are not followed, so nothing is certain.
    except RecursionError:
        return _names_without_dataflow(bodies)
    visitor.flow.finish()
    return _names(visitor)


def _names(visitor: NameVisitor) -> NameUsage:
    flow = visitor.flow
    binds = flow.bound()
    return NameUsage(
        reads=flow.reads,
        later=flow.unused,
        binds=binds,
        since=flow.since,
        deletes=frozenset(flow.ever_bound - binds.keys()),
        mutates=flow.mutates,
        calls=tuple(call for call in flow.calls if call.arguments),
        functions=flow.functions,
        methods=visitor.methods,
        aliases=flow.aliases(),
        imports=tuple(dict.fromkeys(visitor.imports)),
        paths=tuple(dict.fromkeys(visitor.paths)),
        stars=tuple(visitor.stars),
        unknown=tuple(visitor.unknown),
        dynamic=flow.opaque,
    )


def _names_without_dataflow(bodies: Sequence[list[ast.stmt]]) -> NameUsage:
    """Return every name that occurs, as possibly read and possibly bound."""
    reads: dict[str, NameRead] = {}
    binds: dict[str, NameBinding] = {}
    imports: list[ModuleImport] = []
    for part, body in enumerate(bodies):
        for node in every_node(ast.Module(body=body, type_ignores=[])):
            if isinstance(node, ast.Name):
                span = SourceSpan(part, node.lineno, node.col_offset, len(node.id.encode()))
                if isinstance(node.ctx, ast.Load):
                    reads.setdefault(node.id, NameRead(span, sure=False))
                else:
                    binds[node.id] = NameBinding(span, "value", sure=False)
            elif isinstance(node, ast.Import):
                imports += [ModuleImport(alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imports.append(ModuleImport(node.module or "", tuple(alias.name for alias in node.names), node.level))
    return NameUsage(
        reads=reads,
        binds=binds,
        imports=tuple(imports),
        unknown=((0, TOO_DEEP),),
        dynamic=True,
    )
