"""Test style, format and types, so that every run of the suite checks the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "tool",
    [["ruff", "check", "--output-format=concise"], ["ruff", "format", "--diff"], ["mypy", "--no-color-output"]],
    ids=["style", "format", "types"],
)
def test_the_source_has_no_fault_of(tool: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
