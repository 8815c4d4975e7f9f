"""The magics: ``%%step``, ``%%params``, ``%%setup`` and ``%pipeline``."""

from __future__ import annotations

import shlex
from typing import Any

import click
from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand

from jupyter_pipelines.errors import Diagnostic, PipelineError, PlanError
from jupyter_pipelines.interfaces.jupyter import display, transformer
from jupyter_pipelines.interfaces.jupyter.pipeline_magic import pipeline as pipeline_commands
from jupyter_pipelines.interfaces.jupyter.session import KernelSession
from jupyter_pipelines.interfaces.usage_errors import as_fault
from jupyter_pipelines.notebook.headers.split import split_cell

_SESSION = "_jupyter_pipelines_session"


@magics_class
class PipelineMagics(Magics):
    """The magics of one shell."""

    def __init__(self, shell: Any, session: KernelSession) -> None:
        super().__init__(shell=shell)
        self.session = session

    @no_var_expand
    @line_magic
    def pipeline(self, line: str) -> None:
        """Show, plan, run and inspect the pipeline of this notebook.

        %pipeline show                     the graph, with the state of each step
        %pipeline run [STEP…] [-p k=v]     run it, or the part up to these steps
        %pipeline run --detach …           in a process that outlives the kernel
        %pipeline attach | cancel [RUN]    see how a run gets on; ask it, or one --step of it, to stop
        %pipeline plan | why STEP | check  what would run; why; every fault at once
        %pipeline check --live             which values in the kernel differ from the stored ones
        %pipeline load STEP.NAME           a stored output into the namespace
        %pipeline debug STEP               the inputs of a failed step into the namespace
        %pipeline runs | diff A B          earlier runs
        %pipeline freeze                   inferred interfaces into the headers
        %pipeline explain CODE             what an error code means, and what to do
        %pipeline convert [-o FILE] [--static] [--dry-run] [--drop-display]   a pipeline of an exploratory notebook

        ``%pipeline COMMAND --help`` tells more.
        """
        try:
            # As a shell splits words, so that commands can be copied between a terminal and a notebook.
            words = shlex.split(line)
        except ValueError as error:
            raise PlanError(_unreadable(line, error)) from None
        try:
            pipeline_commands.main(words or ["--help"], "%pipeline", standalone_mode=False, obj=self.session)
        # click leaves in this way after --help.
        except click.exceptions.Exit:
            return
        except click.ClickException as error:
            # from None: the traceback of click says nothing about the mistake.
            raise PlanError(as_fault(error)) from None

    @no_var_expand
    @cell_magic
    def step(self, line: str, cell: str) -> None:
        """Mark the cell as a step of the pipeline.

        %%step NAME -i INPUT… -o OUTPUT… -p PARAMETER…

        %%step load -i raw=data/churn.csv -o rows       raw is a file; the step gets a Path
        %%step train -i X y -o model:joblib -p trees    model is stored by joblib
        %%step plots -i model -o chart:file             chart is a Path to write to

        Many items: --foreach NAME=VALUES…, --at-once N, --allow-failed N|N%.
        More options: --after STEP…, --retries N, --timeout 10m, --no-cache, --cache-for 1d, --ignore PATH…,
        --always, --optional NAME…, --cpus N, --gpus N, --memory 8G, --on TARGET, --kernel NAME. Left out, -i, -o and -p
        are inferred; `%pipeline show` tells.
        """
        self._run_body("step", line, cell)

    @no_var_expand
    @cell_magic
    def params(self, line: str, cell: str) -> None:
        """Declare the parameters of the pipeline, one assignment a line.

        test_size: Annotated[float, Interval(gt=0, lt=1)] = 0.25   # share of rows held out
        kind: Literal["rf", "gbm"] = "rf"
        trees: int = 100
        """
        self._run_body("params", line, cell)

    @no_var_expand
    @cell_magic
    def setup(self, line: str, cell: str) -> None:
        """Mark statements that every step needs; they run first in each step that follows.

        pd.set_option("display.width", 120)
        np.random.seed(7)
        """
        self._run_body("setup", line, cell)

    def _run_body(self, magic: str, line: str, cell: str) -> None:
        # Only reached where input transformers are not applied, so that the header is still there.
        split = split_cell(f"%%{magic} {line}\n{cell}", 0)
        errors = [fault for fault in split.faults if fault.severity == "error"]
        if errors:
            raise PipelineError(*errors)
        self.session.shell.run_cell(split.body).raise_error()


def register(shell: Any) -> None:
    """Register magics, input transformer, formatters and cell hooks with `shell`."""
    unregister(shell)
    # %reload_ext registers a second time: hooks of the first session would run twice for each cell.
    session = KernelSession(shell)
    setattr(shell, _SESSION, session)
    shell.register_magics(PipelineMagics(shell, session))
    transformer.install(shell)
    display.register(shell)
    shell.events.register("pre_run_cell", session.before_cell)
    shell.events.register("post_run_cell", session.after_cell)


def unregister(shell: Any) -> None:
    """Undo :func:`register`; the magics' names stay, as IPython forgets none."""
    transformer.remove(shell)
    display.unregister(shell)
    session = getattr(shell, _SESSION, None)
    if session is not None:
        shell.events.unregister("pre_run_cell", session.before_cell)
        shell.events.unregister("post_run_cell", session.after_cell)
        delattr(shell, _SESSION)


def _unreadable(line: str, error: ValueError) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"`%pipeline {line}` cannot be read: {str(error).lower()}",
        suggestion="close every quote that is opened",
    )
