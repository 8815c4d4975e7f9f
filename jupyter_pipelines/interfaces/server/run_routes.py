"""Routes about runs: results, progress, starting and stopping."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.interfaces.server import schemas
from jupyter_pipelines.interfaces.server.idempotency import IdempotencyStore
from jupyter_pipelines.interfaces.server.notebook_routes import (
    SELECTION_FIELDS,
    pipeline_of,
    plan_arguments,
    reading_of,
)
from jupyter_pipelines.interfaces.server.routing import ApiRequest, ApiRoute, run_by_id
from jupyter_pipelines.interfaces.server.run_list_cache import RUN_LIST_CACHE, RUNNING
from jupyter_pipelines.pipeline.state_names import UNDER_WAY
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

LONGEST_LOG = 1_000_000
MOST_RUNS = 1_000
MOST_EVENTS = 5_000
_ONCE = IdempotencyStore()


def list_runs(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return earlier runs, newest first."""
    return {"runs": RUN_LIST_CACHE.of(project, request.home(project))[: request.query.get("limit", 50)]}


def start_run(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Start a run that outlives the server; the same ``Idempotency-Key`` gets the same run."""
    if not request.key:
        return {"run": _detached(project, request, None)}
    home = request.home(project)
    asked = {"notebook": str(home.notebook), "body": request.body}
    return {"run": _ONCE.run(project.store_for(home), request.key, asked, partial(_detached, project, request))}


def _detached(project: Project, request: ApiRequest, run: str | None) -> str:
    run_options = {
        name: request.body[name] for name in ("jobs", "on", "keep_going") if request.body.get(name) is not None
    }
    return project.detach(request.document(), **plan_arguments(request.body), **run_options, run=run)


def document(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the document of a run with statuses, timeline and graph for drawing it."""
    from jupyter_pipelines.reporting import status_details
    from jupyter_pipelines.reporting.graph_json import graph_document, status_document
    from jupyter_pipelines.reporting.step_status import of_run
    from jupyter_pipelines.reporting.summary import headline

    run = request.run(project)
    pipeline = reading_of(project, request).pipeline
    events = project.store_for(request.home(project)).runs.events(run["run"])
    # The graph is that of the notebook as it is; with other steps it would not be the graph of the run.
    same = pipeline is not None and {step.name for step in pipeline} == {step["name"] for step in run["steps"]}
    about = {"run": run["run"], "running": run["state"] == RUNNING, "headline": headline(run)}
    return {
        **run,
        "statuses": status_document(of_run(run), **about, more=status_details.of_run(run)),
        "timeline": timeline(events),
        "graph": graph_document(pipeline) if same and pipeline is not None else None,
    }


def events(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the events of a run after the first ``after``."""
    run = request.run(project)
    after = request.query.get("after", 0)
    known = project.store_for(request.home(project)).runs.events(run["run"])
    part = known[after : after + MOST_EVENTS]
    ended = run["state"] != RUNNING and after + len(part) >= len(known)
    return {"events": part, "next": after + len(part), "ended": ended}


def log(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return part of what a step printed; positions are bytes."""
    run = request.run(project)
    step = _step(run, request.names["step"])
    store = project.store_for(request.home(project))
    log_path = step.get("log") or _log_of(store.runs.events(run["run"]), step["name"])
    ended = step["state"] not in UNDER_WAY
    try:
        path = run_file(store, log_path)
        # A step can put a link into the folder of its run; following it would show any file of the server's user.
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            return _part(file, request.query) | {"ended": ended}
    except OSError:
        return {"text": "", "offset": 0, "next": 0, "size": 0, "ended": ended}


def notebook(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the executed notebook of a step, and its path if JupyterLab can open it."""
    from jupyter_pipelines.notebook.source.document import load_json

    step = _step(request.run(project), request.names["step"])
    store = project.store_for(request.home(project))
    try:
        path = run_file(store, step.get("notebook"))
        content = load_json(path.read_text("utf-8"), path)
    except OSError as error:
        raise _not_kept(f"an executed notebook of step `{step['name']}`") from error
    return {"path": request.known.name_of(path), "notebook": content}


def cancel_run(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Ask a run, or one step of it, to stop; asking again changes nothing."""
    run = request.run(project)
    step, now = request.body.get("step"), request.body.get("now", False)
    return {"state": project.cancel(request.home(project), run["run"], step=step, now=now)}


def compare_runs(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Compare two runs."""
    home = request.home(project)
    names = [run_by_id(project, home, request.names[which])["run"] for which in ("first", "second")]
    difference = project.diff(home, *names)
    return {"text": str(difference), "difference": difference.to_dict()}


def preview(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return type and beginning of an output; pickles are not loaded in the server."""
    run = request.query.get("run")
    if run is not None:
        run_by_id(project, request.home(project), run)
    return project.preview(pipeline_of(project, request), f"{request.names['step']}.{request.names['name']}", run=run)


def dependencies(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return what the stored result of a step depends on, in a few lines."""
    return {"lines": project.dependencies(pipeline_of(project, request), request.names["step"])}


# What runs leave


def run_file(store: Store, path: object) -> Path:
    """Return the current path of a file in the folder of a run, also if the store has been moved.

    Raises
    ------
    StoreError
        It does not lie in the folder of a run (JP405).
    """
    from jupyter_pipelines.storage.records.run_store import is_run

    # The path stands in a document that other users may have written: only run id and file name are used.
    named = Path(path if isinstance(path, str) else "")
    if not is_run(named.parent.name) or named.name in ("", ".", ".."):
        raise _not_kept("such a file")
    return store.runs.folder(named.parent.name) / named.name


def timeline(events: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return when each attempt of each step began and ended, in seconds since the run began; null for not yet."""
    bars: list[dict[str, Any]] = []
    open_bars: dict[str, dict[str, Any]] = {}
    start: datetime | None = None
    for event in events:
        moment = _moment(event)
        start = start or moment
        seconds = round((moment - start).total_seconds(), 3) if moment and start else None
        if event["event"] == "step-started":
            bar = {"step": event["step"], "state": "running", "from": seconds, "to": None, "attempt": event["attempt"]}
            bars.append(bar)
            open_bars[event["step"]] = bar
        elif event["event"] in ("step-retried", "step-finished"):
            bar = open_bars.pop(event["step"], {})
            bar.update(to=seconds, state=event.get("state", "failed"))
    return bars


def _moment(event: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(event["at"])
    except (KeyError, TypeError, ValueError):
        return None


def _step(run: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    step: Mapping[str, Any] | None = next((step_run for step_run in run["steps"] if step_run["name"] == name), None)
    if step is None:
        message = f"the run `{run['run']}` has no step `{name}`"
        raise StoreError(Diagnostic(code="JP405", message=message, suggestion="ask for the run, which names its steps"))
    return step


def _log_of(events: Iterable[Mapping[str, Any]], step: str) -> object:
    logs = [event.get("log") for event in events if event.get("event") == "step-started" and event.get("step") == step]
    return logs[-1] if logs else None


def _part(file: Any, query: Mapping[str, Any]) -> dict[str, Any]:
    size = file.seek(0, os.SEEK_END)
    tail = min(query.get("tail", LONGEST_LOG), LONGEST_LOG)
    offset = min(query["offset"], size) if "offset" in query else max(0, size - tail)
    file.seek(offset)
    content = file.read(tail)
    return {
        "text": content.decode("utf-8", "replace"),
        "offset": offset,
        "next": offset + len(content),
        "size": size,
    }


def _not_kept(what: str) -> StoreError:
    return StoreError(
        Diagnostic(
            code="JP405", message=f"the run did not keep {what}", suggestion="run the step again, with `--force`"
        )
    )


_RUN = "notebooks/{id}/runs/{run}"
ROUTES = (
    ApiRoute(
        method="GET",
        path="notebooks/{id}/runs",
        work=list_runs,
        summary="Earlier runs, newest first, no matter where they were started",
        query=schemas.fields(limit={"type": "integer", "minimum": 1, "maximum": MOST_RUNS}),
        answer=schemas.answer_with("runs"),
    ),
    ApiRoute(
        method="POST",
        path="notebooks/{id}/runs",
        work=start_run,
        action="execute",
        summary="Start a run that outlives the server",
        body=schemas.fields(
            **SELECTION_FIELDS,
            jobs=schemas.nullable({"type": "integer", "minimum": 1, "maximum": 10_000}),
            on=schemas.nullable(schemas.NAME),
            keep_going=schemas.BOOL,
        ),
        answer=schemas.answer_with("run"),
        status=202,
    ),
    ApiRoute(
        method="GET",
        path=_RUN,
        work=document,
        summary="The document of a run, with statuses, time line and graph",
        answer=schemas.answer_with("run", "state", "steps", "statuses", "timeline", "graph"),
    ),
    ApiRoute(
        method="GET",
        path=f"{_RUN}/events",
        work=events,
        summary="Events of a run, behind the first `after`",
        query=schemas.fields(after=schemas.COUNT),
        answer=schemas.answer_with("events", "next", "ended"),
    ),
    ApiRoute(
        method="GET",
        path=f"{_RUN}/steps/{{step}}/log",
        work=log,
        summary="What a step printed: its end, or from a position on",
        query=schemas.fields(offset=schemas.COUNT, tail=schemas.COUNT),
        answer=schemas.answer_with("text", "offset", "next", "size", "ended"),
    ),
    ApiRoute(
        method="GET",
        path=f"{_RUN}/steps/{{step}}/notebook",
        work=notebook,
        summary="The executed notebook of a step",
        answer=schemas.answer_with("path", "notebook"),
    ),
    ApiRoute(
        method="POST",
        path=f"{_RUN}/cancel",
        work=cancel_run,
        action="execute",
        summary="Ask a run, or one step of it, to stop",
        body=schemas.fields(step=schemas.nullable(schemas.NAME), now=schemas.BOOL),
        answer=schemas.answer_with("state"),
    ),
    ApiRoute(
        method="GET",
        path="notebooks/{id}/runs/{first}/diff/{second}",
        work=compare_runs,
        summary="Two runs compared",
        answer=schemas.answer_with("text", "difference"),
    ),
    ApiRoute(
        method="GET",
        path="notebooks/{id}/outputs/{step}/{name}",
        work=preview,
        summary="What an output is, and how it begins",
        query=schemas.fields(run=schemas.NAME),
        answer=schemas.answer_with("name", "type", "format", "bytes", "digest"),
    ),
    ApiRoute(
        method="GET",
        path="notebooks/{id}/steps/{step}/dependencies",
        work=dependencies,
        summary="What the stored result of a step depends on: files, modules, variables; as lines",
        answer=schemas.answer_with("lines"),
    ),
)
