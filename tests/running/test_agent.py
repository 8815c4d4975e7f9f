"""What runs parcels on other machines goes on, whatever becomes of those who listen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.running.elsewhere.agent import Agent
from jupyter_pipelines.running.elsewhere.packing import pack
from tests.running.tickets import Workshop


@pytest.mark.kernel
def test_a_listener_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    """What it was told is lost; the outcome is not, and the next parcel has one, too."""
    shop = Workshop(tmp_path)

    def tell(news: dict[str, Any]) -> None:
        raise ConnectionError(str(news))

    agent = Agent(1)
    try:
        for number in range(2):
            parcel = pack(shop.ticket(f"print('hello')\nx = {number}", outputs="x"), shop.store)
            assert agent.run(parcel, tell, lambda: True)["outcome"]["state"] == "succeeded"
    finally:
        agent.close()
