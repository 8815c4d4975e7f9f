"""The values in the live kernel beside the stored outputs: which differ, and why they may."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import shell_word
from jupyter_pipelines.interfaces.jupyter.step_states import statuses
from jupyter_pipelines.notebook.checks.global_state_checks import possible_settings
from jupyter_pipelines.notebook.code.analyze import analyse
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.headers.split import split_cell
from jupyter_pipelines.notebook.source.document import read_document
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, StepOutputRef
from jupyter_pipelines.pipeline.url_inputs import hide_credentials
from jupyter_pipelines.reporting.format import listed
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.verification.live_values import (
    LiveComparer,
    LiveComparison,
    as_text,
    compare_live,
    compare_outputs,
    summary,
)

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.result import Run
    from jupyter_pipelines.interfaces.jupyter.session import ExecutedCell, KernelSession
    from jupyter_pipelines.pipeline.artifacts import Artifact
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.pipeline.step import Step
    from jupyter_pipelines.planning.plan import Plan

QUICK_BYTES = 1_000_000
"""Stored size up to which an output is compared after each run."""
QUICK_SECONDS = 0.05
"""Seconds after which no further output is compared after a run."""
_MAX_CAUSES = 3
_MAX_TEXT = 50
_NO_CAUSE = "no cause is visible: chance, the clock, or a state that only this kernel has"
# Calls of other functions of a module, such as `plt.show()`, set nothing that lasts.
_SETTING_CALL = re.compile(r"\.(set|seed|use|config|update|filterwarnings|simplefilter|chdir|putenv)\w*\(")


def live_table(session: KernelSession, pipeline: Pipeline, plan: Plan) -> str:
    """Return the comparison of the kernel's values with the stored outputs of a plan, as a table."""
    names = session.shell.user_ns
    comparisons = compare_live(plan, LiveComparer(session.project.store_for(pipeline), names))
    if any(comparison.state == "differs" for comparison in comparisons):
        causes = LiveCauses(session, pipeline, plan)
        comparisons = [causes.explained(comparison, comparisons) for comparison in comparisons]
    return as_text(pipeline.name, comparisons)


def difference_note(session: KernelSession, run: Run, parameters: Sequence[str] = ()) -> str:
    """Return a line about values in the kernel that differ from the results of a run; empty if there is none.

    Large values are left out, and all that would take longer than a moment: the run is over, and its user waits.

    Parameters
    ----------
    session : KernelSession
        The namespace.
    run : Run
        The run.
    parameters : sequence of str
        Values of parameters with which it was started: ``NAME=VALUE``.
    """
    if run.pipeline is None:
        return ""
    names = session.shell.user_ns

    def artifacts(step: str) -> Mapping[str, Artifact]:
        step_run = run.steps[step]
        is_good = step_run.state in ("succeeded", "reused")
        outputs = step_run.artifacts.items() if is_good else ()
        return {name: artifact for name, artifact in outputs if name in names and _is_quick(names[name], artifact)}

    store = session.project.store_for(run.pipeline)
    comparer = LiveComparer(store, names, max_bytes=QUICK_BYTES, seconds=QUICK_SECONDS)
    differing = []
    for comparison in compare_outputs(run.pipeline, artifacts, comparer):
        differing += [comparison] if comparison.state == "differs" else []
        if comparer.is_late:
            break
    return _note(differing, parameters)


def _is_quick(value: Any, artifact: Artifact) -> bool:
    """Tell whether a value can be compared with an artifact within milliseconds."""
    # JSON has an object of Python every few bytes.
    most = QUICK_BYTES // 5 if artifact.format == "json" else QUICK_BYTES
    if artifact.format in PATH_FORMATS or artifact.bytes > most:
        return False
    # The value itself may be far larger than what is stored.
    try:
        lengths = [length for name in ("size", "nbytes") if isinstance(length := getattr(value, name, 0), int)]
        lengths += [len(value)] if isinstance(value, str | bytes | list | tuple | dict | set | frozenset) else []
    except Exception:  # noqa: BLE001 - attributes of any library may fail in any way
        return False
    return max(lengths, default=0) <= QUICK_BYTES


def _note(differing: Sequence[LiveComparison], parameters: Sequence[str]) -> str:
    if not differing:
        return ""
    check = " ".join(["%pipeline check --live", *(f"-p {shell_word(text)}" for text in parameters)])
    first, count = differing[0], len(differing)
    if count > 1:
        names = listed((f"`{comparison.name}`" for comparison in differing), 3)
        return f"{names} in the kernel differ from the results of this run: `{check}` shows more"
    load = f"%pipeline load {shell_word(f'{first.step}.{first.name}')}"
    what = f"the kernel's `{first.name}` differs from the result of step `{first.step}`"
    return f"{what}: `{load}` takes it over, `{check}` shows more"


