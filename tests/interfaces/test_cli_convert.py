"""``jupyter pipelines convert``: what it writes, what it never writes to, and its exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.notebook_project import NotebookProject


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path)


def explore(folder: Path, *cells: str) -> Path:
    made: list[dict[str, Any]] = []
    for text in cells:
        code = {"cell_type": "code", "outputs": [], "execution_count": None}
        made.append({**({"cell_type": "markdown"} if text.startswith("# ") else code), "metadata": {}, "source": text})
    path = folder / "explore.ipynb"
    path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}))
    return path


CELLS = ("# Load", "rows = sorted([3, 1, 2])", "# Sum", "total = sum(rows)\ntotal", "# Show", "print(total)")


@pytest.mark.kernel
def test_it_converts_proves_and_the_pipeline_is_reused(book: NotebookProject) -> None:
    source = explore(book.folder, *CELLS)
    before = source.read_bytes()
    answer = NotebookProject(book.folder, source.name).call("convert", "-o", str(book.folder / "out.ipynb"), "--json")
    document = json.loads(answer.out)
    assert (answer.code, document["verdict"], document["state"]) == (0, "identical", "identical")
    assert [step["name"] for step in document["steps"]] == ["load", "sum", "show"]
    assert {cell["state"] for cell in document["cells"]} == {"identical"}
    assert document["names"] == {"passed": 2, "bound": 2}
    assert source.read_bytes() == before
    made = NotebookProject(book.folder, "out.ipynb")
    assert set(made.run().steps("state").values()) == {"succeeded"}
    assert set(made.run().steps("state").values()) == {"reused"}
    assert sorted(path.name for path in book.folder.glob("*.ipynb")) == ["explore.ipynb", "out.ipynb"]


@pytest.mark.kernel
def test_a_step_whose_outputs_waver_by_themselves_is_never_reused(book: NotebookProject) -> None:
    """Only where the wavering begins: not where it comes in as an input, and not what is only shown."""
    source = explore(
        book.folder,
        *("# Rows", "import time, random\nrows = sorted([3, 1, 2])"),
        *(
            "# Sum",
            "import os\nbegun = time.time()\ntotal = sum(rows)\nhere = os.getcwd()\nprint(time.time() - begun, 's')",
        ),
        *("# Stamp", "def moment():\n    return time.time_ns()\nstamp = (moment(), total)"),
        *("# Label", "label = f'{stamp[0]}/{total}'"),
        *("# Name", "name = f'{label} {random.random()}'"),
        *("# Day", "day = time.localtime(0).tm_year + total"),
        *("# Show", "print(len(name) > 0, day, os.path.isdir(here))"),
    )
    answer = NotebookProject(book.folder, source.name).call("convert", "-o", str(book.folder / "out.ipynb"), "--json")
    assert answer.code == 0, answer.out + answer.err
    reasons = {step["name"]: step["no_cache"] for step in answer.document["steps"]}
    assert {name: why for name, why in reasons.items() if why} == {
        "stamp": "it reads the clock, and `stamp` differed in two runs with equal inputs",
        "name": "it draws random numbers without a seed, and `name` differed in two runs with equal inputs",
    }
    made = NotebookProject(book.folder, "out.ipynb")
    headers = [line for cell in made.read()["cells"] for line in "".join(cell["source"]).split("\n")]
    assert [line for line in headers if "--no-cache" in line] == [
        "%%step stamp -i total -o stamp --no-cache",
        "%%step name -i label -o name --no-cache",
    ]
    assert made.run().code == 0
    again = made.run()
    assert {name for name, decision in again.steps("decision").items() if decision == "reuse"} == {"rows", "sum", "day"}
    assert {name: again.reasons[name] for name in ("stamp", "name")} == dict.fromkeys(("stamp", "name"), "no-cache")


@pytest.mark.kernel
def test_a_file_whose_name_became_a_parameter_counts(book: NotebookProject) -> None:
    explore(book.folder, "# Load", "DATA = 'data.txt'", "text = open(DATA).read()", "# Count", "print(len(text))")
    data = book.folder / "data.txt"
    data.write_text("one")
    answer = NotebookProject(book.folder, "explore.ipynb").call(
        "convert", "-o", str(book.folder / "out.ipynb"), "--json"
    )
    assert answer.code == 0, answer.err
    made = NotebookProject(book.folder, "out.ipynb")
    assert "DATA: str = 'data.txt'" in "".join(text for cell in made.read()["cells"] for text in cell["source"])
    assert made.run().code == 0
    assert set(made.run().steps("state").values()) == {"reused"}
    data.write_text("another")
    assert made.plan().reasons["load"] == "input"
    assert set(made.run().steps("state").values()) == {"succeeded"}


@pytest.mark.kernel
def test_a_notebook_that_fails_is_not_converted(book: NotebookProject) -> None:
    source = explore(book.folder, "x = 1", "undefined_name + x")
    answer = NotebookProject(book.folder, source.name).call("convert", "--json")
    document = json.loads(answer.out)
    assert answer.code == 1
    assert document["state"] == "refused"
    assert "cell 2 of the original fails: NameError" in document["verdict"]
    assert not (book.folder / "explore.pipeline.ipynb").exists()


def test_static_executes_nothing_and_says_so(book: NotebookProject) -> None:
    source = explore(book.folder, *CELLS, "# Touch", "open('touched', 'w').close()")
    answer = NotebookProject(book.folder, source.name).call("convert", "--static")
    assert answer.code == 1
    assert "not proven" in answer.out
    assert "JP703" in answer.err
    assert (book.folder / "explore.pipeline.ipynb").exists()
    assert not (book.folder / "touched").exists()


def test_a_dry_run_writes_no_notebook_but_the_page_asked_for(book: NotebookProject) -> None:
    source = explore(book.folder, *CELLS)
    steps = book.folder / "steps.yaml"
    steps.write_text("all_of_it: 2\nend: [6]\n")
    page = book.folder / "page.html"
    options = ("--static", "--dry-run", "--steps", str(steps), "--html", str(page), "--drop-display")
    answer = NotebookProject(book.folder, source.name).call("convert", *options)
    assert "all_of_it (cells 2-4)" in answer.out
    assert not (book.folder / "explore.pipeline.ipynb").exists()
    assert "%%step all_of_it" in page.read_text("utf-8")


def test_files_that_are_not_its_own_are_never_written_to(book: NotebookProject) -> None:
    source = explore(book.folder, *CELLS)
    other = book.folder / "other.ipynb"
    other.write_text(source.read_text())
    for target in (str(source), str(other), str(book.folder / "no" / "out.ipynb"), "out.txt"):
        answer = NotebookProject(book.folder, source.name).call("convert", "--static", "-o", target)
        assert answer.code == 2
        assert "JP702" in answer.err
    assert NotebookProject(book.folder, source.name).call("convert", "--static").code == 1
    assert NotebookProject(book.folder, source.name).call("convert", "--static").code == 1  # its own it may write again


@pytest.mark.parametrize(
    ("options", "heavy"),
    [(["--static"], {"nbclient", "nbformat"}), (["--dry-run"], {"rfc3987_syntax.syntax_helpers"})],
)
def test_what_is_not_needed_is_not_imported(book: NotebookProject, options: list[str], heavy: set[str]) -> None:
    """What runs notebooks; and a grammar that jsonschema compiles for more than a second."""
    source = explore(book.folder, *CELLS)
    arguments = ["convert", source.name, *options]
    script = f"import sys; from jupyter_pipelines.interfaces.cli import main; main.call({arguments!r})\n"
    script += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=book.folder, capture_output=True, text=True, check=True)
    imported = done.stdout.splitlines()[-1].split()
    assert "jupyter_pipelines.verification.convert_command" in imported
    assert not heavy & set(imported)


def test_what_is_no_notebook_and_no_file_of_steps_is_told(book: NotebookProject) -> None:
    (book.folder / "broken.ipynb").write_text("{")
    answer = NotebookProject(book.folder, "broken.ipynb").call("convert", "--static")
    assert (answer.code, "JP104" in answer.err) == (2, True)
    source = explore(book.folder, *CELLS)
    (book.folder / "steps.json").write_text('{"a": "two"}')
    answer = NotebookProject(book.folder, source.name).call(
        "convert", "--static", "--steps", str(book.folder / "steps.json")
    )
    assert (answer.code, "JP508" in answer.err) == (2, True)


def test_names_in_a_file_of_steps_may_be_spelt_in_two_ways(book: NotebookProject) -> None:
    source = explore(book.folder, *CELLS)
    (book.folder / "steps.json").write_text('{"\ufb01t": [1, 2]}', "utf-8")
    answer = NotebookProject(book.folder, source.name).call(
        "convert", "--static", "--json", "--steps", str(book.folder / "steps.json")
    )
    assert answer.document["steps"][0]["name"] == "fit"


def test_in_another_folder_steps_run_where_the_original_is(book: NotebookProject) -> None:
    source = explore(book.folder, "# A", "text = open('data.txt').read()", "# B", "print(text)")
    (book.folder / "data.txt").write_text("hello")
    target = book.folder / "elsewhere" / "out.ipynb"
    target.parent.mkdir()
    assert NotebookProject(book.folder, source.name).call("convert", "--static", "-o", str(target)).code == 1
    about = json.loads(target.read_text("utf-8"))["metadata"]["jupyter_pipelines"]
    assert about["folder"] == str(book.folder)
