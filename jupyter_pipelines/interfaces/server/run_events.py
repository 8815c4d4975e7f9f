"""Events of the runs of registered notebooks for front ends, no matter which process started the runs.

Everything is read from the folders of the runs. One task polls, in a thread, at most ten times a second; it ends when
no notebook was requested for an hour and no run is under way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.execution.runs.events import Event, RunFinished, StepProgress, StepStarted
from jupyter_pipelines.interfaces.jupyter.widget_feed import last_line
from jupyter_pipelines.interfaces.server.run_list_cache import RUN_LIST_CACHE, RUNNING
from jupyter_pipelines.reporting import status_details
from jupyter_pipelines.reporting.graph_json import status_document
from jupyter_pipelines.reporting.live_status import LiveStatus
from jupyter_pipelines.reporting.status_details import StatusDetailsObserver
from jupyter_pipelines.reporting.step_status import of_run
from jupyter_pipelines.reporting.summary import headline

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.follow import RunFollower
    from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry, RegisteredNotebook
    from jupyter_pipelines.notebook.source.read_result import NotebookPaths
    from jupyter_pipelines.project import Project

EVENT_SCHEMA = "urn:jupyter-pipelines:event:run:1"
"""Schema id of the events on Jupyter's event stream."""
PACE, CALM = 0.1, 1.0
"""Seconds between two polls: during a run, and otherwise."""
WATCH_SECONDS = 3600.0
"""Seconds for which new runs of a notebook are looked for after the last request about it."""
# A run creates its folder before its document; a folder that stays empty belongs to a process that died.
_DOCUMENT_TIMEOUT = 60.0
_LOGS = 1.0

SCHEMA: Mapping[str, Any] = {
    "$id": EVENT_SCHEMA,
    "version": "1",
    "title": "A run of a pipeline",
    "description": "Something has happened in a run of a notebook that this server knows.",
    "type": "object",
    "properties": {
        "notebook": {"type": "string", "title": "Id of the notebook"},
        "path": {"type": "string", "title": "Its path below the server's root"},
        "run": {"type": "string", "title": "Id of the run"},
        "state": {"type": "string", "title": "running, succeeded, failed, cancelled or lost"},
        "statuses": {"type": "object", "title": "What is said of steps for which it has changed, by name"},
        "headline": {"type": "string", "title": "All of it in one line"},
        "finished": {"type": "integer", "title": "How many steps are over"},
        "total": {"type": "integer", "title": "How many steps there are"},
    },
    "required": ["notebook", "path", "run", "state", "statuses", "headline", "finished", "total"],
}
"""JSON Schema of the data of an event."""


class FollowedRun:
    """A run that is followed, and the statuses that were sent last."""

    def __init__(self, notebook: RegisteredNotebook, run: str, watch: RunFollower) -> None:
        self.notebook = notebook
        self.run = run
        self.watch = watch
        self._following = LiveStatus()
        self._particulars = StatusDetailsObserver()
        self._logs: dict[str, str] = {}
        self._logs_at = 0.0
        self._told: dict[str, Any] = {}

    def next_event(self) -> dict[str, Any] | None:
        """Return the data of an event, if anything has changed."""
        events = self.watch.listen()
        for event in events:
            self._hear(event)
        if events and isinstance(events[-1], RunFinished):
            return self._end(events[-1])
        if not self._read_logs() and not events:
            return None
        count = f"{self._following.finished} of {self._following.total} steps finished"
        document = status_document(self._following.statuses(), more=self._particulars.more)
        changed = self._changed(document["steps"])
        # An event without changed steps still moves the count, which progress bars show.
        return self._event(RUNNING, changed, count) if changed or events else None

    def _hear(self, event: Event) -> None:
        self._following(event=event)
        self._particulars(event=event)
        if isinstance(event, StepStarted):
            self._logs[event.step] = event.log

    def _read_logs(self) -> bool:
        """Read what running steps have printed last; events report it only when the next cell begins."""
        now = time.monotonic()
        if now - self._logs_at < _LOGS:
            return False
        self._logs_at = now
        for step in [name for name in self._following.running if name in self._logs]:
            text = last_line(self._logs[step])[:500]
            if text:
                progress = StepProgress(run=self.run, at="", step=step, text=text)
                self._hear(progress)
        return bool(self._following.running)

    def _end(self, event: RunFinished) -> dict[str, Any]:
        result = event.result.to_dict()
        known = of_run(result) if result["steps"] else self._following.statuses()
        more = status_details.of_run(result) if result["steps"] else self._particulars.more
        steps = status_document(known, more=more)["steps"]
        return self._event(event.state, self._changed(steps), headline(result))

    def _changed(self, steps: Mapping[str, Any]) -> dict[str, Any]:
        new = {name: _without_running_seconds(status) for name, status in steps.items()}
        changed = {name: status for name, status in new.items() if self._told.get(name) != status}
        self._told |= changed
        return changed

    def _event(self, state: str, changed: Mapping[str, Any], line: str) -> dict[str, Any]:
        return {
            "notebook": self.notebook.id,
            "path": self.notebook.name,
            "run": self.run,
            "state": state,
            "statuses": dict(changed),
            "headline": line,
            "finished": self._following.finished,
            "total": self._following.total,
        }


