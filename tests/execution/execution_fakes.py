"""Pipelines of plain functions and executors that call them: test the run loop without notebooks and kernels."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.artifacts import Artifact, FileSource, Input, Output, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import ComputeResources, Step, StepCell
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.plan import PipelinePlanner, Plan
from jupyter_pipelines.storage.planner_view import StoreView
from jupyter_pipelines.storage.store import Store

HANG = "hang"
NOTEBOOK = "work.ipynb"


def step(name: str, inputs: str = "", outputs: str = "", *, optional: str = "", code: str = "", **more: Any) -> Step:
    """Return a step; `inputs` are written ``name=step.output`` or ``name=path``."""
    return Step(
        name=name,
        cells=(StepCell(number=1, id=None, text=code or name, body=code or name),),
        inputs=tuple(_input(text, optional.split()) for text in inputs.split()),
        outputs=tuple(Output(name=output) for output in outputs.split()),
        **more,
    )


def _input(text: str, optional: Sequence[str]) -> Input:
    name, _, where = text.partition("=")
    producer, _, output = where.partition(".")
    source = FileSource(path=where) if "/" in where else StepOutputRef(step=producer, output=output)
    return Input(name=name, source=source, optional=name in optional)


def pipeline_of(folder: Path, *steps: Step) -> Pipeline:
    return Pipeline(notebook=folder / NOTEBOOK, folder=folder, root=folder, steps=steps)


def plan(
    pipeline: Pipeline, store: Store, *, values: Mapping[str, Any] | None = None, forced: str = "", only: str = ""
) -> Plan:
    """Plan `pipeline`; steps in `forced` and `only` are separated by spaces."""
    planner = PipelinePlanner(
        pipeline,
        values or {},
        view=StoreView(store, NOTEBOOK),
        environment=PythonEnvironment.fixed("3.11"),
        forced=forced.split(),
    )
    return planner.plan(only=only.split())


class SimulatedClock:
    """A clock whose time passes only in `sleep`."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(seconds, 0.001)


StepFunction = Callable[..., Any]


class AttemptFailure(Exception):
    """Raised by the function of a step to end its attempt in `state`."""

    def __init__(self, state: str, code: str = "JP300") -> None:
        super().__init__(state, code)
        self.state = state
        self.diagnostic = Diagnostic(code=code, message=f"it {state}", suggestion="mend it")


class InlineExecutor:
    """Call the function of a step in `poll`: one step per call, in the order of submission.

    A function takes the inputs by name, as bytes (or None), and returns the outputs by name, as bytes.
    """

    def __init__(
        self,
        work: Mapping[str, StepFunction],
        *,
        jobs: int = 2,
        clock: SimulatedClock | None = None,
        seconds: Mapping[str, float] | None = None,
        **capacity: int,
    ) -> None:
        self.work = work
        self.seconds = seconds or {}
        self.jobs = jobs
        self.clock = clock
        self.resources = ComputeResources(**capacity)
        self.tickets: list[StepTicket] = []
        self.submitted: list[str] = []
        self.calls: list[tuple[str, bool]] = []
        self.obeys: Callable[[bool], bool] = lambda hard: True
        self.signs: Sequence[tuple[int | None, str]] = [(1, "working")]
        self.closed = 0
        self._ready: list[StepTicket] = []
        self._hanging: dict[str, StepTicket] = {}
        self._news: list[TicketProgress | StepOutcome] = []

    def capacity(self) -> ComputeResources:
        return self.resources

    def submit(self, ticket: StepTicket) -> None:
        assert len(self._ready) + len(self._hanging) < self.jobs
        self.tickets.append(StepTicket.from_dict(json.loads(json.dumps(ticket.to_dict()))))
        self.submitted.append(ticket.step)
        self._ready.append(ticket)

    def poll(self, timeout: float) -> list[TicketProgress | StepOutcome]:
        if self._ready and not self._news:
            self._work(self._ready.pop(0))
        if not self._news and self.clock:
            self.clock.sleep(timeout)
        news, self._news = self._news, []
        return news

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        self.calls.append((ticket_id.split(".")[1], hard))
        mine = [ticket for ticket in (*self._ready, *self._hanging.values()) if ticket.id == ticket_id]
        if mine and self.obeys(hard):
            self._ready = [ticket for ticket in self._ready if ticket.id != ticket_id]
            self._hanging.pop(ticket_id, None)
            self._news.append(StepOutcome(ticket=ticket_id, state="cancelled"))

    def close(self) -> None:
        self.closed += 1

    def _work(self, ticket: StepTicket) -> None:
        outcome = perform(ticket, self.work[ticket.step])
        if outcome is None:
            self._hanging[ticket.id] = ticket
        else:
            outcome = replace(outcome, seconds=self.seconds.get(ticket.step, outcome.seconds))
            signs = [TicketProgress(ticket=ticket.id, cell=cell, cells=1, text=text) for cell, text in self.signs]
            self._news += [*signs, outcome]


class ThreadExecutor(InlineExecutor):
    """Call the function of each step in its own thread."""

    def __init__(self, work: Mapping[str, StepFunction], *, jobs: int = 2) -> None:
        super().__init__(work, jobs=jobs)
        self.queue: queue.SimpleQueue[TicketProgress | StepOutcome] = queue.SimpleQueue()

    def submit(self, ticket: StepTicket) -> None:
        self.submitted.append(ticket.step)
        threading.Thread(target=lambda: self.queue.put(perform(ticket, self.work[ticket.step])), daemon=True).start()

    def poll(self, timeout: float) -> list[TicketProgress | StepOutcome]:
        try:
            return [self.queue.get(timeout=timeout)]
        except queue.Empty:
            return []


def perform(ticket: StepTicket, work: StepFunction) -> StepOutcome | None:
    """Do what a worker does: read inputs from blobs, write outputs to blobs, publish a notebook and a log."""
    store = Store(Path(ticket.store))
    given = {
        name: store.blobs.path(spec["digest"]).read_bytes() if spec["kind"] == "artifact" else None
        for name, spec in ticket.inputs.items()
    }
    left = {name: ticket.publish[name] for name in ("notebook", "log")}
    for path in left.values():
        Path(path).write_text(f"attempt {ticket.attempt}")
    try:
        made = work(**given)
    except AttemptFailure as failure:
        return StepOutcome(ticket=ticket.id, state=failure.state, fault=failure.diagnostic, seconds=1.5, **left)
    if made is HANG:
        return None
    stored = {name: store.blobs.put_bytes(value) for name, value in (made or {}).items()}
    outputs = {name: Artifact(digest=blob.digest, format="bytes", bytes=blob.size) for name, blob in stored.items()}
    return StepOutcome(ticket=ticket.id, state="succeeded", outputs=outputs, seconds=2.5, **left)
