"""The mistakes that users make when they write pipelines, each in the smallest notebook: found before anything runs.

The list is that of 38 mistakes by which validators of pipeline files have been compared, said in our words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from jupyter_pipelines.errors import Diagnostic, PipelinesError
from jupyter_pipelines.interfaces.common_options import read_values
from jupyter_pipelines.project import Project
from tests.e2e.notebook_project import NotebookProject


@dataclass(frozen=True)
class UserMistake:
    """Hold the cells, what is asked for, and the code of the diagnostic."""

    cells: tuple[str, ...]
    code: str
    texts: Mapping[str, str] = field(default_factory=dict)
    to: tuple[str, ...] = ()
    load: str = ""
    file: str = ""


def wrong(code: str, *cells: str, **asked: object) -> UserMistake:
    return UserMistake(cells=cells, code=code, **asked)  # type: ignore[arg-type]


LOAD = "%%step load -o rows\nrows = [1, 2, 3]"
COUNT = "%%params\ncount: Annotated[int, Interval(ge=1, le=9)] = 3\nkind: Literal['a', 'b'] = 'a'\nneeded: int = 1"
USE = "%%step use -p count kind needed -o out\nout = (count, kind, needed)"

MISTAKES: dict[str, UserMistake] = {
    "an input that no step makes": wrong("JP202", "%%step train -i rows -o m\nm = len(rows)"),
    "an unknown type": wrong("JP505", "%%params\ncount: Intt = 3", "%%step use -p count\nprint(count)"),
    "a misspelt header": wrong("JP101", LOAD, "%%stpe train -i rows -o m\nm = len(rows)"),
    "a bad name of a step": wrong("JP103", "%%step 'my step' -o rows\nrows = [1]"),
    "a file of parameters that is missing": wrong("JP508", LOAD, file="none.yaml"),
    "a folder that is missing": wrong("JP210", "%%step load -i raw=data/ -o rows\nrows = list(raw.iterdir())"),
    "a kernel that is missing": wrong("JP305", "%%step load -o rows --kernel nope\nrows = [1]"),
    "a step without code": wrong("JP203", "%%step load -o rows\n"),
    "nowhere to run": wrong("JP602", "%%step load -o rows --on moon\nrows = [1]"),
    "an input that is not declared": wrong("JP201", LOAD, "%%step train -i -o m\nm = len(rows)"),
    "an output that is not declared": wrong(
        "JP202", "%%step load -o rows\nrows = [1]\nextra = 2", "%%step use -i extra\nprint(extra)"
    ),
    "a name with a dash": wrong("JP103", LOAD, "%%step train -i my-rows -o m\nm = 1"),
    "names that differ in case only": wrong("JP106", LOAD, "%%step Load -i rows -o m\nm = len(rows)"),
    "a cycle": wrong("JP102", "%%step one -i y -o x\nx = y", "%%step two -i x -o y\ny = x"),
    "a step after itself": wrong("JP209", "%%step load -o rows --after load\nrows = [1]"),
    "a step that does not exist": wrong("JP202", LOAD, "%%step train -i r=laod.rows -o m\nm = len(r)"),
    "an output that does not exist": wrong("JP202", LOAD, "%%step train -i r=load.row -o m\nm = len(r)"),
    "a parameter that does not exist": wrong("JP501", COUNT, USE, "%%step more -p cuont\nprint(cuont)"),
    "a parameter without a value": wrong("JP506", "%%params\ncount: int", "%%step use -p count\nprint(count)"),
    "an optional input that is none": wrong("JP202", LOAD, "%%step train -i rows -o m --optional raws\nm = len(rows)"),
    "an output that is never assigned": wrong("JP203", "%%step load -o rosw\nrows = [1]"),
    "an output asked for that is none": wrong("JP405", LOAD, load="load.row"),
    "text for a number": wrong("JP502", COUNT, USE, texts={"count": "three"}),
    "a value out of range": wrong("JP503", COUNT, USE, texts={"count": "10"}),
    "a value that is no choice": wrong("JP504", COUNT, USE, texts={"kind": "c"}),
    "a default out of range": wrong("JP503", "%%params\nn: Annotated[int, Gt(5)] = 3", "%%step use -p n\nprint(n)"),
    "a default that is no choice": wrong("JP504", "%%params\nn: Literal[1, 2] = 3", "%%step use -p n\nprint(n)"),
    "a list for a number": wrong("JP502", COUNT, USE, texts={"count": "[1]"}),
    "a format that does not exist": wrong("JP602", "%%step load -o rows:jsno\nrows = [1]"),
    "a parameter that is assigned": wrong("JP216", COUNT, USE, "%%step more -p count\ncount = 4\nprint(count)"),
    "a file that is never written": wrong("JP203", "%%step report -o chart:file\nprint('done')"),
    "a misspelt `--no-cache`": wrong("JP101", "%%step load -o rows --no-cahce\nrows = [1]"),
    "a misspelt option": wrong("JP101", "%%step load -o rows --retires 2\nrows = [1]"),
    "a misspelt option in a comment": wrong("JP101", "#| step: load\n#| out: rows\n#| retires: 5\nrows = [1]"),
    "a file that is missing": wrong("JP210", "%%step load -i raw=data.csv -o rows\nrows = raw.read_text()"),
    "no steps": wrong("JP105", "rows = [1]"),
    "two steps that make one name": wrong("JP206", LOAD, "%%step again -o rows\nrows = [2]"),
    "an input that is not used": wrong("JP207", LOAD, "%%step train -i rows -o m\nm = 1"),
}


def diagnostics_of(book: NotebookProject, mistake: UserMistake) -> tuple[Diagnostic, ...]:
    """Return what a check, or the user's request, reports; nothing of the notebook is executed."""
    project = Project()
    book.write(*mistake.cells)
    try:
        values = read_values(book.folder / mistake.file) if mistake.file else {}
        diagnostics = project.check(book.path, values, mistake.texts)
        if mistake.load:
            project.artifact(project.read(book.path), mistake.load)
    except PipelinesError as error:
        return error.faults
    return diagnostics


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path)


def test_there_are_thirty_eight_of_them() -> None:
    assert len(MISTAKES) == 38


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found(book: NotebookProject, name: str) -> None:
    mistake = MISTAKES[name]
    diagnostics = diagnostics_of(book, mistake)
    matching = [diagnostic for diagnostic in diagnostics if diagnostic.code == mistake.code]
    assert matching, [str(diagnostic) for diagnostic in diagnostics]
    assert matching[0].suggestion
    assert len(str(matching[0]).splitlines()) <= 15
    placeless = {"JP105", "JP405", "JP508"}
    assert mistake.code in placeless or matching[0].place is not None
    others = {diagnostic.code for diagnostic in diagnostics if diagnostic.severity == "error"} - {mistake.code}
    assert not others, [str(diagnostic) for diagnostic in diagnostics]
    assert not (book.folder / ".pipelines" / "runs").exists()
