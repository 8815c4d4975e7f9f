"""Routes for editing headers: they take the cells of a notebook and return texts.

No file is written: the front end puts the texts into the cells, where they can be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.interfaces.server import schemas
from jupyter_pipelines.interfaces.server.routing import ApiRequest, ApiRoute
from jupyter_pipelines.notebook.editing import completion, connect, rename, write_header
from jupyter_pipelines.notebook.editing.write_header import EditResult
from jupyter_pipelines.project import Project

_PLACE = {"cells": schemas.CELLS, "cell": schemas.text(256), "line": schemas.COUNT, "column": schemas.COUNT}


def header(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Write the header of a cell; without a name, take it away."""
    body = request.body
    if not body.get("name"):
        return _single_cell(write_header.remove_header(request.document(), body["cell"]))
    written = write_header.write_header(request.document(), body["cell"], body["name"], body.get("options") or {})
    return _single_cell(written)


def suggested(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the initial values of a form for the header of a cell."""
    return write_header.suggest(request.document(), request.body["cell"])


def renamed(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Give a step or an output another name, wherever it is used."""
    body = request.body
    if body["kind"] == "step":
        return _all_cells(rename.rename_step(request.document(), body["from"], body["to"]))
    if not body.get("step"):
        fault = Diagnostic(
            code="JP802", message="the step is missing", suggestion="say whose output is renamed: `step`"
        )
        raise PlanError(fault)
    return _all_cells(rename.rename_output(request.document(), body["step"], body["from"], body["to"]))


def frozen(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Write what was inferred into the headers of all steps."""
    return _all_cells(write_header.freeze(request.document()))


def connected(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Declare an output as an input of another step."""
    return _all_cells(connect.connect(request.document(), request.body["from"], request.body["to"]))


def completed(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the completions at the caret."""
    return completion.complete(*_caret(request)).to_dict()


def hovered(_: Project, request: ApiRequest) -> dict[str, Any]:
    """Return the explanation of the word at the caret."""
    return completion.explain(*_caret(request))


def _caret(request: ApiRequest) -> tuple[Any, str, int, int]:
    body = request.body
    return request.document(), body["cell"], body["line"], body["column"]


def _single_cell(written: EditResult) -> dict[str, Any]:
    (source,) = written.cells.values()
    return {"source": source, "faults": [fault.to_dict() for fault in written.faults]}


def _all_cells(written: EditResult) -> dict[str, Any]:
    return {"cells": dict(written.cells), "faults": [fault.to_dict() for fault in written.faults]}


def _route(
    path: str, work: Callable[[Project, ApiRequest], Mapping[str, Any]], summary: str, body: Any, *answer: str
) -> ApiRoute:
    return ApiRoute(
        method="POST",
        path=f"notebooks/{{id}}/{path}",
        work=work,
        summary=summary,
        body=body,
        answer=schemas.answer_with(*answer),
    )


_WORDS = schemas.by_name(schemas.nullable(schemas.NAMES), 50)
ROUTES: tuple[ApiRoute, ...] = (
    _route(
        "header", header, "Write the header of a cell, or take it away; returns the cell's new text",
        schemas.fields(
            ("cell",), cells=schemas.CELLS, cell=schemas.text(256), name=schemas.nullable(schemas.NAME), options=_WORDS
        ), "source", "faults",
    ),
    _route(
        "suggest", suggested, "What a form for the header of a cell begins with",
        schemas.fields(("cell",), cells=schemas.CELLS, cell=schemas.text(256)), "name", "options", "inferred", "steps",
    ),
    _route(
        "rename", renamed, "Give a step or an output another name wherever it is used; returns new texts of cells",
        schemas.fields(
            ("kind", "from", "to"), **{"cells": schemas.CELLS, "kind": {"enum": ["step", "output"]},
            "from": schemas.NAME, "to": schemas.NAME, "step": schemas.nullable(schemas.NAME)},
        ), "cells", "faults",
    ),
    _route("freeze", frozen, "Write inferred interfaces into the headers; returns new texts of cells",
           schemas.fields(cells=schemas.CELLS), "cells", "faults"),
    _route(
        "connect", connected, "Declare an output (STEP.NAME) as an input of another step; returns new texts of cells",
        schemas.fields(("from", "to"), **{"cells": schemas.CELLS, "from": schemas.NAME, "to": schemas.NAME}),
        "cells", "faults",
    ),
    _route("complete", completed, "What may stand at the caret of a header",
           schemas.fields(("cell", "line", "column"), **_PLACE), "start", "end", "matches"),
    _route("hover", hovered, "What is to be said of the word at the caret of a header",
           schemas.fields(("cell", "line", "column"), **_PLACE), "text", "from", "to"),
)  # fmt: skip
"""Routes of this module; the front end writes what they return into the cells."""
