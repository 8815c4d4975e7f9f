"""The graph of a pipeline as an anywidget: its traits, and the messages between front end and kernel.

The front end receives documents and sends requests. Frequent status changes are sent as messages with the changed
entries; the trait ``statuses`` is updated less often, for views that are opened later.
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
"""Largest size in bytes of an output in a notebook; less important MIME types are left out first."""
MAX_PICTURED_STEPS = 600
"""Number of steps above which no picture is drawn, as it would be too large for a notebook."""
# In the order in which they are dropped: the page is the largest, the SVG is what most viewers show.
_LEFT_OUT = ("text/html", MIME, "image/svg+xml")

WidgetRequest = Mapping[str, Any]
WidgetRequestHandler = Callable[["PipelineWidget", WidgetRequest], None]


class PipelineWidget(anywidget.AnyWidget):
    """A displayed graph, which may have several views.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline to show.
    answer : callable
        Called with this widget and each request of a front end: ``{"do": …}``.

    Attributes
    ----------
    pipeline : Pipeline
        The shown pipeline.
    known : Mapping of str to StepStatus
        Statuses of its steps.
    more : Mapping of str to Mapping
        Further details of its steps.
    result : Mapping or None
        The document of the run that this comes from.
    drawn : int
        Number of calls of :meth:`draw`, by which an updating thread detects that another thread has drawn it.
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
        """Show a state, also of another pipeline; unchanged traits are not sent.

        Parameters
        ----------
        pipeline : Pipeline
            The pipeline to show.
        statuses : Mapping of str to StepStatus
            Statuses of its steps.
        more : Mapping of str to Mapping or None
            Further details of its steps.
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
        """Send status entries that have changed since the ``statuses`` of the views."""
        self.send({"statuses": dict(changes)})

    def reply(self, request: WidgetRequest, answer: Mapping[str, Any]) -> None:
        """Answer a request."""
        echo = {name: request[name] for name in ("do", "step", "output") if name in request}
        self.send({"detail": {**echo, **answer}})

    def static(self) -> dict[str, Any]:
        """Return the current graph as a MIME bundle that needs no kernel."""
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
    """Return a bundle without its largest parts if it exceeds ``MAX_BUNDLE_BYTES``; the text is always kept."""
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
