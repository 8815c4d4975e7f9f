"""Bad input gets a clear error before anything runs, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.notebook_project import CommandResult, NotebookProject

GOOD = ("%%params\nsize: int = 3", "%%step make -o numbers -p size\nnumbers = list(range(size))")


def assert_refused(answer: CommandResult, code: str) -> None:
    """Check for exit code 2, one check document, the same code on standard error, no traceback, and a short message."""
    assert answer.code == 2, (answer.out, answer.err)
    assert answer.document["schema"] == "jupyter-pipelines/check/1"
    assert code in {fault["code"] for fault in answer.document["faults"]}
    assert code in answer.err
    assert "Traceback" not in answer.err
    for diagnostic in answer.err.strip().split("\n\n"):
        assert len(diagnostic.splitlines()) <= 15
        assert "= help: " in diagnostic.splitlines()[-1]


CONTENTS = {
    "broken JSON": (b'{"cells": [', "JP104"),
    "empty file": (b"", "JP104"),
    "a list": (b"[]", "JP104"),
    "latin-1": ('{"cells": ["\xe4"]}'.encode("latin-1"), "JP104"),
    "merge conflict": (b'<<<<<<< HEAD\n{"cells": []}\n=======\n{}\n>>>>>>> other\n', "JP104"),
    "format 9": (b'{"cells": [], "metadata": {}, "nbformat": 9, "nbformat_minor": 0}', "JP104"),
    "source is a number": (
        b'{"cells": [{"cell_type": "code", "source": 5}], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}',
        "JP104",
    ),
    "no steps": (b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}', "JP105"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_files_that_are_no_pipeline(book: NotebookProject, name: str) -> None:
    content, code = CONTENTS[name]
    book.path.write_bytes(content)
    assert_refused(book.run(), code)
    assert book.path.read_bytes() == content
    assert not (book.folder / ".pipelines" / "runs").exists() or not list(
        (book.folder / ".pipelines" / "runs").iterdir()
    )


def test_a_file_that_is_not_there(book: NotebookProject) -> None:
    assert_refused(book.run(), "JP104")


def test_nbformat_3_is_read(book: NotebookProject) -> None:
    cell = {"cell_type": "code", "input": GOOD[1].replace(" -p size", "").replace("size", "3"), "language": "python"}
    cell |= {"collapsed": False, "metadata": {}, "outputs": [], "prompt_number": 1}
    worksheets = [{"cells": [cell], "metadata": {}}]
    book.save({"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": worksheets})
    answer = book.run()
    assert answer.code == 0, answer.err


HEADERS = {
    "%%step my step -o numbers": "JP101",
    "%%step 'my step' -o numbers": "JP103",
    "%%step größe! -o numbers": "JP103",
    "%%step ../x -o numbers": "JP103",
    "%%step make -o 'num bers'": "JP103",
    "%%step make -o ../x": "JP103",
    "%%step -o numbers": "JP101",
    "%%step make -o numbers --retires 2": "JP101",
    "%%step make -o 'numbers": "JP101",
    "%%step make -o numbers numbers": "JP106",
    "%%step make -o numbers --retries many": "JP604",
    "%%step make -o numbers --timeout soon": "JP604",
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers_that_cannot_be_meant(book: NotebookProject, header: str) -> None:
    book.write(f"{header}\nnumbers = [1]")
    answer = book.run()
    assert_refused(answer, HEADERS[header])
    assert "^" in answer.err


def test_two_steps_that_make_the_same_name(book: NotebookProject) -> None:
    book.write("%%step one -o x\nx = 1", "%%step two -o x\nx = 2")
    assert_refused(book.run(), "JP206")


PARAMETERS = {
    ("-p", "sise=3"): "JP501",
    ("-p", "size=three"): "JP502",
    ("-p", "size=3.5"): "JP502",
    ("-p", "size"): "JP604",
    ("--to", "mak"): "JP603",
    ("--params-file", "none.json"): "JP508",
}


@pytest.mark.parametrize("options", PARAMETERS)
def test_options_that_do_not_fit(book: NotebookProject, options: tuple[str, ...]) -> None:
    assert_refused(book.write(*GOOD).run(*options), PARAMETERS[options])


def test_all_faults_are_told_at_once(book: NotebookProject) -> None:
    book.write("%%step one -o x\ny = 1", "%%step two -i z\nprint(z)", "%%step three -i x\nprint(x +)")
    answer = book.call("check", "--json")
    assert answer.code == 2
    assert {"JP203", "JP202", "JP107"} <= {fault["code"] for fault in answer.document["faults"]}


def test_a_file_where_the_store_should_be(book: NotebookProject) -> None:
    book.write(*GOOD)
    (book.folder / ".pipelines").write_text("mine")
    assert_refused(book.run(), "JP401")
    assert (book.folder / ".pipelines").read_text() == "mine"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_store_loses_nothing(book: NotebookProject, small: Path) -> None:
    book.write(*GOOD, "%%step big -i numbers -o bulk\nbulk = b'x' * 3_000_000")
    store = ("--store", str(small / "store"))
    answer = book.run(*store)
    assert answer.code == 1
    assert answer.steps("state") == {"make": "succeeded", "big": "failed"}
    assert next(step["error"]["code"] for step in answer.document["steps"] if step["name"] == "big") == "JP403"
    assert "Traceback" not in answer.err
    subprocess.run(["mount", "-o", "remount,size=20m", small], check=True)
    again = book.run(*store)
    assert again.code == 0, again.err
    assert again.steps("state") == {"make": "reused", "big": "succeeded"}


def test_a_read_only_store_is_refused_before_anything_runs(book: NotebookProject, small: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small], check=True)
    assert_refused(book.write(*GOOD).run("--store", str(small / "store")), "JP402")


def test_reading_planning_checking_and_showing_execute_nothing(book: NotebookProject) -> None:
    canary = "open('canary', 'w').close()"
    book.write(
        canary,
        f"%%setup\n{canary}",
        "%%params\nsize: int = 3",
        f"def helper(x={canary}):\n    return x",
        f"%%step make -o n -p size\n{canary}\nn = helper(size)",
    )
    for command in ("check", "plan", "show"):
        book.call(command, "--json")
    for form in ("text", "mermaid", "svg", "html", "json", "graphml", "dot"):
        book.call("show", "--format", form)
    book.call("why", "make")
    assert not (book.folder / "canary").exists()


def test_json_is_one_document_even_when_the_command_is_wrong(book: NotebookProject) -> None:
    answer = book.write(*GOOD).call("run", "--json", "--jbos", "3")
    assert answer.code == 2
    assert json.loads(answer.out)["faults"][0]["severity"] == "error"


@pytest.mark.parametrize("place", ["header", "option"])
def test_an_executor_that_does_not_exist_is_refused(book: NotebookProject, place: str) -> None:
    book.write("%%step make -o numbers" + (" --on moon" if place == "header" else "") + "\nnumbers = [1]")
    assert_refused(book.run(*(("--on", "moon") if place == "option" else ())), "JP602")


def test_paths_that_are_no_utf_8(book: NotebookProject) -> None:
    book.write(*GOOD)
    name = os.fsdecode(b"bad\xff")
    assert_refused(book.call("run", "--store", name, "--json"), "JP401")
    book.path.rename(book.folder / f"{name}.ipynb")
    other = NotebookProject(book.folder, name=f"{name}.ipynb")
    for command in ("check", "plan", "run"):
        assert_refused(other.call(command, "--json"), "JP104")


def test_a_run_of_a_notebook_that_never_ran(book: NotebookProject) -> None:
    book.write(*GOOD)
    for command in ("attach", "cancel"):
        answer = book.call(command)
        assert answer.code == 2
        assert "= help: run it first: `jupyter pipelines run book.ipynb`\n" in answer.err


@pytest.mark.parametrize(
    ("step", "advice"),
    [
        ("%%step a -o v\ndel v", "assign `v` in the step, or make it an output of a step before it"),
        ("%%step a -o y --optional zz\ny = 1", "take it out of `--optional`"),
    ],
)
def test_advice_is_not_what_was_written(book: NotebookProject, step: str, advice: str) -> None:
    answer = book.write(step).call("check")
    assert answer.code == 2
    assert advice in answer.out


def test_an_output_that_is_no_name_has_a_single_fault(book: NotebookProject) -> None:
    answer = book.write("%%step a -o 2x lambda\ny = 1").call("check", "--json")
    assert {fault["code"] for fault in answer.document["faults"]} == {"JP103"}
