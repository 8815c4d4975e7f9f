"""Gather the results of all items of a step into its outputs; this needs no kernel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jupyter_pipelines.errors import Fault, StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.foreach import Gathering
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.running.publishing import now
from jupyter_pipelines.running.ticket import Outcome, Publish, Ticket
from jupyter_pipelines.storing.gathered import put
from jupyter_pipelines.storing.store import Store

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline

Known = Mapping[str, Mapping[str, Artifact]]
_SHOWN = 5


def ticket_of(pipeline: Pipeline, step: Step, run: str, attempt: int, store: str) -> Ticket:
    """Return the ticket of a gathering step: it goes to no worker, and leaves no notebook."""
    return Ticket(
        id=f"{run}.{step.name}.{attempt}",
        run=run,
        step=step.name,
        attempt=attempt,
        notebook={},
        path="",
        cwd=str(pipeline.folder),
        store=store,
        publish=Publish(notebook="", log=""),
    )


def assemble(store: Store, step: Step, gathering: Gathering, known: Known, ticket: Ticket) -> Outcome:
    """Store the gathered outputs, which name the results of all items; items that failed have none."""
    started = now()
    item_outputs = [known.get(name, {}) for name in gathering.items]
    try:
        outputs = {
            output.name: put(
                store,
                [
                    (key, artifacts.get(output.name))
                    for key, artifacts in zip(gathering.keys, item_outputs, strict=True)
                ],
            )
            for output in step.outputs
        }
    except StoreError as error:
        return Outcome(ticket=ticket.id, state="failed", fault=error.faults[0], started=started)
    return Outcome(ticket=ticket.id, state="succeeded", outputs=outputs, started=started)


def without(step: Step, gathering: Gathering, known: Known) -> Fault | None:
    """Return the warning about items that were allowed to fail and did; None when all results are there."""
    failed = [name for name in gathering.items if name not in known]
    if not failed:
        return None
    shown = ", ".join(f"`{name}`" for name in failed[:_SHOWN]) + (" and others" if len(failed) > _SHOWN else "")
    return Fault(
        code="JP312",
        message=f"{len(failed)} of {len(gathering.items)} items of step `{step.name}` failed, "
        "and what follows does without them",
        suggestion="run it again: items that failed are tried each time",
        severity="warning",
        step=step.name,
        place=step.place,
        notes=(f"failed: {shown}", f"`--allow-failed` allows {gathering.may_fail}"),
    )
