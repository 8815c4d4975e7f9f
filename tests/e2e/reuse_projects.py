"""Small projects that Hypothesis makes, with an edit for each step: what reads, how it knows where, and who calls it.

A project is one notebook with independent steps. Each step reads files in a folder of its own, so that an edit concerns
no other step. Everything is data, so that a failing project can be written to a folder and tried again by hand.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import pickle
import re
import sqlite3
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

HARMLESS = frozenset({"touch", "unrelated file", "comment", "same content by rename", "change and back"})
"""Kinds of edit that change nothing that a step reads; the others may or may not."""
_FIRST_TIME_NS = 1_500_000_000_000_000_000


@dataclass(frozen=True)
class FileEdit:
    """A change of a file: write `content`, or do what `action` says."""

    path: str
    action: str = "write"
    content: bytes = b""
    to: str = ""


@dataclass(frozen=True)
class ReadingStep:
    """A step that reads files, and an edit.

    Parameters
    ----------
    name : str
        Name of the step.
    title : str
        Reader, way, place and kind of edit.
    cells : sequence of str
        Cells; the last is the step.
    """

    name: str
    title: str
    kind: str
    cells: Sequence[str]
    edited_cells: Sequence[str]
    files: Mapping[str, bytes]
    links: Mapping[str, str] = field(default_factory=dict)
    edits: Sequence[FileEdit] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    edited_environment: Mapping[str, str | None] = field(default_factory=dict)


def has(*names: str) -> bool:
    """Tell whether packages are installed."""
    return all(importlib.util.find_spec(name) is not None for name in names)


# Readers: code with a function ``read(path)``, and what a file has in its version 1, 2 …


@dataclass(frozen=True)
class FileReader:
    """Code of a function ``read(path)`` that returns what JSON holds, and the content of a file in some version."""

    body: str
    content: Callable[[int], bytes]
    suffix: str = ".txt"
    packages: Sequence[str] = ()
    appends: bool = True


def _text(version: int) -> bytes:
    return f"version {version}\n".encode()


def _csv(version: int) -> bytes:
    return f"x,y\n{version},2\n".encode()


def _json(version: int) -> bytes:
    return json.dumps({"x": version}).encode()


def _pickle(version: int) -> bytes:
    return pickle.dumps({"x": version})


def _array(version: int) -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, np.array([version, 2]))
    return buffer.getvalue()


def _parquet(version: int) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table({"x": [version, 2]}), buffer)
    return buffer.getvalue()


def _sqlite(version: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.db"
        connection = sqlite3.connect(path)
        connection.execute("create table data (x)")
        connection.execute("insert into data values (?)", (version,))
        connection.commit()
        connection.close()
        return path.read_bytes()


def _zip(version: int) -> bytes:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("member", str(version))
    return buffer.getvalue()


READERS: dict[str, FileReader] = {
    "open": FileReader("with open(path) as file:\n    return file.read()", _text),
    "read_text": FileReader("return pathlib.Path(path).read_text()", _text),
    "read_bytes": FileReader("return pathlib.Path(path).read_bytes().decode()", _text),
    "os.open": FileReader(
        "number = os.open(path, os.O_RDONLY)\ntext = os.read(number, 1000).decode()\nos.close(number)\nreturn text",
        _text,
    ),
    "mmap": FileReader(
        "import mmap\nwith open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:\n"
        "    return data[:].decode()",
        _text,
    ),
    "linecache": FileReader("import linecache\nreturn linecache.getlines(str(path))", _text),
    "fileinput": FileReader(
        "import fileinput\nwith fileinput.input([str(path)]) as lines:\n    return list(lines)", _text
    ),
    "csv": FileReader("import csv\nwith open(path, newline='') as file:\n    return list(csv.reader(file))", _csv),
    "json": FileReader("import json\nwith open(path) as file:\n    return json.load(file)", _json, appends=False),
    "pickle": FileReader(
        "import pickle\nwith open(path, 'rb') as file:\n    return pickle.load(file)", _pickle, appends=False
    ),
    "tomllib": FileReader(
        "import tomllib\nwith open(path, 'rb') as file:\n    return tomllib.load(file)",
        lambda version: f"x = {version}\n".encode(),
        appends=False,
    ),
    "configparser": FileReader(
        "import configparser\nparser = configparser.ConfigParser()\nparser.read(path)\n"
        "return {name: dict(parser[name]) for name in parser.sections()}",
        lambda version: f"[data]\nx = {version}\n".encode(),
        appends=False,
    ),
    "sqlite3": FileReader(
        "import sqlite3\nconnection = sqlite3.connect(path)\n"
        "rows = connection.execute('select x from data').fetchall()\nconnection.close()\nreturn rows",
        _sqlite,
        suffix=".db",
        appends=False,
    ),
    "zipfile": FileReader(
        "import zipfile\nwith zipfile.ZipFile(path) as archive:\n    return archive.read('member').decode()",
        _zip,
        suffix=".zip",
        appends=False,
    ),
    "copyfile": FileReader(
        "import shutil, tempfile\nwith tempfile.TemporaryDirectory() as folder:\n"
        "    return pathlib.Path(shutil.copy(path, folder)).read_text()",
        _text,
    ),
    "size": FileReader("return os.path.getsize(path)", _text),
    "stat size": FileReader("return os.stat(path).st_size", _text),
    "exists": FileReader("return os.path.exists(path), pathlib.Path(path).is_file()", _text),
    "mode": FileReader("return os.stat(path).st_mode, os.access(path, os.X_OK)", _text),
    "listdir": FileReader("return sorted(os.listdir(os.path.dirname(path)))", _text),
    "scandir": FileReader(
        "return sorted((entry.name, entry.is_dir()) for entry in os.scandir(os.path.dirname(path)))", _text
    ),
    "scandir size": FileReader(
        "return sorted((entry.name, entry.stat().st_size) for entry in os.scandir(os.path.dirname(path)))", _text
    ),
    "walk": FileReader(
        "return sorted(name for _, _, names in os.walk(os.path.dirname(path)) for name in names)", _text
    ),
    "rglob": FileReader("return sorted(entry.name for entry in pathlib.Path(path).parent.rglob('*'))", _text),
    "glob": FileReader(
        "import glob\nreturn sorted(map(os.path.basename, glob.glob(os.path.dirname(path) + '/*.txt')))", _text
    ),
    "newest": FileReader(
        "return max(pathlib.Path(path).parent.iterdir(), key=lambda entry: entry.stat().st_mtime).name", _text
    ),
    "cat": FileReader("import subprocess\nreturn subprocess.check_output(['cat', path], text=True)", _text),
    "shell": FileReader("return os.popen(f'sort {path}').read()", _text),
    "runpy": FileReader(
        "import runpy\nreturn runpy.run_path(str(path))['x']", lambda version: f"x = {version}\n".encode(), suffix=".py"
    ),
    "loader": FileReader(
        "import importlib.util\nspec = importlib.util.spec_from_file_location('made', path)\n"
        "module = importlib.util.module_from_spec(spec)\nspec.loader.exec_module(module)\nreturn module.x",
        lambda version: f"x = {version}\n".encode(),
        suffix=".py",
    ),
    "numpy.load": FileReader(
        "import numpy\nreturn numpy.load(path).tolist()", _array, ".npy", packages=["numpy"], appends=False
    ),
    "numpy.memmap": FileReader(
        "import numpy\nreturn numpy.memmap(path, dtype='u1', mode='r').tolist()", _text, packages=["numpy"]
    ),
    "numpy.loadtxt": FileReader(
        "import numpy\nreturn numpy.loadtxt(path, delimiter=',', skiprows=1).tolist()", _csv, packages=["numpy"]
    ),
    "read_csv": FileReader(
        "import pandas\nreturn pandas.read_csv(path).to_dict('list')", _csv, ".csv", packages=["pandas"]
    ),
    "read_json": FileReader(
        "import pandas\nreturn pandas.read_json(path, typ='series').to_dict()",
        _json,
        ".json",
        packages=["pandas"],
        appends=False,
    ),
    "read_parquet": FileReader(
        "import pandas\nreturn pandas.read_parquet(path).to_dict('list')",
        _parquet,
        ".parquet",
        packages=["pandas", "pyarrow"],
        appends=False,
    ),
    "polars": FileReader(
        "import polars\nreturn polars.scan_csv(path).collect().to_dict(as_series=False)",
        _csv,
        ".csv",
        packages=["polars"],
    ),
    "arrow map": FileReader(
        "import pyarrow\nreturn pyarrow.memory_map(str(path)).read().decode()", _text, packages=["pyarrow"]
    ),
    "arrow dataset": FileReader(
        "import pyarrow.dataset\nreturn pyarrow.dataset.dataset(os.path.dirname(path), format='csv',\n"
        "    exclude_invalid_files=True).to_table().num_rows",
        _csv,
        ".csv",
        packages=["pyarrow"],
    ),
    "duckdb": FileReader(
        "import duckdb\nreturn duckdb.sql(f\"select * from '{path}'\").fetchall()", _csv, ".csv", packages=["duckdb"]
    ),
}
READERS = {name: reader for name, reader in READERS.items() if has(*reader.packages)}
"""By name; those whose packages are installed."""


# Ways to say where the file is. In all texts below, `<f>` is the folder of the step, `<n>` its number and `<data>` the
# name of the file; `mirrored('text')` becomes an expression whose value is the text, though the code does not show it.


@dataclass(frozen=True)
class PathWay:
    """An expression for the path of a file, and what it needs.

    Parameters
    ----------
    place : str
        Where another file can be named instead: ``cell``, ``environment``, ``link`` or the path of a file.
    """

    expression: str
    cells: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    place: str = ""


_MODULE_OF_PATHS = "from pathlib import Path\n\nFILE = Path(__file__).resolve().parent / '<f>' / '<data>'\n"
_ENVIRONMENT = {"FUZZ_<n>": "<f>/<data>"}
WAYS: dict[str, PathWay] = {
    "literal": PathWay("'<f>/<data>'"),
    "cwd": PathWay("pathlib.Path.cwd() / '<f>' / '<data>'"),
    "join": PathWay("os.path.join('<f>', 'da' + 'ta<suffix>')"),
    "mirrored": PathWay("mirrored('<f>/<data>')"),
    "format": PathWay("f'{FOLDER_<n>}/<data>'", ["%%params\nFOLDER_<n> = '<f>'"]),
    "constant": PathWay("FILE_<n>", ["FILE_<n> = '<f>/<data>'"], place="cell"),
    "variable": PathWay("os.environ['FUZZ_<n>']", environment=_ENVIRONMENT, place="environment"),
    "getenv": PathWay("os.getenv('FUZZ_<n>', '<f>/<other>')", environment=_ENVIRONMENT, place="environment"),
    "any variable": PathWay(
        "next((value for name, value in os.environ.items() if name.startswith('FUZZ_<n>')), '<f>/<other>')",
        environment=_ENVIRONMENT,
        place="environment",
    ),
    "settings": PathWay(
        "json.loads(pathlib.Path(mirrored('settings_<n>.json')).read_text())['path']",
        files={"settings_<n>.json": '{"path": "<f>/<data>"}'},
        place="settings_<n>.json",
    ),
    "module": PathWay("paths_<n>.FILE", ["import paths_<n>"], {"paths_<n>.py": _MODULE_OF_PATHS}, place="paths_<n>.py"),
    "lookup": PathWay("{'data': '<f>/<data>', 'other': '<f>/<other>'}['da' + 'ta']"),
    "link": PathWay("mirrored('link_<n>')", links={"link_<n>": "<f>/<data>"}, place="link"),
    "link to a folder": PathWay("os.path.join(mirrored('link_<n>'), '<data>')", links={"link_<n>": "<f>"}),
    "glob": PathWay("sorted(glob.glob(mirrored('<f>/*<suffix>')))[0]"),
    "iterdir": PathWay(
        "sorted(str(entry) for entry in pathlib.Path(mirrored('<f>')).iterdir() if entry.suffix == '<suffix>')[0]"
    ),
}


# Places from where the reader is called: `<body>` is the body of the function that reads, `<path>` the expression.


@dataclass(frozen=True)
class CallPlace:
    """A step that calls a function ``read_<n>``, and the cells and modules where the function is."""

    step: str
    cells: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)


_IMPORTS = "import glob, json, os, pathlib"
_FUNCTION = "def read_<n>(path):\n<body>"
_MODULE = f"{_IMPORTS}\n\n\n{_FUNCTION}\n"
_CLASS = """class Reader_<n>:
    def __init__(self, path):
        self.path = path

    def value(self):
        return self.read(self.path)

    @staticmethod
    def read(path):
