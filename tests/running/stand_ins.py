"""A pipeline of plain functions, and an executor that calls them: the loop at work without notebooks and kernels."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.pipeline.data import Artifact, FileSource, Input, Output, Upstream
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Resources, Step, StepCell
from jupyter_pipelines.planning.environment import Environment
from jupyter_pipelines.planning.plan import Plan, Planner
from jupyter_pipelines.running.ticket import Outcome, Progress, Ticket
from jupyter_pipelines.storing.store import Store
from jupyter_pipelines.storing.viewing import StoreView

HANG = "hang"
NOTEBOOK = "work.ipynb"


def step(name: str, inputs: str = "", outputs: str = "", *, optional: str = "", code: str = "", **more: Any) -> Step:
    """`inputs` are written ``name=step.output`` or ``name=path``."""
    return Step(
        name=name,
        cells=(StepCell(number=1, id=None, text=code or name, body=code or name),),
        inputs=tuple(_input(one, optional.split()) for one in inputs.split()),
        outputs=tuple(Output(name=one) for one in outputs.split()),
        **more,
    )


def _input(text: str, optional: Sequence[str]) -> Input:
    name, _, where = text.partition("=")
    producer, _, output = where.partition(".")
    source = FileSource(path=where) if "/" in where else Upstream(step=producer, output=output)
    return Input(name=name, source=source, optional=name in optional)


def pipeline(folder: Path, *steps: Step) -> Pipeline:
    return Pipeline(notebook=folder / NOTEBOOK, folder=folder, root=folder, steps=steps)


def plan(
    one: Pipeline, store: Store, *, values: Mapping[str, Any] | None = None, forced: str = "", only: str = ""
) -> Plan:
    """Plan `one`; steps in `forced` and `only` are separated by spaces."""
    planner = Planner(
        one, values or {}, view=StoreView(store, NOTEBOOK), environment=Environment.fixed("3.11"), forced=forced.split()
    )
    return planner.plan(only=only.split())


class Clock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += max(seconds, 0.001)


Work = Callable[..., Any]


class Failure(Exception):
    """What a function raises to end its attempt in a certain way."""

    def __init__(self, state: str, code: str = "JP300") -> None:
        super().__init__(state, code)
        self.state = state
        self.fault = Fault(code=code, message=f"it {state}", suggestion="mend it")


class Inline:
    """Calls the function of a step when it is polled: one at a time, in the order of submission.

    A function takes the inputs by name, as bytes (or None), and returns the outputs by name, as bytes.
    """

    def __init__(
        self,
        work: Mapping[str, Work],
        *,
        jobs: int = 2,
        clock: Clock | None = None,
        seconds: Mapping[str, float] | None = None,
        **capacity: int,
    ) -> None:
        self.work = work
        self.seconds = seconds or {}
        self.jobs = jobs
        self.clock = clock
        self.resources = Resources(**capacity)
        self.tickets: list[Ticket] = []
        self.submitted: list[str] = []
        self.calls: list[tuple[str, bool]] = []
        self.obeys: Callable[[bool], bool] = lambda hard: True
        self.signs: Sequence[tuple[int | None, str]] = [(1, "working")]
        self.closed = 0
        self._ready: list[Ticket] = []
        self._hanging: dict[str, Ticket] = {}
        self._news: list[Progress | Outcome] = []

    def capacity(self) -> Resources:
        return self.resources

    def submit(self, ticket: Ticket) -> None:
        assert len(self._ready) + len(self._hanging) < self.jobs
        self.tickets.append(Ticket.from_dict(json.loads(json.dumps(ticket.to_dict()))))
        self.submitted.append(ticket.step)
        self._ready.append(ticket)

    def poll(self, timeout: float) -> list[Progress | Outcome]:
        if self._ready and not self._news:
            self._work(self._ready.pop(0))
        if not self._news and self.clock:
            self.clock.sleep(timeout)
        news, self._news = self._news, []
        return news

    def cancel(self, ticket_id: str, *, hard: bool = False) -> None:
        self.calls.append((ticket_id.split(".")[1], hard))
        mine = [one for one in (*self._ready, *self._hanging.values()) if one.id == ticket_id]
        if mine and self.obeys(hard):
            self._ready = [one for one in self._ready if one.id != ticket_id]
            self._hanging.pop(ticket_id, None)
            self._news.append(Outcome(ticket=ticket_id, state="cancelled"))

    def close(self) -> None:
        self.closed += 1

    def _work(self, ticket: Ticket) -> None:
        outcome = perform(ticket, self.work[ticket.step])
        if outcome is None:
            self._hanging[ticket.id] = ticket
        else:
            outcome = replace(outcome, seconds=self.seconds.get(ticket.step, outcome.seconds))
            signs = [Progress(ticket=ticket.id, cell=cell, cells=1, text=text) for cell, text in self.signs]
            self._news += [*signs, outcome]


class Threads(Inline):
    """Calls the function of a step in a thread of its own."""

    def __init__(self, work: Mapping[str, Work], *, jobs: int = 2) -> None:
        super().__init__(work, jobs=jobs)
        self.queue: queue.SimpleQueue[Progress | Outcome] = queue.SimpleQueue()

    def submit(self, ticket: Ticket) -> None:
        self.submitted.append(ticket.step)
        threading.Thread(target=lambda: self.queue.put(perform(ticket, self.work[ticket.step])), daemon=True).start()

    def poll(self, timeout: float) -> list[Progress | Outcome]:
        try:
            return [self.queue.get(timeout=timeout)]
        except queue.Empty:
            return []


def perform(ticket: Ticket, work: Work) -> Outcome | None:
    """Do what a worker does: inputs from blobs, outputs to blobs, a notebook and a log left behind."""
    store = Store(Path(ticket.store))
    given = {
        name: store.blobs.path(one["digest"]).read_bytes() if one["kind"] == "artifact" else None
        for name, one in ticket.inputs.items()
    }
    left = {name: ticket.publish[name] for name in ("notebook", "log")}
    for path in left.values():
        Path(path).write_text(f"attempt {ticket.attempt}")
    try:
        made = work(**given)
    except Failure as failure:
        return Outcome(ticket=ticket.id, state=failure.state, fault=failure.fault, seconds=1.5, **left)
    if made is HANG:
        return None
    stored = {name: store.blobs.put_bytes(value) for name, value in (made or {}).items()}
    outputs = {name: Artifact(digest=one.digest, format="bytes", bytes=one.size) for name, one in stored.items()}
    return Outcome(ticket=ticket.id, state="succeeded", outputs=outputs, seconds=2.5, **left)
