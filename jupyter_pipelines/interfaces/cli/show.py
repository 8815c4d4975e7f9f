"""The commands ``check``, ``show`` and ``freeze``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jupyter_pipelines.errors import Diagnostic, PlanError, shell_path
from jupyter_pipelines.interfaces.cli.command import (
    CommandContext,
    check_document,
    command,
    format_fault,
    is_plain,
    painter,
    width,
    write,
    write_file,
)
from jupyter_pipelines.interfaces.common_options import parameter_arguments, with_values
from jupyter_pipelines.interfaces.strict_json import as_json

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.reporting.step_status import StepStatus

FORMATS = ("text", "mermaid", "svg", "html", "json", "graphml", "dot")
_ENDINGS = {
    ".svg": "svg",
    ".html": "html",
    ".htm": "html",
    ".json": "json",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".md": "mermaid",
    ".markdown": "mermaid",
    ".graphml": "graphml",
    ".dot": "dot",
    ".gv": "dot",
    ".txt": "text",
}
_NOTEBOOK_ENDINGS = (".ipynb", ".qmd", ".py")
_MARKDOWN = (".md", ".markdown")
_BINARY_ENDINGS = (".png", ".pdf", ".ps", ".eps", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of pictures that no format can have; Graphviz makes some of them."""
_DATA = ("json", "graphml")
"""Formats of the graph alone, for which no plan is made."""


@command(examples="check churn.ipynb\ncheck churn.ipynb -p trees=many --json")
@with_values
def check(desk: CommandContext, *, pairs: Sequence[str], files: Sequence[str]) -> int:
    """List every fault of NOTEBOOK and of values for its parameters; executes nothing.

    The exit code is 0 when there are at most warnings, else 2.
    """
    parameters = parameter_arguments(pairs, files)
    faults = desk.project.check(desk.notebook, parameters["parameters"], parameters["texts"])
    errors = sum(fault.severity == "error" for fault in faults)
    desk.answer(check_document(faults), lambda: _listed(faults, errors))
    return 2 if errors else 0


@command(examples="show churn.ipynb\nshow churn.ipynb -o graph.svg\nshow churn.ipynb --format mermaid")
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by the ending of FILE, else text]")
@click.option("-o", "--output", "target", metavar="FILE", help="Write to a file instead of stdout.")
def show(desk: CommandContext, *, form: str | None, target: str | None) -> None:
    """Show the graph of NOTEBOOK, with what a run would do where results are stored; executes nothing."""
    path = Path(target) if target else None
    form = _format(desk, path, "json" if desk.as_json else form)
    pipeline = desk.pipeline()
    content = _WRITERS[form](pipeline, {} if form in _DATA else _statuses(desk, pipeline), path is None)
    if path is not None and form == "mermaid" and _ending(path) in _MARKDOWN:
        content = f"```mermaid\n{content.rstrip()}\n```\n"
    if path is None:
        write(content.rstrip("\n"))
    else:
        write_file(path, content)
        write(f"{path} written", sys.stderr)


@command(examples="freeze churn.ipynb")
def freeze(desk: CommandContext) -> None:
    """Write inferred interfaces into the headers of NOTEBOOK.

    Nothing else in the file changes. Close the notebook in JupyterLab first, or reload it from disk afterwards.
    """
    cells = desk.project.freeze(desk.notebook)
    document = {"schema": "jupyter-pipelines/freeze/1", "notebook": desk.notebook, "cells": list(cells)}
    written = f"headers written in cells {', '.join(map(str, cells))}"
    desk.answer(document, written if cells else "nothing to write: every interface is declared")


def _format(desk: CommandContext, path: Path | None, form: str | None) -> str:
    """Return the format to write: what is asked for, unless the file's ending names another, else what that names.

    Raises
    ------
    PlanError
        The file's ending is that of a notebook, of another format, or of none that can be written.
    """
    ending = _ending(path) if path else ""
    # A slip such as `show -o churn.ipynb` would overwrite the notebook with its drawing.
    if path is not None and (ending in _NOTEBOOK_ENDINGS or _is_same_file(path, desk.notebook)):
        raise PlanError(_is_notebook(path))
    if path is None or not ending:
        return form or "text"
    named = _ENDINGS.get(ending)
    if ending in _BINARY_ENDINGS or (named is None and form is None):
        raise PlanError(_no_such_format(desk, path, ending))
    # Every format is text, so a `.txt` file may hold each; so may a file with an ending that means nothing here.
    if form is not None and named not in (form, "text", None):
        raise PlanError(_contradiction(path, ending, str(named), form))
    return form or str(named)


def _is_same_file(path: Path, notebook: str) -> bool:
    try:
        return path.samefile(notebook)
    except OSError:
        return False


