"""``jupyter pipelines test``: each step alone, with what it took once, compared with what it made once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

CELLS = (
    "%%params\nfactor: int = 2",
    "%%step load -o rows\nrows = [1, 2, 3]",
    "%%step scale -i rows -o scaled\nscaled = [factor * row for row in rows]",
    "%%step big -i rows -o many\nmany = bytes(3_000_000)",
    "%%step größe-दो -i rows -o länge\nlänge = len(rows)",
)


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path).write(*CELLS)


@pytest.mark.kernel
def test_it_records_compares_and_renews(book: NotebookProject) -> None:
    first = book.call("test", "--json")
    assert first.code == 0, first.err
    assert set(first.document["recorded"]["steps"]) == {"load", "scale", "größe-दो"}
    assert "3.0 MB" in first.document["recorded"]["left_out"]["big"]
    text = (book.folder / "test_book.py").read_text("utf-8")
    assert ("def test_scale() -> None:" in text, "def test_größe_दो() -> None:" in text) == (True, True)
    assert (book.folder / "test_book.cases" / "scale").is_dir()

    book.edit("[1, 2, 3]", "[1, 2, 4]")  # what `load` makes has no effect on the test of `scale`
    second = book.call("test", "--json")
    assert (second.code, second.document["passed"]) == (1, False)
    assert "`rows` is another value than recorded" in second.err
    assert "1 failed, 2 passed" in second.err

    assert book.call("test", "--update").code == 0
    plain = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_book.py"]
    done = subprocess.run(plain, cwd=book.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
