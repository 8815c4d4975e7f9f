"""Transitive dependencies of a step: parameters, outputs of other steps, shared code and what that needs in turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from jupyter_pipelines.notebook.code.name_usage import BUILTINS, ModuleImport, NameUsage, SourceSpan, is_ipython_history
from jupyter_pipelines.notebook.code.project_modules import UNKNOWN_SEARCH_PATH
from jupyter_pipelines.notebook.linking.draft import PATH_FORMATS, StepDraft
from jupyter_pipelines.notebook.linking.producers import NameProducer, ProducerIndex
from jupyter_pipelines.notebook.linking.shared_code import (
    Entry,
    ExploratoryName,
    Position,
    SharedCodeIndex,
    SharedDefinition,
)

Kind = Literal[
    "undefined", "undeclared", "kept", "below", "computed", "changed", "early", "defined", "setup-below",
]  # fmt: skip
"""Why a name that is needed is unresolved.

``undefined``: no code binds it; ``undeclared``: a step before makes it, but it is not among the declared inputs;
``kept``: a step before binds it and does not make it an output; ``below``: a step behind makes it; ``computed``,
``changed``: exploration does that; ``early``: shared code needs it before inputs are there; ``defined``: a step imports
or defines it; ``setup-below``: a ``%%setup`` cell behind the step binds it.
"""


class NameReference(NamedTuple):
    """A reference to a name, from a step or from shared code.

    Parameters
    ----------
    name : str
        The name.
    spot : SourceSpan
        Where it is read.
    sure : bool
        Nothing can have bound it before.
    cell : int
        The cell of the step that leads there.
    via : SharedDefinition or None
        The shared code that reads it; None for the step itself.
    at_once : bool
        It is read when `via` runs, not when a function of `via` is called.
    order : int
        How many names the step has bound before it uses what leads there.
    """

    name: str
    spot: SourceSpan
    sure: bool
    cell: int
    via: SharedDefinition | None = None
    at_once: bool = False
    order: int = 0

    @property
    def position(self) -> Position:
        """The point in the notebook for which the name is looked up."""
        return self.via.position if self.via and self.at_once else (self.cell, 0)

    @property
    def at(self) -> int:
        """The cell for which the name is looked up."""
        return self.position[0]


class UnresolvedName(NamedTuple):
    """A name that is needed and cannot be resolved; `making` or `entry` is the step or code it is about."""

    kind: Kind
    need: NameReference
    making: NameProducer | None = None
    entry: Entry | None = None


@dataclass(slots=True)
class StepDependencies:
    """The dependencies of a step.

    Parameters
    ----------
    definitions : list of SharedDefinition
        Shared code, in the order in which it has to run.
    parameters : dict of str to NameReference
        Parameters.
    taken : dict of str to (Making, NameReference)
        Names that steps before it make.
    used : set of str
        Every name that it needs from outside, however far away.
    problems : list of UnresolvedName
        Needs that are not met.
    imports : list of ModuleImport
        Everything that it and its shared code import.
    unknown : list of str
        What cannot be determined: a list of sentences.
    """

    definitions: list[SharedDefinition] = field(default_factory=list)
    parameters: dict[str, NameReference] = field(default_factory=dict)
    taken: dict[str, tuple[NameProducer, NameReference]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    problems: list[UnresolvedName] = field(default_factory=list)
    imports: list[ModuleImport] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


class LinkContext(NamedTuple):
    """What a step can depend on: shared code, other steps, and the names of parameters."""

    shared: SharedCodeIndex
    makers: ProducerIndex
    parameters: frozenset[str]


def reach(draft: StepDraft, context: LinkContext) -> StepDependencies:
    """Return the transitive dependencies of a step."""
    reacher = _DependencyResolver(draft, context)
    reacher.follow()
    return reacher.finish()


class _DependencyResolver:
    """Resolves the dependencies of a step."""

    def __init__(self, draft: StepDraft, context: LinkContext) -> None:
        self.draft = draft
        self.index, self.makers, self.parameters = context
        outputs = draft.items("outputs") or ()
        self.given = {item.name for item in draft.items("inputs") or ()}
        self.given |= {item.name for item in outputs if item.format in PATH_FORMATS}
        # A declared parameter that does not exist has been reported already.
        self.given |= {item.name for item in draft.items("parameters") or ()} - context.parameters
        self.given |= draft.axes.keys()
        self.inferring = draft.items("inputs") is None
        self.found = StepDependencies(imports=list(draft.names.imports))
        self.waiting: deque[NameReference] = deque()
        self.seen: set[tuple[str, Position]] = set()
        self.chosen: dict[int, SharedDefinition] = {}
        self.first_of: dict[int, set[int]] = {}
        self.open: list[NameReference] = []
        self.built_in = False
        self.dynamic = draft.dynamic

    def follow(self) -> None:
        """Follow every need to its end."""
        draft = self.draft
        for definition in self.index.futures:
            if definition.position < (draft.first, 0):
                self._include(definition, draft.first, 0)
        for definition in self.index.setups:
            if definition.position < (draft.first, 0):
                self._include(definition, draft.first, 0)
        self._follow_waiting()
        reads = [(read, name, read.sure) for name, read in draft.names.reads.items()]
        reads += [
            (read, name, False) for name, read in draft.names.later.reads.items() if name not in draft.names.binds
        ]
        # Whatever leads somewhere first is followed to its end first: what the step has bound by then counts.
        for read, name, sure in sorted(reads, key=lambda triple: triple[0].order):
            self.waiting.append(NameReference(name, read.spot, sure, draft.cell_of(read.spot), order=read.order))
            self._follow_waiting()

    def _follow_waiting(self) -> None:
        while self.waiting:
            need = self.waiting.popleft()
            key = (need.name, need.position)
            if key not in self.seen:
                self.seen.add(key)
                self._meet(need)

    def finish(self) -> StepDependencies:
        """Complete what depends on all references, and return the dependencies."""
        self._include_stars()
        if not self.dynamic:
            self.found.problems += [self._unresolved(need) for need in self.open]
        self.found.definitions = self._in_order()
        self.found.unknown = list(dict.fromkeys([*self._own_sentences(), *self.found.unknown]))
        return self.found

    # A single reference

    def _meet(self, need: NameReference) -> None:
        name = need.name
        self.found.used.add(name)
        if name in self.given:
            self._early(need, None)
        elif name in self.parameters:
            self.found.parameters.setdefault(name, need)
        else:
            self._look_up(need)

    def _look_up(self, need: NameReference) -> None:
        entry = self.index.find(need.name, need.position)
        making = self.makers.producer(need.name, self.draft, need.at)
        if making is not None and not _takes_precedence(entry, making, need):
            self._take(need, making)
        elif isinstance(entry, SharedDefinition) and not _only_behind(need, entry):
            self._share(need, entry)
        elif need.name in BUILTINS:
            self.built_in = True
        elif isinstance(entry, ExploratoryName):
            self.found.problems.append(UnresolvedName("computed", need, entry=entry))
        elif is_ipython_history(need.name):
            self.found.unknown.append(f"`{need.name}` is what IPython keeps of earlier cells, and a step has none")
        else:
            self.open.append(need)

    def _early(self, need: NameReference, making: NameProducer | None) -> bool:
        """Report a name that shared code needs before inputs are there; return whether `need` is such a name."""
        if need.via is not None and need.at_once:
            self.found.problems.append(UnresolvedName("early", need, making=making))
            return True
        return False

    def _take(self, need: NameReference, making: NameProducer) -> None:
        if self._early(need, making):
            return
        if self.inferring:
            self.found.taken.setdefault(need.name, (making, need))
        elif need.sure:
            self.found.problems.append(UnresolvedName("undeclared", need, making=making))

    def _share(self, need: NameReference, entry: SharedDefinition) -> None:
        """Include the shared code that binds a name, unless the name changes between it and the step."""
        name, end = need.name, need.position
        conflict = self._conflict_between(need, entry) if entry.position < end else None
        if conflict is not None:
            self.found.problems.append(conflict)
            return
        if need.via is None and self._is_bound_again(name, entry):
            self.found.unknown.append(f"`{name}` is bound again between the cells of the step")
        self._include(entry, need.cell, need.order)
        if need.via is not None and need.at_once:
            self.first_of.setdefault(id(need.via), set()).add(id(entry))
        for definition in self.index.modules(name, end) if entry.kind == "import" else ():
            self._include(definition, need.cell, need.order)

    def _conflict_between(self, need: NameReference, entry: SharedDefinition) -> UnresolvedName | None:
        """Return what happens to a name between the shared code that binds it and the step, where no step sees it."""
        if entry.names.binds[need.name].kind == "import":
            return None
        making = self._rebinding_step(need, entry)
        if making is not None:
            return UnresolvedName("kept" if entry.is_value(need.name) else "defined", need, making=making)
        changed = self.index.changed_between(need.name, entry.position, need.position)
        return UnresolvedName("changed", need, entry=changed) if changed else None

    def _is_bound_again(self, name: str, entry: SharedDefinition) -> bool:
        """Return whether exploration binds a name to something else between the cells of the step."""
        start, end = (self.draft.first, 0), (self.draft.last, 0)
        return any(
            not (isinstance(binding, SharedDefinition) and binding.code.source == entry.code.source)
            for binding in self.index.bound_between(name, max(start, entry.position), end)
            if binding is not entry
        )

    def _rebinding_step(self, need: NameReference, entry: SharedDefinition) -> NameProducer | None:
        """Return a step that binds the name again for itself between the shared code and this step.

        In the live notebook its value would count from there on.
        """
        if not need.sure or need.at_once:
            return None
        if entry.is_value(need.name):
            making = self.makers.binder(need.name, self.draft, need.cell)
        else:
            making = self.makers.definer(need.name, self.draft, need.cell)
        return making if making and entry.cell < making.cell < need.cell else None

    def _unresolved(self, need: NameReference) -> UnresolvedName:
        """Return why a name is unresolved that neither shared code nor an earlier output has."""
        name, draft, makers = need.name, self.draft, self.makers
        if need.via is not None and need.at_once:
            bind = draft.names.binds.get(name)
            making = NameProducer(draft.cell_of(bind.spot), draft) if bind else makers.producer(name, draft, need.cell)
            if making is not None:
                return UnresolvedName("early", need, making=making)
        making = makers.definer(name, draft, need.cell)
        if making is not None:
            return UnresolvedName("defined", need, making=making)
        making = makers.binder(name, draft, need.cell)
        if making is not None:
            return UnresolvedName("kept", need, making=making)
        making = makers.later_producer(name, draft, need.cell) or makers.later_binder(name, draft, need.cell)
        if making is not None:
            return UnresolvedName("below", need, making=making)
        setup = self.index.setup_below(name, need.position)
        return UnresolvedName("setup-below" if setup else "undefined", need, entry=setup)

    # Shared code

    def _include(self, definition: SharedDefinition, cell: int, order: int) -> None:
        if id(definition) in self.chosen:
            return
        self.chosen[id(definition)] = definition
        names = definition.names
        self.found.imports += names.imports
        self.dynamic = self.dynamic or names.dynamic
        self.found.unknown += _sentences(definition)
        for name, read in names.reads.items():
            self.waiting.append(NameReference(name, read.spot, read.sure, cell, definition, at_once=True, order=order))
        for later in (names.later, *names.functions.values()):
            for name, read in later.reads.items():
                if name not in names.binds and not self._is_bound(name, order):
                    sure = read.sure and name not in self.draft.names.binds
                    self.waiting.append(NameReference(name, read.spot, sure, cell, definition, order=order))

    def _is_bound(self, name: str, order: int) -> bool:
        """Return whether the step itself has bound `name` before it uses what leads there."""
        return self.draft.names.since.get(name, order + 1) <= order

    def _include_stars(self) -> None:
        """Include star imports whose names are not known, where they may bind a name that is needed."""
        star_imports = [star_import for star_import in self.index.stars if star_import.position < (self.draft.last, 0)]
        if star_imports and (self.open or self.built_in):
            for star_import in star_imports:
                self._include(star_import, self.draft.last, 0)
            self.dynamic = True

    def _in_order(self) -> list[SharedDefinition]:
        """Return the shared code in notebook order, save that what is needed at once comes before."""
        ordered: dict[int, SharedDefinition] = {}
        for definition in sorted(self.chosen.values(), key=lambda definition: definition.position):
            self._put(definition, ordered)
        return list(ordered.values())

    def _put(self, definition: SharedDefinition, ordered: dict[int, SharedDefinition]) -> None:
        """Put a definition behind all that it needs at once; those that need each other keep their order."""
        stack, entered = [(definition, False)], set()
        while stack:
            current, ready = stack.pop()
            if id(current) in ordered:
                continue
            if ready:
                ordered[id(current)] = current
            elif id(current) not in entered:
                entered.add(id(current))
                stack.append((current, True))
                before = [self.chosen[key] for key in self.first_of.get(id(current), ()) if key not in ordered]
                stack += [(other, False) for other in sorted(before, key=lambda other: other.position, reverse=True)]

    def _own_sentences(self) -> Iterator[str]:
        draft = self.draft
        for cell, code in zip(draft.cells, draft.codes, strict=True):
            yield from (f"cell {cell.number}: {sentence}" for sentence in code.unknown)
        yield from _sentences_of(draft.names, lambda part: f"cell {draft.cells[part].number}: ")


def _takes_precedence(entry: Entry | None, making: NameProducer, need: NameReference) -> bool:
    """Return whether shared code takes precedence over a step that makes the name: it stands between the two steps.

    A constant does not, unless a ``%%setup`` cell binds it: exploration may well use the same name for something else.
    """
    if not isinstance(entry, SharedDefinition) or not making.cell < entry.cell < need.cell:
        return False
    return entry.kind == "setup" or not entry.is_value(need.name)


def _only_behind(need: NameReference, entry: SharedDefinition) -> bool:
    """Return whether shared code binds a built-in name only further down: until then the name means the built-in."""
    return need.name in BUILTINS and entry.position > need.position


def _sentences(definition: SharedDefinition) -> Iterator[str]:
    where = (
        f"`{definition.code.name}` (cell {definition.cell})"
        if definition.kind != "setup"
        else f"cell {definition.cell}"
    )
    yield from _sentences_of(definition.names, lambda _part: f"{where}: ")


def _sentences_of(names: NameUsage, prefix: Callable[[int], str]) -> Iterator[str]:
    for part, sentence in names.unknown:
        yield prefix(part) + sentence
    for star, spot in names.stars:
        dots = "." * star.level
        yield f"{prefix(spot.part)}`from {dots}{star.module} import *` binds names that are not known"
    if None in names.paths:
        yield prefix(0) + UNKNOWN_SEARCH_PATH
