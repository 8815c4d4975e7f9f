"""A failed step, taken apart in a live kernel: the inputs that it had, under their names."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol

from jupyter_pipelines.errors import Fault, PlanError
from jupyter_pipelines.pipeline.data import Upstream
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.project import Project, require_step
from jupyter_pipelines.project.reader import Whose


class Whence(Protocol):
    """A notebook: a session, or what is on show of one."""

    @property
    def project(self) -> Project:
        """What does the work."""

    @property
    def home(self) -> Callable[[], Whose]:
        """Returns where the notebook belongs."""

    @property
    def read(self) -> Callable[[], Pipeline]:
        """Returns its pipeline as it stands now."""


def load_for_debugging(whence: Whence, step: str, names: MutableMapping[str, Any]) -> dict[str, Any]:
    """Load the inputs that a step had when it failed last, and return what is known of that.

    Returns
    -------
    dict
        ``loaded``, the names; ``notebook``, the executed one; ``error``, as in the ``run`` document.

    Raises
    ------
    PlanError
        There is no such step, or it has not failed.
    """
    pipeline = whence.read()
    require_step(pipeline, step)
    failed = _last_failure(whence, step)
    for one in pipeline[step].inputs:
        if isinstance(one.source, Upstream):
            names[one.name] = whence.project.load(pipeline, str(one.source))
        else:
            names[one.name] = pipeline.folder / one.source.path
    loaded = [one.name for one in pipeline[step].inputs]
    return {"loaded": loaded, "notebook": failed["notebook"], "error": failed["error"]}


def _last_failure(whence: Whence, step: str) -> dict[str, Any]:
    for document in whence.project.runs(whence.home()):
        for one in document["steps"]:
            if one["name"] == step and one["state"] == "failed":
                return dict(one)
    raise PlanError(_never_failed(step))


def _never_failed(step: str) -> Fault:
    return Fault(
        code="JP405",
        message=f"step `{step}` has not failed in any run that is kept",
        suggestion=f"load a stored output with `%pipeline load {step}.NAME`, or look at `%pipeline runs`",
        step=step,
    )
