"""Routes about a notebook in its current state, saved or not; nothing is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, PipelineError, PipelinesError
from jupyter_pipelines.interfaces.server import schemas
from jupyter_pipelines.interfaces.server.routing import ApiRequest, ApiRoute
from jupyter_pipelines.interfaces.server.run_list_cache import RUN_LIST_CACHE, RUNNING
from jupyter_pipelines.project import Project

if TYPE_CHECKING:
    from jupyter_pipelines.notebook.source.document import NotebookCell
    from jupyter_pipelines.notebook.source.read_result import ReadResult
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step

SELECTION_FIELDS: Mapping[str, Any] = {
    "cells": schemas.CELLS,
    "parameters": schemas.VALUES,
    "to": schemas.NAMES,
    "from": schemas.NAMES,
    "only": schemas.NAMES,
    "force": {"anyOf": [schemas.BOOL, schemas.NAMES]},
}
"""Fields of the body by which part of a pipeline is asked for."""


def register_notebook(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Register a notebook, and return its id."""
    notebook = request.known.meet(request.body["path"])
    return {"id": notebook.id, "path": notebook.name, "name": notebook.path.name}


def graph(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return graph, planned states, diagnostics, and the kind of each cell."""
    reading = reading_of(project, request)
    faults, drawn = list(reading.faults), dict[str, Any](graph=None, statuses=None)
    if reading.pipeline is not None:
        drawn, more = _graph_and_statuses(project, reading.pipeline, request.body.get("parameters") or {})
        faults += more
    runs = RUN_LIST_CACHE.of(project, request.home(project))
    return {
        **drawn,
        "faults": [fault.to_dict() for fault in faults],
        "cells": {cell.id: about for cell, about in _cells(reading) if cell.id},
        "last": runs[0]["run"] if runs else None,
        "active": [run["run"] for run in runs if run["state"] == RUNNING],
    }


def plan(project: Project, request: ApiRequest) -> dict[str, Any]:
    """Return what a run would do, and why."""
    return project.plan(pipeline_of(project, request), **plan_arguments(request.body)).to_dict()


def reading_of(project: Project, request: ApiRequest) -> ReadResult:
    """Return what the notebook is read into."""
    return project.glance(request.document())


def pipeline_of(project: Project, request: ApiRequest) -> Pipeline:
    """Return the pipeline that the notebook makes.

    Raises
    ------
    PipelineError
        It makes none; every fault at once.
    """
    reading = reading_of(project, request)
    if reading.pipeline is None:
        raise PipelineError(*(fault for fault in reading.faults if fault.severity == "error"))
    return reading.pipeline


def plan_arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a selection and values of parameters as a project takes them."""
    force = body.get("force", False)
    return {
        "texts": body.get("parameters") or {},
        "to": body.get("to") or (),
        "start": body.get("from") or (),
        "only": body.get("only") or (),
        "force": force,
    }


def _graph_and_statuses(
    project: Project, pipeline: Pipeline, texts: Mapping[str, str]
) -> tuple[dict[str, Any], Sequence[Diagnostic]]:
    """Return graph and planned statuses; if no plan can be made, only the graph and the diagnostics."""
    from jupyter_pipelines.planning.parameter_values import faults_of
    from jupyter_pipelines.reporting import status_details
    from jupyter_pipelines.reporting.graph_json import critical_path, graph_document, status_document
    from jupyter_pipelines.reporting.step_status import of_plan

    drawn = {"graph": graph_document(pipeline), "statuses": None}
    # Looking at a notebook must not create a store beside it.
    if not project.has_store(pipeline):
        return drawn, faults_of(pipeline, texts=texts)
    try:
        planned = project.plan(pipeline, texts=texts, look=True)
    except PipelinesError as error:
        return drawn, error.faults
    document = planned.to_dict()
    statuses = of_plan(document)
    critical = critical_path(pipeline, statuses)
    return drawn | {
        "statuses": status_document(statuses, more=status_details.of_plan(document), critical=critical)
    }, planned.faults


# Cells


def _cells(reading: ReadResult) -> Iterator[tuple[NotebookCell, dict[str, Any]]]:
    steps = {cell.number: step for step in reading.pipeline or () for cell in step.cells}
    for cell in reading.document.cells:
        step = steps.get(cell.number)
        kind, name = _kind(cell)
        yield cell, {"step": name, "kind": kind, "inferred": _interface(step) if step else None}


def _kind(cell: NotebookCell) -> tuple[str, str | None]:
    from jupyter_pipelines.notebook.code.toplevel import top_level_statements
    from jupyter_pipelines.notebook.headers.split import split_cell

    if cell.kind != "code":
        return cell.kind, None
    split = split_cell(cell.source, cell.number, cell.tags)
    if split.header is not None:
        return split.header.kind, split.header.name or None
    pieces = top_level_statements(split.body)
    return ("shared" if pieces and all(piece.kind != "computed" for piece in pieces) else "exploration"), None


def _interface(step: Step) -> dict[str, Any]:
    return {
        "in": [step_input.name for step_input in step.inputs],
        "out": [output.name for output in step.outputs],
        "params": list(step.parameters),
    }


ROUTES = (
    ApiRoute(
        method="POST",
        path="notebooks",
        work=register_notebook,
        summary="Tell the server of a notebook, by its path below the server's root, and get its id",
        body=schemas.fields(("path",), path=schemas.text(4_096)),
        answer=schemas.answer_with("id", "path", "name"),
    ),
    ApiRoute(
        method="POST",
        path="notebooks/{id}/graph",
        work=graph,
        summary="The graph, what a run would do, faults, and what each cell is; executes nothing",
        body=schemas.fields(cells=schemas.CELLS, parameters=schemas.VALUES),
        answer=schemas.answer_with("graph", "statuses", "faults", "cells", "last", "active"),
    ),
    ApiRoute(
        method="POST",
        path="notebooks/{id}/plan",
        work=plan,
        summary="What a run would do, and why, for each step",
        body=schemas.fields(**SELECTION_FIELDS),
        answer=schemas.answer_with("schema", "steps", "faults"),
    ),
)
