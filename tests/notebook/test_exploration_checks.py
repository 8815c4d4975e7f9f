"""Exploration that changes what passes between steps is reported; exploration that only reads is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.notebook.reader import read
from tests.e2e.notebook_project import NotebookProject

MAKE = "%%step make -o rows\nrows = [1, 2]"
USE = "%%step use -i rows -o total\ntotal = sum(rows)"


@pytest.mark.parametrize(
    "cell", ["rows = rows[:1]", "rows.append(3)", "rows[0] = 9", "for rows in [rows]:\n    pass", "rows = []"]
)
def test_what_steps_do_not_see_is_told(tmp_path: Path, cell: str) -> None:
    reading = read(NotebookProject(tmp_path).write(MAKE, cell, USE).path)
    warnings = [diagnostic for diagnostic in reading.faults if diagnostic.code == "JP218"]
    assert len(warnings) == 1
    assert "cell 2" in warnings[0].message
    assert reading.pipeline is not None


@pytest.mark.parametrize("cell", ["rows[:1]", "print(len(rows))", "other = rows[:1]", "[row for row in rows]"])
def test_looking_is_not(tmp_path: Path, cell: str) -> None:
    assert read(NotebookProject(tmp_path).write(MAKE, cell, USE).path).faults == ()


def test_what_comes_after_the_last_use_is_not(tmp_path: Path) -> None:
    assert read(NotebookProject(tmp_path).write(MAKE, USE, "rows = None").path).faults == ()
