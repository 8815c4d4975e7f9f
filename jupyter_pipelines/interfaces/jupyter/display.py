"""Display of pipelines, plans and runs in a notebook: as widgets if the front end supports them, else as SVG."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from IPython.display import display

from jupyter_pipelines.interfaces.jupyter.step_states import live_states, with_failures
from jupyter_pipelines.reporting.status_details import StepStates
from jupyter_pipelines.reporting.svg.mimebundle import bundle

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.events import RunObserver
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookWidgets
    from jupyter_pipelines.interfaces.jupyter.session import KernelSession
    from jupyter_pipelines.interfaces.jupyter.widgets import PipelineWidget
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.planning.plan import Plan

WIDGET_VARIABLE = "JUPYTER_PIPELINES_WIDGET"
"""Environment variable: ``0`` shows SVG instead of widgets."""
SCRIPT = Path(__file__).parents[2] / "static" / "widget.js"
_SHOWN = {
    ("jupyter_pipelines.pipeline.graph", "Pipeline"): "of_pipeline",
    ("jupyter_pipelines.planning.plan", "Plan"): "of_plan",
    ("jupyter_pipelines.execution.runs.result", "Run"): "of_run",
}
_managers: dict[str, NotebookWidgets] = {}
_hinted: set[str] = set()


class WidgetDisplay:
    """A widget in an output cell, with the static picture that is saved with the notebook.

    Parameters
    ----------
    widget : PipelineWidget
        The widget.
    """

    def __init__(self, widget: PipelineWidget) -> None:
        self._widget = widget
        self._display_id = uuid4().hex

    def show(self, *, update: bool = False) -> None:
        """Display the widget, or with `update` replace the saved picture."""
        data, metadata = self._widget._repr_mimebundle_()
        # By its display_id: the saved output of an earlier cell is replaced, while the widget itself stays connected.
        display(data, metadata=metadata, raw=True, display_id=self._display_id, update=update)  # type: ignore[no-untyped-call]


def can_show_widgets(shell: Any) -> bool:
    """Tell whether the front end may support widgets; if a package is missing, print a note once."""
    # IPython in a terminal has no kernel and no comm, over which widgets work.
    if getattr(shell, "kernel", None) is None or os.environ.get(WIDGET_VARIABLE) == "0" or _is_headless(shell):
        return False
    if find_spec("anywidget") is None:
        return _hint("anywidget is not installed: `pip install anywidget`")
    if not SCRIPT.is_file():
        return _hint("this installation lacks the widget's script: `pip install --force-reinstall jupyter-pipelines`")
    return True


def _is_headless(shell: Any) -> bool:
    """Tell whether the notebook is executed by nbclient or papermill, which send ``allow_stdin=False``.

    Their outputs are converted and read where widgets are not available.
    """
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    return (parent.get("content") or {}).get("allow_stdin") is False


def _hint(why: str) -> bool:
    if why not in _hinted:
        _hinted.add(why)
        print(f"note: the graph is shown as a picture, since {why}", file=sys.stderr)
    return False


def manager_of(session: KernelSession) -> NotebookWidgets:
    """Return the widgets of a session; created at first use."""
    if session.stage is None:
        from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookContext, NotebookWidgets
        from jupyter_pipelines.interfaces.jupyter.widget_actions import handle_request

        subject = NotebookContext(
            project=session.project,
            home=session.home,
            read=session.read,
            say=partial(live_states, session),
            detach=lambda **options: session.project.detach(session.source(), cells=session.newer_texts(), **options),
            names=session.shell.user_ns,
        )
        session.stage = NotebookWidgets(subject, handle_request, session.redraw)
    return session.stage


def show(session: KernelSession, pipeline: Pipeline) -> WidgetDisplay:
    """Show the pipeline of a session in a widget that follows cells and runs."""
    stage = manager_of(session)
    widget = stage.widget(pipeline)
    states = live_states(session, pipeline)
    widget.draw(pipeline, states.statuses, more=states.more)
    exhibit = WidgetDisplay(widget)
    exhibit.show()
    stage.watch_runs()
    return exhibit


def show_run(session: KernelSession, pipeline: Pipeline) -> tuple[RunObserver, WidgetDisplay]:
    """Show a run that is about to start and return its observer; later runs do not change this widget."""
    from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookWidgets
    from jupyter_pipelines.interfaces.jupyter.widget_actions import handle_request

    stage = manager_of(session)
    # Separate widgets: the output of this cell belongs to this run, whatever runs later.
    guest = NotebookWidgets(stage.subject, handle_request)
    exhibit = WidgetDisplay(guest.widget(pipeline))
    exhibit.show()
    return stage.feed(guest), exhibit


def show_detached(session: KernelSession, pipeline: Pipeline, run: str) -> None:
    """Show a run of another process, without waiting for it."""
    from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookWidgets
    from jupyter_pipelines.interfaces.jupyter.widget_actions import handle_request

    guest = NotebookWidgets(manager_of(session).subject, handle_request, lambda: exhibit.show(update=True))
    guest.pinned = run
    exhibit = WidgetDisplay(guest.widget(pipeline))
    exhibit.show()
    guest.follow(run)


# Values at the end of a cell


def register(shell: Any) -> None:
    """Register formatters that show pipelines, plans and runs as graphs."""
    formatter = shell.display_formatter.mimebundle_formatter
    for (module, name), kind in _SHOWN.items():
        # By name: loading the extension must not import planning and execution.
        formatter.for_type_by_name(module, name, partial(_bundle, shell, kind))


def unregister(shell: Any) -> None:
    """Undo :func:`register`."""
    formatter = shell.display_formatter.mimebundle_formatter
    for module, name in _SHOWN:
        value_type = getattr(sys.modules.get(module), name, None)
        # IPython moves a formatter from the deferred ones to those by type when it is first used.
        formatter.deferred_printers.pop((module, name), None)
        formatter.type_printers.pop(value_type, None)


def _bundle(shell: Any, kind: str, value: Any) -> Any:
    if not can_show_widgets(shell):
        return _PICTURES[kind](value)
    widget = _WIDGETS[kind](value)
    if widget is None:
        return None
    data, metadata = widget._repr_mimebundle_()
    return {**data, **_texts(kind, value)}, metadata


def _texts(kind: str, value: Any) -> dict[str, str]:
    """Return the plain text form, for front ends without graphics."""
    return {} if kind == "of_pipeline" else {"text/plain": str(value)}


def _of_pipeline(pipeline: Pipeline) -> PipelineWidget:
    stage = _manager_of_pipeline(pipeline)
    widget = stage.widget(pipeline)
    states = stage.subject.say(pipeline)
    widget.draw(pipeline, states.statuses, more=states.more)
    stage.watch_runs()
    return widget


def _of_plan(plan: Plan) -> PipelineWidget:
    from jupyter_pipelines.reporting import status_details, step_status

    document = plan.to_dict()
    widget = _manager_of_pipeline(plan.pipeline, alone=True).widget(plan.pipeline)
    widget.draw(plan.pipeline, step_status.of_plan(document), more=status_details.of_plan(document))
    return widget


def _of_run(run: Run) -> PipelineWidget | None:
    from jupyter_pipelines.reporting import status_details, step_status

    if run.pipeline is None:
        return None
    document = run.to_dict()
    stage = _manager_of_pipeline(run.pipeline, alone=True)
    stage.pinned = run.id
    widget = stage.widget(run.pipeline)
    more = status_details.of_run(document)
    widget.draw(run.pipeline, step_status.of_run(document), more=more, result=document)
    return widget


_WIDGETS: Mapping[str, Callable[[Any], Any]] = {"of_pipeline": _of_pipeline, "of_plan": _of_plan, "of_run": _of_run}
_PICTURES: Mapping[str, Callable[[Any], Any]] = {
    "of_pipeline": bundle,
    "of_plan": lambda plan: {**bundle(plan.pipeline, plan=plan), **_texts("of_plan", plan)},
    "of_run": lambda run: {**bundle(run.pipeline, run=run), **_texts("of_run", run)} if run.pipeline else None,
}


def _manager_of_pipeline(pipeline: Pipeline, *, alone: bool = False) -> NotebookWidgets:
    """Return the widgets of a notebook; with `alone`, separate ones that later runs do not change."""
    from jupyter_pipelines.interfaces.jupyter.notebook_widgets import NotebookContext, NotebookWidgets
    from jupyter_pipelines.interfaces.jupyter.widget_actions import handle_request
    from jupyter_pipelines.project import Project

    key = str(pipeline.notebook)
    if alone or key not in _managers:
        project = Project()
        subject = NotebookContext(
            project=project,
            home=lambda: pipeline,
            read=lambda: project.read(pipeline.notebook) if pipeline.notebook else pipeline,
            say=partial(_planned, project),
            detach=lambda **options: project.detach(_file_of(pipeline), **options),
        )
        stage = NotebookWidgets(subject, handle_request)
        if alone:
            return stage
        _managers[key] = stage
    return _managers[key]


def _planned(project: Any, pipeline: Pipeline) -> StepStates:
    """Return the planned state of each step, empty if there is no store; planning would create the store."""
    from jupyter_pipelines.errors import PipelinesError
    from jupyter_pipelines.reporting import status_details, step_status

    if not project.has_store(pipeline):
        return StepStates({}, {})
    try:
        planned = project.plan(pipeline, look=True)
    except PipelinesError:  # a parameter has no value yet: there is no plan, but there is a graph
        return StepStates({}, {})
    document = planned.to_dict()
    states = StepStates(step_status.of_plan(document), status_details.of_plan(document))
    return with_failures(project, pipeline, planned, states)


def _file_of(pipeline: Pipeline) -> Path:
    from jupyter_pipelines.errors import Diagnostic, NotebookError

    if pipeline.notebook is None:
        message, help_text = "this pipeline has no notebook file", "save the notebook, and read it again"
        raise NotebookError(Diagnostic(code="JP104", message=message, suggestion=help_text))
    return pipeline.notebook
