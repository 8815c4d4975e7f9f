"""A notebook whose names are in other scripts, through every command, with kernels."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.notebook_project import COMMAND, CommandResult, NotebookProject

CELLS = (
    (
        "%%params\ncafé: int = 2\nπ: float = 3.5\nمعدل: str = 'x'\nनाम: list[str] = ['क', 'ख']\n\ufb01lter: int = 1\n"
        "título = None # type: str"
    ),
    "%%step größe -o länge,दूरी -p café,π\nlänge = café * π\nदूरी = [café]",
    "%%step данные -i länge -o 表 -p معدل,filter\n表 = [länge, معدل, filter]",
    "%%step 数据 -i m=данные.表 -i w=größe.दूरी -o عدد\nعدد = len(m) + len(w)",
    "%%step हिन्दी-चरण -i عدد --foreach क=नाम -o परिणाम\nपरिणाम = [क, عدد]",
    "%%step \ufb01n -i परिणाम --after 数据 -o संख्या\nसंख्या = [pair[0] for pair in परिणाम]",
    '%%step datei -i länge -o जगह:file\nजगह.write_text(f"{länge} {título}")',
)
LONG = "दी" * 50  # as many characters as a step may have, and more bytes than a file's name may have
PATH = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
ITEMS = {"हिन्दी-चरण[क=क]", "हिन्दी-चरण[क=ख]"}
STEPS = {"größe", "данные", "数据", "हिन्दी-चरण", "fin", "datei", *ITEMS}


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path, "नोटबुक é.ipynb").write(*CELLS)


def ran(answer: CommandResult) -> set[str]:
    """The steps that a run computed."""
    assert answer.code == 0, answer.err
    return {name for name, state in answer.steps("state").items() if state == "succeeded"}


def decided(book: NotebookProject, *options: str) -> set[str]:
    """The steps that would run."""
    answer = book.plan(*options)
    assert answer.code == 0, answer.err
    return {name for name, decision in answer.steps("decision").items() if decision == "run"}


def test_every_command_takes_names_in_any_script(book: NotebookProject) -> None:
    assert book.call("check").code == 0
    first = book.run()
    assert ran(first) == STEPS
    run = first.document["run"]
    files = {path.name for path in (book.folder / ".pipelines" / "runs" / run).iterdir()}
    assert all(re.fullmatch(r"[A-Za-z0-9_.~-]+", name) for name in files), files
    assert {"fin.ipynb", "fin.log", "datei.ipynb"} <= files
    assert len([name for name in files if name.endswith(".ipynb")]) == len(STEPS) - 1, "gathering needs no kernel"
    for step in first.document["steps"]:
        if step["name"] != "हिन्दी-चरण":
            assert step["name"] in json.dumps(json.loads(Path(step["notebook"]).read_text()), ensure_ascii=False)
            assert Path(step["log"]).is_file()
    assert ran(book.run()) == set()

    look_around(book)
    select(book)
    give_values(book)


def test_a_command_that_is_proposed_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "odd" [x] $HOME; größe `b`'
    folder.mkdir()
    (tmp_path / "-link").symlink_to(folder)
    book = NotebookProject(tmp_path / "-link", "-näme $(x) 'y'.ipynb", environment={"PATH": PATH}).write(
        "%%step größe -o länge\nlänge = 7", f"%%step {LONG} -i länge --foreach क=1,2 -o परिणाम\nपरिणाम = क * länge"
    )
    store = 'st\'ore "$x"'
    outcomes = []
    for name in (f"{LONG}[क=2].परिणाम", "größe.länge"):
        missing = subprocess.run(
            [str(COMMAND), "output", f"./{book.name}", name, "--store", store],
            cwd=book.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        command = re.search(r"run it first: `(.*)`\n", missing.stderr)
        outcomes.append((missing.returncode, command is not None))
        if command:
            pasted(book, command[1])
    # The first command has computed what the second asks for.
    assert outcomes == [(2, True), (0, False)]
    detached = pasted(book, shlex.join(["jupyter", "pipelines", "run", f"./{book.name}", "--detach"]))
    attach = re.search(r"`(jupyter pipelines attach .*)` shows it", detached)
    assert attach
    assert "succeeded" in pasted(book, attach[1])


def pasted(book: NotebookProject, command: str) -> str:
    """Run what was pasted into a shell."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=book.folder, env={**os.environ, **book.environment}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout + done.stderr


