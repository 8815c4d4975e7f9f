"""Definitions passed to packages that may read their docstrings, as pydantic, click and typer do."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping

_NEVER_READING = frozenset(
    """
    numpy scipy pandas polars pyarrow sklearn statsmodels xgboost lightgbm catboost torch torchvision lightning
    tensorflow keras jax flax matplotlib seaborn plotly joblib numba tqdm dask distributed ray tenacity pytest
    """.split()
)
"""Packages that functions and classes are often passed to, and that do not use their docstrings."""
_DOCSTRING = re.compile("\"\"\"|'''|:[ \\t]*(?:#.*)?\\n[ \\t]*[rRuU]?[\"']")
"""Matches somewhere in every text that has a docstring."""


def handed_to_packages(sources: Iterable[str], packages: Collection[str]) -> frozenset[str]:
    """Return the names of functions and classes that are passed to packages which may read their docstrings.

    They have a decorator or a base class from such a package, or are passed to a call of it. Classes derived from such
    a class count, too.

    Parameters
    ----------
    sources : iterable of str
        The pieces of code of a step.
    packages : collection of str
        Top-level names of the third-party packages that they import.
    """
    # Every package not in the list is assumed to read docstrings: at worst a step runs once too often.
    reading = frozenset(packages) - _NEVER_READING
    sources = list(sources)
    if not reading or not any(map(_DOCSTRING.search, sources)):
        return frozenset()
    from jupyter_pipelines.notebook.code.cell_code import parse_code

    nodes = [node for source in sources if (tree := parse_code(source).tree) for node in ast.walk(tree)]
    aliases = {alias for node in nodes for alias, package in _imported(node) if package in reading}
    uses: dict[str, set[str]] = {}
    for node in nodes:
        for name, root in _handed(node):
            uses.setdefault(name, set()).add(root)
    return _reached(uses, aliases)


def definitions(source: str) -> frozenset[str]:
    """Return the names of all functions and classes that a piece of code defines."""
    from jupyter_pipelines.notebook.code.cell_code import parse_code

    tree = parse_code(source).tree
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return frozenset(node.name for node in (ast.walk(tree) if tree else ()) if isinstance(node, kinds))


def _reached(uses: Mapping[str, set[str]], aliases: Collection[str]) -> frozenset[str]:
    """Return the names from which one of `aliases` is reached, directly or through each other."""
    handed: set[str] = set()
    size = -1
    # Until nothing is added: a class may be derived from one that is itself derived from a class of a package.
    while size != len(handed):
        size = len(handed)
        handed |= {name for name, roots in uses.items() if not roots.isdisjoint({*aliases, *handed})}
    return frozenset(handed)


def _imported(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, each with its package."""
    if isinstance(node, ast.Import):
        yield from (
            (alias.asname or alias.name.partition(".")[0], alias.name.partition(".")[0]) for alias in node.names
        )
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield from ((alias.asname or alias.name, str(node.module).partition(".")[0]) for alias in node.names)


def _handed(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield pairs of a definition, or a name bound to a call, and the name that it is passed to or derived from."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        bases = [*node.bases, *(keyword.value for keyword in node.keywords)] if isinstance(node, ast.ClassDef) else []
        yield from ((node.name, root) for part in (*node.decorator_list, *bases) if (root := _root(part)))
    elif isinstance(node, ast.Call) and (root := _root(node.func)):
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        yield from (
            (name.id, root) for argument in arguments for name in ast.walk(argument) if isinstance(name, ast.Name)
        )
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and (root := _root(node.value)):
        yield from ((target.id, root) for target in node.targets if isinstance(target, ast.Name))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call) and (root := _root(node.value)):
        yield from ((target.id, root) for target in [node.target] if isinstance(target, ast.Name))


def _root(node: ast.expr) -> str:
    """Return the name that an expression begins with."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return ""
    return node.id
