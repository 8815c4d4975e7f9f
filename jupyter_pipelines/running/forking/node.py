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
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from jupyter_pipelines.running.forking import messages, sound, system
from jupyter_pipelines.running.forking.kin import Branch, Child, Forked, Origin, Wanted, Work

_PATIENCE = 10.0
_FAREWELL = 5.0
_MOMENT = 0.05
_MOST_SPARES = 2
_TIDY = ("workers",)
"""Kinds that notice by themselves that nobody is there, and have something to put away before they end."""


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
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
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
        """Fork a node that imports `name`.

        Raises
        ------
        OSError
            It cannot be forked.
        """
        mine, theirs = socket.socketpair()
        with theirs:
            pid = self._fork_or_close(mine)
            if pid == 0:
                mine.close()
                kind = self._origin.kind or name
                uplink = theirs.dup()
                raise Forked(replace(self._origin, name=name, kind=kind, uplink=uplink))
        mine.settimeout(_PATIENCE)
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

    def _turn_away(self, wanted: Wanted, why: str) -> None:
        wanted.answer({"refused": why})
        self._dismiss(wanted)

    def _on_stranger(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            time.sleep(_MOMENT)  # too many files are open; whoever knocks waits
            return
        client.settimeout(_PATIENCE)
        try:
            message = messages.receive(client)
        except (OSError, ValueError):
            message = None
        if message is None or "kind" not in message[0]:
            messages.close(message[1] if message else ())
            client.close()
            return
        request, descriptors = message
        wanted = self._want(client, request, descriptors)
        self._route([request["kind"], *filter(None, [request.get("cwd")]), *request.get("shared", ())], wanted)

    def _on_uplink(self) -> None:
        message = _hear(self._origin.uplink)
        if message is None:
            self._end()
        document, descriptors = message
        if descriptors:  # else there was no room for them, and whoever asked hears that the connection is lost
            client, *others = descriptors
            self._route(document["path"], self._want(socket.socket(fileno=client), document["request"], others))

    def _route(self, path: Sequence[str], wanted: Wanted) -> None:
        """Hand a request on to the branch that it names, or answer it here."""
        if not path:
            self._provide(wanted)
        elif path[0] not in self._refused:
            self._pass_on(path, wanted)
        elif self._origin.kind:
            self._route(path[1:], wanted)
        else:
            self._turn_away(wanted, self._refused[path[0]])

    def _pass_on(self, path: Sequence[str], wanted: Wanted) -> None:
        """Give a request to a branch; one that still imports reads nothing, and may never do so."""
        try:
            branch = self._branches.get(path[0]) or self.grow(path[0])
        except OSError as error:
            self._turn_away(wanted, str(error))
            return
        if not branch.ready:
            branch.waiting.append((path, wanted))
            return
        document = {"path": list(path[1:]), "request": wanted.request}
        try:
            messages.send(branch.link, document, [wanted.client.fileno(), *wanted.descriptors])
        except OSError:  # it has just ended
            self._lose(path[0], branch, "its process ended")
            self._route(path, wanted)
        else:
            self._dismiss(wanted)

    def _on_branch(self, name: str, branch: Branch) -> None:
        """Hear of a branch: it is ready, it could not grow, or it has ended."""
        message = _hear(branch.link)
        waiting, branch.waiting = branch.waiting, []
        if message is not None and "ready" in message[0]:
            branch.ready = True
        else:
            self._lose(name, branch, message[0]["refused"] if message else "its process ended")
        for path, wanted in waiting:
            self._route(path, wanted)

    def _lose(self, name: str, branch: Branch, why: str) -> None:
        self._refuse(name, why)
        self._branches.pop(name, None)
        self._forget(branch.link)

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
        self._reap()  # a spare may have died
        try:
            child = next((one for one in self._spares() if one.own == own), None) or self._fork_child(own)
        except OSError as error:
            self._turn_away(wanted, str(error))
            return
        child.wanted = wanted
        self._watch(wanted.client, partial(self._on_client, child))
        self._hand_over(child)

    def _spares(self) -> list[Child]:
        return [one for one in self._children.values() if one.is_spare()]

    def _prepare(self, own: tuple[str, ...]) -> None:
        """Have a spare child, unless there is one; the oldest goes when there are too many."""
        spares = self._spares()
        if any(one.own == own for one in spares):
            return
        for one in spares[: max(0, len(spares) - _MOST_SPARES + 1)]:
            self._kill(one)
        with contextlib.suppress(OSError):  # whoever comes next asks by itself
            self._fork_child(own)

    def _fork_child(self, own: tuple[str, ...]) -> Child:
        self._number += 1
        folder = self._origin.folder / f"{os.getpid()}-{self._number}"
        folder.mkdir(mode=0o700)
        mine, theirs = socket.socketpair()
        with theirs:
            pid = self._fork_or_close(mine)
            if pid == 0:
                mine.close()
                raise Forked(Work(link=theirs.dup(), folder=folder, own=own, origin=self._origin))
        mine.settimeout(_PATIENCE)
        child = self._children[pid] = Child(pid=pid, link=mine, folder=folder, own=own)
        self._watch(mine, partial(self._on_child, child))
        return child

    def _on_child(self, child: Child) -> None:
        """Hear of a child: it is ready, one of its imports is not fit for a spare, or it cannot be what it should."""
        message = _hear(child.link)
        if message is None:
            self._unwatch(child.link)
            return
        child.doomed = "ready" not in message[0]
        if "unfit" in message[0]:
            self._refuse(message[0]["unfit"], message[0]["why"])
        elif "broken" in message[0]:
            _say(message[0]["broken"])
        else:
            child.facts = message[0]["ready"]
            self._hand_over(child)

    def _hand_over(self, child: Child) -> None:
        """Bring a child that is ready together with whoever asked for it."""
        wanted = child.wanted
        if child.facts is None or wanted is None:
            return
        try:
            messages.send(child.link, wanted.request["order"], wanted.descriptors)
        except OSError:  # it has just died; whoever buries it says so
            return
        child.at_work = True
        wanted.answer({"pid": child.pid, "folder": str(child.folder), **child.facts})
        wanted.drop()

    def _on_client(self, child: Child) -> None:
        """End the child of a client that has gone; clients say nothing else."""
        if child.wanted is not None:
            self._dismiss(child.wanted)
            child.wanted = None
        if self._origin.kind not in _TIDY:
            self._kill(child)

    def _kill(self, child: Child) -> None:
        child.doomed = True
        system.kill(child.pid)

    def _on_death(self) -> None:
        self._woken.recv(4096)
        self._reap()

    def _reap(self) -> None:
        """Take the dead off the system's list, orphans of steps included."""
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
        if child.facts is None and not child.doomed:
            for name in child.own:
                self._refuse(name, f"a process that imported it ended with {code}")
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

    def _fork_or_close(self, link: socket.socket) -> int:
        try:
            return self._fork()
        except OSError:
            link.close()
            raise

    def _fork(self) -> int:
        """Fork, unless this process is no longer fit for that; the child lets go of all that is its parent's."""
        reason = sound.unfit()
        if reason:
            raise OSError(f"no fork any more: {reason}")
        pid = system.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for wanted in self._wanted:
                wanted.drop()
                wanted.client.close()
            for sock in (*self._actions, self._waker):
                sock.close()
        return pid

    def _end(self) -> NoReturn:
        """End all that it forked."""
        for branch in self._branches.values():
            branch.link.close()
        if self._origin.kind not in _TIDY:
            # What steps left behind belongs to this process, too.
            for pid in set(system.children()) - {branch.pid for branch in self._branches.values()}:
                system.kill(pid)
        end = time.monotonic() + _FAREWELL
        while system.bury_one() and time.monotonic() < end:
            time.sleep(0.005)
        for pid in system.children():
            system.kill(pid)
        mine = [child.folder for child in self._children.values()] if self._origin.kind else [self._origin.folder]
        for folder in mine:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def _hear(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    try:
        return messages.receive(sock)
    except (OSError, ValueError):
        return None


def _say(text: str) -> None:
    """Tell the owner of the tree."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _nothing() -> None:
    """Do nothing."""
