"""The result of a conversion: a verdict, and the state of every cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.converting.conversion_types import ConvertedNotebook
from jupyter_pipelines.notebook.source.document import NotebookDocument

SCHEMA = "jupyter-pipelines/convert/1"
CellState = Literal["identical", "unstable", "cut", "differs", "left-out", "unproven"]
State = Literal["identical", "differs", "unproven", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """The verification result of one code cell of the original.

    Parameters
    ----------
    cell : int
        Its number.
    state : str
        ``identical``, ``unstable`` (two runs of the original differ by themselves), ``cut`` (identical as far as the
        notebook of a step keeps what is printed), ``differs``, ``left-out`` or ``unproven``.
    before, after : str
        What it shows in the original and in the pipeline, where that differs.
    """

    cell: int
    state: CellState
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationResult:
    """The result of a conversion.

    Parameters
    ----------
    state : str
        ``identical``, ``differs``, ``unproven`` or ``refused``.
    conversion : ConvertedNotebook or None
        The converted notebook; None when there is none.
    cells : tuple of CellResult
        Every code cell.
    joined : tuple of str
        Why steps were joined after a trial run.
    faults : tuple of Diagnostic
        Why it was refused, or what to look at.
    rounds : int
        How often the pipeline was run.
    seconds : Mapping of str to float
        How long the original, the rehearsal and all together took.
    original : NotebookDocument or None
        What was converted.
    written : str or None
        The file that holds the pipeline.
    """

    state: State
    conversion: ConvertedNotebook | None = None
    cells: tuple[CellResult, ...] = ()
    joined: tuple[str, ...] = ()
    faults: tuple[Diagnostic, ...] = ()
    rounds: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    original: NotebookDocument | None = None
    written: str | None = None

    @property
    def unstable(self) -> int:
        """How many cells differ by themselves."""
        return sum(cell.state == "unstable" for cell in self.cells)

    @property
    def cut(self) -> int:
        """How many cells print more than the notebook of a step keeps."""
        return sum(cell.state == "cut" for cell in self.cells)

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        if self.state == "refused":
            return f"not convertible: {self.faults[0].message}; {self.faults[0].suggestion}"
        if self.state == "unproven":
            return "not proven: nothing was executed"
        if self.state == "differs":
            cells = [str(cell.cell) for cell in self.cells if cell.state == "differs"]
            return f"differs: cell{'s' * (len(cells) != 1)} {', '.join(cells)}"
        exceptions = [
            _pluralized(self.unstable, "unstable cell"),
            _pluralized(self.cut, "text that is cut", "texts that are cut"),
        ]
        return (
            " but for ".join(["identical", " and ".join(filter(None, exceptions))]) if any(exceptions) else "identical"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the ``convert`` document."""
        conversion = self.conversion
        return {
            "schema": SCHEMA,
            "state": self.state,
            "verdict": self.verdict,
            "unstable": self.unstable,
            "written": self.written,
            "steps": [_step(step) for step in conversion.steps] if conversion else [],
            "parameters": [{"name": name, "value": value, "cell": cell} for name, value, cell in conversion.parameters]
            if conversion
            else [],
            "shared": [{"cell": cell, "names": list(names)} for cell, names in conversion.shared.items()]
            if conversion
            else [],
            "setup": list(conversion.settings) if conversion else [],
            "cells": [self._cell(cell) for cell in self.cells],
            "joined": list(self.joined),
            "names": {"passed": conversion.passed, "bound": conversion.bound}
            if conversion
            else {"passed": 0, "bound": 0},
            "rounds": self.rounds,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "faults": [fault.to_dict() for fault in self.faults],
        }

    def _cell(self, cell: CellResult) -> dict[str, Any]:
        step = self.conversion.step_of(cell.cell) if self.conversion else None
        document: dict[str, Any] = {"cell": cell.cell, "state": cell.state, "step": step.name if step else None}
        return document | ({"original": cell.before, "pipeline": cell.after} if cell.state == "differs" else {})


def _pluralized(count: int, singular: str, plural: str = "") -> str:
    return f"{count} {singular if count == 1 else plural or singular + 's'}" if count else ""


def _step(step: Any) -> dict[str, Any]:
    return {
        "name": step.name,
        "cells": list(step.cells),
        "inputs": list(step.inputs),
        "outputs": list(step.outputs),
        "why": list(step.why),
        "no_cache": step.uncached or None,
    }
