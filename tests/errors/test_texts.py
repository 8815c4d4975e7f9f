"""Every code can be met, and says what its page shows: what, where, why and what to do, in at most 15 lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.errors import CODES
from jupyter_pipelines.reporting.explaining import explain
from tests.errors.saying import said
from tests.errors.scenarios import SCENARIOS

pytestmark = pytest.mark.kernel


def test_every_code_has_a_scenario() -> None:
    assert set(SCENARIOS) == CODES.keys()


@pytest.mark.parametrize("code", SCENARIOS)
def test_the_page_shows_what_is_said(code: str, tmp_path: Path) -> None:
    found = said(code, tmp_path)
    assert found == explain(code).example
    lines = found.splitlines()
    assert len(lines) <= 15
    assert lines[-1].startswith("   = help: ")
    assert "site-packages" not in found
    assert "Traceback" not in found
