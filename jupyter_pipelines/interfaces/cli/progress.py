"""Progress of a run on a terminal: a live display, or one line for each change where the stream is no terminal."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from jupyter_pipelines.execution.runs.events import (
    Event,
    RunStarted,
    StepFinished,
    StepRetried,
    StepStarted,
    StepWaiting,
    WarningIssued,
)
from jupyter_pipelines.interfaces.cli.command import is_colourful, is_plain, write
from jupyter_pipelines.reporting.format import in_words, plural
from jupyter_pipelines.reporting.live_status import LiveStatus, RunningStep
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import style_of
from jupyter_pipelines.reporting.text import detail

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from jupyter_pipelines.execution.runs.events import RunObserver

REFRESH_RATE = 8
"""Redraws per second."""
_BAR = 22
_TEXT = 60
_MAX_FINISHED_LINES = 8


@contextlib.contextmanager
def progress_observer(
    plan: Mapping[str, Any], stream: TextIO, *, keep: bool = True, late: bool = False
) -> Iterator[RunObserver]:
    """Return a context manager with an observer that shows the progress of a run on `stream`.

    Parameters
    ----------
    plan : Mapping
        The ``plan`` or ``run`` document, with the last duration of each step.
    stream : TextIO
        A terminal for a live display; any other stream gets plain lines.
    keep : bool
        Leave lines of finished steps on the terminal; False if a summary follows on the same terminal.
    late : bool
        The run has already started.
    """
    if not is_colourful(stream):
        yield LineProgress(stream)
        return
    from rich.console import Console
    from rich.live import Live

    screen = LiveProgress(Console(file=stream), _expected(plan), keep=keep, late=late)
    # transient: the display is erased at the end, so that only the summary stays in the scrollback.
    with Live(get_renderable=screen.picture, console=screen.console, refresh_per_second=REFRESH_RATE, transient=True):
        yield screen


def _expected(plan: Mapping[str, Any]) -> dict[str, float]:
    """Return the last duration of each step in seconds."""
    previous_runs = {step["name"]: step.get("previous") or step.get("origin") for step in plan["steps"]}
    return {
        name: float(previous["seconds"])
        for name, previous in previous_runs.items()
        if previous and previous.get("seconds")
    }


class LineProgress:
    """One line for each change.

    Parameters
    ----------
    stream : TextIO
        The stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._plain = is_plain(stream)
        self._following = LiveStatus()

    def __call__(self, *, event: Event) -> None:
        """Take notice of `event`."""
        self._following(event=event)
        match event:
            case RunStarted():
                # A cluster takes as many as it has places for: more than there are steps is no number to show.
                jobs = min(event.jobs, max(1, len(event.steps)))
                self._write(f"run {event.run}: {plural(len(event.steps), 'step')}, {jobs} at a time")
            case StepStarted():
                attempt = f", attempt {event.attempt}" if event.attempt > 1 else ""
                self._say(event.step, "running", attempt)
            case StepWaiting():
                self._say(event.step, "waiting", ", another run is computing it")
            case StepRetried():
                self._say(event.step, "retrying", f": {event.fault.message}" if event.fault else "")
            case StepFinished():
                self._finished(event)
            case WarningIssued():  # one about the whole run is shown in full when the run has ended
                self._write(f"{event.fault}\n" if event.step else f"{event.fault.severity}: {event.fault.message}")

    def _finished(self, event: StepFinished) -> None:
        status = self._following.status(event.step)
        took = f" in {in_words(status.seconds)}" if status.seconds and status.state == "succeeded" else ""
        more = detail(status)
        self._say(event.step, status.state, took + (f", {more}" if more else ""))

    def _say(self, step: str, state: str, more: str) -> None:
        style = style_of(state)
        count = f"[{self._following.finished}/{self._following.total}]"
        self._write(f"{count} {style.plain if self._plain else style.sign} {clean(step)} {style.word}{more}")

    def _write(self, text: str) -> None:
        write("\n".join(clean(line, 500) for line in text.split("\n")), self._stream)