def look_around(book: NotebookProject) -> None:
    """Ask every command that shows something."""
    assert book.value("größe.länge") == 7.0
    assert book.value("gro\u0308ße.दूरी") == [2]
    assert book.value("fin.संख्या") == book.value("\ufb01n.संख्या") == ["क", "ख"]
    assert book.value("हिन्दी-चरण[क=ख].परिणाम") == ["ख", 4]
    assert book.call("output", "datei.जगह", "-o", "Länge.txt").code == 0
    assert (book.folder / "Länge.txt").read_text() == "7.0 None"
    assert book.call("why", "数据", "--json").reasons == {"数据": "unchanged"}
    for form in ("text", "mermaid", "svg", "html", "graphml", "dot", "json"):
        shown = book.call("show", "--format", form)
        text = unescape(shown.out)
        assert (shown.code, "größe" in text, "данные" in text) == (0, True, True), form
    assert book.call("diff", "last", "last").code == 0
    assert book.call("gc").code == 0
    assert book.call("fsck").code == 0
    missing = book.call("output", "groß.länge")
    assert (missing.code, "write `größe`" in missing.err) == (2, True)


def select(book: NotebookProject) -> None:
    """Choose steps, in either spelling."""
    assert decided(book, "--force", "данные", "--only", "данные") == {"данные"}
    assert decided(book, "--force", "\ufb01n", "--from", "\ufb01n") == {"fin"}
    assert decided(book, "--force", "हिन्दी-चरण[क=क]", "--to", "fin") == {"हिन्दी-चरण[क=क]"}
    assert ran(book.run("--force", "datei", "--to", "datei")) == {"datei"}
    frozen = book.call("freeze")
    assert frozen.code == 0, frozen.err
    assert decided(book) == set()


def give_values(book: NotebookProject) -> None:
    """Give parameters values, as options and in files."""
    assert decided(book, "-p", "cafe\u0301=3") == decided(book, "-p", "café=3") == {"größe"}
    assert decided(book, "-p", "\ufb01lter=2") == decided(book, "-p", "filter=2") == {"данные"}
    assert decided(book, "-p", "título=ü") == {"datei"}
    assert decided(book, "-p", "título=None") == set()
    assert decided(book, "-p", "नाम=['क', 'ग']") == {"हिन्दी-चरण[क=ग]", "हिन्दी-चरण"}
    values: dict[str, Any] = {"cafe\u0301": 4, "π": 0.5, "معدل": "ya", "\ufb01lter": 5, "नाम": ["ग"]}
    (book.folder / "Werte für k.yaml").write_text(json.dumps(values))
    assert ran(book.run("--params-file", "Werte für k.yaml", "-p", "\ufb01lter=6")) == {
        "größe", "данные", "数据", "हिन्दी-चरण[क=ग]", "हिन्दी-चरण", "fin", "datei"}  # fmt: skip
    assert book.value("данные.表") == [2.0, "ya", 6]
    wrong = book.plan("-p", "cafe=1")
    assert (wrong.code, "JP501" in wrong.err, "write `café`" in wrong.err) == (2, True, True)
    (book.folder / "twice.json").write_text('{"filter": 1, "\ufb01lter": 2}')
    twice = book.plan("--params-file", "twice.json")
    assert (twice.code, "JP508" in twice.err, "are both `filter` for Python" in twice.err) == (2, True, True)
