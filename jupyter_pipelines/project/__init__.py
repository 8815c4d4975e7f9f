"""The façade: read, plan, run and look back, over one store and one configuration.

Every interface (magics, command line, Python) goes through here, so that they cannot differ in what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jupyter_pipelines.errors import Fault, PipelinesError, PlanError
from jupyter_pipelines.notebook.document import Document
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.project.archive import Archive
from jupyter_pipelines.project.reader import (
    STORE_FOLDER,
    STORE_VARIABLE,
    Source,
    notebook_name,
    require_name,
    require_step,
)

if TYPE_CHECKING:
    from jupyter_pipelines.planning.plan import Plan
    from jupyter_pipelines.proving.proof import Tried
    from jupyter_pipelines.proving.results import Result
    from jupyter_pipelines.running.events import Observer
    from jupyter_pipelines.running.executors import Executor
    from jupyter_pipelines.running.run import Run
    from jupyter_pipelines.running.stopping import Stop

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
RUNNER = "jupyter_pipelines.interfaces.runner"
"""The module that a detached run's process executes; it stands above this package."""


class Project(Archive):
    """Notebooks, and the store in which their results outlive them.

    Parameters
    ----------
    store : str, Path or None
        Where the store is. By default what ``JUPYTER_PIPELINES_STORE`` says, else ``.pipelines`` in the root of the
        project that a notebook belongs to, else beside the notebook.
    """

    def run(
        self,
        plan: Plan,
        *,
        jobs: int | None = None,
        on: str = "local",
        keep_going: bool = False,
        observers: Sequence[Observer] = (),
        stop: Stop | None = None,
        run: str | None = None,
    ) -> Run:
        """Run a plan.

        Parameters
        ----------
        plan : Plan
            What :meth:`plan` returned.
        jobs : int or None
            How many steps at once; the number of cores by default.
        on : str
            The executor.
        keep_going : bool
            After a failure, go on with the steps that do not depend on it.
        observers : sequence of callables
            Each gets every event, as the keyword argument ``event``.
        stop : Stop or None
            Through which another thread can cancel the run, or one step of it.
        run : str or None
            The id of the run, if it has an id already.

        Raises
        ------
        PlanError, PluginError, StoreError
            Nothing has run. A step that fails raises nothing here: see :meth:`Run.raise_for_state`.
        """
        from jupyter_pipelines.running.loop import run_plan

        return run_plan(
            plan,
            executor=_executor(plan, on, jobs),
            store=self.store_for(plan.pipeline),
            observers=observers,
            keep_going=keep_going,
            notebook=notebook_name(plan.pipeline),
            stop=stop,
            run=run,
        )

    def detach(
        self,
        source: Source,
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
        source : str, Path or Document
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
        from jupyter_pipelines.notebook.document import read_document
        from jupyter_pipelines.running import detaching

        document = source if isinstance(source, Document) else read_document(source)
        document = document.with_texts(cells) if cells else document
        planned = self.plan(self.read(document), parameters, texts=texts, to=to, start=start, only=only, force=force)
        _executor(planned, on, jobs).close()
        values = {name: planned.values[name] for name in (*(parameters or ()), *(texts or ()))}
        order = detaching.Order(
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
        return detaching.start(RUNNER, order, self.store_for(planned.pipeline), run=run)

    def carry_out(self, run: str, report: IO[str]) -> Run:
        """Carry out the run that :meth:`detach` requested, in the process that it started.

        Parameters
        ----------
        run : str
            The id of the run.
        report : text file
            Receives one line: that the run has begun, or why not.

        Raises
        ------
        PipelinesError
            Nothing has run.
        """
        from jupyter_pipelines.running.detaching import Herald, read_order

        store = self._store(str(self._url))
        herald = Herald(store.runs.folder(run), report)
        try:
            order = read_order(store, run)
            planned = self.plan(self.read(order.document), order.parameters, **order.selection())
            return self.run(planned, observers=[herald], run=run, **order.manner())
        except PipelinesError as error:
            herald.refuse(error)
            raise

    def freeze(self, source: str | Path) -> list[int]:
        """Write inferred interfaces into the headers of a notebook, and return the cells that changed."""
        from jupyter_pipelines.notebook.freezing import freeze

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
    ) -> Result:
        """Make a pipeline notebook of an exploratory one, and prove that it shows the same.

        Parameters
        ----------
        source : str or Path
            The notebook; it is never written to.
        target : str, Path or None
            The notebook to write; ``NAME.pipeline.ipynb`` beside it by default.
        static : bool
            Execute nothing, and prove nothing.
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
        from jupyter_pipelines.notebook.converting.conversion import Wishes
        from jupyter_pipelines.proving.converting import Order, carry_out

        wishes = Wishes(names={cell: name for name, cell in (steps or {}).items()}, drop_display=drop_display)
        path = Path(target) if target else None
        order = Order(source=Path(source), target=path, static=static, dry_run=dry_run, wishes=wishes, tell=tell)
        return carry_out(order, try_out)


def try_out(path: Path, store: Path) -> Tried:
    """Run a pipeline notebook with a store of its own."""
    from jupyter_pipelines.proving.proof import Tried

    project = Project(store)
    reading = project.inspect(path)
    if reading.pipeline is None:
        return Tried(faults=tuple(fault for fault in reading.faults if fault.severity == "error"))
    return Tried(run=project.run(project.plan(reading.pipeline), keep_going=True))


def read(source: Source) -> Pipeline:
    """Read a notebook into a pipeline; see :meth:`Project.read`."""
    return Project().read(source)


def check(source: Source, **parameters: Any) -> tuple[Fault, ...]:
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
    observers: Sequence[Observer] = (),
    **parameters: Any,
) -> Run:
    """Plan a pipeline and run it; see :meth:`Project.plan` and :meth:`Project.run`."""
    project = Project()
    planned = project.plan(pipeline, parameters, force=force)
    return project.run(planned, jobs=jobs, on=on, keep_going=keep_going, observers=observers)


def _executor(plan: Plan, on: str, jobs: int | None) -> Executor:
    """Return what runs a plan, if nothing stands in its way; nothing is started yet."""
    from jupyter_pipelines.running.executors.routing import executor_for
    from jupyter_pipelines.running.kernels.asking import missing_kernels

    plan.require()
    missing = missing_kernels(plan.pipeline)
    if missing:
        raise PlanError(*missing)
    return executor_for(plan.pipeline, on, jobs)
