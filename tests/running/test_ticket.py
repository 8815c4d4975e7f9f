from __future__ import annotations

import json
import subprocess
import sys

import pytest

from jupyter_pipelines.errors import Fault, Place
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.running.ticket import Outcome, Progress, Ticket

TICKET = Ticket(
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
PLACE = Place(cell=3, line=2, column=1, length=4, text="a = b")
FAULT = Fault(code="JP300", message="m", suggestion="s", step="fit", place=PLACE, label="here", notes=("n", "o"))
OUTCOME = Outcome(
    ticket="r.fit.1",
    state="failed",
    outputs={"model": Artifact(digest="sha256:0", format="joblib", bytes=5)},
    fault=FAULT,
    error_type="KeyError",
    warnings=(Fault(code="JP213", message="m", suggestion="s", severity="warning"),),
    seconds=1.25,
    started="2026-01-02T03:04:05Z",
    log="/r/fit.log",
    notebook="/r/fit.ipynb",
)


def through_json(document: dict) -> dict:
    return json.loads(json.dumps(document))


def test_tickets_outcomes_and_progress_survive_json() -> None:
    progress = Progress(ticket="r.fit.1", cell=1, cells=2, text="…")
    assert Ticket.from_dict(through_json(TICKET.to_dict())) == TICKET
    assert Outcome.from_dict(through_json(OUTCOME.to_dict())) == OUTCOME
    assert Progress.from_dict(through_json(progress.to_dict())) == progress


def test_a_bare_outcome_survives_json() -> None:
    outcome = Outcome(ticket="a", state="succeeded")
    assert Outcome.from_dict(through_json(outcome.to_dict())) == outcome


def test_a_ticket_can_leave_its_notebook_out() -> None:
    document = TICKET.to_dict(notebook=False)
    assert "notebook" not in document
    assert Ticket.from_dict(document).notebook == {}


def test_what_a_later_version_added_is_left_out() -> None:
    assert Ticket.from_dict(TICKET.to_dict() | {"colour": "red"}) == TICKET


@pytest.mark.parametrize("document", [{}, {"schema": "jupyter-pipelines/ticket/2"}, OUTCOME.to_dict()])
def test_other_documents_are_refused(document: dict) -> None:
    with pytest.raises(ValueError, match="jupyter-pipelines/ticket/1"):
        Ticket.from_dict(document)


def test_the_runner_imports_nothing_that_only_workers_need() -> None:
    heavy = "papermill nbformat nbclient jupyter_client zmq traitlets psutil IPython pandas numpy"
    code = (
        "import sys, jupyter_pipelines.running.ticket, jupyter_pipelines.running.executors.local\n"
        f"print([name for name in {heavy.split()} if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
