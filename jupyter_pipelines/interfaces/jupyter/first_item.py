"""``--foreach`` steps in the live notebook: their cells run once, for the first item."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from jupyter_pipelines.errors import PipelinesError
from jupyter_pipelines.pipeline.foreach import ForeachItem, GatheredResults
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step


def bind_first_item(pipeline: Pipeline, step: Step, names: MutableMapping[str, Any]) -> None:
    """Bind the loop variables of `step` to the values of its first item, and print a note."""
    try:
        item, count = _first_item(pipeline, step, names)
    except PipelinesError as error:
        print(f"no item of `{step.name}`: {error.faults[0].message}")
        return
    for name, value in item.values:
        names[name] = pipeline.folder / str(value) if name in item.files else value
    words = ", ".join(f"{name}={value}" for name, value in item.values)
    print(f"`{step.name}` runs here for the first of {count} items: {words}; all: `%pipeline run {step.name}`")


def as_gathered(pipeline: Pipeline, step: Step, value: Any, names: Mapping[str, Any]) -> GatheredResults:
    """Return the value that the cell made for the first item as a list of results, as later steps get it."""
    item, _ = _first_item(pipeline, step, names)
    return GatheredResults([value], [dict(item.values)])


def _first_item(pipeline: Pipeline, step: Step, names: Mapping[str, Any]) -> tuple[ForeachItem, int]:
    from jupyter_pipelines.planning.foreach_expansion import items_of

    values = {parameter.name: names.get(parameter.name, parameter.default) for parameter in pipeline.parameters}
    items = items_of(pipeline, step, values)
    return items[0], len(items)
