"""Which names cells and single statements read, bind and change."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import lru_cache

from jupyter_pipelines.notebook.code import Code
from jupyter_pipelines.notebook.names import Bind, Import, Names, Read, Spot
from jupyter_pipelines.notebook.trees import every_node
from jupyter_pipelines.notebook.walking import StarNames, Walker

_REMEMBERED = 1 << 14
TOO_DEEP = "the code is nested too deeply to be followed"


def analyse(codes: Sequence[Code], star_names: StarNames = lambda _star_import: None) -> Names:
    """Return what cells that run one after the other do to names.

    Parameters
    ----------
    codes : sequence of Code
        The cells.
    star_names : callable
        Returns the names that a star import binds, or None when that is not known.
    """
    trees = tuple([code.tree for code in codes])
    return _without_stars(trees) or analyse_bodies(_bodies(trees), star_names)


@lru_cache(maxsize=_REMEMBERED)
def _without_stars(trees: tuple[ast.Module | None, ...]) -> Names | None:
    """Return what cells do to names; None where that depends on more than the cells.

    Each edit of one cell analyses all others again, so results are cached: equal cells share one tree object.
    """
    star_imports: list[Import] = []
    names = analyse_bodies(_bodies(trees), star_imports.append)
    deep = any(sentence == TOO_DEEP for _, sentence in names.unknown)  # how deep is too deep depends on the caller
    return None if star_imports or deep else names


def _bodies(trees: Sequence[ast.Module | None]) -> list[list[ast.stmt]]:
    return [tree.body if tree else [] for tree in trees]


def analyse_bodies(bodies: Sequence[list[ast.stmt]], star_names: StarNames = lambda _star_import: None) -> Names:
    """Return what lists of statements that run one after the other do to names."""
    walker = Walker(star_names)
    try:
        for part, body in enumerate(bodies):
            walker.run(body, part)
    except RecursionError:
        return _without_following(bodies)
    walker.flow.finish()
    return _names(walker)


def _names(walker: Walker) -> Names:
    flow = walker.flow
    binds = flow.bound()
    return Names(
        reads=flow.reads,
        later=flow.unused,
        binds=binds,
        since=flow.since,
        deletes=frozenset(flow.ever - binds.keys()),
        mutates=flow.mutates,
        calls=tuple(call for call in flow.calls if call.arguments),
        functions=flow.functions,
        methods=walker.methods,
        aliases=flow.aliases(),
        imports=tuple(dict.fromkeys(walker.imports)),
        paths=tuple(dict.fromkeys(walker.paths)),
        stars=tuple(walker.stars),
        unknown=tuple(walker.unknown),
        dynamic=flow.opaque,
    )


def _without_following(bodies: Sequence[list[ast.stmt]]) -> Names:
    """Return every name that occurs, as perhaps read and perhaps bound."""
    reads: dict[str, Read] = {}
    binds: dict[str, Bind] = {}
    imports: list[Import] = []
    for part, body in enumerate(bodies):
        for node in every_node(ast.Module(body=body, type_ignores=[])):
            if isinstance(node, ast.Name):
                spot = Spot(part, node.lineno, node.col_offset, len(node.id.encode()))
                if isinstance(node.ctx, ast.Load):
                    reads.setdefault(node.id, Read(spot, sure=False))
                else:
                    binds[node.id] = Bind(spot, "value", sure=False)
            elif isinstance(node, ast.Import):
                imports += [Import(alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imports.append(Import(node.module or "", tuple(alias.name for alias in node.names), node.level))
    return Names(
        reads=reads,
        binds=binds,
        imports=tuple(imports),
        unknown=((0, TOO_DEEP),),
        dynamic=True,
    )
