"""Records that a process of the tree keeps: its own configuration, children, branches, and requests for children."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_pipelines.execution.prefork import socket_messages


@dataclass(slots=True, kw_only=True)
class NodeConfig:
    """What a node was made with.

    Parameters
    ----------
    name : str
        What it has imported, or the folder that it has entered; the root has no name.
    kind : str
        What its children become: the name of a module, see :mod:`.zygote`; the root has none.
    uplink : socket.socket
        To its parent, or to the owner of the root.
    folder : Path
        Where its children get folders of their own.
    settings : dict
        Passed to children when they boot.
    """

    name: str
    kind: str
    uplink: socket.socket
    folder: Path
    settings: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class ChildTask:
    """The task of a child process.

    Parameters
    ----------
    link : socket.socket
        To its parent.
    folder : Path
        Private to it.
    own : tuple of str
        What it imports before anything else.
    origin : NodeConfig
        What its parent was made with.
    """

    link: socket.socket
    folder: Path
    own: tuple[str, ...]
    origin: NodeConfig


class ForkExit(BaseException):
    """Raised in a child after the fork to leave its parent's loop; not an error.

    Parameters
    ----------
    task : Origin or ChildTask
        What it is to be: another node, or something that does the work.
    """

    def __init__(self, task: NodeConfig | ChildTask) -> None:
        super().__init__()
        self.task = task


@dataclass(slots=True, kw_only=True, eq=False)
class ForkRequest:
    """A client's request for a child process."""

    client: socket.socket
    request: dict[str, Any]
    descriptors: list[int]

    def answer(self, document: dict[str, Any]) -> None:
        """Answer the client, if it is still connected."""
        with contextlib.suppress(OSError):
            socket_messages.send(self.client, document)

    def drop(self) -> None:
        """Close the files that came with the request."""
        socket_messages.close(self.descriptors)
        self.descriptors = []


@dataclass(slots=True, kw_only=True, eq=False)
class ChildProcess:
    """A forked process that serves a client; an idle child waits for a request."""

    pid: int
    link: socket.socket
    folder: Path
    own: tuple[str, ...]
    facts: dict[str, Any] | None = None
    wanted: ForkRequest | None = None
    at_work: bool = False
    doomed: bool = False
    """It has been killed, or has reported why it cannot start."""

    def is_idle(self) -> bool:
        """Tell whether it waits for a request."""
        return self.wanted is None and not self.at_work and not self.doomed


@dataclass(slots=True, kw_only=True, eq=False)
class ImportBranch:
    """A node that imports one package more; until it is ready, requests wait here."""

    pid: int
    link: socket.socket
    ready: bool = False
    waiting: list[tuple[Sequence[str], ForkRequest]] = field(default_factory=list)
