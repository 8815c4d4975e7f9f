"""JSON documents over a socket between processes of one user, open files along with them."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

_LENGTH = 4
_HEAD = _LENGTH + 1
_MOST_DESCRIPTORS = 8


def send(sock: socket.socket, document: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a document and open files.

    Parameters
    ----------
    sock : socket.socket
        A connected stream.
    document : dict
        JSON.
    descriptors : sequence of int
        Open files; the receiver gets its own copies.

    Raises
    ------
    OSError
        The receiver has gone.
    """
    data = json.dumps(document).encode()
    frame = len(data).to_bytes(_LENGTH, "big") + bytes([len(descriptors)]) + data
    sent = socket.send_fds(sock, [frame], descriptors) if descriptors else sock.send(frame)
    if frame[sent:]:  # a receiver that has it all may have gone already
        sock.sendall(frame[sent:])


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Return the next document and the files that came along; None when the other side has gone.

    When this process can open no more files, the document comes without them.

    Raises
    ------
    OSError
        The connection broke in the middle of a document.
    """
    head, descriptors, _, _ = socket.recv_fds(sock, _HEAD, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC)
    if not head:
        return None
    try:
        head += _exactly(sock, _HEAD - len(head))
        document = json.loads(_exactly(sock, int.from_bytes(head[:_LENGTH], "big")))
    except (OSError, ValueError):
        close(descriptors)
        raise
    if len(descriptors) != head[_LENGTH]:
        close(descriptors)
        descriptors = []
    return document, descriptors


def close(descriptors: Sequence[int]) -> None:
    """Close files that were received and passed on."""
    for descriptor in descriptors:
        os.close(descriptor)


def _exactly(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        block = sock.recv(size - len(received))
        if not block:
            raise ConnectionResetError("the connection ended in the middle of a document")
        received += block
    return received
