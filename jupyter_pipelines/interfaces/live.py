"""The state of each step as the user of a live notebook sees it: run here, edited, stale, or as the store has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from jupyter_pipelines.interfaces.session import Session
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.plan import Plan
from jupyter_pipelines.reporting import particulars
from jupyter_pipelines.reporting.statuses import Status, of_plan, of_step_run

if TYPE_CHECKING:
    from jupyter_pipelines.project import Project
    from jupyter_pipelines.project.reader import Whose

_PLANNED = {"reuse": "reused", "maybe": "stale", "blocked": "blocked", "skip": "skipped"}
_CHANGED = {"never-run": "never run", "code": "edited"}
_UNDONE = frozenset({"never run", "stale", "run", "maybe"})


class Said(NamedTuple):
    """The states of the steps of a pipeline, and their details."""

    statuses: Mapping[str, Status]
    more: Mapping[str, Mapping[str, Any]]


def say(session: Session, pipeline: Pipeline) -> Said:
    """Return what to say of every step to the user of a live notebook."""
    planned = session.project.plan(pipeline)
    states = Said(statuses(session, pipeline, planned), particulars.of_plan(planned.to_dict()))
    return with_failures(session.project, session.home(), planned, states)


def with_failures(project: Project, home: Whose, planned: Plan, states: Said) -> Said:
    """Add what failed in the newest run, as far as it would fail again: nothing it depends on has changed since."""
    by_step, more = dict(states.statuses), dict(states.more)
    for step in _newest(project, home).get("steps", ()):
        name = step["name"]
        if step["state"] not in ("failed", "cancelled", "lost") or name not in by_step:
            continue
        if by_step[name].state in _UNDONE and step["key"] is not None and planned[name].key == step["key"]:
            by_step[name] = of_step_run(step)
            more[name] = {**more.get(name, {}), **particulars.of_step_run(step)}
    return Said(by_step, more)


def _newest(project: Project, home: Whose) -> Mapping[str, Any]:
    """Return the document of the newest run; an empty document if there is no run."""
    documents = (project.find_run(home, run) for run in reversed(project.run_names(home)))
    return next((document for document in documents if document is not None), {})


def statuses(session: Session, pipeline: Pipeline, plan: Plan) -> Mapping[str, Status]:
    """Return what to say of every step: what happened in this session first, else what a run would do."""
    planned = of_plan(plan.to_dict())
    by_step: dict[str, Status] = {}
    for name in pipeline.order():
        by_step[name] = _here(session, pipeline, name, by_step) or _stored(planned[name], plan[name].reason.code)
    return by_step


def _here(session: Session, pipeline: Pipeline, name: str, by_step: Mapping[str, Status]) -> Status | None:
    outcome = session.outcome(pipeline[name])
    if outcome in (None, "running", "failed"):
        return Status(state=outcome, detail="in this session") if outcome else None
    if outcome == "edited":
        return Status(state="edited", detail="edited since it was executed here")
    before = pipeline.before(name)
    moved = [
        upstream
        for upstream in before
        if _later(session, pipeline, upstream, name) or by_step[upstream].state == "stale"
    ]
    moved += [
        upstream for upstream in before if by_step[upstream].state in ("edited", "failed") and upstream not in moved
    ]
    if moved:
        return Status(state="stale", detail=f"follows `{moved[0]}`, which is newer")
    return Status(state="fresh", detail="executed in this session")


def _later(session: Session, pipeline: Pipeline, first: str, second: str) -> bool:
    """Whether `first` was executed here after `second`."""
    times = [session.when(pipeline[name]) for name in (first, second)]
    return times[0] is not None and times[1] is not None and times[0] > times[1]


def _stored(status: Status, reason: str) -> Status:
    state = _PLANNED.get(status.state) or _CHANGED.get(reason, "stale")
    return Status(state=state, detail=status.detail, seconds=status.seconds, saved=status.saved, notes=status.notes)
