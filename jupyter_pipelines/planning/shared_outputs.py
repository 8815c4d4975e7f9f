"""Outputs stored in one file: whether a step that modifies its input in place affects what a later step takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from jupyter_pipelines.pipeline.artifacts import Artifact, Input, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.reasons import DecisionReason
from jupyter_pipelines.storage.serializers.protocol import split_member

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord


def taken_later(
    pipeline: Pipeline, step: Step, step_input: Input, outputs: Mapping[str, Artifact]
) -> list[tuple[str, str]]:
    """Return which outputs that share parts with an input are taken by steps after `step`, each with such a step.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps, in the order of the notebook.
    step : Step
        The step that takes the input.
    step_input : Input
        The input.
    outputs : Mapping of str to Artifact
        The stored outputs of the step that makes it.
    """
    source = step_input.source
    if not isinstance(source, StepOutputRef) or source.output not in outputs:
        return []
    artifact = outputs[source.output]
    if not split_member(artifact.format)[1]:
        return []
    names = [other.name for other in pipeline.steps]
    # Items of one step are independent: none is meant to see what another has changed.
    group = step.item.group if step.item else ""
    later_steps = (
        later
        for later in pipeline.steps[names.index(step.name) + 1 :]
        if not group or later.item is None or later.item.group != group
    )
    return [
        (taken.source.output, later.name)
        for later in later_steps
        for taken in later.inputs
        if isinstance(taken.source, StepOutputRef)
        and taken.source.step == source.step
        and taken.source.output in outputs
        # Outputs that share objects are stored in one blob, so they have the same digest.
        and outputs[taken.source.output].digest == artifact.digest
    ]


def changed_behind(
    pipeline: Pipeline, step: Step, record: StepRecord, outputs_of: Callable[[str], Mapping[str, Artifact]]
) -> DecisionReason | None:
    """Return why a record cannot be reused: its step modified an object that a later step takes unmodified.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps, in the order of the notebook.
    step : Step
        The step.
    record : StepRecord
        Its stored result.
    outputs_of : callable
        Takes the name of a step before it, and returns its stored outputs.
    """
    for step_input in step.inputs:
        if step_input.name not in record.changed or not isinstance(step_input.source, StepOutputRef):
            continue
        for output, later in taken_later(pipeline, step, step_input, outputs_of(step_input.source.step)):
            text = f"it changed its input `{step_input.name}`, and `{later}` takes `{output}` as it was before"
            return DecisionReason(code="input", text=text)
    return None
