"""The graph of a pipeline as a widget: what a front end draws, and the messages between it and the kernel.

The widget knows nothing of pipelines: documents go out, requests come in. Statuses that change often travel as changed
entries in messages; a trait holds all of them now and then, for views that are opened later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.reporting.graph_json import MIME, critical_path, graph_document, status_document
from jupyter_pipelines.reporting.step_status import StepStatus
from jupyter_pipelines.reporting.summary import headline
from jupyter_pipelines.reporting.svg.mimebundle import bundle
from jupyter_pipelines.reporting.text import write

SCRIPT = Path(__file__).parents[2] / "static" / "widget.js"
VIEW = "application/vnd.jupyter.widget-view+json"
MAX_BUNDLE_BYTES = 2_000_000
"""Bytes that one output writes into a notebook at most; what is needed least is left out first."""
MAX_PICTURED_STEPS = 600
"""Number of steps above which no picture is drawn: it would be too large to be kept."""
_LEFT_OUT = ("text/html", MIME, "image/svg+xml")

WidgetRequest = Mapping[str, Any]
WidgetRequestHandler = Callable[["PipelineWidget", WidgetRequest], None]


class PipelineWidget(anywidget.AnyWidget):
    """One graph on show; it may have several views.

    Parameters
    ----------
    pipeline : Pipeline
        What is shown.
    answer : callable
        Gets this widget and every request of a front end: ``{"do": …}``.

    Attributes
    ----------
    pipeline : Pipeline
        What is shown.
    known : Mapping of str to StepStatus
        What is said of its steps.
    more : Mapping of str to Mapping
        Their particulars.
    result : Mapping or None
        The document of the run that this comes from.
    drawn : int
        How often it was drawn. A thread that updates it sees by this number that another thread drew it meanwhile.
    """

    _esm = traitlets.Unicode().tag(sync=True)
    graph = traitlets.Dict().tag(sync=True)
    statuses = traitlets.Dict().tag(sync=True)
    selected = traitlets.Unicode("").tag(sync=True)
    view = traitlets.Dict().tag(sync=True)
    detail = traitlets.Dict().tag(sync=True)

    def __init__(self, pipeline: Pipeline, answer: WidgetRequestHandler) -> None:
        self.pipeline = pipeline
        self.known: Mapping[str, StepStatus] = {}
        self.more: Mapping[str, Mapping[str, Any]] = {}
        self.result: Mapping[str, Any] | None = None
        self.drawn = 0
        self._answer = answer
        super().__init__(_esm=_script(), graph=graph_document(pipeline), statuses=status_document({}))
        self.on_msg(self._on_request)

    def draw(
        self,
        pipeline: Pipeline,
        statuses: Mapping[str, StepStatus],
        *,
        more: Mapping[str, Mapping[str, Any]] | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """Show a state, of another pipeline if need be; what is the same is not sent.

        Parameters
        ----------
        pipeline : Pipeline
            What is shown.
        statuses : Mapping of str to StepStatus
            What to say of its steps.
        more : Mapping of str to Mapping or None
            Their particulars.
        result : Mapping or None
            The document of the run that this comes from.
        """
        if pipeline != self.pipeline:
            self.pipeline = pipeline
            self.graph = graph_document(pipeline)
        self.known = {name: status for name, status in statuses.items() if name in pipeline}
        self.more = {name: details for name, details in (more or {}).items() if name in pipeline}
        self.result = result
        about: dict[str, Any] = {"critical": critical_path(pipeline, self.known), "more": self.more}
        if result is not None:
            about |= {"run": result["run"], "headline": headline(result)}
        self.statuses = status_document(self.known, **about)
        self.drawn += 1

    def tell(self, changes: Mapping[str, Any]) -> None:
        """Send what has changed since the ``statuses`` that views have."""
        self.send({"statuses": dict(changes)})

    def reply(self, request: WidgetRequest, answer: Mapping[str, Any]) -> None:
        """Answer a request."""
        echo = {name: request[name] for name in ("do", "step", "output") if name in request}
        self.send({"detail": {**echo, **answer}})

    def static(self) -> dict[str, Any]:
        """Return the graph as it is now in every form that needs no kernel."""
        if len(self.pipeline.steps) > MAX_PICTURED_STEPS:
            mimebundle: dict[str, Any] = {"text/plain": f"{self.pipeline.name}\n{write(self.pipeline, self.known)}"}
        else:
            mimebundle = dict(bundle(self.pipeline, run=self.result, statuses=self.known))
        mimebundle[MIME] = {"graph": self.graph, "statuses": self.statuses}
        return bounded(mimebundle)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {**self.static(), VIEW: view}, {}

    def _on_request(self, _widget: Any, content: Any, _buffers: Any) -> None:
        if isinstance(content, dict):
            self._answer(self, content)


def bounded(mimebundle: Mapping[str, Any]) -> dict[str, Any]:
    """Return as much of a bundle as one output may write into a notebook; its text is always there."""
    kept = dict(mimebundle)
    sizes = {mime: len(json.dumps(data)) for mime, data in mimebundle.items()}
    for mime in _LEFT_OUT:
        if sum(sizes[mime_type] for mime_type in kept) > MAX_BUNDLE_BYTES:
            kept.pop(mime, None)
    kept["text/plain"] = str(kept.get("text/plain", ""))[:MAX_BUNDLE_BYTES]
    return kept


@cache
def _script() -> str:
    return SCRIPT.read_text(encoding="utf-8")
