"""Files that code certainly reads and writes, under plain names: literals, and variables that are bound once to them.

What is found here is an error before anything runs. So only functions count that are known to read or write a file,
by whichever name the file has; what :mod:`jupyter_pipelines.notebook.code.file_reads` guesses of others does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

from jupyter_pipelines.notebook.code.ast_walk import every_node
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.file_reads import path_written, unconditional_calls
from jupyter_pipelines.notebook.code.string_inference import called_name
from jupyter_pipelines.pipeline.path_templates import JOINT, path_of

# Limits the names and joins on the way to a literal, and ends circles such as `a = a + "x"`.
_DEEPEST = 8
_READING = frozenset(
    """
    read_csv read_excel read_feather read_fwf read_hdf read_ipc read_json read_ndjson read_orc read_parquet read_pickle
    read_sas read_spss read_stata read_table read_xml scan_csv scan_ipc scan_ndjson scan_parquet genfromtxt loadtxt
    """.split()
)
_READING_OF = {
    "load": frozenset({"np", "numpy", "joblib", "torch"}),
    "fromfile": frozenset({"np", "numpy"}),
    "open": frozenset({"bz2", "codecs", "gzip", "io", "lzma"}),
}
"""Functions that read a file where they are of these modules."""
_WRITING = frozenset(
    """
    to_csv to_excel to_feather to_html to_json to_latex to_markdown to_orc to_parquet to_pickle to_stata to_xml
    write_avro write_csv write_excel write_feather write_ipc write_ndjson write_parquet
    savefig savetxt savez savez_compressed
    """.split()
)
_WRITING_OF = {
    "save": frozenset({"np", "numpy", "torch"}),
    "dump": frozenset({"joblib"}),
    "imwrite": frozenset({"cv2", "iio", "imageio"}),
    "open": frozenset({"bz2", "codecs", "gzip", "io", "lzma"}),
}
_PATH_METHODS = frozenset({"open", "read_bytes", "read_text", "write_bytes", "write_text"})
_JOINING = frozenset({"Path", "PurePath", "joinpath", "join"})


class PlainFileUses(NamedTuple):
    """Files that code uses under plain names.

    Parameters
    ----------
    reads : tuple of str
        Files that it reads without having written them before.
    writes : tuple of str
        Files that it writes from scratch whenever it runs.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


class _PathUse(NamedTuple):
    """A call that reads or writes a file; ``touches`` are calls that write it in some cases."""

    kind: Literal["reads", "writes", "touches"]
    path: ast.expr


def plain_file_uses(sources: Iterable[str]) -> PlainFileUses:
    """Return the files that pieces of code, run in this order, read and write under plain names.

    Parameters
    ----------
    sources : iterable of str
        The pieces.
    """
    sources = list(sources)
    values: dict[str, list[ast.expr | None]] = {}
    for source in sources:
        for name, value in _bound(source):
            values.setdefault(name, []).append(value)
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    touched: set[str] = set()
    for use in (use for source in sources for use in _path_uses(source)):
        text = _text(use.path, values, _DEEPEST)
        path = path_of(text) if text else None
        if path is None:
            continue
        if use.kind == "touches":
            touched.add(path)
        # A file that the code itself may have written before does not come from another step.
        elif use.kind == "reads" and path not in touched:
            reads[path] = None
        elif use.kind == "writes" and ("." in path or "/" in path):  # `to_dict("list")` names no file
            writes[path] = None
    return PlainFileUses(tuple(reads), tuple(writes))


@lru_cache(maxsize=8192)
def _path_uses(source: str) -> tuple[_PathUse, ...]:
    """Return how a piece of code uses files, in the order of the statements."""
    tree = parse_code(source).tree
    uses: list[_PathUse] = []
    for statement in tree.body if tree else ():
        calls = [node for node in every_node(statement) if isinstance(node, ast.Call)]
        uses += [_PathUse("reads", path) for call in calls if (path := _certainly_read(call)) is not None]
        uses += [_PathUse("touches", path) for call in calls if (path := path_written(call)) is not None]
        unconditional = unconditional_calls(statement)
        uses += [_PathUse("writes", path) for call in unconditional if (path := _certainly_written(call)) is not None]
    return tuple(uses)


