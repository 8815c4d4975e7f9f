"""Actions of a widget's buttons: every request gets a reply, and none blocks the kernel for long."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, PipelinesError, PlanError
from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookContext, NotebookWidgets
from jupyter_pipelines.interfaces.jupyter.step_debugging import load_for_debugging
from jupyter_pipelines.interfaces.jupyter.widgets import PipelineWidget, WidgetRequest
from jupyter_pipelines.pipeline.identifiers import file_stem

LOG_BYTES = 64_000
"""Number of bytes at the end of a log that are shown."""

WidgetReply = dict[str, Any]


def handle_request(stage: NotebookWidgets, widget: PipelineWidget, request: WidgetRequest) -> None:
    """Carry out a request of a front end, and reply with its result.

    Actions that take long or start a run are executed in a thread; actions that change the user's namespace are not.
    """
    action = _ACTIONS.get(str(request.get("do")))
    if action is None:
        return
    # Requests arrive on the thread that executes cells; starting a process there would delay the next cell.
    if action in _THREADED_ACTIONS:
        threading.Thread(target=_reply, args=(action, stage, widget, request), daemon=True).start()
    else:
        _reply(action, stage, widget, request)


def _reply(
    action: Callable[[NotebookWidgets, WidgetRequest], WidgetReply],
    stage: NotebookWidgets,
    widget: PipelineWidget,
    request: WidgetRequest,
) -> None:
    try:
        reply = action(stage, request)
    except PipelinesError as error:
        reply = {"message": str(error), "faults": [fault.to_dict() for fault in error.faults]}
    except Exception as error:  # noqa: BLE001 - a front end that waits for an answer would wait for ever
        reply = {"message": f"{type(error).__name__}: {error}", "faults": []}
    widget.reply(request, reply)


def _run(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    return _start(stage, request)


def _to(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    return _start(stage, request, to=[_step(request)])


def _force(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    return _start(stage, request, force=[_step(request)] if request.get("step") else True)


def _start(stage: NotebookWidgets, request: WidgetRequest, **selection: Any) -> WidgetReply:
    texts = {str(name): str(value) for name, value in dict(request.get("parameters") or {}).items()}
    run = stage.subject.detach(texts=texts, **selection)
    # A widget that shows an old run follows the run that its button started.
    stage.pinned = None
    stage.follow(run)
    return {"run": run}


def _cancel(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    subject, run = stage.subject, stage.pinned or stage.run or "last"
    step = _step(request) if request.get("step") else None
    state = subject.project.cancel(subject.home(), run, step=step, now=bool(request.get("now")))
    return {"state": state, "run": run}


def _preview(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    subject = stage.subject
    name = f"{_step(request)}.{request.get('output')}"
    return {"preview": subject.project.preview(subject.read(), name, unpickle=True)}


def _dependencies(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    return {"lines": stage.subject.project.dependencies(stage.subject.read(), _step(request))}


def _log(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    step_run = _newest_step_run(stage, request)
    path = step_run.get("log")
    return {"text": end_of(path) if path else "", "path": path, "run": step_run["run"]}


def _error(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    step_run = _newest_step_run(stage, request)
    return {"error": step_run.get("error"), "run": step_run["run"]}


def _notebook(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    path = _newest_step_run(stage, request).get("notebook")
    home = stage.subject.home().notebook
    relative = os.path.relpath(path, home.resolve().parent) if path and home else None
    return {"path": path, "relative": relative}


def _debug(stage: NotebookWidgets, request: WidgetRequest) -> WidgetReply:
    names = stage.subject.names
    if names is None:
        raise PlanError(_no_namespace())
    failure = load_for_debugging(stage.subject, _step(request), names)
    return {
        **failure,
        "message": f"loaded into the kernel: {', '.join(failure['loaded']) or 'nothing, it takes no inputs'}",
    }


_ACTIONS: Mapping[str, Callable[[NotebookWidgets, WidgetRequest], WidgetReply]] = {
    "run": _run,
    "to": _to,
    "force": _force,
    "cancel": _cancel,
    "preview": _preview,
    "dependencies": _dependencies,
    "log": _log,
    "error": _error,
    "notebook": _notebook,
    "debug": _debug,
}
_THREADED_ACTIONS = frozenset({_run, _to, _force, _cancel})


def _step(request: WidgetRequest) -> str:
    return str(request.get("step") or "")


def _newest_step_run(stage: NotebookWidgets, request: WidgetRequest) -> dict[str, Any]:
    """Return a step as the newest run in which it started has recorded it."""
    subject, step = stage.subject, _step(request)
    home = subject.home()
    documents = [subject.project.run_document(home, stage.pinned)] if stage.pinned else subject.project.runs(home)
    for document in documents:
        for step_run in document["steps"]:
            if step_run["name"] == step and step_run["state"] not in ("pending", "skipped", "blocked", "ready"):
                return {**_with_paths(subject, document, step_run), "run": document["run"]}
    raise PlanError(_never_ran(step))


def _with_paths(subject: NotebookContext, document: Mapping[str, Any], step: Mapping[str, Any]) -> dict[str, Any]:
    folder = subject.project.store_for(subject.home()).runs.folder(document["run"])
    paths = {"log": folder / f"{file_stem(step['name'])}.log", "notebook": folder / f"{file_stem(step['name'])}.ipynb"}
    return {**step, **{name: step.get(name) or (str(path) if path.is_file() else None) for name, path in paths.items()}}


def end_of(path: str) -> str:
    """Return the last lines of a file, at most ``LOG_BYTES``; empty if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            # Only the end is read: logs of long steps may have gigabytes.
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    # The first line of a tail is likely to be cut.
    return text if size <= LOG_BYTES else text.partition("\n")[2]


def _never_ran(step: str) -> Diagnostic:
    return Diagnostic(
        code="JP405",
        message=f"step `{step}` has not run in any run that is kept",
        suggestion="run it first",
        step=step,
    )


def _no_namespace() -> Diagnostic:
    return Diagnostic(
        code="JP405",
        message="this picture does not belong to the notebook that is open",
        suggestion="use `%pipeline show` in the notebook itself",
    )
