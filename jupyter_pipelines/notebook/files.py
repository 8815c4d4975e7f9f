"""Files that code reads under a name that is written in it: their content counts, as if they were declared."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from jupyter_pipelines.notebook.code import parse_code
from jupyter_pipelines.notebook.trees import every_node

# Functions that read the file their first argument names, whatever library they are of: `read_csv`, `np.loadtxt`, …
_READING = frozenset("load loadtxt genfromtxt fromfile imread open_dataset open_rasterio scan_csv scan_parquet".split())
_PATH_READING = frozenset({"read_text", "read_bytes", "open"})
_LONGEST = 1000


def files_read(sources: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that pieces of code, which run one after the other, read by a name written in them.

    A name may stand in a constant of its own (``DATA = "data.csv"``). Paths are returned as written; URLs are left out.
    """
    found: dict[str, None] = {}
    known: dict[str, str] = {}
    for source in sources:
        constants, reads = _facts(source)
        known |= constants
        found |= dict.fromkeys(path for path in (_resolved(one, known) for one in reads) if _is_path(path))
    return tuple(found)


def _resolved(found: tuple[str, bool], known: Mapping[str, str]) -> str:
    text, is_name = found
    return known.get(text, "") if is_name else text


def _is_path(text: str) -> bool:
    return 0 < len(text) < _LONGEST and "://" not in text and "\n" not in text and "\0" not in text


@lru_cache(maxsize=8192)
def _facts(source: str) -> tuple[Mapping[str, str], tuple[tuple[str, bool], ...]]:
    """Return texts that are given a name, and what is read: a text, or a name and True."""
    tree = parse_code(source).tree
    constants: dict[str, str] = {}
    reads: list[tuple[str, bool]] = []
    for node in every_node(tree) if tree else ():
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            text = _text(node.value)
            if text is not None and not text[1]:
                constants[node.targets[0].id] = text[0]
        elif isinstance(node, ast.Call):
            reads += _read_by(node)
    return constants, tuple(reads)


def _read_by(call: ast.Call) -> Iterator[tuple[str, bool]]:
    """Yield what `call` reads: of a function its first argument, of a method of a path the path."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if isinstance(function, ast.Attribute) and name in _PATH_READING and (name != "open" or not _writes(call, 0)):
        own = _text(function.value)
        if own is not None and (own[1] or _path_of(function.value) is not None):
            yield own
    if isinstance(function, ast.Attribute) and _path_of(function.value) is not None:
        return
    reading = name in _READING or name.startswith("read_") or (name == "open" and not _writes(call, 1))
    first = _text(call.args[0]) if reading and call.args else None
    if first is not None:
        yield first


def _writes(call: ast.Call, at: int) -> bool:
    """Return whether ``open`` is asked for anything but reading."""
    modes = [one.value for one in call.keywords if one.arg == "mode"] + call.args[at : at + 1]
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else "r"
    return bool(set(str(mode)) & set("wax+")) or (bool(modes) and not isinstance(modes[0], ast.Constant))


def _text(node: ast.expr) -> tuple[str, bool] | None:
    """Return the text that `node` is, or the name that may stand for one and True."""
    if isinstance(node, ast.Constant):
        return (node.value, False) if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return node.id, True
    path = _path_of(node)
    return _text(path) if path is not None else None


def _path_of(node: ast.AST) -> ast.expr | None:
    """Return what a path is made of: ``Path("data.csv")``."""
    if not isinstance(node, ast.Call) or len(node.args) != 1:
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return node.args[0] if name in ("Path", "PurePath") else None
