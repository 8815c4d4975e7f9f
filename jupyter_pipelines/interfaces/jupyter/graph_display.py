"""The picture of a pipeline in a notebook, and its updates while something happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from IPython.display import display

from jupyter_pipelines.execution.runs.events import Event, RunFinished, StepFinished, StepStarted
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.reporting.live_status import LiveStatus
from jupyter_pipelines.reporting.step_status import StepStatus
from jupyter_pipelines.reporting.svg.mimebundle import bundle

PACE = 0.3
"""Seconds between two updates that only change elapsed times."""


class GraphDisplay:
    """An SVG picture in an output cell.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline to show.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self._display_id = uuid4().hex
        self._shown = False

    def show(self, statuses: Mapping[str, StepStatus] | None = None, *, run: Any = None) -> None:
        """Display the pipeline, or update the displayed picture."""
        data = bundle(self.pipeline, run=run, statuses=statuses)
        display(data, raw=True, display_id=self._display_id, update=self._shown)  # type: ignore[no-untyped-call]
        self._shown = True


class LiveGraphDisplay(GraphDisplay):
    """A picture that is updated by the events of a run, as its observer."""

    def __init__(self, pipeline: Pipeline) -> None:
        super().__init__(pipeline)
        self._following = LiveStatus()
        self._last = 0.0

    def __call__(self, *, event: Event) -> None:
        """Record an event, and redraw at most every ``PACE`` seconds unless a step has changed its state."""
        self._following(event=event)
        if isinstance(event, RunFinished):
            self.show(run=event.result.to_dict())
        # Each update sends a whole SVG, which becomes part of the notebook.
        elif _is_shown_at_once(event) or time.monotonic() - self._last > PACE:
            self._last = time.monotonic()
            self.show(self._following.statuses())


def _is_shown_at_once(event: Event) -> bool:
    """Tell whether an event is shown at once: many steps may be reused in the time that drawing one picture takes."""
    return isinstance(event, StepStarted) or (isinstance(event, StepFinished) and event.state != "reused")
