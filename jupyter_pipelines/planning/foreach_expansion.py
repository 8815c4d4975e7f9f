"""Steps over many items expanded into a step for each item, and a step that gathers their results.

All code after this treats them as ordinary steps. An item is called ``fit[depth=2]``: its value is a parameter, or an
input file, and so it has a key, a record and a notebook of its own. The step ``fit`` itself remains and gathers the
results; its artifact names theirs, so that the key of a step that takes it covers exactly what that step gets.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.pipeline.artifacts import FileSource, Input, Output, StepOutputRef
from jupyter_pipelines.pipeline.foreach import (
    FORMAT,
    ForeachAxis,
    ForeachItem,
    ForeachSpec,
    GatherSpec,
    Scalar,
    item_labels,
)
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import ComputeResources, Step
from jupyter_pipelines.pipeline.url_inputs import hide_credentials
from jupyter_pipelines.planning.undeclared_files import files_matching, with_files_read

MAX_ITEMS = 10_000
_SCALARS = (bool, int, float, str)
_MAX_SHOWN = 3
Key = tuple[tuple[str, Scalar], ...]


class _ExpandedSteps(NamedTuple):
    steps: list[Step]
    faults: list[Diagnostic]


def expand(pipeline: Pipeline, values: Mapping[str, Any]) -> Pipeline:
    """Return `pipeline` with a step for each item of every step over many items, and with the files that are read.

    Parameters
    ----------
    pipeline : Pipeline
        As the notebook says.
    values : Mapping of str to object
        Values of its parameters. The files of folders are looked for now.

    Raises
    ------
    PlanError
        Items cannot be determined (JP219), or there are no files (JP210); all faults at once.
    """
    if not any(step.foreach or step.templates for step in pipeline):
        return pipeline
    expanded = _expand(pipeline, values)
    if expanded.faults:
        raise PlanError(*expanded.faults)
    result = replace(pipeline, steps=tuple([with_files_read(step, values) for step in expanded.steps]))
    names: dict[str, list[str]] = {}
    for step in result:
        names.setdefault(step.item.group if step.item else step.name, []).append(step.name)
    # Items take the place of their step: the order need not be computed again, and networkx is not imported.
    result.remember_order(name for written in pipeline.order() for name in names[written])
    return result


def faults_of_items(pipeline: Pipeline, values: Mapping[str, Any]) -> tuple[Diagnostic, ...]:
    """Return everything that is wrong with the items of steps; see :func:`expand`.

    Parameters
    ----------
    pipeline : Pipeline
        As the notebook says.
    values : Mapping of str to object
        Values of its parameters. Where some are not known, the steps that run over them are left out.
    """
    steps = [step for step in pipeline if step.foreach and all(_is_known(axis, values) for axis in step.foreach.axes)]
    return tuple(_expand(replace(pipeline, steps=tuple(steps)), values).faults)


def _is_known(axis: ForeachAxis, values: Mapping[str, Any]) -> bool:
    return axis.kind != "parameter" or axis.source in values


def items_of(pipeline: Pipeline, step: Step, values: Mapping[str, Any]) -> list[ForeachItem]:
    """Return the items of one step; see :func:`expand`."""
    return [item_step.item for item_step in steps_of_items(pipeline, step, values) if item_step.item is not None]


def steps_of_items(pipeline: Pipeline, step: Step, values: Mapping[str, Any]) -> list[Step]:
    """Return a step for each item of one step, whatever is wrong with the items of others; see :func:`expand`."""
    # Not `expand`: it orders the steps of a whole pipeline, and what this step takes is not among these.
    expanded = _expand(replace(pipeline, steps=(step,)), values)
    if expanded.faults:
        raise PlanError(*expanded.faults)
    return [item_step for item_step in expanded.steps if item_step.item is not None]


def _expand(pipeline: Pipeline, values: Mapping[str, Any]) -> _ExpandedSteps:
    expanded = _ExpandedSteps([], [])
    for step in pipeline:
        if step.foreach is None:
            expanded.steps.append(step)
            continue
        axes = [_AxisValues(step, axis, pipeline.folder, values) for axis in step.foreach.axes]
        faults = [fault for axis in axes for fault in axis.faults()] or list(_too_many_items(step, axes))
        expanded.faults.extend(faults)
        expanded.steps.extend([step] if faults else _item_steps(step, step.foreach, axes))
    return expanded


class _AxisValues:
    """The values over which one name of ``--foreach`` runs."""

    def __init__(self, step: Step, axis: ForeachAxis, folder: Path, values: Mapping[str, Any]) -> None:
        self._step = step
        self._axis = axis
        self._folder = folder
        self.name = axis.name
        self.is_files = axis.kind == "files"
        self.found: Any = axis.values
        if axis.kind == "parameter":
            self.found = values[axis.source]
        elif self.is_files:
            self.found = _files(folder, axis.source)

    def faults(self) -> Iterator[Diagnostic]:
        """Yield what is wrong with the values."""
        subject = f"step `{self._step.name}` runs over `{hide_credentials(str(self._axis))}`"
        if not isinstance(self.found, list | tuple):
            yield self._fault(f"{subject}, which is no list", f"give `{self._axis.source}` a list: `[2, 4, 8]`")
        elif self.is_files and not self.found:
            suggestion = "put files there, or name another folder or pattern; it is relative to the notebook's folder"
            yield self._fault(f"{subject}, where there are no files", suggestion, code="JP210")
        elif not self.found:
            yield self._fault(f"{subject}, which is empty", "give it at least one value")
        else:
            yield from self._unfit(subject, self.found)

    def named_files(self) -> Iterator[str]:
        """Yield the values that are texts and name an existing file, as code may open them."""
        if not self.is_files:
            yield from (value for value in self.found if isinstance(value, str) and _is_file(self._folder, value))

    def _unfit(self, subject: str, values: Sequence[Any]) -> Iterator[Diagnostic]:
        non_scalar = next((value for value in values if type(value) not in _SCALARS), None)
        if non_scalar is not None or any(value is None for value in values):
            message = f"{subject}, in which `{_short(non_scalar)}` is neither a number nor a text, true or false"
            yield self._fault(message, "write plain values, and look up what belongs to them in the step")
            return
        kinds = {type(value) for value in values}
        if len(kinds) > 1 and kinds != {int, float}:
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            yield self._fault(f"{subject}, which holds values of several types: {names}", "write values of one type")
            return
        # `repr` finds repeated texts, the set finds 1 and 1.0. NaN is not equal to itself, but its `repr` is.
        repeated = [value for value, count in Counter(map(repr, values)).items() if count > 1]
        if repeated or len(set(values)) < len(values):
            shown = ", ".join(repeated[:_MAX_SHOWN]) or "a number"
            yield self._fault(f"{subject}, which holds `{shown}` more than once", "write every value once")

    def _fault(self, message: str, suggestion: str, code: str = "JP219") -> Diagnostic:
        place = self._axis.place or self._step.place
        return Diagnostic(code=code, message=message, suggestion=suggestion, step=self._step.name, place=place)


def _files(folder: Path, source: str) -> list[str]:
    """Return the files of a folder, or those that fit a pattern, by name; hidden files are left out."""
    return files_matching(folder, source if glob.has_magic(source) else f"{glob.escape(source.rstrip('/'))}/*")


def _is_file(folder: Path, name: str) -> bool:
    try:
        return (folder / name).is_file()
    except (OSError, ValueError):  # a text that can be the name of no file: too long, or with a null in it
        return False


def _too_many_items(step: Step, axes: Sequence[_AxisValues]) -> Iterator[Diagnostic]:
    # Counted before combinations are made: the product of a few axes may not fit into memory.
    count = 1
    for axis in axes:
        count *= len(axis.found)
    if count > MAX_ITEMS:
        yield Diagnostic(
            code="JP219",
            message=f"step `{step.name}` runs over {count} items, and {MAX_ITEMS} are the most",
            suggestion="let one item do more: run over files or ranges, and loop in the step",
            step=step.name,
            place=step.place,
        )


def _item_steps(step: Step, foreach: ForeachSpec, axes: Sequence[_AxisValues]) -> Iterator[Step]:
    """Yield a step for each item, and the step that gathers them."""
    keys: list[Key] = [
        tuple(zip(foreach.names, combination, strict=True)) for combination in product(*(axis.found for axis in axes))
    ]
    files = frozenset(axis.name for axis in axes if axis.is_files)
    labels = item_labels(keys)
    names = [f"{step.name}[{label}]" for label in labels]
    file_values = {value for axis in axes for value in axis.named_files()}
    for name, key in zip(names, keys, strict=True):
        item = ForeachItem(group=step.name, values=key, files=files, at_once=foreach.at_once)
        yield _item_step(step, name, item, file_values)
    gathering = GatherSpec(items=tuple(names), keys=tuple(keys), may_fail=foreach.may_fail(len(keys)))
    yield _gather_step(step, gathering, labels)


def _item_step(step: Step, name: str, item: ForeachItem, file_values: Collection[Scalar]) -> Step:
    """Return the step of one item; texts that name files stay texts, and the contents of these count."""
    files = tuple(
        Input(name=axis_name, source=FileSource(path=str(value)))
        for axis_name, value in item.values
        if axis_name in item.files
    )
    parameters = (*step.parameters, *item.parameters)
    paths = dict.fromkeys((*step.files, *(str(value) for value in item.parameters.values() if value in file_values)))
    return replace(
        step,
        name=name,
        foreach=None,
        item=item,
        inputs=(*step.inputs, *files),
        parameters=parameters,
        files=tuple(paths),
    )


def _gather_step(step: Step, gathering: GatherSpec, labels: Sequence[str]) -> Step:
    """Return the step that gathers all items; it keeps their code, so that the reason for a run names what changed."""
    inputs = tuple(
        Input(
            name=f"{output.name}[{label}]",
            source=StepOutputRef(step=name, output=output.name),
            optional=gathering.may_fail > 0,
        )
        for output in step.outputs
        for name, label in zip(gathering.items, labels, strict=True)
    )
    return replace(
        step,
        inputs=inputs,
        outputs=tuple(Output(name=output.name, format=FORMAT, place=output.place) for output in step.outputs),
        # Without outputs there is no edge of data, but steps after this one still wait for all items.
        after=gathering.items if not inputs else (),
        gathering=gathering,
        # What was requested holds for each item: gathering takes no resources, and has nothing to retry.
        resources=ComputeResources(),
        retries=0,
        timeout=None,
        cache_for=None,
        always=False,
        on=None,
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
