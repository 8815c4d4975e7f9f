"""Start and stop of the kernel of an attempt: launched over private sockets, connected to, shut down."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_core.utils import run_sync

from jupyter_pipelines.execution.kernels import process_wait, processes
from jupyter_pipelines.execution.kernels.launch_environment import ARGUMENTS

OWN = "python3"
PROVISIONER = "jupyter-pipelines-warm"
_LONGEST_SOCKET = 90
_SHORT = Path("/tmp")  # noqa: S108 - a private folder is made in it
_POLL = 0.01
_SOCKETS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")
Result = TypeVar("Result")


class KernelStartError(Exception):
    """A kernel did not start.

    Parameters
    ----------
    why : str
        The reason, as a clause.
    known : tuple of str
        Names of the kernels that are installed, where that helps.
    """

    def __init__(self, why: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(why, known)
        self.why = why
        self.known = known


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkConfig:
    """Zygote and preimports of a forked kernel.

    Parameters
    ----------
    path : str
        Socket of the zygote.
    shared, own : tuple of str
        Packages to import ahead of time: in common with other steps, and for this step alone.
    """

    path: str
    shared: tuple[str, ...] = ()
    own: tuple[str, ...] = ()


class CurrentInterpreterSpec(KernelSpecManager):
    """A kernelspec manager with one kernel: IPython's in the current interpreter; forked, if forking is available."""

    forks: ForkConfig | None = None
    given_up: Callable[[], bool] = staticmethod(lambda: False)

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:  # noqa: ARG002 - there is one only
        """Return the kernelspec, whatever its name."""
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python", metadata=self._metadata())

    def _metadata(self) -> dict[str, Any]:
        if self.forks is None or not _provisioner_is_there():
            return {}
        config = {
            "modules": list(self.forks.shared),
            "own": list(self.forks.own),
            "zygote": self.forks.path,
            "given_up": self.given_up,
        }
        return {"kernel_provisioner": {"provisioner_name": PROVISIONER, "config": config}}


