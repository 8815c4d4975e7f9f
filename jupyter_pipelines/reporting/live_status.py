"""The live status of every step of a run, from its events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from jupyter_pipelines.execution.runs.events import (
    Event,
    RunStarted,
    StepDecided,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaiting,
)
from jupyter_pipelines.reporting.step_status import StepStatus, of_result


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningStep:
    """A step that runs right now.

    Parameters
    ----------
    step : str
        Its name.
    since : float
        When it started, on the clock of :class:`LiveStatus`.
    attempt : int
        Counted from 1.
    cell, cells : int or None
        Which cell of its notebook runs, and how many there are.
    text : str
        The last line it printed.
    """

    step: str
    since: float
    attempt: int = 1
    cell: int | None = None
    cells: int | None = None
    text: str = ""

    @property
    def place(self) -> str:
        """Where it is: ``cell 2 of 3``."""
        return f"cell {self.cell} of {self.cells}" if self.cell and self.cells else ""


class LiveStatus:
    """An observer that keeps the current status of every step.

    Parameters
    ----------
    clock : callable
        Returns seconds that only ever grow.
    late : bool
        Events may arrive long after they happened: a running step has run since the time in its event.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, late: bool = False) -> None:
        self.clock = clock
        self._late = late
        self._statuses: dict[str, StepStatus] = {}
        self.running: dict[str, RunningStep] = {}
        self.finished = 0
        self.reused = 0
        self.saved = 0.0

    @property
    def total(self) -> int:
        """How many steps the plan has."""
        return len(self._statuses)

    def __call__(self, *, event: Event) -> None:
        """Take notice of `event`."""
        match event:
            case RunStarted():
                self._on_start(event)
            # A decision may come after RunStarted: upstream digests can turn "maybe" into reuse.
            case StepDecided():
                self._on_decision(event)
            case StepWaiting():
                self._statuses[event.step] = StepStatus(state="waiting", detail="another run is computing it")
            case StepStarted():
                self._on_step(event)
            case StepProgress():
                self._on_progress(event)
            case StepRetried():
                self._on_retry(event)
            case StepFinished():
                self._on_finish(event)

    def statuses(self) -> Mapping[str, StepStatus]:
        """Return the current status of every step."""
        now = self.clock()
        running = {
            name: replace(self._statuses[name], detail=step.place, seconds=now - step.since)
            for name, step in self.running.items()
        }
        return {**self._statuses, **running}

    def status(self, step: str) -> StepStatus:
        """Return the last status of one step."""
        return self._statuses[step]

    def _on_start(self, event: RunStarted) -> None:
        self._statuses = {
            step: StepStatus(state="skip" if decision == "skip" else "pending")
            for step, decision in event.decisions.items()
        }

    def _on_decision(self, event: StepDecided) -> None:
        state = {"reuse": "reuse", "blocked": "blocked"}.get(event.decision, "pending")
        self._statuses[event.step] = StepStatus(state=state, detail=event.reason.text)

    def _on_step(self, event: StepStarted) -> None:
        self._statuses[event.step] = StepStatus(state="running")
        self.running[event.step] = RunningStep(
            step=event.step, since=self.clock() - self._age(event), attempt=event.attempt
        )

    def _age(self, event: StepStarted) -> float:
        """Return how many seconds ago an event happened."""
        if not self._late:
            return 0.0
        try:
            # Not negative: the clock of the machine that ran the step may be ahead.
            return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(event.at)).total_seconds())
        except (ValueError, TypeError):
            return 0.0

    def _on_progress(self, event: StepProgress) -> None:
        running = self.running.get(event.step)
        if running is not None:
            # An event of progress has only the fields that have changed.
            text = event.text or running.text
            cell, cells = event.cell or running.cell, event.cells or running.cells
            self.running[event.step] = replace(running, cell=cell, cells=cells, text=text)

    def _on_retry(self, event: StepRetried) -> None:
        self.running.pop(event.step, None)
        message = event.fault.message if event.fault else f"attempt {event.attempt} failed"
        self._statuses[event.step] = StepStatus(state="retrying", detail=message)

    def _on_finish(self, event: StepFinished) -> None:
        # None: a reused or skipped step finishes without having started.
        self.running.pop(event.step, None)
        status = of_result(event.result)
        self._statuses[event.step] = status
        self.finished += 1
        self.reused += status.state == "reused"
        self.saved += status.saved or 0.0
