"""A reading that is remembered is the one that would be made now, or it is not used."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines import user_cache
from jupyter_pipelines.notebook import read_cache, reader
from jupyter_pipelines.notebook.code import analyze
from jupyter_pipelines.notebook.headers import split
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.notebook.source.read_result import ReadResult
from jupyter_pipelines.planning.keys import secret_marks
from jupyter_pipelines.planning.keys.secret_marks import user_key
from tests.notebook.notebooks import document
from tests.notebook.test_notebook_styles import STYLES

READER_FOLDER = Path(reader.__file__).parent
CELLS = (
    "import os.path\nimport tool\nimport third.party\nfrom pack.inner import deep\n\ndef half(x):\n    return x / 2",
    "%%params\nsize: int = 3  # how many\nrate = 0.5\nnames = ['a', 'b']",
    "#md Some words",
    "%%step load\nrows = tool.rows(size)\ntext = open('data.txt').read()",
    "%%step train -i rows extra=extra.csv -o model:json --optional extra\nmodel = half(len(rows)) * rate",
    "%%step show\nprint(model, deep, names, third)",
)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that readings are kept in, empty."""
    folder = tmp_path / "kept"
    monkeypatch.setenv(user_cache.VARIABLE, str(folder))
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with a module and a package of its own."""
    root = tmp_path / "project"
    (root / "pack").mkdir(parents=True)
    (root / "pyproject.toml").write_text("")
    (root / "tool.py").write_text("import other\n\ndef rows(n):\n    return [other.one] * n\n")
    (root / "other.py").write_text("one = 1\n")
    (root / "pack" / "__init__.py").write_text("")
    (root / "pack" / "inner.py").write_text("deep = 1\n")
    return root


class CountedReader:
    """Read through the cache, and count how often a notebook is really read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._anew = reader.read
        monkeypatch.setattr(reader, "read", self._counted)

    def _counted(self, *arguments: Any, **keywords: Any) -> ReadResult:
        self.count += 1
        return self._anew(*arguments, **keywords)

    def __call__(self, notebook: NotebookDocument) -> ReadResult:
        """Return what the cache gives, which must equal what reading anew gives."""
        remembered = read_cache.read(notebook)
        assert remembered == self._anew(notebook)
        return remembered


@pytest.fixture
def counted_reader(monkeypatch: pytest.MonkeyPatch) -> CountedReader:
    return CountedReader(monkeypatch)


def test_what_has_not_changed_is_not_read_again(project: Path, counted_reader: CountedReader) -> None:
    book = document(*CELLS, folder=project)
    assert counted_reader(book).pipeline is not None
    assert [module.name for module in counted_reader(book).pipeline["show"].modules] == ["pack", "pack.inner"]
    assert counted_reader.count == 1


@pytest.mark.parametrize("style", STYLES)
def test_every_style_comes_back_as_it_was(style: str, counted_reader: CountedReader, tmp_path: Path) -> None:
    book = document(*STYLES[style][0], folder=tmp_path)
    assert counted_reader(book).pipeline is not None
    counted_reader(book)
    assert counted_reader.count == 1


