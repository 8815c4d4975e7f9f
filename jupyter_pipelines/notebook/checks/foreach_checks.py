"""Checks of ``--foreach`` and of the options that belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jupyter_pipelines.errors import Diagnostic, closest_name
from jupyter_pipelines.notebook.checks.misspelt_names import unresolved_names_like
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.foreach import ForeachAxis
from jupyter_pipelines.pipeline.parameters import Parameter

_LISTS = ("list", "any")


def foreach_faults(
    interfaces: Mapping[str, StepInterface], parameters: Mapping[str, Parameter]
) -> Iterator[Diagnostic]:
    """Yield every fault in ``--foreach`` and in the options that belong to it."""
    for interface in interfaces.values():
        draft = interface.draft
        if not draft.axes:
            yield from _options_without_foreach(draft)
            continue
        for axis in draft.axes.values():
            yield from _name_clashes(interface, axis, parameters)
            yield from _source(draft, axis, parameters)
            yield from _assigned_item(draft, axis)
            yield from _unused(interface, axis)
        yield from _rebound_inputs(interface)


def _options_without_foreach(draft: StepDraft) -> Iterator[Diagnostic]:
    for header in draft.headers:
        for option, value in (("at-once", header.at_once), ("allow-failed", header.allow_failed)):
            if value is not None:
                message = f"step `{draft.name}` has `--{option}`, but no `--foreach` that it could be about"
                yield step_diagnostic(
                    draft, "JP604", message, f"take `--{option}` away, or add `--foreach`", header.place
                )


def _name_clashes(
    interface: StepInterface, axis: ForeachAxis, parameters: Mapping[str, Parameter]
) -> Iterator[Diagnostic]:
    draft, name = interface.draft, axis.name
    inputs = {item.name for item in draft.items("inputs") or ()}
    outputs = {item.name for item in draft.items("outputs") or ()}
    kinds = (("a parameter", parameters), ("an input", inputs), ("an output", outputs))
    for role, names in kinds:
        if name in names:
            message = f"step `{draft.name}` runs over `{name}`, which is {role} as well"
            hint = f", or over a parameter that holds a list: `--foreach {name}={name}s`" if names is parameters else ""
            yield step_diagnostic(draft, "JP106", message, f"give one of them another name{hint}", axis.place)


def _source(draft: StepDraft, axis: ForeachAxis, parameters: Mapping[str, Parameter]) -> Iterator[Diagnostic]:
    if axis.kind != "parameter":
        return
    parameter = parameters.get(axis.source)
    if parameter is None:
        closest = closest_name(axis.source, parameters)
        message = f"step `{draft.name}` runs over the parameter `{axis.source}`, which there is not"
        suggestion = (
            f"write `--foreach {axis.name}={closest}`"
            if closest
            else f"declare it in a `%%params` cell; a folder is written `{axis.source}/`, one text `'{axis.source}'`"
        )
        yield step_diagnostic(draft, "JP501", message, suggestion, axis.place)
    elif parameter.kind not in _LISTS:
        message = f"step `{draft.name}` runs over the parameter `{axis.source}`, which holds no list"
        suggestion = f"declare it as a list: `{axis.source}: list[int] = […]`"
        if parameter.kind == "secret":
            suggestion = "take the secret as a parameter: `-p`; items stand in names, records and reports"
        yield step_diagnostic(draft, "JP219", message, suggestion, axis.place)


def _assigned_item(draft: StepDraft, axis: ForeachAxis) -> Iterator[Diagnostic]:
    bind = draft.names.binds.get(axis.name)
    if bind is not None and axis.name not in draft.names.reads:
        message = f"step `{draft.name}` assigns `{axis.name}`, which it runs over: the item's value has no effect"
        yield step_diagnostic(draft, "JP216", message, "use another name in the step", draft.where(bind.spot))


def _unused(interface: StepInterface, axis: ForeachAxis) -> Iterator[Diagnostic]:
    draft = interface.draft
    if draft.dynamic or axis.name in interface.reach.used or axis.name in draft.names.binds:
        return
    if unresolved_names_like(interface, [axis.name]):
        return
    # The text of a magic may use the name, though no Python code does.
    if any(axis.name in magic for code in draft.codes for magic in code.magics):
        return
    message = f"step `{draft.name}` does not use `{axis.name}`, which it runs over"
    suggestion = "use it, or every item comes to the same"
    yield step_diagnostic(draft, "JP207", message, suggestion, axis.place, severity="warning", label="not used")


def _rebound_inputs(interface: StepInterface) -> Iterator[Diagnostic]:
    draft = interface.draft
    for name in interface.inputs.keys() & interface.outputs.keys():
        message = f"step `{draft.name}` runs over many items and makes its input `{name}` again"
        suggestion = (
            f"give the output another name, or work on a copy: what later steps get is a list, and no item sees "
            f"what another made of `{name}`"
        )
        place = interface.outputs[name].place or interface.inputs[name].place
        yield step_diagnostic(draft, "JP206", message, suggestion, place)