class StepKernel:
    """The kernel of one attempt.

    Parameters
    ----------
    name : str or None
        Name of an installed kernelspec; None for IPython's kernel in this interpreter.
    cwd : str
        Its working directory.
    environment : Mapping of str to str
        Its whole environment.
    log : Path or None
        File for its standard streams; None for a temporary one until :meth:`adopt_log` is called.
    forks : ForkConfig or None
        Zygote and preimports of a forked kernel; None to start the kernel the usual way.
    """

    def __init__(
        self,
        *,
        name: str | None,
        cwd: str,
        environment: Mapping[str, str],
        log: Path | None = None,
        forks: ForkConfig | None = None,
    ) -> None:
        self._folder = private_folder()
        self._launch = {"cwd": cwd, "env": dict(environment), "stdin": subprocess.DEVNULL}
        self._log = log or self._folder / "boot.log"
        self._started = time.monotonic()
        self.manager = _manager(name, self._folder, forks)
        self.client: Any = None
        self.language: dict[str, Any] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, which is also its process group; 0 before it starts."""
        return self.process.pid if self.process else 0

    @property
    def folder(self) -> Path:
        """The private folder with its sockets."""
        return self._folder

    def exit_code(self) -> int | None:
        """Return its exit status, the negative number of the signal that killed it, or None while it lives."""
        return self.process.poll() if self.process else None

    def launch(self, give_up: Callable[[], bool] = lambda: False) -> None:
        """Start the process.

        Parameters
        ----------
        give_up : callable
            Tells whether the kernel is no longer needed; polled while a forked kernel waits for imports.

        Raises
        ------
        KernelStartError
            There is no such kernel, its program cannot be executed, or it is no longer needed.
        """
        self._started = time.monotonic()
        if isinstance(self.manager.kernel_spec_manager, CurrentInterpreterSpec):
            self.manager.kernel_spec_manager.given_up = give_up
        try:
            with self._log.open("ab") as log:
                streams = {"stdout": log, "stderr": log}
                wait_for(self.manager.start_kernel(extra_arguments=self._arguments(), **self._launch, **streams))
        except NoSuchKernel as error:
            raise KernelStartError(f"there is no kernel called `{error.name}`", installed_kernels()) from error
        except ChildProcessError as error:
            raise KernelStartError(str(error)) from error
        except OSError as error:
            raise KernelStartError(f"its program cannot be executed: {error}") from error
        self.process = getattr(self.manager.provisioner, "process", None)

    def adopt_log(self, log: Path) -> None:
        """Move the log of a prestarted kernel to `log`, and count its age from this moment."""
        self._started = time.monotonic()
        # The kernel has the file open: renaming keeps its descriptors valid, and it goes on writing to the new name.
        with contextlib.suppress(OSError):  # some systems do not rename what is open; cells are logged in any case
            self._log.replace(log)
        self._log = log

    def connect(self, timeout: float, give_up: Callable[[], bool]) -> None:
        """Connect a client, and wait until the kernel answers.

        Parameters
        ----------
        timeout : float
            Seconds to wait.
        give_up : callable
            Tells whether the kernel is no longer needed.

        Raises
        ------
        KernelStartError
            It ended, did not answer in time, or is no longer needed.
        """
        deadline = KernelDeadline(timeout, give_up, self.exit_code)
        while not self._listens():
            deadline.check()
            time.sleep(_POLL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.language = wait_for(_handshake(self.client, deadline))

    def evaluate(self, expression: str, timeout: float) -> None:
        """Evaluate an expression in the kernel, without an output in the notebook or an entry in the history.

        It is a user expression of an empty cell, not the cell's code: IPython restores the streams after a cell's code.

        Raises
        ------
        KernelStartError
            The kernel ended, did not answer in time, or the expression raised an exception.
        """
        expressions = {"it": expression}
        request = self.client.execute(
            "", silent=True, store_history=False, user_expressions=expressions, allow_stdin=False
        )
        deadline = KernelDeadline(timeout, lambda: False, self.exit_code)
        content = wait_for(_reply(self.client, request, deadline))
        answer = content.get("user_expressions", {}).get("it", content)
        if answer.get("status") != "ok":
            raise KernelStartError(f"it cannot use jupyter_pipelines: {answer.get('ename')}: {answer.get('evalue')}")

    async def ended(self) -> None:
        """Return when the process has ended."""
        await process_wait.until_ended(self.process)

    def send(self, name: str) -> None:
        """Send a signal to the process and the children in its group; nothing where the system lacks the signal."""
        number = getattr(signal, name, None)
        if number is not None and self.exit_code() is None:
            processes.signal_group(self.pid, number)

    def kill(self) -> None:
        """Kill the process and its group, at once."""
        if self.exit_code() is None and self.process is not None:
            processes.signal_group(self.pid, getattr(signal, "SIGKILL", signal.SIGTERM))

    def shut_down(self, patience: float) -> None:
        """Request shutdown, then terminate, then kill; each after the one before did not help within its time.

        `patience` is the time for the shutdown request, in seconds.
        """
        if self.exit_code() is None and self.client is not None:
            with contextlib.suppress(Exception):
                self.client.shutdown()
            self._wait(patience)
        if self.exit_code() is None:
            self.send("SIGTERM")
            self._wait(1.0)
        self.kill()
        self._wait(5.0)

    def close(self) -> None:
        """Kill the kernel if it lives, close its channels and remove its folder."""
        self.kill()
        self._wait(5.0)
        with contextlib.suppress(Exception):
            if self.client is not None:
                self.client.stop_channels()
            wait_for(self.manager.cleanup_resources())
        shutil.rmtree(self._folder, ignore_errors=True)

    def age(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self._started

    def _wait(self, seconds: float) -> None:
        if self.process is not None:
            process_wait.wait(self.process, seconds)

    def _arguments(self) -> list[str]:
        if "ipykernel_launcher" not in self.manager.kernel_spec.argv:
            return []
        (self._folder / "profile").mkdir(exist_ok=True)
        return [argument.format(folder=self._folder) for argument in ARGUMENTS]

    def _listens(self) -> bool:
        """Tell whether all sockets exist; a ZeroMQ client that connects too early retries only after 100 ms."""
        if self.manager.transport != "ipc":
            return True
        return all(Path(f"{self.manager.ip}-{getattr(self.manager, name)}").exists() for name in _SOCKETS)


class KernelDeadline:
    """A time limit for waiting for a kernel, which also ends when the kernel does or is no longer needed.

    Parameters
    ----------
    timeout : float
        Seconds.
    give_up : callable
        Tells whether the kernel is no longer needed.
    exit_code : callable
        Returns the exit status of the kernel, or None while it lives.
    """

    def __init__(self, timeout: float, give_up: Callable[[], bool], exit_code: Callable[[], int | None]) -> None:
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._give_up = give_up
        self._exit_code = exit_code

    def check(self) -> None:
        """Raise KernelStartError if the kernel has ended, is no longer needed, or the time is over."""
        code = self._exit_code()
        if code is not None:
            raise KernelStartError(f"its process ended {describe_exit(code)}")
        if self._give_up():
            raise KernelStartError("it is no longer wanted")
        if time.monotonic() > self._deadline:
            raise KernelStartError(f"it did not answer within {self._timeout:g} s")


def describe_exit(code: int) -> str:
    """Return an exit status in words: "by SIGKILL", "with status 1"."""
    return f"by {processes.signal_name(-code)}" if code < 0 else f"with status {code}"


def installed_kernels() -> tuple[str, ...]:
    """Return the names of the kernels that are installed."""
    return tuple(sorted(KernelSpecManager().find_kernel_specs()))


def interpreter_of(name: str) -> str | None:
    """Return the program that runs the kernel called `name`; None when there is no such kernel."""
    try:
        argv = KernelSpecManager().get_kernel_spec(name).argv
    except NoSuchKernel:
        return None
    # jupyter_client reads a bare `python` as the interpreter it runs in itself.
    return sys.executable if argv[0].startswith("python") and "/" not in argv[0] else argv[0]


def private_folder() -> Path:
    """Make a folder that only this user can enter, with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="jp-"))
    if len(str(folder)) > _LONGEST_SOCKET and _SHORT.is_dir():
        folder.rmdir()
        folder = Path(tempfile.mkdtemp(prefix="jp-", dir=_SHORT))
    return folder