<deep body>"""
PLACES: dict[str, CallPlace] = {
    "body": CallPlace(f"{_FUNCTION}\n\nvalue_<n> = read_<n>(<path>)"),
    "shared function": CallPlace("value_<n> = read_<n>(<path>)", [_FUNCTION]),
    "module": CallPlace("value_<n> = reader_<n>.read_<n>(<path>)", ["import reader_<n>"], {"reader_<n>.py": _MODULE}),
    "package": CallPlace(
        "value_<n> = pack_<n>.read_<n>(<path>)",
        ["import pack_<n>"],
        {"pack_<n>/__init__.py": "from .core import read_<n>\n", "pack_<n>/core.py": _MODULE},
    ),
    "src": CallPlace(
        "value_<n> = source_<n>.read_<n>(<path>)",
        ["import sys\nsys.path.insert(0, 'src')\nimport source_<n>"],
        {"src/source_<n>.py": _MODULE},
    ),
    "dynamic import": CallPlace(
        "import pkgutil\nvalue_<n> = pkgutil.resolve_name(mirrored('hidden_<n>') + ':read_<n>')(<path>)",
        files={"hidden_<n>.py": _MODULE},
    ),
    "method": CallPlace(
        "value_<n> = Reader_<n>(<path>).value()",
        [_CLASS],
    ),
    "lambda": CallPlace(
        "value_<n> = READERS_<n>[mirrored('read')](<path>)",
        [_FUNCTION, "READERS_<n> = {'read': lambda path: read_<n>(path)}"],
    ),
    "thread": CallPlace(
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(1) as pool:\n"
        "    value_<n> = pool.submit(read_<n>, <path>).result()",
        [_FUNCTION],
    ),
    "fork": CallPlace(
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    value_<n> = pool.apply(read_<n>, (<path>,))",
        [_FUNCTION],
    ),
    "cached": CallPlace("value_<n> = read_<n>(<path>)", [f"import functools\n@functools.cache\n{_FUNCTION}"]),
    "two steps": CallPlace(
        "value_<n> = read_<n>(path_<n>)", [_FUNCTION, "%%step path_<n> -o path_<n>\npath_<n> = str(<path>)"]
    ),
}


@dataclass(frozen=True)
class TextFiller:
    """Fills in the texts of a step."""

    number: int
    reader: FileReader
    way: PathWay

    def __call__(self, text: str) -> str:
        """Return `text` with all that it names."""
        text = text.replace("<path>", self.way.expression)
        text = text.replace("<deep body>", textwrap.indent(self.reader.body, " " * 8))
        text = text.replace("<body>", textwrap.indent(self.reader.body, " " * 4))
        names = {"n": f"{self.number:02}", "f": self.folder, "data": self.data, "other": self.other}
        for name, value in {**names, "suffix": self.reader.suffix}.items():
            text = text.replace(f"<{name}>", value)
        return re.sub(r"mirrored\('([^']*)'\)", lambda match: f"{match[1][::-1]!r}[::-1]", text)

    @property
    def folder(self) -> str:
        return f"d{self.number:02}"

    @property
    def data(self) -> str:
        return f"data{self.reader.suffix}"

    @property
    def other(self) -> str:
        return f"other{self.reader.suffix}"


_OTHER_MODULE = "\n\ndef read_<n>(path):\n    return 'another'\n\n\nFILE = '<f>/<other>'\n"


def _file_edits(fill: TextFiller, modules: Sequence[str]) -> dict[str, Sequence[FileEdit]]:
    """Return the kinds of edit of files."""
    content, suffix, folder = fill.reader.content, fill.reader.suffix, fill.folder
    path, other = f"{folder}/{fill.data}", f"{folder}/{fill.other}"
    kinds = {
        "same size": [FileEdit(path, content=content(3))],
        "other size": [FileEdit(path, content=content(1000))],
        "same size and time": [FileEdit(path, "write and keep the time", content(3))],
        "rename": [FileEdit(path, "replace", content(4))],
        "delete": [FileEdit(path, "delete")],
        "delete other": [FileEdit(other, "delete")],
        "touch": [FileEdit(path, "touch")],
        "same content by rename": [FileEdit(path, "replace", content(1))],
        "change and back": [FileEdit(path, content=content(3)), FileEdit(path, content=content(1))],
        "mode": [FileEdit(path, "chmod")],
        "add a file": [FileEdit(f"{folder}/aaa{suffix}", content=content(5))],
        "add a folder": [FileEdit(f"{folder}/zzz/{fill.data}", content=content(5))],
        "becomes a folder": [FileEdit(path, "delete"), FileEdit(f"{path}/inner", content=b"1")],
        "becomes a link": [FileEdit(path, "delete"), FileEdit(path, "link", to=fill.other)],
        "swap": [FileEdit(path, "swap", to=other)],
        "unrelated file": [FileEdit(f"{folder}.md", content=b"notes")],
    }
    if fill.reader.appends:
        kinds["append"] = [FileEdit(path, "append", content(6))]
    for name in modules:
        package = f"{name.removesuffix('.py')}/__init__.py"
        kinds["comment"] = [FileEdit(name, "append", b"# a comment\n")]
        kinds["module"] = [FileEdit(name, "append", fill(_OTHER_MODULE).encode())]
        kinds["module becomes a package"] = [FileEdit(package, content=fill(_OTHER_MODULE).encode())]
    return kinds


def _way_edits(fill: TextFiller) -> dict[str, dict[str, Any]]:
    """Return the kinds of edit of what says where the file is, as fields of a `ReadingStep`."""
    way, variable = fill.way, fill("FUZZ_<n>")
    old, new = f"{fill.folder}/{fill.data}", f"{fill.folder}/{fill.other}"
    if way.place == "environment":
        return {
            "another value": {"edited_environment": {variable: new}},
            "no value": {"edited_environment": {variable: None}},
        }
    if way.place == "link":
        return {"another target": {"edits": [FileEdit(fill("link_<n>"), "link", to=new)]}}
    if way.place and way.place != "cell":
        text = fill(way.files[way.place]).replace(fill.data, fill.other)
        assert old != new
        return {"another file named": {"edits": [FileEdit(fill(way.place), content=text.encode())]}}
    return {}


@st.composite
def reading_steps(draw: st.DrawFn, number: int) -> ReadingStep:
    """Draw a step with this number."""
    names = [draw(st.sampled_from(list(parts)), label="part") for parts in (READERS, WAYS, PLACES)]
    reader, way, place = READERS[names[0]], WAYS[names[1]], PLACES[names[2]]
    fill = TextFiller(number, reader, way)
    texts = {fill(name): fill(text).encode() for name, text in {**way.files, **place.files}.items()}
    modules = [name for name in texts if name.endswith(".py") and "__init__" not in name]
    changes = {kind: {"edits": edits} for kind, edits in _file_edits(fill, modules).items()} | _way_edits(fill)
    cells = [fill(cell) for cell in (*way.cells, *place.cells, f"%%step s<n> -o value_<n>\n{place.step}")]
    if way.place == "cell":
        edited = [cells[0].replace(fill.data, fill.other), *cells[1:]]
        changes["another constant"] = {"edited_cells": edited}
    kind = draw(st.sampled_from(list(changes)), label="edit")
    folder = {f"{fill.folder}/{name}": reader.content(version) for version, name in ((1, fill.data), (2, fill.other))}
    return ReadingStep(
        **{
            "name": fill("s<n>"),
            "title": ", ".join([*names, kind]),
            "kind": kind,
            "cells": cells,
            "edited_cells": cells,
            "files": {**folder, **texts},
            "links": {fill(link): fill(target) for link, target in way.links.items()},
            "environment": {fill(name): fill(value) for name, value in way.environment.items()},
            **changes[kind],
        }
    )


def reading_projects(most: int) -> st.SearchStrategy[list[ReadingStep]]:
    """Return a strategy for projects of one step to `most` steps."""
    return st.integers(1, most).flatmap(lambda count: st.tuples(*map(reading_steps, range(count))).map(list))


# Files


def write_files(folder: Path, steps: Iterable[ReadingStep]) -> None:
    """Write the files and links of steps, as they are before the edits."""
    for step in steps:
        for name, content in step.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if not name.endswith(".py"):
                version = 1 + name.count("other")
                os.utime(path, ns=(_FIRST_TIME_NS * version // 2, _FIRST_TIME_NS * version // 2))
        for name, target in step.links.items():
            (folder / name).symlink_to(target)


def edit_files(folder: Path, edits: Iterable[FileEdit]) -> None:
    """Change files."""
    for edit in edits:
        path = folder / edit.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _ACTIONS[edit.action](path, edit)


def _write_and_keep_time(path: Path, edit: FileEdit) -> None:
    status = path.stat()
    path.write_bytes(edit.content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path, edit: FileEdit) -> None:
    beside = path.with_name("replacement")
    beside.write_bytes(edit.content)
    beside.replace(path)


def _append(path: Path, edit: FileEdit) -> None:
    with path.open("ab") as file:
        file.write(edit.content)


def _swap(path: Path, edit: FileEdit) -> None:
    other, beside = path.parent.parent / edit.to, path.with_name("beside")
    path.rename(beside)
    other.rename(path)
    beside.rename(other)


def _link(path: Path, edit: FileEdit) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(edit.to)


_ACTIONS: dict[str, Callable[[Path, FileEdit], object]] = {
    "write": lambda path, edit: path.write_bytes(edit.content),
    "write and keep the time": _write_and_keep_time,
    "replace": _replace,
    "append": _append,
    "delete": lambda path, _: path.unlink(),
    "touch": lambda path, _: os.utime(path),
    "chmod": lambda path, _: path.chmod(0o755),
    "swap": _swap,
    "link": _link,
}
