"""One process of the tree: it forks for whoever asks, passes on what concerns a branch, and sees to the dead."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from jupyter_pipelines.running.forking import messages, sound

_PATIENCE = 10.0
_FAREWELL = 5.0
_MOST_SPARES = 2
_TIDY = ("workers",)
"""Kinds that notice by themselves that nobody is there, and have something to put away before they end."""


@dataclass(slots=True, kw_only=True)
class Origin:
    """What a node was made with.

    Parameters
    ----------
    name : str
        What it has imported; the root has no name.
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


@dataclass(slots=True, kw_only=True)
class Branch:
    """A process that has imported one thing more."""

    pid: int
    link: socket.socket


class Node:
    """One process of the tree.

    Parameters
    ----------
    origin : Origin
        What it was made with.
    listener : socket.socket or None
        Where strangers come in; the root's only.
    """

    def __init__(self, origin: Origin, listener: socket.socket | None = None) -> None:
        self._origin = origin
        self._branches: dict[str, Branch] = {}
        self._children: dict[int, Child] = {}
        self._refused: dict[str, str] = {}
        self._wanted: set[Wanted] = set()
        self._number = 0
        self._selector = selectors.PollSelector()
        self._actions: dict[socket.socket, Callable[[], None]] = {}
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno())
        self._watch(self._woken, self._on_death)
        self._watch(origin.uplink, self._on_uplink)
        if listener is not None:
            self._watch(listener, partial(self._on_stranger, listener))

    def serve(self) -> NoReturn:
        """Fork for whoever asks.

        Raises
        ------
        Forked
            In a child.
        """
        while True:
            for key, _ in self._selector.select():
                # What was heard before in the same turn may have made an end of it.
                self._actions.get(key.fileobj, _nothing)()  # type: ignore[call-overload]

    def grow(self, name: str) -> Branch:
        """Fork a node that imports `name`."""
        mine, theirs = socket.socketpair()
        pid = self._fork()
        if pid == 0:
            mine.close()
            kind = self._origin.kind or name
            raise Forked(replace(self._origin, name=name, kind=kind, uplink=theirs))
        theirs.close()
        branch = self._branches[name] = Branch(pid=pid, link=mine)
        self._watch(mine, partial(self._on_branch, name, branch))
        return branch

    # What comes in

    def _watch(self, sock: socket.socket, action: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ)
        self._actions[sock] = action

    def _unwatch(self, sock: socket.socket) -> None:
        if self._actions.pop(sock, None) is not None:
            self._selector.unregister(sock)

    def _forget(self, sock: socket.socket) -> None:
        self._unwatch(sock)
        sock.close()

    def _want(self, client: socket.socket, request: dict[str, Any], descriptors: list[int]) -> Wanted:
        client.settimeout(_PATIENCE)
        wanted = Wanted(client=client, request=request, descriptors=descriptors)
        self._wanted.add(wanted)
        return wanted

    def _dismiss(self, wanted: Wanted) -> None:
        wanted.drop()
        self._forget(wanted.client)
        self._wanted.discard(wanted)

    def _on_stranger(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.settimeout(_PATIENCE)
        try:
            message = messages.receive(client)
        except (OSError, ValueError):
            message = None
        if message is None:
            client.close()
            return
        request, descriptors = message
        self._route([request["kind"], *request.get("shared", ())], self._want(client, request, descriptors))

    def _on_uplink(self) -> None:
        message = _hear(self._origin.uplink)
        if message is None:
            self._end()
        document, (client, *descriptors) = message
        self._route(document["path"], self._want(socket.socket(fileno=client), document["request"], descriptors))

    def _route(self, path: Sequence[str], wanted: Wanted) -> None:
        """Hand a request on to the branch that it names, or answer it here."""
        if not path:
            self._provide(wanted)
        elif path[0] not in self._refused:
            self._pass_on(path, wanted)
        elif self._origin.kind:
            wanted.request["own"] = [*path, *wanted.request.get("own", ())]
            self._provide(wanted)
        else:
            wanted.answer({"refused": self._refused[path[0]]})
            self._dismiss(wanted)

    def _pass_on(self, path: Sequence[str], wanted: Wanted) -> None:
        branch = self._branches.get(path[0]) or self.grow(path[0])
        document = {"path": list(path[1:]), "request": wanted.request}
        with contextlib.suppress(OSError):  # it has just ended; whoever asked hears of that by losing the connection
            messages.send(branch.link, document, [wanted.client.fileno(), *wanted.descriptors])
        self._dismiss(wanted)

    def _on_branch(self, name: str, branch: Branch) -> None:
        """Hear of a branch: it could not grow, it gives a request back, or it has ended."""
        message = _hear(branch.link)
        if message is None:
            self._refuse(name, "its process ended")
            self._branches.pop(name, None)
            self._forget(branch.link)
            return
        document, descriptors = message
        if "refused" in document:
            self._refuse(name, document["refused"])
            branch.link.shutdown(socket.SHUT_WR)
        else:
            client, *others = descriptors
            wanted = self._want(socket.socket(fileno=client), document["request"], others)
            self._route([name, *document["path"]], wanted)

    def _refuse(self, name: str, why: str) -> None:
        """Import something in children only, from now on."""
        if name not in self._refused:
            self._refused[name] = why
            _say(f"{name} is not shared: {why}")

    # Children

    def _provide(self, wanted: Wanted) -> None:
        """Find or fork the child that a request asks for; one without an order asks for a spare."""
        own = tuple(one for one in wanted.request.get("own", ()) if one not in self._refused)
        if "order" not in wanted.request:
            self._dismiss(wanted)
            self._prepare(own)
            return
        child = next((one for one in self._spares() if one.own == own), None) or self._fork_child(own)
        child.wanted = wanted
        self._watch(wanted.client, partial(self._on_client, child))
        self._hand_over(child)

    def _spares(self) -> list[Child]:
        return [one for one in self._children.values() if one.wanted is None and not one.at_work]

    def _prepare(self, own: tuple[str, ...]) -> None:
        """Have a spare child, unless there is one; the oldest goes when there are too many."""
        spares = self._spares()
        if any(one.own == own for one in spares):
            return
        for one in spares[: max(0, len(spares) - _MOST_SPARES + 1)]:
            _kill(one.pid)
        self._fork_child(own)

    def _fork_child(self, own: tuple[str, ...]) -> Child:
        self._number += 1
        folder = self._origin.folder / f"{os.getpid()}-{self._number}"
        folder.mkdir(mode=0o700)
        mine, theirs = socket.socketpair()
        pid = self._fork()
        if pid == 0:
            mine.close()
            raise Forked(Work(link=theirs, folder=folder, own=own, origin=self._origin))
        theirs.close()
        child = self._children[pid] = Child(pid=pid, link=mine, folder=folder, own=own)
        self._watch(mine, partial(self._on_child, child))
        return child

    def _on_child(self, child: Child) -> None:
        """Hear of a child: it is ready, one of its imports is not fit for a spare, or it cannot be what it should."""
        message = _hear(child.link)
        if message is None:
            self._unwatch(child.link)
        elif "unfit" in message[0]:
            self._refuse(message[0]["unfit"], message[0]["why"])
        elif "broken" in message[0]:
            _say(message[0]["broken"])
        else:
            child.facts = message[0]
            self._hand_over(child)

    def _hand_over(self, child: Child) -> None:
        """Bring a child that is ready together with whoever asked for it."""
        wanted = child.wanted
        if child.facts is None or wanted is None:
            return
        child.at_work = True
        with contextlib.suppress(OSError):
            messages.send(child.link, wanted.request["order"], wanted.descriptors)
        wanted.answer({"pid": child.pid, "folder": str(child.folder), **child.facts})
        wanted.drop()

    def _on_client(self, child: Child) -> None:
        """End the child of a client that has gone; clients say nothing else."""
        if child.wanted is not None:
            self._dismiss(child.wanted)
            child.wanted = None
        if self._origin.kind not in _TIDY:
            _kill(child.pid)

    def _on_death(self) -> None:
        """Take the dead off the system's list, orphans of steps included."""
        self._woken.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._children:
                    self._bury(self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, code: int) -> None:
        if child.facts is None and child.link in self._actions:
            self._on_child(child)  # it may have said why
        self._forget(child.link)
        shutil.rmtree(child.folder, ignore_errors=True)
        wanted = child.wanted
        if wanted is None:
            return
        self._unwatch(wanted.client)
        if not child.at_work and not self._refused.keys().isdisjoint(child.own):
            self._provide(wanted)
            return
        wanted.answer({"ended": code} if child.at_work else {"refused": f"it ended with {code}"})
        self._dismiss(wanted)

    # Forking and the end

    def _fork(self) -> int:
        """Fork, unless this process is no longer fit for that; the child lets go of all that is its parent's."""
        reason = sound.unfit()
        if reason:
            _say(f"no fork any more: {reason}")
            self._end()  # whoever asked does without
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for wanted in self._wanted:
                wanted.drop()
                wanted.client.close()
            for sock in (*self._actions, self._waker):
                sock.close()
            die_with_parent()
        return pid

    def _end(self) -> NoReturn:
        """End all that it forked."""
        for branch in self._branches.values():
            branch.link.close()
        if self._origin.kind not in _TIDY:
            for child in self._children.values():
                _kill(child.pid)
        end = time.monotonic() + _FAREWELL
        while _bury_one() and time.monotonic() < end:
            time.sleep(0.005)
        # What steps left behind belongs to this process.
        for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            _kill(int(pid))
        for child in self._children.values():
            shutil.rmtree(child.folder, ignore_errors=True)
        os._exit(0)


def _hear(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    try:
        return messages.receive(sock)
    except OSError:
        return None


def _bury_one() -> bool:
    """Take the dead off the system's list; tell whether there are others that live."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
        return True
    except ChildProcessError:
        return False


def _say(text: str) -> None:
    """Tell the owner of the tree."""
    os.write(2, f"{text}\n".encode())


def _nothing() -> None:
    """Do nothing."""


def _kill(pid: int) -> None:
    """Kill a child, and its group if it leads one by now."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


def die_with_parent() -> None:
    """Have the system kill this process when its parent ends."""
    _control(1, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of what is left behind by children that end."""
    _control(36, 1)


def _control(option: int, value: int) -> None:
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
