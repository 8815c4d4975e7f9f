"""Record in the kernel of a step, for its worker: the log, which cell runs, and how a cell ended.

Runs inside the kernel, so it imports the standard library only. Jupyter's iopub channel drops messages under load;
files lose nothing. So everything that a step prints is written to its log, and only the beginning and the end of each
cell's output go to the notebook.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import sysconfig
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

from jupyter_pipelines.execution.kernel_side import pending_work
from jupyter_pipelines.execution.kernel_side.redaction import PROCESS_REDACTOR
from jupyter_pipelines.execution.kernel_side.step_io import ATTEMPT, DOCUMENT
from jupyter_pipelines.execution.kernel_side.tracing import step_trace

CELLS = "cells.txt"
ERROR = "error.json"
STACK = "stack.txt"
"""Files in the folder of the attempt: the cells that ran, the error of the failed cell, stacks of a crash or a hang."""

HEAD = 65_536
TAIL = 16_384
"""Characters of a cell's output that go into the notebook, from the beginning and from the end."""

TIMED = "<timed exec>"
"""File name of the code under ``%%time``."""

Cells = dict[str, tuple[int, int]]
"""By file name of the code: number of the cell, and its number of lines before that code."""

_FREE_FLUSHES = 100
_FLUSH_EVERY = 0.2
_PIPE_EMPTY_WITHIN = 1.0
_LONGEST = 20_000


def begin() -> None:
    """Start recording; the worker runs it in the kernel before the first cell.

    Raises
    ------
    KeyError, OSError
        The kernel was not started by a worker.
    """
    folder = Path(os.environ[ATTEMPT])
    document = json.loads((folder / DOCUMENT).read_text("utf-8"))
    _record_stacks(folder / STACK)
    shell = _shell()
    if shell is not None:
        _record_cells(shell, folder, document["log"])
    else:
        pending_work.record_baseline()
    if document.get("watch"):
        step_trace.begin(document["watch"])


def _record_cells(shell: Any, folder: Path, log: str) -> None:
    streams = [LimitedStream(stream, log) for stream in (sys.stdout, sys.stderr) if hasattr(stream, "pub_thread")]
    CellTracker(shell, folder, streams).attach()
    _make_exit_raise(shell)
    _leave_children_alone(shell)
    _forget_what_was_shown(shell)


def _shell() -> Any:
    module = sys.modules.get("IPython.core.getipython")
    return module.get_ipython() if module else None


def _record_stacks(path: Path) -> None:
    """Write the stack of the main thread to a file on a crash, and on SIGUSR1."""
    file = path.open("w")
    faulthandler.enable(file=file, all_threads=False)
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)
    # faulthandler keeps the descriptor only: once the file is closed, it would write to whichever file gets the number.
    _KEPT_OPEN.append(file)


_KEPT_OPEN: list[Any] = []


def _make_exit_raise(shell: Any) -> None:
    """Make ``quit()`` end the cell as ``sys.exit()`` does; a notebook would go on and ask to be shut down later."""

    def leave() -> NoReturn:
        error = SystemExit(0)
        error.called = "quit()"  # type: ignore[attr-defined]
        raise error

    with contextlib.suppress(AttributeError):
        shell.ask_exit = leave


def _leave_children_alone(shell: Any) -> None:
    """Keep ipykernel from signalling children at its shutdown: it waits up to 15 s for children that are dead already.

    The worker ends them, after exit handlers (such as those of process pools) had the chance to do so.
    """
    with contextlib.suppress(AttributeError):
        shell.kernel._process_children = list  # noqa: SLF001 - there is no public way


def _forget_what_was_shown(shell: Any) -> None:
    """Keep IPython from holding all that a cell prints in memory; only ``%notebook`` asks for it."""
    with contextlib.suppress(AttributeError):
        shell._tee = lambda *_, **__: contextlib.nullcontext()  # noqa: SLF001 - there is no public way


