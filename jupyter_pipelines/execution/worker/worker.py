"""TICKET -> OUTCOME: :func:`execute`, which every executor calls.

A process runs one ticket at a time, as papermill changes the working directory of the whole process. Nothing here
writes a record; an attempt leaves behind blobs, the executed notebook and the log, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, PipelinesError
from jupyter_pipelines.execution.kernel_side.redaction import redactor_for
from jupyter_pipelines.execution.kernel_side.step_io import ATTEMPT, DOCUMENT
from jupyter_pipelines.execution.kernels import processes
from jupyter_pipelines.execution.kernels.launch import ForkConfig, KernelStartError, StepKernel
from jupyter_pipelines.execution.kernels.launch_environment import step_environment
from jupyter_pipelines.execution.kernels.prestart import (
    KernelConfig,
    KernelPrestarter,
    begin_expression,
    finish_expression,
)
from jupyter_pipelines.execution.kernels.watchdog import CancelToken, KernelWatchdog
from jupyter_pipelines.execution.ticket import (
    NOTHING,
    InputSpec,
    KernelPreimports,
    StepOutcome,
    StepTicket,
    TicketProgress,
)
from jupyter_pipelines.execution.timestamps import now
from jupyter_pipelines.execution.worker import diagnosis, trace_report
from jupyter_pipelines.execution.worker.diagnosis import FailureDiagnosis, FailureEvidence
from jupyter_pipelines.execution.worker.staging import StagedOutputs, has_no_pending_work, stage_inputs, stage_outputs
from jupyter_pipelines.pipeline.identifiers import file_stem
from jupyter_pipelines.storage.files.os_errors import writing
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

if TYPE_CHECKING:
    from jupyter_pipelines.execution.worker.notebook_client import ExecutionContext

START_TIMEOUT = 60.0
"""Seconds that a kernel may take to answer."""

EXIT_PATIENCE = 5.0
"""Seconds that a kernel may take to end by itself once its step is finished."""


@dataclass(slots=True, kw_only=True)
class AttemptContext:
    """The resources that an attempt holds while it runs, so that another thread can release them at once.

    Parameters
    ----------
    cancel : CancelToken
        Requests the end of the attempt.
    kernel : StepKernel or None
        Its kernel, while there is one.
    folders : list of Path
        Temporary folders to remove.
    alone : bool
        This process runs steps only and adopts orphans: every descendant belongs to the step.
    forks : str or None
        Socket of the zygote from which kernels are forked.
    ahead : KernelPrestarter or None
        Holds a spare kernel.
    later : ExitStack
        Clean-up that may run after the outcome has been sent.
    changed : callable
        Called when the kernel has been launched.
    """

    cancel: CancelToken = field(default_factory=CancelToken)
    kernel: StepKernel | None = None
    folders: list[Path] = field(default_factory=list)
    alone: bool = False
    forks: str | None = None
    ahead: KernelPrestarter | None = None
    later: ExitStack = field(default_factory=ExitStack)
    changed: Callable[[], None] = lambda: None

    def clear(self) -> None:
        """Kill the processes of the attempt and remove its folders, at once."""
        if self.kernel is not None:
            self.kernel.kill()
        processes.kill_all(self.child_processes)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def child_processes(self) -> list[Any]:
        """Return the living processes that the step started, without the kernel itself."""
        # Forked kernels descend from the zygote: what they start is found by its environment and session instead.
        kernel, ahead = self.kernel, self.ahead
        pid = kernel.pid if kernel is not None else 0
        others = (pid, ahead.pid if ahead is not None else 0)
        candidates = processes.descendants() if self.alone else []
        if self.forks is not None or not self.alone:
            candidates += processes.marked_processes(ATTEMPT, self.mark, session=pid)
        return [process for process in candidates if process.pid not in others]

    def remove(self, folder: Path) -> None:
        """Remove a folder of the attempt."""
        self.folders.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)

    @property
    def mark(self) -> str:
        """Value of the environment variable that identifies the processes of the step."""
        return str(self.folders[0]) if self.folders else "none"


def execute(
    ticket: StepTicket,
    *,
    progress: Callable[[TicketProgress], None] = lambda _: None,
    workplace: AttemptContext | None = None,
) -> StepOutcome:
    """Run the notebook of a ticket and return the outcome; failures of the step raise nothing.

    Parameters
    ----------
    ticket : StepTicket
        The ticket to run.
    progress : callable
        Called for every cell, and every half second with the last line printed; from any thread.
    workplace : AttemptContext or None
        Allows to cancel the attempt; a caller that passes it must close its ``later`` after the outcome.
    """
    if workplace is None:
        own_workplace = AttemptContext()
        try:
            return execute(ticket, progress=progress, workplace=own_workplace)
        finally:
            own_workplace.later.close()
    started, clock = now(), time.monotonic()
    try:
        outcome = _attempt(ticket, progress, workplace)
    except PipelinesError as error:
        outcome = StepOutcome(ticket=ticket.id, state="failed", fault=replace(error.faults[0], step=ticket.step))
    return replace(outcome, started=started, seconds=time.monotonic() - clock)


def _attempt(ticket: StepTicket, progress: Callable[[TicketProgress], None], workplace: AttemptContext) -> StepOutcome:
    with ExitStack() as stack:
        store = open_store(ticket.store, create=False)
        stack.callback(store.close)
        folder = store.scratch(f".{file_stem(ticket.step)}")
        # The first folder of the list: its path marks the processes of the attempt.
        workplace.folders.append(folder)
        stack.callback(workplace.remove, folder)
        return StepAttempt(ticket, store, folder, progress, workplace, stack).run()


class StepAttempt:
    """One attempt at a step.

    Parameters
    ----------
    ticket : StepTicket
        The ticket to run.
    store : Store
        The store of inputs and outputs.
    folder : Path
        Private folder of the attempt.
    progress : callable
        Called with progress reports.
    workplace : AttemptContext
        Holds the resources of the attempt.
    stack : ExitStack
        Clean-up at the end of the attempt.
    """

    def __init__(
        self,
        ticket: StepTicket,
        store: Store,
        folder: Path,
        progress: Callable[[TicketProgress], None],
        workplace: AttemptContext,
        stack: ExitStack,
    ) -> None:
        self._stack = stack
        self._ticket = ticket
        self._store = store
        self._folder = folder
        self._progress = progress
        self._workplace = workplace
        self._log = Path(ticket.publish["log"])
        self._last = TicketProgress(ticket=ticket.id)
        # Counted before and after: a difference tells a kill by the OOM killer from any other SIGKILL.
        self._kills = processes.out_of_memory_kills()
        self._evidence = FailureEvidence(ticket=ticket, folder=folder)
        self._veil = redactor_for(ticket.secrets, ticket.cwd, {**os.environ, **ticket.environment})

    def run(self) -> StepOutcome:
        """Run the attempt and return its outcome; see ``later`` of the context for what still runs then."""
        input_specs = stage_inputs(self._ticket, self._store, self._folder)
        with writing(self._store.root, f"the ticket of step `{self._ticket.step}`"):
            self._prepare(input_specs)
        try:
            kernel = self._stack.enter_context(self._kernel())
        except KernelStartError as error:
            return self._unstarted(error)
        conduct = self._conduct(kernel)
        self._execute(conduct)
        if conduct.ending == "done" and conduct.watch.reason is None and has_no_pending_work(self._folder):
            # The kernel has no pending work; it is killed after the outcome has been sent, while the next step runs.
            self._workplace.later = self._stack.pop_all()
        else:
            if conduct.ending == "raised" and self._ticket.trace_key:
                with contextlib.suppress(KernelStartError):
                    kernel.evaluate(finish_expression(str(self._folder)), START_TIMEOUT)
            kernel.shut_down(EXIT_PATIENCE)
        return self._conclude(conduct, self._verdict(conduct))

    def _prepare(self, input_specs: Mapping[str, InputSpec]) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._log.write_bytes(b"")
        # The kernel may run another Python, which cannot open every store: it gets paths of staged inputs instead.
        document = self._ticket.to_dict(notebook=False) | {"inputs": dict(input_specs), "store": str(self._store.root)}
        _write(Path(self._ticket.path), document)
        watch = trace_report.watch_document(self._ticket, self._store, self._folder) if self._ticket.traced else None
        _write(self._folder / DOCUMENT, {"ticket": self._ticket.path, "log": str(self._log), "watch": watch})
        _write(self._folder / "step.ipynb", self._ticket.notebook)

    @contextmanager
    def _kernel(self) -> Iterator[StepKernel]:
        """Start a kernel; at the end of the block, end it with all the processes and files that it left."""
        ticket, workplace = self._ticket, self._workplace
        if not Path(ticket.cwd).is_dir():
            raise KernelStartError(f"the folder `{ticket.cwd}` does not exist")
        kernel = self._new_kernel()
        workplace.kernel = kernel
        # Before the launch: `changed` reports the folders to the runner, which removes them if this process is killed.
        workplace.folders.append(kernel.folder)
        try:
            if workplace.cancel.asked:
                raise KernelStartError("it is no longer wanted")
            self._report(text="starting the kernel")
            if kernel.process is None:
                kernel.launch(lambda: workplace.cancel.asked)
            workplace.changed()
            # While the kernel boots in its own process.
            _import_papermill()
            if kernel.client is None:
                kernel.connect(START_TIMEOUT, lambda: workplace.cancel.asked)
            kernel.evaluate(begin_expression({**ticket.late, ATTEMPT: str(self._folder)}, ticket.cwd), START_TIMEOUT)
            yield kernel
        finally:
            # The kernel first: while it lives, it could start more processes.
            kernel.close()
            processes.end_all(workplace.child_processes)
            workplace.folders.remove(kernel.folder)
            workplace.kernel = None

    def _new_kernel(self) -> StepKernel:
        """Return a prestarted kernel, or a new one that is not started yet."""
        ticket, workplace = self._ticket, self._workplace
        config = kernel_config_for(
            ticket.kernel, ticket.start or ticket.cwd, ticket.environment, ticket.warm, workplace.forks
        )
        kernel = workplace.ahead.take(config, self._log) if workplace.ahead is not None else None
        return kernel or config.new_kernel(self._log, **{ATTEMPT: str(self._folder)})

    def _conduct(self, kernel: StepKernel) -> ExecutionContext:
        from jupyter_pipelines.execution.worker.notebook_client import ExecutionContext

        cancel = self._workplace.cancel
        watch = KernelWatchdog(kernel, timeout=self._ticket.timeout, cancel=cancel, report=self._tail)
        return ExecutionContext(kernel=kernel, watch=watch, report=self._cell, keep=self._keep)

    def _keep(self, notebook: Any) -> None:
        """Publish the notebook as far as it has been executed."""
        from jupyter_pipelines.execution.worker.notebook_client import publish

        self._veil.cells(notebook)
        with contextlib.suppress(OSError):  # publishing at the end of the step reports such an error
            publish(notebook, Path(self._ticket.publish["notebook"]))

    def _execute(self, conduct: ExecutionContext) -> None:
        """Execute the notebook with papermill; the result is recorded in `conduct`, not raised or returned."""
        import papermill
        from papermill.exceptions import PapermillExecutionError

        from jupyter_pipelines.execution.worker import papermill_engine

        # papermill raises for a failed cell after the engine has returned; the engine has recorded more about it.
        with contextlib.suppress(PapermillExecutionError):
            papermill.execute_notebook(
                str(self._folder / "step.ipynb"),
                None,
                engine_name=papermill_engine.NAME,
                kernel_name=self._ticket.kernel or "python3",
                cwd=self._ticket.cwd,
                progress_bar=False,
                conduct=conduct,
            )

    def _verdict(self, conduct: ExecutionContext) -> FailureDiagnosis | None:
        """Return the diagnosis of a step that did not succeed; None if every cell ran to its end."""
        # Timeout and cancellation come first: a kernel that was stopped for them has also died or raised.
        kills = processes.out_of_memory_kills()
        self._evidence = replace(
            self._evidence,
            cells=conduct.cells,
            reached=conduct.number,
            exit_code=conduct.kernel.exit_code(),
            out_of_memory=kills is not None and self._kills is not None and kills > self._kills,
            memory=conduct.watch.memory,
            age=conduct.kernel.age(),
        )
        if conduct.watch.reason == "timed-out":
            return diagnosis.timed_out(self._evidence)
        if conduct.watch.reason == "cancelled":
            return diagnosis.cancelled(self._evidence)
        if conduct.ending == "died":
            return diagnosis.died(self._evidence)
        return diagnosis.raised(self._evidence, conduct.reply) if conduct.ending == "raised" else None

    def _unstarted(self, error: KernelStartError) -> StepOutcome:
        _write(Path(self._ticket.publish["notebook"]), self._ticket.notebook)
        verdict = diagnosis.not_started(self._evidence, error.why, error.known)
        if self._workplace.cancel.asked:
            verdict = diagnosis.cancelled(self._evidence)
        return replace(self._failure(verdict), notebook=self._ticket.publish["notebook"])

    def _conclude(self, conduct: ExecutionContext, verdict: FailureDiagnosis | None) -> StepOutcome:
        taken = stage_outputs(self._ticket, self._store, self._folder) if verdict is None else StagedOutputs()
        if taken.fault is not None:
            verdict = FailureDiagnosis(state="failed", fault=taken.fault)
        path = self._publish(conduct, verdict)
        if verdict is not None:
            # On another machine it may have failed for want of a file that was not sent: the trace tells which.
            raised = self._ticket.trace_key and conduct.ending == "raised"
            trace = trace_report.trace_of_failure(self._ticket, self._store, self._folder) if raised else None
            return replace(self._failure(verdict), notebook=path, trace=trace)
        report = self._trace_report(taken.placed) if self._ticket.traced else None
        return StepOutcome(
            ticket=self._ticket.id,
            state="succeeded",
            outputs=taken.outputs,
            warnings=taken.warnings,
            changed=taken.changed,
            log=str(self._log),
            notebook=path,
            trace=report.trace if report else None,
            appended=report.appended if report else (),
        )

    def _trace_report(self, placed: Sequence[str]) -> trace_report.TraceReport:
        return trace_report.trace_report(self._ticket, self._store, self._folder, placed)

    def _publish(self, conduct: ExecutionContext, verdict: FailureDiagnosis | None) -> str:
        from jupyter_pipelines.execution.worker.notebook_client import annotate, make_durable, publish

        stack = diagnosis.readable_stack(self._evidence)
        with writing(self._store.root, f"the notebook of step `{self._ticket.step}`"):
            if verdict is not None and stack:
                with self._log.open("a", encoding="utf-8") as log:
                    log.write(f"\n{verdict.fault.message}; innermost first:\n{stack}")
            self._veil.file(self._log)
            annotate(conduct, self._ticket, verdict)
            self._veil.cells(conduct.notebook)
            path = publish(conduct.notebook, Path(self._ticket.publish["notebook"]))
        # The executed notebook is never reused, so its fsync may happen after the outcome has been sent.
        self._workplace.later.callback(make_durable, Path(path))
        return path

    def _failure(self, verdict: FailureDiagnosis) -> StepOutcome:
        return StepOutcome(
            ticket=self._ticket.id,
            state=verdict.state,
            fault=self._veil.fault(verdict.fault),
            error_type=verdict.error_type,
            log=str(self._log),
        )

    def _cell(self, cell: int, cells: int) -> None:
        text = "" if self._last.cell is None else self._last.text
        self._report(cell=cell, cells=cells, text=text)

    def _tail(self) -> None:
        """Report the last line printed, if it has changed."""
        lines = diagnosis.last_lines(self._log, 1)
        if lines and lines[0] != self._last.text:
            self._report(text=lines[0])

    def _report(self, **changes: Any) -> None:
        self._last = replace(self._last, **changes)
        self._progress(replace(self._last, text=self._veil.text(self._last.text)))


def kernel_config_for(
    name: str | None, cwd: str, environment: Mapping[str, str], warm: KernelPreimports | None, forks: str | None
) -> KernelConfig:
    """Return the configuration of the kernel that a step needs; forked, if its environment equals the zygote's.

    Parameters
    ----------
    name, cwd, environment, warm
        As in a ticket.
    forks : str or None
        Socket of the zygote from which kernels are forked.
    """
    source = None
    if forks is not None and name is None and not environment:
        preimports = warm or NOTHING
        source = ForkConfig(path=forks, shared=tuple(preimports["shared"]), own=tuple(preimports["own"]))
    return KernelConfig(name=name, cwd=cwd, environment={**step_environment(os.environ), **environment}, forks=source)


def _import_papermill() -> None:
    """Import papermill and nbclient; the first time takes about as long as the start of a kernel."""
    from jupyter_pipelines.execution.worker import notebook_client, papermill_engine

    del notebook_client
    papermill_engine.register()


def lost_outcome(ticket: StepTicket, why: str, notes: tuple[str, ...] = ()) -> StepOutcome:
    """Return the outcome of a ticket whose worker was lost.

    Parameters
    ----------
    ticket : StepTicket
        The ticket that the worker was running.
    why : str
        How the worker ended, as a clause.
    notes : tuple of str
        Further evidence, a line each.
    """
    fault = Diagnostic(
        code="JP308",
        message=f"the worker that ran step `{ticket.step}` was lost: {why}",
        suggestion="run again: what is done already is reused",
        step=ticket.step,
        notes=notes,
    )
    return StepOutcome(ticket=ticket.id, state="died", fault=fault, log=ticket.publish["log"])


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(json.dumps(document, default=dict), "utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
