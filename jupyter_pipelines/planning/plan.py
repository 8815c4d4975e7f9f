"""The plan: a decision with its reason for every step, made before anything runs; and the planner that makes it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, PlanError, closest_name
from jupyter_pipelines.pipeline.artifacts import Artifact, FileSource
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import StepModule
from jupyter_pipelines.planning import plan_table
from jupyter_pipelines.planning.decide import PlannedStep, StepPlanner, made_from
from jupyter_pipelines.planning.keys import code_digests
from jupyter_pipelines.planning.keys.docstring_use import SourceReads
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.keys.pickle_dependencies import PickleDependencies
from jupyter_pipelines.planning.keys.secret_marks import with_secret_marks
from jupyter_pipelines.planning.keys.step_keys import PlanStepKeys
from jupyter_pipelines.planning.keys.traces import UNKNOWN, Trace, TraceReader, question
from jupyter_pipelines.planning.selection import StepSelection, unknown_steps
from jupyter_pipelines.planning.step_inputs import InputResolver, PlannerStore, RerunOrigin, StoreReader, UpstreamStatus
from jupyter_pipelines.planning.traced_records import packages_asked
from jupyter_pipelines.planning.url_answers import UrlAnswers

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

SCHEMA = "jupyter-pipelines/plan/1"
Upstreams = Mapping[str, Mapping[str, Artifact]]
_BLOCKED = {"output-missing": "JP405", "output-corrupt": "JP404", "input": "JP210"}

__all__ = ["SCHEMA", "PipelinePlanner", "Plan", "PlannedStep", "PlannerStore", "PythonEnvironment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A decision for every step of a pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        What is planned.
    values : Mapping of str to object
        The values of its parameters.
    steps : tuple of PlannedStep
        The decisions; each step comes after those it waits for.
    selection : StepSelection
        The part of the pipeline that was asked for.
    forced : tuple of str
        Steps to compute again.
    planner : PipelinePlanner
        The planner that made it; decides on a step again when its inputs are known.
    """

    pipeline: Pipeline
    values: Mapping[str, Any]
    steps: tuple[PlannedStep, ...]
    selection: StepSelection
    forced: tuple[str, ...]
    planner: PipelinePlanner = field(repr=False, compare=False)
    _by_name: Mapping[str, PlannedStep] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {step.name: step for step in self.steps})

    def __getitem__(self, name: str) -> PlannedStep:
        if name not in self._by_name:
            raise KeyError(_no_step(name, list(self._by_name)))
        return self._by_name[name]

    def __iter__(self) -> Iterator[PlannedStep]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def faults(self) -> tuple[Diagnostic, ...]:
        """Why selected steps cannot run, one fault for each; steps blocked only by other steps are left out."""
        return tuple(
            _blocked(self, step) for step in self.steps if step.decision == "blocked" and step.reason.code in _BLOCKED
        )

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """The steps left out whose outputs are taken though they would run, or might: a warning for each."""
        origins = {name: origin for step in self.steps for name, origin in step.outdated.items()}
        return tuple(_outdated(self, name, origin) for name, origin in origins.items())

    def require(self) -> Plan:
        """Return the plan itself if everything that is asked for can run.

        Raises
        ------
        PlanError
            An input or a stored output is missing or damaged (JP404, JP405, JP210); all faults at once.
        """
        if self.faults:
            raise PlanError(*self.faults)
        return self

    def compare(self, earlier: Plan) -> tuple[str, ...]:
        """Return a line for every step on which another decision was made than in `earlier`, or for another reason."""
        return plan_table.difference(list(earlier), list(self))

    def to_dict(self) -> dict[str, Any]:
        """Return the ``plan`` document."""
        return {
            "schema": SCHEMA,
            "notebook": str(self.pipeline.notebook) if self.pipeline.notebook else None,
            "parameters": dict(self.values),
            "selection": self.selection.to_dict(),
            "forced": list(self.forced),
            "steps": [step.to_dict() for step in self.steps],
            "faults": [fault.to_dict() for fault in self.faults],
            "warnings": [warning.to_dict() for warning in self.warnings],
        }

    def __repr__(self) -> str:
        counts = Counter(step.decision for step in self.steps)
        words = ", ".join(f"{count} {decision}" for decision, count in counts.items())
        return f"<Plan of {self.pipeline.name}: {words or 'no steps'}>"

    def __str__(self) -> str:
        return plan_table.as_text(self.pipeline.name, self.steps)

    def _repr_html_(self) -> str:
        return plan_table.as_html(self.pipeline.name, self.steps)


