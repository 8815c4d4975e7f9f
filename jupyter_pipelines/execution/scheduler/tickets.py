"""PLAN -> TASKS AND TICKETS: the scheduler's view of each step, and the tickets for workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.execution.executors import StepRequirements
from jupyter_pipelines.execution.scheduler.messages import ScheduledStep
from jupyter_pipelines.execution.ticket import (
    InputSpec,
    KernelPreimports,
    OutputSpec,
    PublishPaths,
    SourceFile,
    StepOutcome,
    StepTicket,
)
from jupyter_pipelines.execution.timestamps import now
from jupyter_pipelines.pipeline.artifacts import Artifact, Input, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.foreach import GatherSpec
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import file_stem
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.pipeline.url_inputs import file_name_of
from jupyter_pipelines.planning.shared_outputs import taken_later
from jupyter_pipelines.planning.undeclared_files import files_at
from jupyter_pipelines.storage.gathered_items import put
from jupyter_pipelines.storage.store import Store

if TYPE_CHECKING:
    from jupyter_pipelines.planning.plan import Plan, PlannedStep

Known = Mapping[str, Mapping[str, Artifact]]
_AHEAD = 2
_SHOWN = 5


def tasks_of(plan: Plan) -> list[ScheduledStep]:
    """Return the tasks of the scheduler, one for each step."""
    return [_task(plan.pipeline, planned) for planned in plan.steps]


def requirements_of(plan: Plan) -> list[StepRequirements]:
    """Return the requirements of every step that may run."""
    may_run = [planned for planned in plan.steps if planned.decision in ("run", "maybe")]
    return [_requirements(plan, plan.pipeline[planned.name], planned.parts) for planned in may_run]


def _requirements(plan: Plan, step: Step, parts: Mapping[str, str]) -> StepRequirements:
    return StepRequirements(
        step=step.name,
        demand=step.resources,
        python="" if step.kernel else parts.get("python", ""),
        packages={} if step.kernel else {name: parts.get(f"package:{name}", "") for name in step.packages},
        secrets=secrets_of(plan.pipeline, step, plan.values),
        place=step.place,
    )


def ticket_for(
    plan: Plan,
    planned: PlannedStep,
    known: Known,
    *,
    run: str,
    attempt: int,
    folder: Path,
    store: str,
    foreseen: Sequence[KernelPreimports],
) -> StepTicket:
    """Return the ticket of an attempt at a step.

    Parameters
    ----------
    plan : Plan
        The plan, with pipeline and parameters.
    planned : PlannedStep
        The decision to run the step.
    known : Mapping
        Artifacts by step and output, of all steps whose outputs are stored.
    run, store : str
        Id of the run, and URL of the store.
    attempt, folder : int, Path
        Number of the attempt, from 1, and folder of the run.
    foreseen : sequence of KernelPreimports
        Preimports of the step's kernel, followed by those of the steps that are likely to start next.

    Raises
    ------
    PipelinesError
        A value of a parameter cannot be written into a notebook.
    """
    pipeline, step = plan.pipeline, plan.pipeline[planned.name]
    values = {**plan.values, **step.item.parameters} if step.item else plan.values
    path, publish = _paths(folder, step.name)
    return StepTicket(
        id=f"{run}.{step.name}.{attempt}",
        run=run,
        step=step.name,
        attempt=attempt,
        notebook=_rendered(pipeline, step, values, path),
        path=path,
        cwd=str(pipeline.folder),
        store=store,
        parameters={name: values[name] for name in step.parameters},
        secrets=secrets_of(pipeline, step, values),
        inputs=_input_specs(pipeline, step, planned, known),
        outputs={output.name: OutputSpec(kind=output.kind, format=output.format) for output in step.outputs},
        timeout=step.timeout,
        ignored=list(step.ignore),
        kernel=step.kernel,
        root=str(pipeline.root),
        sources=_sources(pipeline, step),
        asked=tuple(planned.previous.trace or ()) if planned.previous else (),
        warm=foreseen[0],
        following=foreseen[1:],
        publish=publish,
    )


def _paths(folder: Path, step: str) -> tuple[str, PublishPaths]:
    """Return where the ticket of a step lies in the folder of a run, and its executed notebook and log."""
    stem = folder / file_stem(step)
    return f"{stem}.ticket.json", PublishPaths(notebook=f"{stem}.ipynb", log=f"{stem}.log")


def _sources(pipeline: Pipeline, step: Step) -> list[SourceFile]:
    """Return the project's modules that a step's code reaches, and the files whose names stand in it."""
    modules = [SourceFile(path=module.path, text=module.source, name=module.name) for module in step.modules]
    return [*modules, *(SourceFile(path=file) for path in step.files for file in files_at(pipeline, path))]


def secrets_of(pipeline: Pipeline, step: Step, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the references of the secrets that `step` takes."""
    # References only: tickets are written to files and sent to other machines, so the values must not be in them.
    kinds = {parameter.name: parameter.kind for parameter in pipeline.parameters}
    return {name: values[name] for name in step.parameters if kinds.get(name) == "secret" and values[name] is not None}


def plan_preimports(plan: Plan) -> dict[str, list[KernelPreimports]]:
    """Return for each step that may run its preimports, followed by those of the next two steps of the plan."""
    from jupyter_pipelines.execution.scheduler.preimports import preimports_of

    may_run = [planned.name for planned in plan.steps if planned.decision in ("run", "maybe")]
    names = [name for name in may_run if not plan.pipeline[name].gathering]
    warm = preimports_of(plan.pipeline[name] for name in names)
    preimports = [warm[name] for name in names]
    return {name: preimports[index : index + 1 + _AHEAD] for index, name in enumerate(names)}


