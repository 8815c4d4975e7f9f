"""Send the events of a run to the widgets that show it: changed statuses, at most ten times a second.

The thread that runs the pipeline only records events. Another thread sends them, so that no front end holds up a run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.execution.runs.events import Event, RunFinished, StepProgress, StepStarted
from jupyter_pipelines.reporting import status_details
from jupyter_pipelines.reporting.graph_json import status_document
from jupyter_pipelines.reporting.live_status import LiveStatus
from jupyter_pipelines.reporting.status_details import StatusDetailsObserver
from jupyter_pipelines.reporting.step_status import of_run

if TYPE_CHECKING:
    from jupyter_pipelines.interfaces.jupyter.widgets import PipelineWidget

PACE = 0.1
"""Seconds between two messages."""
FULL_PACE = 2.0
"""Least seconds between two complete updates, for views that were opened meanwhile; more for many steps."""
_STEPS = 200
_BLOCK = 4096


class WidgetFeed:
    """Observer of a run that sends changed statuses to widgets.

    Parameters
    ----------
    widgets : callable
        Returns the open widgets.

    Attributes
    ----------
    run : str or None
        Id of the run, once it has begun.
    """

    def __init__(self, widgets: Callable[[], Iterable[PipelineWidget]]) -> None:
        self._widgets = widgets
        self._following = LiveStatus(late=True)
        self._particulars = StatusDetailsObserver()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._sent: dict[str, Any] = {}
        self._met: dict[str, int] = {}
        self._whole_at = time.monotonic()
        self._logs: dict[str, str] = {}
        self.run: str | None = None
        self._thread = threading.Thread(target=self._work, name="jupyter-pipelines-feed", daemon=True)

    def __call__(self, *, event: Event) -> None:
        """Record an event; the last event of a run is sent before this returns."""
        self._note(event)
        if self.run is None:
            self.run = event.run
            self._thread.start()
        if isinstance(event, RunFinished):
            self.close()
            self._finish(event)

    def close(self) -> None:
        """End the sending thread."""
        # Joined before the final state is sent, so that no late message of the thread overwrites it.
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def read_logs(self) -> None:
        """Read the last line of the log of each running step; events of other processes do not contain output."""
        with self._lock:
            running = {step: self._logs[step] for step in self._following.running if step in self._logs}
        for step, log in running.items():
            self._note(StepProgress(run=self.run or "", at="", step=step, text=last_line(log)))

    def _note(self, event: Event) -> None:
        with self._lock:
            self._following(event=event)
            self._particulars(event=event)
            if isinstance(event, StepStarted):
                self._logs[event.step] = event.log

    def _work(self) -> None:
        while not self._over.wait(PACE):
            self.push()

    def push(self) -> None:
        """Send the statuses that have changed since the last call."""
        with self._lock:
            following, more = self._following, dict(self._particulars.more)
            words = f"{following.finished} of {following.total} steps finished"
            document = status_document(following.statuses(), run=self.run, running=True, headline=words, more=more)
        comparable = {name: _without_running_seconds(status) for name, status in document["steps"].items()}
        changed = [name for name, status in comparable.items() if status != self._sent.get(name)]
        resend_all = time.monotonic() - self._whole_at > FULL_PACE * (1 + len(comparable) / _STEPS)
        # A widget that was created or redrawn meanwhile shows the state before this run, and gets everything.
        drawn = {widget: widget.drawn for widget in self._widgets()}
        late = [widget for widget, times in drawn.items() if self._met.get(widget.model_id) != times]
        self._met.update({widget.model_id: times for widget, times in drawn.items()})
        if changed:
            # Only changed steps are sent: with a thousand steps the whole document ten times a second is too much.
            self._sent = comparable
            self._send({**document, "steps": {name: document["steps"][name] for name in changed}})
        if changed and resend_all:
            self._whole_at = time.monotonic()
            late = list(self._widgets())
        for widget in late:
            with suppress(Exception):
                widget.statuses = document

    def _send(self, changes: dict[str, Any]) -> None:
        for widget in self._widgets():
            with suppress(Exception):  # a front end that has gone is no reason to stop
                widget.tell(changes)

    def _finish(self, event: RunFinished) -> None:
        result = event.result.to_dict()
        for widget in self._widgets():
            known = {**widget.known, **of_run(result)}
            more = {**widget.more, **status_details.of_run(result)}
            with suppress(Exception):
                widget.draw(widget.pipeline, known, more=more, result=result)


def last_line(log: str) -> str:
    """Return the last line of a file that is not blank; empty if there is none."""
    try:
        with Path(log).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _BLOCK))
            lines = file.read(_BLOCK).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")


def _without_running_seconds(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without the seconds of a running step, which the front end counts itself."""
    running = status.get("state") == "running"
    return {name: value for name, value in status.items() if not (running and name == "seconds")}
