"""How a piece of code uses names: which names it reads, binds and mutates, and what cannot be determined.

Code is followed statement by statement, branch by branch. A read counts where no earlier binding is certain; it is
*sure* where none is possible. What a function reads counts from the first use of its name on.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["value", "import", "function", "class"]

# Names that a kernel's namespace has from the start.
BUILTINS = frozenset(dir(builtins)) | frozenset(
    "__annotations__ __builtins__ __class__ __doc__ __file__ __loader__ __module__ __name__ __package__ __qualname__ "
    "__spec__ display exit get_ipython quit".split()
)
_HISTORY = re.compile(r"_{1,3}|_i{0,3}\d*|In|Out|_[ido]h")


def is_ipython_history(name: str) -> bool:
    """Return whether IPython keeps earlier inputs or outputs under `name`."""
    return _HISTORY.fullmatch(name) is not None


class SourceSpan(NamedTuple):
    """Location of a name or expression in code.

    Parameters
    ----------
    part : int
        Which of the texts analysed together, counted from 0.
    line : int
        Line in its Python text, counted from 1.
    column : int
        Byte in the line, counted from 0.
    length : int
        In bytes.
    """

    part: int
    line: int
    column: int
    length: int


class NameRead(NamedTuple):
    """A name that is needed from outside.

    Parameters
    ----------
    spot : SourceSpan
        Where first.
    sure : bool
        Nothing in the code can have bound it before.
    order : int
        How many names were bound before it was read.
    """

    spot: SourceSpan
    sure: bool
    order: int = 0


class NameBinding(NamedTuple):
    """A name that is bound at the top level: where last, to what, and whether on every way through the code."""

    spot: SourceSpan
    kind: Kind
    sure: bool


class NameMutation(NamedTuple):
    """A name whose object is changed in place: where, whether that is certain, and how, in a few words."""

    spot: SourceSpan
    sure: bool
    how: str


class CallSite(NamedTuple):
    """A call of a function or method, with the outside names that are passed to it as they are.

    Parameters
    ----------
    function : str
        Its name; with a dot before it for a method, whose first argument is its object.
    arguments : tuple of (int or str, str)
        Position or keyword, and the name passed.
    spot : SourceSpan
        Where.
    """

    function: str
    arguments: tuple[tuple[int | str, str], ...]
    spot: SourceSpan

    def without(self, names: frozenset[str]) -> CallSite:
        """Return the call without the arguments that are among `names`."""
        return self._replace(arguments=tuple(argument for argument in self.arguments if argument[1] not in names))


class ModuleImport(NamedTuple):
    """A module that code imports.

    Parameters
    ----------
    module : str
        Its dotted name; empty in ``from . import x``.
    names : tuple of str
        What is taken from it; ``("*",)`` for everything, empty for ``import module``.
    level : int
        Leading dots.
    """

    module: str
    names: tuple[str, ...] = ()
    level: int = 0


@dataclass(slots=True, kw_only=True)
class DeferredUsage:
    """How a function uses names when it is called.

    Parameters
    ----------
    reads : dict of str to NameRead
        Names it takes from outside.
    mutates : dict of str to NameMutation
        Outside names whose objects it changes.
    binds : dict of str to SourceSpan
        Names it binds through ``global``.
    calls : list of CallSite
        Functions it calls with outside names.
    inner : list of CallSite
        Functions it calls with its own parameters.
    parameters : tuple of str
        Those that can be given by position, in order.
    changes : set of str
        Parameters whose objects it changes.
    """

    reads: dict[str, NameRead] = field(default_factory=dict)
    mutates: dict[str, NameMutation] = field(default_factory=dict)
    binds: dict[str, SourceSpan] = field(default_factory=dict)
    calls: list[CallSite] = field(default_factory=list)
    inner: list[CallSite] = field(default_factory=list)
    parameters: tuple[str, ...] = ()
    changes: set[str] = field(default_factory=set)

    def read(self, name: str, read: NameRead) -> None:
        """Record that a name is read; the first sure place counts, else the first."""
        earlier = self.reads.get(name)
        if earlier is None or (read.sure and not earlier.sure):
            self.reads[name] = read

    def merge(self, other: DeferredUsage) -> None:
        """Add what `other` does when it is called."""
        for name, read in other.reads.items():
            self.read(name, read)
        for name, mutation in other.mutates.items():
            self.mutates.setdefault(name, mutation)
        self.binds.update(other.binds)
        self.calls += other.calls

    def without(self, names: frozenset[str]) -> DeferredUsage:
        """Return the usage without `names`, which an enclosing scope binds."""
        return DeferredUsage(
            reads={name: read for name, read in self.reads.items() if name not in names},
            mutates={name: mutation for name, mutation in self.mutates.items() if name not in names},
            binds=self.binds,
            calls=[call.without(names) for call in self.calls if call.function not in names],
            inner=self.inner,
            parameters=self.parameters,
            changes=self.changes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NameUsage:
    """How a piece of code uses names.

    Parameters
    ----------
    reads : Mapping of str to NameRead
        Names needed from outside while it runs, built-in names included.
    later : DeferredUsage
        What those of its functions do that it does not use itself.
    binds : Mapping of str to NameBinding
        Names bound at its end.
    since : Mapping of str to int
        Names bound on every way from some point on to the end: how many names were bound before that point.
    deletes : frozenset of str
        Names deleted and not bound again.
    mutates : Mapping of str to NameMutation
        Outside names whose objects it changes in place.
    calls : tuple of CallSite
        Calls through which it may change objects of outside names.
    functions : Mapping of str to DeferredUsage
        Its functions, by name.
    methods : Mapping of str to DeferredUsage
        Methods of its classes, by name.
    aliases : Mapping of str to str
        Names that in the end certainly stand for the object of an outside name.
    imports : tuple of ModuleImport
        Everything it imports, bodies of functions included.
    paths : tuple of str or None
        What it adds to the module search path; None for what cannot be known.
    stars : tuple of (ModuleImport, SourceSpan)
        Star imports whose names are not known.
    unknown : tuple of (int, str)
        What cannot be determined: a sentence, and the number of the text it is about.
    dynamic : bool
        It may bind names that are not in `binds`.
    """

    reads: Mapping[str, NameRead] = field(default_factory=dict)
    later: DeferredUsage = field(default_factory=DeferredUsage)
    binds: Mapping[str, NameBinding] = field(default_factory=dict)
    since: Mapping[str, int] = field(default_factory=dict)
    deletes: frozenset[str] = frozenset()
    mutates: Mapping[str, NameMutation] = field(default_factory=dict)
    calls: tuple[CallSite, ...] = ()
    functions: Mapping[str, DeferredUsage] = field(default_factory=dict)
    methods: Mapping[str, DeferredUsage] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    imports: tuple[ModuleImport, ...] = ()
    paths: tuple[str | None, ...] = ()
    stars: tuple[tuple[ModuleImport, SourceSpan], ...] = ()
    unknown: tuple[tuple[int, str], ...] = ()
    dynamic: bool = False
