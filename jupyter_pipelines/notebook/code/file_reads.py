"""Detection of files that code reads under names written in it: their content counts as if they were declared."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from posixpath import dirname
from typing import Literal, NamedTuple

from jupyter_pipelines.notebook.code.ast_walk import every_node
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.string_inference import StringEvaluator, called_name, is_path, joined, texts_of
from jupyter_pipelines.pipeline.path_templates import JOINT, names_in, path_of

# Functions that read the file their first argument names, whatever library they are of: `read_csv`, `load_workbook`, …
_READING = ("read", "load", "open_", "scan_", "from_")
_ALSO_READING = frozenset("genfromtxt fromfile imread parse ParquetFile ParquetDataset ImageFolder".split())
_DATABASES = frozenset({"sqlite3", "duckdb"})
_CHANGING = frozenset({"to_sql", "commit", "executemany", "executescript"})
_CHANGES = re.compile(r"\s*(?:alter|copy|create|delete|drop|insert|replace|update)\b", re.IGNORECASE)
_MAYBE_READING = frozenset({"open", "File", "ZipFile"})  # their second argument is a mode
_PATH_READING = frozenset({"read_text", "read_bytes", "open"})
_LISTING = frozenset("glob iglob rglob iterdir listdir scandir walk".split())
_WRITING = frozenset("savetxt save savez savez_compressed savefig imwrite imsave".split())
_WRITING_TABLES = frozenset(
    """
    write_avro write_csv write_excel write_ipc write_json write_ndjson write_parquet
    sink_csv sink_ipc sink_ndjson sink_parquet
    """.split()
)
"""Functions of polars, whose first argument is the path, and of Arrow, whose first argument is the table."""
_WRITING_SECOND = frozenset("dump write_table write_feather save_file".split())
"""Functions whose second argument is the path, after the value: of joblib, Arrow, safetensors."""
_ADDING = frozenset({"to_hdf", "to_sql", "to_zarr"})
_PATH_WRITING = frozenset({"write_text", "write_bytes"})
_MAKING = frozenset({"mkdir", "makedirs"})
_FIRST = frozenset("database filepath_or_buffer path_or_buf path io file fname filename source".split())
_OVERWRITING_MODES = frozenset({"w", "x", "+w", "+x"})
_UNCONDITIONAL = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.With)
_REPEATING = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FileUseKind = Literal["reads", "lists", "writes", "touches", "fills", "asks", "changes"]


class FileReads(NamedTuple):
    """Files that code reads.

    Parameters
    ----------
    paths : tuple of str
        Their paths as written; folders and patterns of those that are listed.
    templates : tuple of str
        Paths that depend on parameters; see :mod:`jupyter_pipelines.pipeline.path_templates`.
    """

    paths: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


def files_read(sources: Iterable[str], parameters: Collection[str] = ()) -> FileReads:
    """Return the files that pieces of code, run in this order, read by a name written in them.

    A name may be a constant (``DATA = "data.csv"``), be passed to a function, or be joined from several texts. Where
    files are listed (``glob("data/*.csv")``, ``os.listdir("data")``), all that may match count. URLs are left out, and
    so are files that the code has certainly written before, and folders and databases that it writes to.
    """
    sources = list(sources)
    uses = [use for source in sources for use in _uses(source)]
    changes = any(use.kind == "changes" for use in uses)
    # A database that the code itself changes is no input: its content would differ after every run.
    uses = [use._replace(kind="reads") if use.kind == "asks" and not changes else use for use in uses]
    # Evaluating texts takes longest, and most code opens no file.
    if not any(use.kind in ("reads", "lists") for use in uses):
        return FileReads()
    texts = StringEvaluator(sources, parameters)
    evaluated_uses = [
        (use.kind, list(dict.fromkeys(path for text in use.texts for path in texts.of(text)))) for use in uses
    ]
    filled = {path for kind, candidates in evaluated_uses for path in (candidates if kind == "fills" else ())}
    touched = (text for use in uses if use.kind == "touches" for text in use.texts)
    filled |= {dirname(path.replace(JOINT, "/")) for text in touched for path in texts.like(text)}
    read_paths: dict[str, None] = {}
    written: set[str] = set()
    for kind, candidates in evaluated_uses:
        if kind == "writes":
            # With several candidates, none is certain to be written, and each may be read as it was before.
            written |= set(candidates) if len(candidates) == 1 else set()
        elif kind == "reads":
            read_paths |= dict.fromkeys(path for path in candidates if path not in written)
        elif kind == "lists":
            read_paths |= dict.fromkeys(path for path in candidates if not _is_filled(path, filled))
    paths = (path_of(path) for path in read_paths if not names_in(path))
    return FileReads(tuple(dict.fromkeys(filter(None, paths))), tuple(path for path in read_paths if names_in(path)))


def writes_files(sources: Iterable[str]) -> bool:
    """Tell whether pieces of code write files from scratch, under any names."""
    return any(use.kind == "writes" for source in sources for use in _uses(source))


def _is_filled(listed: str, filled: Collection[str]) -> bool:
    """Return whether a folder or pattern may hold what the code itself puts there."""
    text = listed.replace(JOINT, "/")
    return any(
        text == folder or text.startswith(f"{folder}/") or folder.startswith(f"{text}/") for folder in filled if folder
    )


class FileUse(NamedTuple):
    """A file or folder that code uses.

    Parameters
    ----------
    kind : {"reads", "lists", "writes", "touches", "fills", "asks", "changes"}
        Reads it, looks for files in it or like it, certainly writes it from scratch, may write it,
        makes it as a folder, queries it as a database, or changes some database.
    texts : tuple of str
        Templates of what its path may be.
    """

    kind: FileUseKind
    texts: tuple[str, ...]


@lru_cache(maxsize=8192)
def _uses(source: str) -> tuple[FileUse, ...]:
    """Return which files a piece of code uses, in the order of the statements."""
    tree = parse_code(source).tree
    uses: list[FileUse] = []
    for statement in tree.body if tree else ():
        calls = [node for node in every_node(statement) if isinstance(node, ast.Call)]
        classifiers = (_read_by, _listed_by, _filled_by, _queried_by)
        # Reads first: the arguments of a call are evaluated before it writes (`read_csv(p).to_csv(p)`).
        uses += [use for call in calls for classify in classifiers if (use := classify(call))]
        uses += [use._replace(kind="touches") for call in calls if (use := _written_by(call))]
        uses += [use for call in unconditional_calls(statement) if (use := _written_by(call))]
    return tuple(uses)


def unconditional_calls(statement: ast.stmt) -> Iterator[ast.Call]:
    """Yield the calls that are made whenever a statement runs."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.stmt | ast.Lambda | ast.IfExp | ast.BoolOp | ast.comprehension) and not isinstance(
            node, _UNCONDITIONAL
        ):
            continue
        if isinstance(node, ast.Call):
            yield node
        pending.extend(() if isinstance(node, _REPEATING) else ast.iter_child_nodes(node))


