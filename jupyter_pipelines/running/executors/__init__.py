"""Where tickets are run: an executor takes tickets and gives progress and outcomes back, and never writes a record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.ticket import Outcome, Progress, Ticket


class Executor(Protocol):
    """Runs tickets somewhere. Built by ``Class(jobs)``; nothing is started before the first ticket.

    One paragraph for authors: call :func:`jupyter_pipelines.running.worker.execute` in a process that runs one ticket
    at a time, hand its progress and its outcome back from :meth:`poll`, and turn the loss of that process into an
    outcome with :func:`jupyter_pipelines.running.worker.lost`. Announce the class as an entry point in the group
    ``jupyter_pipelines.executors``, and inherit :class:`jupyter_pipelines.testing.ExecutorContract` in a test.

    Attributes
    ----------
    jobs : int
        How many tickets run at once; more may be submitted, and wait.
    """

    jobs: int

    def capacity(self) -> Resources:
        """Return what there is in all; None where that is not known."""

    def submit(self, ticket: Ticket) -> None:
        """Take a ticket and return at once."""

    def poll(self, timeout: float) -> Sequence[Progress | Outcome]:
        """Return everything there is to say, after at most `timeout` seconds of waiting for the first of it.

        Every ticket gets exactly one outcome. Raises nothing for the trouble of a single step.
        """

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        """Ask for the end of a ticket, at once if `hard`; its outcome follows. Unknown ones are ignored."""

    def close(self) -> None:
        """End everything; nothing of it is left when this returns."""
