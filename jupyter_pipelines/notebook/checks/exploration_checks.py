"""Exploratory cells that change a value between the step that produces it and a step that takes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.linking.shared_code import Entry, ExploratoryName, SharedCodeIndex
from jupyter_pipelines.notebook.linking.step_drafts import step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface
from jupyter_pipelines.pipeline.artifacts import StepOutputRef


def exploration_faults(interfaces: Mapping[str, StepInterface], index: SharedCodeIndex) -> Iterator[Diagnostic]:
    """Yield a warning for every exploratory line that binds or changes an input between its producer and a step."""
    reported: set[tuple[str | int, ...]] = set()
    for interface in interfaces.values():
        for step_input in interface.inputs.values():
            if not isinstance(step_input.source, StepOutputRef) or step_input.source.step not in interfaces:
                continue
            name = step_input.source.output
            between = (interfaces[step_input.source.step].draft.last + 1, 0), (interface.draft.first, 0)
            change = next(iter(index.bound_between(name, *between)), None) or index.changed_between(name, *between)
            # Several steps may take the same changed value: the line is reported once.
            if change is not None and (name, *change.position) not in reported:
                reported.add((name, *change.position))
                yield _unseen_change(interface, step_input.source, change)


def _unseen_change(interface: StepInterface, source: StepOutputRef, change: Entry) -> Diagnostic:
    name = source.output
    text = change.text if isinstance(change, ExploratoryName) else change.code.source.partition("\n")[0]
    message = (
        f"cell {change.cell} changes `{name}` on its way from step `{source.step}` to step `{interface.draft.name}`"
    )
    help_text = f"begin cell {change.cell} with `%%step NAME -i {name} -o {name}`, or let it work under another name"
    notes = (
        f"cell {change.cell}, line {change.line}: {text[:80]}",
        "an exploratory cell is no part of the pipeline: steps get what the step before made",
    )
    place = interface.draft.headers[0].place
    return step_diagnostic(interface.draft, "JP218", message, help_text, place, severity="warning", notes=notes)
