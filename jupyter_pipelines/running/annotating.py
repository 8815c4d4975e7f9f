"""Metadata of the executed notebook: what became of the step; the file is written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_output

from jupyter_pipelines.running.executing import Conduct
from jupyter_pipelines.running.explaining import Verdict
from jupyter_pipelines.running.ticket import Ticket


def annotate(conduct: Conduct, ticket: Ticket, verdict: Verdict | None) -> None:
    """Record in the metadata of the notebook of `conduct` what became of the step."""
    nb = conduct.notebook
    metadata = nb.metadata.setdefault("papermill", {})
    metadata |= {
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
    """Add the fault as an error output to the cell, because the kernel could not send one any more."""
    if any(output.get("ename") == verdict.fault.code for output in cell.outputs):
        return
    text = str(verdict.fault).splitlines()
    cell.outputs.append(
        new_output(  # type: ignore[no-untyped-call]
            "error", ename=verdict.fault.code, evalue=verdict.fault.message, traceback=text
        )
    )


def publish(nb: Any, path: Path) -> str:
    """Write a notebook to `path`, whole or not at all, and return the path; :func:`make_durable` comes later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(nbformat.writes(nb) + "\n", "utf-8")  # type: ignore[no-untyped-call]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return str(path)


def make_durable(path: Path) -> None:
    """Flush a file to the disk, so that it outlasts a power cut; a file that is missing is ignored."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.fsync(file.fileno())
