"""A pipeline as a Mermaid flowchart, which GitHub, GitLab and JupyterLab draw inside Markdown."""

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

# Mermaid does not wrap labels, and a long one widens its whole column.
_LABEL_LIMIT = 80
_HARMLESS = frozenset(" _-.,")


def write_mermaid(pipeline: Pipeline, statuses: Mapping[str, StepStatus] | None = None) -> str:
    """Return the graph of a pipeline as Mermaid text.

    Parameters
    ----------
    pipeline : Pipeline
        What to draw.
    statuses : Mapping of str to StepStatus or None
        What to say of its steps, by name.
    """
    return "\n".join(["flowchart LR", *_lines(fold_items(pipeline), statuses or {})]) + "\n"


def _lines(pipeline: Pipeline, statuses: Mapping[str, StepStatus]) -> Iterator[str]:
    # Generated ids: `end` and `graph`, which may be names of steps, are keywords of Mermaid.
    ids = {step.name: f"s{number}" for number, step in enumerate(pipeline, 1)}
    for name, node_id in ids.items():
        yield f'  {node_id}["{_label(name, statuses.get(name))}"]{_class(statuses.get(name))}'
    yield from _files(pipeline, ids)
    for edge in pipeline.edges:
        arrow = f'-->|"{_safe(listed(edge.names, 6))}"|' if edge.names else "-.->"
        yield f"  {ids[edge.source]} {arrow} {ids[edge.target]}"
    for state in sorted({status.state for status in statuses.values()}):
        ink, tint = style_of(state).light
        yield f"  classDef {_class_name(state)} fill:{tint},stroke:{ink},color:{ink}"


def _files(pipeline: Pipeline, ids: Mapping[str, str]) -> Iterator[str]:
    numbers: dict[str, str] = {}
    for step in pipeline:
        for step_input in step.inputs:
            if not isinstance(step_input.source, StepOutputRef):
                path = str(step_input.source)
                number = numbers.setdefault(path, f"f{len(numbers) + 1}")
                yield f'  {number}[/"{_safe(path)}"/] -->|"{_safe(step_input.name)}"| {ids[step.name]}'


def _label(name: str, status: StepStatus | None) -> str:
    if status is None:
        return _safe(name)
    time = status.saved if status.saved is not None else status.seconds
    words = [style_of(status.state).word, *([in_words(time)] if time is not None else [])]
    return f"{_safe(name)}<br/>{_safe(', '.join(words))}"


def _class(status: StepStatus | None) -> str:
    return f":::{_class_name(status.state)}" if status else ""


def _class_name(state: str) -> str:
    return "state_" + "".join(character if character.isalnum() and character.isascii() else "_" for character in state)


def _safe(text: str) -> str:
    """Return `text` with characters that have a meaning in Mermaid or HTML as numeric entities."""
    return "".join(map(_character, clean(text, _LABEL_LIMIT)))


def _character(character: str) -> str:
    return character if character.isalnum() or character in _HARMLESS else f"#{ord(character)};"
