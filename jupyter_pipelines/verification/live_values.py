"""The values of a live kernel, compared with the stored outputs that a plan reuses; no value is changed."""

from __future__ import annotations

import os
import reprlib
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, Artifact
from jupyter_pipelines.pipeline.foreach import FORMAT as GATHERED_FORMAT
from jupyter_pipelines.pipeline.foreach import GatheredResults
from jupyter_pipelines.reporting.format import plural, size_in_words
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.blobs import manifests
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.verification.value_equality import difference, values_equal

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline
    from jupyter_pipelines.planning.plan import Plan
    from jupyter_pipelines.storage.store import Store

LiveState = Literal["equal", "differs", "missing", "not compared", "not stored yet"]

MAX_BYTES = 400_000_000
"""Stored size above which a value is only compared by its digest."""
MAX_SECONDS = 10.0
"""Seconds after which values are no longer loaded to be compared."""
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_MAX_SHOWN = 60
_MAX_ELEMENTS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """An output of a step, compared with the value that a live kernel has under its name.

    Parameters
    ----------
    step, name : str
        The step, and the output.
    state : {"equal", "differs", "missing", "not compared", "not stored yet"}
        The result; ``missing``: the kernel has no such name.
    text : str
        What both are, or why they are not compared.
    details : tuple of str
        Why they differ, as far as that is known.
    """

    step: str
    name: str
    state: LiveState
    text: str = ""
    details: tuple[str, ...] = ()


class LiveComparer:
    """Compares values of a namespace with artifacts.

    Parameters
    ----------
    store : Store
        Where the artifacts are.
    names : Mapping of str to object
        The namespace.
    max_bytes : int
        Stored size up to which an artifact is loaded.
    seconds : float
        Time after which no artifact is loaded any more.
    """

    def __init__(
        self,
        store: Store,
        names: Mapping[str, Any],
        *,
        max_bytes: int = MAX_BYTES,
        seconds: float = MAX_SECONDS,
    ) -> None:
        self._store = store
        self._names = names
        self._max_bytes = max_bytes
        self._end = time.monotonic() + seconds

    @property
    def is_late(self) -> bool:
        """Whether the time for loading artifacts is over."""
        return time.monotonic() > self._end

    def is_gathered(self, name: str) -> bool:
        """Tell whether the value called `name` has the results of all items of a step."""
        return isinstance(self._names.get(name), GatheredResults)

    def compare(self, step: str, name: str, artifact: Artifact) -> LiveComparison:
        """Return how the value called `name` compares with an artifact of a step; nothing is raised."""
        comparison = LiveComparison(step=step, name=name, state="equal")
        if name not in self._names:
            return replace(comparison, state="missing", text=f"the kernel has no `{name}`")
        # Values of any library are pickled and compared, which may raise and warn of anything.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                state, text = self._compare(self._names[name], artifact)
            except Exception as error:  # noqa: BLE001
                state, text = "not compared", clean(f"{type(error).__name__}: {error}")
        return replace(comparison, state=state, text=text)

    def _compare(self, value: Any, artifact: Artifact) -> tuple[LiveState, str]:
        if artifact.format in PATH_FORMATS:
            return self._compare_path(value, artifact)
        if artifact.format != GATHERED_FORMAT and serializers.stores_as(value, artifact):
            return "equal", ""
        if artifact.bytes > self._max_bytes:
            return "not compared", f"too large to be loaded: {size_in_words(artifact.bytes)} are stored"
        if self.is_late:
            return "not compared", "comparing the others has taken too long"
        stored = load_value(self._store, artifact)
        if values_equal(value, stored):
            return "equal", ""
        return "differs", _differing(value, stored)

    def _compare_path(self, value: Any, artifact: Artifact) -> tuple[LiveState, str]:
        path = Path(value) if isinstance(value, str | os.PathLike) else None
        if path is None or not path.exists():
            return "missing", f"the kernel has written no {artifact.format} there"
        digest = manifests.digest_folder(path) if path.is_dir() else self._store.digest(path)
        return ("equal", "") if digest == artifact.digest else ("differs", f"the {artifact.format}s differ")


def compare_live(plan: Plan, comparer: LiveComparer) -> list[LiveComparison]:
    """Compare the outputs of all steps that a plan reuses; outputs of other steps are listed as not stored yet."""

    def artifacts(step: str) -> Mapping[str, Artifact]:
        return plan[step].outputs if plan[step].decision == "reuse" else {}

    return [
        replace(comparison, text=clean(plan[comparison.step].reason.text))
        if comparison.state == "not stored yet"
        else comparison
        for comparison in compare_outputs(plan.pipeline, artifacts, comparer)
    ]


