"""Execute the notebook of a step cell by cell, with papermill's client and recorder, corrected in two points.

Papermill records ``completed`` for a cell whose kernel died and for every cell after it. Here a cell is ``completed``
if it ran to its end, ``failed`` if it did not, and ``pending`` if it was never started. Papermill also writes the
notebook twice for each cell; here it is written at intervals.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import nbformat
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NotebookExecutionManager

from jupyter_pipelines.execution.kernels.launch import StepKernel
from jupyter_pipelines.execution.kernels.watchdog import KernelWatchdog
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.execution.worker.diagnosis import FailureDiagnosis

Ending = Literal["done", "raised", "died", "stopped"]

MOST_OUTPUTS = 500
MOST_BYTES = 32_000_000
"""Limits for what one cell displays: number of outputs and size of their text."""

# `force_raise_errors`: a cell tagged `raises-exception` would otherwise fail without failing the step.
_OPTIONS = {"coalesce_streams": True, "force_raise_errors": True}
_SAVE_EVERY = 1.0
_DRAIN = 0.1


class CellListener(Protocol):
    """A callable that is notified of each cell."""

    def __call__(self, cell: int, cells: int) -> None:
        """Handle the start of code cell number `cell`, counted from 1, of `cells`."""


@dataclass(slots=True, kw_only=True)
class ExecutionContext:
    """Kernel, watchdog and callbacks for the execution of a notebook, and the record of how it ended.

    Parameters
    ----------
    kernel : StepKernel
        A connected kernel.
    watch : KernelWatchdog
        Its watchdog, not started yet.
    report : callable
        Notified of each cell.
    keep : callable
        Called at intervals with the partly executed notebook.

    Attributes
    ----------
    ending : {"done", "raised", "died", "stopped"}
        How the last started cell ended: completely, with an exception, with the death of the kernel, or by the
        watchdog (timeout, cancellation).
    cell : nbformat.NotebookNode or None
        That cell.
    number : int
        Number of code cells that were started.
    reply : dict
        Content of the kernel's last execute_reply.
    notebook : nbformat.NotebookNode or None
        The executed notebook, also if papermill raises.
    cells : tuple of nbformat.NotebookNode
        Its code cells; the kernel counts them in this order, from 1.
    """

    kernel: StepKernel
    watch: KernelWatchdog
    report: CellListener
    keep: Callable[[Any], object]
    ending: Ending = "done"
    cell: Any = None
    number: int = 0
    reply: dict[str, Any] = field(default_factory=dict)
    notebook: Any = None
    cells: tuple[Any, ...] = ()


def execute(nb: Any, conduct: ExecutionContext) -> Any:
    """Run the cells of `nb` in the kernel of `conduct`, and return `nb`."""
    conduct.notebook = nb
    conduct.cells = tuple(cell for cell in nb.cells if _is_code(cell))
    recorder = ExecutionRecorder(nb, progress_bar=False, autosave_cell_every=0)
    recorder.keep = conduct.keep
    recorder.notebook_start()
    client = StepNotebookClient(recorder, km=conduct.kernel.manager, raise_on_iopub_timeout=False, **_OPTIONS)
    client.conduct = conduct
    try:
        client.execute()
    finally:
        recorder.notebook_complete()
    return nb


class ExecutionRecorder(NotebookExecutionManager):  # type: ignore[misc]
    """Papermill's recorder of an execution, with correct states of cells, and without a save for every event."""

    keep: Callable[[Any], object]
    _next_save: float | None = None

    def save(self, **_: Any) -> None:
        """Save the notebook at most every second, and for at most a fifth of the time.

        Saving for each cell, as papermill does, takes time quadratic in the number of cells.
        """
        now = time.monotonic()
        if self._next_save is not None and now >= self._next_save:
            self.keep(self.nb)
        if self._next_save is None or now >= self._next_save:
            self._next_save = time.monotonic() + max(_SAVE_EVERY, 5 * (time.monotonic() - now))

    def cell_failed(self, cell: Any) -> None:
        """Record that a cell did not run to its end."""
        self.cell_exception(cell)

    def notebook_complete(self, **_: Any) -> None:
        """Record the end time; cells that were never started stay pending."""
        # Not the base method: that marks every remaining cell as completed.
        self.end_time = self.now()
        metadata = self.nb.metadata.papermill
        metadata["end_time"] = self.end_time.isoformat()
        metadata["duration"] = (self.end_time - self.start_time).total_seconds()


