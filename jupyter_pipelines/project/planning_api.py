"""Reading and planning: notebooks into pipelines, and pipelines with a store into plans."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, PipelineError, PlanError, closest_name, shell_word
from jupyter_pipelines.notebook.read_cache import read as read_notebook
from jupyter_pipelines.notebook.read_cache import read_in_memory
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.notebook.source.read_result import NotebookPaths, notebook_paths
from jupyter_pipelines.pipeline.artifacts import Input, UrlSource
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.pipeline.url_inputs import UrlContent, file_name_of

if TYPE_CHECKING:
    from jupyter_pipelines.notebook.source.read_result import ReadResult
    from jupyter_pipelines.planning.keys.environment import PythonEnvironment
    from jupyter_pipelines.planning.plan import PipelinePlanner, Plan, PlannedStep
    from jupyter_pipelines.storage.store import Store

STORE_VARIABLE = "JUPYTER_PIPELINES_STORE"
STORE_FOLDER = ".pipelines"
NotebookSource = str | Path | NotebookDocument
NotebookRef = Pipeline | NotebookPaths
_RECENT_SECONDS = 60.0
_FOLDER_DIGITS = 16


class ProjectReader:
    """Notebooks, and the stores that belong to them.

    Parameters
    ----------
    store : str, Path or None
        Where the store is; see :class:`jupyter_pipelines.project.Project`.
    """

    def __init__(self, store: str | Path | None = None) -> None:
        # An empty variable counts as one that is not set.
        self._url = store or os.environ.get(STORE_VARIABLE) or None
        self._stores: dict[str, Store] = {}

    def inspect(self, source: NotebookSource, *, texts: Mapping[str, str] | None = None) -> ReadResult:
        """Read a notebook and return its pipeline, if it makes one, together with every fault.

        Raises
        ------
        NotebookError
            It is not a notebook that can be read.
        """
        return read_notebook(source, texts=texts)

    def glance(self, document: NotebookDocument) -> ReadResult:
        """Return what :meth:`inspect` returns, for texts that are being edited; other processes do not get the result.

        Raises
        ------
        NotebookError
            It is not a notebook that can be read.
        """
        return read_in_memory(document)

    def read(self, source: NotebookSource, *, texts: Mapping[str, str] | None = None) -> Pipeline:
        """Read a notebook into a pipeline.

        Raises
        ------
        NotebookError, PipelineError
            It cannot be read; its steps do not make a pipeline (every fault at once).
        """
        reading = self.inspect(source, texts=texts)
        if reading.pipeline is None:
            raise PipelineError(*_errors(reading.faults))
        return reading.pipeline

    def check(
        self,
        source: NotebookSource,
        parameters: Mapping[str, Any] | None = None,
        texts: Mapping[str, str] | None = None,
        *,
        cells: Mapping[str, str] | None = None,
    ) -> tuple[Diagnostic, ...]:
        """Return every fault of a notebook and of values for its parameters; nothing of it is executed."""
        return _all_faults(self.inspect(source, texts=cells), parameters or {}, texts or {})

    def home(self, source: str | Path) -> NotebookPaths:
        """Return where a notebook belongs; its runs can be looked at even while its cells do not make a pipeline.

        Raises
        ------
        NotebookError
            There is no such file.
        """
        return notebook_paths(Path(source))

    def store_for(self, pipeline: NotebookRef) -> Store:
        """Return the store that holds the results of `pipeline`, made if need be.

        Raises
        ------
        StoreError, PluginError
            It cannot be opened or made; there is no store for such a URL.
        """
        return self._store(str(self._url or pipeline.root / STORE_FOLDER))

    def has_store(self, pipeline: NotebookRef) -> bool:
        """Tell whether there is a store for `pipeline` already: looking at a notebook does not make one."""
        url = str(self._url or pipeline.root / STORE_FOLDER)
        # Whether a bucket exists cannot be seen without a request: it counts as existing.
        is_folder = url.startswith("file://") or "://" not in url
        return url in self._stores or not is_folder or Path(url.removeprefix("file://")).is_dir()

    def _store(self, url: str) -> Store:
        if url not in self._stores:
            from jupyter_pipelines.storage.opening import open_store

            self._stores[url] = open_store(url)
        return self._stores[url]

    def input_path(self, pipeline: Pipeline, step: Step, step_input: Input) -> Path | None:
        """Return the path that a step gets for an input that is a file or the content of a URL; None if it is optional.

        Raises
        ------
        PlanError
            The server of a URL cannot be asked (JP224).
        StoreError
            What it sends cannot be stored.
        """
        source = step_input.source
        if not isinstance(source, UrlSource):
            return pipeline.folder / str(source)
        from jupyter_pipelines.planning.url_answers import UrlAnswers, problem_text
        from jupyter_pipelines.storage.planner_view import StoreView

        store = self.store_for(pipeline)
        view = StoreView(store, notebook_name(pipeline))
        answers = UrlAnswers((replace(step, inputs=(step_input,)),), view, age=_RECENT_SECONDS)
        answer = answers.of(source)
        if isinstance(answer, UrlContent):
            name = answer.digest.partition(":")[2][:_FOLDER_DIGITS]
            return store.blobs.under_name(answer.digest, store.root / "live" / name / file_name_of(source.url))
        if answer.absent and step_input.optional:
            return None
        raise PlanError(*_named(pipeline, filter(None, [answers.fault(step, problem_text(step_input, answer))])))

    def planner(
        self,
        pipeline: Pipeline,
        parameters: Mapping[str, Any] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        force: bool | Sequence[str] = False,
        selected: Collection[str] | None = None,
        look: bool = False,
    ) -> PipelinePlanner:
        """Return the planner that decides for each step of `pipeline` whether it is reused.

        Secrets may be missing that only steps outside of `selected` take; None selects all.

        Raises
        ------
        PlanError
            A value does not fit its parameter, or a step to force does not exist.
        """
        from jupyter_pipelines.planning.foreach_expansion import expand
        from jupyter_pipelines.planning.parameter_values import resolve
        from jupyter_pipelines.planning.plan import PipelinePlanner
        from jupyter_pipelines.storage.planner_view import StoreView

        # Values come first: the items of `--foreach` may be those of a parameter.
        try:
            values = resolve(pipeline, parameters or {}, texts or {}, selected=selected)
            pipeline = expand(pipeline, values)
        except PlanError as error:
            raise PlanError(*_named(pipeline, error.faults)) from error
        view = StoreView(self.store_for(pipeline), notebook_name(pipeline))
        forced = [step.name for step in pipeline] if force is True else list(force or ())
        environment = partial(_environment, pipeline.folder)
        return PipelinePlanner(pipeline, values, view=view, environment=environment, forced=forced, look=look)

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
        look: bool = False,
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
        look : bool
            The plan is only looked at, as in a picture that is drawn often: servers of URLs are not asked.

        Raises
        ------
        PlanError
            Parameters or steps asked for do not fit the pipeline (every fault at once).
        """
        selected = _selected(pipeline, to=to, start=start, only=only) if to or start or only else None
        planner = self.planner(pipeline, parameters, texts=texts, force=force, selected=selected, look=look)
        return planner.plan(to=to, start=start, only=only)

    def plan_to_run(
        self,
        source: NotebookSource,
        parameters: Mapping[str, Any] | None = None,
        *,
        texts: Mapping[str, str] | None = None,
        cells: Mapping[str, str] | None = None,
        on: str = "local",
        **selection: Any,
    ) -> Plan:
        """Read and plan a notebook, and refuse everything that would be an error in a run, all of it at once.

        For the arguments see :meth:`check` and :meth:`plan`; a step without ``--on`` runs at `on`.

        Raises
        ------
        NotebookError
            It cannot be read.
        PipelineError, PlanError
            What :meth:`check` finds, or parameters or steps asked for do not fit the pipeline (every fault at once).
        """
        reading = self.inspect(source, texts=cells)
        if reading.pipeline is None:
            raise PipelineError(*_errors(_all_faults(reading, parameters or {}, texts or {})))
        try:
            plan = self.plan(reading.pipeline, parameters, texts=texts, **selection)
        except PlanError as error:
            faults = _errors(_all_faults(reading, parameters or {}, texts or {}))
            raise PlanError(*dict.fromkeys((*faults, *error.faults))) from error
        missing = missing_for(plan, on)
        if missing:
            raise PlanError(*plan.faults, *missing)
        return plan

    def why(self, pipeline: Pipeline, step: str, **options: Any) -> PlannedStep:
        """Return the decision for one step, with its cause.

        Raises
        ------
        PlanError
            There is no such step.
        """
        require_step(pipeline, step)
        planned = self.plan(pipeline, **options)
        # Items of a step are known only here, as they depend on the values of parameters.
        require_name(step, [planned_step.name for planned_step in planned])
        return planned[step]


