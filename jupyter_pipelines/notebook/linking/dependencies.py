"""Transitive dependencies of a step: parameters, outputs of other steps, shared code and the dependencies of that."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from jupyter_pipelines.notebook.code.name_usage import BUILTINS, ModuleImport, NameUsage, SourceSpan, is_ipython_history
from jupyter_pipelines.notebook.code.project_modules import UNKNOWN_SEARCH_PATH, ProjectModules
from jupyter_pipelines.notebook.linking.producers import NameProducer, ProducerIndex
from jupyter_pipelines.notebook.linking.registrations import CodeRegistration
from jupyter_pipelines.notebook.linking.shared_code import (
    Entry,
    ExploratoryName,
    Position,
    SharedCodeIndex,
    SharedDefinition,
)
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS

BINDS_UNKNOWN_NAMES = "binds names that are not known"
Kind = Literal[
    "undefined", "undeclared", "kept", "below", "computed", "changed", "early", "defined", "setup-below",
]  # fmt: skip
"""Why a name cannot be resolved.

``undefined``: no code binds it; ``undeclared``: an earlier step produces it, but it is not a declared input; ``kept``:
an earlier step binds it, but not as an output; ``below``: a later step produces it; ``computed``, ``changed``:
exploration binds it, or changes its object; ``early``: shared code reads it before inputs are loaded; ``defined``: a
step imports or defines it for itself; ``setup-below``: a later ``%%setup`` cell binds it.
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
        Nothing can have bound it before in the same code.
    cell : int
        The cell of the step from which the name is reached.
    via : SharedDefinition or None
        The shared code that reads it; None for the step itself.
    at_once : bool
        It is read when `via` runs, not when a function of `via` is called.
    order : int
        How many names the step has bound before the use through which the name is reached.
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
    """A name that cannot be resolved; `making` or `entry` is the step or code that explains it."""

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
    taken : dict of str to (NameProducer, NameReference)
        Names that are taken from earlier steps, with their producers.
    used : set of str
        Every name that it reads from outside, transitively.
    problems : list of UnresolvedName
        References that cannot be resolved.
    imports : list of ModuleImport
        Everything that it and its shared code import.
    unknown : list of str
        What cannot be determined: a list of sentences.
    hidden : list of str
        Names that nothing binds unless code that cannot be determined does.
    """

    definitions: list[SharedDefinition] = field(default_factory=list)
    parameters: dict[str, NameReference] = field(default_factory=dict)
    taken: dict[str, tuple[NameProducer, NameReference]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    problems: list[UnresolvedName] = field(default_factory=list)
    imports: list[ModuleImport] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


class LinkContext(NamedTuple):
    """What a step can depend on: shared code, other steps, names of parameters, and the project's own modules."""

    shared: SharedCodeIndex
    makers: ProducerIndex
    parameters: frozenset[str]
    modules: ProjectModules
    registrations: Sequence[CodeRegistration]


def resolve_dependencies(draft: StepDraft, context: LinkContext) -> StepDependencies:
    """Return the transitive dependencies of a step."""
    resolver = _DependencyResolver(draft, context)
    resolver.follow()
    return resolver.finish()


