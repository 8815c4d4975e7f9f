"""PLAN -> TASKS AND TICKETS: what the scheduler has to know of each step, and what a worker gets to run it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.pipeline.data import Artifact, Input, Upstream
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.reading import files_at
from jupyter_pipelines.running.commands import Task
from jupyter_pipelines.running.executors import Need
from jupyter_pipelines.running.ticket import Given, Publish, Source, Ticket, Wanted, Warm

if TYPE_CHECKING:
    from jupyter_pipelines.planning.plan import Plan, PlannedStep

Known = Mapping[str, Mapping[str, Artifact]]
_AHEAD = 2


def tasks_of(plan: Plan) -> list[Task]:
    """Return the tasks of the scheduler, one for each step."""
    return [_task(plan.pipeline, planned) for planned in plan.steps]


def needs_of(plan: Plan) -> list[Need]:
    """Return what every step that may run needs of the place where it runs."""
    may_run = [planned for planned in plan.steps if planned.decision in ("run", "maybe")]
    return [_need(plan, plan.pipeline[planned.name], planned.parts) for planned in may_run]


def _need(plan: Plan, step: Step, parts: Mapping[str, str]) -> Need:
    return Need(
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
    foreseen: Sequence[Warm],
) -> Ticket:
    """Return what a worker gets to run a step.

    Parameters
    ----------
    plan : Plan
        Pipeline and parameters.
    planned : PlannedStep
        The decision to run it.
    known : Mapping
        Artifacts by step and output, of everything that is there.
    run : str
        Id of the run.
    attempt : int
        Counted from 1.
    folder : Path
        Folder of the run.
    store : str
        URL of the store.
    foreseen : sequence of Warm
        What the kernel may have imported ahead of time, and those of the steps that are likely to start next.

    Raises
    ------
    PipelinesError
        A value of a parameter cannot be written into a notebook.
    """
    # nbformat's vocabulary is of no use to a run that reuses everything.
    from jupyter_pipelines.notebook.rendering import render

    pipeline = plan.pipeline
    step = pipeline[planned.name]
    values = {**plan.values, **step.item.parameters} if step.item else plan.values
    path = str(folder / f"{step.name}.ticket.json")
    return Ticket(
        id=f"{run}.{step.name}.{attempt}",
        run=run,
        step=step.name,
        attempt=attempt,
        notebook=render(pipeline, step, values=values, ticket=path),
        path=path,
        cwd=str(pipeline.folder),
        store=store,
        parameters={name: values[name] for name in step.parameters},
        secrets=secrets_of(pipeline, step, values),
        inputs={step_input.name: _given(step_input, planned, known, pipeline.folder) for step_input in step.inputs},
        outputs={output.name: Wanted(kind=output.kind, format=output.format) for output in step.outputs},
        timeout=step.timeout,
        kernel=step.kernel,
        root=str(pipeline.root),
        sources=_sources(pipeline, step),
        warm=foreseen[0],
        following=foreseen[1:],
        publish=Publish(notebook=str(folder / f"{step.name}.ipynb"), log=str(folder / f"{step.name}.log")),
    )


def _sources(pipeline: Pipeline, step: Step) -> list[Source]:
    """Return the files that the code of a step reaches: the project's own modules, and what it reads by name."""
    modules = [Source(path=module.path, text=module.source, name=module.name) for module in step.modules]
    return [*modules, *(Source(path=file) for path in step.files for file in files_at(pipeline, path))]


def secrets_of(pipeline: Pipeline, step: Step, values: Mapping[str, Any]) -> dict[str, str]:
    """Return where the secrets are that `step` takes."""
    kinds = {parameter.name: parameter.kind for parameter in pipeline.parameters}
    return {name: values[name] for name in step.parameters if kinds.get(name) == "secret" and values[name] is not None}


def foresee(plan: Plan) -> dict[str, list[Warm]]:
    """Return what the kernel of each step that may run can have imported, and those of the steps after it."""
    from jupyter_pipelines.running.warming import warm_up

    may_run = [planned.name for planned in plan.steps if planned.decision in ("run", "maybe")]
    names = [name for name in may_run if not plan.pipeline[name].gathering]
    warm = warm_up(plan.pipeline[name] for name in names)
    preimports = [warm[name] for name in names]
    return {name: preimports[index : index + 1 + _AHEAD] for index, name in enumerate(names)}


def keep_attempt(ticket: Ticket) -> tuple[str | None, str | None]:
    """Rename what a failed attempt left behind, so that the next one does not replace it; return both paths."""
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


def _task(pipeline: Pipeline, planned: PlannedStep) -> Task:
    step = pipeline[planned.name]
    return Task(
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
    """Return the steps of which only optional inputs are taken; items that may fail."""
    if step.gathering:
        return frozenset(step.gathering.items if step.gathering.may_fail else ())
    sources = [
        (step_input.source.step, step_input.optional)
        for step_input in step.inputs
        if isinstance(step_input.source, Upstream)
    ]
    needed = {name for name, optional in sources if not optional} | set(step.after)
    return frozenset(name for name, _ in sources) - needed


def _given(step_input: Input, planned: PlannedStep, known: Known, folder: Path) -> Given:
    if isinstance(step_input.source, Upstream):
        artifact = known.get(step_input.source.step, {}).get(step_input.source.output)
        if artifact is None:
            return Given(kind="missing")
        return Given(kind="artifact", digest=artifact.digest, format=artifact.format)
    if step_input.optional and not (folder / step_input.source.path).exists():
        return Given(kind="missing")
    return Given(kind="file", path=step_input.source.path, digest=planned.parts.get(f"file:{step_input.name}", ""))
