from __future__ import annotations

import json
import subprocess
import sys

import pytest

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.artifacts import Artifact

TICKET = StepTicket(
    id="r.fit.1",
    run="r",
    step="fit",
    notebook={"cells": [{"source": "x"}], "nbformat": 4},
    path="/r/fit.ticket.json",
    cwd="/project",
    store="/store",
    publish={"notebook": "/r/fit.ipynb", "log": "/r/fit.log"},
    attempt=2,
    parameters={"trees": 3},
    inputs={"X": {"kind": "artifact", "digest": "sha256:0", "format": "arrow"}, "y": {"kind": "missing"}},
    outputs={"model": {"kind": "value", "format": None}},
    timeout=1.5,
    kernel="python3",
    environment={"A": "b"},
)
PLACE = SourceLocation(cell=3, line=2, column=1, length=4, text="a = b")
FAULT = Diagnostic(code="JP300", message="m", suggestion="s", step="fit", place=PLACE, label="here", notes=("n", "o"))
OUTCOME = StepOutcome(
    ticket="r.fit.1",
    state="failed",
    outputs={"model": Artifact(digest="sha256:0", format="joblib", bytes=5)},
    fault=FAULT,
    error_type="KeyError",
    warnings=(Diagnostic(code="JP213", message="m", suggestion="s", severity="warning"),),
    seconds=1.25,
    started="2026-01-02T03:04:05Z",
    log="/r/fit.log",
    notebook="/r/fit.ipynb",
)


def through_json(document: dict) -> dict:
    return json.loads(json.dumps(document))


def test_tickets_outcomes_and_progress_survive_json() -> None:
    progress = TicketProgress(ticket="r.fit.1", cell=1, cells=2, text="…")
    assert StepTicket.from_dict(through_json(TICKET.to_dict())) == TICKET
    assert StepOutcome.from_dict(through_json(OUTCOME.to_dict())) == OUTCOME
    assert TicketProgress.from_dict(through_json(progress.to_dict())) == progress


def test_a_bare_outcome_survives_json() -> None:
    outcome = StepOutcome(ticket="a", state="succeeded")
    assert StepOutcome.from_dict(through_json(outcome.to_dict())) == outcome


def test_a_ticket_can_leave_its_notebook_out() -> None:
    document = TICKET.to_dict(notebook=False)
    assert "notebook" not in document
    assert StepTicket.from_dict(document).notebook == {}


def test_what_a_later_version_added_is_left_out() -> None:
    assert StepTicket.from_dict(TICKET.to_dict() | {"colour": "red"}) == TICKET


@pytest.mark.parametrize("document", [{}, {"schema": "jupyter-pipelines/ticket/2"}, OUTCOME.to_dict()])
def test_other_documents_are_refused(document: dict) -> None:
    with pytest.raises(ValueError, match="jupyter-pipelines/ticket/1"):
        StepTicket.from_dict(document)


def test_the_runner_imports_nothing_that_only_workers_need() -> None:
    heavy = "papermill nbformat nbclient jupyter_client zmq traitlets psutil IPython pandas numpy"
    code = (
        "import sys, jupyter_pipelines.execution.ticket, jupyter_pipelines.execution.executors.local\n"
        f"print([name for name in {heavy.split()} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
