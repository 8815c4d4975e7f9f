"""The commands of ``%pipeline``: those of the command line, for the open notebook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from jupyter_pipelines.errors import Diagnostic, NotebookError
from jupyter_pipelines.execution.runs.result import Run
from jupyter_pipelines.interfaces.common_options import normal_names, texts_of
from jupyter_pipelines.interfaces.jupyter import display
from jupyter_pipelines.interfaces.jupyter.graph_display import GraphDisplay, LiveGraphDisplay
from jupyter_pipelines.interfaces.jupyter.session import KernelSession
from jupyter_pipelines.interfaces.jupyter.step_debugging import load_for_debugging
from jupyter_pipelines.interfaces.jupyter.step_states import statuses
from jupyter_pipelines.pipeline.graph import Pipeline

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.events import RunObserver
    from jupyter_pipelines.planning.plan import Plan

PARAMETER = click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="Value of a parameter.")
FORCE = click.option(
    "--force", multiple=True, is_flag=False, flag_value="", metavar="[STEP]", help="Compute again; all, or this step."
)
STEPS = click.argument("steps", nargs=-1, callback=normal_names, metavar="[STEP]...")
RUN = click.argument("run", default="last")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def pipeline() -> None:
    """Show, plan, run and inspect the pipeline of this notebook."""


@pipeline.command()
@click.pass_obj
def show(session: KernelSession) -> None:
    """Show the graph; it is updated while cells and runs change the state of its steps."""
    pipeline = _read(session)
    if display.can_show_widgets(session.shell):
        display.show(session, pipeline)
        return
    board = GraphDisplay(pipeline)
    _draw(session, board)
    # Without widgets the picture is drawn again by the kernel after each cell.
    session.watch(partial(_draw, session, board))


@pipeline.command()
@STEPS
@PARAMETER
@FORCE
@click.option("--jobs", type=click.IntRange(min=1), help="How many steps at once; the number of cores by default.")
@click.option("--on", default="local", show_default=True, help="Where steps run.")
@click.option("--continue", "keep_going", is_flag=True, help="After a failure, go on with what does not depend on it.")
@click.option("--detach", is_flag=True, help="Run it in a process that outlives this kernel, and do not wait.")
@click.pass_obj
def run(session: KernelSession, /, detach: bool, **options: Any) -> None:
    """Run the pipeline, or the part of it up to these steps; an interrupt of the kernel cancels it."""
    (_run_detached if detach else _run_in_foreground)(session, **options)


def _run_detached(
    session: KernelSession, *, steps: tuple[str, ...], jobs: int | None, on: str, keep_going: bool, **options: Any
) -> None:
    about = {"to": steps, "jobs": jobs, "on": on, "keep_going": keep_going, **_plan_arguments(**options)}
    name = session.project.detach(session.source(), cells=session.newer_texts(), **about)
    pipeline = _read(session)
    if display.can_show_widgets(session.shell):
        display.show_detached(session, pipeline, name)
    print(f"run {name} goes on by itself, whatever becomes of this kernel; `%pipeline attach` shows it")


def _run_in_foreground(
    session: KernelSession, *, steps: tuple[str, ...], jobs: int | None, on: str, keep_going: bool, **options: Any
) -> None:
    plan = _plan(session, on=on, to=steps, **_plan_arguments(**options)).require()
    with _showing_run(session, _read(session)) as observer:
        finished = session.project.run(plan, jobs=jobs, on=on, keep_going=keep_going, observers=[observer])
    # Before the error is raised: the states must be right also when the run has failed.
    session.redraw()
    finished.raise_for_state()
    _note_differences(session, finished, options["parameters"])


def _note_differences(session: KernelSession, finished: Run, parameters: tuple[str, ...]) -> None:
    """Print a line if values in the kernel differ from the results of a run."""
    names = session.shell.user_ns
    # Most kernels have none of them, and need not import what compares them.
    if any(output.name in names for step in finished.pipeline or () for output in step.outputs):
        from jupyter_pipelines.interfaces.jupyter.live_check import difference_note

        note = difference_note(session, finished, parameters)
        if note:
            print(note)


@contextmanager
def _showing_run(session: KernelSession, pipeline: Pipeline) -> Iterator[RunObserver]:
    """Return a context manager with an observer that shows a run, as a widget or as a picture."""
    if not display.can_show_widgets(session.shell):
        yield LiveGraphDisplay(pipeline)
        return
    observer, exhibit = display.show_run(session, pipeline)
    try:
        yield observer
    finally:
        # The final picture is saved with the notebook also when the run is interrupted.
        exhibit.show(update=True)


@pipeline.command()
@RUN
@click.pass_obj
def attach(session: KernelSession, run: str) -> None:
    """Show how a run gets on that goes on elsewhere, or went; an interrupt ends the showing, not the run."""
    home = session.home()
    name = str(session.project.run_document(home, run)["run"])
    try:
        with _showing_run(session, _read(session)) as observer:
            for event in session.project.listen(home, name):
                observer(event=event)
    except KeyboardInterrupt:
        # The run belongs to another process, which an interrupt of this kernel does not reach.
        print(f"run {name} goes on; `%pipeline cancel` ends it")
        return
    finished = Run.from_dict(session.project.run_document(home, name))
    session.redraw()
    finished.raise_for_state()


@pipeline.command()
@RUN
@click.option("--step", callback=normal_names, metavar="STEP", help="Only this step, and what cannot do without it.")
@click.option("--now", is_flag=True, help="Do not wait for running steps to clean up.")
@click.pass_obj
def cancel(session: KernelSession, run: str, step: str | None, now: bool) -> None:
    """Ask a run of this notebook to stop, no matter where it was started; what is finished is kept."""
    home = session.home()
    name = str(session.project.run_document(home, run)["run"])
    state = session.project.cancel(home, name, step=step, now=now)
    what = f"step `{step}` of run {name}" if step else f"run {name}"
    print(f"{what} is being cancelled" if state == "cancelling" else f"{what} is over already: {state}")


@pipeline.command()
@STEPS
@PARAMETER
@FORCE
@click.pass_obj
def plan(session: KernelSession, /, steps: tuple[str, ...], **options: Any) -> None:
    """Say for every step what a run would do, and why; nothing runs."""
    plan = _plan(session, to=steps, **_plan_arguments(**options))
    _read(session)
    print(plan)


@pipeline.command()
@click.argument("step", callback=normal_names)
@PARAMETER
@click.option("--dependencies", is_flag=True, help="Show what its stored result depends on: files, modules, variables.")
@click.pass_obj
def why(session: KernelSession, step: str, parameters: tuple[str, ...], dependencies: bool) -> None:
    """Say why STEP would run or be reused, with old and new."""
    from jupyter_pipelines.planning.dependencies import dependencies_document, dependencies_text

    decision = session.project.why(_read(session), step, texts=texts_of(parameters))
    print(f"{decision.name}: {decision.decision}", decision.reason.text, *decision.reason.details, sep="\n  ")
    record = decision.origin or decision.previous
    if dependencies:
        print(dependencies_text(dependencies_document(record)) if record else "  nothing is stored of it yet")


@pipeline.command()
@PARAMETER
@click.option("--live", is_flag=True, help="Compare the values in this kernel with the stored outputs, too.")
@click.pass_obj
def check(session: KernelSession, parameters: tuple[str, ...], live: bool) -> None:
    """List every fault at once; executes nothing."""
    texts = texts_of(parameters)
    faults = session.project.check(session.source(), texts=texts, cells=session.newer_texts())
    print("\n\n".join(map(str, faults)) or "no faults")
    if live and not any(fault.severity == "error" for fault in faults):
        from jupyter_pipelines.interfaces.jupyter.live_check import live_table

        pipeline = _read(session)
        print()
        print(live_table(session, pipeline, session.project.plan(pipeline, texts=texts)))


@pipeline.command()
@click.argument("name", metavar="STEP.NAME", callback=normal_names)
@click.pass_obj
def load(session: KernelSession, name: str) -> None:
    """Load the output STEP.NAME, as the last run left it, into the namespace."""
    pipeline = _read(session)
    value = session.project.load(pipeline, name)
    variable = name.rpartition(".")[2]
    session.shell.user_ns[variable] = value
    outdated = session.project.outdated(pipeline, name.rpartition(".")[0] or name)
    print(f"`{variable}` loaded: {type(value).__name__}" + (f" (out of date: {outdated})" if outdated else ""))


@pipeline.command()
@click.argument("step", callback=normal_names)
@click.pass_obj
def debug(session: KernelSession, step: str) -> None:
    """Load the inputs that STEP had when it failed last, and name its executed notebook."""
    _read(session)
    failure = load_for_debugging(session, step, session.shell.user_ns)
    print(f"error[{failure['error']['code']}]: {failure['error']['message']}")
    print(f"  executed notebook: {failure['notebook']}")
    print(f"  loaded: {', '.join(failure['loaded']) or 'nothing, it takes no inputs'}")


@pipeline.command()
@click.pass_obj
def runs(session: KernelSession) -> None:
    """List earlier runs, newest first."""
    from jupyter_pipelines.reporting.summary import runs_table

    print(runs_table(session.project.runs(_read(session))))


@pipeline.command()
@click.argument("first")
@click.argument("second")
@click.pass_obj
def diff(session: KernelSession, first: str, second: str) -> None:
    """Compare two runs: ids, their beginnings, `last`, `last~1`."""
    print(session.project.diff(_read(session), first, second))


@pipeline.command()
@click.argument("code")
def explain(code: str) -> None:
    """Say what the error CODE means, and what to do about it."""
    from jupyter_pipelines.reporting.error_docs import explain as explain_code

    print(explain_code(code))


@pipeline.command()
@click.pass_obj
def freeze(session: KernelSession) -> None:
    """Write inferred interfaces into the headers of the saved notebook."""
    if session.notebook is None:
        raise NotebookError(_no_notebook())
    cells = session.project.freeze(session.notebook)
    changed = f"headers written in cells {', '.join(map(str, cells))}; reload the notebook from disk"
    print(changed if cells else "nothing to write: every interface is declared")


@pipeline.command()
@click.option("-o", "--output", "target", metavar="FILE", help="The notebook to write. [default: NAME.pipeline.ipynb]")
@click.option("--static", is_flag=True, help="Execute nothing: wider steps, and nothing is proved.")
@click.option("--dry-run", is_flag=True, help="Write nothing.")
@click.option("--drop-display", is_flag=True, help="Leave cells that only show something out of the steps.")
@click.pass_obj
def convert(session: KernelSession, target: str | None, static: bool, dry_run: bool, drop_display: bool) -> None:
    """Make a pipeline of the saved, exploratory notebook, and prove that it shows the same."""
    from jupyter_pipelines.verification.conversion_summary import conversion_summary

    if session.notebook is None:
        raise NotebookError(_no_notebook())
    result = session.project.convert(
        session.notebook, target, static=static, dry_run=dry_run, drop_display=drop_display
    )
    print(conversion_summary(result))


def _plan(session: KernelSession, **options: Any) -> Plan:
    return session.project.plan_to_run(session.source(), cells=session.newer_texts(), **options)


def _read(session: KernelSession) -> Pipeline:
    """Return the pipeline, and print the steps whose executed cells are newer than the saved notebook."""
    pipeline = session.read()
    unsaved = session.unsaved()
    names = dict.fromkeys(step.name for step in pipeline for cell in step.cells if (cell.id or "") in unsaved)
    if names:
        print(f"note: executed since the notebook was saved, and counted as executed: {', '.join(names)}")
    return pipeline


def _draw(session: KernelSession, board: GraphDisplay) -> None:
    board.pipeline = session.read()
    board.show(statuses(session, board.pipeline, session.project.plan(board.pipeline, look=True)))


def _plan_arguments(*, parameters: tuple[str, ...], force: tuple[str, ...]) -> dict[str, Any]:
    return {"texts": texts_of(parameters), "force": True if "" in force else force}


def _no_notebook() -> Diagnostic:
    return Diagnostic(
        code="JP104",
        message="this session does not know its notebook",
        suggestion="use `jupyter pipelines freeze NOTEBOOK` in a shell, or set JUPYTER_PIPELINES_NOTEBOOK",
    )
