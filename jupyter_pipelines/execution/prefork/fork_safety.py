"""Fork safety: whether a process may be forked (one thread, nothing open), and imports that keep it so."""

from __future__ import annotations

import builtins
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
from typing import Any, ClassVar, NoReturn

from jupyter_pipelines.execution.prefork import os_calls, random_state, std_streams

FORK_UNSAFE_PACKAGES = frozenset(
    """
    torch torchvision torchaudio tensorflow keras jax jaxlib flax cupy cudf cuml cugraph rmm pycuda mxnet paddle
    onnxruntime polars grpc ray pyspark h2o dask_cuda vllm triton
    tkinter PyQt5 PyQt6 PySide2 PySide6 wx gi pyglet pygame kivy
    """.split()
)
"""Packages whose threads, devices or windows do not survive a fork: each step's process imports them by itself."""

QUIET = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Environment of a zygote, to keep it single-threaded: OpenBLAS and Arrow's allocator start threads when loaded."""

IMPORT_PATIENCE = 30
"""Seconds that a preimport may take; then its process is ended, and the step imports the package by itself."""

_WINDOWLESS = ("", "agg", "svg", "pdf", "ps", "cairo", "module://matplotlib_inline.backend_inline", "inline")


@dataclass(frozen=True, slots=True)
class ProcessSnapshot:
    """Open files, signal handlers, hooks and working directory of a process; a preimport must not change them."""

    descriptors: frozenset[str]
    handlers: tuple[Any, ...]
    hooks: tuple[int, ...]
    folder: str

    @classmethod
    def now(cls) -> ProcessSnapshot:
        """Return the state of this process now."""
        return cls(
            descriptors=frozenset(_open_files()),
            handlers=tuple(signal.getsignal(number) for number in sorted(signal.valid_signals())),
            hooks=tuple(id(hook) for hook in (sys.stdout, sys.stderr, sys.stdin, sys.excepthook, sys.displayhook)),
            folder=_folder(),
        )


def why_fork_unsafe() -> str:
    """Return why this process must not be forked; empty if it may be."""
    # As the system counts: threads of C libraries do not stand in `threading.enumerate()`.
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - called for every import
    if threads > 1:
        return f"it has {threads} threads"
    context = getattr(sys.modules.get("zmq"), "Context", None)
    if getattr(context, "_instance", None) is not None:
        return "it holds a ZeroMQ context"
    loop = getattr(sys.modules.get("asyncio"), "_get_running_loop", lambda: None)()
    return "it runs an event loop" if loop is not None else ""


def is_fork_unsafe(module: str) -> bool:
    """Tell whether `module` is known not to survive a fork, or reads settings that may change between steps."""
    # matplotlib chooses backend and style when it is imported, from MPLBACKEND and a file in the working directory.
    package = module.partition(".")[0]
    if package != "matplotlib":
        return package in FORK_UNSAFE_PACKAGES
    return os.environ.get("MPLBACKEND", "").lower() not in _WINDOWLESS or Path("matplotlibrc").exists()


def import_safely(module: str, *, last: bool = False) -> str:
    """Import a package, and return why the import must not be shared with or moved before a step; empty if it may.

    A step must not notice that its import ran earlier, in another process. So no import may print, warn, leave threads,
    processes or open files, handle signals, use the notebook's shell, or load modules that no package installed. If the
    process is forked afterwards, it may not leave random generators either, which children would have in common.

    Parameters
    ----------
    module : str
        Its dotted name.
    last : bool
        The process will not be forked any more; then threads and random generators are allowed.
    """
    if not last and is_fork_unsafe(module):
        return "it is known for not surviving a fork"
    before, known = ProcessSnapshot.now(), set(sys.modules)
    drawn = random_state.state()
    with _in_time(), _listening() as heard:
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - the step that imports it reports the error
            return f"it cannot be imported: {type(error).__name__}"
    new = set(sys.modules) - known
    problem = "".join(heard[:1]) or _changed(before) or _user_module(new) or random_state.describe_change(drawn, new)
    return problem or ("" if last else why_fork_unsafe() or _why_not_shared(new))


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """End this process by SIGALRM if an import takes too long."""
    # The default action, not a Python handler: that would not run while an import blocks in C code.
    handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(IMPORT_PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def _changed(before: ProcessSnapshot) -> str:
    now = ProcessSnapshot.now()
    if now.descriptors - before.descriptors:
        return f"it keeps {', '.join(sorted(now.descriptors - before.descriptors))} open"
    if now.handlers != before.handlers:
        return "it handles signals"
    if now.folder != before.folder:
        return "it changes the working directory"
    if os_calls.children():
        return "it leaves a process running"
    return "it replaces a standard stream or a hook" if now.hooks != before.hooks else ""


def _why_not_shared(new: set[str]) -> str:
    """Return why the new modules cannot be shared by several processes; empty if they can."""
    for package in sorted({name.partition(".")[0] for name in new}):
        if is_fork_unsafe(package):
            return f"it brings along `{package}`, which is known for not surviving a fork"
    return random_state.record_new()


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a text
    except OSError:
        return ""


def _open_files() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - called for every import
        with contextlib.suppress(OSError):
            yield f"{number}:{os.readlink(f'/proc/self/fd/{number}')}"  # noqa: PTH115


@contextlib.contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect reasons against sharing an import: printed text, warnings, and use of the notebook's shell."""
    heard: list[str] = []
    shown = warnings.showwarning
    with tempfile.TemporaryFile() as file, std_streams.replaced(file.fileno(), heard), _notebook_shell_stub(heard):
        warnings.showwarning = lambda *_, **__: heard.append("it warns")
        try:
            yield heard
        finally:
            warnings.showwarning = shown


@contextlib.contextmanager
def _notebook_shell_stub(heard: list[str]) -> Iterator[None]:
    """Provide a stub of the notebook's shell during imports; record any use beyond the test for a notebook."""
    interactive = getattr(sys.modules.get("IPython.core.interactiveshell"), "InteractiveShell", None)
    if interactive is None:
        yield
        return

    class ZMQInteractiveShell:
        """The attributes by which packages tell a kernel from a terminal."""

        __module__ = "ipykernel.zmqshell"
        kernel: Any = None
        config: ClassVar[dict[str, Any]] = {"IPKernelApp": {}}

        def __getattr__(self, name: str) -> NoReturn:
            heard.append("it wants something of the shell of the notebook")
            raise AttributeError(name)

    shell = ZMQInteractiveShell()
    held = sys.getrefcount(shell)

    def get_ipython(*_: Any) -> Any:
        return shell

    interactive.initialized, interactive.instance = classmethod(lambda _: True), classmethod(get_ipython)
    builtins.get_ipython = get_ipython  # type: ignore[attr-defined]
    try:
        yield
    finally:
        del interactive.initialized, interactive.instance  # they hide what it inherits
        del builtins.get_ipython  # type: ignore[attr-defined]
        del get_ipython
        if sys.getrefcount(shell) != held:
            heard.append("it keeps the shell of the notebook")


def _user_module(names: set[str]) -> str:
    """Return a reason if one of the modules is the user's own, as it may change between two steps; else empty."""
    homes = tuple({f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")})
    for name in sorted(names - {"__mp_main__"}):  # multiprocessing's other name for the program itself
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and Path(file).is_absolute() and not (file.startswith(homes) or "-packages/" in file):
            return f"it brings along `{name}`, which no package installed"
    return ""
