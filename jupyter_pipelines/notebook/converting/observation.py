"""Trace of each cell in a rehearsal, as the observer in its kernel recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTrace:
    """The effects of one cell in a rehearsal.

    Parameters
    ----------
    bound, changed, deleted, unknown : frozenset of str
        Names bound to another object, names whose object is no longer what it was, names that are deleted, and
        names whose objects cannot be compared.
    kinds : Mapping of str to str
        Of every name there is after the cell: ``value``, ``function``, ``class`` or ``module``.
    stuck : Mapping of str to str
        Names whose objects cannot be handed to another kernel, with the reason.
    shared : frozenset of (str, str)
        Pairs of names that refer to the same mutable object.
    drew : frozenset of str
        Global random generators that moved on.
    settings : Mapping of str to Mapping
        Settings that changed, by the library that owns them.
    figures : int
        How many figures of pyplot are open after the cell.
    read, wrote : frozenset of str
        Files.
    given : frozenset of str
        Of the files that it read: those that were there before, from the notebook's folder.
    programs : int
        How many programs it started.
    stars : Mapping of str to frozenset of str
        Modules with a star import, each with the names that it binds.
    shows : bool
        It has outputs.
    """

    bound: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    kinds: Mapping[str, str] = field(default_factory=dict)
    stuck: Mapping[str, str] = field(default_factory=dict)
    shared: frozenset[tuple[str, str]] = frozenset()
    drew: frozenset[str] = frozenset()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    figures: int = 0
    read: frozenset[str] = frozenset()
    wrote: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    programs: int = 0
    stars: Mapping[str, frozenset[str]] = field(default_factory=dict)
    shows: bool = True

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], *, shows: bool, given: frozenset[str] = frozenset()) -> CellTrace:
        """Return the trace that a document of the observer holds."""
        sets = ("bound", "changed", "deleted", "unknown", "drew", "read", "wrote")
        return cls(
            **{name: frozenset(document[name]) for name in sets},
            kinds=document["kinds"],
            stuck=document["stuck"],
            shared=frozenset((first, second) for first, second in document["shared"]),
            settings=document["settings"],
            figures=document["figures"],
            given=given,
            programs=document["programs"],
            stars={module: frozenset(names) for module, names in document["stars"].items()},
            shows=shows,
        )
