"""The MIME bundle of a pipeline: the graph as text, HTML and SVG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.format import short_run
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, of_plan, of_run
from jupyter_pipelines.reporting.summary import headline
from jupyter_pipelines.reporting.svg.svg import MAX_DETAILED_STEPS, GraphHeading, describe, draw, fit_style
from jupyter_pipelines.reporting.text import write

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline

_FRAME = "overflow-x:auto;padding:2px 0"


def bundle(
    pipeline: Pipeline,
    plan: Any = None,
    run: Any = None,
    statuses: Mapping[str, StepStatus] | None = None,
) -> dict[str, str]:
    """Return the graph of a pipeline by MIME type: plain text, HTML and SVG.

    The HTML holds the picture as an image, not as elements of the page. So it is shown in notebooks that are not
    trusted, nothing in it can run or reach the page, and it still follows the page's light or dark colours.

    Parameters
    ----------
    pipeline : Pipeline
        What to show.
    plan, run : Plan, Run, their documents, or None
        What to say of its steps; what became of them goes before what was meant to.
    statuses : Mapping of str to StepStatus or None
        What to say of its steps instead.
    """
    document = _document(run)
    by_step = statuses if statuses is not None else _statuses(plan, document)
    heading = heading_of(pipeline, document)
    svg, text = draw(pipeline, by_step, heading=heading), write(pipeline, by_step)
    mimebundle = {"text/plain": f"{clean(heading.title)}  {clean(heading.summary)}".rstrip() + f"\n{text}"}
    mimebundle["text/html"] = _html(svg, describe(pipeline, by_step), text)
    # The HTML holds the same picture; a large one should not be saved twice in the notebook.
    if len(pipeline.steps) <= MAX_DETAILED_STEPS:
        mimebundle["image/svg+xml"] = svg
    return mimebundle


def heading_of(pipeline: Pipeline, run: Mapping[str, Any] | None = None) -> GraphHeading:
    """Return what to write above the graph: the notebook's name, and what became of a run of it."""
    if run is None:
        return GraphHeading(title=pipeline.name)
    return GraphHeading(title=pipeline.name, summary=f"run {short_run(run['run'])}: {headline(run)}")


def _statuses(plan: Any, run: Mapping[str, Any] | None) -> Mapping[str, StepStatus]:
    planned = of_plan(_document(plan) or {"steps": []})
    # Results win over the plan; steps that the run did not reach keep what was planned.
    return {**planned, **(of_run(run) if run is not None else {})}


def _document(plan_or_run: Any) -> dict[str, Any] | None:
    if plan_or_run is None or isinstance(plan_or_run, dict):
        return plan_or_run
    return dict(plan_or_run.to_dict())


def _html(svg: str, description: str, text: str) -> str:
    # As an image element: sanitizers of untrusted notebooks remove <style> and <svg> elements of a page.
    image = b64encode(svg.encode()).decode("ascii")
    breadth = int(svg.partition(' width="')[2].partition('"')[0])
    return (
        f'<div style="{_FRAME}"><img src="data:image/svg+xml;base64,{image}" alt="{escape(clean(description, 2000))}" '
        f'style="{fit_style(breadth)}"></div>'
        f"<details><summary>as text</summary><pre>{escape(text)}</pre></details>"
    )