def compare_outputs(
    pipeline: Pipeline, artifacts: Callable[[str], Mapping[str, Artifact]], comparer: LiveComparer
) -> Iterator[LiveComparison]:
    """Yield the comparison of each output of a pipeline.

    Parameters
    ----------
    pipeline : Pipeline
        The pipeline, with the items of steps over many items.
    artifacts : callable
        Returns the artifacts of a step, by output; what it lacks is not stored yet.
    comparer : LiveComparer
        Compares one output.
    """
    whole_steps = [pipeline[name] for name in pipeline.order() if pipeline[name].item is None]
    # A namespace has no earlier version of a name that is made again.
    last_makers = {output.name: step.name for step in whole_steps for output in step.outputs}
    for step in whole_steps:
        items = step.gathering.items if step.gathering else ()
        for name in (output.name for output in step.outputs):
            # The cell of a step over many items runs in a kernel for the first item only.
            is_of_item = items and not comparer.is_gathered(name) and name in artifacts(items[0])
            stored_by = items[0] if is_of_item else step.name
            artifact = artifacts(stored_by).get(name)
            if artifact is None:
                yield LiveComparison(step=stored_by, name=name, state="not stored yet")
                continue
            comparison = comparer.compare(stored_by, name, artifact)
            if comparison.state == "differs" and last_makers[name] != step.name:
                text = f"step `{last_makers[name]}` makes `{name}` again"
                comparison = replace(comparison, state="not compared", text=text)
            yield comparison


# Texts


def as_text(name: str, comparisons: Sequence[LiveComparison]) -> str:
    """Return comparisons as a table of plain text; each detail stands on a line of its own."""
    outputs = [f"{comparison.step}.{comparison.name}" for comparison in comparisons]
    output_width = max((len(output) for output in outputs), default=0)
    state_width = max((len(comparison.state) for comparison in comparisons), default=0)
    lines = [f"{name}: {_headline(comparisons)}", ""] if comparisons else [f"{name}: no outputs"]
    for output, comparison in zip(outputs, comparisons, strict=True):
        line = f"  {output:<{output_width}}  {comparison.state:<{state_width}}  {comparison.text}"
        lines.append(line.rstrip())
        lines += [f"  {'':<{output_width}}  {'':<{state_width}}    {detail}" for detail in comparison.details]
    return "\n".join(lines)


def _headline(comparisons: Sequence[LiveComparison]) -> str:
    count = Counter(comparison.state for comparison in comparisons)
    compared = count["equal"] + count["differs"]
    if not compared:
        return "no value in the kernel can be compared with a stored one"
    words = "differ" if count["differs"] > 1 else "differs"
    return f"{count['differs'] or 'none'} of {plural(compared, 'value')} in the kernel {words} from what is stored"


def summary(value: Any) -> str:
    """Return in a few words what a value is: a plain one itself, of others the type and the size."""
    kind = clean(type(value).__qualname__, _MAX_SHOWN)
    if isinstance(value, _PLAIN):
        return clean(reprlib.repr(value), _MAX_SHOWN)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape and all(isinstance(length, int) for length in shape):
        lengths = [f"{length:,}" for length in shape]
        is_table = hasattr(value, "columns") and len(lengths) == 2
        return f"{kind}, {lengths[0]} rows x {lengths[1]}" if is_table else f"{kind}, {' x '.join(lengths)}"
    if not isinstance(value, list | tuple | dict | set | frozenset):
        return kind
    elements = [*value, *value.values()] if isinstance(value, dict) else value
    # Of plain elements only: the repr of others may take long, or change them.
    if len(value) <= _MAX_ELEMENTS and all(isinstance(element, _PLAIN) for element in elements):
        return clean(reprlib.repr(value), _MAX_SHOWN)
    return f"{kind} of {len(value):,}"


def _differing(value: Any, stored: Any) -> str:
    in_kernel, in_store = summary(value), summary(stored)
    if in_kernel != in_store:
        return f"in the kernel: {in_kernel}; stored: {in_store}"
    try:
        where = difference(value, stored)
    except Exception:  # noqa: BLE001 - that they differ is known; their parts may fail in any way
        where = ""
    return f"both: {in_kernel}" + (f"; different: {where}" if where else "")
