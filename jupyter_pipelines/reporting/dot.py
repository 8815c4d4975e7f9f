"""A pipeline in DOT, the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from jupyter_pipelines.pipeline.artifacts import StepOutputRef
from jupyter_pipelines.reporting.foreach_folding import fold_items
from jupyter_pipelines.reporting.format import in_words, listed
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import StepStatus, style_of

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline


def write_dot(pipeline: Pipeline, statuses: Mapping[str, StepStatus] | None = None) -> str:
    """Return the graph of a pipeline as text for ``dot``.

    Parameters
    ----------
    pipeline : Pipeline
        What to draw.
    statuses : Mapping of str to StepStatus or None
        What to say of its steps, by name.
    """
    # Hundreds of items of a --foreach step would hide the rest of the graph.
    shown = fold_items(pipeline)
    return "\n".join([f"digraph {_quoted(shown.name)} {{", *_lines(shown, statuses or {}), "}"]) + "\n"


def _lines(pipeline: Pipeline, statuses: Mapping[str, StepStatus]) -> Iterator[str]:
    yield "  rankdir=LR"
    yield '  node [shape=box, style="rounded,filled", fillcolor="white"]'
    for step in pipeline:
        yield f"  {_quoted(step.name)}{_status(step.name, statuses.get(step.name))}"
    yield from _files(pipeline)
    for edge in pipeline.edges:
        look = f"label={_quoted(listed(edge.names, 6))}" if edge.names else "style=dashed"
        yield f"  {_quoted(edge.source)} -> {_quoted(edge.target)} [{look}]"


def _status(name: str, status: StepStatus | None) -> str:
    if status is None:
        return ""
    style = style_of(status.state)
    time = status.saved if status.saved is not None else status.seconds
    words = ", ".join([style.word, *([in_words(time)] if time is not None else [])])
    # `\n` is Graphviz's own escape for a new line, so that it stands between the two quoted texts.
    label = f'"{_escaped(name)}\\n{_escaped(words)}"'
    # Graphviz draws on white, whatever the theme of the viewer.
    ink, tint = style.light
    return f' [label={label}, color="{ink}", fontcolor="{ink}", fillcolor="{tint}"]'


def _files(pipeline: Pipeline) -> Iterator[str]:
    nodes: dict[str, str] = {}
    for step in pipeline:
        for step_input in step.inputs:
            if isinstance(step_input.source, StepOutputRef):
                continue
            path = str(step_input.source)
            if path not in nodes:
                nodes[path] = _quoted(f"file:{path}")  # no step has a colon in its name
                yield f"  {nodes[path]} [label={_quoted(path)}, shape=note, style=solid]"
            yield f"  {nodes[path]} -> {_quoted(step.name)} [label={_quoted(step_input.name)}]"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    return clean(text).replace("\\", "\\\\").replace('"', '\\"')
