"""Detached runs, which outlive the process that starts them: the order of a run, and the start of its process.

The order is a document in the folder of the run. The process is a daemon: it has its own session, init as its parent,
no terminal and no input, and its output goes to a file in the folder of the run. So it lives on when its caller ends,
is killed with its process group, or loses its terminal.

The process sends one line through a pipe: that the run's document exists, or why the run cannot start. :func:`start`
waits for that line.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from jupyter_pipelines import errors
from jupyter_pipelines.errors import Diagnostic, ExecutorLost, PipelinesError, StoreError
from jupyter_pipelines.execution.runs import stop_requests
from jupyter_pipelines.execution.runs.events import Event
from jupyter_pipelines.execution.runs.result import error_from_dict, error_to_dict
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.storage.files.os_errors import missing_error, writing
from jupyter_pipelines.storage.records.run_store import DOCUMENT, FOLDER
from jupyter_pipelines.storage.store import Store

ORDER = "order.json"
OUTPUT = "runner.log"
_SCHEMA = "jupyter-pipelines/order/1"
_LAST = 3
# Variables that tie the caller to its parent; a detached run has no parent.
_PRIVATE = ("JPY_PARENT_PID", "JPY_SESSION_NAME", "JPY_INTERRUPT_EVENT", "JUPYTER_PIPELINES_ATTEMPT")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedOrder:
    """The complete specification of a detached run, independent of later changes to the notebook file.

    Parameters
    ----------
    document : NotebookDocument
        The notebook at the time of the order, unsaved changes of cells included.
    parameters : Mapping
        Values by name.
    to, start, only : tuple of str
        Selected part of the graph, by steps.
    force : bool or tuple of str
        Steps to compute again, or True for all.
    jobs : int or None
        Number of steps that run at once; None for the executor's default.
    on : str
        The executor, as after ``--on``.
    keep_going : bool
        After a failure, go on with the steps that do not depend on it.
    """

    document: NotebookDocument
    parameters: Mapping[str, Any] = field(default_factory=dict)
    to: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    force: bool | tuple[str, ...] = False
    jobs: int | None = None
    on: str = "local"
    keep_going: bool = False

    def selection(self) -> dict[str, Any]:
        """Return the selection, as keyword arguments of a project's methods."""
        return {"to": self.to, "start": self.start, "only": self.only, "force": self.force}

    def run_options(self) -> dict[str, Any]:
        """Return the options of the run, as keyword arguments of a project's methods."""
        return {"jobs": self.jobs, "on": self.on, "keep_going": self.keep_going}

    def to_dict(self) -> dict[str, Any]:
        """Return the order as a JSON-serializable document."""
        contents = {"document": self.document.to_dict(), "parameters": dict(self.parameters)}
        return {"schema": _SCHEMA, **contents, **self.selection(), **self.run_options()}

    @classmethod
    def from_dict(cls, order: Mapping[str, Any]) -> DetachedOrder:
        """Return the order for a document made by :meth:`to_dict`.

        Raises
        ------
        ValueError
            The document is no order, or has another format version.
        """
        if order.get("schema") != _SCHEMA:
            raise ValueError(f"expected a document of format {_SCHEMA}, got {order.get('schema')!r}")
        force = order["force"]
        selection: dict[str, Any] = {name: tuple(order[name]) for name in ("to", "start", "only")}
        manner: dict[str, Any] = {name: order[name] for name in ("jobs", "on", "keep_going")}
        return cls(
            document=NotebookDocument.from_dict(order["document"]),
            parameters=order["parameters"],
            force=force if isinstance(force, bool) else tuple(force),
            **selection,
            **manner,
        )


