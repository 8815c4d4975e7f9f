"""Names that were probably misspelt: a mistake with consequences in several places is reported once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from keyword import iskeyword

from jupyter_pipelines.errors import closest_name
from jupyter_pipelines.notebook.headers.split import IOSpec
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS


def input_meant(interface: StepInterface, name: str) -> str | None:
    """Return the name that the input `name` of a step, which no step makes, was meant to be.

    The code decides: it does not use `name`, but a similar name that another step makes and that is not declared.
    """
    if name in interface.draft.names.reads:
        return None
    undeclared = [problem.need.name for problem in interface.reach.problems if problem.kind == "undeclared"]
    return closest_name(name, undeclared)


def is_misspelt_input(interface: StepInterface, name: str) -> bool:
    """Return whether a name that is used but not declared is declared with a slip: the input is reported instead."""
    return any(
        missing.reason == "no-producer" and input_meant(interface, missing.item.name) == name
        for missing in interface.lost
    )


def unassigned_outputs(interface: StepInterface) -> Iterator[IOSpec]:
    """Yield the outputs of a step that its code never assigns."""
    if interface.draft.dynamic:
        return
    shared = {name for definition in interface.reach.definitions for name in definition.binds}
    for item in interface.draft.items("outputs") or ():
        name = item.name
        # The header has a fault already for a name that is no identifier.
        if item.format in PATH_FORMATS or not name.isidentifier() or iskeyword(name):
            continue
        # Shared code that binds the name in the step gives it a value at the end.
        if name not in interface.draft.names.binds and name not in interface.inputs and name not in shared:
            yield item


def is_misspelt_output(interface: StepInterface, name: str) -> bool:
    """Return whether a step declares its variable `name` as an output with a slip: the output is reported instead."""
    binds = interface.draft.names.binds
    return any(closest_name(item.name, binds) == name for item in unassigned_outputs(interface))


def unresolved_names_like(interface: StepInterface, names: Iterable[str]) -> set[str]:
    """Return those of `names` that the code of a step seems to misspell: it uses a similar name that it has not.

    That name is an error, whose help names the closest; to say as well that the other is not used says it twice.
    """
    known = list(names)
    unresolved = [
        problem.need.name
        for problem in interface.reach.problems
        if problem.kind in ("undefined", "undeclared") and problem.need.sure and problem.need.via is None
    ]
    return {closest for name in unresolved if (closest := closest_name(name, known))}
