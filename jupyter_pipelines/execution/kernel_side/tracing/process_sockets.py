"""The TCP sockets of this process and its children, from Linux's ``/proc``; empty on other systems.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from jupyter_pipelines.execution.kernel_side.tracing.file_marks import status_of

_LISTENING = "0A"
_GENERATIONS = 64


class TcpSocket(NamedTuple):
    """A TCP socket of this machine.

    Parameters
    ----------
    port : int
        Local port.
    host : str
        Remote address; empty for a listening socket.
    remote_port : int
        Remote port.
    inode : str
        The socket's inode, as in ``/proc/PID/fd``.
    """

    port: int
    host: str
    remote_port: int
    inode: str


def tcp_sockets() -> Iterator[TcpSocket]:
    """Yield the TCP sockets that this process can see."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/self/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                host, remote_port = _address(fields[2])
                listens = fields[3] == _LISTENING
                yield TcpSocket(_address(fields[1])[1], "" if listens else host, remote_port, fields[9])


def _address(text: str) -> tuple[str, int]:
    """Return host and port as ``/proc/net/tcp`` writes them: words of four bytes in the machine's order."""
    import socket
    import struct

    digits, _, port = text.partition(":")
    words = [int(digits[start : start + 8], 16) for start in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    host = socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)
    return host.removeprefix("::ffff:"), int(port, 16)


def has_tcp_socket(descriptors: Iterable[int]) -> bool:
    """Tell whether a TCP socket is among descriptors; the table of all sockets takes Linux milliseconds to read."""
    import socket

    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if _family_of(descriptor) in (socket.AF_INET, socket.AF_INET6):
                return True
    return False


def _family_of(descriptor: int) -> int:
    import socket

    blocks = os.get_blocking(descriptor)
    own = socket.socket(fileno=descriptor)
    try:
        return own.family
    finally:
        own.detach()
        # With a default timeout, the object has made the socket non-blocking, also for processes that share it.
        os.set_blocking(descriptor, blocks)


def sockets_of(process: int | str = "self") -> dict[str, int]:
    """Return the sockets that a process has open: by inode, a descriptor."""
    sockets = {}
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            status = status_of(f"/proc/{process}/fd/{descriptor}")
            if status is not None and stat.S_ISSOCK(status.st_mode):
                sockets[str(status.st_ino)] = int(descriptor)
    return sockets


def listens_here(port: int) -> bool:
    """Tell whether this process or one that it started listens on a local TCP port."""
    numbers = {entry.inode for entry in tcp_sockets() if not entry.host and entry.port == port}
    if not numbers:
        return False
    if not numbers.isdisjoint(sockets_of()):
        return True
    processes = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return any(_is_relative(process) and not numbers.isdisjoint(sockets_of(process)) for process in processes)


def is_foreign(process: int) -> bool:
    """Tell whether a process is certainly no descendant of this one; False for a process that has ended."""
    lineage = _lineage(process)
    return lineage is not None and len(lineage) > 1 and not _is_own_lineage(lineage)


def _is_relative(process: int) -> bool:
    """Tell whether a process belongs to the group of this process, or was started by it."""
    lineage = _lineage(process)
    return lineage is not None and _is_own_lineage(lineage)


def _is_own_lineage(lineage: list[tuple[int, int]]) -> bool:
    return any(process == os.getpid() or group == os.getpgrp() for process, group in lineage)


def _lineage(process: int) -> list[tuple[int, int]] | None:
    """Return a process and its ancestors, each with its process group; None if one of them has ended."""
    lineage: list[tuple[int, int]] = []
    while process > 1 and len(lineage) < _GENERATIONS:
        try:
            with open(f"/proc/{process}/stat", "rb") as file:
                # The name of the program stands in parentheses, and may itself hold blanks and parentheses.
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        lineage.append((process, int(fields[2])))
        process = int(fields[1])
    return lineage


def opened_connections() -> int | None:
    """Return the number of TCP connections opened in this network namespace since boot; None where not counted."""
    try:
        with open("/proc/self/net/snmp", encoding="ascii") as file:
            names, values = [line.split() for line in file if line.startswith("Tcp:")]
    except (OSError, ValueError):
        return None
    return int(values[names.index("ActiveOpens")]) if "ActiveOpens" in names else None


def mapped_libraries(parts: tuple[str, ...]) -> list[str]:
    """Return which of `parts` occur in the names of the shared libraries that this process has mapped."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    return [part for part in parts if part in text]
