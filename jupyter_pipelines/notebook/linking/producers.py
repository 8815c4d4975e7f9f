"""Index of the steps that produce a name as an output, bind it, or define it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jupyter_pipelines.notebook.code.name_usage import CallSite, DeferredUsage, NameMutation
from jupyter_pipelines.notebook.linking.shared_code import SharedCodeIndex, SharedDefinition
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft


class NameProducer(NamedTuple):
    """A step that produces a name, and the cell in which it does."""

    cell: int
    draft: StepDraft


@dataclass(slots=True)
class _NameProducers:
    """The steps that produce the same name, in notebook order."""

    cells: list[int] = field(default_factory=list)
    drafts: list[StepDraft] = field(default_factory=list)

    def add(self, cell: int, draft: StepDraft) -> None:
        index = bisect_left(self.cells, cell)
        self.cells.insert(index, cell)
        self.drafts.insert(index, draft)

    def before(self, cell: int, excluded: StepDraft) -> NameProducer | None:
        """Return the nearest step before `cell` other than `excluded`."""
        index = bisect_left(self.cells, cell)
        while index:
            index -= 1
            if self.drafts[index] is not excluded:
                return NameProducer(self.cells[index], self.drafts[index])
        return None

    def after(self, cell: int, excluded: StepDraft) -> NameProducer | None:
        """Return the first step in or after `cell` other than `excluded`."""
        index = bisect_left(self.cells, cell)
        while index < len(self.cells):
            if self.drafts[index] is not excluded:
                return NameProducer(self.cells[index], self.drafts[index])
            index += 1
        return None


# Stands for names without producers; nothing is ever added to it.
_EMPTY = _NameProducers()


class ProducerIndex:
    """Looks up steps by the names they produce.

    Parameters
    ----------
    drafts : sequence of StepDraft
        In notebook order.
    index : SharedCodeIndex
        The shared code.
    """

    def __init__(self, drafts: Sequence[StepDraft], index: SharedCodeIndex) -> None:
        self._index = index
        self._making: dict[str, _NameProducers] = {}
        self._binding: dict[str, _NameProducers] = {}
        self._defining: dict[str, _NameProducers] = {}
        for draft in drafts:
            draft.mutates = self._mutations(draft)
            # In notebook order: what a step produces depends on what the steps before it do.
            self._take_in(draft)

    def producer(self, name: str, draft: StepDraft, cell: int) -> NameProducer | None:
        """Return the nearest step before `cell` that has `name` as an output, or will have it if it is needed."""
        return self._making.get(name, _EMPTY).before(cell, draft)

    def later_producer(self, name: str, draft: StepDraft, cell: int) -> NameProducer | None:
        """Return the first step after `cell` that has `name` as an output, or will have it if it is needed."""
        return self._making.get(name, _EMPTY).after(cell, draft)

    def binder(self, name: str, draft: StepDraft, cell: int) -> NameProducer | None:
        """Return the nearest step before `cell` that binds `name` to a value, output or not."""
        return self._binding.get(name, _EMPTY).before(cell, draft)

    def later_binder(self, name: str, draft: StepDraft, cell: int) -> NameProducer | None:
        """Return the first step after `cell` that binds `name` to a value, output or not."""
        return self._binding.get(name, _EMPTY).after(cell, draft)

    def definer(self, name: str, draft: StepDraft, cell: int) -> NameProducer | None:
        """Return the nearest step before `cell`, else the first after it, that imports or defines `name`."""
        definers = self._defining.get(name, _EMPTY)
        return definers.before(cell, draft) or definers.after(cell, draft)

    def makes(self, draft: StepDraft, name: str) -> bool:
        """Return whether a step has `name` as an output, or will have it if it is needed."""
        return draft in self._making.get(name, _EMPTY).drafts

    def known(self) -> Iterable[str]:
        """Return every name that some step produces or binds."""
        return dict.fromkeys([*self._making, *self._binding])

    def _take_in(self, draft: StepDraft) -> None:
        for name, bind in draft.names.binds.items():
            index_for_kind = self._binding if bind.kind == "value" else self._defining
            index_for_kind.setdefault(name, _NameProducers()).add(draft.cell_of(bind.spot), draft)
        for name, cell in self._made(draft).items():
            self._making.setdefault(name, _NameProducers()).add(cell, draft)

    def _made(self, draft: StepDraft) -> dict[str, int]:
        binds, declared = draft.names.binds, draft.items("outputs")
        if declared is not None:
            return {
                item.name: draft.cell_of(binds[item.name].spot) if item.name in binds else draft.last
                for item in declared
            }
        cells = {name: draft.cell_of(bind.spot) for name, bind in binds.items() if bind.kind == "value"}
        for name, mutation in draft.mutates.items():
            cell = draft.cell_of(mutation.spot)
            if name not in binds and self._is_object(name, draft, cell):
                cells[name] = cell
        return cells

    def _is_object(self, name: str, draft: StepDraft, cell: int) -> bool:
        """Return whether `name` refers to an object that steps can pass on, not a module or function."""
        entry = self._index.find(name, (cell, 0))
        if isinstance(entry, SharedDefinition) and not entry.is_value(name):
            return False
        return (
            isinstance(entry, SharedDefinition) or self.producer(name, draft, cell) is not None or _takes(draft, name)
        )

    # Changes through functions

    def _mutations(self, draft: StepDraft) -> Mapping[str, NameMutation]:
        mutations: dict[str, NameMutation] = {}
        for call in draft.names.calls:
            later = self._function(draft, call.function)
            changed = _mutated_parameters(later, lambda name: self._function(draft, name), set()) if later else set()
            for name in _passed_names(call, later, changed):
                mutations.setdefault(name, NameMutation(call.spot, sure=False, how=f"`{call.function}()`"))
        # What the step does itself is certain, and replaces what a call may do to the same name.
        return {**mutations, **draft.names.mutates}

    def _function(self, draft: StepDraft, name: str) -> DeferredUsage | None:
        """Return what the function called `name`, as a step sees it, does when it is called."""
        if name.startswith("."):
            return draft.names.methods.get(name[1:]) or self._index.methods.get(name[1:])
        if name in draft.names.functions:
            return draft.names.functions[name]
        if name in draft.names.binds:
            return None
        entry = self._index.find(name, (draft.last, 0))
        return entry.names.functions.get(name) if isinstance(entry, SharedDefinition) else None


def _takes(draft: StepDraft, name: str) -> bool:
    return any(item.name == name for item in draft.items("inputs") or ())


def _mutated_parameters(
    later: DeferredUsage, function: Callable[[str], DeferredUsage | None], seen: set[int]
) -> set[str]:
    """Return the parameters whose objects a function changes, also through functions that it calls."""
    seen.add(id(later))
    changed_parameters = set(later.changes)
    for call in later.inner:
        callee = function(call.function)
        # Functions may call each other in a circle.
        if callee is not None and id(callee) not in seen:
            changed_parameters |= set(_passed_names(call, callee, _mutated_parameters(callee, function, seen)))
    return changed_parameters


def _passed_names(call: CallSite, callee: DeferredUsage | None, changed: set[str]) -> list[str]:
    """Return the names that a call passes to parameters whose objects the callee changes."""
    if callee is None or not changed:
        return []
    positional = callee.parameters
    return [
        name
        for key, name in call.arguments
        if (key if isinstance(key, str) else positional[key] if key < len(positional) else "") in changed
    ]