class StepNotebookClient(PapermillNotebookClient):  # type: ignore[misc]
    """Papermill's notebook client, for a kernel that the worker starts, watches and ends."""

    conduct: ExecutionContext

    def execute(self, **_: Any) -> Any:
        """Execute the cells until one fails or the watchdog stops the step."""
        self.reset_execution_trackers()
        self.kc = self.conduct.kernel.client
        # `input()` raises at once; otherwise it would wait for an answer that never comes.
        self.kc.allow_stdin = False
        self.on_cell_executed = self._note_reply
        self.conduct.watch.start()
        try:
            self.papermill_execute_cells()
        finally:
            self.conduct.watch.stop()
        if self.conduct.watch.reason is not None and self.conduct.ending != "died":
            self.conduct.ending = "stopped"
        # Known from the connection: papermill asks the kernel at the end, which fails if it has died.
        self.nb.metadata["language_info"] = self.conduct.kernel.language
        self.set_widgets_metadata()
        return self.nb

    def papermill_execute_cells(self) -> None:
        """Execute the cells in order; stop after the first that does not run to its end."""
        for index, cell in enumerate(self.nb.cells):
            if _is_code(cell):
                self._start(cell)
            self.nb_man.cell_start(cell, index)
            self.conduct.ending = self._run(cell, index)
            # Before `cell_complete`, which marks every cell as completed that has not failed by then.
            if self.conduct.ending != "done":
                self.nb_man.cell_failed(cell)
            self.nb_man.cell_complete(cell, index)
            if self.conduct.ending != "done" or self.conduct.watch.reason is not None:
                return

    def _start(self, cell: Any) -> None:
        self.conduct.cell = cell
        self.conduct.number += 1
        self._shown = self._displayed = 0
        self.conduct.report(self.conduct.number, len(self.conduct.cells))

    def _run(self, cell: Any, index: int) -> Ending:
        try:
            self.execute_cell(cell, index)
        except CellExecutionError:
            return "raised"
        except DeadKernelError:
            return "died"
        except CellTimeoutError:
            return "died"
        return "done"

    async def _async_poll_kernel_alive(self) -> None:
        """Wait for the kernel's death by an event; nbclient polls once a second."""
        await self.conduct.kernel.ended()
        # Messages that the kernel sent before it died may still be on their way.
        await asyncio.sleep(_DRAIN)
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()

    def _note_reply(self, *, execute_reply: dict[str, Any], **_: Any) -> None:
        self.conduct.reply = dict(execute_reply["content"])

    _shown = _displayed = 0

    def output(self, outs: list[Any], msg: Any, display_id: str, cell_index: int) -> Any:
        """Add an output to a cell, within limits: a notebook of gigabytes can be neither sent nor opened."""
        if msg["msg_type"] not in ("display_data", "execute_result"):
            return super().output(outs, msg, display_id, cell_index)
        fitted = self._fits()
        self._shown += 1
        self._displayed += sum(len(str(data)) for data in msg["content"]["data"].values())
        if self._fits():
            return super().output(outs, msg, display_id, cell_index)
        if fitted:
            outs.append(new_output("stream", name="stderr", text=_NOTICE))  # type: ignore[no-untyped-call]
        return None

    def _fits(self) -> bool:
        return self._shown <= MOST_OUTPUTS and self._displayed <= MOST_BYTES


_NOTICE = "… the cell shows more than fits into a notebook; the rest is left out …\n"


def _is_code(cell: Any) -> bool:
    return bool(cell.cell_type == "code" and cell.source.strip())


def annotate(conduct: ExecutionContext, ticket: StepTicket, verdict: FailureDiagnosis | None) -> None:
    """Record parameters, state and error of the step in the metadata of the executed notebook."""
    nb = conduct.notebook
    metadata = nb.metadata.setdefault("papermill", {})
    metadata |= {
        "parameters": dict(ticket.parameters),
        "input_path": None,
        "output_path": ticket.publish["notebook"],
        "exception": True if verdict else None,
    }
    nb.metadata["jupyter_pipelines"] = {
        "run": ticket.run,
        "step": ticket.step,
        "attempt": ticket.attempt,
        "state": verdict.state if verdict else "succeeded",
        "error": verdict.fault.to_dict() if verdict else None,
    }
    if verdict is not None and conduct.ending != "raised" and conduct.cell is not None:
        _explain(conduct.cell, verdict)


def _explain(cell: Any, verdict: FailureDiagnosis) -> None:
    """Add the diagnostic as an error output to the cell, as a kernel that died or was stopped sent none."""
    if any(output.get("ename") == verdict.fault.code for output in cell.outputs):
        return
    # As an output of the type `error`, so that Jupyter shows it like an exception of the cell.
    text = str(verdict.fault).splitlines()
    cell.outputs.append(
        new_output(  # type: ignore[no-untyped-call]
            "error", ename=verdict.fault.code, evalue=verdict.fault.message, traceback=text
        )
    )


def publish(nb: Any, path: Path) -> str:
    """Write a notebook to `path` atomically, and return the path; :func:`make_durable` flushes it later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(nbformat.writes(nb) + "\n", "utf-8")  # type: ignore[no-untyped-call]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)


def make_durable(path: Path) -> None:
    """Flush a file to the disk, so that it survives a power cut; a missing file is ignored."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.fsync(file.fileno())
