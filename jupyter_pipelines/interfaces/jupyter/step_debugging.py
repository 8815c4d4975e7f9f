"""Debugging of failed steps: their inputs are loaded into a live kernel."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.pipeline.artifacts import StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.project import Project, require_step
from jupyter_pipelines.project.planning_api import NotebookRef


class DebuggableNotebook(Protocol):
    """A notebook whose steps are debugged: a session, or the context of its widgets."""

    @property
    def project(self) -> Project:
        """The project."""

    @property
    def home(self) -> Callable[[], NotebookRef]:
        """Function that returns the paths of the notebook."""

    @property
    def read(self) -> Callable[[], Pipeline]:
        """Function that returns its current pipeline."""


def load_for_debugging(context: DebuggableNotebook, step: str, names: MutableMapping[str, Any]) -> dict[str, Any]:
    """Load the inputs of a step into `names`, and return the details of its last failure.

    Returns
    -------
    dict
        ``loaded``, the names; ``notebook``, the path of the executed notebook; ``error``, as in the ``run`` document.

    Raises
    ------
    PlanError
        There is no such step, or it has not failed.
    """
    pipeline = context.read()
    require_step(pipeline, step)
    failed = _last_failure(context, step)
    for step_input in pipeline[step].inputs:
        if isinstance(step_input.source, StepOutputRef):
            names[step_input.name] = context.project.load(pipeline, str(step_input.source))
        else:
            names[step_input.name] = context.project.input_path(pipeline, pipeline[step], step_input)
    loaded = [step_input.name for step_input in pipeline[step].inputs]
    return {"loaded": loaded, "notebook": failed["notebook"], "error": failed["error"]}


def _last_failure(context: DebuggableNotebook, step: str) -> dict[str, Any]:
    for document in context.project.runs(context.home()):
        for step_run in document["steps"]:
            if step_run["name"] == step and step_run["state"] == "failed":
                return dict(step_run)
    raise PlanError(_never_failed(step))


def _never_failed(step: str) -> Diagnostic:
    return Diagnostic(
        code="JP405",
        message=f"step `{step}` has not failed in any run that is kept",
        suggestion=f"load a stored output with `%pipeline load {step}.NAME`, or look at `%pipeline runs`",
        step=step,
    )
