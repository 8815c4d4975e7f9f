"""Run a notebook from top to bottom in a fresh kernel, as its author would, and record outputs and effects of cells.

Nothing is stored, and the notebook file is not changed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_notebook

from jupyter_pipelines.execution.kernels.launch import KernelStartError, StepKernel
from jupyter_pipelines.execution.kernels.launch_environment import step_environment
from jupyter_pipelines.execution.kernels.prestart import KernelConfig

START_TIMEOUT = 60.0
LOOK_TIMEOUT = 60.0
Result = TypeVar("Result")
MODULE = "jupyter_pipelines.execution.kernel_side.observing.observer"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookRunResult:
    """The outcome of running a notebook.

    Parameters
    ----------
    outputs : Mapping of int to list of dict
        By number of the cell: its outputs in nbformat.
    errors : Mapping of int to (str, str)
        By number of the cell: type and text of the exception that ended it.
    seen : tuple of dict
        The observer's document for each cell; empty if cells were not observed.
    stopped : tuple of (int, str) or None
        The cell at which the run ended early, and why.
    """

    outputs: Mapping[int, list[dict[str, Any]]]
    errors: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    seen: tuple[Mapping[str, Any], ...] = ()
    stopped: tuple[int, str] | None = None


def run_whole_notebook(
    cells: Sequence[tuple[int, str]],
    *,
    folder: Path,
    kernel: str | None = None,
    observe: bool = False,
    errors_expected: frozenset[int] = frozenset(),
    timeout: float | None = None,
) -> NotebookRunResult:
    """Run code cells one after the other in a fresh kernel.

    Parameters
    ----------
    cells : sequence of (int, str)
        Number and source of each cell.
    folder : Path
        Working directory of the kernel.
    kernel : str or None
        Name of a kernelspec; None for IPython's kernel in this interpreter.
    observe : bool
        Record the effects of each cell.
    errors_expected : frozenset of int
        Cells whose exceptions do not end the run.
    timeout : float or None
        Seconds that one cell may take.
    """
    with tempfile.TemporaryDirectory(prefix="jp-rehearsal-") as private:
        log, seen = Path(private, "kernel.log"), Path(private, "seen.jsonl")
        config = KernelConfig(name=kernel, cwd=str(folder), environment=step_environment(os.environ), forks=None)
        running = config.new_kernel(log)
        try:
            running.launch()
            running.connect(START_TIMEOUT, lambda: False)
            if observe:
                running.evaluate(_call("begin", str(seen), str(folder)), START_TIMEOUT)
            stage = _WholeNotebookRunner(running, observe=observe, errors_expected=errors_expected, timeout=timeout)
            stage.run_cells(cells)
            running.shut_down(2.0)
        except KernelStartError as error:
            return NotebookRunResult(outputs={}, stopped=(0, f"the kernel did not start: {error.why}"))
        finally:
            running.close()
        lines = seen.read_text("utf-8").splitlines() if seen.exists() else []
        documents = tuple(json.loads(line) for line in lines)
        return NotebookRunResult(outputs=stage.outputs, errors=stage.errors, seen=documents, stopped=stage.stopped)


def run_concurrently(works: Sequence[Callable[[], Result]]) -> list[Result]:
    """Call functions that use kernels concurrently, each in a thread with its own event loop."""
    with ThreadPoolExecutor(len(works)) as pool:
        return [job.result() for job in [pool.submit(_in_loop, work) for work in works]]


def _in_loop(work: Callable[[], Result]) -> Result:
    loop = ensure_event_loop()
    try:
        return work()
    finally:
        loop.close()


def _call(function: str, *arguments: Any) -> str:
    argument_list = ", ".join(map(repr, arguments))
    return f"__import__({MODULE!r}, fromlist=['x']).{function}({argument_list})"


class _WholeNotebookRunner:
    """Executes the cells of a notebook in one kernel, and collects their outputs and errors."""

    def __init__(
        self, kernel: StepKernel, *, observe: bool, errors_expected: frozenset[int], timeout: float | None
    ) -> None:
        self.kernel = kernel
        self.observe = observe
        self.errors_expected = errors_expected
        self.timeout = timeout
        self.outputs: dict[int, list[dict[str, Any]]] = {}
        self.errors: dict[int, tuple[str, str]] = {}
        self.stopped: tuple[int, str] | None = None
        self._played: list[tuple[int, int]] = []

    def run_cells(self, cells: Sequence[tuple[int, str]]) -> None:
        code_cells = [new_code_cell(text) for _, text in cells]  # type: ignore[no-untyped-call]
        client = _WholeNotebookClient(new_notebook(cells=code_cells), self.kernel, self.timeout)  # type: ignore[no-untyped-call]
        for index, (number, text) in enumerate(cells):
            if text.strip():
                self._run_cell(client, index, number)
            if self.stopped is not None:
                break
        # Taken at the end: a cell may update the display of an earlier one (`update_display`).
        for index, number in self._played:
            self.outputs[number] = [dict(output) for output in client.nb.cells[index].outputs]

    def _run_cell(self, client: _WholeNotebookClient, index: int, number: int) -> None:
        cell = client.nb.cells[index]
        try:
            client.execute_cell(cell, index)
        except CellExecutionError as error:
            self.errors[number] = (error.ename, error.evalue)
            if number not in self.errors_expected:
                self.stopped = (number, f"{error.ename}: {error.evalue}")
        except (DeadKernelError, CellTimeoutError) as error:
            self.stopped = (number, f"{type(error).__name__}: {error}".splitlines()[0])
        self._played.append((index, number))
        if self.observe and self.stopped is None:
            self._look(number)

    def _look(self, number: int) -> None:
        try:
            self.kernel.evaluate(_call("after", number), LOOK_TIMEOUT)
        except KernelStartError as error:
            self.stopped = (number, f"what the cell did cannot be seen: {error.why}")


class _WholeNotebookClient(NotebookClient):
    """nbclient's client, for a kernel that its caller starts and ends."""

    def __init__(self, notebook: Any, kernel: StepKernel, timeout: float | None) -> None:
        super().__init__(
            notebook,
            km=kernel.manager,
            timeout=timeout,
            coalesce_streams=True,
            force_raise_errors=True,
            raise_on_iopub_timeout=False,
        )
        self.reset_execution_trackers()
        self.kc = kernel.client
        # `input()` raises at once; otherwise it would wait for an answer that never comes.
        self.kc.allow_stdin = False