def rewritten(path: Path, text: str) -> None:
    """Write as many bytes as there were, and keep the modification time."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def moved(project: Path) -> None:
    (project / "other.py").rename(project / "another.py")


def changed_package(project: Path) -> None:
    (project / "tool").mkdir()
    (project / "tool" / "__init__.py").write_text("def rows(n): return []\n")


def shadowing(project: Path) -> None:
    (project / "third.py").write_text("party = 2\n")


def unreadable(project: Path) -> None:
    (project / "other.py").unlink()
    (project / "other.py").mkdir()


CHANGES: dict[str, Callable[[Path], object]] = {
    "a module was edited, and its times and size are the same": lambda root: rewritten(root / "tool.py", TOOL),
    "a module of a module was edited": lambda root: (root / "other.py").write_text("one = 2\n"),
    "a module has got another coding": lambda root: (root / "other.py").write_bytes(
        b"# coding: latin-1\none = '\xe4'\n"
    ),
    "a module was renamed": moved,
    "a module is a folder now": unreadable,
    "a package took the place of a module": changed_package,
    "a module appeared that hides an installed package": shadowing,
    "a compiled module appeared": lambda root: (root / "third.cpython-311-x86_64-linux-gnu.so").write_bytes(b""),
    "a package has another module": lambda root: (root / "pack" / "inner.py").unlink(),
    "the package is none any more": lambda root: (root / "pack" / "__init__.py").unlink(),
}
TOOL = "import other\n\ndef rows(n):\n    return [other.two] * n\n"


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_read_from_other_files_is_read_again(
    change: str, project: Path, counted_reader: CountedReader
) -> None:
    book = document(*CELLS, folder=project)
    counted_reader(book)
    CHANGES[change](project)
    counted_reader(book)
    assert counted_reader.count == 2


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_an_edited_cell_is_read_again(at: int, project: Path, counted_reader: CountedReader) -> None:
    counted_reader(document(*CELLS, folder=project))
    cells = [text + "\nz = 1" if number == at else text for number, text in enumerate(CELLS)]
    counted_reader(document(*cells, folder=project))
    assert counted_reader.count == 2


def test_a_file_that_appears_makes_an_input_of_a_name_with_a_dot(tmp_path: Path, counted_reader: CountedReader) -> None:
    book = document("%%step use -i x=make.it\nprint(x)", folder=tmp_path)
    (tmp_path / "make.it").write_text("")
    assert counted_reader(book).pipeline is not None
    (tmp_path / "make.it").unlink()
    assert counted_reader(book).pipeline is None


def test_a_format_that_a_plugin_brought_may_go(
    tmp_path: Path, counted_reader: CountedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_pipelines.notebook.source import recorded_queries

    book = document("%%step make -o x:zarr\nx = 1", folder=tmp_path)
    monkeypatch.setattr(recorded_queries, "names_of", lambda kind: ("json", "zarr"))
    assert counted_reader(book).pipeline is not None
    monkeypatch.setattr(recorded_queries, "names_of", lambda kind: ("json",))
    assert counted_reader(book).pipeline is None


def test_modules_come_from_the_root_that_the_project_has_now(project: Path, counted_reader: CountedReader) -> None:
    (project / "books").mkdir()
    book = document("import tool", "%%step a\nx = tool.rows(1)", folder=project / "books")
    assert counted_reader(book).pipeline["a"].modules != ()
    (project / "books" / "pyproject.toml").write_text("")
    assert counted_reader(book).pipeline["a"].modules == ()
    assert counted_reader.count == 2


def test_readings_with_errors_are_not_kept(tmp_path: Path, counted_reader: CountedReader, kept: Path) -> None:
    counted_reader(document("%%step use -i nothing\nprint(nothing)", folder=tmp_path))
    assert not kept.exists()


def test_warnings_come_back(tmp_path: Path, counted_reader: CountedReader) -> None:
    book = document("x = 1\ny = (", "%%step a\nz = 1", folder=tmp_path)
    assert [diagnostic.severity for diagnostic in counted_reader(book).faults] == ["warning"]
    assert counted_reader(book).pipeline.warnings == counted_reader(book).faults
    assert counted_reader.count == 1


@pytest.mark.parametrize("default", ["float('nan')", "{1: 2}", "(1, 2)", "b'x'"])
def test_what_json_cannot_say_is_read_each_time_or_comes_back_the_same(
    default: str, tmp_path: Path, counted_reader: CountedReader
) -> None:
    book = document(f"%%params\nx = {default}", "%%step a -p x\nprint(x)", folder=tmp_path)
    first, second = read_cache.read(book), read_cache.read(book)
    assert repr(first) == repr(second)


def the_file(kept: Path) -> Path:
    (path,) = kept.iterdir()
    return path


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.index(b"rows")
    content[at : at + 4] = b"ROWS"
    path.write_bytes(content)


def linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "one word is another": flipped,
    "others may write it": lambda path: path.chmod(0o666),
    "it is a link": linked,
    "it is a folder": lambda path: (path.unlink(), path.mkdir()),
    "made by other code": lambda path: path.write_bytes(b"0" * 64 + path.read_bytes()[64:]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_kept_is_not_believed_when(
    damage: str, project: Path, counted_reader: CountedReader, kept: Path
) -> None:
    book = document(*CELLS, folder=project)
    counted_reader(book)
    DAMAGES[damage](the_file(kept))
    counted_reader(book)
    assert counted_reader.count == 2


def test_a_well_formed_file_of_another_shape_is_not_used(project: Path, counted_reader: CountedReader) -> None:
    book = document(*CELLS, folder=project)
    for content in (None, [], {}, {"document": read_cache.digest_of(book), "answers": [["text"]]}):
        user_cache.save(read_cache.KIND, read_cache.cache_key(book), content)
        assert counted_reader(book).pipeline is not None


def test_no_other_user_can_read_what_is_kept(project: Path, counted_reader: CountedReader, kept: Path) -> None:
    counted_reader(document(*CELLS, folder=project))
    assert kept.stat().st_mode & 0o777 == 0o700
    assert the_file(kept).stat().st_mode & 0o777 == 0o600


def test_a_notebook_has_one_file_however_often_it_changes(
    project: Path, counted_reader: CountedReader, kept: Path
) -> None:
    for number in range(3):
        counted_reader(document(*CELLS, f"x = {number}", folder=project))
    assert len(list(kept.iterdir())) == 1


def test_the_oldest_files_go(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "MAX_FILES", 3)
    for number in range(5):
        user_cache.save("reading", str(number), number)
        os.utime(max(kept.iterdir(), key=lambda path: path.stat().st_mtime_ns), (number + 1, number + 1))
    assert len(list(kept.iterdir())) == 3
    assert user_cache.load("reading", "4") == 4


def test_the_users_key_stays(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "MAX_FILES", 2)
    key = user_key.__wrapped__()
    os.utime(kept / secret_marks.FILE, (1, 1))
    for number in range(3):
        user_cache.save("reading", str(number), number)
    assert user_key.__wrapped__() == key


def test_nothing_is_kept_where_nothing_is_wanted(
    project: Path, counted_reader: CountedReader, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(user_cache.VARIABLE, "0")
    book = document(*CELLS, folder=project)
    counted_reader(book)
    counted_reader(book)
    assert counted_reader.count == 2
    assert not kept.exists()


def test_a_folder_that_cannot_be_written_does_no_harm(
    tmp_path: Path, project: Path, counted_reader: CountedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(user_cache.VARIABLE, str(tmp_path / "file" / "kept"))
    counted_reader(document(*CELLS, folder=project))
    assert counted_reader(document(*CELLS, folder=project)).pipeline is not None


@pytest.mark.skipif(sys.platform != "linux", reason="each system has a place of its own")
def test_it_is_kept_where_programs_keep_such_things(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(user_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache.folder() == tmp_path / "jupyter-pipelines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_cache.folder() == tmp_path / ".cache" / "jupyter-pipelines"


def test_reading_asks_for_files_in_one_place_only() -> None:
    """File accesses outside of `RecordedQueries` would not be repeated before a kept reading is used again."""
    looking = re.compile(r"\.(exists|is_file|is_dir|iterdir|glob|rglob|stat|read_text|read_bytes)\(|\b(open|scandir)\(")
    # The notebook itself and its root are looked at each time; errors, completions and written files are never kept.
    free = {"document", "read_result", "recorded_queries", "write_cells", "freeze", "completion"}
    lookups = {
        f"{path.stem}: {line.strip()}"
        for path in READER_FOLDER.rglob("*.py")
        if path.stem not in free
        for line in path.read_text().splitlines()
        if looking.search(line) and "witness." not in line and "recorded_queries." not in line
    }
    assert lookups == {
        (
            "step_checks: closest_name(Path(path).name, [sibling.name for sibling in folder.iterdir()])"
            " if folder.is_dir() else None"
        )
    }


# What is being edited


class CountedInMemoryReader(CountedReader):
    """Read as front ends do while a user types."""

    def __call__(self, notebook: NotebookDocument) -> ReadResult:
        remembered = read_cache.read_in_memory(notebook)
        analyze._analyse_closed_cells.cache_clear()
        split.split_cell.cache_clear()
        assert remembered == self._anew(notebook)
        return remembered


@pytest.fixture
def in_memory_reader(monkeypatch: pytest.MonkeyPatch) -> CountedInMemoryReader:
    read_cache._RECENT.clear()
    return CountedInMemoryReader(monkeypatch)


@pytest.mark.parametrize("change", CHANGES)
def test_a_glance_sees_what_other_files_say_now(
    change: str, project: Path, in_memory_reader: CountedInMemoryReader, kept: Path
) -> None:
    book = document(*CELLS, folder=project)
    in_memory_reader(book)
    in_memory_reader(book)
    assert in_memory_reader.count == 1
    CHANGES[change](project)
    in_memory_reader(book)
    assert in_memory_reader.count == 2
    assert not list(kept.rglob("*"))


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_a_glance_sees_each_edit_and_each_way_back(
    at: int, project: Path, in_memory_reader: CountedInMemoryReader
) -> None:
    book = document(*CELLS, folder=project)
    cells = [text + "\nz = 1" if number == at else text for number, text in enumerate(CELLS)]
    for edit in (book, document(*cells, folder=project), book):
        in_memory_reader(edit)
    assert in_memory_reader.count == 2


def test_a_glance_at_what_is_wrong_is_mended_by_another_file(
    project: Path, in_memory_reader: CountedInMemoryReader
) -> None:
    book = document("%%step load\nrows = names_of_it", "from tool import *", folder=project)
    (project / "tool.py").write_text("other = 1\n")
    assert any(diagnostic.code == "JP201" for diagnostic in in_memory_reader(book).faults)
    (project / "tool.py").write_text("names_of_it = 1\n")
    assert not any(diagnostic.code == "JP201" for diagnostic in in_memory_reader(book).faults)


def test_only_the_last_glances_are_kept(project: Path, in_memory_reader: CountedInMemoryReader) -> None:
    for number in range(40):
        in_memory_reader(document(*CELLS, f"n = {number}", folder=project))
    assert len(read_cache._RECENT) == read_cache._MAX_RECENT


def test_the_order_of_what_was_asked_says_nothing(project: Path) -> None:
    from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries

    asked = RecordedQueries()
    asked.text(project / "tool.py")
    asked.named(project, "tool")
    assert RecordedQueries().agrees(json.loads(json.dumps(asked.answers[::-1])))
    (project / "tool.txt").write_text("")
    assert not RecordedQueries().agrees(json.loads(json.dumps(asked.answers)))
