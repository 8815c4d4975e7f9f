"""The commands ``run``, ``plan`` and ``why``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_pipelines.interfaces.cli.command import CommandContext, command, is_plain, painter, report_faults, width
from jupyter_pipelines.interfaces.common_options import (
    normal_names,
    parameter_arguments,
    selection_arguments,
    with_selection,
    with_values,
)

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.planning.plan import Plan

EXIT_CODES = {"succeeded": 0, "failed": 1, "cancelled": 130}


@command(
    examples="run churn.ipynb\n"
    "run churn.ipynb -p trees=300 --to train\n"
    "run churn.ipynb --force train --jobs 4 --continue\n"
    "run churn.ipynb --params-file nightly.yaml --json\n"
    "run churn.ipynb --detach"
)
@with_values
@with_selection
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="How many steps at once. [default: cores]")
@click.option("--on", default="local", show_default=True, metavar="TARGET", help="Where steps run.")
@click.option("--continue", "keep_going", is_flag=True, help="After a failure, go on with what does not depend on it.")
@click.option("--detach", is_flag=True, help="Run it in a process of its own, and do not wait: see `attach`.")
def run(desk: CommandContext, *, detach: bool, **options: Any) -> int:
    """Run the pipeline of NOTEBOOK; what is stored already is reused.

    Every step runs in a kernel of its own. Progress goes to stderr, the result to stdout. Ctrl-C cancels what is
    running and keeps what is finished; a second Ctrl-C does not wait for it.
    """
    return _run_detached(desk, **options) if detach else _run_in_foreground(desk, **options)


def _run_detached(desk: CommandContext, *, pairs: Sequence[str], files: Sequence[str], **options: Any) -> int:
    """Start a run that outlives this process, and print the command that attaches to it."""
    from jupyter_pipelines.reporting.format import short_run

    run_options = {name: options.pop(name) for name in _RUN_OPTIONS}
    reading = desk.project.inspect(desk.notebook)
    report_faults(reading.pipeline.warnings if reading.pipeline else ())
    name = desk.project.detach(
        desk.notebook, **parameter_arguments(pairs, files), **selection_arguments(**options), **run_options
    )
    document = desk.project.run_document(desk.home(), name)
    attach_command = desk.command_line("attach", short_run(name))
    desk.answer(document, f"run {name} goes on by itself; `{attach_command}` shows it")
    return 0


_RUN_OPTIONS = ("jobs", "on", "keep_going")


def _run_in_foreground(desk: CommandContext, *, jobs: int | None, on: str, keep_going: bool, **options: Any) -> int:
    from jupyter_pipelines.interfaces.cli.progress import progress_observer

    # Required before the display starts, so that errors of the plan are not drawn over.
    plan = _plan(desk, on=on, **options).require()
    with progress_observer(plan.to_dict(), sys.stderr, keep=desk.as_json or not sys.stdout.isatty()) as observer:
        finished = desk.project.run(plan, jobs=jobs, on=on, keep_going=keep_going, observers=[observer])
    document = finished.to_dict()
    report_faults(finished.warnings)
    report_failures(finished)
    desk.answer(document, lambda: summary(plan.pipeline, document))
    return EXIT_CODES.get(finished.state, 1)


@command(examples="plan churn.ipynb\nplan churn.ipynb -p trees=300 --from features")
@with_values
@with_selection
def plan(desk: CommandContext, **options: Any) -> None:
    """Say for every step of NOTEBOOK what a run would do, and why; nothing runs."""
    plan = _plan(desk, **options)
    report_faults(plan.warnings)
    document = plan.to_dict()
    desk.answer(document, lambda: _planned(plan, document))


@command(examples="why churn.ipynb train\nwhy churn.ipynb train -p trees=300\nwhy churn.ipynb train --dependencies")
@click.argument("step", callback=normal_names)
@with_values
@click.option("--dependencies", is_flag=True, help="Show what its stored result depends on: files, modules, variables.")
def why(
    desk: CommandContext, *, step: str, pairs: Sequence[str], files: Sequence[str], dependencies: bool = False
) -> None:
    """Say why STEP of NOTEBOOK would run or be reused, with old and new."""
    from jupyter_pipelines.planning.dependencies import dependencies_document, dependencies_text
    from jupyter_pipelines.project import require_name, require_step

    pipeline = desk.pipeline()
    require_step(pipeline, step)
    planned = desk.project.plan(pipeline, **parameter_arguments(pairs, files))
    document = planned.to_dict()
    require_name(step, [planned_step["name"] for planned_step in document["steps"]])
    decision = next(planned_step for planned_step in document["steps"] if planned_step["name"] == step)
    record = planned[step].origin or planned[step].previous
    trace = dependencies_document(record) if dependencies and record else None
    answer = {**document, "steps": [decision], **({"trace": trace} if dependencies else {})}
    text = f"\n{dependencies_text(trace)}" if trace else "\n  nothing is stored of it yet" if dependencies else ""
    desk.answer(answer, lambda: _decision_text(decision) + text)


def _plan(
    desk: CommandContext, *, pairs: Sequence[str], files: Sequence[str], on: str = "local", **options: Any
) -> Plan:
    arguments = {**parameter_arguments(pairs, files), **selection_arguments(**options)}
    plan = desk.project.plan_to_run(desk.notebook, on=on, **arguments)
    report_faults(plan.pipeline.warnings)
    return plan


def summary(pipeline: Pipeline, document: Mapping[str, Any]) -> str:
    """Return the result of a run as text for standard output."""
    from jupyter_pipelines.reporting.summary import summarise

    return summarise(pipeline, document, **_terminal())


def _planned(plan: Plan, document: Mapping[str, Any]) -> str:
    from jupyter_pipelines.planning.plan_table import headline
    from jupyter_pipelines.reporting.step_status import of_plan
    from jupyter_pipelines.reporting.text import write as write_graph

    graph = write_graph(plan.pipeline, of_plan(document), **_terminal())
    return f"{graph}\n\n{headline(plan.pipeline.name, plan.steps)}"


def _decision_text(step: Mapping[str, Any]) -> str:
    from jupyter_pipelines.reporting.sanitize import clean
    from jupyter_pipelines.reporting.step_status import origin_text

    reason = step["reason"]
    source = origin_text(step.get("origin"))
    lines = [f"{clean(step['name'])}: {step['decision']}", f"  {clean(reason['text'], 1000)}"]
    lines += [f"  {clean(detail, 1000)}" for detail in reason["details"]]
    return "\n".join([*lines, *([f"  from {source}"] if source else [])])


def report_failures(finished: Run) -> None:
    """Report the faults of failed steps, with the paths of notebook and log."""
    for step in finished.steps.values():
        if step.state == "failed" and step.fault:
            paths = {"executed notebook": step.notebook, "log": step.log}
            where = tuple(f"{what}: {_from_here(path)}" for what, path in paths.items() if path)
            # The path of the log is given relative to the current folder below.
            evidence = [note for note in step.fault.notes if not note.startswith("log: ")]
            report_faults([replace(step.fault, notes=(*evidence[:5], *where))])


def _from_here(path: str) -> str:
    """Return a path relative to the current folder if it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _terminal() -> dict[str, Any]:
    """Return how a graph is written to standard output: signs, colours and width."""
    # By stdout, not stderr: progress may be on a terminal while the result goes to a file.
    return {"plain": is_plain(sys.stdout), "paint": painter(sys.stdout), "width": width(sys.stdout)}
