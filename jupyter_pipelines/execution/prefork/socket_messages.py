"""JSON documents, with open files, over Unix sockets between processes of one user.

A frame is four bytes of length, one byte with the number of descriptors, and the document.
"""

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
        A connected stream socket.
    document : dict
        A JSON document.
    descriptors : sequence of int
        Open files; the receiver gets its own copies.

    Raises
    ------
    OSError
        The receiver has closed the connection.
    """
    data = json.dumps(document).encode()
    frame = len(data).to_bytes(_LENGTH, "big") + bytes([len(descriptors)]) + data
    sent = socket.send_fds(sock, [frame], descriptors) if descriptors else sock.send(frame)
    if frame[sent:]:  # a receiver that has it all may have gone already
        sock.sendall(frame[sent:])


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive the next document and its open files; None when the other side has closed the connection.

    If this process cannot open that many files, the document comes without any of them.

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
    # At the limit of open files the kernel drops descriptors without an error; a part of them is of no use.
    if len(descriptors) != head[_LENGTH]:
        close(descriptors)
        descriptors = []
    return document, descriptors


def close(descriptors: Sequence[int]) -> None:
    """Close received descriptors."""
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