class PipelinePlanner:
    """Decides what a run would do.

    Parameters
    ----------
    pipeline : Pipeline
        What to plan.
    values : Mapping of str to object
        The values of its parameters, see :func:`jupyter_pipelines.planning.parameter_values.resolve`.
    view : PlannerStore
        What is stored, and what is in files.
    environment : PythonEnvironment or callable
        The Python that steps run in, or a callable that returns it for a kernel; None is the notebook's own.
    forced : iterable of str
        Steps to compute again, whatever is stored.
    look : bool
        The plan is only looked at: no server of a URL is asked.

    Raises
    ------
    PlanError
        A step to force does not exist (JP603).
    """

    def __init__(
        self,
        pipeline: Pipeline,
        values: Mapping[str, Any],
        *,
        view: PlannerStore,
        environment: PythonEnvironment | Callable[[str | None], PythonEnvironment],
        forced: Iterable[str] = (),
        look: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._values = values
        self._view = view
        self._keying = PlanStepKeys(pipeline, with_secret_marks(pipeline, values), environment)
        self._modules: dict[str, StepModule] = {}
        self._outdated: dict[str, RerunOrigin] = {}
        self._carrying: tuple[Upstreams, PickleDependencies] | None = None
        forced = tuple(dict.fromkeys(forced))
        _raise_faults(unknown_steps(pipeline, forced, "--force"))
        self._forced = tuple(dict.fromkeys(step_name for name in forced for step_name in pipeline.named(name)))
        self._urls = UrlAnswers(pipeline, view, self._forced, look=look)

    def plan(self, *, to: Sequence[str] = (), start: Sequence[str] = (), only: Sequence[str] = ()) -> Plan:
        """Decide on every step.

        Parameters
        ----------
        to, start, only : sequences of str
            Part of the pipeline, see :class:`jupyter_pipelines.planning.selection.StepSelection`.

        Raises
        ------
        PlanError
            A step asked for does not exist (JP603), or the options contradict each other (JP604).
        """
        selection = StepSelection(to=tuple(to), start=tuple(start), only=tuple(only))
        _raise_faults(selection.faults(self._pipeline))
        chosen = selection.steps(self._pipeline)
        statuses: dict[str, UpstreamStatus] = {}
        code_digests.load_digests(self._pipeline)
        # One reading of the records for all steps, and the files that their traces ask for are hashed together.
        snapshot = self._view.at_once(step.name for step in self._pipeline)
        self._urls.ask(snapshot, chosen)
        step_planner = self._judge(
            snapshot,
            PickleDependencies(self._pipeline, lambda name: statuses[name].outputs),
            str(selection),
            snapshot.newest(),
        )
        planned: list[PlannedStep] = []
        for name in self._pipeline.order():
            step, statuses[name] = step_planner.plan_step(self._pipeline[name], statuses, selected=name in chosen)
            planned.append(step)
        code_digests.save_digests(self._pipeline)
        causes = {name: status.cause for name, status in statuses.items() if status.decision == "skip"}
        return Plan(
            pipeline=self._pipeline,
            values=self._values,
            steps=tuple(planned),
            selection=selection,
            forced=self._forced,
            planner=self._with_outdated({name: cause for name, cause in causes.items() if cause}),
        )

    def decide(
        self, name: str, upstream: Upstreams, writer_of: Callable[[str], str | None] = lambda _: None
    ) -> PlannedStep:
        """Decide on a step once everything before it has been run or reused: run, reuse or blocked, nothing open.

        Parameters
        ----------
        name : str
            The step.
        upstream : Mapping of str to Mapping of str to Artifact
            The outputs that exist, by step and name; all others are missing. Between calls, entries may be added, but
            none may change: what follows from them is computed once.
        writer_of : callable
            Returns which other step of the run wrote a file; None if none did.
        """
        step = self._pipeline[name]
        before = [earlier for earlier in self._pipeline.before(name) if earlier in upstream]
        statuses = {earlier: self._standing(earlier, upstream[earlier]) for earlier in before}
        judge = self._judge(self._view, self._carrier(upstream), writer_of=writer_of)
        return judge.plan_step(step, statuses).planned

    def with_versions(self, name: str, trace: Trace) -> Trace:
        """Return the trace of a step with the versions of the packages that it loaded, without those that do not count.

        Parameters
        ----------
        name : str
            The step.
        trace : Mapping of str to str
            What it asked.
        """
        names = packages_asked([trace])
        if not names:
            return trace
        environment = self._keying.environment_of(self._pipeline[name])
        own = environment.used_beside_kernel(names)
        answers = {question("package", package): version for package, version in own.items()}
        # Workers on other machines report the versions that they have.
        return {
            text: answers.get(text, answer) if answer == UNKNOWN else answer
            for text, answer in trace.items()
            if text in answers or not text.startswith('["package"')
        }

    def drift(self, planned: PlannedStep) -> tuple[str, ...]:
        """Return which modules and input files of a step have changed since it was decided on.

        The step may have read the old or the new content, so its result must not be stored under the key.

        Parameters
        ----------
        planned : PlannedStep
            The decision under which the step ran.
        """
        step = self._pipeline[planned.name]
        resolver = InputResolver(self._pipeline, self._view)
        module_names = [part.removeprefix("module:") for part in planned.parts if part.startswith("module:")]
        modules = [
            f"module `{name}`"
            for name in module_names
            if _is_edited(self._module(name), planned.parts[f"module:{name}"])
        ]
        files = [
            (step_input.name, step_input.source)
            for step_input in step.inputs
            if isinstance(step_input.source, FileSource)
        ]
        planned_digests = {name: planned.parts.get(f"file:{name}") for name, _ in files}
        changed = [
            name for name, source in files if planned_digests[name] not in (None, "missing", resolver.digest(source))
        ]
        return (*modules, *(f"input file `{name}`" for name in changed))

    def url_fault(self, planned: PlannedStep) -> Diagnostic | None:
        """Return the fault of a step that cannot run because a URL that it takes cannot be checked."""
        fault = self._urls.fault(self._pipeline[planned.name], planned.reason.text)
        return replace(fault, notes=planned.reason.details) if fault else None

    def _with_outdated(self, outdated: dict[str, RerunOrigin]) -> PipelinePlanner:
        """Return a planner that knows which outputs a plan takes from the store though they are stale."""
        # A shallow copy: keys and environments that have been computed are shared with it.
        planner = copy(self)
        planner.__dict__["_outdated"] = outdated
        return planner

    def _standing(self, name: str, outputs: Mapping[str, Artifact]) -> UpstreamStatus:
        cause = self._outdated.get(name)
        return UpstreamStatus(decision="skip" if cause else "reuse", outputs=outputs, cause=cause)

    def _module(self, name: str) -> StepModule | None:
        """Return the module called `name`, of any step that reaches it."""
        if not self._modules:
            self._modules = {module.name: module for step in self._pipeline for module in step.modules}
        return self._modules.get(name)

    def _carrier(self, upstream: Upstreams) -> PickleDependencies:
        """Return the code dependencies of pickles; the same object as long as `upstream` is the same mapping."""
        if self._carrying is None or self._carrying[0] is not upstream:
            self._carrying = (upstream, PickleDependencies(self._pipeline, lambda name: upstream.get(name, {})))
        return self._carrying[1]

    def _judge(
        self,
        view: StoreReader,
        dependencies: PickleDependencies,
        left_out_by: str = "",
        records: Iterable[StepRecord] = (),
        writer_of: Callable[[str], str | None] = lambda _: None,
    ) -> StepPlanner:
        traces = TraceReader(self._pipeline.root, view.digest_files, os.environ, self._pipeline.folder)
        traces.prepare(text for record in records for text in record.trace or ())
        return StepPlanner(
            self._pipeline,
            view=view,
            traces=traces,
            dependencies=dependencies,
            key_cache=self._keying,
            forced=frozenset(self._forced),
            now=datetime.now(UTC),
            left_out_by=left_out_by,
            writer_of=writer_of,
            urls=self._urls,
        )


def _raise_faults(faults: Sequence[Diagnostic]) -> None:
    if faults:
        raise PlanError(*faults)


def _is_edited(module: StepModule | None, part: str) -> bool:
    import tokenize

    if module is None:
        return True
    try:
        with tokenize.open(module.path) as file:
            text = file.read()
        # The part does not say at which level it was computed, which depends on all code of the step.
        if part in {code_digests.module_digest(module.source, level) for level in SourceReads}:
            return part not in {code_digests.module_digest(text, level) for level in SourceReads}
        # Some of the module does not count.
        return code_digests.module_digest(text) != code_digests.module_digest(module.source)
    except (OSError, SyntaxError, UnicodeDecodeError):
        return True


def _no_step(name: str, planned_digests: Sequence[str]) -> str:
    near = closest_name(name, planned_digests)
    return f"there is no step called `{name}`; " + (
        f"write `{near}`" if near else f"known: {', '.join(planned_digests)}"
    )


def _outdated(plan: Plan, name: str, origin: RerunOrigin) -> Diagnostic:
    takers = [f"`{step.name}`" for step in plan.steps if name in step.outdated]
    rest, last = takers[:-1][:2], takers[-1] if len(takers) <= 3 else f"{len(takers) - 2} more"
    words = made_from(name, origin, "are" if rest else "is")
    return Diagnostic(
        code="JP313",
        message=f"{' and '.join(filter(None, (', '.join(rest), last)))} {words}",
        suggestion=_without_selection(plan),
        severity="warning",
        notebook=str(plan.pipeline.notebook) if plan.pipeline.notebook else None,
        place=plan.pipeline[name].place,
        label=f"left out by `{plan.selection}`",
    )


def _without_selection(plan: Plan) -> str:
    return f"run it without `{plan.selection}`: what comes before is run or reused then" if str(plan.selection) else ""


def _blocked(plan: Plan, step: PlannedStep) -> Diagnostic:
    url_fault = plan.planner.url_fault(step) if step.reason.code == "input" else None
    if url_fault is not None:
        return url_fault
    without_selection = _without_selection(plan)
    provide_file = "put it there, or say in `--optional` that the step can do without it"
    return Diagnostic(
        code=_BLOCKED[step.reason.code],
        message=f"step `{step.name}` cannot run: {step.reason.text}",
        suggestion=provide_file if step.reason.code == "input" else without_selection or "run the whole pipeline again",
        step=step.name,
        place=plan.pipeline[step.name].place,
        notes=step.reason.details,
    )
