"""Execute the notebook of a step cell by cell: papermill's client and its record, corrected where they are wrong.

Papermill notes ``completed`` for a cell whose kernel died and for every cell after it. Here a cell is ``completed``
when it ran to its end, ``failed`` when it did not, and ``pending`` when it was never reached.
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

_OPTIONS = {"coalesce_streams": True, "force_raise_errors": True}
_SAVE_EVERY = 1.0
_DRAIN = 0.1


class CellListener(Protocol):
    """A callable that is notified of each cell."""

    def __call__(self, cell: int, cells: int) -> None:
        """Handle the start of code cell number `cell`, counted from 1, of `cells`."""


@dataclass(slots=True, kw_only=True)
class ExecutionContext:
    """With what a step's notebook is executed, and how the execution ended.

    Parameters
    ----------
    kernel : StepKernel
        A kernel that answers.
    watch : KernelWatchdog
        Watches it; not started yet.
    report : callable
        Notified of each cell.
    keep : callable
        Called now and then with the notebook as far as it has come.

    Attributes
    ----------
    ending : {"done", "raised", "died", "stopped"}
        How the last cell that ran ended: to its end, with an exception, with the kernel's death, or before it because
        the step was made to stop.
    cell : nbformat.NotebookNode or None
        That cell.
    number : int
        How many code cells were started.
    reply : dict
        What the kernel answered last.
    notebook : nbformat.NotebookNode or None
        What was executed, also when papermill returns nothing.
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
    """Papermill's recorder of an execution, without its two faults: wrong states, and a save for every event."""

    keep: Callable[[Any], object]
    _next_save: float | None = None

    def save(self, **_: Any) -> None:
        """Keep the notebook now and then; writing it twice for each cell takes time that grows with its square."""
        now = time.monotonic()
        if self._next_save is not None and now >= self._next_save:
            self.keep(self.nb)
        if self._next_save is None or now >= self._next_save:
            self._next_save = time.monotonic() + max(_SAVE_EVERY, 5 * (time.monotonic() - now))

    def cell_failed(self, cell: Any) -> None:
        """Note that a cell did not run to its end."""
        self.cell_exception(cell)

    def notebook_complete(self, **_: Any) -> None:
        """Note the end; cells that were never reached stay pending."""
        self.end_time = self.now()
        metadata = self.nb.metadata.papermill
        metadata["end_time"] = self.end_time.isoformat()
        metadata["duration"] = (self.end_time - self.start_time).total_seconds()


class StepNotebookClient(PapermillNotebookClient):  # type: ignore[misc]
    """Papermill's client, on a kernel that the worker starts, watches and ends."""

    conduct: ExecutionContext

    def execute(self, **_: Any) -> Any:
        """Run all cells, or as many as can be."""
        self.reset_execution_trackers()
        self.kc = self.conduct.kernel.client
        self.kc.allow_stdin = False
        self.on_cell_executed = self._note_reply
        self.conduct.watch.start()
        try:
            self.papermill_execute_cells()
        finally:
            self.conduct.watch.stop()
        if self.conduct.watch.reason is not None and self.conduct.ending != "died":
            self.conduct.ending = "stopped"
        self.nb.metadata["language_info"] = self.conduct.kernel.language
        self.set_widgets_metadata()
        return self.nb

    def papermill_execute_cells(self) -> None:
        """Run the cells until one does not run to its end."""
        for index, cell in enumerate(self.nb.cells):
            if _is_code(cell):
                self._start(cell)
            self.nb_man.cell_start(cell, index)
            self.conduct.ending = self._run(cell, index)
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
        """Notice the death of the kernel when it happens; nbclient looks once a second."""
        await self.conduct.kernel.ended()
        await asyncio.sleep(_DRAIN)
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()

    def _note_reply(self, *, execute_reply: dict[str, Any], **_: Any) -> None:
        self.conduct.reply = dict(execute_reply["content"])

    _shown = _displayed = 0

    def output(self, outs: list[Any], msg: Any, display_id: str, cell_index: int) -> Any:
        """Keep what a cell shows, within limits: a notebook of gigabytes can be neither sent nor opened."""
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
    """Record in the metadata of the notebook of `conduct` what became of the step."""
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
    """Add the fault as an error output to the cell, because the kernel could not send one any more."""
    if any(output.get("ename") == verdict.fault.code for output in cell.outputs):
        return
    text = str(verdict.fault).splitlines()
    cell.outputs.append(
        new_output(  # type: ignore[no-untyped-call]
            "error", ename=verdict.fault.code, evalue=verdict.fault.message, traceback=text
        )
    )


def publish(nb: Any, path: Path) -> str:
    """Write a notebook to `path`, whole or not at all, and return the path; :func:`make_durable` comes later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(nbformat.writes(nb) + "\n", "utf-8")  # type: ignore[no-untyped-call]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)


def make_durable(path: Path) -> None:
    """Flush a file to the disk, so that it outlasts a power cut; a file that is missing is ignored."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.fsync(file.fileno())