class LiveProgress:
    """A live display of running steps.

    Parameters
    ----------
    console : Console
        The terminal.
    expected : Mapping of str to float
        How long steps took when they ran last, in seconds.
    keep : bool
        Print finished steps above the display; otherwise the last few are shown within it.
    clock : callable
        Returns monotonic seconds.
    late : bool
        Events may arrive long after they happened.
    """

    def __init__(
        self,
        console: Console,
        expected: Mapping[str, float],
        *,
        keep: bool,
        clock: Callable[[], float] = time.monotonic,
        late: bool = False,
    ) -> None:
        self.console = console
        self._expected = expected
        self._keep = keep
        self._over: deque[Text] = deque(maxlen=_MAX_FINISHED_LINES)
        self._following = LiveStatus(clock, late=late)

    def __call__(self, *, event: Event) -> None:
        """Take notice of `event`."""
        self._following(event=event)
        match event:
            case StepFinished():
                self._finished(event)
            case StepRetried():
                self._print(event.step, "retrying", event.fault.message if event.fault else "")
            case WarningIssued():
                self.console.print(clean(event.fault.message, 500), style="yellow", markup=False, highlight=False)

    def picture(self) -> RenderableType:
        """Return the current display for rich."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows = Table.grid(padding=(0, 2, 0, 0))
        # rich draws in a thread of its own while events change the dictionary.
        for running in list(self._following.running.values()):
            rows.add_row(*self._row(running))
        return Group(*list(self._over), rows, Text(self._total(), style="dim"))

    def _row(self, running: RunningStep) -> tuple[RenderableType, ...]:
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        elapsed = self._following.clock() - running.since
        done, total = self._share(running, elapsed)
        bar = ProgressBar(total=total, completed=done, width=_BAR, pulse=total is None, style="bright_black")
        name = Text(f"{style_of('running').sign} {clean(running.step, 40)}", style=style_of("running").colour)
        took = in_words(elapsed) + self._usual(running.step, elapsed)
        attempt = f"attempt {running.attempt}" if running.attempt > 1 else ""
        note = ", ".join(part for part in (attempt, running.place, clean(running.text.strip(), _TEXT)) if part)
        return name, bar, Text(took), Text(note, style="dim", no_wrap=True, overflow="ellipsis")

    def _share(self, running: RunningStep, elapsed: float) -> tuple[float, float | None]:
        """Return how much of a step is done, out of how much: by its last duration, else by its cells."""
        usual = self._expected.get(running.step)
        # Durations below a second are noise and would make the bar jump.
        if usual and usual > 1:
            # Never full before the step has finished, even if it takes longer than last time.
            return min(elapsed, 0.97 * usual), usual
        if running.cell and running.cells:
            return running.cell - 1, running.cells
        return 0, None

    def _usual(self, step: str, elapsed: float) -> str:
        usual = self._expected.get(step)
        if not usual or usual <= 1:
            return ""
        return f" of about {in_words(usual)}" if elapsed < usual else f", usually {in_words(usual)}"

    def _total(self) -> str:
        following = self._following
        parts = [f"{following.finished} of {plural(following.total, 'step')} finished"]
        parts += [f"{following.reused} reused"] if following.reused else []
        parts += [f"about {in_words(following.saved)} saved"] if following.saved >= 0.05 else []
        return ", ".join(parts)

    def _finished(self, event: StepFinished) -> None:
        status = self._following.status(event.step)
        took = in_words(status.seconds) if status.seconds else ""
        self._print(event.step, status.state, ", ".join(part for part in (took, detail(status)) if part))

    def _print(self, step: str, state: str, more: str) -> None:
        from rich.text import Text

        style = style_of(state)
        line = Text(f"{style.sign} {clean(step)} {style.word}", style=style.colour)
        line.append(f"  {clean(more, 300)}", style="dim")
        if self._keep:
            self.console.print(line)
        else:
            self._over.append(line)
