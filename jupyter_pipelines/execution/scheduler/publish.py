"""OUTCOME -> STORE: the one place where a step run becomes a record that later runs reuse.

A record is written last, after every blob that it names is in the store, and only for an outcome with the state
``succeeded`` and every declared output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.execution.ticket import StepOutcome
from jupyter_pipelines.execution.timestamps import now
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.folder_changes import folder_files
from jupyter_pipelines.planning.keys.traces import for_shared_store, question
from jupyter_pipelines.planning.traced_records import beyond_key
from jupyter_pipelines.storage.step_record import MAX_TRACES, StepRecord, traced_key
from jupyter_pipelines.storage.store import Store

if TYPE_CHECKING:
    from jupyter_pipelines.planning.plan import PlannedStep


def publish(
    store: Store,
    pipeline: Pipeline,
    step: Step,
    planned: PlannedStep,
    outcome: StepOutcome,
    *,
    run: str,
    notebook: str | None,
    attempts: int,
) -> StepRecord | Diagnostic | None:
    """Record a successful outcome, so that its result can be reused; return the record, or why it is no success.

    The record survives the end of this process, and a power cut only after `Store.flush`: the loop flushes many
    records at once. Without a key nothing is recorded, and None is returned.

    Parameters
    ----------
    store : Store
        The store with the blobs.
    pipeline, step : Pipeline, Step
        The step that ran, and its pipeline.
    planned : PlannedStep
        The decision to run it, with its key and the parts of the key.
    outcome : StepOutcome
        The worker's outcome, with the state ``succeeded``.
    run, notebook : str, str or None
        Id of the run, and path of the notebook from the project's root.
    attempts : int
        Number of attempts it took.
    """
    # An executor may be a plug-in or a remote worker: its word for a stored output is checked against the store.
    fault = next(_missing(store, step, outcome), None)
    if fault is not None or planned.key is None:
        return fault
    trace = dict(beyond_key(outcome.trace or {}, step, pipeline, planned.parts)) | _doubts(step, outcome)
    trace = trace if store.own else for_shared_store(trace, os.environ)
    record = StepRecord(
        key=planned.key,
        step=step.name,
        notebook=notebook,
        parts=dict(planned.parts),
        outputs=dict(outcome.outputs),
        run=run,
        created=now(),
        seconds=outcome.seconds,
        attempts=attempts,
        warnings=tuple(fault.message for fault in outcome.warnings),
        trace=trace,
        changed=outcome.changed,
        appended=outcome.appended,
        folders=folder_files(store, pipeline, step, planned.parts),
        urls=planned.urls,
    )
    try:
        record = replace(record, asked=_keep_displaced(store, planned, trace))
        store.records.put(record, durable=False)
    except StoreError as error:
        return error.faults[0]
    return record


def _doubts(step: Step, outcome: StepOutcome) -> dict[str, str]:
    """Return a question that prevents reuse of a step whose code cannot be analysed and was not fully traced."""
    seen = outcome.trace is not None and sys.platform == "linux"
    if not step.unknown or (seen and not any(text.startswith('["partly"') for text in outcome.trace or ())):
        return {}
    sentence = step.unknown[0].rstrip(".")
    return {question("unwatched", sentence): sentence}


def _keep_displaced(store: Store, planned: PlannedStep, trace: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Keep the record that the new record replaces; return the questions of the records under this key.

    The replaced record is stored under a key over its answers, and is found again when the answers are the same again.
    """
    displaced = planned.previous
    if displaced is None or displaced.key != planned.key or displaced.trace is None:
        return ()
    if not store.own:
        return displaced.asked  # such a store keeps the records that are replaced by itself, under their signatures
    if displaced.trace != trace and displaced.is_complete:
        traced = replace(displaced, key=traced_key(displaced.key, displaced.trace), asked=(), signature=None)
        store.records.put(traced, durable=False)
    questions = dict.fromkeys([tuple(displaced.trace), *displaced.asked])
    questions.pop(tuple(trace), None)
    return tuple(questions)[: MAX_TRACES - 1]


def quarantine_corrupt(store: Store, planned: PlannedStep) -> Iterator[Diagnostic]:
    """Quarantine corrupt stored outputs of the step, and yield a warning for each, or one for a corrupt record."""
    if planned.reason.code != "output-corrupt" or planned.key is None:
        return
    record = store.records.get(planned.key)
    if record is None:
        yield _damaged(planned.name, f"record of step `{planned.name}`")
        return
    for name, artifact in record.outputs.items():
        if store.intact(artifact) == "corrupt":
            store.blobs.quarantine(artifact.digest)
            yield _damaged(planned.name, f"output `{planned.name}.{name}`")


def changed_inputs_warning(step: str, what: Sequence[str]) -> Diagnostic:
    """Return the warning that a result is not recorded, because `what` changed while the step ran."""
    return Diagnostic(
        code="JP311",
        message=f"while step `{step}` ran, {' and '.join(what)} changed: its result is used now, and not reused later",
        suggestion="run it again when nothing changes any more",
        severity="warning",
        step=step,
    )


def _missing(store: Store, step: Step, outcome: StepOutcome) -> Iterator[Diagnostic]:
    for output in step.outputs:
        artifact = outcome.outputs.get(output.name)
        if artifact is None:
            yield Diagnostic(
                code="JP204",
                message=f"step `{step.name}` finished without setting its output `{output.name}`",
                suggestion=f"assign `{output.name}` in the step, or take it out of `-o`",
                step=step.name,
                place=output.place or step.place,
            )
        elif not store.blobs.path(artifact.digest).is_file():
            yield Diagnostic(
                code="JP405",
                message=f"the output `{output.name}` of step `{step.name}` is not in the store `{store.root}`",
                suggestion="run it again, and let nothing else remove files from the store",
                step=step.name,
            )


def _damaged(step: str, what: str) -> Diagnostic:
    return Diagnostic(
        code="JP410",
        message=f"the stored {what} failed its checksum and is computed again",
        suggestion="check the disk if this happens more than once",
        severity="warning",
        step=step,
    )
