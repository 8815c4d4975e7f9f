"""Edits of notebooks, files and settings: what is reused afterwards is what a fresh store computes.

The cases of a group stand in one notebook. It runs twice, everything is edited, it runs again, and once more against a
store without results.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.notebook_project import CommandResult, NotebookProject

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("reuse_cases.json").read_text(encoding="utf-8"))
GROUPS = sorted({case["group"] for case in CASES})
ANOTHER_KEY = {"s261"}
"""Steps whose code is another after the edit, though it computes the same: a constant came into a module."""


@pytest.mark.parametrize("group", GROUPS)
def test_nothing_is_reused_that_would_be_computed_differently(group: str, tmp_path: Path) -> None:
    cases = [case for case in CASES if case["group"] == group]
    (tmp_path / "home").mkdir()
    book = NotebookProject(tmp_path / "project", environment={"HOME": str(tmp_path / "home")})
    write(book, cases, "before")
    run(book, "store")
    again = run(book, "store")
    rerun = {name for name, decision in again.steps("decision").items() if decision != "reuse"}
    assert {name: again.reasons[name] for name in rerun} == {}
    for case in cases:
        book.environment |= case["environment"]
    write(book, cases, "after")
    edited = run(book, "store")
    fresh = run(book, "fresh")
    assert outputs(edited) == outputs(fresh)
    decisions, reasons = edited.steps("decision"), edited.reasons
    for case in cases:
        step = f"s{case['id']}"
        if case["expect"] == "rerun":
            assert decisions[step] == "run", case["way"]
        elif case["expect"] == "reuse" and step not in ANOTHER_KEY:
            assert decisions[step] == "reuse", (case["way"], reasons[step])


def write(book: NotebookProject, cases: Sequence[dict[str, Any]], moment: str) -> None:
    """Write the files and cells of a moment."""
    for case in cases:
        for name, content in (case["files"] if moment == "before" else case["edited"]).items():
            path = book.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text() != content:
                path.write_text(content)
    book.write(*(cell for case in cases for cell in case[moment]))


def run(book: NotebookProject, store: str) -> CommandResult:
    result = book.run("--store", str(book.folder.parent / store))
    assert result.code == 0, result.out + result.err
    return result


def outputs(result: CommandResult) -> dict[str, Any]:
    return result.steps("outputs")
