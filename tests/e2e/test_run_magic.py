"""``%run FILE`` in cells without a step: the file's code is shared code, in real kernels."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.notebook_project import NotebookProject

LIB = """import math

N = 3


def f(x):
    return x * N


def g(x):
    return f(x) + math.floor(1.5)


def unused():
    return 1
"""
STEPS = ("%%step a -o x\nx = f(2)", "%%step b -o y\ny = g(2)", "%%step c -o z\nz = 1")


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def ran(book: NotebookProject) -> set[str]:
    """Run the notebook, and return the steps that were not reused."""
    answer = book.run()
    assert answer.code == 0, answer.out + answer.err
    return {name for name, state in answer.steps("state").items() if state == "succeeded"}


def test_an_edit_reruns_the_steps_that_reach_what_changed(book: NotebookProject) -> None:
    lib = book.folder / "my lib.py"
    lib.write_text(LIB)
    book.write("%run 'my lib.py'", *STEPS)
    assert ran(book) == {"a", "b", "c"}
    assert (book.value("a.x"), book.value("b.y")) == (6, 7)
    edit(lib, "return 1", "return 2  # nothing uses it")
    assert ran(book) == set()
    edit(lib, "floor", "ceil")
    assert ran(book) == {"b"}
    edit(lib, "N = 3", "N = 4")
    assert ran(book) == {"a", "b"}
    assert (book.value("a.x"), book.value("b.y")) == (8, 10)


def test_setup_runs_the_whole_file_and_steps_follow_what_they_reach(book: NotebookProject) -> None:
    lib = book.folder / "lib.py"
    lib.write_text(LIB + "\nimport os\nos.environ['RUN_MAGIC'] = str(N)\n")
    book.write(
        "%%setup\nBASE = 1\n%run lib.py\nTOP = BASE + N",
        STEPS[0],
        "%%step b -o y\nimport os\ny = [TOP, os.environ['RUN_MAGIC']]",
    )
    assert ran(book) == {"a", "b"}
    assert (book.value("a.x"), book.value("b.y")) == (6, [4, "3"])
    edit(lib, "floor", "ceil")
    assert ran(book) == set()
    edit(lib, "return x * N", "return x * N + 1")
    assert ran(book) == {"a"}


def test_a_file_that_needs_to_be_run_is_run_as_it_stands(book: NotebookProject) -> None:
    """It has a namespace, arguments, a name and neighbours of its own; what a notebook binds is not known."""
    (book.folder / "sub").mkdir()
    (book.folder / "sub" / "beside.py").write_text("VALUE = 5\n")
    (book.folder / "sub" / "own.py").write_text(
        "import sys\nfrom beside import VALUE\nN = 3\ndef f(x):\n    return x * N + VALUE\nargs = sys.argv[1:]\n"
    )
    (book.folder / "other.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": "def h():\\n    return 7", "metadata": {}, "outputs": [],'
        ' "execution_count": null}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}'
    )
    book.write(
        "%run sub/own.py one 'two words'",
        "%run other.ipynb",
        "N = 10",
        "%%step a -o x\nx = [f(2), args, N]",
        "%%step b -o y\ny = h()",
        "%%step c -o z\nz = 1",
    )
    assert ran(book) == {"a", "b", "c"}
    assert book.value("a.x") == [11, ["one", "two words"], 10]
    assert book.value("b.y") == 7
    edit(book.folder / "sub" / "own.py", "x * N", "x * N * 2")
    assert ran(book) == {"a"}
    assert book.value("a.x") == [17, ["one", "two words"], 10]
    edit(book.folder / "other.ipynb", "return 7", "return 8")
    assert "b" in ran(book)
    assert book.value("b.y") == 8