def rename_attempt_files(ticket: StepTicket) -> tuple[str | None, str | None]:
    """Rename notebook and log of a failed attempt, so that the next does not replace them; return both paths."""
    publish = ticket.publish
    return _renamed(publish["notebook"], ticket.attempt), _renamed(publish["log"], ticket.attempt)


def _renamed(name: str, attempt: int) -> str | None:
    path = Path(name)
    target = path.with_name(f"{path.stem}.attempt-{attempt}{path.suffix}")
    try:
        path.rename(target)
    except OSError:
        return None
    return str(target)


def _task(pipeline: Pipeline, planned: PlannedStep) -> ScheduledStep:
    step = pipeline[planned.name]
    return ScheduledStep(
        name=step.name,
        before=pipeline.before(step.name),
        optional=_optional(step),
        always=step.always,
        retries=step.retries,
        demand=step.resources,
        seconds=planned.previous.seconds if planned.previous else 1.0,
        room=step.on or "",
        spare=step.gathering.may_fail if step.gathering else None,
        lane=step.item.group if step.item else "",
        at_once=step.item.at_once if step.item else None,
        planned="skip" if planned.decision == "skip" else "blocked" if planned.decision == "blocked" else "go",
    )


def _optional(step: Step) -> frozenset[str]:
    """Return the steps that may fail: those that only optional inputs come from, or items that are allowed to fail."""
    if step.gathering:
        return frozenset(step.gathering.items if step.gathering.may_fail else ())
    sources = [
        (step_input.source.step, step_input.optional)
        for step_input in step.inputs
        if isinstance(step_input.source, StepOutputRef)
    ]
    needed = {name for name, optional in sources if not optional} | set(step.after)
    return frozenset(name for name, _ in sources) - needed


def _rendered(pipeline: Pipeline, step: Step, values: Mapping[str, Any], ticket: str) -> dict[str, Any]:
    # nbformat's vocabulary is of no use to a run that reuses everything.
    from jupyter_pipelines.notebook.step_notebook import render

    return render(pipeline, step, values=values, ticket=ticket)


def _input_specs(pipeline: Pipeline, step: Step, planned: PlannedStep, known: Known) -> dict[str, InputSpec]:
    return {step_input.name: _input_spec(pipeline, step, step_input, planned, known) for step_input in step.inputs}


def _input_spec(pipeline: Pipeline, step: Step, step_input: Input, planned: PlannedStep, known: Known) -> InputSpec:
    source = step_input.source
    if isinstance(source, StepOutputRef):
        outputs = known.get(source.step, {})
        artifact = outputs.get(source.output)
        if artifact is None:
            return InputSpec(kind="missing")
        spec = InputSpec(kind="artifact", digest=artifact.digest, format=artifact.format)
        later = taken_later(pipeline, step, step_input, outputs)
        return InputSpec(**spec, later=later) if later else spec
    if isinstance(source, UrlSource):
        digest = planned.urls.get(step_input.name, {}).get("digest")
        if digest is None:
            return InputSpec(kind="missing")
        # An artifact, so that workers on other machines get it: it was put into the store when the plan was made.
        return InputSpec(kind="artifact", digest=digest, format="file", filename=file_name_of(source.url))
    if step_input.optional and not (pipeline.folder / source.path).exists():
        return InputSpec(kind="missing")
    return InputSpec(kind="file", path=source.path, digest=planned.parts.get(f"file:{step_input.name}", ""))


def gathering_ticket(pipeline: Pipeline, step: Step, run: str, attempt: int, store: str) -> StepTicket:
    """Return the ticket of a gathering step, which is done by the loop itself and has no notebook."""
    return StepTicket(
        id=f"{run}.{step.name}.{attempt}",
        run=run,
        step=step.name,
        attempt=attempt,
        notebook={},
        path="",
        cwd=str(pipeline.folder),
        store=store,
        publish=PublishPaths(notebook="", log=""),
    )


def assemble(store: Store, step: Step, gathering: GatherSpec, known: Known, ticket: StepTicket) -> StepOutcome:
    """Store each gathered output as a list of the items' artifacts; failed items have none."""
    started = now()
    item_outputs = [known.get(name, {}) for name in gathering.items]
    try:
        outputs = {
            output.name: put(
                store,
                [
                    (key, artifacts.get(output.name))
                    for key, artifacts in zip(gathering.keys, item_outputs, strict=True)
                ],
            )
            for output in step.outputs
        }
    except StoreError as error:
        return StepOutcome(ticket=ticket.id, state="failed", fault=error.faults[0], started=started)
    return StepOutcome(ticket=ticket.id, state="succeeded", outputs=outputs, started=started)


def failed_items_warning(step: Step, gathering: GatherSpec, known: Known) -> Diagnostic | None:
    """Return the warning about failed items within the allowance; None if no item failed."""
    failed = [name for name in gathering.items if name not in known]
    if not failed:
        return None
    shown = ", ".join(f"`{name}`" for name in failed[:_SHOWN]) + (" and others" if len(failed) > _SHOWN else "")
    return Diagnostic(
        code="JP312",
        message=f"{len(failed)} of {len(gathering.items)} items of step `{step.name}` failed, "
        "and what follows does without them",
        suggestion="run it again: items that failed are tried each time",
        severity="warning",
        step=step.name,
        place=step.place,
        notes=(f"failed: {shown}", f"`--allow-failed` allows {gathering.may_fail}"),
    )
