"""Steps over many items as one step: what is shown where the items would hide all else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step

FEW = 8
"""Items up to which each is shown."""


def folded(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` without the items of steps that have many; these steps take what their items take."""
    hidden = {name for step in pipeline for name in _many(step)}
    if not hidden:
        return pipeline
    steps = tuple(_shown(pipeline, step) for step in pipeline if step.name not in hidden)
    return replace(pipeline, steps=steps)


def _many(step: Step) -> Sequence[str]:
    """Return the items of a step, if there are many."""
    return step.gathering.items if step.gathering and len(step.gathering.items) > FEW else ()


def _shown(pipeline: Pipeline, step: Step) -> Step:
    items = _many(step)
    if not items:
        return step
    first = pipeline[items[0]]
    files = first.item.files if first.item else frozenset()
    inputs = tuple(step_input for step_input in first.inputs if step_input.name not in files)
    return replace(step, inputs=inputs, after=first.after)
