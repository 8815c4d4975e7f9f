"""The commands ``attach`` and ``cancel``, for runs of other processes and detached runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import click

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.interfaces.cli.command import CommandContext, command, report_faults, write
from jupyter_pipelines.interfaces.cli.run import EXIT_CODES, report_failures, summary
from jupyter_pipelines.interfaces.common_options import normal_names

RUN = click.argument("run", default="last")
_OVER = "is over already: "


@command(examples="attach churn.ipynb\nattach churn.ipynb 3f2a91")
@RUN
def attach(desk: CommandContext, *, run: str) -> int:
    """Show how a run of NOTEBOOK gets on, from its beginning to its end, and answer as `run` does.

    RUN is an id as `runs` lists it, the beginning of an id, or `last`, which is meant when it is left out. It may be of
    any process, and may be over. Ctrl-C ends the showing; the run goes on.
    """
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.reporting.format import short_run

    home = desk.home()
    document = desk.project.run_document(home, run)
    name = str(document["run"])
    try:
        _follow_run(desk, document)
    except KeyboardInterrupt:
        write(f"run {name} goes on; `{desk.command_line('cancel', short_run(name))}` ends it", sys.stderr)
        return EXIT_CODES["cancelled"]
    # Read again by its id: "last" may be another run by the time that this one has ended.
    document = desk.project.run_document(home, name)
    finished = Run.from_dict(document)
    report_faults(finished.warnings)
    report_failures(finished)
    desk.answer(document, lambda: _run_text(desk, document))
    return EXIT_CODES.get(finished.state, 1)


@command(examples="cancel churn.ipynb\ncancel churn.ipynb 3f2a91 --step train\ncancel churn.ipynb --now")
@RUN
@click.option("--step", callback=normal_names, metavar="STEP", help="Only this step, and what cannot do without it.")
@click.option("--now", is_flag=True, help="Do not wait for running steps to clean up.")
def cancel(desk: CommandContext, *, run: str, step: str | None, now: bool) -> None:
    """Ask a run of NOTEBOOK to stop, no matter where it was started: in a shell, in a notebook, or detached.

    RUN is as for `attach`. What is finished is kept. Asking again changes nothing; of what is over already, it is said
    how it ended.
    """
    home = desk.home()
    name = str(desk.project.run_document(home, run)["run"])
    state = desk.project.cancel(home, name, step=step, now=now)
    document = {"schema": "jupyter-pipelines/cancel/1", "run": name, "step": step, "state": state}
    what = f"step `{step}` of run {name}" if step else f"run {name}"
    desk.answer(document, f"{what} is being cancelled" if state == "cancelling" else f"{what} {_OVER}{state}")


def _follow_run(desk: CommandContext, document: Mapping[str, Any]) -> None:
    """Show the events of a run until it has ended."""
    from jupyter_pipelines.interfaces.cli.progress import progress_observer

    # late: events of the past are replayed first, and durations must count from their own times.
    with progress_observer(document, sys.stderr, keep=desk.as_json or not sys.stdout.isatty(), late=True) as observer:
        for event in desk.project.listen(desk.home(), str(document["run"])):
            observer(event=event)


def _run_text(desk: CommandContext, document: Mapping[str, Any]) -> str:
    """Return the result of a run as text: as a graph if the notebook still has the same steps, else as a list."""
    with contextlib.suppress(PipelinesError):
        pipeline = desk.pipeline(warn=False)
        if {step.name for step in pipeline} == {step["name"] for step in document["steps"]}:
            return summary(pipeline, document)
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.reporting.sanitize import clean

    return "\n".join(clean(line, 500) for line in str(Run.from_dict(document)).splitlines())
