"""Process identity: which process wrote a file, and whether it is still alive.

A process is identified by its pid, its start time and the boot of its machine: pids alone are reused. For a process of
another machine or container the state is ``unknown``.
"""

from __future__ import annotations

import os
import platform
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

State = Literal["alive", "dead", "unknown"]
_FIELDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIdentity:
    """The identity of a process.

    Parameters
    ----------
    pid : int
        Its number.
    started : str
        When it started: clock ticks since boot on Linux, else milliseconds since the epoch.
    boot : str
        Checksum of the boot id of its machine.
    host : str
        Checksum of the host name.
    space : str
        Its pid namespace (Linux): each container has its own pids.
    """

    pid: int
    started: str
    boot: str
    host: str
    space: str

    @classmethod
    def current(cls) -> ProcessIdentity:
        """Return the identity of the calling process."""
        return _identity_of(os.getpid())

    def state(self) -> State:
        """Tell whether the process still runs."""
        current = ProcessIdentity.current()
        if self.host != current.host:
            return "unknown"
        # Before the namespace: after a reboot no process of the old boot lives, in whatever container it was.
        if self.boot != current.boot:
            return "dead"
        if self.space != current.space:
            return "unknown"
        return "alive" if _started(self.pid) == self.started else "dead"

    def token(self) -> str:
        """Return the identity as a piece of a file name; :func:`parse_token` reads it back."""
        return ".".join((str(self.pid), self.started, self.boot, self.host, self.space))

    def to_dict(self) -> dict[str, Any]:
        """Return the identity as a JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> ProcessIdentity:
        """Return the identity from the object of :meth:`to_dict`."""
        texts = {name: str(document[name]) for name in ("started", "boot", "host", "space")}
        return cls(pid=int(document["pid"]), **texts)


def parse_token(name: str) -> ProcessIdentity | None:
    """Return the identity that a file name starts with, or None."""
    parts = name.split(".")
    if len(parts) < _FIELDS or not (parts[0].isascii() and parts[0].isdigit()):
        return None
    started, boot, host, space = parts[1:_FIELDS]
    return ProcessIdentity(pid=int(parts[0]), started=started, boot=boot, host=host, space=space)


@cache
def _identity_of(pid: int) -> ProcessIdentity:
    return ProcessIdentity(
        pid=pid, started=_started(pid) or "0", boot=_boot(), host=_checksum(platform.node()), space=_space()
    )


def _started(pid: int) -> str | None:
    """Return the start time of a process, or None if it does not run; a zombie counts as ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError:
        return None if _has_proc() else _started_elsewhere(pid)
    except OSError:
        return None
    # The program name stands in brackets and may itself contain spaces and brackets.
    fields = text[text.rindex(b")") + 2 :].split()
    # Field 22 of proc(5), starttime; pid and name are cut off. X is a dead process that is still listed.
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


@cache
def _has_proc() -> bool:
    return Path("/proc/self/stat").exists()


def _started_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return str(round(process.create_time() * 1000))
    except psutil.Error:
        return None


@cache
def _boot() -> str:
    try:
        return _checksum(Path("/proc/sys/kernel/random/boot_id").read_text())
    except OSError:
        import psutil

        return str(round(psutil.boot_time()))


@cache
def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.strip().encode()):08x}"
