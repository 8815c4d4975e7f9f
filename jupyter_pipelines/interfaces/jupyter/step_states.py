"""States of steps in a live notebook: executed in this session, edited, stale, or as planned from the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.interfaces.jupyter.session import KernelSession
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.plan import Plan
from jupyter_pipelines.reporting import status_details
from jupyter_pipelines.reporting.status_details import StepStates
from jupyter_pipelines.reporting.step_status import StepStatus, of_plan, of_step_run

if TYPE_CHECKING:
    from jupyter_pipelines.project import Project
    from jupyter_pipelines.project.planning_api import NotebookRef

_PLANNED = {"reuse": "reused", "maybe": "stale", "blocked": "blocked", "skip": "skipped"}
_CHANGED = {"never-run": "never run", "code": "edited"}
_UNDONE = frozenset({"never run", "stale", "run", "maybe"})


def live_states(session: KernelSession, pipeline: Pipeline) -> StepStates:
    """Return state and details of every step for a live notebook."""
    planned = session.project.plan(pipeline, look=True)
    states = StepStates(statuses(session, pipeline, planned), status_details.of_plan(planned.to_dict()))
    return with_failures(session.project, session.home(), planned, states)


def with_failures(project: Project, home: NotebookRef, planned: Plan, states: StepStates) -> StepStates:
    """Add failures of the newest run for steps whose key is unchanged, so that they would fail again."""
    by_step, more = dict(states.statuses), dict(states.more)
    for step in _newest(project, home).get("steps", ()):
        name = step["name"]
        if step["state"] not in ("failed", "cancelled", "lost") or name not in by_step:
            continue
        # With the same key the step would fail again; with another one the failure belongs to other code or inputs.
        if by_step[name].state in _UNDONE and step["key"] is not None and planned[name].key == step["key"]:
            by_step[name] = of_step_run(step)
            more[name] = {**more.get(name, {}), **status_details.of_step_run(step)}
    return StepStates(by_step, more)


def _newest(project: Project, home: NotebookRef) -> Mapping[str, Any]:
    """Return the document of the newest run; an empty document if there is no run."""
    documents = (project.find_run(home, run) for run in reversed(project.run_names(home)))
    return next((document for document in documents if document is not None), {})


def statuses(session: KernelSession, pipeline: Pipeline, plan: Plan) -> Mapping[str, StepStatus]:
    """Return the state of every step: that of this session if it was executed here, else the planned one."""
    planned = of_plan(plan.to_dict())
    by_step: dict[str, StepStatus] = {}
    # In topological order: the state of a step depends on the states of those before it.
    for name in pipeline.order():
        by_step[name] = _session_status(session, pipeline, name, by_step) or _stored_status(
            planned[name], plan[name].reason.code
        )
    return by_step


def _session_status(
    session: KernelSession, pipeline: Pipeline, name: str, by_step: Mapping[str, StepStatus]
) -> StepStatus | None:
    outcome = session.outcome(pipeline[name])
    if outcome in (None, "running", "failed"):
        return StepStatus(state=outcome, detail="in this session") if outcome else None
    if outcome == "edited":
        return StepStatus(state="edited", detail="edited since it was executed here")
    before = pipeline.before(name)
    moved = [
        upstream
        for upstream in before
        if _ran_after(session, pipeline, upstream, name) or by_step[upstream].state == "stale"
    ]
    moved += [
        upstream for upstream in before if by_step[upstream].state in ("edited", "failed") and upstream not in moved
    ]
    if moved:
        return StepStatus(state="stale", detail=f"follows `{moved[0]}`, which is newer")
    return StepStatus(state="fresh", detail="executed in this session")


def _ran_after(session: KernelSession, pipeline: Pipeline, first: str, second: str) -> bool:
    """Whether `first` was executed here after `second`."""
    times = [session.when(pipeline[name]) for name in (first, second)]
    return times[0] is not None and times[1] is not None and times[0] > times[1]


def _stored_status(status: StepStatus, reason: str) -> StepStatus:
    state = _PLANNED.get(status.state) or _CHANGED.get(reason, "stale")
    return StepStatus(state=state, detail=status.detail, seconds=status.seconds, saved=status.saved, notes=status.notes)
