"""Every code can be met, and says what its page shows: what, where, why and what to do, in at most 15 lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.errors import CODES
from jupyter_pipelines.reporting.error_docs import explain
from tests.errors.error_scenarios import SCENARIOS
from tests.errors.messages import message_of

pytestmark = pytest.mark.kernel


def test_every_code_has_a_scenario() -> None:
    assert set(SCENARIOS) == CODES.keys()


@pytest.mark.parametrize("code", SCENARIOS)
def test_the_page_shows_what_is_said(code: str, tmp_path: Path) -> None:
    message = message_of(code, tmp_path)
    assert message == explain(code).example
    lines = message.splitlines()
    assert len(lines) <= 15
    assert lines[-1].startswith("   = help: ")
    assert "site-packages" not in message
    assert "Traceback" not in message
