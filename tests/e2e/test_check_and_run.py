"""What `run` refuses before anything runs, `check` refuses, in the same words."""

from __future__ import annotations

import pytest

from tests.e2e.notebook_project import NotebookProject

COUNT = "%%params\ncount: int = 3\ndepths: list[int] = [1, 2]"
USE = "%%step use -p count -o out\nout = count"
EACH = "%%step each --foreach depth=depths -o trees\ntrees = depth"
REFUSED: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "a value of the wrong type": ((COUNT, USE, EACH), ("-p", "count=many"), "JP502"),
    "a parameter that does not exist": ((COUNT, USE, EACH), ("-p", "cuont=1"), "JP501"),
    "a parameter without a value": (("%%params\ncount: int", USE), (), "JP506"),
    "items that are no items": ((COUNT, USE, EACH), ("-p", "depths=[]"), "JP219"),
    "a kernel that is not installed": (("%%step a -o x --kernel moon\nx = 1",), (), "JP305"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_check_refuses_what_run_refuses_in_the_same_words(book: NotebookProject, name: str) -> None:
    cells, options, code = REFUSED[name]
    book.write(*cells)
    (book.folder / "sub").mkdir()
    book.name = f"sub/../{book.name}"
    checked, ran = book.call("check", *options), book.call("run", *options)
    assert (checked.code, ran.code) == (2, 2)
    assert f"error[{code}]: " in ran.err
    assert f"  --> {book.name}" in ran.err
    errors = [paragraph for paragraph in ran.err.strip().split("\n\n") if paragraph.startswith("error")]
    assert [paragraph for paragraph in checked.out.strip().split("\n\n") if paragraph.startswith("error")] == errors
