"""Records every step of a notebook as done, without running a kernel: ``ours_settle.py NOTEBOOK``.

The plan, the loop, the store and the records are the real ones; only the executor pretends.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.project import Project, notebook_name
from jupyter_pipelines.running.loop import run_plan
from jupyter_pipelines.running.ticket import Outcome, Ticket
from jupyter_pipelines.storing import serializers
from jupyter_pipelines.storing.store import Store


class Pretending:
    """An executor that stores a number of its own for every output.

    Parameters
    ----------
    store : Store
        Where to.
    """

    jobs = 1

    def __init__(self, store: Store) -> None:
        self._store = store
        self._done: deque[Outcome] = deque()
        self._count = 0

    def capacity(self) -> Resources:
        """Return that nothing is known."""
        return Resources()

    def submit(self, ticket: Ticket) -> None:
        """Take a ticket: it is done at once."""
        outputs = {name: self._put() for name in ticket.outputs}
        Path(ticket.publish["notebook"]).write_text(json.dumps(ticket.notebook), encoding="utf-8")
        Path(ticket.publish["log"]).touch()
        published = {"notebook": ticket.publish["notebook"], "log": ticket.publish["log"]}
        self._done.append(Outcome(ticket=ticket.id, state="succeeded", outputs=outputs, seconds=0.1, **published))

    def poll(self, timeout: float) -> Sequence[Outcome]:  # noqa: ARG002 - there is nothing to wait for
        """Return what is done."""
        found = [*self._done]
        self._done.clear()
        return found

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""

    def _put(self) -> Artifact:
        self._count += 1
        path = self._store.scratch() / "value"
        saved = serializers.save(self._count, path)
        digest, size = self._store.blobs.put_file(path, digest=saved.digest)
        return Artifact(digest=digest, format=saved.format, bytes=size)


def settle(notebook: str) -> str:
    """Run the pipeline of `notebook` with it, and return how that went."""
    project = Project()
    pipeline = project.read(notebook)
    plan = project.plan(pipeline)
    store = project.store_for(pipeline)
    return run_plan(plan, store=store, executor=Pretending(store), notebook=notebook_name(pipeline)).state


if __name__ == "__main__":
    sys.exit(settle(sys.argv[1]) != "succeeded")
