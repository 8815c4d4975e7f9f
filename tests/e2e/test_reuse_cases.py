"""Edits of notebooks, files and settings: what is reused afterwards is what a fresh store computes.

The cases of a group stand in one notebook. It runs twice, everything is edited, it runs again, and once more against a
store without results.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.notebook_project import CommandResult, NotebookProject

CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("reuse_cases.json").read_text(encoding="utf-8"))
GROUPS = sorted({case["group"] for case in CASES})
ANOTHER_KEY = {"s261"}
"""Steps whose code is another after the edit, though it computes the same: a constant came into a module."""
MISSED = {"inotify": set[str](), "none": {"s75"}}
"""Steps that are reused wrongly under a weaker watch: Arrow maps a file into memory, and hides its name."""
RUN_EVERY_TIME = {"inotify": set[str](), "none": {"s77", "s266", "s269"}}
"""Steps that run every time under a weaker watch: they start a program, or their code cannot be read."""


@pytest.mark.parametrize("group", GROUPS)
def test_nothing_is_reused_that_would_be_computed_differently(group: str, tmp_path: Path) -> None:
    assert surprises(group, tmp_path, {}, missed=set(), run_every_time=set()) == {}


@pytest.mark.parametrize("watch", ["inotify", "none"])
@pytest.mark.parametrize("group", GROUPS)
def test_what_is_missed_under_a_weaker_watch(group: str, watch: str, tmp_path: Path) -> None:
    """As in some containers, and as on macOS and Windows; docs/reuse.md has the numbers."""
    environment = {"JUPYTER_PIPELINES_WATCH": watch}
    expected = {"missed": MISSED[watch], "run_every_time": RUN_EVERY_TIME[watch]}
    assert surprises(group, tmp_path, environment, **expected) == {}


def surprises(
    group: str, folder: Path, environment: dict[str, str], *, missed: Collection[str], run_every_time: Collection[str]
) -> dict[str, Any]:
    """Edit the cases of a group, and compare with a fresh store; return what is not as expected, by what it is.

    Parameters
    ----------
    missed, run_every_time : collection of str
        Steps that are expected to be reused wrongly, or never.
    """
    cases = [case for case in CASES if case["group"] == group]
    steps = {f"s{case['id']}" for case in cases}
    (folder / "home").mkdir()
    book = NotebookProject(folder / "project", environment={"HOME": str(folder / "home"), **environment})
    write(book, cases, "before")
    run(book, "store")
    again = run(book, "store")
    for case in cases:
        book.environment |= case["environment"]
    write(book, cases, "after")
    edited = run(book, "store")
    fresh = outputs(run(book, "fresh"))
    rerun = {name for name, decision in again.steps("decision").items() if decision != "reuse"}
    stale = {name for name, made in outputs(edited).items() if made != fresh[name]}
    decisions, reasons = edited.steps("decision"), edited.reasons
    wanted = {f"s{case['id']}": case["expect"] for case in cases}
    reused = {name for name in steps if wanted[name] == "rerun" and decisions[name] != "run"}
    needless = {
        name: reasons[name]
        for name in steps - {*ANOTHER_KEY, *run_every_time}
        if wanted[name] == "reuse" and decisions[name] != "reuse"
    }
    differing = {"stale": stale ^ (steps & set(missed)), "reused": reused ^ (steps & set(missed))}
    # Under inotify, a file may count for every step that ran while another process opened it.
    if environment.get("JUPYTER_PIPELINES_WATCH") != "inotify":
        differing["rerun"] = rerun ^ (steps & set(run_every_time))
        differing["needless"] = set(needless.items())
    return {kind: names for kind, names in differing.items() if names}


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
