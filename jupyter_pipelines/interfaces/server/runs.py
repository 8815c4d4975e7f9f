"""Routes about runs: what became of them, what they do right now, starting and stopping them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Fault, StoreError
from jupyter_pipelines.interfaces.server import shapes
from jupyter_pipelines.interfaces.server.asking import Request, Route, run_called
from jupyter_pipelines.interfaces.server.ledger import LEDGER, RUNNING
from jupyter_pipelines.interfaces.server.notebooks import GIVEN, given, pipeline_of, reading_of
from jupyter_pipelines.interfaces.server.once import Once
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.storing.store import Store

LONGEST_LOG = 1_000_000
MOST_RUNS = 1_000
MOST_EVENTS = 5_000
_ONCE = Once()


def listed(project: Project, request: Request) -> dict[str, Any]:
    """Return earlier runs, newest first."""
    return {"runs": LEDGER.of(project, request.home(project))[: request.query.get("limit", 50)]}


def started(project: Project, request: Request) -> dict[str, Any]:
    """Start a run that outlives the server; the same ``Idempotency-Key`` gets the same run."""
    if not request.key:
        return {"run": _detached(project, request, None)}
    home = request.home(project)
    asked = {"notebook": str(home.notebook), "body": request.body}
    return {"run": _ONCE.run(project.store_for(home), request.key, asked, partial(_detached, project, request))}


def _detached(project: Project, request: Request, run: str | None) -> str:
    run_options = {
        name: request.body[name] for name in ("jobs", "on", "keep_going") if request.body.get(name) is not None
    }
    return project.detach(request.document(), **given(request.body), **run_options, run=run)


def document(project: Project, request: Request) -> dict[str, Any]:
    """Return the document of a run, with what a picture of it needs."""
    from jupyter_pipelines.reporting import particulars
    from jupyter_pipelines.reporting.graphing import graph_document, status_document
    from jupyter_pipelines.reporting.statuses import of_run
    from jupyter_pipelines.reporting.summary import headline

    run = request.run(project)
    pipeline = reading_of(project, request).pipeline
    events = project.store_for(request.home(project)).runs.events(run["run"])
    same = pipeline is not None and {step.name for step in pipeline} == {step["name"] for step in run["steps"]}
    about = {"run": run["run"], "running": run["state"] == RUNNING, "headline": headline(run)}
    return {
        **run,
        "statuses": status_document(of_run(run), **about, more=particulars.of_run(run)),
        "timeline": timeline(events),
        "graph": graph_document(pipeline) if same and pipeline is not None else None,
    }


def events(project: Project, request: Request) -> dict[str, Any]:
    """Return the events of a run behind the first ``after``."""
    run = request.run(project)
    after = request.query.get("after", 0)
    known = project.store_for(request.home(project)).runs.events(run["run"])
    part = known[after : after + MOST_EVENTS]
    ended = run["state"] != RUNNING and after + len(part) >= len(known)
    return {"events": part, "next": after + len(part), "ended": ended}


def log(project: Project, request: Request) -> dict[str, Any]:
    """Return part of what a step printed; positions are bytes."""
    run = request.run(project)
    step = _step(run, request.names["step"])
    store = project.store_for(request.home(project))
    log_path = step.get("log") or _log_of(store.runs.events(run["run"]), step["name"])
    ended = step["state"] not in _UNDER_WAY
    try:
        path = kept(store, log_path)
        with os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:
            return _part(file, request.query) | {"ended": ended}
    except OSError:
        return {"text": "", "offset": 0, "next": 0, "size": 0, "ended": ended}


def notebook(project: Project, request: Request) -> dict[str, Any]:
    """Return the executed notebook of a step, and its path if JupyterLab can open it."""
    from jupyter_pipelines.notebook.document import load_json

    step = _step(request.run(project), request.names["step"])
    store = project.store_for(request.home(project))
    try:
        path = kept(store, step.get("notebook"))
        content = load_json(path.read_text("utf-8"), path)
    except OSError as error:
        raise _not_kept(f"an executed notebook of step `{step['name']}`") from error
    return {"path": request.known.name_of(path), "notebook": content}


def cancelled(project: Project, request: Request) -> dict[str, Any]:
    """Ask a run, or one step of it, to stop; asking again changes nothing."""
    run = request.run(project)
    step, now = request.body.get("step"), request.body.get("now", False)
    return {"state": project.cancel(request.home(project), run["run"], step=step, now=now)}


def differences(project: Project, request: Request) -> dict[str, Any]:
    """Compare two runs."""
    home = request.home(project)
    names = [run_called(project, home, request.names[which])["run"] for which in ("first", "second")]
    difference = project.diff(home, *names)
    return {"text": str(difference), "difference": difference.to_dict()}


def preview(project: Project, request: Request) -> dict[str, Any]:
    """Return what an output is and how it begins; nothing is unpickled here."""
    run = request.query.get("run")
    if run is not None:
        run_called(project, request.home(project), run)
    return project.preview(pipeline_of(project, request), f"{request.names['step']}.{request.names['name']}", run=run)


# What runs leave

_UNDER_WAY = frozenset({"pending", "deciding", "ready", "waiting", "running", "retrying"})


def kept(store: Store, path: object) -> Path:
    """Return where a file is that a run left; the store may have been moved since.

    Raises
    ------
    StoreError
        It does not lie in the folder of a run (JP405).
    """
    from jupyter_pipelines.storing.runs import is_run

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
        raise StoreError(Fault(code="JP405", message=message, suggestion="ask for the run, which names its steps"))
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
        Fault(code="JP405", message=f"the run did not keep {what}", suggestion="run the step again, with `--force`")
    )


_RUN = "notebooks/{id}/runs/{run}"
ROUTES = (
    Route(
        method="GET",
        path="notebooks/{id}/runs",
        work=listed,
        summary="Earlier runs, newest first, no matter where they were started",
        query=shapes.fields(limit={"type": "integer", "minimum": 1, "maximum": MOST_RUNS}),
        answer=shapes.has("runs"),
    ),
    Route(
        method="POST",
        path="notebooks/{id}/runs",
        work=started,
        action="execute",
        summary="Start a run that outlives the server",
        body=shapes.fields(
            **GIVEN,
            jobs=shapes.nullable({"type": "integer", "minimum": 1, "maximum": 10_000}),
            on=shapes.nullable(shapes.NAME),
            keep_going=shapes.BOOL,
        ),
        answer=shapes.has("run"),
        status=202,
    ),
    Route(
        method="GET",
        path=_RUN,
        work=document,
        summary="The document of a run, with statuses, time line and graph",
        answer=shapes.has("run", "state", "steps", "statuses", "timeline", "graph"),
    ),
    Route(
        method="GET",
        path=f"{_RUN}/events",
        work=events,
        summary="Events of a run, behind the first `after`",
        query=shapes.fields(after=shapes.COUNT),
        answer=shapes.has("events", "next", "ended"),
    ),
    Route(
        method="GET",
        path=f"{_RUN}/steps/{{step}}/log",
        work=log,
        summary="What a step printed: its end, or from a position on",
        query=shapes.fields(offset=shapes.COUNT, tail=shapes.COUNT),
        answer=shapes.has("text", "offset", "next", "size", "ended"),
    ),
    Route(
        method="GET",
        path=f"{_RUN}/steps/{{step}}/notebook",
        work=notebook,
        summary="The executed notebook of a step",
        answer=shapes.has("path", "notebook"),
    ),
    Route(
        method="POST",
        path=f"{_RUN}/cancel",
        work=cancelled,
        action="execute",
        summary="Ask a run, or one step of it, to stop",
        body=shapes.fields(step=shapes.nullable(shapes.NAME), now=shapes.BOOL),
        answer=shapes.has("state"),
    ),
    Route(
        method="GET",
        path="notebooks/{id}/runs/{first}/diff/{second}",
        work=differences,
        summary="Two runs compared",
        answer=shapes.has("text", "difference"),
    ),
    Route(
        method="GET",
        path="notebooks/{id}/outputs/{step}/{name}",
        work=preview,
        summary="What an output is, and how it begins",
        query=shapes.fields(run=shapes.NAME),
        answer=shapes.has("name", "type", "format", "bytes", "digest"),
    ),
)
