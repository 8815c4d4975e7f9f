"""Ports for servers that tests start."""

from __future__ import annotations

import os
import socket
from itertools import count

_FIRST, _EACH = 21_000, 1_000
# Where tests run twice on a machine they begin in different places.
_turns = count(7 * os.getpid() % _EACH)


def free_port() -> int:
    """Return a port on which no process listens, and which no other test gets before it is used.

    Each process of the tests has a range of its own, below the range from which the system takes ports for connections.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 11
    for turn in _turns:
        port = _FIRST + worker * _EACH + turn % _EACH
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError
