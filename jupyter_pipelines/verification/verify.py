"""The verification loop of conversions: runs original and pipeline, and joins steps until their outputs agree."""

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

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.runs.result import Run, StepRun
from jupyter_pipelines.execution.worker.whole_notebook_run import (
    NotebookRunResult,
    run_concurrently,
    run_whole_notebook,
)
from jupyter_pipelines.notebook.converting.conversion_types import (
    ConvertedNotebook,
    ConvertOptions,
    RepairHints,
    with_folder,
)
from jupyter_pipelines.notebook.converting.convert import convert
from jupyter_pipelines.notebook.converting.observation import CellTrace
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.result_lifetime import asked_elsewhere
from jupyter_pipelines.verification.normalize_outputs import Shown, is_cut, shown
from jupyter_pipelines.verification.repair import (
    repair_for_difference,
    repair_for_failure,
    repair_for_fault,
    repair_for_warnings,
)
from jupyter_pipelines.verification.results import CellResult, VerificationResult
from jupyter_pipelines.verification.sandbox import nearby_files, sandbox
from jupyter_pipelines.verification.stability import MAX_ORIGINALS, MAX_TRIALS, Doubt, judge, uses_unstable_values
from jupyter_pipelines.verification.wavering_outputs import OutputHistory, suspicion

