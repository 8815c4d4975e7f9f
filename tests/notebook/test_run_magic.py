"""``%run FILE`` in cells without a step: what of the file is shared code, and what is run as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebook.notebooks import diagnostics, only_diagnostic, shared, step

LIB = "N = 3\ndef f(x):\n    return x * N\ndef unused():\n    return 1\n"
USE = "%%step a -o x\nx = f(2)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lib.py").write_text(LIB)
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        "%run lib.py",
        "%run lib",
        "%run ./lib.py",
        "%run -i lib.py",
        "%run -n lib.py",
        "%run -i -n -e lib.py",
        '%run "lib.py"',
        "get_ipython().run_line_magic('run', 'lib.py')",
        "get_ipython().magic('run lib.py')",
        "# first\n%run lib.py",
        "%run lib.py  \n%run lib.py",
    ],
)
def test_functions_that_a_step_reaches_are_shared_code(folder: Path, line: str) -> None:
    assert shared(step(line, USE, folder=folder)) == ["N", "f"]
    assert {"N", "f"} <= set(shared(step(f"%%setup\n{line}", USE, folder=folder)))


def test_other_paths(folder: Path) -> None:
    strange = folder / "a b [1] 'q'"
    strange.mkdir()
    (strange / "größe.py").write_text(LIB)
    (folder / "link.py").symlink_to(folder / "lib.py")
    for line in ("%run \"a b [1] 'q'/größe.py\"", "%run link.py", f"%run {folder}/lib.py"):
        assert shared(step(line, USE, folder=folder)) == ["N", "f"], line


@pytest.mark.parametrize(
    ("line", "lib"),
    [
        ("%run lib.py 1 two", LIB),
        ("%run -t -N 2 lib.py", LIB),
        ("%run lib.py", f"{LIB}import sys\nARGS = len(sys.argv)\n"),
        ("%run lib.py", f"{LIB}HERE = str(__file__)\n"),
        ("%run lib.py", f"{LIB}def count():\n    global N\n    N += 1\n"),
        ("%run -n lib.py", f"{LIB}NAME = str(__name__)\n"),
        ("%run lib.py\nN = 5", LIB),
        ("%run lib.py\n%run other.py", LIB),
    ],
    ids=["arguments", "timed", "argv", "file", "global", "name", "bound again", "two files"],
)
def test_what_is_another_thing_in_a_cell_is_run_as_it_stands(folder: Path, line: str, lib: str) -> None:
    """The whole file counts for the steps that use one of its names."""
    (folder / "lib.py").write_text(lib)
    (folder / "other.py").write_text("N = 4\ndef other():\n    return N\n")
    made = step(line, USE, folder=folder)
    assert [piece.source for piece in made.shared] == [line.partition("\n")[0]]
    assert [module.source for module in made.modules] == [lib]
    assert not step(line, "%%step b -o y\ny = 1", folder=folder).modules


def test_a_step_or_parameter_of_the_same_name_does_not_change_the_file(folder: Path) -> None:
    for cell in ("%%params\nN: int = 9", "%%step first -o N\nN = 9"):
        assert [piece.source for piece in step("%run lib.py", cell, USE, folder=folder).shared] == ["%run lib.py"]
    # With `-i`, the file's names are the notebook's.
    assert shared(step("%run -i lib.py", "%%step first -o N\nN = 9", USE, folder=folder)) == ["f"]


def test_what_the_file_computes_is_exploration_and_in_setup_runs_first(folder: Path) -> None:
    (folder / "lib.py").write_text(
        "rows = open('rows.txt').readlines()\nif __name__ == '__main__':\n    main = open('main.txt')\n"
    )
    use = "%%step a -o x\nx = rows"
    diagnostic = only_diagnostic("%run lib.py", use, folder=folder)
    assert (diagnostic.code, diagnostic.severity) == ("JP208", "error")
    assert "lib.py, line 1" in diagnostic.message
    assert diagnostic.place is not None
    assert diagnostic.place.text == "%run lib.py"
    assert shared(step("%%setup\n%run lib.py", use, folder=folder)) == ["rows", "main"]
    assert shared(step("%%setup\n%run -n lib.py", use, folder=folder)) == ["rows"]


@pytest.mark.parametrize("cell", ["%run missing.py", "x = 1\n%run 'missing'", "%%setup\n%run missing.py"])
def test_a_missing_file_is_an_error_before_the_run(folder: Path, cell: str) -> None:
    diagnostic = only_diagnostic(cell, USE, folder=folder)
    assert (diagnostic.code, diagnostic.severity) == ("JP210", "error")
    assert diagnostic.notes[0] == f"looked for: {folder}/missing.py"
    assert diagnostic.place
    assert "%run" in diagnostic.place.text


def test_a_missing_file_that_no_step_needs_is_a_warning(folder: Path) -> None:
    diagnostic = only_diagnostic("%run missing.py", "%%step b -o y\ny = 1", folder=folder)
    assert (diagnostic.code, diagnostic.severity) == ("JP210", "warning")


def test_a_file_that_is_not_python_is_an_error_where_it_is_needed(folder: Path) -> None:
    (folder / "lib.py").write_text("def f(x):\n    return (x\n")
    diagnostic = only_diagnostic("%run lib.py", USE, folder=folder)
    assert (diagnostic.code, diagnostic.severity) == ("JP107", "error")
    assert "line 2" in diagnostic.message


@pytest.mark.parametrize("line", ["%run {name}.py", "%run $name", "%run other.ipynb", "%run -m lib", "%run -Z lib.py"])
def test_what_cannot_be_known_is_run_and_reported(folder: Path, line: str) -> None:
    (folder / "other.ipynb").write_text("{}")
    cells = ("name = 'lib'", line, USE)
    assert [diagnostic.code for diagnostic in diagnostics(*cells, folder=folder)] == ["JP214"]
    made = step(*cells, folder=folder)
    assert made.shared[-1].source == line
    assert any("%run" in sentence for sentence in made.unknown)


def test_modules_beside_the_file_are_followed(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "beside.py").write_text("VALUE = 1\n")
    (folder / "sub" / "lib.py").write_text("from beside import VALUE\ndef f(x):\n    return x + VALUE\n")
    made = step("%run sub/lib.py", USE, folder=folder)
    assert [module.name for module in made.modules] == ["beside", "sub/lib.py"]