class RunEventPoller:
    """Polls the runs of registered notebooks for changes.

    Parameters
    ----------
    known : NotebookRegistry
        The notebooks.
    project : Project
        Finds their runs.
    """

    def __init__(self, known: NotebookRegistry, project: Project) -> None:
        self._known = known
        self._project = project
        self._homes: dict[str, NotebookPaths] = {}
        self._seen: dict[str, set[str]] = {}
        self._unborn: dict[str, dict[str, float]] = {}
        self._witnessed: dict[tuple[str, str], FollowedRun] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return bool(self._witnessed) or any(self._unborn.values())

    @property
    def is_needed(self) -> bool:
        """Whether any client may wait for events."""
        return self.is_busy or bool(self._known.requested_within(WATCH_SECONDS))

    def look(self) -> list[dict[str, Any]]:
        """Return the data of new events; reads files, so it is called in a thread."""
        for notebook in self._known.requested_within(WATCH_SECONDS):
            with suppress(PipelinesError, OSError):  # its file or its store has gone
                self._find(notebook)
        return list(self._news())

    def _find(self, notebook: RegisteredNotebook) -> None:
        """Start to follow new runs of a notebook."""
        if notebook.id not in self._homes:
            self._homes[notebook.id] = self._project.home(notebook.path)
        home = self._homes[notebook.id]
        if not self._project.has_store(home):
            self._seen[notebook.id] = set()
            return
        names = self._project.run_names(home)
        # At the first poll only running runs are followed; finished ones would send events of the past.
        if notebook.id not in self._seen:
            self._seen[notebook.id] = set(names)
            fresh = [run["run"] for run in RUN_LIST_CACHE.of(self._project, home) if run["state"] == RUNNING]
        else:
            fresh = [name for name in names if name not in self._seen[notebook.id]]
            self._seen[notebook.id] = set(names)
        now, unborn = time.monotonic(), self._unborn.setdefault(notebook.id, {})
        unborn |= dict.fromkeys(fresh, now)
        for name in list(unborn):
            self._begin(notebook, home, name)
            if (notebook.id, name) in self._witnessed or now - unborn[name] > _DOCUMENT_TIMEOUT:
                del unborn[name]

    def _begin(self, notebook: RegisteredNotebook, home: NotebookPaths, run: str) -> None:
        """Follow a run once its document exists, if it is a run of this notebook."""
        if self._project.find_run(home, run) is not None:
            self._witnessed[notebook.id, run] = FollowedRun(notebook, run, self._project.watch(home, run))

    def _news(self) -> Iterator[dict[str, Any]]:
        for key, followed_run in list(self._witnessed.items()):
            try:
                event = followed_run.next_event()
            except (PipelinesError, OSError):
                event = None
            if event is not None:
                yield event
            # After the event: the last one has the result of the run.
            if followed_run.watch.ended:
                del self._witnessed[key]


class PollTask:
    """The task that emits the events that a poller returns.

    Parameters
    ----------
    teller : RunEventPoller
        The poller.
    emit : callable
        Called with the data of each event.
    """

    def __init__(self, teller: RunEventPoller, emit: Callable[[dict[str, Any]], None]) -> None:
        self._teller = teller
        self._emit = emit
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()

    def wake(self) -> None:
        """Poll soon and keep polling; must be called in the thread of the event loop."""
        self._asked.set()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while True:
            self._asked.clear()
            for event in await asyncio.to_thread(self._teller.look):
                self._emit(event)
            # A server on which no pipelines are used has no task that wakes it up.
            if not self._teller.is_needed:
                return
            await asyncio.sleep(PACE)
            if not self._teller.is_busy:
                # A request ends the pause: it may have started a run.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._asked.wait(), CALM)


def _without_running_seconds(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry without the seconds that go by while a step runs: the front end counts them."""
    running = status.get("state") == "running"
    return {name: value for name, value in status.items() if not (running and name == "seconds")}