def _selected(pipeline: Pipeline, **names: Sequence[str]) -> frozenset[str] | None:
    """Return the steps that are asked for, before items of steps are known; None if a name is no step."""
    from jupyter_pipelines.planning.selection import StepSelection

    groups = {option: tuple(name.partition("[")[0] for name in listed) for option, listed in names.items()}
    known = all(name in pipeline for listed in groups.values() for name in listed)
    return StepSelection(**groups).steps(pipeline) if known else None


def missing_for(plan: Plan, on: str) -> tuple[Diagnostic, ...]:
    """Return a fault for each kernel and package that the steps of a plan need which may run, and that is missing."""
    may_run = [plan.pipeline[planned.name] for planned in plan if planned.decision in ("run", "maybe")]
    return _missing(replace(plan.pipeline, steps=tuple(may_run)), on) if may_run else ()


def _missing(pipeline: Pipeline, on: str = "local") -> tuple[Diagnostic, ...]:
    # Imported in the functions that need it, here and below: most commands start without.
    from jupyter_pipelines.execution.kernels.kernelspecs import missing_kernels
    from jupyter_pipelines.execution.kernels.missing_packages import missing_packages

    return (*missing_kernels(pipeline), *missing_packages(pipeline, on))


def _all_faults(reading: ReadResult, parameters: Mapping[str, Any], texts: Mapping[str, str]) -> tuple[Diagnostic, ...]:
    """Return the faults of a reading, and those of values and kernels, which do not stand in the notebook alone."""
    from jupyter_pipelines.planning.foreach_expansion import faults_of_items
    from jupyter_pipelines.planning.parameter_values import resolve_partly

    pipeline = reading.pipeline or reading.incomplete
    if pipeline is None:
        return reading.faults
    # A cell with an error may declare more parameters than could be read.
    hidden = _text_of_faulty_cells(reading)
    known = {parameter.name for parameter in pipeline.parameters}
    names = {name for name in (*parameters, *texts) if name in known or name not in hidden}
    resolved = resolve_partly(
        pipeline,
        {name: value for name, value in parameters.items() if name in names},
        {name: text for name, text in texts.items() if name in names},
    )
    values = (*resolved.faults, *faults_of_items(pipeline, resolved.values))
    return tuple(dict.fromkeys((*reading.faults, *_missing(pipeline), *_named(pipeline, values))))


