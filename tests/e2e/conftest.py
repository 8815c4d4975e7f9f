from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    """An empty notebook in an empty project."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text("")
    return NotebookProject(tmp_path / "project")
