"""An IPython kernel made from a forked process: booted while nobody waits for it, then told where it belongs.

Everything that a kernel started by itself would find is put right here: arguments, environment, folder, standard
streams, signals, random numbers, threads of numeric libraries.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_pipelines.running.forking.sound import QUIET

INLINE = "module://matplotlib_inline.backend_inline"
CHANNELS = ("shell_port", "iopub_port", "stdin_port", "hb_port", "control_port")

_PREPARED = """
    ipykernel.kernelapp ipykernel.debugger ipykernel.comm.manager ipykernel.subshell_manager ipykernel.shellchannel
    IPython.core.completer IPython.core.completerlib IPython.core.debugger IPython.core.history IPython.core.logger
    IPython.core.magics IPython.core.oinspect IPython.core.ultratb IPython.extensions.storemagic IPython.utils.wildcard
    tornado.platform.asyncio pdb sqlite3 debugpy threadpoolctl
    jupyter_pipelines.running.recording jupyter_pipelines.running.guarding jupyter_pipelines.running.lingering
    jupyter_pipelines.storing.serializers.plain
""".split()
PROFILE = "profile"
_KERNEL: dict[str, Any] = {}


def prepare() -> None:
    """Import what a kernel needs; called once, in the process that is then forked.

    Raises
    ------
    ImportError
        There is no kernel to be had.
    """
    os.environ.pop("JPY_PARENT_PID", None)  # ipykernel reads it while it is imported: it would watch a stranger
    importlib.import_module("ipykernel.kernelapp")
    for name in _PREPARED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def boot(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Start the kernel up to the point where it would listen, and return its connection.

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
    _own_numbers()
    connection = _connect(folder)
    (folder / PROFILE).mkdir()
    file = folder / "k.json"
    file.write_text(json.dumps(connection))
    file.chmod(0o600)
    launcher = str(importlib.util.find_spec("ipykernel_launcher").origin)  # type: ignore[union-attr]
    arguments = [one.replace("{folder}", str(folder)) for one in settings["arguments"]]
    sys.argv = [launcher, "-f", str(file), *arguments]
    sys.orig_argv[:] = [sys.executable, "-m", "ipykernel_launcher", *sys.argv[1:]]
    from ipykernel.kernelapp import IPKernelApp

    # 1 is no process to watch: others see to it that this one ends when nobody needs it.
    _KERNEL["app"] = app = IPKernelApp.instance(parent_handle=1)
    app.initialize(sys.argv[1:])  # type: ignore[no-untyped-call]
    return {"connection": connection}


def run(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take the place that was asked for, and serve.

    Parameters
    ----------
    order : Mapping
        ``cwd`` and ``environment``, which is all there is afterwards; ``record`` when a worker wants to know what
        happens.
    descriptors : sequence of int
        What its stdin, stdout and stderr are to be.
    """
    _take_streams(descriptors)
    _take_environment(order["environment"])
    os.chdir(order["cwd"])
    if order["record"]:
        importlib.import_module("jupyter_pipelines.running.recording").begin()
    _KERNEL.pop("app").start()


def _own_streams(folder: Path) -> None:
    """Write to a file nobody reads until the true streams are known."""
    descriptor = os.open(folder / "boot.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    _KERNEL["streams"] = tuple(_same_file(stream) for stream in (1, 2))


def _same_file(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _take_streams(descriptors: Sequence[int]) -> None:
    """Put the true streams in place wherever the file stands that was used meanwhile; ipykernel has made copies."""
    stdin, stdout, stderr = descriptors
    os.dup2(stdin, 0)
    wrong = _KERNEL.pop("streams")[0]
    found = [number for number in _open_numbers() if number not in descriptors and _is(number, wrong)]
    errors = _copy_of(sys.stderr)
    for number in found:
        os.dup2(stderr if number == errors else stdout, number)
    for one in descriptors:
        os.close(one)


def _copy_of(stream: Any) -> int:
    return int(getattr(stream, "_original_stdstream_copy", 2))


def _open_numbers() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/fd")]  # noqa: PTH208 - names of descriptors


def _is(number: int, wanted: tuple[int, int]) -> bool:
    try:
        return _same_file(number) == wanted
    except OSError:
        return False


def _own_environment(environment: Mapping[str, str]) -> None:
    """Undo what kept the process fit to be forked."""
    for name in QUIET:
        os.environ.pop(name)
        if name in environment:
            os.environ[name] = environment[name]
    _KERNEL["given"] = environment


def _take_environment(environment: Mapping[str, str]) -> None:
    """Have the environment that was asked for, and what imports and the kernel itself have changed in it."""
    given = _KERNEL.pop("given")
    changed = {name: value for name, value in os.environ.items() if given.get(name) != value}
    gone = given.keys() - os.environ.keys()
    os.environ.clear()
    os.environ.update({name: value for name, value in environment.items() if name not in gone} | changed)
    time.tzset()


def _own_numbers() -> None:
    """Draw other random numbers than the siblings, and compute with as many threads as a fresh process would."""
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "multiprocessing.process" in sys.modules:
        sys.modules["multiprocessing.process"].current_process().authkey = os.urandom(32)
    threads = importlib.import_module("threadpoolctl").ThreadpoolController()
    for library in threads.lib_controllers:
        if library.internal_api == "openblas":
            library.set_num_threads(_threads())


def _threads() -> int:
    """Return how many threads OpenBLAS takes when it is loaded."""
    for name in ("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS"):
        with contextlib.suppress(ValueError):
            if number := int(os.environ.get(name, "0")):
                return number
    return len(os.sched_getaffinity(0))


def _connect(folder: Path) -> dict[str, Any]:
    ports = {name: number for number, name in enumerate(CHANNELS, 1)}
    names = {"transport": "ipc", "ip": str(folder / "s"), "kernel_name": ""}
    return {**names, **ports, "key": secrets.token_hex(32), "signature_scheme": "hmac-sha256"}
