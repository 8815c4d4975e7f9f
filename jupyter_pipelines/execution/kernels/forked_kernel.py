"""An IPython kernel in a forked process: booted ahead of time, then given its working directory and streams.

Here the process gets everything that a freshly started kernel would have: arguments, environment, working directory,
standard streams, signal handlers, random seeds, threads of numeric libraries.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import re
import secrets
import signal
import sys
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing import step_trace
from jupyter_pipelines.execution.prefork import random_state, std_streams
from jupyter_pipelines.execution.prefork.fork_safety import QUIET

INLINE = "module://matplotlib_inline.backend_inline"
CHANNELS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")

_PREIMPORTS = """
    ipykernel.kernelapp ipykernel.debugger ipykernel.comm.manager ipykernel.subshell_manager ipykernel.shellchannel
    IPython.core.completer IPython.core.completerlib IPython.core.debugger IPython.core.history IPython.core.logger
    IPython.core.magics IPython.core.oinspect IPython.core.ultratb IPython.extensions.storemagic IPython.utils.wildcard
    tornado.platform.asyncio pdb sqlite3 debugpy threadpoolctl
    jupyter_pipelines.execution.kernel_side.cell_log jupyter_pipelines.execution.kernel_side.mutation_guard
    jupyter_pipelines.execution.kernel_side.pending_work jupyter_pipelines.storage.serializers.json_text_bytes
""".split()
PROFILE = "profile"
CLEANS_UP_ALONE = False
"""Tells the fork server to kill a kernel whose client is gone."""
_KERNEL: dict[str, Any] = {}


def prepare() -> None:
    """Import the modules of a kernel; called once, in the process that is then forked.

    Raises
    ------
    ImportError
        ipykernel is not installed.
    """
    os.environ.pop(
        "JPY_PARENT_PID", None
    )  # ipykernel reads it while it is imported: it would watch an unrelated process
    importlib.import_module("ipykernel.kernelapp")
    for name in _PREIMPORTS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    step_trace.note(on=False)
    _KERNEL["filters"] = list(warnings.filters)


def enter(folder: str, settings: Mapping[str, Any]) -> None:
    """Change to a folder and set `sys.path` as a kernel started there would.

    Parameters
    ----------
    folder : str
        Working directory of the kernels.
    settings : Mapping
        As for :func:`boot`.

    Raises
    ------
    OSError
        There is no such folder.
    """
    os.chdir(folder)
    before = list(sys.path)
    if not any("ignore_cwd" in argument for argument in settings["arguments"]):
        shellapp = importlib.import_module("IPython.core.shellapp")
        shellapp.InteractiveShellApp.init_path(SimpleNamespace(ignore_cwd=False))
    _KERNEL["added"] = [path for path in sys.path if path not in before]


def watch_imports(*, on: bool) -> None:
    """Switch on or off logging of the files and variables that preimports use: they count for every forked kernel.

    Parameters
    ----------
    on : bool
        True before the import, False after it.
    """
    step_trace.note(on=on)


def take_stock() -> None:
    """Find the loaded numeric libraries, once for all children; called after each import."""
    threads = importlib.import_module("threadpoolctl").ThreadpoolController()
    _KERNEL["threads"] = len(sys.modules), threads


def boot(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Initialize the kernel up to the point where it would serve, and return its connection info.

    Parameters
    ----------
    folder : Path
        Private to this kernel.
    settings : Mapping
        ``arguments`` of the command line, in which ``{folder}`` stands for `folder`.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
    _own_streams(folder)
    _own_environment(settings["environment"])
    _reset_random_and_threads()
    connection = _connect(folder)
    (folder / PROFILE).mkdir()
    file = folder / "k.json"
    file.write_text(json.dumps(connection))
    file.chmod(0o600)
    launcher = str(importlib.util.find_spec("ipykernel_launcher").origin)  # type: ignore[union-attr]
    arguments = [argument.replace("{folder}", str(folder)) for argument in settings["arguments"]]
    sys.argv = [launcher, "-f", str(file), *arguments]
    # Libraries that start the program once more read the command line here, not in `sys.argv`.
    sys.orig_argv[:] = [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]]
    from ipykernel.kernelapp import IPKernelApp

    for path in _KERNEL.pop("added", ()):  # the application looks into its settings, and puts it back
        sys.path.remove(path)
    # 1 is no process to watch: the zygote ends this process when its client has gone.
    _KERNEL["app"] = app = IPKernelApp.instance(parent_handle=1)
    imported = _filters_since(_KERNEL.pop("filters"))
    before = list(warnings.filters)
    app.initialize(sys.argv[1:])  # type: ignore[no-untyped-call]
    _put_first(imported, _filters_since(before))
    _hold_greeting(app.iopub_thread)
    std_streams.rebind_holders()
    return {"connection": connection}


def run(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take over the requested streams, environment and folder, and serve as a kernel.

    Parameters
    ----------
    order : Mapping
        ``cwd``; ``environment``, which is all there is afterwards; and a ``key`` to sign with, or None for its own.
    descriptors : sequence of int
        Its stdin, stdout and stderr.
    """
    _take_streams(descriptors)
    _take_environment(order["environment"])
    os.chdir(order["cwd"])
    # The finders' listings are as old as the zygote: modules written since would not be found.
    importlib.invalidate_caches()
    app = _KERNEL.pop("app")
    if order.get("key"):
        app.session.key = order["key"].encode()
        file = Path(app.abs_connection_file)
        file.write_text(json.dumps(json.loads(file.read_text()) | {"key": order["key"]}))
    _KERNEL.pop("greet", _nothing)()
    app.start()


