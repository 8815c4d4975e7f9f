"""The agent that runs parcels on other machines continues when its listeners disconnect."""

from __future__ import annotations

import json
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


@pytest.mark.kernel
def test_what_is_printed_is_sent_as_text_that_every_message_can_hold(tmp_path: Path) -> None:
    """A step may print bytes that are no text, and a piece of the log may end within a character."""
    factory, pieces = TicketFactory(tmp_path), []

    def listen(news: dict[str, Any]) -> None:
        json.dumps(news, ensure_ascii=False).encode()  # raises for half a character
        pieces.append(news.get("log", ""))

    agent = ParcelAgent(1)
    try:
        code = "import os\nx = os.write(1, b'a\\xff' + 'é'.encode() * 20_000 + b'\\n')"
        parcel = pack(factory.ticket(code, outputs="x"), factory.store)
        assert agent.run(parcel, listen, lambda: True)["outcome"]["state"] == "succeeded"
    finally:
        agent.close()
    assert "a\ufffd" + "é" * 100 in "".join(pieces)
