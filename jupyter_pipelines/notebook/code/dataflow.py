"""Dataflow of top-level code along its branches: which names are bound where, and which names share an object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

from jupyter_pipelines.notebook.code.name_usage import (
    CallSite,
    DeferredUsage,
    Kind,
    NameBinding,
    NameMutation,
    NameRead,
    SourceSpan,
)
from jupyter_pipelines.notebook.code.scopes import NO_ROOTS, Roots


@dataclass(slots=True)
class FlowState:
    """The state of names at one point of the code.

    Parameters
    ----------
    definite : set of str
        Names bound on every path to this point.
    possible : set of str
        Names bound on some path to this point.
    aliases : dict
        By bound name: the outside names whose objects it may refer to.
    dead : bool
        The point cannot be reached.
    """

    definite: set[str] = field(default_factory=set)
    possible: set[str] = field(default_factory=set)
    aliases: dict[str, Roots] = field(default_factory=dict)
    dead: bool = False

    def copy(self) -> FlowState:
        """Return an independent copy."""
        return FlowState(set(self.definite), set(self.possible), dict(self.aliases), self.dead)


def merge_states(states: Iterable[FlowState]) -> FlowState:
    """Return the state where several paths meet; paths that end before do not count."""
    all_states = list(states)
    alive = [state for state in all_states if not state.dead]
    if not alive:
        # Code that cannot be reached is analysed all the same: any of the states will do.
        return all_states[0]
    if len(alive) == 1:
        return alive[0]
    definite = set.intersection(*(state.definite for state in alive))
    possible = set.union(*(state.possible for state in alive))
    names = {name for state in alive for name in state.aliases}
    return FlowState(definite, possible, {name: _merged_roots(name, alive) for name in names})


def _merged_roots(name: str, states: list[FlowState]) -> Roots:
    root_sets = [_roots(state, name) for state in states]
    if all(roots == root_sets[0] for roots in root_sets):
        return root_sets[0]
    # The name stands for different objects on different paths: none of them is certain.
    return {root: False for roots in root_sets for root in roots}


def _roots(state: FlowState, name: str) -> Roots:
    if name in state.aliases:
        return state.aliases[name]
    return NO_ROOTS if name in state.possible else {name: True}


class LoopExits(NamedTuple):
    """The states in which the body of a loop is left: by ``break``, and by ``continue``."""

    out: list[FlowState]
    round: list[FlowState]


class DataflowScope:
    """The scope of the top level, with the state at the current point of the code."""

    def __init__(self) -> None:
        self.state = FlowState()
        self.ever_bound: set[str] = set()
        self.reads: dict[str, NameRead] = {}
        self.binds: dict[str, tuple[SourceSpan, Kind]] = {}
        self.mutates: dict[str, NameMutation] = {}
        self.calls: list[CallSite] = []
        self.pending: dict[str, DeferredUsage] = {}
        self.functions: dict[str, DeferredUsage] = {}
        self.unused = DeferredUsage()
        self.loops: list[LoopExits] = []
        self.branches = 0
        self.guards = 0
        self.opaque = False
        self.since: dict[str, int] = {}
        self._order = 0
        self._fired: list[tuple[str, NameRead]] = []

    # Names

    def read(self, name: str, span: SourceSpan, *, sure: bool = True) -> None:
        """Record that a name is read."""
        if name not in self.state.definite:
            sure = sure and not (self.guards or self.opaque or name in self.state.possible)
            earlier = self.reads.get(name)
            if earlier is None or (sure and not earlier.sure):
                self.reads[name] = NameRead(span, sure, self._order)
        self._use(name)

    def bind(self, name: str, span: SourceSpan, kind: Kind = "value", roots: Roots = NO_ROOTS) -> None:
        """Record that a name is bound."""
        self.state.definite.add(name)
        self.state.possible.add(name)
        self.ever_bound.add(name)
        self.binds[name] = (span, kind)
        self._order += 1
        # A binding within a branch need not have happened by the time that later code runs.
        if not self.branches:
            self.since.setdefault(name, self._order)
        if roots:
            self.state.aliases[name] = roots
        else:
            self.state.aliases.pop(name, None)

    def bind_walrus(self, name: str, span: SourceSpan, roots: Roots) -> None:
        """Record ``name := …``."""
        self.bind(name, span, roots=roots)

    def delete(self, name: str, span: SourceSpan) -> None:
        """Record that a name is deleted."""
        # `del` needs the name to be bound, as a read does.
        self.read(name, span)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Record that a name is no longer bound."""
        self.since.pop(name, None)
        self.state.definite.discard(name)
        self.state.possible.discard(name)
        self.state.aliases.pop(name, None)

    def roots(self, name: str) -> Roots:
        """Return the outside names whose objects `name` may refer to."""
        return _roots(self.state, name)

    def is_outside(self, name: str) -> bool:
        """Return whether `name` is certainly not bound here so far."""
        return name not in self.state.possible

    def mutate(self, roots: Roots, mutation: NameMutation) -> None:
        """Record that the objects of `roots` are changed in place."""
        for name, certain in roots.items():
            sure = mutation.sure and certain and not self.branches
            earlier = self.mutates.get(name)
            if earlier is None or (sure and not earlier.sure):
                self.mutates[name] = mutation._replace(sure=sure)

    def call(self, call: CallSite) -> None:
        """Record a call that passes outside names."""
        self.calls.append(call)

    def declare(self, names: list[str]) -> None:
        """Do nothing: at the top level, ``global`` has no effect."""

    # Functions: what they do counts once their name is used

    def later(self, name: str | None, later: DeferredUsage) -> None:
        """Record what a function does when it is called."""
        if name is None:
            self._apply_deferred(later)
        elif name in self.pending:
            self.pending[name].merge(later)
        else:
            self.pending[name] = later
        if name is not None:
            self.functions[name] = later

    def _use(self, name: str) -> None:
        later = self.pending.pop(name, None)
        if later is not None:
            self._apply_deferred(later)

    def _apply_deferred(self, later: DeferredUsage) -> None:
        pending = [later]
        while pending:
            usage = pending.pop()
            self._apply_usage(usage)
            pending += [self.pending.pop(name) for name in usage.reads if name in self.pending]

    def _apply_usage(self, later: DeferredUsage) -> None:
        for name, read in later.reads.items():
            if name not in self.state.definite:
                self._fired.append(
                    (name, NameRead(read.spot, read.sure and not (self.guards or self.opaque), self._order))
                )
        # Whether the function is called on this path is not known: its changes are never certain.
        for name, mutation in later.mutates.items():
            self.mutate(self.roots(name), mutation._replace(sure=False))
        for name, span in later.binds.items():
            if name not in self.state.possible:
                self.state.possible.add(name)
                self.ever_bound.add(name)
                self.binds[name] = (span, "value")
        self.calls += [self._outside(call) for call in later.calls]

    def _outside(self, call: CallSite) -> CallSite:
        """Return a call within a function with only those arguments that refer to outside names here."""
        kept = tuple((index, root) for index, name in call.arguments for root in self.roots(name))
        return call._replace(arguments=kept)

    # Branches

    @contextmanager
    def branching(self) -> Iterator[None]:
        """Follow code that may not run: changes in it are not certain."""
        self.branches += 1
        yield
        self.branches -= 1

    def leave(self) -> None:
        """Record that code after this point cannot be reached."""
        self.state.dead = True

    def leave_round(self, *, out: bool) -> None:
        """Record ``break`` or ``continue``."""
        if self.loops:
            (self.loops[-1].out if out else self.loops[-1].round).append(self.state.copy())
        self.leave()

    def enter_loop(self) -> None:
        """Record that the body of a loop begins."""
        self.loops.append(LoopExits([], []))

    def end_round(self) -> list[FlowState]:
        """Merge the states at the end of the body and of ``continue``, and return those of ``break``."""
        out, rounds = self.loops.pop()
        self.state = merge_states([self.state, *rounds])
        return out

    # The end

    def finish(self) -> None:
        """Resolve what depends on the code as a whole."""
        for name, read in self._fired:
            # The function may be called only after a later statement has bound the name.
            sure = read.sure and name not in self.ever_bound
            if name not in self.reads or (sure and not self.reads[name].sure):
                self.reads[name] = read._replace(sure=sure)
        for later in self.pending.values():
            self.unused.merge(later)

    def aliases(self) -> dict[str, str]:
        """Return the names that certainly refer to the object of a single outside name at the end."""
        aliases = self.state.aliases.items()
        return {name: root for name, roots in aliases if len(roots) == 1 for root, sure in roots.items() if sure}

    def bound(self) -> dict[str, NameBinding]:
        """Return what is bound at the end."""
        state = self.state
        return {
            name: NameBinding(span, kind, name in state.definite)
            for name, (span, kind) in self.binds.items()
            if name in state.possible
        }
