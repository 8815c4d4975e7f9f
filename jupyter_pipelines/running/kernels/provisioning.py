"""A kernel provisioner for any Jupyter tool: kernels are forked from a process that has imported what they need.

Named ``jupyter-pipelines-warm``. A kernelspec asks for it so::

    "metadata": {"kernel_provisioner": {"provisioner_name": "jupyter-pipelines-warm",
                                        "config": {"modules": ["pandas", "sklearn.linear_model"]}}}

Where forking is not to be had, the kernel is started the usual way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from jupyter_pipelines.running.forking import client
from jupyter_pipelines.running.forking.keeping import KEEPER
from jupyter_pipelines.running.forking.owner import Zygote, can_fork

IPYTHON = [sys.executable, "-m", "ipykernel_launcher"]
_PRIVATE = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "JUPYTER_PIPELINES_ATTEMPT")
logger = logging.getLogger(__name__)


class WarmProvisioner(LocalProvisioner):
    """Forks kernels of this interpreter; starts all others as usual.

    Parameters
    ----------
    modules : sequence of str
        What the kernel may have imported when it starts: installed packages and modules of them.
    own : sequence of str
        What it imports in addition, ahead of time if it is foreseen.
    zygote : str or None
        Socket of a tree of processes to ask; by default this process keeps one for all kernels of one environment.
    record : bool
        Have the kernel record what the worker of a step wants to know; see
        :mod:`jupyter_pipelines.running.recording`.
    **options
        What jupyter_client passes to provisioners.
    """

    def __init__(
        self,
        *,
        modules: Sequence[str] = (),
        own: Sequence[str] = (),
        zygote: str | None = None,
        record: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._request = {"kind": "kernels", "shared": list(modules), "own": list(own)}
        self._path = zygote
        self._record = record
        self.records = False
        self._kept: Zygote | None = None

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        """Start a kernel and return how to connect to it."""
        if self._fits(cmd, options):
            try:
                return await asyncio.to_thread(self._fork, cmd, options)
            except (client.Refused, OSError) as error:
                logger.info("no forked kernel: %s", error)
        return await super().launch_kernel(cmd, **options)

    def _fits(self, cmd: Sequence[str], options: Mapping[str, Any]) -> bool:
        encrypted = getattr(self.parent, "curve_publickey", None) is not None
        return list(cmd[:3]) == IPYTHON and can_fork(options.get("env") or os.environ) and not encrypted

    def _fork(self, cmd: Sequence[str], options: Mapping[str, Any]) -> Any:
        environment = dict(options.get("env") or os.environ)
        cwd = options.get("cwd") or os.getcwd()  # noqa: PTH109 - a text
        order = {"cwd": cwd, "environment": environment, "record": self._record}
        path = self._path or self._keep(_without_private(environment), _arguments(cmd))
        with ExitStack() as stack:
            streams = [_stream(options.get(name), number, stack) for number, name in enumerate(_STREAMS)]
            process = client.ForkedProcess(path, self._request | {"order": order}, streams)
        process.settle(lambda: False)
        if self._path is None:
            client.prepare(path, self._request)
        connection = process.facts["connection"]
        self.process = process  # type: ignore[assignment]  # has what is used of a Popen
        self.pid = self.pgid = process.pid
        self.records = self._record
        self.connection_info = connection | {"key": connection["key"].encode()}
        return self.connection_info

    def _keep(self, environment: Mapping[str, str], arguments: Sequence[str]) -> str:
        if self._kept is None:
            self._kept = KEEPER.take(environment, arguments, ["kernels"])
        return self._kept.path

    async def cleanup(self, restart: bool = False) -> None:
        """Let go of what the kernel needed."""
        await super().cleanup(restart)
        if self._kept is not None and not restart:
            kept, self._kept = self._kept, None
            KEEPER.release(kept)


_STREAMS = ("stdin", "stdout", "stderr")


def _stream(given: Any, number: int, stack: ExitStack) -> int:
    """Return the descriptor that :class:`subprocess.Popen` would use."""
    if given == subprocess.DEVNULL or (given is None and number == 0):
        return stack.enter_context(Path(os.devnull).open("r+b", buffering=0)).fileno()
    if given is None or given == subprocess.PIPE:
        return number  # nobody reads the pipes of a kernel that was forked
    return int(given if isinstance(given, int) else given.fileno())


def _without_private(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what kernels have in common; the rest is no reason for another tree."""
    return {name: value for name, value in environment.items() if name not in _PRIVATE}


def _arguments(cmd: Sequence[str]) -> list[str]:
    """Return the arguments but for the connection file: a forked kernel makes its own."""
    given = list(cmd[3:])
    if "-f" in given:
        place = given.index("-f")
        del given[place : place + 2]
    return given