def _hold_greeting(thread: Any) -> None:
    """Hold back ipykernel's welcome message to new subscribers until the kernel has its signing key."""
    stream = getattr(thread, "_xpub_stream", None)
    if stream is None:  # older kernels send no greeting
        return
    silent = threading.Event()
    for call in (stream.stop_on_recv, silent.set):
        thread.io_loop.add_callback(call)
    silent.wait()
    _KERNEL["greet"] = lambda: thread.io_loop.add_callback(stream.on_recv, thread._handle_subscription)  # noqa: SLF001


def _nothing() -> None:
    """Do nothing: there is no greeting to send."""


def _filters_since(before: Sequence[Any]) -> list[Any]:
    """Return the warning filters that were put in front of `before`."""
    now = list(warnings.filters)
    return now[: len(now) - len(before)] if now[len(now) - len(before) :] == before else []


def _put_first(imported: Sequence[Any], kernel: Sequence[Any]) -> None:
    """Put the warning filters of packages before the kernel's, as if they had been imported after its start."""
    if imported and kernel:
        others = warnings.filters[len(kernel) + len(imported) :]
        warnings.filters[:] = [*imported, *kernel, *others]  # type: ignore[index]
        warnings._filters_mutated()  # type: ignore[attr-defined] # noqa: SLF001 - there is no public way


def _own_streams(folder: Path) -> None:
    """Redirect stdout and stderr to a private file until the streams of the request are known."""
    descriptor = os.open(folder / "boot.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    _KERNEL["streams"] = tuple(_file_identity(stream) for stream in (1, 2))


def _file_identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _take_streams(descriptors: Sequence[int]) -> None:
    """Replace all descriptors of the boot log, copies made by ipykernel included, by the requested streams."""
    stdin, stdout, stderr = descriptors
    os.dup2(stdin, 0)
    wrong = _KERNEL.pop("streams")[0]
    copies = [number for number in _open_numbers() if number not in descriptors and _is_same_file(number, wrong)]
    errors = _copy_of(sys.stderr)
    for number in copies:
        os.dup2(stderr if number == errors else stdout, number)
    for descriptor in descriptors:
        os.close(descriptor)


def _copy_of(stream: Any) -> int:
    return int(getattr(stream, "_original_stdstream_copy", 2))


def _open_numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names of descriptors


def _is_same_file(number: int, file_identity: tuple[int, int]) -> bool:
    try:
        return _file_identity(number) == file_identity
    except OSError:
        return False


def _own_environment(environment: Mapping[str, str]) -> None:
    """Restore the variables that kept the zygote single-threaded (OpenBLAS, Arrow's allocator)."""
    for name in QUIET:
        os.environ.pop(name)
        if name in environment:
            os.environ[name] = environment[name]
    _KERNEL["given"] = environment


def _take_environment(environment: Mapping[str, str]) -> None:
    """Set the requested environment, and keep changes made by imports and by the kernel itself."""
    before = _KERNEL.pop("given")
    changed = {name: value for name, value in os.environ.items() if before.get(name) != value}
    removed = before.keys() - os.environ.keys()
    os.environ.clear()
    os.environ.update({name: value for name, value in environment.items() if name not in removed} | changed)
    # The C library read TZ when the zygote started.
    time.tzset()


def _reset_random_and_threads() -> None:
    """Reseed generators that siblings share, and give OpenBLAS as many threads as in a fresh process."""
    random_state.reseed()
    if "multiprocessing.process" in sys.modules:
        # Made at import: with the same key, one step could talk to the managers of another.
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)
    known, threads = _KERNEL.pop("threads", (0, None))
    if known != len(sys.modules):  # something was imported since
        threads = importlib.import_module("threadpoolctl").ThreadpoolController()
    for library in threads.lib_controllers:
        if library.internal_api == "openblas":
            library.set_num_threads(_threads())


def _threads() -> int:
    """Return the number of threads that OpenBLAS chooses when it is loaded."""
    cores = len(os.sched_getaffinity(0))
    for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
        # As it reads them itself: a number at the beginning of the text.
        if number := int((re.match(r"\s*\+?(\d+)", os.environ.get(name, "")) or "00")[1]):
            return min(number, cores)
    return cores


def _connect(folder: Path) -> dict[str, Any]:
    ports = {name: number for number, name in enumerate(CHANNELS, 1)}
    names = {"transport": "ipc", "ip": str(folder / "s"), "kernel_name": ""}
    return {**names, **ports, "key": secrets.token_hex(32), "signature_scheme": "hmac-sha256"}
