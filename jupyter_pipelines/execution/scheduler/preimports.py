"""Determine what the kernels of steps may import ahead of time, from the source of the steps; nothing is executed.

A kernel never has a package loaded that its step does not import itself. Steps that change what an import sees or does
(the environment, the search path) import everything by themselves.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.machinery import PathFinder
from itertools import accumulate
from pathlib import Path

from jupyter_pipelines.execution.ticket import KernelPreimports
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.pipeline.step import Step

_MEDDLING = re.compile(
    r"environ|putenv|unsetenv|%(set_)?env\b|%load_ext|\breload\b|set_start_method|setrlimit|addaudithook"
    r"|\bsys\s*\.\s*(path|modules|meta_path|flags|argv|dont_write_bytecode)"
)
"""Code that may change the result of an import: environment, search path, start method, hooks."""


def preimports_of(steps: Iterable[Step]) -> dict[str, KernelPreimports]:
    """Return the modules that each step may have imported ahead of time.

    Modules are ordered so that steps have long prefixes in common.

    Parameters
    ----------
    steps : iterable of Step
        The steps that may run.
    """
    # The zygote is a tree with one branch for each import: only a common prefix is imported once for several steps.
    imports = {step.name: tuple(imports_of(step)) for step in steps}
    often = Counter(name for names in imports.values() for name in names)
    first = {name: number for number, name in enumerate(often)}
    ordered = {
        step: tuple(sorted(names, key=lambda name: (-often[name], first[name]))) for step, names in imports.items()
    }
    beginnings = Counter(beginning for names in ordered.values() for beginning in _prefixes(names))
    return {step: _split(names, beginnings) for step, names in ordered.items()}


def imports_of(step: Step) -> Iterator[str]:
    """Yield the modules of installed packages that a step imports unconditionally, each once."""
    texts = (
        [shared_code.source for shared_code in step.shared]
        + [cell.body for cell in step.cells]
        + [module.source for module in step.modules]
    )
    if step.kernel is not None or any(_MEDDLING.search(text) for text in texts):
        return
    packages = frozenset(step.packages)
    yield from dict.fromkeys(name for text in texts for name in _imported(text) if name.partition(".")[0] in packages)


def _prefixes(names: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return accumulate(((name,) for name in names), lambda before, name: before + name)


def _split(names: tuple[str, ...], beginnings: Mapping[tuple[str, ...], int]) -> KernelPreimports:
    shared = max((len(beginning) for beginning in _prefixes(names) if beginnings[beginning] > 1), default=0)
    return KernelPreimports(shared=list(names[:shared]), own=list(names[shared:]))


@lru_cache(maxsize=4096)
def _imported(text: str) -> tuple[str, ...]:
    """Return the modules imported at the top level of `text`: imports in functions and conditions may never happen."""
    tree = parse_code(text, 0).tree
    return tuple(name for node in (tree.body if tree else ()) for name in _names(node))


def _names(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names if _is_module(node.module, alias.name))


@lru_cache(maxsize=4096)
def _is_module(package: str, name: str) -> bool:
    """Tell whether `name` is a module in `package`, from the files alone."""
    # `importlib.util.find_spec` would import the parent packages, in the user's process.
    top, *inner = package.split(".")
    spec = PathFinder.find_spec(top)
    for place in (spec.submodule_search_locations if spec else None) or ():
        folder = Path(place, *inner)
        if (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file():
            return True
    return False