class _DependencyResolver:
    """Resolves the dependencies of a step."""

    def __init__(self, draft: StepDraft, context: LinkContext) -> None:
        self.draft = draft
        self.index, self.makers, self.parameters, self.modules, self.registrations = context
        outputs = draft.items("outputs") or ()
        self.provided = {item.name for item in draft.items("inputs") or ()}
        self.provided |= {item.name for item in outputs if item.format in PATH_FORMATS}
        # A declared parameter that does not exist has been reported already.
        self.provided |= {item.name for item in draft.items("parameters") or ()} - context.parameters
        self.provided |= draft.axes.keys()
        self.inferring = draft.items("inputs") is None
        self.dependencies = StepDependencies(imports=list(draft.names.imports))
        self.waiting: deque[NameReference] = deque()
        self.seen: set[tuple[str, Position]] = set()
        self.included: dict[int, SharedDefinition] = {}
        self.prerequisites: dict[int, set[int]] = {}
        self.unresolved: list[NameReference] = []
        self.built_in = False
        self.dynamic = draft.dynamic

    def follow(self) -> None:
        """Follow every reference to its end."""
        draft = self.draft
        # Before all other code: `from __future__` changes how what follows is compiled.
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
        # Each use is resolved completely before the next: what the step has bound by then hides outside names.
        for read, name, sure in sorted(reads, key=lambda triple: triple[0].order):
            self.waiting.append(NameReference(name, read.spot, sure, draft.cell_of(read.spot), order=read.order))
            self._follow_waiting()
        self._include_registrations()

    def _include_registrations(self) -> None:
        """Include shared code that registers something with what the step reaches, and all that this code reaches."""
        start = (self.draft.first, 0)
        candidates = [candidate for candidate in self.registrations if candidate.definition.position < start]
        counted = -1
        # What has been included may itself be registered with: repeated until nothing is added.
        while candidates and counted != len(self.included):
            counted = len(self.included)
            closure = self.modules.reach(self.dependencies.imports)
            reached = {module.name for module in closure.modules}.union(closure.packages)
            names = self.dependencies.used
            bases = names if self._asks_for_subclasses() else frozenset()
            for candidate in candidates:
                changes = candidate.names & names or candidate.modules & reached or candidate.bases & bases
                if changes and id(candidate.definition) not in self.included:
                    self._include(candidate.definition, self.draft.first, 0)
                    self._follow_waiting()

    def _asks_for_subclasses(self) -> bool:
        texts = [cell.body for cell in self.draft.cells]
        texts += [definition.code.source for definition in self.included.values()]
        return any("__subclasses__" in text for text in texts)

    def _follow_waiting(self) -> None:
        while self.waiting:
            reference = self.waiting.popleft()
            key = (reference.name, reference.position)
            # Functions that call each other lead back to a name that was looked up for the same place.
            if key not in self.seen:
                self.seen.add(key)
                self._resolve(reference)

    def finish(self) -> StepDependencies:
        """Complete what depends on all references, and return the dependencies."""
        self._include_stars()
        # Code that may bind any name may bind these, too.
        if self.dynamic:
            self.dependencies.hidden = list(dict.fromkeys(reference.name for reference in self.unresolved))
        else:
            self.dependencies.problems += [self._explain(reference) for reference in self.unresolved]
        self.dependencies.definitions = self._in_order()
        self.dependencies.unknown = list(dict.fromkeys([*self._own_sentences(), *self.dependencies.unknown]))
        return self.dependencies

    # A single reference

    def _resolve(self, reference: NameReference) -> None:
        name = reference.name
        self.dependencies.used.add(name)
        if name in self.provided:
            self._report_early_use(reference, None)
        elif name in self.parameters:
            self.dependencies.parameters.setdefault(name, reference)
        else:
            self._look_up(reference)

    def _look_up(self, reference: NameReference) -> None:
        entry = self.index.find(reference.name, reference.position)
        producer = self.makers.producer(reference.name, self.draft, reference.at)
        if producer is not None and not _takes_precedence(entry, producer, reference):
            self._depend_on_step(reference, producer)
        elif isinstance(entry, SharedDefinition) and not _only_behind(reference, entry):
            self._include_shared(reference, entry)
        elif reference.name in BUILTINS:
            self.built_in = True
        elif isinstance(entry, ExploratoryName):
            self.dependencies.problems.append(UnresolvedName("computed", reference, entry=entry))
        elif is_ipython_history(reference.name):
            self.dependencies.unknown.append(
                f"`{reference.name}` is what IPython keeps of earlier cells, and a step has none"
            )
        else:
            self.unresolved.append(reference)

    def _report_early_use(self, reference: NameReference, producer: NameProducer | None) -> bool:
        """Report a name that shared code reads before inputs are loaded; return whether `reference` is such a name."""
        if reference.via is not None and reference.at_once:
            self.dependencies.problems.append(UnresolvedName("early", reference, producer))
            return True
        return False

    def _depend_on_step(self, reference: NameReference, producer: NameProducer) -> None:
        if self._report_early_use(reference, producer):
            return
        if self.inferring:
            self.dependencies.taken.setdefault(reference.name, (producer, reference))
        elif reference.sure:
            self.dependencies.problems.append(UnresolvedName("undeclared", reference, producer))

    def _include_shared(self, reference: NameReference, entry: SharedDefinition) -> None:
        """Include the shared code that binds a name, unless the name changes between it and the step."""
        name, end = reference.name, reference.position
        conflict = self._conflict_between(reference, entry) if entry.position < end else None
        if conflict is not None:
            self.dependencies.problems.append(conflict)
            return
        if reference.via is None and self._is_bound_again(name, entry):
            self.dependencies.unknown.append(f"`{name}` is bound again between the cells of the step")
        self._include(entry, reference.cell, reference.order)
        if reference.via is not None and reference.at_once:
            self.prerequisites.setdefault(id(reference.via), set()).add(id(entry))
        # `import a.b` and `import a.c` bind the same name, but each makes another submodule available.
        for definition in self.index.modules(name, end) if entry.kind == "import" else ():
            self._include(definition, reference.cell, reference.order)

    def _conflict_between(self, reference: NameReference, entry: SharedDefinition) -> UnresolvedName | None:
        """Return the change of a name between the shared code that binds it and the step; a step would not see it."""
        if entry.names.binds[reference.name].kind == "import":
            return None
        producer = self._rebinding_step(reference, entry)
        if producer is not None:
            return UnresolvedName("kept" if entry.is_value(reference.name) else "defined", reference, producer)
        changed = self.index.changed_between(reference.name, entry.position, reference.position)
        return UnresolvedName("changed", reference, entry=changed) if changed else None

    def _is_bound_again(self, name: str, entry: SharedDefinition) -> bool:
        """Return whether exploration binds a name to something else between the cells of the step."""
        start, end = (self.draft.first, 0), (self.draft.last, 0)
        return any(
            not (isinstance(binding, SharedDefinition) and binding.code.source == entry.code.source)
            for binding in self.index.bound_between(name, max(start, entry.position), end)
            if binding is not entry
        )

    def _rebinding_step(self, reference: NameReference, entry: SharedDefinition) -> NameProducer | None:
        """Return a step that binds the name again for itself between the shared code and this step.

        In the live notebook its value would count from there on.
        """
        if not reference.sure or reference.at_once:
            return None
        if entry.is_value(reference.name):
            producer = self.makers.binder(reference.name, self.draft, reference.cell)
        else:
            producer = self.makers.definer(reference.name, self.draft, reference.cell)
        return producer if producer and entry.cell < producer.cell < reference.cell else None

    def _explain(self, reference: NameReference) -> UnresolvedName:
        """Explain why a name is unresolved that neither shared code nor an earlier output has."""
        name, draft, producers = reference.name, self.draft, self.makers
        if reference.via is not None and reference.at_once:
            bind = draft.names.binds.get(name)
            producer = (
                NameProducer(draft.cell_of(bind.spot), draft)
                if bind
                else producers.producer(name, draft, reference.cell)
            )
            if producer is not None:
                return UnresolvedName("early", reference, producer)
        producer = producers.definer(name, draft, reference.cell)
        if producer is not None:
            return UnresolvedName("defined", reference, producer)
        producer = producers.binder(name, draft, reference.cell)
        if producer is not None:
            return UnresolvedName("kept", reference, producer)
        producer = producers.later_producer(name, draft, reference.cell) or producers.later_binder(
            name, draft, reference.cell
        )
        if producer is not None:
            return UnresolvedName("below", reference, producer)
        setup = self.index.setup_below(name, reference.position)
        return UnresolvedName("setup-below" if setup else "undefined", reference, entry=setup)

    # Shared code

    def _include(self, definition: SharedDefinition, cell: int, order: int) -> None:
        if id(definition) in self.included:
            return
        self.included[id(definition)] = definition
        names = definition.names
        self.dependencies.imports += names.imports
        self.dynamic = self.dynamic or names.dynamic
        self.dependencies.unknown += _sentences(definition)
        for name, read in names.reads.items():
            self.waiting.append(NameReference(name, read.spot, read.sure, cell, definition, at_once=True, order=order))
        for later in (names.later, *names.functions.values()):
            for name, read in later.reads.items():
                if name not in names.binds and not self._is_bound(name, order):
                    sure = read.sure and name not in self.draft.names.binds
                    self.waiting.append(NameReference(name, read.spot, sure, cell, definition, order=order))

    def _is_bound(self, name: str, order: int) -> bool:
        """Return whether the step itself has bound `name` before the use through which it is reached."""
        return self.draft.names.since.get(name, order + 1) <= order

    def _include_stars(self) -> None:
        """Include star imports whose names are not known, where they may bind a name that is needed."""
        star_imports = [star_import for star_import in self.index.stars if star_import.position < (self.draft.last, 0)]
        if star_imports and (self.unresolved or self.built_in):
            for star_import in star_imports:
                self._include(star_import, self.draft.last, 0)
            # Nothing tells which names they bind: none that is unresolved can be called undefined.
            self.dynamic = True
            self._follow_waiting()  # what `with suppress(…): from … import *` needs itself

    def _in_order(self) -> list[SharedDefinition]:
        """Return the shared code in notebook order, but each piece after those that it needs when it runs."""
        ordered: dict[int, SharedDefinition] = {}
        for definition in sorted(self.included.values(), key=lambda definition: definition.position):
            self._put_after_prerequisites(definition, ordered)
        return list(ordered.values())

    def _put_after_prerequisites(self, definition: SharedDefinition, ordered: dict[int, SharedDefinition]) -> None:
        """Append a definition after its prerequisites; definitions that need each other keep their order."""
        # A stack, not recursion: chains of definitions may be longer than the limit of the interpreter.
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
                before = [self.included[key] for key in self.prerequisites.get(id(current), ()) if key not in ordered]
                stack += [(other, False) for other in sorted(before, key=lambda other: other.position, reverse=True)]

    def _own_sentences(self) -> Iterator[str]:
        draft = self.draft
        for cell, code in zip(draft.cells, draft.codes, strict=True):
            yield from (f"cell {cell.number}: {sentence}" for sentence in code.unknown)
        yield from _sentences_of(draft.names, lambda part: f"cell {draft.cells[part].number}: ")


