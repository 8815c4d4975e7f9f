"""Headers, written and explained: routes that take the cells of a notebook and return texts.

Nothing is written to a file: the front end puts the texts into the cells, where they can be undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jupyter_pipelines.errors import Fault, PlanError
from jupyter_pipelines.interfaces.server import shapes
from jupyter_pipelines.interfaces.server.asking import Request, Route
from jupyter_pipelines.notebook.editing import completing, connecting, renaming, writing
from jupyter_pipelines.notebook.editing.writing import Written
from jupyter_pipelines.project import Project

_PLACE = {"cells": shapes.CELLS, "cell": shapes.text(256), "line": shapes.COUNT, "column": shapes.COUNT}


def header(_: Project, request: Request) -> dict[str, Any]:
    """Write the header of a cell; without a name, take it away."""
    body = request.body
    if not body.get("name"):
        return _one(writing.remove_header(request.document(), body["cell"]))
    written = writing.write_header(request.document(), body["cell"], body["name"], body.get("options") or {})
    return _one(written)


def suggested(_: Project, request: Request) -> dict[str, Any]:
    """Return what a form for the header of a cell begins with."""
    return writing.suggest(request.document(), request.body["cell"])


def renamed(_: Project, request: Request) -> dict[str, Any]:
    """Give a step or an output another name, wherever it is used."""
    body = request.body
    if body["kind"] == "step":
        return _all(renaming.rename_step(request.document(), body["from"], body["to"]))
    if not body.get("step"):
        fault = Fault(code="JP802", message="the step is missing", suggestion="say whose output is renamed: `step`")
        raise PlanError(fault)
    return _all(renaming.rename_output(request.document(), body["step"], body["from"], body["to"]))


def frozen(_: Project, request: Request) -> dict[str, Any]:
    """Write what was inferred into the headers of all steps."""
    return _all(writing.freeze(request.document()))


def connected(_: Project, request: Request) -> dict[str, Any]:
    """Declare an output as an input of another step."""
    return _all(connecting.connect(request.document(), request.body["from"], request.body["to"]))


def completed(_: Project, request: Request) -> dict[str, Any]:
    """Return what may stand at the caret."""
    return completing.complete(*_caret(request)).to_dict()


def hovered(_: Project, request: Request) -> dict[str, Any]:
    """Return what is to be said of the word at the caret."""
    return completing.explain(*_caret(request))


def _caret(request: Request) -> tuple[Any, str, int, int]:
    body = request.body
    return request.document(), body["cell"], body["line"], body["column"]


def _one(written: Written) -> dict[str, Any]:
    (source,) = written.cells.values()
    return {"source": source, "faults": [fault.to_dict() for fault in written.faults]}


def _all(written: Written) -> dict[str, Any]:
    return {"cells": dict(written.cells), "faults": [fault.to_dict() for fault in written.faults]}


def _route(
    path: str, work: Callable[[Project, Request], Mapping[str, Any]], summary: str, body: Any, *answer: str
) -> Route:
    return Route(
        method="POST",
        path=f"notebooks/{{id}}/{path}",
        work=work,
        summary=summary,
        body=body,
        answer=shapes.has(*answer),
    )


_WORDS = shapes.by_name(shapes.nullable(shapes.NAMES), 50)
ROUTES: tuple[Route, ...] = (
    _route(
        "header", header, "Write the header of a cell, or take it away; returns the cell's new text",
        shapes.fields(
            ("cell",), cells=shapes.CELLS, cell=shapes.text(256), name=shapes.nullable(shapes.NAME), options=_WORDS
        ), "source", "faults",
    ),
    _route(
        "suggest", suggested, "What a form for the header of a cell begins with",
        shapes.fields(("cell",), cells=shapes.CELLS, cell=shapes.text(256)), "name", "options", "inferred", "steps",
    ),
    _route(
        "rename", renamed, "Give a step or an output another name wherever it is used; returns new texts of cells",
        shapes.fields(
            ("kind", "from", "to"), **{"cells": shapes.CELLS, "kind": {"enum": ["step", "output"]}, "from": shapes.NAME,
            "to": shapes.NAME, "step": shapes.nullable(shapes.NAME)},
        ), "cells", "faults",
    ),
    _route("freeze", frozen, "Write inferred interfaces into the headers; returns new texts of cells",
           shapes.fields(cells=shapes.CELLS), "cells", "faults"),
    _route(
        "connect", connected, "Declare an output (STEP.NAME) as an input of another step; returns new texts of cells",
        shapes.fields(("from", "to"), **{"cells": shapes.CELLS, "from": shapes.NAME, "to": shapes.NAME}),
        "cells", "faults",
    ),
    _route("complete", completed, "What may stand at the caret of a header",
           shapes.fields(("cell", "line", "column"), **_PLACE), "start", "end", "matches"),
    _route("hover", hovered, "What is to be said of the word at the caret of a header",
           shapes.fields(("cell", "line", "column"), **_PLACE), "text", "from", "to"),
)  # fmt: skip
"""Routes of this module; the front end writes what they return into the cells."""
