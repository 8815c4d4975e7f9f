from __future__ import annotations

from pathlib import Path

import pytest

from tests.journeys.book import Book


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """An empty notebook in an empty project."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").write_text("")
    return Book(tmp_path / "project")