def _certainly_read(call: ast.Call) -> ast.expr | None:
    """Return the path of the file that `call` reads, if it is a function that is known to do so."""
    name, owner = called_name(call), call.func.value if isinstance(call.func, ast.Attribute) else None
    if path_written(call) is not None:
        return None
    if name == "open" and not _only_reads(call, 0 if _may_be_path(owner) else 1):
        return None
    if name in _PATH_METHODS and _may_be_path(owner):
        return owner
    if name in _READING or _is_of(owner, _READING_OF.get(name)) or (name == "open" and owner is None):
        return _first_argument(call)
    return None


def _certainly_written(call: ast.Call) -> ast.expr | None:
    """Return the path of the file that `call` makes anew, if it is a function that is known to do so."""
    name, owner = called_name(call), call.func.value if isinstance(call.func, ast.Attribute) else None
    known = (
        name in _WRITING
        or _is_of(owner, _WRITING_OF.get(name))
        or (name in _PATH_METHODS and _may_be_path(owner))
        or (name == "open" and owner is None)
    )
    return path_written(call) if known else None


def _is_of(owner: ast.expr | None, modules: frozenset[str] | None) -> bool:
    return modules is not None and isinstance(owner, ast.Name) and owner.id in modules


def _may_be_path(owner: ast.expr | None) -> bool:
    """Tell whether the owner of a method may be a path; what it is bound to decides."""
    modules = _READING_OF["open"] | _WRITING_OF["open"]
    return owner is not None and not isinstance(owner, ast.Constant) and not _is_of(owner, modules)


def _first_argument(call: ast.Call) -> ast.expr | None:
    names = ("filepath_or_buffer", "path_or_buf", "path", "io", "file", "fname", "filename", "source")
    named = [keyword.value for keyword in call.keywords if keyword.arg in names]
    return next(iter([*call.args[:1], *named]), None)


def _only_reads(call: ast.Call, position: int) -> bool:
    """Tell whether a file is opened to be read, and the mode is plain."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] or call.args[position : position + 1]
    if not modes:
        return True
    return isinstance(modes[0], ast.Constant) and set(str(modes[0].value)) <= set("rbtU")


@lru_cache(maxsize=8192)
def _bound(source: str) -> tuple[tuple[str, ast.expr | None], ...]:
    """Return the names that a piece of code binds anywhere, with the expression; None where it is not plain."""
    tree = parse_code(source).tree
    assigned = {
        id(node.targets[0]): node.value
        for node in (tree.body if tree else ())
        if isinstance(node, ast.Assign) and len(node.targets) == 1
    }
    nodes = every_node(tree) if tree else ()
    return tuple((name, assigned.get(id(node))) for node in nodes for name in _names_bound(node))


def _names_bound(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield (node.asname or node.name).partition(".")[0]


def _text(node: ast.expr, values: dict[str, list[ast.expr | None]], depth: int) -> str | None:
    """Return the text of an expression that is plain; None of any other."""
    if depth == 0:
        return None
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        bound = values.get(node.id, [])
        return _text(bound[0], values, depth - 1) if len(bound) == 1 and bound[0] is not None else None
    parts, glue = _parts(node)
    texts = [_text(part, values, depth - 1) for part in parts]
    return None if None in texts or not texts else glue.join(map(str, texts))


def _parts(node: ast.expr) -> tuple[list[ast.expr], str]:
    """Return the expressions that a path or text is joined of, and what is between them."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Div):
        return [node.left, node.right], JOINT if isinstance(node.op, ast.Div) else ""
    if isinstance(node, ast.JoinedStr):
        plain = all(
            isinstance(part, ast.Constant) or (part.format_spec is None and part.conversion == -1)  # type: ignore[attr-defined]
            for part in node.values
        )
        values = [part.value if isinstance(part, ast.FormattedValue) else part for part in node.values]
        return (values if plain else []), ""
    if isinstance(node, ast.Call) and called_name(node) in _JOINING and not node.keywords:
        owner = [node.func.value] if called_name(node) == "joinpath" and isinstance(node.func, ast.Attribute) else []
        is_text_method = isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Constant)
        return ([] if is_text_method else [*owner, *node.args]), JOINT
    return [], ""
