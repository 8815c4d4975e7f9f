"""The command ``convert``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.execution.blocked_imports import FORMATS, block_imports
from jupyter_pipelines.interfaces.cli.command import CommandContext, command, report_faults, write, write_file
from jupyter_pipelines.interfaces.common_options import FILE_HELP, read_values
from jupyter_pipelines.notebook.headers.units import is_step_name
from jupyter_pipelines.pipeline.identifiers import normal_name


@command(
    examples="convert churn.ipynb -o pipeline.ipynb\n"
    "convert churn.ipynb --dry-run --html changes.html\n"
    "convert churn.ipynb --steps cuts.yaml --drop-display"
)
@click.option("-o", "--output", "target", metavar="FILE", help="The notebook to write. [default: NAME.pipeline.ipynb]")
@click.option("--static", is_flag=True, help="Execute nothing: wider steps, and nothing is proved.")
@click.option("--dry-run", is_flag=True, help="Write no notebook; all else as without it.")
@click.option("--steps", metavar="FILE", help="Names of steps and the cells they begin with, as JSON or YAML.")
@click.option("--drop-display", is_flag=True, help="Leave cells that only show something out of the steps.")
@click.option("--html", "page", metavar="FILE", help="Write a page with original and pipeline side by side.")
def convert(
    desk: CommandContext,
    *,
    target: str | None,
    static: bool,
    dry_run: bool,
    steps: str | None,
    drop_display: bool,
    page: str | None,
) -> int:
    """Make a pipeline of NOTEBOOK, an exploratory notebook, and prove that it shows the same.

    Both are run in fresh kernels and compared cell by cell. NOTEBOOK itself is never written to. The exit code is 0
    when every stable output is the same, 1 when an output differs or nothing was proved, 2 when the notebook or an
    option cannot be read.
    """
    block_imports(*FORMATS)
    result = desk.project.convert(
        desk.notebook,
        target,
        static=static,
        dry_run=dry_run,
        steps=_starts(Path(steps)) if steps else None,
        drop_display=drop_display,
        tell=lambda text: write(f"{text} …", sys.stderr),
    )
    from jupyter_pipelines.verification.conversion_summary import conversion_summary
    from jupyter_pipelines.verification.side_by_side import side_by_side

    report_faults(result.faults)
    if page:
        write_file(Path(page), side_by_side(result, Path(desk.notebook)))
        write(f"{page} written", sys.stderr)
    desk.answer(result.to_dict() | {"notebook": desk.notebook}, lambda: conversion_summary(result))
    return 0 if result.state == "identical" else 1


def _starts(path: Path) -> dict[str, int]:
    """Return the cell that each step begins with; a list of cells gives its first cell."""
    cells_by_step = read_values(path, "steps")
    starts = {
        normal_name(str(name)): min(cells) if isinstance(cells, list) and cells else cells
        for name, cells in cells_by_step.items()
    }
    wrong = next((name for name, cell in starts.items() if type(cell) is not int or not is_step_name(name)), None)
    if wrong is not None:
        message = f"the file of steps `{path}` cannot be used: `{wrong}: {starts[wrong]}`"
        raise PlanError(Diagnostic(code="JP508", message=message, suggestion=FILE_HELP["steps"]))
    return starts
