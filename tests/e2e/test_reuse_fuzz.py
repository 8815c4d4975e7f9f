"""Random small projects: after an edit of each step, a run gives what a fresh store gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.e2e.reuse_comparison import ReuseFigures, compare, compared_folder, isolated
from tests.e2e.reuse_projects import FileEdit, ReadingStep, reading_projects

BLIND = """
from jupyter_pipelines.execution.kernel_side.tracing.access_log import AccessLog

AccessLog._note_read = AccessLog._on_event = lambda *_: None
"""
HIDDEN = ReadingStep(
    name="s00",
    title="a name that the code does not show",
    kind="same size",
    cells=["%%step s00 -o value_00\nvalue_00 = open('atad'[::-1]).read()"],
    edited_cells=["%%step s00 -o value_00\nvalue_00 = open('atad'[::-1]).read()"],
    files={"data": b"1"},
    edits=[FileEdit("data", content=b"2")],
)


@settings(
    max_examples=6, phases=[Phase.generate], derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(reading_projects(8))
def test_nothing_stale_is_reused(steps: list[ReadingStep]) -> None:
    figures = ReuseFigures()
    with compared_folder() as folder:
        compare(folder, steps, figures, isolated(folder))
    assert figures.edits == len(steps) > 0


def test_a_blind_witness_is_caught(tmp_path: Path) -> None:
    """What the comparison does when a step reads a file and nothing sees it."""
    (tmp_path / "blind").mkdir()
    (tmp_path / "blind" / "sitecustomize.py").write_text(BLIND)
    with compared_folder() as folder:
        compare(folder, [HIDDEN], ReuseFigures(), isolated(folder))
    with compared_folder() as folder, pytest.raises(AssertionError, match="reuse"):
        compare(folder, [HIDDEN], ReuseFigures(), isolated(folder) | {"PYTHONPATH": str(tmp_path / "blind")})