class LimitedStream:
    """A stream of a kernel that writes all text to a log and sends its beginning and its end to the notebook.

    Parameters
    ----------
    stream : ipykernel.iostream.OutStream
        The stream; its methods are replaced.
    log : str
        Path of the log.
    """

    def __init__(self, stream: Any, log: str) -> None:
        self._stream = stream
        self._write, self._flush = stream.write, stream.flush
        self._log = log
        # Both streams, and the kernel's own stdout with the output of its children, share this file: with O_APPEND no
        # write overwrites another.
        self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._process = os.getpid()
        self._renew()
        stream.write, stream.flush = self.write, self.flush

    def write(self, text: str) -> int:
        """Write text to the log, and to the notebook as far as the limit allows; return its length."""
        if self._stream.closed or not hasattr(text, "encode"):
            return int(self._write(text) or 0)
        text = PROCESS_REDACTOR.text(text)
        self._to_log(text)
        space = max(0, HEAD - self._shown)
        self._shown += len(text)
        if len(text) <= space:
            return int(self._write(text) or 0)
        if space:
            self._write(text[:space])
        self._keep(text[space:])
        return len(text)

    def flush(self) -> None:
        """Send buffered text to the notebook, at most every 0.2 s after the first 100 flushes of a cell.

        Code that flushes after each line would send more messages than the iopub channel holds.
        """
        if os.getpid() != self._process or self._may_flush():
            self._flush()

    def finish(self) -> None:
        """Send the end of text that was left out, and reset the limit for the next cell."""
        self._drain()
        if self._left_out:
            self._write(f"\n… {self._left_out - self._kept:,} characters left out; all of it: {self._log} …\n")
            self._write("".join(self._tail))
        self._renew()
        self._flush()

    def _renew(self) -> None:
        self._shown = self._left_out = self._kept = self._flushes = 0
        self._flushed = 0.0
        self._tail: deque[str] = deque()

    def _to_log(self, text: str) -> None:
        """Write to the log unbuffered: the last lines before a crash explain it."""
        if threading.current_thread() is getattr(self._stream, "watch_fd_thread", None):
            return  # ipykernel copies what comes through a pipe to the kernel's own stdout, and that is the log
        data = memoryview(text.encode("utf-8", "replace"))
        with contextlib.suppress(OSError):
            while data:
                data = data[os.write(self._file, data) :]

    def _keep(self, text: str) -> None:
        self._left_out += len(text)
        text = text[-TAIL:]
        self._tail.append(text)
        self._kept += len(text)
        while self._kept - len(self._tail[0]) >= TAIL:
            self._kept -= len(self._tail.popleft())

    def _may_flush(self) -> bool:
        self._flushes += 1
        now = time.monotonic()
        if self._flushes > _FREE_FLUSHES and now - self._flushed < _FLUSH_EVERY:
            return False
        self._flushed = now
        return True

    def _drain(self) -> None:
        """Wait, at most a second, until ipykernel has read what child processes wrote to the standard streams."""
        pipe = getattr(self._stream, "_fid", None)
        if pipe is None:
            return
        end = time.monotonic() + _PIPE_EMPTY_WITHIN
        while _waiting(pipe) and time.monotonic() < end:
            time.sleep(0.001)


def _waiting(pipe: int) -> int:
    """Return the number of unread bytes in a pipe; 0 where the system does not tell."""
    try:
        import fcntl
        import termios

        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)
    except (ImportError, OSError):
        return 0