def wait_for(coroutine: Coroutine[Any, Any, Result] | Any) -> Any:
    """Run a coroutine to its end and return its result, also where an event loop runs already."""

    async def run() -> Any:
        return await coroutine

    return run_sync(run)()


def _provisioner_is_there() -> bool:
    """Tell whether the provisioner's entry point is installed; code that is merely on `sys.path` has none."""
    return bool(KernelProvisionerFactory.instance()._check_availability(PROVISIONER))  # noqa: SLF001 - no public way


def _manager(name: str | None, folder: Path, forks: ForkConfig | None) -> Any:
    # Over TCP every user of the machine can read what a kernel publishes.
    transport = "ipc" if hasattr(socket, "AF_UNIX") else "tcp"
    specs: dict[str, Any] = {}
    if not name:
        specs["kernel_spec_manager"] = own = CurrentInterpreterSpec()
        own.forks = forks
    file = str(folder / "k.json")
    return AsyncKernelManager(kernel_name=name or OWN, transport=transport, connection_file=file, **specs)


async def _handshake(client: AsyncKernelClient, deadline: KernelDeadline) -> dict[str, Any]:
    """Request kernel_info until a reply and an iopub message arrive; return the language info.

    `wait_for_ready` of jupyter_client would then wait until iopub has been silent for 0.2 s.
    """
    # The iopub message shows that the subscription is active: without it, the first output of a cell could be lost.
    while True:
        deadline.check()
        client.kernel_info()
        message = await _next(client.shell_channel, 1.0)
        if message and message["msg_type"] == "kernel_info_reply" and await _next(client.iopub_channel, 0.2):
            return dict(message["content"].get("language_info", {}))


async def _reply(client: AsyncKernelClient, request: str, deadline: KernelDeadline) -> dict[str, Any]:
    while True:
        deadline.check()
        message = await _next(client.shell_channel, 0.2)
        if message and message["parent_header"].get("msg_id") == request:
            return dict(message["content"])


async def _next(channel: Any, timeout: float) -> dict[str, Any] | None:
    try:
        return dict(await channel.get_msg(timeout=timeout))
    except Empty:
        return None
