"""The façade: read, plan, run and look back, over one store and one configuration.

Every door (magics, command line, Python) goes through here, so that they cannot differ in what they do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Fault, PipelineError, PlanError, StoreError, closest
from jupyter_pipelines.notebook.document import Document
from jupyter_pipelines.notebook.remembering import read as read_notebook
from jupyter_pipelines.pipeline.graph import Pipeline

if TYPE_CHECKING:
    from jupyter_pipelines.notebook.result import Reading
    from jupyter_pipelines.pipeline.data import Artifact
    from jupyter_pipelines.planning.environment import Environment
    from jupyter_pipelines.planning.plan import Plan, PlannedStep, Planner
    from jupyter_pipelines.proving.proof import Tried
    from jupyter_pipelines.proving.results import Result
    from jupyter_pipelines.reporting.comparing import Difference
    from jupyter_pipelines.running.events import Observer
    from jupyter_pipelines.running.run import Run
    from jupyter_pipelines.running.stopping import Stop
    from jupyter_pipelines.storing.collecting import Collected
    from jupyter_pipelines.storing.records import StepRecord
    from jupyter_pipelines.storing.store import Store

STORE_VARIABLE = "JUPYTER_PIPELINES_STORE"
STORE_FOLDER = ".pipelines"
Source = str | Path | Document


class Project:
    """Notebooks, and the store in which their results outlive them.

    Parameters
    ----------
    store : str, Path or None
        Where the store is. By default what ``JUPYTER_PIPELINES_STORE`` says, else ``.pipelines`` in the root of the
        project that a notebook belongs to, else beside the notebook.
    """

    def __init__(self, store: str | Path | None = None) -> None:
        self._url = store or os.environ.get(STORE_VARIABLE) or None
        self._stores: dict[str, Store] = {}

    def inspect(self, source: Source, *, texts: Mapping[str, str] | None = None) -> Reading:
        """Read a notebook and return its pipeline, if it makes one, together with every fault.

        Raises
        ------
        NotebookError
            It is not a notebook that can be read.
        """
        return read_notebook(source, texts=texts)

    def read(self, source: Source, *, texts: Mapping[str, str] | None = None) -> Pipeline:
        """Read a notebook into a pipeline.

        Raises
        ------
        NotebookError, PipelineError
            It cannot be read; its steps do not make a pipeline (every fault at once).
        """
        reading = self.inspect(source, texts=texts)
        if reading.pipeline is None:
            raise PipelineError(*(fault for fault in reading.faults if fault.severity == "error"))
        return reading.pipeline

    def check(
        self,
        source: Source,
        parameters: Mapping[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
        *,
        cells: Mapping[str, str] | None = None,
    ) -> tuple[Fault, ...]:
        """Return every fault of a notebook and of values for its parameters; nothing of it is executed."""
        from jupyter_pipelines.planning.resolving import faults_of
        from jupyter_pipelines.running.kernels.asking import missing_kernels

        reading = self.inspect(source, texts=cells)
        if reading.pipeline is None:
            return reading.faults
        values = faults_of(reading.pipeline, parameters or {}, texts or {})
        return (*reading.faults, *missing_kernels(reading.pipeline), *values)

    def store_for(self, pipeline: Pipeline) -> Store:
        """Return the store that holds the results of `pipeline`, made if need be.

        Raises
        ------
        StoreError, PluginError
            It cannot be opened or made; there is no store for such a URL.
        """
        url = str(self._url or pipeline.root / STORE_FOLDER)
        if url not in self._stores:
            scheme = url.partition("://")[0] if "://" in url else "file"
            self._stores[url] = plugins.load("stores", scheme).open(url)
        return self._stores[url]

    def planner(
        self,
        pipeline: Pipeline,
        parameters: Mapping[str, Any] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        force: bool | Sequence[str] = False,
    ) -> Planner:
        """Return what decides for each step of `pipeline` whether it is reused.

        Raises
        ------
        PlanError
            A value does not fit its parameter, or a step to force does not exist.
        """
        from jupyter_pipelines.planning.plan import Planner
        from jupyter_pipelines.planning.resolving import resolve
        from jupyter_pipelines.storing.viewing import StoreView

        values = resolve(pipeline, parameters or {}, texts or {})
        view = StoreView(self.store_for(pipeline), notebook_name(pipeline))
        forced = [step.name for step in pipeline] if force is True else list(force or ())
        environment = partial(_environment, pipeline.folder)
        return Planner(pipeline, values, view=view, environment=environment, forced=forced)

    def plan(
        self,
        pipeline: Pipeline,
        parameters: Mapping[str, Any] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        to: Sequence[str] = (),
        start: Sequence[str] = (),
        only: Sequence[str] = (),
        force: bool | Sequence[str] = False,
    ) -> Plan:
        """Decide for every step what a run would do, and why; nothing runs.

        Parameters
        ----------
        pipeline : Pipeline
            What :meth:`read` returned.
        parameters : Mapping
            Values by name.
        texts : Mapping
            Values by name as a command line gives them; parsed by the type of the parameter.
        to, start, only : sequences of str
            Part of the graph: these steps and all before them, and all after them, or nothing else.
        force : bool or sequence of str
            Steps to compute again, or True for all.

        Raises
        ------
        PlanError
            Parameters or steps asked for do not fit the pipeline (every fault at once).
        """
        planner = self.planner(pipeline, parameters, texts=texts, force=force)
        return planner.plan(to=to, start=start, only=only)

    def run(
        self,
        plan: Plan,
        *,
        jobs: int | None = None,
        on: str = "local",
        keep_going: bool = False,
        observers: Sequence[Observer] = (),
        stop: Stop | None = None,
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

        Raises
        ------
        PlanError, PluginError, StoreError
            Nothing has run. A step that fails raises nothing here: see :meth:`Run.raise_for_state`.
        """
        from jupyter_pipelines.running.executors.routing import executor_for
        from jupyter_pipelines.running.kernels.asking import missing_kernels
        from jupyter_pipelines.running.loop import run_plan

        plan.require()
        missing = missing_kernels(plan.pipeline)
        if missing:
            raise PlanError(*missing)
        executor = executor_for(plan.pipeline, on, jobs or os.cpu_count() or 1)
        store = self.store_for(plan.pipeline)
        return run_plan(
            plan,
            store=store,
            executor=executor,
            observers=observers,
            keep_going=keep_going,
            notebook=notebook_name(plan.pipeline),
            stop=stop,
        )

    def why(self, pipeline: Pipeline, step: str, **options: Any) -> PlannedStep:
        """Return the decision for one step, with its cause.

        Raises
        ------
        PlanError
            There is no such step.
        """
        require_step(pipeline, step)
        return self.plan(pipeline, **options)[step]

    def runs(self, pipeline: Pipeline) -> list[dict[str, Any]]:
        """Return the documents of earlier runs of this notebook, newest first."""
        return list(self._runs(pipeline))

    def _runs(self, pipeline: Pipeline) -> Iterator[dict[str, Any]]:
        runs = self.store_for(pipeline).runs
        mine = notebook_name(pipeline)
        documents = (runs.read(run_id) for run_id in runs.ids())
        yield from (document for document in documents if document.get("notebook") == mine)

    def run_document(self, pipeline: Pipeline, name: str) -> dict[str, Any]:
        """Return the document of a run: by its id, the start or the last part of it, ``last`` or ``last~N``.

        Raises
        ------
        StoreError
            There is none, or more than one.
        """
        from jupyter_pipelines.running.earlier import pick

        return pick(self.runs(pipeline), name)

    def diff(self, pipeline: Pipeline, first: str, second: str) -> Difference:
        """Compare two runs: parameters, code, inputs, outputs, durations."""
        from jupyter_pipelines.reporting.comparing import compare

        documents = [self.run_document(pipeline, name) for name in (first, second)]
        return compare(*documents, record=self.store_for(pipeline).records.get)

    def artifact(self, pipeline: Pipeline, name: str) -> tuple[Artifact, StepRecord]:
        """Return ``STEP.NAME`` as the last run left it, made or reused, and the record of the step run that made it.

        Raises
        ------
        PlanError, StoreError
            There is no such output; nothing is stored for it.
        """
        from jupyter_pipelines.running.earlier import no_output, not_stored

        step, _, output = name.partition(".")
        require_step(pipeline, step)
        if output not in {one.name for one in pipeline[step].outputs}:
            raise PlanError(no_output(pipeline, step, output))
        record = self._last_record(pipeline, step)
        if record is None or output not in record.outputs:
            raise StoreError(not_stored(pipeline, name))
        return record.outputs[output], record

    def _last_record(self, pipeline: Pipeline, step: str) -> StepRecord | None:
        """Return the record that the last run of this notebook used for `step`.

        The newest record would not do: a run may have reused an older one since.
        """
        records = self.store_for(pipeline).records
        key = next((found["key"] for found, _ in self._finished(pipeline, step)), None)
        return (records.get(key) if key else None) or records.latest(step, notebook_name(pipeline))

    def _finished(self, pipeline: Pipeline, step: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Yield what earlier runs say of a step they made or reused, and the document of the run, newest first."""
        for document in self._runs(pipeline):
            for one in document.get("steps", ()):
                if one["name"] == step and one["state"] in ("succeeded", "reused"):
                    yield one, document

    def outdated(self, pipeline: Pipeline, step: str) -> str:
        """Return why a run with the same parameters would compute `step` again; empty when it would not."""
        _, document = next(self._finished(pipeline, step), (None, {}))
        known = {one.name for one in pipeline.parameters}
        values = {name: value for name, value in document.get("parameters", {}).items() if name in known}
        try:
            found = self.why(pipeline, step, parameters=values)
        except PlanError as error:  # the parameters have changed since
            return error.faults[0].message
        return "" if found.decision == "reuse" else found.reason.text

    def load(self, pipeline: Pipeline, name: str) -> Any:
        """Return the value of ``STEP.NAME`` as the last run left it, verified.

        Raises
        ------
        PlanError, StoreError
            There is no such output; nothing is stored for it; the stored bytes are damaged.
        """
        artifact, _ = self.artifact(pipeline, name)
        return self.store_for(pipeline).load(artifact)

    def collect(self, pipeline: Pipeline, *, older_than: float, dry_run: bool = False) -> Collected:
        """Remove what no kept run and no step needs any more.

        Parameters
        ----------
        pipeline : Pipeline
            Says which store.
        older_than : float
            Seconds; what is younger stays.
        dry_run : bool
            Only say what would go.
        """
        from jupyter_pipelines.storing.collecting import collect

        return collect(self.store_for(pipeline), older_than=older_than, dry_run=dry_run)

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
            Hears what is being done.

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


def notebook_name(pipeline: Pipeline) -> str | None:
    """Return what a store calls the notebook: its path from the project's root."""
    if pipeline.notebook is None:
        return None
    path = pipeline.notebook.resolve()
    return path.relative_to(pipeline.root).as_posix() if path.is_relative_to(pipeline.root) else str(path)


def _environment(folder: Path, kernel: str | None) -> Environment:
    """Return the Python that steps with ``--kernel`` run in; without it, the one that this is."""
    from jupyter_pipelines.planning.environment import Environment

    if kernel is None:
        return Environment.current()
    from jupyter_pipelines.running.kernels.launching import interpreter

    # A kernel that does not exist is refused when the step starts (JP305), with the list of those that do.
    program = interpreter(kernel)
    return Environment.of(program, folder) if program else Environment.current()


def require_step(pipeline: Pipeline, name: str) -> None:
    """Raise the error for a step that does not exist."""
    if name in pipeline:
        return
    names = [step.name for step in pipeline]
    near = closest(name, names)
    help_text = f"write `{near}`" if near else f"use one of: {', '.join(names)}"
    raise PlanError(Fault(code="JP603", message=f"there is no step `{name}`", suggestion=help_text))