def _use(kind: FileUseKind, texts: Iterable[str]) -> FileUse | None:
    templates = tuple(texts)
    return FileUse(kind, templates) if templates else None


def _written_by(call: ast.Call) -> FileUse | None:
    """Return the file that `call` makes anew."""
    return _use("writes", texts_of(path_written(call)))


def path_written(call: ast.Call) -> ast.expr | None:
    """Return the path of the file that `call` makes anew: an argument, or the path whose method it is."""
    name, owner = called_name(call), _owner(call)
    if owner is not None and (name in _PATH_WRITING or (name == "open" and _mode(call, 0) in _OVERWRITING_MODES)):
        return owner
    if name in _WRITING_SECOND or (name == "save" and isinstance(owner, ast.Name) and owner.id == "torch"):
        return _path_argument(call, 1)
    if name in _WRITING_TABLES:
        # polars only returns a plan then, and writes nothing.
        is_lazy = any(keyword.arg == "lazy" for keyword in call.keywords)
        return None if is_lazy else _path_argument(call, 1 if len(call.args) > 1 else 0)
    overwrites = (
        name in _WRITING
        or (name.startswith("to_") and name not in _ADDING)
        or (name == "open" and _mode(call, 1) in _OVERWRITING_MODES)
    )
    # `to_csv(mode="a")` appends to a file that is there.
    if not overwrites or any(keyword.arg == "mode" and name != "open" for keyword in call.keywords):
        return None
    return _first_argument(call)


