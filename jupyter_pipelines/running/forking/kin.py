"""What a process of the tree knows: of itself, of its children, of its branches, of whoever asked for a child."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.running.forking import messages


@dataclass(slots=True, kw_only=True)
class Origin:
    """What a node was made with.

    Parameters
    ----------
    name : str
        What it has imported, or the folder that it has entered; the root has no name.
    kind : str
        What its children become; the root has none.
    uplink : socket.socket
        To its parent, or to the owner of the root.
    folder : Path
        Where its children get folders of their own.
    settings : dict
        What children are told when they boot.
    """

    name: str
    kind: str
    uplink: socket.socket
    folder: Path
    settings: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Work:
    """What a child is to do.

    Parameters
    ----------
    link : socket.socket
        To its parent.
    folder : Path
        Private to it.
    own : tuple of str
        What it imports before anything else.
    origin : Origin
        What its parent was made with.
    """

    link: socket.socket
    folder: Path
    own: tuple[str, ...]
    origin: Origin


class Forked(BaseException):
    """Raised in a child; no error, but what takes it out of its parent's loop.

    Parameters
    ----------
    task : Origin or Work
        What it is to be: another node, or something that does the work.
    """

    def __init__(self, task: Origin | Work) -> None:
        super().__init__()
        self.task = task


@dataclass(slots=True, kw_only=True, eq=False)
class Wanted:
    """A child that somebody asked for."""

    client: socket.socket
    request: dict[str, Any]
    descriptors: list[int]

    def answer(self, document: dict[str, Any]) -> None:
        """Tell whoever asked, if they are still there."""
        with contextlib.suppress(OSError):
            messages.send(self.client, document)

    def drop(self) -> None:
        """Let go of the files that came with the request."""
        messages.close(self.descriptors)
        self.descriptors = []


@dataclass(slots=True, kw_only=True, eq=False)
class Child:
    """A process that was forked to become something for somebody; a spare waits for that."""

    pid: int
    link: socket.socket
    folder: Path
    own: tuple[str, ...]
    facts: dict[str, Any] | None = None
    wanted: Wanted | None = None
    at_work: bool = False
    doomed: bool = False
    """It has been killed, or has said why it cannot be what it should."""

    def is_spare(self) -> bool:
        """Tell whether it waits for somebody."""
        return self.wanted is None and not self.at_work and not self.doomed


@dataclass(slots=True, kw_only=True, eq=False)
class Branch:
    """A process that imports one thing more; until it has, requests wait for it here."""

    pid: int
    link: socket.socket
    ready: bool = False
    waiting: list[tuple[Sequence[str], Wanted]] = field(default_factory=list)