class LiveCauses:
    """Finds why a value in the kernel differs from the output that the same code has made in a step.

    Parameters
    ----------
    session : KernelSession
        The executed cells, and the namespace.
    pipeline : Pipeline
        The notebook's pipeline.
    plan : Plan
        The plan whose stored outputs were compared.
    """

    def __init__(self, session: KernelSession, pipeline: Pipeline, plan: Plan) -> None:
        self._session = session
        self._pipeline = pipeline
        self._plan = plan
        self._names: Mapping[str, Any] = session.shell.user_ns
        self._statuses = statuses(session, pipeline, plan)
        source = session.source()
        self._document = read_document(source) if isinstance(source, Path) else source
        self._numbers = {cell.id: cell.number for cell in self._document.cells}

    def explained(self, comparison: LiveComparison, others: Sequence[LiveComparison]) -> LiveComparison:
        """Return a comparison with the possible causes of a difference."""
        if comparison.state != "differs":
            return comparison
        step = self._pipeline[comparison.step.partition("[")[0]]
        causes = [
            *self._of_inputs(step, others),
            *self._of_execution(step),
            *self._of_parameters(step),
            *self._of_shared_code(step),
            *self._of_modules(step),
            *self._of_later_cells(step, comparison.name),
            *self._of_settings(),
        ]
        return replace(comparison, details=tuple(dict.fromkeys(causes))[:_MAX_CAUSES] or (_NO_CAUSE,))

    def _of_inputs(self, step: Step, others: Sequence[LiveComparison]) -> Iterator[str]:
        differing = {(other.step.partition("[")[0], other.name) for other in others if other.state == "differs"}
        for step_input in step.inputs:
            source = step_input.source
            if isinstance(source, StepOutputRef) and (source.step, source.output) in differing:
                yield f"its input `{step_input.name}` differs as well"

    def _of_execution(self, step: Step) -> Iterator[str]:
        outcome, status = self._session.outcome(step), self._statuses[step.name]
        if outcome is None:
            part = "not executed" if self._session.when(step) is None else "only executed in part"
            yield f"step `{step.name}` was {part} in this kernel"
        elif outcome == "failed":
            yield f"step `{step.name}` failed in this kernel"
        elif outcome == "edited":
            yield f"step `{step.name}` was {status.detail}"
        elif status.state == "stale":
            yield f"step `{step.name}` {status.detail}"

    def _of_parameters(self, step: Step) -> Iterator[str]:
        secret = {parameter.name for parameter in self._pipeline.parameters if parameter.kind == "secret"}
        for name in step.parameters:
            if name in secret or name not in self._names or name not in self._plan.values:
                continue
            in_kernel, planned = summary(self._names[name]), summary(self._plan.values[name])
            if in_kernel != planned:
                yield f"parameter `{name}` is {in_kernel} in the kernel, and {planned} in the pipeline"

    def _of_shared_code(self, step: Step) -> Iterator[str]:
        ids = {number: cell_id for cell_id, number in self._numbers.items()}
        texts = {cell.number: cell.source for cell in self._document.cells}
        newer, when = self._session.newer_texts(), self._session.when(step)
        for number, names in _shared_cells(step).items():
            executed = self._session.executed.get(ids.get(number) or "")
            if executed is None:
                continue
            if executed.text.rstrip() != newer.get(ids[number] or "", texts[number]).rstrip():
                yield f"cell {number}{names} was edited since it was executed here"
            elif when is not None and executed.when > when:
                yield f"cell {number}{names} was executed after step `{step.name}`"

    def _of_modules(self, step: Step) -> Iterator[str]:
        import sys

        began = min((cell.when for cell in self._session.executed.values()), default=0.0)
        for module in step.modules:
            with suppress(OSError):
                if module.name in sys.modules and Path(module.path).stat().st_mtime > began:
                    yield f"module `{module.name}` was edited while this kernel ran, which may have the older one"

    def _of_later_cells(self, step: Step, name: str) -> Iterator[str]:
        makers = {other.name for other in self._pipeline if other.output(name)}
        when = self._session.when(step) or 0.0
        for place, cell in self._executed():
            if cell.when <= when or cell.step in makers:
                continue
            names = analyse([parse_code(split_cell(cell.text).body)])
            if name in names.mutates or name in names.binds:
                yield f"{place}, executed after it, changes `{name}`"
            elif name in names.reads and cell.step is None:
                yield f"{place}, executed after it, uses `{name}` and may have changed it"

    def _of_settings(self) -> Iterator[str]:
        for key, cell in self._session.executed.items():
            split = split_cell(cell.text)
            if split.header is not None or cell.outcome == "running":
                continue
            lines = cell.text.split("\n")
            for action in possible_settings(split.body):
                is_call = "(" in action.rest
                is_setting = not is_call or _SETTING_CALL.search(action.rest)
                if is_setting and isinstance(self._names.get(action.root), types.ModuleType):
                    line = lines[action.line - 1].strip()
                    # Without the value, nor the text of an unsaved cell: it may be a password for `os.environ`.
                    place = f"cell {self._numbers[key]}" if key in self._numbers else "an unsaved cell"
                    text = f"{line.partition('(')[0]}(…)" if is_call else line.partition("=")[0].rstrip("+-*/|& ")
                    yield f"{place} makes a setting of this kernel: `{clean(text, _MAX_TEXT)}`"

    def _executed(self) -> Iterator[tuple[str, ExecutedCell]]:
        """Yield the cells that were executed to their end, in this order, with what they are called."""
        for key, cell in sorted(self._session.executed.items(), key=lambda entry: entry[1].when):
            if cell.outcome != "running":
                first_line = clean(hide_credentials(cell.text.strip().partition("\n")[0]), _MAX_TEXT)
                yield f"cell {self._numbers[key]}" if key in self._numbers else f"the unsaved cell `{first_line}`", cell


def _shared_cells(step: Step) -> dict[int, str]:
    """Return the cells with shared code that a step reaches, imports left out, each with a name in it."""
    pieces = [piece for piece in step.shared if piece.kind != "import"]
    return {piece.cell: "" if piece.kind == "setup" else f" with `{clean(piece.name)}`" for piece in reversed(pieces)}
