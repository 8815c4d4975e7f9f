"""The notebooks that users meet first: both run, and run again reuse everything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
# What the models reach on these data, with a margin for other versions of scikit-learn.
EXPECTED = {"quickstart": ("evaluate.scores", 6, 0.9), "flights": ("evaluate.scores", 7, 0.6)}


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_and_is_reused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "notebooks"
    shutil.copytree(NOTEBOOKS, folder, ignore=shutil.ignore_patterns(".pipelines", "__pycache__", ".ipynb_checkpoints"))
    book = NotebookProject(folder, f"{name}.ipynb")
    before = book.path.read_bytes()
    output, steps, least = EXPECTED[name]
    assert book.call("check", "--json").document["faults"] == []
    first = book.run()
    assert first.code == 0, first.err
    assert list(first.steps("state").values()) == ["succeeded"] * steps
    assert "warning" not in first.err.lower()
    scores = book.value(output)
    assert min(score["roc_auc"] if isinstance(score, dict) else score for score in scores.values()) > least
    chart = Path(book.call("output", "report.chart", "--json").document["path"])
    assert chart.read_bytes().startswith(b"\x89PNG")
    second = book.run()
    assert list(second.steps("state").values()) == ["reused"] * steps
    assert second.steps("key") == first.steps("key")
    assert book.path.read_bytes() == before


def test_every_example_is_run_here() -> None:
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == EXPECTED.keys()


def test_examples_are_kept_without_outputs() -> None:
    for path in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
