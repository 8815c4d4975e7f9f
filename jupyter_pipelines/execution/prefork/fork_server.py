"""One process of the zygote's tree: it forks on request, passes requests on to its branches, and reaps children."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

from jupyter_pipelines.execution.prefork import fork_safety, os_calls, socket_messages
from jupyter_pipelines.execution.prefork.process_tree import (
    ChildProcess,
    ChildTask,
    ForkExit,
    ForkRequest,
    ImportBranch,
    NodeConfig,
)

_PATIENCE = 10.0
_SHUTDOWN_GRACE = 5.0
_MOMENT = 0.05
_MAX_IDLE_CHILDREN = 2


class ForkServer:
    """The event loop of one process of the tree.

    Parameters
    ----------
    origin : NodeConfig
        Configuration of this process.
    listener : socket.socket or None
        The socket to which clients connect; only the root has one.
    """

    def __init__(self, origin: NodeConfig, listener: socket.socket | None = None) -> None:
        self._origin = origin
        self._branches: dict[str, ImportBranch] = {}
        self._children: dict[int, ChildProcess] = {}
        self._refused: dict[str, str] = {}
        self._wanted: set[ForkRequest] = set()
        self._number = 0
        self._selector = selectors.PollSelector()
        self._actions: dict[socket.socket, Callable[[], None]] = {}
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        # SIGCHLD becomes a readable socket, so that exits are handled in the loop and never between two of its steps.
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._watch(self._woken, self._on_death)
        self._watch(origin.uplink, self._on_uplink)
        if listener is not None:
            self._watch(listener, partial(self._on_connection, listener))

    def serve(self) -> NoReturn:
        """Serve requests for forks.

        Raises
        ------
        ForkExit
            In a child.
        """
        while True:
            for key, _ in self._selector.select():
                # An earlier event of the same turn may have closed the socket.
                self._actions.get(key.fileobj, _nothing)()  # type: ignore[call-overload]

    def grow(self, name: str) -> ImportBranch:
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
                raise ForkExit(replace(self._origin, name=name, kind=kind, uplink=uplink))
        mine.settimeout(_PATIENCE)
        branch = self._branches[name] = ImportBranch(pid=pid, link=mine)
        self._watch(mine, partial(self._on_branch, name, branch))
        return branch

    # Incoming messages

    def _watch(self, sock: socket.socket, action: Callable[[], None]) -> None:
        self._selector.register(sock, selectors.EVENT_READ)
        self._actions[sock] = action

    def _unwatch(self, sock: socket.socket) -> None:
        if self._actions.pop(sock, None) is not None:
            self._selector.unregister(sock)

    def _forget(self, sock: socket.socket) -> None:
        self._unwatch(sock)
        sock.close()

    def _add_request(self, client: socket.socket, request: dict[str, Any], descriptors: list[int]) -> ForkRequest:
        client.settimeout(_PATIENCE)
        fork_request = ForkRequest(client=client, request=request, descriptors=descriptors)
        self._wanted.add(fork_request)
        return fork_request

    def _dismiss(self, fork_request: ForkRequest) -> None:
        fork_request.drop()
        self._forget(fork_request.client)
        self._wanted.discard(fork_request)

    def _refuse_request(self, fork_request: ForkRequest, why: str) -> None:
        fork_request.answer({"refused": why})
        self._dismiss(fork_request)

    def _on_connection(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            time.sleep(_MOMENT)  # too many files are open; the client waits
            return
        client.settimeout(_PATIENCE)
        try:
            message = socket_messages.receive(client)
        except (OSError, ValueError):
            message = None
        if message is None or "kind" not in message[0]:
            socket_messages.close(message[1] if message else ())
            client.close()
            return
        request, descriptors = message
        fork_request = self._add_request(client, request, descriptors)
        self._route([request["kind"], *filter(None, [request.get("cwd")]), *request.get("shared", ())], fork_request)

    def _on_uplink(self) -> None:
        message = _receive(self._origin.uplink)
        if message is None:
            self._end()
        document, descriptors = message
        if descriptors:  # without them too many files are open, and the client loses its connection
            client, *others = descriptors
            self._route(document["path"], self._add_request(socket.socket(fileno=client), document["request"], others))

    def _route(self, path: Sequence[str], fork_request: ForkRequest) -> None:
        """Pass a request on to the branch that its path names next, or serve it here at the end of the path."""
        if not path:
            self._provide(fork_request)
        elif path[0] not in self._refused:
            self._pass_on(path, fork_request)
        elif self._origin.kind:
            # The child imports by itself what could not be shared.
            self._route(path[1:], fork_request)
        else:
            self._refuse_request(fork_request, self._refused[path[0]])

    def _pass_on(self, path: Sequence[str], fork_request: ForkRequest) -> None:
        """Send a request to a branch, started if need be; while the branch imports, the request waits here."""
        # The client's connection goes along as a descriptor: the branch answers the client directly.
        try:
            branch = self._branches.get(path[0]) or self.grow(path[0])
        except OSError as error:
            self._refuse_request(fork_request, str(error))
            return
        if not branch.ready:
            branch.waiting.append((path, fork_request))
            return
        document = {"path": list(path[1:]), "request": fork_request.request}
        try:
            socket_messages.send(branch.link, document, [fork_request.client.fileno(), *fork_request.descriptors])
        except OSError:  # it has just ended
            self._lose(path[0], branch, "its process ended")
            self._route(path, fork_request)
        else:
            self._dismiss(fork_request)

    def _on_branch(self, name: str, branch: ImportBranch) -> None:
        """Read a message of a branch: it is ready, it could not import, or it has ended."""
        message = _receive(branch.link)
        waiting, branch.waiting = branch.waiting, []
        if message is not None and "ready" in message[0]:
            branch.ready = True
        else:
            self._lose(name, branch, message[0]["refused"] if message else "its process ended")
        for path, fork_request in waiting:
            self._route(path, fork_request)

    def _lose(self, name: str, branch: ImportBranch, why: str) -> None:
        self._refuse(name, why)
        self._branches.pop(name, None)
        self._forget(branch.link)

    def _refuse(self, name: str, why: str) -> None:
        """Never share `name` again: children import it by themselves."""
        if name not in self._refused:
            self._refused[name] = why
            _report(f"{name} is not shared: {why}")

    # Children

    def _provide(self, fork_request: ForkRequest) -> None:
        """Serve a request with an idle child or a new one; a request without an order only prepares an idle child."""
        own = tuple(module for module in fork_request.request.get("own", ()) if module not in self._refused)
        if "order" not in fork_request.request:
            self._dismiss(fork_request)
            self._prepare(own)
            return
        self._reap()  # a spare may have died
        try:
            child = next((spare for spare in self._idle_children() if spare.own == own), None) or self._fork_child(own)
        except OSError as error:
            self._refuse_request(fork_request, str(error))
            return
        child.wanted = fork_request
        self._watch(fork_request.client, partial(self._on_client, child))
        self._hand_over(child)

    def _idle_children(self) -> list[ChildProcess]:
        return [child for child in self._children.values() if child.is_idle()]

    def _prepare(self, own: tuple[str, ...]) -> None:
        """Fork an idle child, unless there is one already; end the oldest when there are too many."""
        spares = self._idle_children()
        if any(spare.own == own for spare in spares):
            return
        for spare in spares[: max(0, len(spares) - _MAX_IDLE_CHILDREN + 1)]:
            self._kill(spare)
        with contextlib.suppress(OSError):  # the next request forks its own child
            self._fork_child(own)

    def _fork_child(self, own: tuple[str, ...]) -> ChildProcess:
        self._number += 1
        folder = self._origin.folder / f"{os.getpid()}-{self._number}"
        folder.mkdir(mode=0o700)
        mine, theirs = socket.socketpair()
        with theirs:
            pid = self._fork_or_close(mine)
            if pid == 0:
                mine.close()
                raise ForkExit(ChildTask(link=theirs.dup(), folder=folder, own=own, origin=self._origin))
        mine.settimeout(_PATIENCE)
        child = self._children[pid] = ChildProcess(pid=pid, link=mine, folder=folder, own=own)
        self._watch(mine, partial(self._on_child, child))
        return child

    def _on_child(self, child: ChildProcess) -> None:
        """Read a message of a child: it is ready, it refuses a preimport, or it cannot start."""
        message = _receive(child.link)
        if message is None:
            self._unwatch(child.link)
            return
        child.doomed = "ready" not in message[0]
        if "unfit" in message[0]:
            self._refuse(message[0]["unfit"], message[0]["why"])
        elif "broken" in message[0]:
            _report(message[0]["broken"])
        else:
            child.facts = message[0]["ready"]
            self._hand_over(child)

    def _hand_over(self, child: ChildProcess) -> None:
        """Send the order of a client to its child, once the child is ready."""
        fork_request = child.wanted
        if child.facts is None or fork_request is None:
            return
        try:
            socket_messages.send(child.link, fork_request.request["order"], fork_request.descriptors)
        except OSError:  # it has just died; reaping it reports that
            return
        child.at_work = True
        fork_request.answer({"pid": child.pid, "folder": str(child.folder), **child.facts})
        fork_request.drop()

    def _on_client(self, child: ChildProcess) -> None:
        """Handle the end of a client's connection (clients send nothing after the request): end its child."""
        if child.wanted is not None:
            self._dismiss(child.wanted)
            child.wanted = None
        if not self._cleans_up_alone():
            self._kill(child)

    def _cleans_up_alone(self) -> bool:
        """Tell whether children of this kind notice by themselves that their client is gone, and clean up."""
        return bool(self._origin.kind) and sys.modules[self._origin.kind].CLEANS_UP_ALONE

    def _kill(self, child: ChildProcess) -> None:
        child.doomed = True
        os_calls.kill(child.pid)

    def _on_death(self) -> None:
        self._woken.recv(4096)
        self._reap()

    def _reap(self) -> None:
        """Reap children that have ended, orphans of steps included."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._children:
                    self._on_child_exit(self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _on_child_exit(self, child: ChildProcess, code: int) -> None:
        # SIGCHLD may be handled before the child's last message, which says why it ended.
        if child.facts is None and child.link in self._actions:
            self._on_child(child)  # it may have reported why
        self._forget(child.link)
        shutil.rmtree(child.folder, ignore_errors=True)
        if child.facts is None and not child.doomed:
            for name in child.own:
                self._refuse(name, f"a process that imported it ended with {code}")
        fork_request = child.wanted
        if fork_request is None:
            return
        self._unwatch(fork_request.client)
        # One of its own imports is refused by now: without it, another child may start.
        if not child.at_work and not self._refused.keys().isdisjoint(child.own):
            self._provide(fork_request)
            return
        fork_request.answer({"ended": code} if child.at_work else {"refused": f"it ended with {code}"})
        self._dismiss(fork_request)

    # Forking and the end

    def _fork_or_close(self, link: socket.socket) -> int:
        try:
            return self._fork()
        except OSError:
            link.close()
            raise

    def _fork(self) -> int:
        """Fork, unless that would be unsafe; the child closes all sockets of its parent."""
        # Checked each time: a thread started later would leave its locks held for ever in the child.
        reason = fork_safety.why_fork_unsafe()
        if reason:
            raise OSError(f"no fork any more: {reason}")
        pid = os_calls.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            # A copy of a client's connection in the child would keep it open after its owner has closed it.
            for fork_request in self._wanted:
                fork_request.drop()
                fork_request.client.close()
            for sock in (*self._actions, self._waker):
                sock.close()
        return pid

    def _end(self) -> NoReturn:
        """End this process and all of its children; never returns."""
        # Branches end by themselves when their link closes, after they have ended their own children.
        for branch in self._branches.values():
            branch.link.close()
        if not self._cleans_up_alone():
            # What steps left behind belongs to this process, too.
            for pid in set(os_calls.children()) - {branch.pid for branch in self._branches.values()}:
                os_calls.kill(pid)
        end = time.monotonic() + _SHUTDOWN_GRACE
        while os_calls.reap_children() and time.monotonic() < end:
            time.sleep(0.005)
        for pid in os_calls.children():
            os_calls.kill(pid)
        mine = [child.folder for child in self._children.values()] if self._origin.kind else [self._origin.folder]
        for folder in mine:
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def _receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    try:
        return socket_messages.receive(sock)
    except (OSError, ValueError):
        return None


def _report(text: str) -> None:
    """Write a line to the standard error that the owner of the tree reads."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())


def _nothing() -> None:
    """Do nothing."""