def _takes_precedence(entry: Entry | None, producer: NameProducer, reference: NameReference) -> bool:
    """Return whether shared code takes precedence over a step that produces the name, as it stands between the two.

    A constant does not, unless a ``%%setup`` cell binds it: exploration may well use the same name for something else.
    """
    if not isinstance(entry, SharedDefinition) or not producer.cell < entry.cell < reference.cell:
        return False
    return entry.kind == "setup" or not entry.is_value(reference.name)


def _only_behind(reference: NameReference, entry: SharedDefinition) -> bool:
    """Return whether shared code binds a built-in name only after the reference, which means the built-in then."""
    return reference.name in BUILTINS and entry.position > reference.position


def _sentences(definition: SharedDefinition) -> Iterator[str]:
    # A star import is called by its own text, which the sentence about it has already.
    is_named = definition.kind != "setup" and not definition.names.stars
    where = f"`{definition.code.name}` (cell {definition.cell})" if is_named else f"cell {definition.cell}"
    yield from _sentences_of(definition.names, lambda _part: f"{where}: ")


def _sentences_of(names: NameUsage, prefix: Callable[[int], str]) -> Iterator[str]:
    for part, sentence in names.unknown:
        yield prefix(part) + sentence
    for star, spot in names.stars:
        dots = "." * star.level
        yield f"{prefix(spot.part)}`from {dots}{star.module} import *` {BINDS_UNKNOWN_NAMES}"
    if None in names.paths:
        yield prefix(0) + UNKNOWN_SEARCH_PATH
