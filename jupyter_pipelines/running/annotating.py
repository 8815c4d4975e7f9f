"""The executed notebook as people will open it: it says what happened, and it is there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_output

from jupyter_pipelines.running.executing import Conduct
from jupyter_pipelines.running.explaining import Verdict
from jupyter_pipelines.running.ticket import Ticket


def annotate(conduct: Conduct, ticket: Ticket, verdict: Verdict | None) -> None:
    """Write into the notebook of `conduct` what became of the step."""
    nb = conduct.notebook
    about = nb.metadata.setdefault("papermill", {})
    about |= {
        "parameters": dict(ticket.parameters),
        "input_path": None,
        "output_path": ticket.publish["notebook"],
        "exception": True if verdict else None,
    }
    nb.metadata["jupyter_pipelines"] = {
        "run": ticket.run,
        "step": ticket.step,
        "attempt": ticket.attempt,
        "state": verdict.state if verdict else "succeeded",
        "error": verdict.fault.to_dict() if verdict else None,
    }
    if verdict is not None and conduct.ending != "raised" and conduct.cell is not None:
        _explain(conduct.cell, verdict)


def _explain(cell: Any, verdict: Verdict) -> None:
    """Show the reason where the kernel could not show it any more."""
    if any(output.get("ename") == verdict.fault.code for output in cell.outputs):
        return
    text = str(verdict.fault).splitlines()
    cell.outputs.append(
        new_output(  # type: ignore[no-untyped-call]
            "error", ename=verdict.fault.code, evalue=verdict.fault.message, traceback=text
        )
    )


def publish(nb: Any, path: Path) -> str:
    """Write a notebook to `path`, whole or not at all, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(nbformat.writes(nb) + "\n")  # type: ignore[no-untyped-call]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)
