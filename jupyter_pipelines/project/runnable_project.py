"""Run plans, in this process or in the process of a detached run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from jupyter_pipelines.errors import PipelinesError, PlanError
from jupyter_pipelines.project.planning_api import missing_for, notebook_name
from jupyter_pipelines.project.project_history import ProjectHistory

if TYPE_CHECKING:
    from jupyter_pipelines.execution.executors import StepExecutor
    from jupyter_pipelines.execution.runs.events import RunObserver
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.execution.scheduler.stop import StopToken
    from jupyter_pipelines.planning.plan import Plan


class RunnableProject(ProjectHistory):
    """The part of a project that runs plans; see :class:`jupyter_pipelines.project.Project`."""

    def run(
        self,
        plan: Plan,
        *,
        jobs: int | None = None,
        on: str = "local",
        keep_going: bool = False,
        observers: Sequence[RunObserver] = (),
        stop: StopToken | None = None,
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
        stop : StopToken or None
            Through which another thread can cancel the run, or one step of it.
        run : str or None
            The id of the run, if it has an id already.

        Raises
        ------
        PlanError, PluginError, StoreError
            Nothing has run. A step that fails raises nothing here: see :meth:`Run.raise_for_state`.
        """
        from jupyter_pipelines.execution.scheduler.loop import run_plan

        return run_plan(
            plan,
            executor=executor_of(plan, on, jobs),
            store=self.store_for(plan.pipeline),
            observers=observers,
            keep_going=keep_going,
            notebook=notebook_name(plan.pipeline),
            stop=stop,
            run=run,
        )

    def carry_out(self, run: str, report: IO[str]) -> Run:
        """Carry out the run that :meth:`.Project.detach` requested, in the process that it started.

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
        from jupyter_pipelines.execution.runs.detached import StartReporter, read_order

        store = self._store(str(self._url))
        reporter = StartReporter(store.runs.folder(run), report)
        try:
            order = read_order(store, run)
            planned = self.plan(self.read(order.document), order.parameters, **order.selection())
            return self.run(planned, observers=[reporter], run=run, **order.run_options())
        except PipelinesError as error:
            # The process that requested the run waits for this line.
            reporter.refuse(error)
            raise


def executor_of(plan: Plan, on: str, jobs: int | None) -> StepExecutor:
    """Return the executor that runs a plan, if the plan can run; nothing is started yet.

    Raises
    ------
    PlanError, PluginError
        A step is blocked, its kernel or a package is not installed, or there is no such executor.
    """
    from jupyter_pipelines.execution.executors.router import executor_for

    faults = (*plan.faults, *missing_for(plan, on))
    if faults:
        raise PlanError(*faults)
    return executor_for(plan.pipeline, on, jobs)
