"""The impure loop around the scheduler: it executes commands with a store, an executor and a clock, and reports back.

The loop runs in the thread that calls :func:`run_plan` only. It polls all that it waits for (the executor, leases of
other runs, pauses before retries) in turns of at most :data:`TURN` seconds, so that a stop request is noticed within
that time.
"""

from __future__ import annotations

import heapq
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from jupyter_pipelines.errors import Diagnostic, PipelinesError, PlanError, StoreError
from jupyter_pipelines.execution.executors import StepExecutor, SupportsPools, survey
from jupyter_pipelines.execution.runs.result import Run
from jupyter_pipelines.execution.runs.stop_requests import StopRequests
from jupyter_pipelines.execution.scheduler.file_handovers import FileHandovers
from jupyter_pipelines.execution.scheduler.messages import (
    AcquireLease,
    AttemptFinished,
    CancelStep,
    Command,
    DecideStep,
    DecisionMade,
    FinishRun,
    FinishStep,
    LeaseBusy,
    LeaseGranted,
    Message,
    ReleaseLease,
    StartTimer,
    StopRequested,
    SubmitAttempt,
    TimerFired,
)
from jupyter_pipelines.execution.scheduler.publish import changed_inputs_warning, publish, quarantine_corrupt
from jupyter_pipelines.execution.scheduler.run_tracker import RunTracker
from jupyter_pipelines.execution.scheduler.state_machine import StepScheduler
from jupyter_pipelines.execution.scheduler.stop import StopToken
from jupyter_pipelines.execution.scheduler.tickets import (
    assemble,
    failed_items_warning,
    gathering_ticket,
    plan_preimports,
    rename_attempt_files,
    requirements_of,
    tasks_of,
    ticket_for,
)
from jupyter_pipelines.execution.ticket import NOTHING, KernelPreimports, StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.foreach import GatherSpec
from jupyter_pipelines.storage.locks.leases import KeyLease
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.store import Store

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.events import RunObserver
    from jupyter_pipelines.planning.plan import Plan, PlannedStep

logger = logging.getLogger(__name__)
# A step that does not end within PATIENCE of a stop request is killed; after GIVE_UP seconds, the run ends without it.
TURN = 0.1
PATIENCE = 1.2
GIVE_UP = 5.0
FLUSH_EVERY = 1.0
"""Seconds between two flushes of records: results of this time may be lost by a power cut, and are computed again."""
CHECK_EVERY = 5.0
"""Seconds for which a successful check that the store is writable holds."""


class RunClock:
    """The loop's source of time, replaced in tests."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Block for a number of seconds."""
        time.sleep(seconds)


def run_plan(
    plan: Plan,
    *,
    store: Store,
    executor: StepExecutor,
    observers: Sequence[RunObserver] = (),
    keep_going: bool = False,
    notebook: str | None = None,
    stop: StopToken | None = None,
    clock: RunClock | None = None,
    run: str | None = None,
) -> Run:
    """Run a plan to its end.

    Parameters
    ----------
    plan : Plan
        The plan; its planner decides again for each step, once the digests of all its inputs are known.
    store : Store
        The store of results and records.
    executor : StepExecutor
        Runs the steps; it is closed at the end.
    observers : sequence of callables
        Each gets every event, as the keyword argument ``event``.
    keep_going : bool
        After a failure, go on with the steps that do not depend on it.
    notebook : str or None
        Path of the notebook from the project's root, its name in the store.
    stop : StopToken or None
        Lets other threads stop the run; in the main thread signals do so in any case, and so do other processes
        through the folder of the run.
    clock : RunClock or None
        A source of time in place of the real one.
    run : str or None
        The id of the run, if it has one already.

    Returns
    -------
    Run
        The result, also if steps failed or were cancelled: that raises nothing here.

    Raises
    ------
    PlanError
        A step demands more resources than the executor has (JP604); nothing has run.
    """
    stop, clock = stop or StopToken(), clock or RunClock()
    with stop.on_signals(), closing(executor):
        faults = survey(executor, requirements_of(plan))
        if any(fault.severity == "error" for fault in faults):
            raise PlanError(*faults)
        books = RunTracker(plan, store, observers=observers, notebook=notebook, clock=clock.now, run=run)
        return _SchedulerLoop(
            plan, store, executor, books, stop, keep_going=keep_going, clock=clock, doubts=(*faults, *plan.warnings)
        ).run()


