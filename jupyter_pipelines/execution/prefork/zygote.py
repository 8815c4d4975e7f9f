"""The zygote: a tree of processes that import and then only fork; each branch imports one package more.

Started as ``python -m jupyter_pipelines.execution.prefork.zygote LISTENER`` with a socket as its stdin. The root knows
the standard library only. Its branches are the kinds of processes that clients ask for; below a kind there is a branch
for each folder to work in, since imports look there, too; and below that a branch for each package that several steps
import, in the order of the requests. A kind is the dotted name of a module with ``prepare``, ``enter``,
``watch_imports``, ``take_stock``, ``boot``, ``run`` and ``CLEANS_UP_ALONE``; clients give it, so that this package
knows none of the modules above it.

An import that is not fork-safe or does not end ends its branch only; children then import that package by themselves.

A node has one thread, no event loop, and nothing open but its own sockets. When its owner ends, it ends all it forked.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from jupyter_pipelines.execution.prefork import fork_safety, os_calls, random_state, socket_messages
from jupyter_pipelines.execution.prefork.fork_server import ForkServer
from jupyter_pipelines.execution.prefork.process_tree import ChildTask, ForkExit, NodeConfig


def run(node: ForkServer, grow: Sequence[str] = ()) -> None:
    """Serve requests; in a forked child, leave the parent's frames and do the child's task.

    Parameters
    ----------
    node : ForkServer
        The loop of this process.
    grow : sequence of str
        Branches to start at once.
    """
    try:
        with contextlib.suppress(OSError):  # they grow when they are asked for
            for name in grow:
                node.grow(name)
        node.serve()
    except ForkExit as forked:
        task = forked.task
    if isinstance(task, ChildTask):
        _run_child(task)
    else:
        _run_node(task)


def _run_node(origin: NodeConfig) -> None:
    """Import one more package and serve as a node, or report why that is not possible."""
    os_calls.adopt_orphans()
    problem = _import(origin)
    with contextlib.suppress(OSError):
        socket_messages.send(origin.uplink, {"refused": problem} if problem else {"ready": True})
    if problem:
        _leave()
    run(ForkServer(origin))


def _leave() -> NoReturn:
    """End this process, and the processes that an import may have started."""
    # `os._exit`: exit handlers that this process inherited belong to its parent.
    for pid in os_calls.children():
        os_calls.kill(pid)
    os._exit(0)


def _import(origin: NodeConfig) -> str:
    try:
        if origin.name == origin.kind:
            importlib.import_module(origin.kind).prepare()
        elif Path(origin.name).is_absolute():
            importlib.import_module(origin.kind).enter(origin.name, origin.settings)
            random_state.record_baseline()
        elif problem := _import_watched(origin.kind, origin.name):
            return problem
        else:
            importlib.import_module(origin.kind).take_stock()
    except Exception as error:  # noqa: BLE001 - reported to the parent, which does without
        return f"{type(error).__name__}: {error}"
    return fork_safety.why_fork_unsafe()


def _import_watched(kind: str, name: str, *, last: bool = False) -> str:
    watch = importlib.import_module(kind).watch_imports
    watch(on=True)
    try:
        return fork_safety.import_safely(name, last=last)
    finally:
        watch(on=False)


def _run_child(work: ChildTask) -> None:
    """Import and boot, then wait for a request and serve it."""
    # The child leads its session and process group, so that all it starts can be signalled and found with it.
    os.setsid()
    kind = importlib.import_module(work.origin.kind)
    for module in work.own:
        problem = _import_watched(work.origin.kind, module, last=True)
        if problem:
            socket_messages.send(work.link, {"unfit": module, "why": problem})
            _leave()
    try:
        socket_messages.send(work.link, {"ready": kind.boot(work.folder, work.origin.settings)})
    except BaseException:  # noqa: BLE001 - the client does without; the owner reads why
        socket_messages.send(work.link, {"broken": traceback.format_exc()})
        os._exit(1)
    message = socket_messages.receive(work.link)
    work.link.close()
    if message is None:
        os._exit(0)
    kind.run(*message)


def main() -> None:
    """Run the root process."""
    # `python -m` puts the working directory on the path: modules there could shadow those of packages.
    with contextlib.suppress(ValueError):
        sys.path.remove(os.getcwd())  # noqa: PTH109 - as the interpreter wrote it there
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # Ray's processes block SIGINT, and what they start inherits that
    # Ctrl-C reaches the whole group of a terminal; the owner decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A handler, though it does nothing: without one, no wake-up byte is written.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    uplink = socket.socket(fileno=os.dup(0))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    message = socket_messages.receive(uplink)
    if message is None:
        return
    os_calls.adopt_orphans()
    settings = message[0]
    origin = NodeConfig(name="", kind="", uplink=uplink, folder=Path(settings["folder"]), settings=settings)
    run(ForkServer(origin, socket.socket(fileno=int(sys.argv[1]))), settings["kinds"])


if __name__ == "__main__":
    main()
