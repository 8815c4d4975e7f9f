"""The façade: read, plan, run and look back, over one store and one configuration.

Every interface (magics, command line, Python) goes through here, so that they cannot differ in what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.project.planning_api import (
    STORE_FOLDER,
    STORE_VARIABLE,
    NotebookSource,
    notebook_name,
    require_name,
    require_step,
)
from jupyter_pipelines.project.runnable_project import RunnableProject, executor_of

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.events import RunObserver
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.planning.plan import Plan
    from jupyter_pipelines.verification.results import VerificationResult
    from jupyter_pipelines.verification.verify import TrialRun

__all__ = [
    "STORE_FOLDER",
    "STORE_VARIABLE",
    "Project",
    "check",
    "notebook_name",
    "plan",
    "read",
    "require_name",
    "require_step",
    "run",
    "try_out",
]
RUN_PROCESS = "jupyter_pipelines.project.run_process"
"""The module that the process of a detached run executes."""


class Project(RunnableProject):
    """Notebooks, and the store in which their results outlive them.

    Parameters
    ----------
    store : str, Path or None
        Where the store is. By default what ``JUPYTER_PIPELINES_STORE`` says, else ``.pipelines`` in the root of the
        project that a notebook belongs to, else beside the notebook.
    """

    def detach(
        self,
        source: NotebookSource,
        parameters: Mapping[str, Any] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        cells: Mapping[str, str] | None = None,
        to: Sequence[str] = (),
        start: Sequence[str] = (),
        only: Sequence[str] = (),
        force: bool | Sequence[str] = False,
        jobs: int | None = None,
        on: str = "local",
        keep_going: bool = False,
        run: str | None = None,
    ) -> str:
        """Plan a notebook and run it in a process of its own, which outlives this one; return the id of the run.

        The run uses the notebook as it is now; what is edited later does not reach it. For the arguments see
        :meth:`plan` and :meth:`run`.

        Parameters
        ----------
        source : str, Path or NotebookDocument
            The notebook.
        cells : Mapping of str to str
            Texts that count instead of the saved ones, by cell id; they are never written to the notebook.
        run : str or None
            The id of the run, if it has an id already.

        Raises
        ------
        PipelinesError
            Nothing has run, for the same reasons as in :meth:`read`, :meth:`plan` and :meth:`run`.
        """
        from jupyter_pipelines.execution.runs import detached
        from jupyter_pipelines.notebook.source.document import read_document

        document = source if isinstance(source, NotebookDocument) else read_document(source)
        document = document.with_texts(cells) if cells else document
        # Planned here, too, so that faults reach the caller; the process plans again from the same document.
        planned = self.plan_to_run(document, parameters, texts=texts, on=on, to=to, start=start, only=only, force=force)
        # Opened only for its checks: a missing kernel or executor is reported here, before a process is started.
        executor_of(planned, on, jobs).close()
        # Only the values that were given, but parsed; defaults are in the document, which the other process reads.
        values = {name: planned.values[name] for name in (*(parameters or ()), *(texts or ()))}
        order = detached.DetachedOrder(
            document=document,
            parameters=values,
            to=tuple(to),
            start=tuple(start),
            only=tuple(only),
            force=force if isinstance(force, bool) else tuple(force),
            jobs=jobs,
            on=on,
            keep_going=keep_going,
        )
        return detached.start(RUN_PROCESS, order, self.store_for(planned.pipeline), run=run)

    def freeze(self, source: str | Path) -> list[int]:
        """Write inferred interfaces into the headers of a notebook, and return the cells that changed."""
        from jupyter_pipelines.notebook.freeze import freeze

        return freeze(Path(source), self.read(source))

    def convert(
        self,
        source: str | Path,
        target: str | Path | None = None,
        *,
        static: bool = False,
        dry_run: bool = False,
        steps: Mapping[str, int] | None = None,
        drop_display: bool = False,
        tell: Callable[[str], None] = lambda _: None,
    ) -> VerificationResult:
        """Convert an exploratory notebook into a pipeline notebook, and verify that it has the same outputs.

        Parameters
        ----------
        source : str or Path
            The notebook; it is never written to.
        target : str, Path or None
            The notebook to write; ``NAME.pipeline.ipynb`` beside it by default.
        static : bool
            Convert without executing anything, and without verification.
        dry_run : bool
            Write nothing.
        steps : Mapping of str to int
            Names of steps, with the number of the cell that each begins with.
        drop_display : bool
            Leave out cells that only show something.
        tell : callable
            Called with a line for each stage of the work.

        Raises
        ------
        NotebookError
            It cannot be read, or the target cannot be written.
        """
        from jupyter_pipelines.notebook.converting.conversion_types import ConvertOptions
        from jupyter_pipelines.verification.convert_command import ConvertRequest, convert_on_request

        wishes = ConvertOptions(names={cell: name for name, cell in (steps or {}).items()}, drop_display=drop_display)
        path = Path(target) if target else None
        order = ConvertRequest(
            source=Path(source), target=path, static=static, dry_run=dry_run, wishes=wishes, tell=tell
        )
        return convert_on_request(order, try_out)


def try_out(path: Path, store: Path, force: Sequence[str]) -> TrialRun:
    """Run a pipeline notebook with a store of its own; return the run, or the faults for which it cannot run.

    Parameters
    ----------
    path, store : Path
        The notebook and the folder of the store.
    force : sequence of str
        Steps to compute again.
    """
    from jupyter_pipelines.verification.verify import TrialRun

    project = Project(store)
    reading = project.inspect(path)
    if reading.pipeline is None:
        return TrialRun(faults=tuple(fault for fault in reading.faults if fault.severity == "error"))
    # Conversions compare all outputs: a step that fails must not keep steps that do not depend on it from running.
    planned = project.plan(reading.pipeline, force=force)
    return TrialRun(run=project.run(planned, keep_going=True), pipeline=reading.pipeline)


def read(source: NotebookSource) -> Pipeline:
    """Read a notebook into a pipeline; see :meth:`Project.read`."""
    return Project().read(source)


def check(source: NotebookSource, **parameters: Any) -> tuple[Diagnostic, ...]:
    """Return every fault of a notebook; see :meth:`Project.check`."""
    return Project().check(source, parameters)


def plan(pipeline: Pipeline, *, force: bool | Sequence[str] = False, **parameters: Any) -> Plan:
    """Decide for every step what a run would do; see :meth:`Project.plan`."""
    return Project().plan(pipeline, parameters, force=force)


def run(
    pipeline: Pipeline,
    *,
    jobs: int | None = None,
    on: str = "local",
    force: bool | Sequence[str] = False,
    keep_going: bool = False,
    observers: Sequence[RunObserver] = (),
    **parameters: Any,
) -> Run:
    """Plan a pipeline and run it; see :meth:`Project.plan` and :meth:`Project.run`."""
    project = Project()
    planned = project.plan(pipeline, parameters, force=force)
    return project.run(planned, jobs=jobs, on=on, keep_going=keep_going, observers=observers)
