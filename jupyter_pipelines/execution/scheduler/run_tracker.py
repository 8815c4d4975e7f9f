"""Tracking of a run: the state of each step, reported to observers and written to the disk as it changes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.execution.runs.events import (
    Event,
    RunFinished,
    RunObserver,
    RunStarted,
    StepDecided,
    StepFinished,
    StepProgress,
    StepRetried,
    StepStarted,
    StepWaiting,
    WarningIssued,
)
from jupyter_pipelines.execution.runs.result import ResultOrigin, Run, StepRun
from jupyter_pipelines.execution.scheduler.messages import FinalState
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.execution.timestamps import now
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.identifiers import file_stem
from jupyter_pipelines.pipeline.state_names import FINISHED, SUCCESSFUL
from jupyter_pipelines.planning.reasons import DecisionReason
from jupyter_pipelines.storage.records.run_store import DOCUMENT
from jupyter_pipelines.storage.store import Store

if TYPE_CHECKING:
    from jupyter_pipelines.planning.plan import Plan, PlannedStep
    from jupyter_pipelines.storage.step_record import StepRecord

logger = logging.getLogger(__name__)
# Writing the document takes at most this share of the time, and what is on disk is at most this many seconds old.
_SHARE, _OLDEST = 0.1, 1.0
# Events are written in turns of the loop; where a turn takes longer, not much later than this many seconds.
_LATEST = 0.1
_IDLE = frozenset({"reuse", "skip"})
_FIELDS = tuple(field.name for field in fields(StepRun))
_THERE = SUCCESSFUL | {"skipped"}


class RunTracker:
    """Tracks the state of a run while it goes on.

    Responsibilities
    ----------------
    - the state of every step as a :class:`StepRun`, and of the whole as a :class:`Run`;
    - an event to every observer for every change; an observer that raises is removed, and the run goes on;
    - the run's document and its events on disk.

    Parameters
    ----------
    plan : Plan
        The plan that is run.
    store : Store
        The store with the folder of the run.
    observers : sequence of callables
        Each gets every event, as the keyword argument ``event``.
    notebook : str or None
        Path of the notebook from the project's root.
    clock : callable
        Seconds, monotonic.
    run : str or None
        The id of the run, where it has got one already.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        observers: Sequence[RunObserver] = (),
        notebook: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        run: str | None = None,
    ) -> None:
        self.id = run or store.runs.new_id()
        self.journal = RunJournal(store, self.id)
        self._store = store
        self._plan = plan
        self._notebook = notebook
        self._observers = list(observers)
        self._clock = clock
        self._steps = {planned.name: self._first(planned) for planned in plan.steps}
        self._warnings: tuple[Diagnostic, ...] = ()
        self._state = "running"
        self._started, self._finished = now(), ""
        self._since, self._seconds = clock(), 0.0
        self._dirty, self._due, self._written = True, self._since, self._since
        self._silenced = self._begun = False
        self._folders: dict[str, str | None] = {}
        self._last: dict[str, float] = {}
        self._cells: dict[str, int | None] = {}
        self._there: dict[str, Mapping[str, Artifact]] = {}

    @property
    def notebook(self) -> str | None:
        """Path of the notebook from the project's root."""
        return self._notebook

    @property
    def run(self) -> Run:
        """The run in its present state."""
        return Run(
            id=self.id,
            state=self._state,
            seconds=self._seconds if self._finished else self._clock() - self._since,
            parameters=dict(self._plan.values),
            steps=dict(self._steps),
            notebook=self._notebook,
            started=self._started,
            finished=self._finished,
            warnings=self._warnings,
            pipeline=self._plan.pipeline,
        )

    def known(self) -> Mapping[str, Mapping[str, Artifact]]:
        """Return the artifacts by step and output of every successful, reused or skipped step."""
        return self._there

    def begin(self, jobs: int) -> None:
        """Record the start of the run."""
        self.journal.open()
        decisions = {planned.name: str(planned.decision) for planned in self._plan.steps}
        folder = str(self.journal.folder) if self.journal.folder else None
        # A run with nothing to do writes its document once, at the end: no process could read it in between.
        if not _IDLE.issuperset(decisions.values()):
            self._write_first()
        self._say(
            RunStarted,
            notebook=self._notebook,
            parameters=dict(self._plan.values),
            decisions=decisions,
            jobs=jobs,
            folder=folder,
        )

    def decided(self, planned: PlannedStep) -> None:
        """Record the decision for a step."""
        step = self._steps[planned.name]
        same = (step.state, step.decision, step.key) == ("ready", planned.decision, planned.key)
        reused = planned.decision == "reuse"
        self._note(
            planned.name,
            state="ready",
            key=planned.key,
            decision=planned.decision,
            reason=planned.reason,
            artifacts=dict(planned.outputs) if reused else {},
            origin=_origin(planned.origin) if reused else None,
            previous=_origin(planned.previous),
        )
        if not reused:
            self._write_first()
        if not same:
            details: dict[str, Any] = {"decision": planned.decision, "reason": planned.reason, "key": planned.key}
            self._say(StepDecided, step=planned.name, **details)

    def waiting(self, step: str) -> None:
        """Record that a step waits for another run to compute it."""
        self._note(step, state="waiting")
        self._say(StepWaiting, step=step)

    def submitted(self, ticket: StepTicket) -> None:
        """Record the start of an attempt."""
        self._cells.pop(ticket.step, None)
        self._note(ticket.step, state="running", attempts=ticket.attempt, artifacts={}, origin=None)
        self._say(StepStarted, step=ticket.step, attempt=ticket.attempt, log=ticket.publish["log"])

    def progressed(self, step: str, progress: TicketProgress) -> None:
        """Report progress to the observers; only the number of the running cell is written to the event file."""
        is_news = progress.cell is not None and progress.cell != self._cells.get(step)
        self._cells[step] = progress.cell or self._cells.get(step)
        details: dict[str, Any] = {"cell": progress.cell, "cells": progress.cells, "text": progress.text}
        self._say(StepProgress, step=step, written=is_news, **details)

    def attempt_finished(self, step: str, outcome: StepOutcome, fault: Diagnostic | None) -> None:
        """Record the end of an attempt; `fault` is the reason if it is no success."""
        self._last[step] = outcome.seconds
        self._note(
            step,
            seconds=self._steps[step].seconds + outcome.seconds,
            notebook=outcome.notebook,
            log=outcome.log,
            artifacts=dict(outcome.outputs) if fault is None else {},
            fault=fault,
            error_type=outcome.error_type,
            warnings=tuple(dict.fromkeys((*self._steps[step].warnings, *outcome.warnings))),
        )
        for warning in outcome.warnings:
            self._say(WarningIssued, step=step, fault=warning)

    def retrying(self, step: str, *, pause: float, kept_paths: tuple[str | None, str | None]) -> None:
        """Record that another attempt follows; `kept_paths` are notebook and log of the failed one."""
        step_run = self._steps[step]
        self._note(step, state="retrying", notebook=kept_paths[0], log=kept_paths[1])
        details: dict[str, Any] = {
            "attempt": step_run.attempts,
            "pause": pause,
            "fault": step_run.fault,
            "seconds": self._last.get(step, 0.0),
        }
        self._say(StepRetried, step=step, notebook=kept_paths[0], log=kept_paths[1], **details)

    def failed(self, step: str, fault: Diagnostic) -> None:
        """Record why a step fails without having run."""
        self._note(step, fault=fault)

    def settled(self, step: str, state: FinalState, cause: str | None) -> None:
        """Record the final state of a step."""
        changes: dict[str, Any] = {"state": state}
        if cause is not None and state in ("blocked", "skipped"):
            changes |= {
                "decision": "blocked" if state == "blocked" else "skip",
                "reason": self._upstream_reason(cause, state),
            }
        elif state == "reused":
            changes |= self._files_of_origin(step)
        self._note(step, **changes)
        self._say(StepFinished, result=self._steps[step])

    def warned(self, fault: Diagnostic, step: str | None = None) -> None:
        """Record a warning about a step, or about the whole run."""
        if step is None:
            self._warnings += (fault,)
        else:
            self._note(step, warnings=(*self._steps[step].warnings, fault))
        self._say(WarningIssued, step=step, fault=fault)

    def finish(self, state: str) -> None:
        """Record the end of the run."""
        for name, step in self._steps.items():
            if step.state not in FINISHED:
                self._note(name, state="cancelled")
        self._seconds, self._finished, self._state = self._clock() - self._since, now(), state
        self._dirty = True
        self.flush()
        self._say(RunFinished, result=self.run)
        self.journal.flush()

    def flush(self) -> None:
        """Write pending events, and the document if it has changed and enough time has passed since the last write."""
        # Events first: a reader that sees the document of a run that has ended finds all earlier events.
        self._write_events()
        if self._dirty and (self._finished or self._clock() >= self._due):
            self._dirty = False
            begun = self._clock()
            write = self.journal.close if self._finished else self.journal.write
            write(self.run.to_dict())
            self._due = self._clock() + min(_OLDEST, (self._clock() - begun) / _SHARE)
        if self.journal.fault and not self._silenced:
            self._silenced = True
            self.warned(replace(self.journal.fault, severity="warning"))

    def _write_first(self) -> None:
        """Write the first document, and reserve space for the last one."""
        if not self._begun:
            self._begun = True
            self.flush()
            self.journal.reserve()

    def _write_events(self) -> None:
        self.journal.flush()
        self._written = self._clock()

    def _first(self, planned: PlannedStep) -> StepRun:
        is_skipped = planned.decision == "skip"
        return StepRun(
            name=planned.name,
            state="pending",
            key=planned.key,
            decision=planned.decision,
            reason=planned.reason,
            artifacts=dict(planned.outputs) if is_skipped else {},
            origin=_origin(planned.origin) if is_skipped else None,
            previous=_origin(planned.previous),
            store=self._store,
            items=planned.items,
        )

    def _note(self, step: str, **changes: Any) -> None:
        self._steps[step] = _changed(self._steps[step], changes)
        if self._steps[step].state in _THERE:
            self._there[step] = self._steps[step].artifacts
        self._dirty = True

    def _upstream_reason(self, cause: str, state: str) -> DecisionReason:
        words = {"failed": "failed", "cancelled": "was cancelled"}.get(self._steps[cause].state, "is blocked")
        if state == "blocked":
            return DecisionReason(code="upstream", text=f"`{cause}` {words}", details=())
        return DecisionReason(
            code="upstream", text=f"not started, because `{cause}` {words}; `--continue` goes on without it", details=()
        )

    def _files_of_origin(self, step: str) -> dict[str, str | None]:
        """Return notebook and log of the run that computed a reused result, if they still exist."""
        origin = self._steps[step].origin
        folder = self._folder_of(origin.run) if origin else None
        stem = file_stem(step)
        return {"notebook": _existing(folder, f"{stem}.ipynb"), "log": _existing(folder, f"{stem}.log")}

    def _folder_of(self, run: str) -> str | None:
        if run not in self._folders:
            try:
                self._folders[run] = str(self._store.runs.folder(run))
            except StoreError:
                self._folders[run] = None
        return self._folders[run]

    def _say(self, kind: Callable[..., Event], *, written: bool = True, **details: Any) -> None:
        event = kind(run=self.id, at=now(), **details)
        if written:
            self.journal.append(event.to_dict())
            if self._clock() - self._written > _LATEST:
                self._write_events()
        for observer in tuple(self._observers):
            try:
                observer(event=event)
            except Exception as error:  # noqa: BLE001 - whatever it raises, the run goes on
                self._dismiss(observer, error)

    def _dismiss(self, observer: RunObserver, error: Exception) -> None:
        logger.info("observer %r failed and gets no further events", observer, exc_info=error)
        self._observers.remove(observer)
        name = getattr(observer, "__qualname__", None) or type(observer).__qualname__
        self.warned(
            Diagnostic(
                code="JP606",
                message=f"the observer `{name}` raised {type(error).__name__}: {error}; it gets no further events",
                suggestion="repair the observer; the run itself is not affected",
                severity="warning",
            )
        )


