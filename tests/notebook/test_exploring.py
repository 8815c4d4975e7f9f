"""Exploration that changes what passes between steps is told; exploration that only looks is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.notebook.reading import read
from tests.journeys.book import Book

MAKE = "%%step make -o rows\nrows = [1, 2]"
USE = "%%step use -i rows -o total\ntotal = sum(rows)"


@pytest.mark.parametrize(
    "cell", ["rows = rows[:1]", "rows.append(3)", "rows[0] = 9", "for rows in [rows]:\n    pass", "rows = []"]
)
def test_what_steps_do_not_see_is_told(tmp_path: Path, cell: str) -> None:
    reading = read(Book(tmp_path).write(MAKE, cell, USE).path)
    found = [fault for fault in reading.faults if fault.code == "JP218"]
    assert len(found) == 1
    assert "cell 2" in found[0].message
    assert reading.pipeline is not None


@pytest.mark.parametrize("cell", ["rows[:1]", "print(len(rows))", "other = rows[:1]", "[row for row in rows]"])
def test_looking_is_not(tmp_path: Path, cell: str) -> None:
    assert read(Book(tmp_path).write(MAKE, cell, USE).path).faults == ()


def test_what_comes_after_the_last_use_is_not(tmp_path: Path) -> None:
    assert read(Book(tmp_path).write(MAKE, USE, "rows = None").path).faults == ()
