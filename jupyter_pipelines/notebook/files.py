"""Files that code reads under a name that is written in it: their content counts, as if they were declared."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from jupyter_pipelines.notebook.code import parse_code
from jupyter_pipelines.notebook.trees import every_node

# Functions that read the file their first argument names, whatever library they are of: `read_csv`, `np.loadtxt`, …
_READING = frozenset("load loadtxt genfromtxt fromfile imread open_dataset open_rasterio scan_csv scan_parquet".split())
_PATH_READING = frozenset({"read_text", "read_bytes", "open"})
_WRITING = frozenset("savetxt save savez savez_compressed savefig imwrite imsave".split())
_ADDING = frozenset({"to_hdf", "to_sql", "to_zarr"})
_PATH_WRITING = frozenset({"write_text", "write_bytes"})
_ANEW = frozenset({"w", "x", "+w", "+x"})
_CERTAIN = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.With)
_REPEATING = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_LONGEST = 1000


def files_read(sources: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that pieces of code, which run one after the other, read by a name written in them.

    A name may stand in a constant of its own (``DATA = "data.csv"``). Paths are returned as written; URLs are left out,
    and so is what the code itself has certainly written before.
    """
    found: dict[str, None] = {}
    known: dict[str, str] = {}
    own: set[str] = set()
    for source in sources:
        constants, uses = _facts(source)
        known |= constants
        for use in uses:
            path = _resolved(use, known)
            if use.writes:
                own.add(path)
            elif _is_path(path) and path not in own:
                found[path] = None
    return tuple(found)


class Use(NamedTuple):
    """A file that code uses.

    Parameters
    ----------
    text : str
        Its path, or the name that stands for it.
    is_name : bool
        It is a name.
    writes : bool
        The file is made anew, whatever was there before.
    """

    text: str
    is_name: bool
    writes: bool = False


def _resolved(use: Use, known: Mapping[str, str]) -> str:
    return known.get(use.text, "") if use.is_name else use.text


def _is_path(text: str) -> bool:
    return 0 < len(text) < _LONGEST and "://" not in text and "\n" not in text and "\0" not in text


@lru_cache(maxsize=8192)
def _facts(source: str) -> tuple[Mapping[str, str], tuple[Use, ...]]:
    """Return texts that are given a name, and which files are used, in the order of the statements."""
    tree = parse_code(source).tree
    constants: dict[str, str] = {}
    uses: list[Use] = []
    for statement in tree.body if tree else ():
        nodes = every_node(statement)
        for node in nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                text = _text(node.value)
                if text is not None and not text[1]:
                    constants[node.targets[0].id] = text[0]
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        uses += [Use(*one) for call in calls for one in _read_by(call)]
        uses += [Use(*one, writes=True) for call in _certain_calls(statement) for one in _written_by(call)]
    return constants, tuple(uses)


def _certain_calls(statement: ast.stmt) -> Iterator[ast.Call]:
    """Yield the calls that are made whenever a statement runs."""
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt | ast.Lambda | ast.IfExp | ast.BoolOp | ast.comprehension) and not isinstance(
            node, _CERTAIN
        ):
            continue
        if isinstance(node, ast.Call):
            yield node
        waiting.extend(() if isinstance(node, _REPEATING) else ast.iter_child_nodes(node))


def _written_by(call: ast.Call) -> Iterator[tuple[str, bool]]:
    """Yield the file that `call` makes anew: its first argument, or the path whose method it is."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    own = _text(function.value) if isinstance(function, ast.Attribute) and _path_of(function.value) else None
    if own is not None and (name in _PATH_WRITING or (name == "open" and _mode(call, 0) in _ANEW)):
        yield own
    anew = (
        name in _WRITING
        or (name.startswith("to_") and name not in _ADDING)
        or (name == "open" and _mode(call, 1) in _ANEW)
    )
    first = _text(call.args[0]) if own is None and anew and call.args else None
    if first is not None and not any(word.arg == "mode" and name != "open" for word in call.keywords):
        yield first


def _mode(call: ast.Call, at: int) -> str:
    """Return the mode that ``open`` is called with; empty when it is not written out."""
    modes = [one.value for one in call.keywords if one.arg == "mode"] + call.args[at : at + 1]
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else ""
    return "".join(sorted(set(str(mode)) - set("bt")))


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
