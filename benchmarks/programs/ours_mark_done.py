"""Record all steps of a notebook as done, without a kernel: ``ours_mark_done.py NOTEBOOK``.

Plan, scheduler, store and records are the real ones; only the executor is a fake.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from jupyter_pipelines.execution.scheduler.loop import run_plan
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.project import Project, notebook_name
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.store import Store


class FakeExecutor:
    """An executor that stores a different number for each output, and runs nothing.

    Parameters
    ----------
    store : Store
        The store of the outputs.
    """

    jobs = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done: deque[StepOutcome] = deque()
        self._count = 0

    def capacity(self) -> ComputeResources:
        """Return no limits."""
        return ComputeResources()

    def submit(self, ticket: StepTicket) -> None:
        """Accept a ticket, which is done at once."""
        outputs = {name: self._put() for name in ticket.outputs}
        Path(ticket.publish["notebook"]).write_text(json.dumps(ticket.notebook), encoding="utf-8")
        Path(ticket.publish["log"]).touch()
        published = {"notebook": ticket.publish["notebook"], "log": ticket.publish["log"]}
        self._done.append(StepOutcome(ticket=ticket.id, state="succeeded", outputs=outputs, seconds=0.1, **published))

    def poll(self, timeout: float) -> Sequence[StepOutcome]:  # noqa: ARG002 - there is nothing to wait for
        """Return the outcomes of all tickets since the last call."""
        outcomes = [*self._done]
        self._done.clear()
        return outcomes

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Do nothing: no step is running."""

    def close(self) -> None:
        """Do nothing: no step is running."""

    def _put(self) -> Artifact:
        self._count += 1
        path = self._store.scratch() / "value"
        saved = serializers.save(self._count, path)
        digest, size = self._store.blobs.put_file(path, digest=saved.digest)
        return Artifact(digest=digest, format=saved.format, bytes=size)


def mark_done(notebook: str) -> str:
    """Run the pipeline of `notebook` with the fake executor, and return the state of the run."""
    project = Project()
    pipeline = project.read(notebook)
    plan = project.plan(pipeline)
    store = project.store_for(pipeline)
    return run_plan(plan, store=store, executor=FakeExecutor(store), notebook=notebook_name(pipeline)).state


if __name__ == "__main__":
    sys.exit(mark_done(sys.argv[1]) != "succeeded")
