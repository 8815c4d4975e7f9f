"""The proof: original and pipeline run in fresh kernels, compared, and joined where they differ until they do not."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.converting.conversion import Conversion, Lessons, Wishes
from jupyter_pipelines.notebook.converting.converter import convert
from jupyter_pipelines.notebook.converting.observed import Observed
from jupyter_pipelines.notebook.document import Document
from jupyter_pipelines.proving.lessons import learn_from_difference, learn_from_failure, learn_from_fault
from jupyter_pipelines.proving.outputs import Shown, shown
from jupyter_pipelines.proving.results import CellResult, Result
from jupyter_pipelines.proving.stages import stage
from jupyter_pipelines.running.rehearsing import Rehearsal, all_at_once, rehearse
from jupyter_pipelines.running.run import Run

MOST_ROUNDS = 10
Outputs = Mapping[int, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What running a pipeline came to.

    Parameters
    ----------
    faults : tuple of Fault
        Why it could not be run at all.
    run : Run or None
        The run.
    """

    faults: tuple[Fault, ...] = ()
    run: Run | None = None


Runner = Callable[[Path, Path], Tried]
"""Runs the pipeline notebook at a path with the store at another."""


def prove(
    document: Document,
    *,
    folder: Path,
    run: Runner,
    raises: frozenset[int] = frozenset(),
    kernel: str | None = None,
    wishes: Wishes | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Result:
    """Convert a notebook and prove that the pipeline shows the same.

    Parameters
    ----------
    document : Document
        The notebook.
    folder : Path
        Its folder.
    run : callable
        Runs a pipeline.
    raises : frozenset of int
        Cells that may end with an exception.
    kernel : str or None
        The kernel in which the original runs.
    wishes : Wishes
        What the user wants.
    tell : callable
        Hears what is being done.
    """
    proof = _Proof(document, folder, run, raises, kernel, wishes or Wishes(), tell)
    with ExitStack() as stack:
        return proof.prove(stack)


@dataclass(slots=True)
class _Proof:
    document: Document
    folder: Path
    run: Runner
    raises: frozenset[int]
    kernel: str | None
    wishes: Wishes
    tell: Callable[[str], None]
    folders: dict[str, str] = field(default_factory=dict)
    plain: list[Rehearsal] = field(default_factory=list)
    seen: dict[int, Observed] = field(default_factory=dict)
    kept: dict[str, dict[int, list[Any]]] = field(default_factory=dict)
    joined: list[str] = field(default_factory=list)
    rounds: int = 0
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    def prove(self, stack: ExitStack) -> Result:
        self.tell("running the original, plain and observed")
        plain, observed = all_at_once([partial(self._rehearse, observe=observe) for observe in (False, True)])
        self.plain.append(plain)
        for one in (plain, observed):
            if one.stopped is not None:
                return self._refused(*one.stopped)
        self.raises = frozenset(plain.errors)
        self.seen = {
            one["cell"]: Observed.from_dict(
                one, shows=bool(plain.outputs.get(one["cell"]) or observed.outputs.get(one["cell"]))
            )
            for one in observed.seen
        }
        store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jp-proof-")))
        return self._settle(store)

    def _rehearse(self, *, observe: bool) -> Rehearsal:
        cells = [(cell.number, cell.source) for cell in self.document.cells if cell.kind == "code"]
        started = time.monotonic()
        with stage(self.folder) as place:
            self.folders[str(place)] = str(self.folder)
            done = rehearse(cells, folder=place, kernel=self.kernel, observe=observe, errors_expected=self.raises)
        self.seconds["observed" if observe else "original"] = time.monotonic() - started
        return replace(done, seen=tuple(_renamed(one, str(place), str(self.folder)) for one in done.seen))

    # Trying

    def _settle(self, store: Path) -> Result:
        lessons = Lessons()
        best: Result | None = None
        while True:
            made = convert(self.document, seen=self.seen, raises=self.raises, wishes=self.wishes, lessons=lessons)
            result, learnt = self._try(made, store, lessons)
            best = result if best is None or _rank(result) <= _rank(best) else best
            if learnt is None or self.rounds >= MOST_ROUNDS:
                return replace(best, joined=tuple(self.joined), rounds=self.rounds, seconds=self._seconds())
            lessons, why = learnt
            self.joined.append(why)
            self.tell(why)

    def _try(self, made: Conversion, store: Path, lessons: Lessons) -> tuple[Result, tuple[Lessons, str] | None]:
        self.rounds += 1
        self.tell(f"running the pipeline of {len(made.steps)} steps")
        with stage(self.folder) as place:
            self.folders[str(place)] = str(self.folder)
            path = place / "pipeline-on-trial.ipynb"
            path.write_text(json.dumps(made.notebook), "utf-8")
            tried = self.run(path, store)
            outputs = self._outputs(made, tried)
        if tried.run is None:
            return self._unreadable(made, tried.faults), learn_from_fault(made, tried.faults, lessons)
        failed = next((step for step in tried.run.steps.values() if step.state == "failed"), None)
        cells = self._compare(made, outputs)
        result = Result(state="identical", conversion=made, cells=cells)
        if failed is not None:
            return replace(result, state="differs", faults=_faults(failed)), learn_from_failure(made, failed, lessons)
        wrong = [one for one in cells if one.state == "differs"]
        if not wrong:
            return result, None
        return replace(result, state="differs"), learn_from_difference(made, wrong[0].cell, lessons)

    def _outputs(self, made: Conversion, tried: Tried) -> Outputs:
        """Return what the cells of the original show in the pipeline."""
        found: dict[int, list[Any]] = {}
        for step in tried.run.steps.values() if tried.run else ():
            key = str(step.key)
            if step.notebook and step.state != "reused":
                self.kept[key] = _shown_by(made, Path(step.notebook))
            for number, outputs in self.kept.get(key, {}).items():
                found.setdefault(number, []).extend(outputs)
        return found

    # Comparing

    def _compare(self, made: Conversion, outputs: Outputs) -> tuple[CellResult, ...]:
        cells = [cell.number for cell in self.document.cells if cell.kind == "code"]
        found = tuple(self._compare_one(made, number, outputs) for number in cells)
        if any(one.state in ("differs", "unstable") for one in found) and len(self.plain) < 2:
            self.tell("running the original once more: which cells differ by themselves")
            self.plain += all_at_once([partial(self._rehearse, observe=False)])
            found = tuple(self._compare_one(made, number, outputs) for number in cells)
        return found

    def _compare_one(self, made: Conversion, number: int, outputs: Outputs) -> CellResult:
        after = outputs.get(number, [])
        if number in made.dropped:
            return CellResult(cell=number, state="left-out")
        originals = [one.outputs.get(number, []) for one in self.plain]
        exact = [self._shown(one) for one in originals]
        result = self._shown(after)
        if result in exact:
            return CellResult(cell=number, state="identical")
        if len(set(exact)) > 1:
            loose = {self._shown(one, loose=True) for one in originals}
            same = len(loose) == 1 and self._shown(after, loose=True) in loose
            return CellResult(cell=number, state="identical" if same else "unstable")
        if self._is_told_elsewhere(exact[0], result, outputs.get(-number, [])):
            return CellResult(cell=number, state="identical")
        return CellResult(cell=number, state="differs", before=_told(exact[0]), after=_told(result))

    def _is_told_elsewhere(self, before: Shown, after: Shown, shared: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether all that is missing are warnings of imports, which are told where the shared code runs."""
        said = {line for kind, text in self._shown(shared) if kind == "stderr" for line in text.split("\n")}
        differing = set(before) ^ set(after)
        missing = {line for kind, text in before for line in text.split("\n") if (kind, text) in differing}
        return bool(said) and {kind for kind, _ in differing} == {"stderr"} and missing <= said | _lines_of(after)

    def _shown(self, outputs: Sequence[Mapping[str, Any]], *, loose: bool = False) -> Shown:
        return shown(outputs, folders=self.folders, loose=loose)

    # Ends

    def _refused(self, cell: int, why: str) -> Result:
        fault = refusal(cell, why)
        return Result(state="refused", faults=(fault,), seconds=self._seconds())

    def _unreadable(self, made: Conversion, faults: tuple[Fault, ...]) -> Result:
        cells = [cell.number for cell in self.document.cells if cell.kind == "code"]
        left = tuple(CellResult(cell=number, state="differs", after="the pipeline cannot be read") for number in cells)
        return Result(state="differs", conversion=made, cells=left, faults=faults)

    def _seconds(self) -> dict[str, float]:
        return {**self.seconds, "total": time.monotonic() - self.started}


def refusal(cell: int, why: str) -> Fault:
    """Return why a notebook that does not run cannot be converted."""
    if "StdinNotImplementedError" in why:
        message, help_text = f"cell {cell} asks for input", "give what it asks for a name: `answer = …`"
    elif cell == 0:
        message, help_text = why, "install the kernel, or choose another one for the notebook"
    else:
        message = f"cell {cell} of the original fails: {why}"
        help_text = "make it run from top to bottom first, or tag a cell `raises-exception` if it is meant to fail"
    return Fault(code="JP701", message=message, suggestion=help_text)


def _renamed(document: Mapping[str, Any], place: str, folder: str) -> dict[str, Any]:
    """Return what was observed with paths as they are in the notebook's own folder."""
    found: dict[str, Any] = json.loads(json.dumps(document).replace(json.dumps(place)[1:-1], json.dumps(folder)[1:-1]))
    return found


def _rank(result: Result) -> int:
    return sum(one.state == "differs" for one in result.cells)


def _faults(step: Any) -> tuple[Fault, ...]:
    return (step.fault,) if step.fault else ()


def _shown_by(made: Conversion, path: Path) -> dict[int, list[Any]]:
    """Return the outputs in the notebook of a step, by the number of the original cell."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
    except (OSError, ValueError):
        return {}
    found: dict[int, list[Any]] = {}
    for cell in cells:
        about = cell["metadata"].get("jupyter_pipelines", {})
        for number in _origins(made, about):
            found.setdefault(number, []).extend(cell.get("outputs", []))
    return found


def _origins(made: Conversion, about: Mapping[str, Any]) -> list[int]:
    """Return the original cells of a cell of a step's notebook: of shared code, the negative number of each."""
    cells = made.notebook["cells"]
    if about.get("role") == "step":
        origin = cells[about["cell"] - 1]["metadata"]["jupyter_pipelines"]["origin"]
        return [origin] if origin is not None else []
    found = [cells[one["cell"] - 1]["metadata"]["jupyter_pipelines"]["origin"] for one in about.get("origins", ())]
    return [-number for number in dict.fromkeys(found) if number]


def _lines_of(shown_pieces: Shown) -> set[str]:
    return {line for kind, text in shown_pieces if kind == "stderr" for line in text.split("\n")}


def _told(pieces: Shown) -> str:
    return "\n".join(
        text if kind in ("stdout", "stderr", "text/plain", "error") else f"[{kind} {text[:12]}]"
        for kind, text in pieces
    )
