"""Diagnose why a step did not succeed: turn exit status, logs and stacks into an error at a line of the user's cell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Diagnostic, SourceLocation, closest_name
from jupyter_pipelines.execution.kernel_side.cell_log import CELLS, ERROR, STACK, place_of
from jupyter_pipelines.execution.ticket import State, StepTicket, fault_from_dict

_FRAMES = 4
_LINES = 3
_BLOCK = 8192
_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL"})
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_STACK_LINE = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$')
_AGAIN = "then run again: what is done already is reused"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureEvidence:
    """Evidence about the end of a step.

    Parameters
    ----------
    ticket : StepTicket
        The ticket of the attempt.
    folder : Path
        The private folder of the attempt, with the kernel's error and stack files.
    cells : sequence of mappings
        The code cells of the notebook, in order of execution.
    reached : int
        Number of cells that were started.
    exit_code : int or None
        Exit status of the kernel, negative for the signal that killed it; None if it lives.
    out_of_memory : bool
        Linux's OOM killer killed a process of this control group meanwhile.
    memory : int
        Largest resident memory of the kernel that was sampled, in bytes.
    age : float
        Seconds since the start of the kernel.
    """

    ticket: StepTicket
    folder: Path
    cells: Sequence[Mapping[str, Any]] = ()
    reached: int = 0
    exit_code: int | None = None
    out_of_memory: bool = False
    memory: int = 0
    age: float = 0.0

    @property
    def step(self) -> str:
        """Name of the step."""
        return self.ticket.step

    def log_notes(self, lines: int = _LINES) -> tuple[str, ...]:
        """Return the last lines of the log, and its path."""
        path = Path(self.ticket.publish["log"])
        last = tuple(f"printed last: {line}" for line in last_lines(path, lines))
        return (*last, f"log: {path}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDiagnosis:
    """The diagnosis of a step that did not succeed: its state, and the error to show."""

    state: State
    fault: Diagnostic
    error_type: str | None = None


def timed_out(evidence: FailureEvidence) -> FailureDiagnosis:
    """Return the diagnosis of a step that took too long."""
    fault = Diagnostic(
        code="JP304",
        message=f"step `{evidence.step}` took longer than {evidence.ticket.timeout:g} s and was stopped",
        suggestion="give it more time with `--timeout`, or find out what it waits for",
        step=evidence.step,
        notes=evidence.log_notes(),
    )
    return FailureDiagnosis(
        state="timed-out", fault=_with_location(fault, _innermost_location(evidence), "it was here", evidence)
    )


def cancelled(evidence: FailureEvidence) -> FailureDiagnosis:
    """Return the diagnosis of a step that was cancelled."""
    fault = Diagnostic(
        code="JP306",
        message=f"step `{evidence.step}` was cancelled",
        suggestion="run again to go on: what is done already is reused",
        step=evidence.step,
    )
    return FailureDiagnosis(state="cancelled", fault=fault)


def died(evidence: FailureEvidence) -> FailureDiagnosis:
    """Return the diagnosis of a step whose kernel ended before it did."""
    from jupyter_pipelines.execution.kernels.processes import signal_name

    code = evidence.exit_code or 0
    name = signal_name(-code) if code < 0 else ""
    after = f"after {evidence.age:.1f} s"
    if name:
        fault = Diagnostic(
            code="JP301",
            message=f"the kernel of step `{evidence.step}` was killed by {name} {after}",
            suggestion=_after_signal(name, evidence),
            step=evidence.step,
            notes=(*_memory_notes(evidence), *evidence.log_notes()),
        )
    else:
        fault = Diagnostic(
            code="JP302",
            message=f"the kernel of step `{evidence.step}` ended with status {code} {after}, before the step did",
            suggestion=f"look for what calls `os._exit({code})` in the step or in a library, {_AGAIN}",
            step=evidence.step,
            notes=evidence.log_notes(),
        )
    return FailureDiagnosis(
        state="died", fault=_with_location(fault, _innermost_location(evidence), "it was here", evidence)
    )


def not_started(evidence: FailureEvidence, why: str, known: tuple[str, ...] = ()) -> FailureDiagnosis:
    """Return the diagnosis of a step whose kernel did not start.

    Parameters
    ----------
    evidence : FailureEvidence
        Evidence of the attempt.
    why : str
        The reason, as a clause.
    known : tuple of str
        Names of the installed kernels, if the requested one is not installed.
    """
    fault = Diagnostic(
        code="JP305",
        message=f"the kernel of step `{evidence.step}` did not start: {why}",
        suggestion=_another_kernel(evidence.ticket.kernel or "", known),
        step=evidence.step,
        notes=(f"installed: {', '.join(known)}",) if known else evidence.log_notes(5),
    )
    return FailureDiagnosis(state="died", fault=fault)


def raised(evidence: FailureEvidence, reply: Mapping[str, Any]) -> FailureDiagnosis:
    """Return the diagnosis of a step that raised an exception, left early or asked for input.

    Parameters
    ----------
    evidence : FailureEvidence
        Evidence of the attempt.
    reply : Mapping
        The kernel's execute_reply, used if the kernel wrote no error file.
    """
    error = _error(evidence.folder) or {"type": reply.get("ename", "error"), "message": reply.get("evalue", "")}
    kind = str(error["type"])
    # Errors that `step_io` raised are diagnostics already: they are shown as they are, without a stack.
    if error.get("faults"):
        return FailureDiagnosis(state="failed", fault=_first_fault(error["faults"], evidence), error_type=kind)
    frames = [_placed_frame(frame, evidence) for frame in error.get("frames", ())]
    make = {"SystemExit": _left_early, "StdinNotImplementedError": _asked_for_input}.get(kind, _raised)
    places = [place for place, _ in frames if place is not None]
    fault = make(evidence, error, tuple(text for _, text in frames))
    return FailureDiagnosis(
        state="failed", fault=_with_location(fault, places[-1] if places else None, "", evidence), error_type=kind
    )


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last `count` lines of a text file that are not blank, each cut to a readable length."""
    try:
        with path.open("rb") as file:
            # From the end: the watchdog calls this twice a second, and a log may have gigabytes.
            file.seek(max(0, file.seek(0, 2) - _BLOCK))
            text = file.read(_BLOCK).decode("utf-8", "replace")  # limited: a step may be writing 100 MB meanwhile
    except OSError:
        return []
    # Progress bars rewrite their line after a carriage return: only the last state is of interest.
    lines = (line.rpartition("\r")[2] for line in _ESCAPES.sub("", text).replace("\r\n", "\n").split("\n"))
    return [line.strip()[:200] for line in lines if line.strip()][-count:]


