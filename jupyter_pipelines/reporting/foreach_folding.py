"""Folding of ``--foreach`` steps: many items are shown as one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step

MAX_SHOWN_ITEMS = 8
"""Items up to which each is shown."""


def fold_items(pipeline: Pipeline) -> Pipeline:
    """Return `pipeline` without the items of steps that have many; these steps take what their items take."""
    hidden = {name for step in pipeline for name in _items_if_many(step)}
    if not hidden:
        return pipeline
    steps = tuple(_folded_step(pipeline, step) for step in pipeline if step.name not in hidden)
    return replace(pipeline, steps=steps)


def _items_if_many(step: Step) -> Sequence[str]:
    """Return the items of a step, if there are many."""
    return step.gathering.items if step.gathering and len(step.gathering.items) > MAX_SHOWN_ITEMS else ()


def _folded_step(pipeline: Pipeline, step: Step) -> Step:
    items = _items_if_many(step)
    if not items:
        return step
    first = pipeline[items[0]]
    files = first.item.files if first.item else frozenset()
    # The file of each item is left out: the first item's file would be shown as that of all.
    inputs = tuple(step_input for step_input in first.inputs if step_input.name not in files)
    # Of the first item, as all items have the same inputs but for their files.
    return replace(step, inputs=inputs, after=first.after)
