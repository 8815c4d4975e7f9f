"""Checks of the order of steps: dependencies between steps, and steps that produce the same name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jupyter_pipelines.errors import Diagnostic, closest_name
from jupyter_pipelines.notebook.checks.misspelt_names import is_misspelt_input
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.artifacts import FileSource, Input, StepOutputRef
from jupyter_pipelines.pipeline.step_graph import shortest_cycle

StepInterfaces = Mapping[str, StepInterface]
_SHOWN = 8


def order_faults(interfaces: StepInterfaces) -> Iterator[Diagnostic]:
    """Yield a fault for everything that is wrong with the order of steps and the names they produce."""
    for interface in interfaces.values():
        yield from _after(interfaces, interface)
    yield from _duplicate_producers(interfaces)
    yield from _cycle(interfaces)
    yield from _same_but_for_case(interfaces)
    yield from _aliased_outputs(interfaces)


def _after(interfaces: StepInterfaces, interface: StepInterface) -> Iterator[Diagnostic]:
    draft = interface.draft
    for item in draft.after:
        if item.name == draft.name:
            message = f"step `{draft.name}` waits for itself"
            yield step_diagnostic(draft, "JP209", message, "take it out of `--after`", item.place)
        elif item.name not in interfaces:
            closest = closest_name(item.name, interfaces)
            other_steps = ", ".join([name for name in interfaces if name != draft.name][:_SHOWN])
            suggestion = (
                f"write `{closest}`"
                if closest
                else f"use one of: {other_steps}"
                if other_steps
                else "take it out of `--after`"
            )
            yield step_diagnostic(
                draft,
                "JP211",
                f"`--after` names a step `{item.name}`, which does not exist",
                suggestion,
                item.place,
            )


def _cycle(interfaces: StepInterfaces) -> Iterator[Diagnostic]:
    before = {name: _before(interfaces, interface) for name, interface in interfaces.items()}
    cycle = list(shortest_cycle(before))
    if not cycle:
        return
    # From the first step of the notebook on, so that every reading reports a cycle in the same way.
    rank = min(range(len(cycle)), key=lambda index: interfaces[cycle[index]].draft.order)
    cycle = cycle[rank:] + cycle[:rank]
    shown = [f"{name} (cell {interfaces[name].draft.first})" for name in cycle]
    notes = [
        _describe_wait(interfaces[name], interfaces[other])
        for name, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
    ]
    first = interfaces[cycle[0]].draft
    yield step_diagnostic(
        first, "JP102", f"steps wait for each other: {' -> '.join([*shown, cycle[0]])}",
        "move the line that makes what two of them need into a step of its own", first.place, notes=tuple(notes),
    )  # fmt: skip


def _before(interfaces: StepInterfaces, interface: StepInterface) -> list[str]:
    """Return the steps that a step waits for, without itself: waiting for itself is a fault of its own."""
    sources = [
        step_input.source.step
        for step_input in interface.inputs.values()
        if isinstance(step_input.source, StepOutputRef)
    ]
    after = [item.name for item in interface.draft.after if item.name in interfaces]
    return [name for name in dict.fromkeys([*sources, *after]) if name != interface.draft.name]


def _describe_wait(interface: StepInterface, other: StepInterface) -> str:
    names = [
        step_input.source.output
        for step_input in interface.inputs.values()
        if isinstance(step_input.source, StepOutputRef) and step_input.source.step == other.draft.name
    ]
    if names:
        return (
            f"`{interface.draft.name}` needs {', '.join(f'`{name}`' for name in names)}, made by `{other.draft.name}`"
        )
    return f"`{interface.draft.name}` has `--after {other.draft.name}`"


def _duplicate_producers(interfaces: StepInterfaces) -> Iterator[Diagnostic]:
    producers: dict[str, StepDraft] = {}
    for interface in interfaces.values():
        for name, output in interface.outputs.items():
            before = producers.get(name)
            producers[name] = interface.draft
            # A step that takes the name and binds it again passes on a new version, which is no duplicate.
            # An input with a slip in its name is reported by itself.
            if before is None or _takes(interface, name) or is_misspelt_input(interface, name):
                continue
            bind = interface.draft.names.binds.get(name)
            place = output.place or (interface.draft.where(bind.spot) if bind else None)
            message = f"steps `{before.name}` and `{interface.draft.name}` both make `{name}`"
            suggestion = (
                f"rename one of the two, or let `{interface.draft.name}` take the other's: `-i {name} -o {name}`"
            )
            notes = (f"`{before.name}` stands in cell {before.first}",)
            yield step_diagnostic(
                interface.draft, "JP206", message, suggestion, place, notes=notes, label="made again here"
            )


def _same_but_for_case(interfaces: StepInterfaces) -> Iterator[Diagnostic]:
    seen: dict[str, StepDraft] = {}
    for interface in interfaces.values():
        # Files are called after steps, and macOS and Windows do not distinguish case in names of files.
        before = seen.setdefault(interface.draft.name.lower(), interface.draft)
        if before is not interface.draft:
            message = (
                f"the steps `{before.name}` (cell {before.first}) and `{interface.draft.name}` differ only in case"
            )
            suggestion = f"write `{before.name}` if the step goes on here, or give it another name"
            yield step_diagnostic(interface.draft, "JP106", message, suggestion, interface.draft.place)


def _takes(interface: StepInterface, name: str) -> bool:
    sources = (step_input.source for step_input in interface.inputs.values())
    return name in interface.inputs or any(
        isinstance(source, StepOutputRef) and source.output == name for source in sources
    )


def _aliased_outputs(interfaces: StepInterfaces) -> Iterator[Diagnostic]:
    """Yield a fault for two outputs that are one object in the live notebook, if a step changes it."""
    for interface in interfaces.values():
        for name, root in interface.draft.names.aliases.items():
            if name in interface.outputs and isinstance(interface.inputs.get(root, _NO_INPUT).source, StepOutputRef):
                for changed, other in ((name, root), (root, name)):
                    change_and_use = _unseen_mutation(interfaces, interface, changed, other)
                    if change_and_use is not None:
                        yield _one_object(interface, name, root, *change_and_use)


_NO_INPUT = Input(name="", source=FileSource(path=""))


def _unseen_mutation(
    interfaces: StepInterfaces, interface: StepInterface, changed: str, other: str
) -> tuple[StepInterface, StepInterface] | None:
    """Return a step that changes an object through `changed`, and a later step that uses the name `other`."""
    later_steps = [later for later in interfaces.values() if later.draft.order > interface.draft.order]
    changing = next(
        (later for later in later_steps if changed in later.draft.mutates and changed in later.inputs), None
    )
    if changing is None:
        return None
    using = (later for later in later_steps if later.draft.order > changing.draft.order and other in later.inputs)
    user = next(using, None)
    return (changing, user) if user else None


def _one_object(
    interface: StepInterface, name: str, root: str, changing: StepInterface, user: StepInterface
) -> Diagnostic:
    draft = interface.draft
    message = f"`{name}` and `{root}` are one object in step `{draft.name}`, and two in the steps behind it"
    suggestion = f"write `{name} = {root}.copy()` if they are meant to be two, else use one name"
    note = f"`{changing.draft.name}` changes one of them; cell by cell, `{user.draft.name}` would see that in the other"
    place = draft.where(draft.names.binds[name].spot)
    return step_diagnostic(
        draft, "JP213", message, suggestion, place, severity="warning", notes=(note,), label="no copy"
    )
