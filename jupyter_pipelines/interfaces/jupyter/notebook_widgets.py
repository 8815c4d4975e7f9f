"""The widgets of a notebook, and the runs that they follow, no matter which process started them.

A thread polls for runs that are started elsewhere (in a shell, in JupyterLab's panel, by a button) and follows them.
After a run the state is read again from the store and the cells, independently of what was sent before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.execution.runs.events import Event, RunFinished, RunStarted
from jupyter_pipelines.interfaces.jupyter.widget_feed import WidgetFeed
from jupyter_pipelines.interfaces.jupyter.widgets import PipelineWidget, WidgetRequest
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.reporting.status_details import StepStates

if TYPE_CHECKING:
    from jupyter_pipelines.project import Project
    from jupyter_pipelines.project.planning_api import NotebookRef

MAX_WIDGETS = 8
"""Largest number of open widgets of a notebook; the oldest are closed."""
POLL_SECONDS = 1.0
"""Seconds between two polls for runs that were started elsewhere."""
_TURN = 0.1
_TURNS_BETWEEN_LOGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookContext:
    """A notebook and the functions that its widgets need.

    Parameters
    ----------
    project : Project
        The project.
    home : callable
        Returns the paths of the notebook.
    read : callable
        Returns its current pipeline.
    say : callable
        Returns the current states of the steps of a pipeline.
    detach : callable
        Starts a run that outlives this kernel, and returns its id; takes ``to``, ``force`` and ``texts``.
    names : MutableMapping or None
        The namespace that a failed step's inputs are loaded into.
    """

    project: Project
    home: Callable[[], NotebookRef]
    read: Callable[[], Pipeline]
    say: Callable[[Pipeline], StepStates]
    detach: Callable[..., str]
    names: MutableMapping[str, Any] | None = field(default=None, repr=False)


class NotebookWidgets:
    """The widgets of one notebook.

    Parameters
    ----------
    subject : NotebookContext
        The notebook.
    answer : callable
        Called with this object, a widget and a request of its front end.
    ended : callable
        Called after the result of another process's run has been shown.

    Attributes
    ----------
    run : str or None
        The run that was seen last.
    pinned : str or None
        The only run that is shown; None for the newest run.
    """

    def __init__(
        self,
        subject: NotebookContext,
        answer: Callable[[NotebookWidgets, PipelineWidget, WidgetRequest], None],
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self.subject = subject
        self.run: str | None = None
        self.pinned: str | None = None
        self._answer = answer
        self._ended = ended
        self._widgets: list[PipelineWidget] = []
        self._seen: set[str] = set()
        self._under_way: set[str] = set()
        self._missed = False
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._looking: threading.Thread | None = None

    @property
    def widgets(self) -> list[PipelineWidget]:
        """The open widgets."""
        return list(self._widgets)

    def widget(self, pipeline: Pipeline) -> PipelineWidget:
        """Create a widget for the pipeline."""
        widget = PipelineWidget(pipeline, lambda widget, request: self._answer(self, widget, request))
        self._widgets.append(widget)
        while len(self._widgets) > MAX_WIDGETS:
            # Each widget holds a comm and gets every message; cells that are run again leave theirs behind.
            self._widgets.pop(0).close()
        return widget

    def watch_runs(self) -> None:
        """Start the thread that follows running and future runs of the notebook."""
        if self._looking is None:
            # A daemon: it must not keep a kernel alive that is to be restarted.
            self._looking = threading.Thread(target=self._look, name="jupyter-pipelines-stage", daemon=True)
            self._looking.start()

    def refresh(self) -> None:
        """Read the current state and show it; a notebook with errors keeps the last state.

        During a run its progress is shown instead, and the refresh follows when it has ended.
        """
        self._missed = bool(self._under_way)
        if not self._widgets or self._under_way:
            return
        with suppress(PipelinesError):
            pipeline = self.subject.read()
            states = self.subject.say(pipeline)
            for widget in self.widgets:
                widget.draw(pipeline, states.statuses, more=states.more)

    def feed(self, guest: NotebookWidgets) -> Callable[..., None]:
        """Return an observer for a run in this kernel.

        Parameters
        ----------
        guest : NotebookWidgets
            Widgets that show only this run; they get the same events.
        """
        feed = WidgetFeed(lambda: [*self.widgets, *guest.widgets])

        def observe(*, event: Event) -> None:
            if isinstance(event, RunStarted):
                self._claim(event.run)
                guest.pinned = event.run
            feed(event=event)
            if isinstance(event, RunFinished):
                self._over(event.run)

        return observe

    def follow(self, run: str) -> None:
        """Follow a run of another process, unless it is followed already."""
        if self._claim(run):
            threading.Thread(target=self._follow, args=(run,), name="jupyter-pipelines-follow", daemon=True).start()

    def close(self) -> None:
        """End the threads and close all widgets."""
        self._closed.set()
        while self._widgets:
            self._widgets.pop().close()

    def _claim(self, run: str) -> bool:
        with self._lock:
            # The polling thread and the button that started the run both claim it; one of them follows it.
            if run in self._seen:
                return False
            self._seen.add(run)
            self._under_way.add(run)
            self.run = run
            return True

    def _follow(self, run: str) -> None:
        feed = WidgetFeed(lambda: self.widgets)
        try:
            self._pass_on(run, feed)
        except PipelinesError:
            return
        finally:
            feed.close()
            self._over(run)
        self._ended()

    def _over(self, run: str) -> None:
        self._under_way.discard(run)
        if self._missed:
            self.refresh()

    def _pass_on(self, run: str, feed: WidgetFeed) -> None:
        watch, turn = self.subject.project.watch(self.subject.home(), run), 0
        while not watch.ended:
            for event in watch.listen():
                feed(event=event)
            turn += 1
            # Logs are read less often than events: each running step costs a file to open.
            if turn % _TURNS_BETWEEN_LOGS == 0:
                feed.read_logs()
            if self._closed.wait(_TURN):
                return

    def _look(self) -> None:
        begun = False
        # Polling: runs of other processes are found in the folder of the store, which may lie on a network disk without
        # change notifications.
        while not (begun and self._closed.wait(POLL_SECONDS)):
            with suppress(OSError, PipelinesError):
                for run in self._runs():
                    if run not in self._seen:
                        self._adopt_run(run, begun)
            begun = True

    def _runs(self) -> tuple[str, ...]:
        """Return the ids of all runs; does not create a store."""
        project, home = self.subject.project, self.subject.home()
        return project.run_names(home) if project.has_store(home) else ()

    def _adopt_run(self, run: str, begun: bool) -> None:
        """Follow a running run; for a run that has already ended, show its results."""
        document = self.subject.project.find_run(self.subject.home(), run)
        if document is None:
            return  # of another notebook; or its document is not there yet
        if document["state"] == "running":
            self.follow(run)
            return
        self._seen.add(run)
        if begun:
            self.run = run
            self.refresh()
