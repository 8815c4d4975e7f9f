"""What makes a process fit to be forked: one thread, nothing open, nothing started; and imports that keep it so."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEFT_TO_CHILDREN = frozenset(
    """
    torch torchvision torchaudio tensorflow keras jax jaxlib flax cupy cudf cuml cugraph rmm pycuda mxnet paddle
    onnxruntime polars grpc ray pyspark h2o dask_cuda vllm triton
    tkinter PyQt5 PyQt6 PySide2 PySide6 wx gi pyglet pygame kivy
    """.split()
)
"""Packages whose threads, devices or windows do not survive a fork: every step imports them by itself."""

QUIET = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment of a process that is to be forked: OpenBLAS and Arrow's allocator start a thread when they are loaded."""

_WINDOWLESS = ("", "agg", "svg", "pdf", "ps", "cairo", "module://matplotlib_inline.backend_inline", "inline")


@dataclass(frozen=True, slots=True)
class State:
    """What an import may not change in a process that will be forked."""

    descriptors: frozenset[str]
    handlers: tuple[Any, ...]
    streams: tuple[int, ...]

    @classmethod
    def now(cls) -> State:
        """Return how it is."""
        return cls(
            descriptors=frozenset(_open_files()),
            handlers=tuple(signal.getsignal(number) for number in sorted(signal.valid_signals())),
            streams=(id(sys.stdout), id(sys.stderr), id(sys.stdin)),
        )


def unfit() -> str:
    """Return why this process must not be forked; empty when it may."""
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - called for every import
    if threads > 1:
        return f"it has {threads} threads"
    context = getattr(sys.modules.get("zmq"), "Context", None)
    if getattr(context, "_instance", None) is not None:
        return "it holds a ZeroMQ context"
    loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", lambda: None)()
    return "it runs an event loop" if loop is not None else ""


def left_to_children(module: str) -> bool:
    """Tell whether `module` is known for not surviving a fork."""
    package = module.partition(".")[0]
    backend = os.environ.get("MPLBACKEND", "").lower()
    return package in LEFT_TO_CHILDREN or (package == "matplotlib" and backend not in _WINDOWLESS)


def import_soundly(module: str, *, last: bool = False) -> str:
    """Import a package so that the process stays as it is, and return what went wrong; empty when nothing did.

    Whatever would be seen or done differently by a step that imports the package itself counts: text that it prints,
    warnings, threads, files it keeps open, signals it takes, modules that no package installed.

    Parameters
    ----------
    module : str
        Its dotted name.
    last : bool
        The process will not be forked any more; then it may have threads.
    """
    if not last and left_to_children(module):
        return "it is known for not surviving a fork"
    before, known = State.now(), set(sys.modules)
    with _listening() as heard:
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - the step that imports it is the one to hear of it
            return f"it cannot be imported: {type(error).__name__}"
    problem = "".join(heard[:1]) or _changed(before) or _foreign(set(sys.modules) - known)
    return problem or ("" if last else unfit())


def _changed(before: State) -> str:
    now = State.now()
    if now.descriptors - before.descriptors:
        return f"it keeps {', '.join(sorted(now.descriptors - before.descriptors))} open"
    if now.handlers != before.handlers:
        return "it handles signals"
    return "it replaces a standard stream" if now.streams != before.streams else ""


def _open_files() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - called for every import
        with contextlib.suppress(OSError):
            yield f"{number}:{os.readlink(f'/proc/self/fd/{number}')}"  # noqa: PTH115


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Hear what is written to the standard streams, and every warning."""
    heard: list[str] = []
    shown = warnings.showwarning
    with tempfile.TemporaryFile() as file:
        kept = [os.dup(1), os.dup(2)]
        try:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
            warnings.showwarning = lambda *_, **__: heard.append("it warns")
            yield heard
        finally:
            warnings.showwarning = shown
            if _wrote(file.fileno()):
                heard.append("it prints")
            for stream, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, stream)
                os.close(copy)


def _wrote(descriptor: int) -> bool:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return os.fstat(descriptor).st_size > 0


def _foreign(names: set[str]) -> str:
    """Return which of the modules belong to the user: they may change between two steps."""
    homes = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    for name in sorted(names - {"__mp_main__"}):  # multiprocessing's other name for the program itself
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and Path(file).is_absolute() and not (file.startswith(homes) or "-packages/" in file):
            return f"it brings along `{name}`, which no package installed"
    return ""
