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


MANY = (
    "%%params\ndepths: list[int] = [2, 4]\nfactor: int = 3",
    "%%step load -o rows\nrows = [1, 2]",
    "%%step fit -i rows --foreach depth=depths -o model\nmodel = [row * depth * factor for row in rows]",
    "%%step size --foreach part=parts/ -o length\nlength = len(part.read_text())",
    "%%step half --foreach n=1,0 --allow-failed 1 -o part\npart = 1 / n",
    "%%step copy --foreach n=1,2 -o file:file\nfile.write_text(str(n))",
    "%%step best -i model length part -o top\ntop = [model.of(depth=4), dict(length.items()), part.failed]",
    "%%step shift -i model --foreach by=10 -o shifted\nshifted = [by, *model]",
    "%%step files -i file -o names\nnames = [path.name for path in file]",
)


@pytest.mark.kernel
def test_a_step_over_many_items_has_a_test_for_each_and_a_later_step_gets_the_list(book: NotebookProject) -> None:
    (book.folder / "parts").mkdir()
    (book.folder / "parts" / "a.txt").write_text("a")
    first = book.write(*MANY).call("test", "--json")
    assert (first.code, first.document["passed"]) == (0, True), first.err
    items = ["fit[depth=2]", "fit[depth=4]", "size[part=a.txt]", "half[n=1]", "shift[by=10]"]
    assert set(first.document["recorded"]["steps"]) == {"load", "best", *items}
    left_out = first.document["recorded"]["left_out"]
    assert left_out.pop("files") == "`file` is a list of files"
    assert left_out == {
        "half[n=0]": "it has not succeeded, but failed",
        "copy[n=1]": "`file` is a file",
        "copy[n=2]": "`file` is a file",
    }
    assert "def test_fit_depth_2() -> None:" in (book.folder / "test_book.py").read_text("utf-8")

    book.edit("depths: list[int] = [2, 4]", "depths: list[int] = [8]")  # recorded items stay items of their test
    book.edit("--foreach by=10", "--foreach by=30")
    book.edit("model.of(depth=4)", "model.of(depth=2)")
    (book.folder / "parts" / "c.txt").write_text("c")
    second = book.call("test", "--json")
    assert "2 failed, 5 passed" in second.err
    assert "step `shift` has no item `shift[by=10]` any more, but shift[by=30]" in second.err
    assert "`top` is another value than recorded:" in second.err
    for name in ("fit[depth=8]", "size[part=c.txt]", "shift[by=30]"):
        assert f"the step {name} has no test yet: --update records a test" in second.err