def _changed(step: StepRun, changes: Mapping[str, Any]) -> StepRun:
    """Return `step` with `changes`, as `dataclasses.replace` does, but in half the time: it runs for every event."""
    values: dict[str, Any] = {name: getattr(step, name) for name in _FIELDS}
    return StepRun(**{**values, **changes})


def _origin(record: StepRecord | None) -> ResultOrigin | None:
    return None if record is None else ResultOrigin(run=record.run, created=record.created, seconds=record.seconds)


def _existing(folder: str | None, name: str) -> str | None:
    path = os.path.join(folder, name) if folder else None  # noqa: PTH118 - two for every reused step
    return path if path and os.path.isfile(path) else None  # noqa: PTH113


class RunJournal:
    """The document and the events of a run on disk.

    During the run, a temporary file reserves the space of its last document: a run that fills the disk can still record
    its end.

    Parameters
    ----------
    store : Store
        The store with the folder of the run.
    run : str
        Id of the run.

    Attributes
    ----------
    folder : Path or None
        The folder of the run; None if it could not be created.
    fault : Diagnostic or None
        The first error when writing to the store.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._store = store
        self._run = run
        self.folder: Path | None = None
        self.fault: Diagnostic | None = None
        self._reserve: Path | None = None
        self._events: list[Mapping[str, Any]] = []

    def open(self) -> None:
        """Create the folder of the run, also if it has been removed meanwhile."""

        def make() -> None:
            self.folder = self._store.runs.create(self._run)

        self._try(make)

    def reserve(self) -> None:
        """Reserve twice the size of the present document."""

        def keep() -> None:
            if self.folder is not None:
                size = 2 * (self.folder / DOCUMENT).stat().st_size
                self._reserve = self._store.folder.temporary()
                self._reserve.write_bytes(bytes(size))

        self._try(keep)

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the document of the run atomically."""
        if self.folder is not None:
            self._try(lambda: self._store.runs.write(self._run, document))

    def close(self, document: Mapping[str, Any]) -> None:
        """Free the reserved space, and write the last document."""
        if self._reserve is not None:
            self._try(self._reserve.unlink)
        self.write(document)

    def append(self, event: Mapping[str, Any]) -> None:
        """Add an event; it is written by the next :meth:`flush`."""
        self._events.append(event)

    def flush(self) -> None:
        """Append the added events to the file, in one write."""
        events, self._events = self._events, []
        if events and self.folder is not None:
            self._try(lambda: self._store.runs.append(self._run, *events))

    def _try(self, write: Callable[[], None]) -> None:
        # A run must not fail because its own log cannot be written: the first error becomes a warning.
        try:
            write()
        except StoreError as error:
            logger.info("run %s: %s", self._run, error)
            self.fault = self.fault or error.faults[0]
        except OSError as error:
            logger.info("run %s: %s", self._run, error)