def _text_of_faulty_cells(reading: ReadResult) -> str:
    numbers = {fault.place.cell for fault in _errors(reading.faults) if fault.place}
    return "\n".join(cell.source for cell in reading.document.cells if cell.number in numbers)


def _errors(faults: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    return tuple(fault for fault in faults if fault.severity == "error")


def notebook_name(pipeline: NotebookRef) -> str | None:
    """Return the name of the notebook in a store: its path relative to the project's root."""
    if pipeline.notebook is None:
        return None
    # Symbolic links are resolved, so that a notebook has the same history by whichever path it is opened.
    path = pipeline.notebook.resolve()
    return path.relative_to(pipeline.root).as_posix() if path.is_relative_to(pipeline.root) else str(path)


def _named(pipeline: Pipeline, faults: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Return faults with the notebook's name, as a reading of the notebook gives it."""
    name = str(pipeline.notebook) if pipeline.notebook else None
    return tuple(replace(fault, notebook=fault.notebook or name) for fault in faults)


def split_output_name(name: str) -> tuple[str, str]:
    """Split ``STEP.OUTPUT`` into step and output; names of items may contain dots."""
    step, dot, output = name.rpartition(".")
    return (step, output) if dot and "]" not in output else (name, "")


def require_step(pipeline: Pipeline, name: str) -> None:
    """Raise PlanError if no step has this name; items are not checked, as they depend on the values of parameters."""
    group, bracket, _ = name.partition("[")
    if not (bracket and group in pipeline and pipeline[group].foreach):
        require_name(name, [step.name for step in pipeline])


def require_name(name: str, names: Sequence[str]) -> None:
    """Raise PlanError if `name` is not one of `names`."""
    if name in names:
        return
    near = closest_name(name, names)
    help_text = f"write `{shell_word(near)}`" if near else f"use one of: {', '.join(names)}"
    raise PlanError(Diagnostic(code="JP603", message=f"there is no step `{name}`", suggestion=help_text))


def _environment(folder: Path, kernel: str | None) -> PythonEnvironment:
    """Return the Python environment of a kernel; for None, that of this process."""
    from jupyter_pipelines.planning.keys.environment import PythonEnvironment

    if kernel is None:
        return PythonEnvironment.current()
    from jupyter_pipelines.execution.kernels.launch import interpreter_of

    # A kernel that does not exist is refused when the step starts (JP305), with the list of those that do.
    program = interpreter_of(kernel)
    return PythonEnvironment.of(program, folder) if program else PythonEnvironment.current()