def readable_stack(evidence: FailureEvidence) -> str:
    """Return the stack that a crash left behind, innermost first, in terms of the user's cells and files."""
    frames = (_placed_frame(frame, evidence) for frame in _stack(evidence.folder))
    return "".join(f"  {text}\n" for _, text in frames)


def _raised(evidence: FailureEvidence, error: Mapping[str, Any], frames: tuple[str, ...]) -> Diagnostic:
    first, _, other_lines = str(error["message"]).strip().partition("\n")
    continuation = [line.strip() for line in other_lines.splitlines() if line.strip()][:2]
    cause = [f"caused by {str(error['cause']).splitlines()[0][:200]}"] if error.get("cause") else []
    where = list(frames[-_FRAMES:]) if len(frames) > 1 else []
    return Diagnostic(
        code="JP300",
        message=f"step `{evidence.step}` raised {error['type']}{': ' if first else ''}{first[:300]}",
        suggestion=f"look into it with `%pipeline debug {evidence.step}`, mend it, {_AGAIN}",
        step=evidence.step,
        notes=(*continuation, *where, *cause)[:7],
    )


def _left_early(evidence: FailureEvidence, error: Mapping[str, Any], frames: tuple[str, ...]) -> Diagnostic:
    call = error.get("called") or f"sys.exit({str(error['message'])[:100]})"
    return Diagnostic(
        code="JP303",
        message=f"step `{evidence.step}` left early: it called `{call}`",
        suggestion="let the step run to its end; to report a failure, raise an exception",
        step=evidence.step,
        notes=frames[-_FRAMES:] if len(frames) > 1 else (),
    )


def _asked_for_input(evidence: FailureEvidence, _: Mapping[str, Any], frames: tuple[str, ...]) -> Diagnostic:
    return Diagnostic(
        code="JP309",
        message=f"step `{evidence.step}` asked for input, and no user can answer while a pipeline runs",
        suggestion="make it a parameter: put it into the `%%params` cell and set it with `-p NAME=VALUE`",
        step=evidence.step,
        notes=frames[-_FRAMES:] if len(frames) > 1 else (),
    )


def _first_fault(documents: Sequence[Mapping[str, Any]], evidence: FailureEvidence) -> Diagnostic:
    """Return the first diagnostic that :mod:`step_io` raised in the kernel, with the others as notes."""
    first, *others = [fault_from_dict(document) for document in documents]
    notes = (*first.notes, *(other.message for other in others))
    return replace(first, step=first.step or evidence.step, notes=notes)


def _after_signal(name: str, evidence: FailureEvidence) -> str:
    if name == "SIGKILL" and evidence.out_of_memory:
        return "let it use less memory (smaller chunks, fewer columns), or run it where there is more"
    if name in _CRASHES:
        return f"a compiled library crashed: update it, or avoid the call named above, {_AGAIN}"
    return "find out who sent the signal, and run again: what is done already is reused"


def _memory_notes(evidence: FailureEvidence) -> Iterator[str]:
    if evidence.out_of_memory:
        yield "the system ran out of memory while it ran, and killed a process for it"
    if evidence.memory:
        yield f"it held {evidence.memory / 1e6:,.0f} MB of memory when it was last looked at"