class CellTracker:
    """Records in files which cells ran, and the error of a cell that fails.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        The shell of the kernel.
    folder : Path
        The folder of the attempt.
    streams : list of LimitedStream
        Standard output and error of the kernel, flushed after each cell.
    """

    def __init__(self, shell: Any, folder: Path, streams: list[LimitedStream]) -> None:
        self._shell = shell
        self._folder = folder
        self._streams = streams
        self._cells: Cells = {}
        self._count = self._depth = 0
        self._process = os.getpid()
        self._text = ""
        self._swallowed: BaseException | None = None

    def attach(self) -> None:
        """Register for the shell's events before and after each cell."""
        self._shell.events.register("pre_run_cell", self.before)
        self._shell.events.register("post_run_cell", self.after)

    def before(self, info: Any) -> None:
        """Record the file name under which the cell's code appears in tracebacks."""
        self._depth += 1
        if self._depth == 1:
            if self._count == 0:
                pending_work.record_baseline()
            self._count += 1
            self._text = info.raw_cell
        offset = _offset(self._text, info.raw_cell)
        self._note(self._shell.compile.get_code_name(info.raw_cell, info.raw_cell, self._count), offset)
        if info.raw_cell.lstrip().startswith("%%time"):
            self._note(TIMED, offset + 1)

    def after(self, result: Any) -> None:
        """Flush the streams and record the error of the cell; ``%%capture`` runs a nested cell and drops its error."""
        if os.getpid() != self._process:
            return  # a child that was forked and came back here
        self._depth = max(0, self._depth - 1)
        error = result.error_before_exec or result.error_in_exec
        if self._depth:
            self._swallowed = error
            return
        for stream in self._streams:
            stream.finish()
        if error is None and self._text.lstrip().startswith("%%capture"):
            error = result.error_in_exec = self._swallowed
        self._swallowed = None
        if error is not None:
            text = json.dumps(PROCESS_REDACTOR.value(describe(error, self._cells)), default=str)
            (self._folder / ERROR).write_text(text, "utf-8")

    def _note(self, name: str, offset: int) -> None:
        self._cells[name] = (self._count, offset)
        with (self._folder / CELLS).open("a", encoding="utf-8") as file:
            file.write(f"{self._count}\t{offset}\t{name}\n")


def _offset(cell_text: str, text: str) -> int:
    """Return the number of lines of a cell before the code that runs; IPython drops blank lines at the top."""
    # From the end: below a cell magic the body stands last, and a short body may also occur in the magic's line.
    start = cell_text.rstrip().rfind(text.strip())
    return cell_text.count("\n", 0, start) if start > 0 else 0


def describe(error: BaseException, cells: Cells) -> dict[str, Any]:
    """Return an exception as a JSON document, with the frames of the user's own code only.

    Parameters
    ----------
    error : BaseException
        The exception.
    cells : dict
        The cells by file name of their code.
    """
    return {
        "type": type(error).__qualname__,
        "message": _text(error),
        "frames": list(_frames(error, cells)),
        "faults": [asdict(fault) for fault in getattr(error, "faults", ()) if hasattr(fault, "code")],
        "cause": _cause(error),
        "called": getattr(error, "called", None),
    }


def _text(error: BaseException) -> str:
    try:
        return str(error.msg if isinstance(error, SyntaxError) else error)[:_LONGEST]
    except Exception as unprintable:  # noqa: BLE001 - it is the user's code that makes the text
        return f"<its text raised {type(unprintable).__name__}>"


def _cause(error: BaseException) -> str | None:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return f"{type(cause).__qualname__}: {_text(cause)}" if cause is not None else None


def _frames(error: BaseException, cells: Cells) -> Iterator[dict[str, Any]]:
    for frame, line in walk_tb(error.__traceback__):
        if location := place_of(frame.f_code.co_filename, line, cells):
            yield location | {"function": frame.f_code.co_name}
    # Code that does not compile has no frame of its own.
    if isinstance(error, SyntaxError) and (location := place_of(error.filename or "", error.lineno or 1, cells)):
        yield location | {"function": "<module>"}


def place_of(file: str, line: int, cells: Cells) -> dict[str, Any] | None:
    """Return cell and line, or file and line, of a frame of the user's own code; None for installed packages."""
    if file in cells:
        count, offset = cells[file]
        return {"cell": count, "line": line + offset}
    if not Path(file).is_absolute() or _is_installed(file):
        return None
    return {"file": file, "line": line}


def _is_installed(file: str) -> bool:
    """Tell whether a file belongs to Python, to an installed package or to this package."""
    parts = Path(file).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    homes = [Path(__file__).parents[2], *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))]
    return any(Path(file).is_relative_to(home) for home in homes)