def _ending(path: Path) -> str:
    return (path.suffix or (path.name if path.name in _ENDINGS else "")).lower()


def _listed(faults: Sequence[Diagnostic], errors: int) -> str:
    from jupyter_pipelines.reporting.format import plural

    counts = [plural(errors, "error"), plural(len(faults) - errors, "warning")]
    total = ", ".join(count for count in counts if not count.startswith("0 "))
    return "\n\n".join([*(format_fault(fault, sys.stdout) for fault in faults), total or "no faults"])


def _statuses(desk: CommandContext, pipeline: Pipeline) -> Mapping[str, StepStatus]:
    """Return the planned status of each step, empty if there is no store; planning would create the store."""
    from jupyter_pipelines.project import STORE_FOLDER, STORE_VARIABLE
    from jupyter_pipelines.reporting.step_status import of_plan

    url = desk.store or os.environ.get(STORE_VARIABLE) or str(pipeline.root / STORE_FOLDER)
    if not Path(url.removeprefix("file://")).is_dir():
        return {}
    try:
        return of_plan(desk.project.plan(pipeline, look=True).to_dict())
    except PlanError:
        return {}  # a parameter has no value yet: there is no plan, but there is a graph


def _text(pipeline: Pipeline, statuses: Mapping[str, StepStatus], terminal: bool) -> str:
    from jupyter_pipelines.reporting.text import write as write_graph

    if not terminal:
        return write_graph(pipeline, statuses)
    stream = sys.stdout
    return write_graph(pipeline, statuses, plain=is_plain(stream), paint=painter(stream), width=width(stream))


def _mermaid(pipeline: Pipeline, statuses: Mapping[str, StepStatus], _: bool) -> str:
    from jupyter_pipelines.reporting.mermaid import write_mermaid

    return write_mermaid(pipeline, statuses)


def _svg(pipeline: Pipeline, statuses: Mapping[str, StepStatus], _: bool) -> str:
    from jupyter_pipelines.reporting.svg.svg import draw

    return draw(pipeline, statuses)


def _html(pipeline: Pipeline, statuses: Mapping[str, StepStatus], _: bool) -> str:
    from jupyter_pipelines.reporting.svg.html_page import write_page

    return write_page(pipeline, statuses)


def _json(pipeline: Pipeline, _: Mapping[str, StepStatus], __: bool) -> str:
    return as_json(pipeline.to_dict()) + "\n"


def _graphml(pipeline: Pipeline, _: Mapping[str, StepStatus], __: bool) -> str:
    from jupyter_pipelines.reporting.graphml import write_graphml

    return write_graphml(pipeline)


def _dot(pipeline: Pipeline, statuses: Mapping[str, StepStatus], _: bool) -> str:
    from jupyter_pipelines.reporting.dot import write_dot

    return write_dot(pipeline, statuses)


_WRITERS: Mapping[str, Callable[[Pipeline, Mapping[str, StepStatus], bool], str]] = {
    "text": _text,
    "mermaid": _mermaid,
    "svg": _svg,
    "html": _html,
    "json": _json,
    "graphml": _graphml,
    "dot": _dot,
}


def _is_notebook(path: Path) -> Diagnostic:
    return Diagnostic(
        code="JP604", message=f"`{path}` is a notebook and is not written to", suggestion=f"give a file {_THAT_ENDS}"
    )


def _no_such_format(desk: CommandContext, path: Path, ending: str) -> Diagnostic:
    if ending in _BINARY_ENDINGS:
        suggestion = f"give a file {_THAT_ENDS}"
        name = ending.removeprefix(".")
        drawn = desk.command_line("show", "--format", "dot")
        note = f"Graphviz can make it: {drawn} | dot -T{name} -o {shell_path(str(path))}"
        return Diagnostic(
            code="JP604", message=f"`show` cannot write `{ending}` files", suggestion=suggestion, notes=(note,)
        )
    suggestion = f"give a file {_THAT_ENDS}, or add `--format` with one of: {', '.join(FORMATS)}"
    return Diagnostic(code="JP604", message=f"no format has the ending `{ending}`", suggestion=suggestion)


def _contradiction(path: Path, ending: str, named: str, form: str) -> Diagnostic:
    endings = [ending for ending, name in _ENDINGS.items() if name == form]
    return Diagnostic(
        code="JP604",
        message=f"`{path}` is to be written as {form}, and `{ending}` is the ending of {named}",
        suggestion=f"give a file that ends in {endings[0]}, or `--format {named}`",
    )


_THAT_ENDS = "that ends in .svg, .html, .json, .graphml, .dot, .mmd, .md or .txt"