def _another_kernel(name: str, known: tuple[str, ...]) -> str:
    if known:
        near = closest_name(name, known)
        return f"write `--kernel {near}`" if near else f"install it, or use one of: {', '.join(known)}"
    return "look into the log; the kernel needs the packages `ipykernel` and `jupyter-pipelines`"


def _with_location(
    fault: Diagnostic, place: SourceLocation | None, label: str, evidence: FailureEvidence
) -> Diagnostic:
    place = place or _place(evidence.reached, 0, evidence)
    return replace(fault, place=fault.place or place, label=fault.label or label)


def _error(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / ERROR).read_text("utf-8")))
    except (OSError, ValueError):
        return None


def _innermost_location(evidence: FailureEvidence) -> SourceLocation | None:
    """Return the innermost location in one of the user's cells in the last stack; None if there is none."""
    places = (_placed_frame(frame, evidence)[0] for frame in _stack(evidence.folder))
    return next((place for place in places if place is not None), None)


def _stack(folder: Path) -> list[dict[str, Any]]:
    """Return the frames of the last recorded stack that are in the user's cells or files, innermost first."""
    # faulthandler appends a stack for each signal and crash; the last one belongs to the end.
    try:
        text = (folder / STACK).read_text("utf-8", "replace")
    except OSError:
        return []
    last = text[text.rfind("most recent call first") :] if "most recent call first" in text else text
    names = _cell_names(folder)
    matches = (_STACK_LINE.match(line) for line in last.splitlines())
    frames = ((match, place_of(match["file"], int(match["line"]), names)) for match in matches if match)
    return [place | {"function": match["function"]} for match, place in frames if place]


def _cell_names(folder: Path) -> dict[str, tuple[int, int]]:
    try:
        lines = (folder / CELLS).read_text("utf-8").splitlines()
    except OSError:
        return {}
    rows = (line.split("\t") for line in lines)
    return {name: (int(count), int(offset)) for count, offset, name in rows}


def _placed_frame(frame: Mapping[str, Any], evidence: FailureEvidence) -> tuple[SourceLocation | None, str]:
    """Return the location of a frame in the user's notebook, None if it is elsewhere, and the frame as text."""
    function = "" if frame["function"] == "<module>" else f", in {frame['function']}"
    if "cell" not in frame:
        text = _line_of(Path(frame["file"]), frame["line"])
        return None, f"{_short(frame['file'], evidence)}, line {frame['line']}{function}: {text}"
    place = _place(frame["cell"], frame["line"], evidence)
    if place is None:
        return _shared_frame(frame, function, evidence)
    return place, f"cell {place.cell}, line {place.line}{function}: {place.text.strip()}"


def _place(count: int, line: int, evidence: FailureEvidence) -> SourceLocation | None:
    """Return the location in the user's notebook of a line of code cell number `count`; line 0 is its first line.

    None if the cell was rendered for the step and has no counterpart there.
    """
    if not 0 < count <= len(evidence.cells):
        return None
    cell = evidence.cells[count - 1]
    metadata = cell["metadata"].get("jupyter_pipelines", {})
    if metadata.get("cell") is None:
        return None
    return SourceLocation(
        cell=int(metadata["cell"]), line=max(line, 1) + int(metadata.get("offset") or 0), text=_text_of(cell, line)
    )


def _shared_frame(
    frame: Mapping[str, Any], function: str, evidence: FailureEvidence
) -> tuple[SourceLocation | None, str]:
    """Return location and text of a frame in shared code, which is rendered into one cell of the step's notebook."""
    # The cell's metadata lists, in order, where each piece of code came from: the last one above the line holds it.
    cell = evidence.cells[min(frame["cell"], len(evidence.cells)) - 1]
    origins = cell["metadata"].get("jupyter_pipelines", {}).get("origins", ())
    preceding = [origin for origin in origins if origin["line"] <= frame["line"]]
    text = _text_of(cell, frame["line"])
    if not preceding:
        return None, f"the step's own notebook{function}: {text.strip()}"
    last_origin = preceding[-1]
    if "start" not in last_origin:
        where = last_origin.get("file") or f"cell {last_origin['cell']}"
        return None, f"{where}{function}: {text.strip()}"
    place = SourceLocation(
        cell=last_origin["cell"], line=last_origin["start"] + frame["line"] - last_origin["line"], text=text
    )
    return place, f"cell {place.cell}, line {place.line}{function}: {text.strip()}"


def _text_of(cell: Mapping[str, Any], line: int) -> str:
    lines = str(cell["source"]).split("\n")
    return lines[line - 1] if 0 < line <= len(lines) else ""


def _short(file: str, evidence: FailureEvidence) -> str:
    path, cwd = Path(file), Path(evidence.ticket.cwd)
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else file


def _line_of(path: Path, line: int) -> str:
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return lines[line - 1].strip() if 0 < line <= len(lines) else ""
