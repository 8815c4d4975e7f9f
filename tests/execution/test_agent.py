"""The agent that runs parcels on other machines continues when its listeners disconnect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.execution.executors.remote.agent import ParcelAgent
from jupyter_pipelines.execution.executors.remote.parcels import pack
from tests.execution.sample_tickets import TicketFactory


@pytest.mark.kernel
def test_a_listener_that_is_gone_ends_nothing(tmp_path: Path) -> None:
    """The messages for it are lost; the outcome is not, and the next parcel runs, too."""
    factory = TicketFactory(tmp_path)

    def disconnected(news: dict[str, Any]) -> None:
        raise ConnectionError(str(news))

    agent = ParcelAgent(1)
    try:
        for number in range(2):
            parcel = pack(factory.ticket(f"print('hello')\nx = {number}", outputs="x"), factory.store)
            assert agent.run(parcel, disconnected, lambda: True)["outcome"]["state"] == "succeeded"
    finally:
        agent.close()