class _SchedulerLoop:
    def __init__(
        self,
        plan: Plan,
        store: Store,
        executor: StepExecutor,
        books: RunTracker,
        stop: StopToken,
        *,
        keep_going: bool,
        clock: RunClock,
        doubts: Sequence[Diagnostic],
    ) -> None:
        self._plan = plan
        self._doubts = doubts
        self._store = store
        self._executor = executor
        self._books = books
        self._stop = stop
        self._mailbox: StopRequests | None = None
        self._clock = clock
        pools = executor.pools if isinstance(executor, SupportsPools) else None
        self._machine = StepScheduler(
            tasks_of(plan), jobs=executor.jobs, capacity=executor.capacity(), pools=pools, keep_going=keep_going
        )
        self._orders: deque[Command] = deque()
        self._planned: dict[str, PlannedStep] = {}
        self._leases: dict[str, KeyLease] = {}
        self._wanted: dict[str, str] = {}
        self._tickets: dict[str, StepTicket] = {}
        self._current: dict[str, StepTicket] = {}
        self._timers: list[tuple[float, str]] = []
        self._unsettled: list[StepRecord] = []
        self._handovers = FileHandovers(plan.pipeline)
        self._settled_at, self._checked_at = self._clock.now(), -math.inf
        self._foreseen: Mapping[str, Sequence[KernelPreimports]] | None = None
        self._asked: dict[str | None, float] = {}
        self._insisted: set[str | None] = set()
        self._looked_at = -math.inf
        self._handlers: Mapping[type[Command], Callable[[Any], None]] = {
            DecideStep: self._on_decide,
            AcquireLease: self._on_acquire_lease,
            ReleaseLease: self._on_release_lease,
            SubmitAttempt: self._on_submit,
            StartTimer: self._on_start_timer,
            CancelStep: self._on_cancel_step,
            FinishStep: self._on_settle,
            FinishRun: self._on_finish,
        }

    def run(self) -> Run:
        try:
            self._books.begin(self._executor.jobs)
            for fault in self._doubts:
                self._books.warned(fault)
            folder = self._books.journal.folder
            self._mailbox = StopRequests(folder) if folder else None
            self._obey(self._machine.start())
            while not self._machine.over:
                self._turn()
        except BaseException:
            self._abandon()
            raise
        return self._books.run

    # Turns: messages from outside since the last turn

    def _turn(self) -> None:
        self._take_stop_requests()
        self._escalate_stops()
        # Before waiting: observers in other processes read the files while this loop is blocked.
        self._books.flush()
        for news in self._listen():
            self._hear(news)
        self._fire_timers()
        self._retry_leases()
        if self._unsettled and self._clock.now() - self._settled_at > FLUSH_EVERY:
            self._settle()

    def _listen(self) -> Sequence[TicketProgress | StepOutcome]:
        if not self._tickets:
            self._clock.sleep(self._pause())
            return ()
        try:
            return self._executor.poll(self._pause())
        except PipelinesError as error:
            return [_lost(ticket, error) for ticket in self._tickets]

    def _pause(self) -> float:
        due = self._timers[0][0] - self._clock.now() if self._timers else TURN
        return min(TURN, max(0.0, due))

    def _hear(self, news: TicketProgress | StepOutcome) -> None:
        ticket = self._tickets.get(news.ticket)
        if ticket is None:
            logger.debug("news of an unknown ticket: %s", news.ticket)
        elif isinstance(news, TicketProgress):
            self._books.progressed(ticket.step, news)
        else:
            del self._tickets[news.ticket]
            self._finish_attempt(ticket, news)

    def _finish_attempt(self, ticket: StepTicket, outcome: StepOutcome) -> None:
        worked = outcome.state == "succeeded"
        fault = self._publish(ticket, outcome) if worked else outcome.fault or _unexplained(outcome)
        self._books.attempt_finished(ticket.step, outcome, self._with_location(fault, ticket.step))
        # The step itself succeeded, but its result was refused: another attempt would only repeat the refusal.
        final = worked and fault is not None
        self._tell(
            AttemptFinished(step=ticket.step, attempt=ticket.attempt, state=_final_state(outcome, fault), final=final)
        )

    def _publish(self, ticket: StepTicket, outcome: StepOutcome) -> Diagnostic | None:
        planned = self._planned[ticket.step]
        # Inputs may have changed while the step ran, and a lease may have been taken over from a run that seemed dead.
        # The result is then used by this run, but not recorded under a key that it may not belong to.
        drift = self._plan.planner.drift(planned)
        lease = self._leases.get(ticket.step)
        if lease is not None and not lease.valid:
            drift = (*drift, "the right to record its result")
        if drift:
            self._books.warned(changed_inputs_warning(ticket.step, drift), ticket.step)
            planned = replace(planned, key=None)
        fault = self._handover_fault(ticket.step, outcome)
        if fault is not None:
            return fault
        record_or_fault = publish(
            self._store,
            self._plan.pipeline,
            self._plan.pipeline[ticket.step],
            planned,
            self._with_full_trace(ticket.step, outcome),
            run=self._books.id,
            notebook=self._books.notebook,
            attempts=ticket.attempt,
        )
        if isinstance(record_or_fault, StepRecord):
            self._unsettled.append(record_or_fault)
            return None
        return record_or_fault

    def _with_full_trace(self, step: str, outcome: StepOutcome) -> StepOutcome:
        """Return an outcome whose trace has package versions, and doubts from comparing it with other steps' traces."""
        trace = self._plan.planner.with_versions(step, outcome.trace or {})
        return replace(outcome, trace={**trace, **self._handovers.doubts(step, outcome.appended)})

    def _handover_fault(self, step: str, outcome: StepOutcome) -> Diagnostic | None:
        """Return the error about files handed between steps without an order; report its warnings."""
        first: Diagnostic | None = None
        for fault in self._handovers.faults(step, outcome.trace or {}, outcome.appended):
            if fault.severity == "warning":
                self._books.warned(self._with_location(fault, step) or fault, step)
            else:
                first = first or fault
        return first

    def _settle(self) -> None:
        """Flush records to the disk, so that they survive a power cut."""
        # Together: an fsync for each record would make chains of short steps wait for the disk.
        records, self._unsettled = self._unsettled, []
        self._settled_at = self._clock.now()
        try:
            if records:
                self._store.flush(records)
        except StoreError as error:
            self._books.warned(replace(error.faults[0], severity="warning"))

    def _with_location(self, fault: Diagnostic | None, step: str) -> Diagnostic | None:
        """Add step, notebook and location to a diagnostic that lacks them."""
        if fault is None:
            return None
        path = self._plan.pipeline.notebook
        where = self._plan.pipeline[step].place
        return replace(
            fault,
            step=fault.step or step,
            notebook=fault.notebook or (str(path) if path else None),
            place=fault.place or where,
        )

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self._clock.now():
            _, step = heapq.heappop(self._timers)
            self._tell(TimerFired(step=step))

    def _retry_leases(self) -> None:
        """Try again to acquire leases that other runs hold, for at most the time of a turn."""
        # A lease that is still busy goes to the end of the dict: the next turn begins with the others.
        end = self._clock.now() + TURN
        for step, key in tuple(self._wanted.items()):
            if self._clock.now() < end and self._wanted.pop(step, ""):
                if self._lease(step, key):
                    self._tell(LeaseGranted(step=step))
                else:
                    self._wanted[step] = key

    def _take_stop_requests(self) -> None:
        if self._mailbox is not None and self._clock.now() - self._looked_at >= TURN:
            self._looked_at = self._clock.now()
            for step in self._mailbox.take():
                self._stop.request(step)
        for step in self._stop.take():
            self._asked.setdefault(step, self._clock.now())
            self._tell(StopRequested(step=step))

    def _escalate_stops(self) -> None:
        """Kill steps that do not end after a stop request, and stop waiting for those that cannot be killed."""
        # A second request for the same step means a hard stop to the scheduler.
        now = self._clock.now()
        for step, asked_at in tuple(self._asked.items()):
            if now - asked_at > PATIENCE and step not in self._insisted:
                self._insisted.add(step)
                self._tell(StopRequested(step=step))
            if now - asked_at > GIVE_UP:
                self._give_up_on(step)

    def _give_up_on(self, step: str | None) -> None:
        for ticket in tuple(self._tickets.values()):
            if step in (None, ticket.step):
                # An outcome that comes later belongs to no known ticket, and is ignored.
                del self._tickets[ticket.id]
                self._tell(AttemptFinished(step=ticket.step, attempt=ticket.attempt, state="cancelled"))

    def _abandon(self) -> None:
        """Cancel all tickets and release all leases when an unexpected exception ends the loop."""
        # This process may live on (a notebook's kernel, a server): a lease that it kept would block other runs.
        for ticket in self._tickets:
            self._executor.cancel(ticket, hard=True)
        for lease in self._leases.values():
            lease.release()
        self._books.finish("failed")

    # Commands

    def _tell(self, message: Message) -> None:
        self._obey(self._machine.handle(message))

    def _obey(self, commands: Sequence[Command]) -> None:
        # A handler may tell the scheduler something and so get here again: its commands are queued, and the outer call
        # executes them in order. Without that, long chains of reused steps would recurse.
        idle = not self._orders
        self._orders.extend(commands)
        while idle and self._orders:
            command = self._orders[0]
            self._handlers[type(command)](command)
            self._orders.popleft()
            # Here, too: a run that only reuses steps may never come to the next turn.
            self._take_stop_requests()

    def _on_decide(self, command: DecideStep) -> None:
        if self._machine.state(command.step) != "deciding":
            return
        try:
            # Digesting large files may take minutes, and changes nothing: Ctrl-C may interrupt it anywhere.
            with self._stop.interruptible():
                planned = self._plan.planner.decide(
                    command.step, self._books.known(), lambda path: self._handovers.writer_of(path, command.step)
                )
        except KeyboardInterrupt:
            logger.debug("interrupted while deciding on %s; the request is handled next", command.step)
        except PipelinesError as error:
            self._fail(command.step, error)
            self._tell(DecisionMade(step=command.step, decision="failed"))
        else:
            self._decided(planned)

    def _decided(self, planned: PlannedStep) -> None:
        name, before = planned.name, self._planned.get(planned.name)
        # The second decision, under the lease: a corrupt output was quarantined after the first, and is missing.
        # The reason that the user sees stays that of the first.
        healed = before is not None and before.reason.code == "output-corrupt" and before.key == planned.key
        if before is not None and healed and planned.decision == "run":
            planned = replace(planned, reason=before.reason)
        self._planned[name] = planned
        self._books.decided(planned)
        step = self._plan.pipeline[name]
        missing = (
            failed_items_warning(step, step.gathering, self._books.known())
            if step.gathering and before is None
            else None
        )
        if missing is not None and planned.decision != "blocked":
            self._books.warned(self._with_location(missing, name) or missing, name)
        if planned.origin is not None and planned.decision == "reuse":
            self._handovers.note_reused(name, planned.origin.trace or {}, planned.origin.appended)
        if planned.decision in ("reuse", "blocked"):
            self._tell(DecisionMade(step=name, decision="reuse" if planned.decision == "reuse" else "blocked"))
            return
        for fault in () if healed else quarantine_corrupt(self._store, planned):
            self._books.warned(fault, name)
        self._tell(DecisionMade(step=name, decision="run"))

    def _on_acquire_lease(self, command: AcquireLease) -> None:
        key = self._planned[command.step].key
        if key is None or not self._plan.pipeline[command.step].cache or self._lease(command.step, key):
            self._tell(LeaseGranted(step=command.step))
        else:
            self._wanted[command.step] = key
            self._books.waiting(command.step)
            self._tell(LeaseBusy(step=command.step))

    def _lease(self, step: str, key: str) -> bool:
        try:
            lease = self._store.leases.try_acquire(key)
        except StoreError as error:
            # Leases only avoid double work, so the step may run without one. If the store cannot be written at all, the
            # check before the ticket says so.
            logger.info("no lease for step %s: %s", step, error)
            return True
        if lease is None:
            return False
        self._leases[step] = lease
        return True

    def _on_release_lease(self, command: ReleaseLease) -> None:
        self._wanted.pop(command.step, None)
        if lease := self._leases.pop(command.step, None):
            lease.release()

    def _on_submit(self, command: SubmitAttempt) -> None:
        gathering = self._plan.pipeline[command.step].gathering
        if gathering is not None:
            self._assemble(command, gathering)
            return
        try:
            ticket = self._ticket(command)
            self._executor.submit(ticket)
        except PipelinesError as error:
            self._fail(command.step, error)
            self._tell(AttemptFinished(step=command.step, attempt=command.attempt, state="failed", final=True))
        else:
            self._tickets[ticket.id] = self._current[ticket.step] = ticket
            self._books.submitted(ticket)

    def _assemble(self, command: SubmitAttempt, gathering: GatherSpec) -> None:
        """Gather the results of a step's items, in this process: it only writes a small list of digests."""
        step = self._plan.pipeline[command.step]
        ticket = gathering_ticket(self._plan.pipeline, step, self._books.id, command.attempt, self._store.url)
        self._books.submitted(ticket)
        self._finish_attempt(ticket, assemble(self._store, step, gathering, self._books.known(), ticket))

    def _ticket(self, command: SubmitAttempt) -> StepTicket:
        """Return the ticket of an attempt; raise StoreError if its result could not be stored."""
        # Checked before the attempt, not after hours of computing.
        journal = self._books.journal
        journal.open()
        if journal.folder is None:
            raise StoreError(*([journal.fault] if journal.fault else []))
        if self._clock.now() - self._checked_at > CHECK_EVERY:
            self._store.check_writable()
            self._checked_at = self._clock.now()
        return ticket_for(
            self._plan,
            self._planned[command.step],
            self._books.known(),
            run=self._books.id,
            attempt=command.attempt,
            folder=journal.folder,
            store=self._store.url,
            foreseen=self._foresee().get(command.step, [NOTHING]),
        )

    def _foresee(self) -> Mapping[str, Sequence[KernelPreimports]]:
        """Return the preimports of all steps; analysed once, and only if a step really runs."""
        if self._foreseen is None:
            self._foreseen = plan_preimports(self._plan)
        return self._foreseen

    def _on_start_timer(self, command: StartTimer) -> None:
        # The next attempt writes to the same paths.
        kept_paths = rename_attempt_files(self._current[command.step])
        self._books.retrying(command.step, pause=command.seconds, kept_paths=kept_paths)
        heapq.heappush(self._timers, (self._clock.now() + command.seconds, command.step))

    def _on_cancel_step(self, command: CancelStep) -> None:
        if ticket := self._current.get(command.step):
            self._executor.cancel(ticket.id, hard=command.hard)

    def _on_settle(self, command: FinishStep) -> None:
        self._on_release_lease(ReleaseLease(step=command.step))
        self._books.settled(command.step, command.state, command.cause)

    def _on_finish(self, command: FinishRun) -> None:
        # Records first: a run whose document says that it succeeded must not lose results by a power cut.
        self._settle()
        self._books.finish(command.state)

    def _fail(self, step: str, error: PipelinesError) -> None:
        fault = self._with_location(error.faults[0], step)
        if fault is not None:
            self._books.failed(step, fault)


def _final_state(outcome: StepOutcome, fault: Diagnostic | None) -> Literal["succeeded", "failed", "cancelled"]:
    """Return the scheduler's state for an outcome: it succeeded only if its result was published."""
    if outcome.state == "cancelled":
        return "cancelled"
    return "succeeded" if outcome.state == "succeeded" and fault is None else "failed"


def _unexplained(outcome: StepOutcome) -> Diagnostic | None:
    if outcome.state == "cancelled":
        return None
    return Diagnostic(
        code="JP308",
        message=f"the executor said `{outcome.state}` and gave no reason",
        suggestion="run it again; if it happens again, tell the authors of the executor",
    )


def _lost(ticket: str, error: PipelinesError) -> StepOutcome:
    return StepOutcome(ticket=ticket, state="died", fault=replace(error.faults[0], code="JP308"))