def start(module: str, order: DetachedOrder, store: Store, *, run: str | None = None) -> str:
    """Start a run in a detached process, and return its id once its document exists.

    Parameters
    ----------
    module : str
        The module that the process runs (`python -m`), with the store's URL and the id as arguments.
    order : DetachedOrder
        Specification of the run.
    store : Store
        The store for the run.
    run : str or None
        Its id, if it has one already.

    Raises
    ------
    PipelinesError
        The run could not start; no step has run.
    """
    run = run or store.runs.new_id()
    folder = store.runs.create(run)
    try:
        store.folder.write(f"{FOLDER}/{run}/{ORDER}", json.dumps(order.to_dict(), separators=(",", ":")).encode())
        with writing(store.root, f"the run {run}"):
            # -P: the working directory is the user's, and a module there could shadow one of this package's imports.
            line = _first_line([sys.executable, "-P", "-m", module, store.url, run], folder)
    except KeyboardInterrupt:
        # The run may have started before the interrupt: the request ends it in that case, and harms nothing otherwise.
        with contextlib.suppress(OSError):
            stop_requests.request_stop(folder, now=True)
        raise
    if line != _READY:
        error = _start_error(line, folder)
        # With a document the run is visible to others, and stays in the history.
        if not (folder / DOCUMENT).exists():
            store.runs.remove(run)
        raise error
    return run


def read_order(store: Store, run: str) -> DetachedOrder:
    """Read the order of a run from its folder, and remove it: the notebook in it may contain passwords.

    Raises
    ------
    StoreError
        The order is missing or cannot be read (JP405).
    """
    path = f"{FOLDER}/{run}/{ORDER}"
    try:
        order = DetachedOrder.from_dict(json.loads(store.folder.read(path)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise missing_error(f"a readable order for the run `{run}`", store.root) from error
    with contextlib.suppress(StoreError):
        store.folder.rm(path)
    return order


class StartReporter:
    """An observer that reports through a pipe to the caller that the run has started.

    Parameters
    ----------
    folder : Path
        The folder of the run.
    pipe : text file
        Pipe to the caller, which may have ended.
    """

    def __init__(self, folder: Path, pipe: IO[str]) -> None:
        self._document = folder / DOCUMENT
        self._pipe = pipe

    def __call__(self, *, event: Event) -> None:  # noqa: ARG002 - any event will do
        """Report the start once the document of the run exists."""
        # At the first event after it was written: callers look for the run as soon as they have its id.
        if not self._pipe.closed and self._document.exists():
            self._say(_READY)

    def refuse(self, error: PipelinesError) -> None:
        """Report why the run did not start."""
        faults = [error_to_dict(fault) for fault in error.faults]
        self._say(json.dumps({"error": type(error).__name__, "faults": faults}))

    def _say(self, line: str) -> None:
        # One line only: after it the pipe is closed, and the caller returns.
        if not self._pipe.closed:
            # A caller that has ended breaks the pipe; the run goes on.
            with contextlib.suppress(OSError):
                self._pipe.write(line + "\n")
                self._pipe.close()


_READY = "ready"


def _first_line(command: Sequence[str], folder: Path) -> str:
    """Start a daemon process, and return the first line that it writes to its stdout; empty if it ended before."""
    mine, theirs = os.pipe()
    with os.fdopen(mine) as answer:
        with _log(folder) as log:
            try:
                # The started process forks and exits: the daemon is a child of init, and leaves no zombie here.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=theirs,
                    stderr=log,
                    env={name: value for name, value in os.environ.items() if name not in _PRIVATE},
                    start_new_session=True,
                )
            finally:
                # Or `readline` below would never see the end of the file when the daemon dies.
                os.close(theirs)
        process.wait()
        return answer.readline().rstrip("\n")


@contextlib.contextmanager
def _log(folder: Path) -> Iterator[int]:
    # For this user only: tracebacks in it may show data.
    log = os.open(folder / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield log
    finally:
        os.close(log)


def _start_error(line: str, folder: Path) -> PipelinesError:
    if not line:
        return ExecutorLost(_died_fault(folder))
    answer = json.loads(line)
    kind: type[PipelinesError] = getattr(errors, answer["error"], PipelinesError)
    return kind(*(error_from_dict(fault) for fault in answer["faults"]))


def _died_fault(folder: Path) -> Diagnostic:
    try:
        lines = (folder / OUTPUT).read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    return Diagnostic(
        code="JP308",
        message="the process that was to run the pipeline ended before it had begun",
        suggestion="run it without `--detach` to see more",
        notes=tuple(f"it wrote last: {line.strip()[:200]}" for line in lines if line.strip())[-_LAST:],
    )