MAX_ROUNDS = 10
Outputs = Mapping[int, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRun:
    """The outcome of running a pipeline.

    Parameters
    ----------
    faults : tuple of Diagnostic
        Why it could not be run at all.
    run : Run or None
        The run.
    pipeline : Pipeline or None
        What ran.
    """

    faults: tuple[Diagnostic, ...] = ()
    run: Run | None = None
    pipeline: Pipeline | None = None


Runner = Callable[[Path, Path, Sequence[str]], TrialRun]
"""Runs the pipeline notebook at a path with the store at another, and computes the named steps in any case."""


def verify(
    document: NotebookDocument,
    *,
    folder: Path,
    run: Runner,
    raises: frozenset[int] = frozenset(),
    kernel: str | None = None,
    options: ConvertOptions | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> VerificationResult:
    """Convert a notebook and prove that the pipeline shows the same.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    folder : Path
        Its folder.
    run : callable
        Runs a pipeline.
    raises : frozenset of int
        Cells that may end with an exception.
    kernel : str or None
        The kernel in which the original runs.
    options : ConvertOptions
        Options that the user gave.
    tell : callable
        Called with a line for each stage of the work.
    """
    loop = _VerificationLoop(document, folder, run, raises, kernel, options or ConvertOptions(), tell)
    with ExitStack() as stack:
        return loop.prove(stack)


@dataclass(slots=True)
class _VerificationLoop:
    document: NotebookDocument
    folder: Path
    run: Runner
    raises: frozenset[int]
    kernel: str | None
    wishes: ConvertOptions
    tell: Callable[[str], None]
    folders: dict[str, str] = field(default_factory=dict)
    plain: list[NotebookRunResult] = field(default_factory=list)
    seen: dict[int, CellTrace] = field(default_factory=dict)
    kept: dict[str, dict[int, list[Any]]] = field(default_factory=dict)
    looks: list[Sequence[Mapping[str, Any]]] = field(default_factory=list)
    restless: bool = False
    told: list[int] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    rounds: int = 0
    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    history: OutputHistory = field(default_factory=OutputHistory)
    trial: TrialRun = field(default_factory=TrialRun)
    place: Path | None = None

    def prove(self, stack: ExitStack) -> VerificationResult:
        self.tell("running the original, plain and observed")
        # Two runs: the observer must not change what is compared, and their difference shows what is not deterministic.
        plain, observed = run_concurrently([partial(self._rehearse, observe=observe) for observe in (False, True)])
        self.plain.append(plain)
        for rehearsal in (plain, observed):
            if rehearsal.stopped is not None:
                return self._refused(*rehearsal.stopped)
        self.raises = frozenset(plain.errors)
        self.looks.append(observed.seen)
        self.restless = self._differ(plain, observed)
        self.seen = {trace["cell"]: self._observed(trace, plain, observed) for trace in observed.seen}
        # One store for all rounds: steps that a repair does not touch are reused.
        store = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jp-proof-")))
        return self._settle(store)

    def _observed(self, document: Mapping[str, Any], *runs: NotebookRunResult) -> CellTrace:
        shows = any(rehearsal.outputs.get(document["cell"]) for rehearsal in runs)
        return CellTrace.from_dict(document, shows=shows, given=nearby_files(document["read"], self.folder))

    def _rehearse(self, *, observe: bool) -> NotebookRunResult:
        cells = [(cell.number, cell.source) for cell in self._code()]
        started = time.monotonic()
        with sandbox(self.folder) as copy:
            self.folders[str(copy)] = str(self.folder)
            rehearsal = run_whole_notebook(
                cells, folder=copy, kernel=self.kernel, observe=observe, errors_expected=self.raises
            )
        self.seconds["observed" if observe else "original"] = time.monotonic() - started
        return replace(
            rehearsal, seen=tuple(_with_original_paths(trace, str(copy), str(self.folder)) for trace in rehearsal.seen)
        )

    # Trying

    def _settle(self, store: Path) -> VerificationResult:
        hints = RepairHints()
        best: VerificationResult | None = None
        while True:
            conversion = convert(self.document, seen=self.seen, raises=self.raises, options=self.wishes, hints=hints)
            result, repair = self._try(conversion, store, hints)
            # The last of equally good results: its repairs are those that are reported.
            if best is None or _rank(result) <= _rank(best):
                best, trial, used = result, self.trial, hints
            # The number of rounds is limited, as each of them may take as long as the original.
            if repair is None or self.rounds >= MAX_ROUNDS:
                best = self._marked(best, trial, used, store)
                faults = (*best.faults, *self._not_compared())
                joined, seconds = tuple(self.joined), self._seconds()
                return replace(best, joined=joined, faults=faults, rounds=self.rounds, seconds=seconds)
            hints, why = repair
            self.joined.append(why)
            self.tell(why)

    def _try(
        self, conversion: ConvertedNotebook, store: Path, hints: RepairHints
    ) -> tuple[VerificationResult, tuple[RepairHints, str] | None]:
        self.rounds += 1
        self.tell(f"running the pipeline of {len(conversion.steps)} steps")
        trial = self.trial = self._run_with_original(conversion, store)
        if trial.run is None:
            return self._unreadable(conversion, trial.faults), repair_for_fault(conversion, trial.faults, hints)
        outputs = _outputs(conversion, trial, self.kept)
        failed = next((step for step in trial.run.steps.values() if step.state == "failed"), None)
        if failed is not None:
            cells = tuple(
                self._result(cell.number, self._judge(conversion, cell.number, [outputs]), outputs)
                for cell in self._code()
            )
            result = VerificationResult(state="differs", conversion=conversion, cells=cells, faults=_faults(failed))
            return result, repair_for_failure(conversion, failed, hints)
        cells = self._compare(conversion, outputs)
        result = VerificationResult(state="identical", conversion=conversion, cells=cells)
        differing = [cell for cell in cells if cell.state == "differs"]
        if not differing:
            return result, repair_for_warnings(frozenset(self.told) - hints.spoken, hints)
        return replace(result, state="differs"), repair_for_difference(conversion, differing[0].cell, hints)

    def _run_with_original(self, conversion: ConvertedNotebook, store: Path) -> TrialRun:
        """Run a pipeline, and beside it the original once more when it is known to differ by itself."""
        trials: list[TrialRun] = []
        actions: list[Callable[[], None]] = [lambda: trials.append(self._run(conversion, store))]
        # Concurrently, as this run will be needed anyway to judge cells that differ by themselves.
        if self.restless and len(self.plain) == 1:
            actions.append(self._rerun_original)
        run_concurrently(actions) if len(actions) > 1 else actions[0]()
        return trials[0]

    def _run(self, conversion: ConvertedNotebook, store: Path, force: Sequence[str] = ()) -> TrialRun:
        """Run a pipeline in a copy of the folder; its notebook lies elsewhere, since code may list the folder."""
        # Always in the same place: outputs that hold the path of the folder would differ from run to run.
        with sandbox(self.folder, self.place) as copy, tempfile.TemporaryDirectory(prefix="jp-proof-") as private:
            self.place = copy
            self.folders[str(copy)] = str(self.folder)
            path = Path(private, "pipeline-on-trial.ipynb")
            path.write_text(json.dumps(with_folder(conversion.notebook, copy)), "utf-8")
            trial = self.run(path, store, force)
            self.history.add(trial.run)
            return trial

    def _run_afresh(self, conversion: ConvertedNotebook) -> Outputs:
        """Run a pipeline with nothing to reuse, and return what its cells show."""
        with tempfile.TemporaryDirectory(prefix="jp-proof-") as store:
            return _outputs(conversion, self._run(conversion, Path(store)), {})

    # Steps that are not to be reused

    def _marked(
        self, result: VerificationResult, trial: TrialRun, hints: RepairHints, store: Path
    ) -> VerificationResult:
        """Return a result whose conversion has ``--no-cache`` where outputs of a step waver by themselves."""
        wavering = self._wavering(result.conversion, trial, store) if result.conversion else {}
        if not wavering:
            return result
        hints = replace(hints, wavering=wavering)
        conversion = convert(self.document, seen=self.seen, raises=self.raises, options=self.wishes, hints=hints)
        return replace(result, conversion=conversion)

    def _wavering(self, conversion: ConvertedNotebook, trial: TrialRun, store: Path) -> dict[int, str]:
        """Return the steps whose outputs differ between runs with equal inputs, by their first cell, and why."""
        suspected = self._suspected(conversion, trial)
        first_cells = {step.name: step.cells[0] for step in conversion.steps}
        reasons: dict[int, str] = {}
        # A step behind one that wavers has other inputs after it ran: it can be judged one round later.
        for _ in range(len(suspected) + 1):
            steps = trial.run.steps if trial.run else {}
            judged = {name: steps[name] for name in suspected if name in steps and self.history.is_known(steps[name])}
            for name, step in judged.items():
                names = ", ".join(f"`{output}`" for output in self.history.wavering(step))
                if names:
                    why = f"it {suspected[name]}, and {names} differed in two runs with equal inputs"
                    reasons[first_cells[name]] = why
            suspected = {name: cause for name, cause in suspected.items() if name not in judged}
            if not suspected:
                break
            self.tell(f"running once more what clock or chance may decide: {', '.join(suspected)}")
            trial = self._run(conversion, store, list(suspected))
        return reasons

    def _suspected(self, conversion: ConvertedNotebook, trial: TrialRun) -> dict[str, str]:
        if trial.run is None or trial.pipeline is None:
            return {}
        causes = {
            step.name: suspicion(trial.pipeline[step.name], step, self.seen)
            for step in conversion.steps
            if step.outputs and not step.uncached and _may_be_reused(trial.run.steps[step.name])
        }
        return {name: cause for name, cause in causes.items() if cause}

    # Comparing

    def _compare(self, conversion: ConvertedNotebook, outputs: Outputs) -> tuple[CellResult, ...]:
        """Compare all cells; run both once more as long as that may change the result."""
        trials = [outputs]
        while True:
            self.told = []
            judged = {cell.number: self._judge(conversion, cell.number, trials) for cell in self._code()}
            actions = self._to_do(conversion, set(judged.values()), trials)
            if not actions:
                return tuple(self._result(number, state, outputs) for number, state in judged.items())
            self.tell("running once more: which cells differ by themselves")
            run_concurrently(actions)

    def _code(self) -> list[NotebookCell]:
        return [cell for cell in self.document.cells if cell.kind == "code"]

    def _to_do(
        self, conversion: ConvertedNotebook, states: set[str], trials: list[Outputs]
    ) -> list[Callable[[], None]]:
        """Return the runs that are still needed for a judgement."""
        originals_needed = MAX_ORIGINALS if "doubtful" in states else 2 if "differs" in states else 1
        actions: list[Callable[[], None]] = []
        if len(self.plain) < originals_needed:
            actions.append(self._rerun_original)
        if "doubtful" in states and len(trials) < MAX_TRIALS:
            actions.append(lambda: trials.append(self._run_afresh(conversion)))
        return actions

    def _rerun_original(self) -> None:
        """Run the original once more; after two plain runs, what its names hold is of interest, too."""
        observe = len(self.plain) > 1
        rehearsal = self._rehearse(observe=observe)
        self.plain.append(rehearsal)
        self.looks += [rehearsal.seen] if observe else []

    def _judge(self, conversion: ConvertedNotebook, number: int, trials: Sequence[Outputs]) -> str:
        if number in conversion.dropped:
            return "left-out"
        originals = [rehearsal.outputs.get(number, []) for rehearsal in self.plain]
        judgement = judge(
            originals, [trial.get(number, []) for trial in trials], self.folders, doubt=self._doubt(number)
        )
        after = trials[0]
        if judgement == "differs" and self._is_shown_elsewhere(
            originals, after.get(number, []), after.get(-number, [])
        ):
            self.told.append(number)
            return "identical"
        return judgement

    def _doubt(self, number: int) -> Doubt:
        if not self._is_nondeterministic():
            return "none"
        source = next(cell.source for cell in self._code() if cell.number == number)
        return "depends" if uses_unstable_values(source, number, self.looks) else "chance"

    def _is_nondeterministic(self) -> bool:
        """Return whether outputs of any cell differ between runs of the original."""
        first, *others = self.plain
        return any(self._differ(first, rehearsal) for rehearsal in others)

    def _differ(self, first: NotebookRunResult, other: NotebookRunResult) -> bool:
        return any(
            self._shown(first.outputs.get(number, [])) != self._shown(shown) for number, shown in other.outputs.items()
        )

    def _result(self, number: int, state: Any, outputs: Outputs) -> CellResult:
        if state not in ("differs", "doubtful"):
            cut = state == "identical" and is_cut(self.plain[0].outputs.get(number, []))
            return CellResult(cell=number, state="cut" if cut else state)
        before, after = self._shown(self.plain[0].outputs.get(number, [])), self._shown(outputs.get(number, []))
        return CellResult(cell=number, state="differs", before=_displayed_text(before), after=_displayed_text(after))

    def _is_shown_elsewhere(self, originals: Sequence[Any], outputs: Sequence[Any], shared: Sequence[Any]) -> bool:
        """Return whether only warnings of imports are missing, which are shown where the shared code runs."""
        before, after = self._shown(originals[0]), self._shown(outputs)
        shared_lines = {line for kind, text in self._shown(shared) if kind == "stderr" for line in text.split("\n")}
        differing = set(before) ^ set(after)
        missing = {line for kind, text in before for line in text.split("\n") if (kind, text) in differing}
        return (
            bool(shared_lines)
            and {kind for kind, _ in differing} == {"stderr"}
            and missing <= shared_lines | _lines_of(after)
        )

    def _shown(self, outputs: Sequence[Mapping[str, Any]]) -> Shown:
        return shown(outputs, folders=self.folders)

    # Ends

    def _not_compared(self) -> tuple[Diagnostic, ...]:
        """Return warnings about outputs that were compared only in part or in another cell."""
        long = [number for number, outputs in sorted(self.plain[0].outputs.items()) if is_cut(outputs)]
        return tuple(
            make_warning(cells)
            for make_warning, cells in ((truncated_warning, long), (shown_elsewhere_warning, self.told))
            if cells
        )

    def _refused(self, cell: int, why: str) -> VerificationResult:
        fault = not_runnable(cell, why)
        return VerificationResult(state="refused", faults=(fault,), seconds=self._seconds())

    def _unreadable(self, conversion: ConvertedNotebook, faults: tuple[Diagnostic, ...]) -> VerificationResult:
        reason = "the pipeline cannot be read"
        cells = tuple(CellResult(cell=cell.number, state="differs", after=reason) for cell in self._code())
        return VerificationResult(state="differs", conversion=conversion, cells=cells, faults=faults)

    def _seconds(self) -> dict[str, float]:
        return {**self.seconds, "total": time.monotonic() - self.started}


def truncated_warning(cells: Sequence[int]) -> Diagnostic:
    """Return a warning that of what cells print, only the beginning and the end were compared."""
    return Diagnostic(
        code="JP703",
        severity="warning",
        message=f"only the beginning and the end of what is printed were compared in {_cell_list(cells)}",
        suggestion="print less, or compare the logs of the steps with what the original prints",
    )


def shown_elsewhere_warning(cells: Sequence[int]) -> Diagnostic:
    """Return a warning that warnings of cells are shown where the shared code runs."""
    return Diagnostic(
        code="JP703",
        severity="warning",
        message=f"what imports warn of is shown where the shared code runs, and no longer in {_cell_list(cells)}",
        suggestion="look at the notebook of a step, or silence the warning in the original",
    )


def _cell_list(cells: Sequence[int]) -> str:
    return f"cell{'s' * (len(cells) != 1)} {', '.join(map(str, cells))}"


def not_runnable(cell: int, why: str) -> Diagnostic:
    """Return why a notebook that does not run cannot be converted."""
    if "StdinNotImplementedError" in why:
        message, help_text = f"cell {cell} asks for input", "give what it asks for a name: `answer = …`"
    elif cell == 0:
        message, help_text = why, "install the kernel, or choose another one for the notebook"
    else:
        message = f"cell {cell} of the original fails: {why}"
        help_text = "make it run from top to bottom first, or tag a cell `raises-exception` if it is meant to fail"
    return Diagnostic(code="JP701", message=message, suggestion=help_text)


def _with_original_paths(document: Mapping[str, Any], copy: str, folder: str) -> dict[str, Any]:
    """Return an observation in which paths of the sandbox are replaced by those of the notebook's folder."""
    # In the JSON text, so that paths in keys and in parts of values are found, too.
    renamed: dict[str, Any] = json.loads(json.dumps(document).replace(json.dumps(copy)[1:-1], json.dumps(folder)[1:-1]))
    return renamed


def _rank(result: VerificationResult) -> int:
    return sum(cell.state == "differs" for cell in result.cells)


def _may_be_reused(step: StepRun) -> bool:
    """Return whether a later run may reuse the result of a step: not if the step asked a network or a program."""
    if step.state not in ("reused", "succeeded"):
        return False
    record = step.store.records.get(step.key) if step.store and step.key else None
    return record is None or not asked_elsewhere(record)


def _faults(step: Any) -> tuple[Diagnostic, ...]:
    return (step.fault,) if step.fault else ()


def _outputs(conversion: ConvertedNotebook, trial: TrialRun, kept: dict[str, dict[int, list[Any]]]) -> Outputs:
    """Return what the cells of the original show in the pipeline; of steps that are reused, what is kept."""
    outputs_by_cell: dict[int, list[Any]] = {}
    for step in trial.run.steps.values() if trial.run else ():
        key = str(step.key)
        # A reused step has no executed notebook in this run; its outputs are those of the round that computed it.
        if step.notebook and step.state != "reused":
            kept[key] = _shown_by(conversion, Path(step.notebook))
        for number, outputs in kept.get(key, {}).items():
            outputs_by_cell.setdefault(number, []).extend(outputs)
    return outputs_by_cell


def _shown_by(conversion: ConvertedNotebook, path: Path) -> dict[int, list[Any]]:
    """Return the outputs in the notebook of a step, by the number of the original cell."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
    except (OSError, ValueError):
        return {}
    outputs_by_cell: dict[int, list[Any]] = {}
    for cell in cells:
        metadata = cell["metadata"].get("jupyter_pipelines", {})
        for number in _origins(conversion, metadata):
            outputs_by_cell.setdefault(number, []).extend(cell.get("outputs", []))
    return outputs_by_cell


def _origins(conversion: ConvertedNotebook, metadata: Mapping[str, Any]) -> list[int]:
    """Return the original cells of a cell of a step's notebook: of shared code, the negative number of each."""
    cells = conversion.notebook["cells"]
    if metadata.get("role") == "step":
        origin = cells[metadata["cell"] - 1]["metadata"]["jupyter_pipelines"]["origin"]
        return [origin] if origin is not None else []
    numbers = [
        cells[origin["cell"] - 1]["metadata"]["jupyter_pipelines"]["origin"] for origin in metadata.get("origins", ())
    ]
    return [-number for number in dict.fromkeys(numbers) if number]


def _lines_of(shown_pieces: Shown) -> set[str]:
    return {line for kind, text in shown_pieces if kind == "stderr" for line in text.split("\n")}


def _displayed_text(pieces: Shown) -> str:
    return "\n".join(
        text if kind in ("stdout", "stderr", "text/plain", "error") else f"[{kind} {text[:12]}]"
        for kind, text in pieces
    )
