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
    """The configuration of a node of the tree.

    Parameters
    ----------
    name : str
        The package that it imports, or the folder that it enters; empty for the root.
    kind : str
        The module that makes its children, see :mod:`.zygote`; empty for the root.
    uplink : socket.socket
        Connection to its parent; that of the root leads to the owner of the zygote.
    folder : Path
        The folder in which its children get private folders.
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
        Connection to its parent.
    folder : Path
        Its private folder.
    own : tuple of str
        Modules that it imports before it boots.
    origin : NodeConfig
        Configuration of its parent.
    """

    link: socket.socket
    folder: Path
    own: tuple[str, ...]
    origin: NodeConfig


class ForkExit(BaseException):
    """Raised in a child after the fork to leave its parent's loop; not an error.

    The child's work must not run below the frames of the parent's loop, which hold the parent's objects.

    Parameters
    ----------
    task : NodeConfig or ChildTask
        The task of the child: to serve as another node, or to do the work of its kind.
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
    """The child has been killed, or has reported why it cannot start."""

    def is_idle(self) -> bool:
        """Tell whether it waits for a request."""
        return self.wanted is None and not self.at_work and not self.doomed


@dataclass(slots=True, kw_only=True, eq=False)
class ImportBranch:
    """A child node that imports one more package; until it is ready, its requests wait here."""

    pid: int
    link: socket.socket
    ready: bool = False
    waiting: list[tuple[Sequence[str], ForkRequest]] = field(default_factory=list)
