"""A kernel provisioner for any Jupyter tool: kernels are forked from a process that has imported what they need.

Named ``jupyter-pipelines-warm``. A kernelspec asks for it so::

    "metadata": {"kernel_provisioner": {"provisioner_name": "jupyter-pipelines-warm",
                                        "config": {"modules": ["pandas", "sklearn.linear_model"]}}}

Where forking is not available, the kernel is started the usual way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from jupyter_pipelines.execution.kernels.launch import private_folder
from jupyter_pipelines.execution.kernels.launch_environment import KERNELS
from jupyter_pipelines.execution.prefork import client
from jupyter_pipelines.execution.prefork.zygote_handle import ZygoteHandle, can_fork
from jupyter_pipelines.execution.prefork.zygote_pool import ZYGOTE_POOL

IPYTHON = [sys.executable, "-m", "ipykernel_launcher"]
_PRIVATE = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "JUPYTER_PIPELINES_ATTEMPT")
logger = logging.getLogger(__name__)


class WarmProvisioner(LocalProvisioner):
    """Forks kernels of this interpreter; starts all others as usual.

    Parameters
    ----------
    modules : sequence of str
        Installed packages and their modules that may be imported in the zygote, before the kernel is forked.
    own : sequence of str
        Further modules that only this kernel imports, before it is needed if it is forked ahead of time.
    zygote : str or None
        Socket of the zygote; by default this process keeps one zygote for all kernels of an environment.
    given_up : callable
        Tells whether the kernel is no longer needed; called while the kernel starts.
    **options
        What jupyter_client passes to provisioners.
    """

    def __init__(
        self,
        *,
        modules: Sequence[str] = (),
        own: Sequence[str] = (),
        zygote: str | None = None,
        given_up: Callable[[], bool] = lambda: False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._given_up = given_up
        self._request = {"kind": KERNELS, "shared": list(modules), "own": list(own)}
        self._path = zygote
        self._kept: ZygoteHandle | None = None
        self._folder: Path | None = None

    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        """Start a kernel and return its connection info."""
        if self._fits(cmd, options):
            try:
                return await asyncio.to_thread(self._fork, cmd, options)
            except (client.ForkUnavailable, OSError) as error:
                logger.info("no forked kernel: %s", error)
                if self._given_up():
                    raise ChildProcessError("it is no longer wanted") from error
        return await super().launch_kernel(cmd, **options)

    def _fits(self, cmd: Sequence[str], options: Mapping[str, Any]) -> bool:
        """Tell whether a forked kernel can meet the request: this interpreter, no pipes, no encryption."""
        usual = options.keys() <= _KNOWN and not options.get("independent") and Path(options.get("cwd") or ".").is_dir()
        piped = any(_is_piped(options.get(name)) for name in _STREAMS[1:])
        encrypted = getattr(self.parent, "curve_publickey", None) is not None
        mine = list(cmd[:3]) == IPYTHON and can_fork(options.get("env") or os.environ)
        return mine and usual and not piped and not encrypted

    def _fork(self, cmd: Sequence[str], options: Mapping[str, Any]) -> Any:
        environment = dict(options.get("env") or os.environ)
        cwd = os.path.abspath(options.get("cwd") or ".")  # noqa: PTH100 - a text; links stay as they are
        key = self._key()
        order = {"cwd": cwd, "environment": environment, "key": key}
        path = self._path or self._keep(_without_private(environment), _arguments(cmd))
        request = self._request | {"cwd": cwd}
        with ExitStack() as stack:
            streams = [_stream(options.get(name), number, stack) for number, name in enumerate(_STREAMS)]
            process = client.ForkedProcess(path, request | {"order": order}, streams)
        # Waited for in turns: a kernel whose imports hang must not outlive the interest in it.
        process.settle(self._given_up)
        if self._path is None:
            client.prepare(path, request)
        connection = process.facts["connection"]
        if key is not None:
            connection |= {"ip": self._stable(connection["ip"]), "key": key}
        self.process = process  # type: ignore[assignment]  # has what is used of a Popen
        self.pid = self.pgid = process.pid
        self.cwd = Path(cwd)
        self.connection_info = connection | {"key": connection["key"].encode()}
        return self.connection_info

    def _key(self) -> str | None:
        """Return the key with which clients sign messages, also after a restart; None if it is never restarted."""
        return None if self._path is not None or self.parent is None else self.parent.session.key.decode()

    def _stable(self, base: str) -> str:
        """Return a path prefix that leads to the sockets at `base`, and stays the same when the kernel is restarted."""
        # A forked kernel makes its own sockets, but clients keep the paths of the first start: links redirect them.
        if self._folder is None:
            self._folder = private_folder()
        for number in range(1, 6):
            link = self._folder / f"s-{number}"
            link.unlink(missing_ok=True)
            link.symlink_to(f"{base}-{number}")
        return str(self._folder / "s")

    def _keep(self, environment: Mapping[str, str], arguments: Sequence[str]) -> str:
        """Return the socket of a zygote for the packages that are installed at the moment."""
        # The new one is taken before the old is released: if they are the same, it must not end in between.
        kept, self._kept = self._kept, ZYGOTE_POOL.take(environment, arguments, [KERNELS])
        if kept is not None:
            ZYGOTE_POOL.release(kept)
        return self._kept.path

    async def cleanup(self, restart: bool = False) -> None:
        """Release the zygote and remove the folder of links, unless the kernel is restarted."""
        await super().cleanup(restart)
        if restart:
            return
        if self._kept is not None:
            kept, self._kept = self._kept, None
            ZYGOTE_POOL.release(kept)
        if self._folder is not None:
            folder, self._folder = self._folder, None
            shutil.rmtree(folder, ignore_errors=True)


_KNOWN = frozenset({"env", "cwd", "stdin", "stdout", "stderr", "independent", "kernel_id", "extra_arguments"})


def _is_piped(stream: Any) -> bool:
    """Tell whether a stream is `PIPE` or `STDOUT`, which a forked process cannot provide."""
    return stream in (subprocess.PIPE, subprocess.STDOUT)


_STREAMS = ("stdin", "stdout", "stderr")


def _stream(stream: Any, number: int, stack: ExitStack) -> int:
    """Return the descriptor that :class:`subprocess.Popen` would use."""
    if stream == subprocess.DEVNULL or (stream is None and number == 0):
        return stack.enter_context(Path(os.devnull).open("r+b", buffering=0)).fileno()
    if stream is None:
        return number
    return int(stream if isinstance(stream, int) else stream.fileno())


def _without_private(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without variables that differ for each kernel: they are no reason for another zygote."""
    return {name: value for name, value in environment.items() if name not in _PRIVATE}


def _arguments(cmd: Sequence[str]) -> list[str]:
    """Return the arguments but for the connection file: a forked kernel makes its own."""
    arguments = list(cmd[3:])
    if "-f" in arguments:
        index = arguments.index("-f")
        del arguments[index : index + 2]
    return arguments