def _owner(call: ast.Call) -> ast.expr | None:
    """Return what may be a path whose method is called."""
    return call.func.value if isinstance(call.func, ast.Attribute) else None


def _first(call: ast.Call) -> tuple[str, ...]:
    """Return the texts of the first argument, given by position or by keyword."""
    return texts_of(_first_argument(call))


def _first_argument(call: ast.Call) -> ast.expr | None:
    return _path_argument(call, 0)


def _path_argument(call: ast.Call, position: int) -> ast.expr | None:
    """Return the argument that may be a path: the one at a position, or one with the name of a path."""
    keyword_values = [keyword.value for keyword in call.keywords if keyword.arg in _FIRST]
    return next(iter([*call.args[position:], *keyword_values]), None)


def _mode(call: ast.Call, position: int) -> str:
    """Return the mode that ``open`` is called with; empty when it is not written out."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[position : position + 1]
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else ""
    # In one order and without `b` and `t`, so that `wb+`, `w+b` and `w+` are one mode.
    return "".join(sorted(set(str(mode)) - set("bt")))


def _read_by(call: ast.Call) -> FileUse | None:
    """Return what `call` reads: of a function its first argument, of a method of a path the path."""
    return _use("reads", (text for path in paths_read(call) for text in texts_of(path)))


def paths_read(call: ast.Call) -> Iterator[ast.expr]:
    """Yield the paths that `call` reads: the first argument of a function, or the path whose method it is."""
    name, owner = called_name(call), _owner(call)
    reads_owner = name in _PATH_READING and not isinstance(owner, ast.Constant)
    if owner is not None and reads_owner and (name != "open" or not _writes(call, 0)):
        yield owner
    if owner is not None and is_path(owner):
        return
    first = _first_argument(call)
    reads_first_argument = (
        name.startswith(_READING) or name in _ALSO_READING or (name in _MAYBE_READING and not _writes(call, 1))
    )
    if reads_first_argument and first is not None:
        yield first


def _listed_by(call: ast.Call) -> FileUse | None:
    """Return the folder or pattern in which `call` looks for files."""
    name, owner = called_name(call), _owner(call)
    if name not in _LISTING:
        return None
    of_path = owner is not None and not (isinstance(owner, ast.Name) and owner.id in ("glob", "os"))
    if not of_path:
        return _use("lists", _first(call))
    if name in ("glob", "rglob") and call.args:
        middle = [ast.Constant("**")] if name == "rglob" else []
        return _use("lists", joined(owner, *middle, call.args[0]))  # type: ignore[arg-type]
    return _use("lists", texts_of(owner)) if name in ("iterdir", "walk") and not call.args else None


def _queried_by(call: ast.Call) -> FileUse | None:
    """Return the database that `call` opens, or the use ``changes`` when it changes some database."""
    name, owner = called_name(call), _owner(call)
    if name == "connect" and isinstance(owner, ast.Name) and owner.id in _DATABASES:
        return _use("asks", _first(call))
    statement = call.args[0] if name == "execute" and call.args else None
    text = str(statement.value) if isinstance(statement, ast.Constant) else ""
    return FileUse("changes", ()) if name in _CHANGING or _CHANGES.match(text) else None


def _filled_by(call: ast.Call) -> FileUse | None:
    """Return the folder that `call` creates: the code itself puts the files into it."""
    if called_name(call) not in _MAKING:
        return None
    return _use("fills", _first(call) or texts_of(_owner(call)))


def _writes(call: ast.Call, position: int) -> bool:
    """Return whether ``open`` is asked for anything but reading."""
    modes = [keyword.value for keyword in call.keywords if keyword.arg == "mode"] + call.args[position : position + 1]
    mode = modes[0].value if modes and isinstance(modes[0], ast.Constant) else "r"
    return bool(set(str(mode)) & set("wax+")) or (bool(modes) and not isinstance(modes[0], ast.Constant))
