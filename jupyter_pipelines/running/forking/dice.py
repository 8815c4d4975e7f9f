"""Generators of random numbers that an import makes: processes that are forked afterwards draw different numbers.

One that was given a seed gives the same numbers in every process that imports its package, and keeps its state.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Collection, Mapping
from typing import Any

_GIVEN = 2**64
"""Seeds that somebody has written down are smaller; those that the system gives have 128 bits."""

_HARMLESS = frozenset({"rich.style"})
"""Modules that draw a number with which they tell their own objects apart."""

_DRAWN: dict[int, Any] = {}
"""Of NumPy, with numbers from the system."""


_KNOWN: dict[int, Any] = {}


def _found() -> Mapping[int, Any]:
    """Return the generators that there are, by their id."""
    numpy = sys.modules.get("numpy.random")
    kinds = (random.Random, *((numpy.BitGenerator,) if numpy else ()))
    # Asking the type alone: some objects answer for others.
    return {id(one): one for one in gc.get_objects() if issubclass(type(one), kinds)}


def state() -> int:
    """Return a number that is another one when somebody has sown or drawn what :mod:`random` gives."""
    return hash(random.getstate())


def moved(before: int, new: Collection[str]) -> str:
    """Return what an import has done to :mod:`random`; empty when that does not matter.

    Parameters
    ----------
    before : int
        What :func:`state` returned.
    new : collection of str
        The modules that were imported.
    """
    return "it sows or draws random numbers" if state() != before and _HARMLESS.isdisjoint(new) else ""


def remember() -> None:
    """Take the generators that there are now for those that there always are."""
    _KNOWN.update(_found())


def note() -> str:
    """Remember the generators that have come since, and return why they cannot be shared; empty when they can."""
    new = {number: one for number, one in _found().items() if number not in _KNOWN}
    _KNOWN.update(new)  # held, so that none of those to come is taken for one of them
    for number, one in new.items():
        if not isinstance(one, random.Random):
            _DRAWN[number] = one
        elif type(one) is not random.SystemRandom and not _names_files(one):
            return "it has random numbers of its own"
    return ""


def _names_files(generator: random.Random) -> bool:
    """Tell whether it is one of :mod:`tempfile`, which has another one in every process."""
    return any(type(one).__name__ == "_RandomNameSequence" for one in gc.get_referrers(generator))


def sow() -> None:
    """Have all of them draw other numbers than those of the siblings of this process."""
    for one in _DRAWN.values():
        seed = getattr(one, "_seed_seq", None)  # none where somebody has given a seed the old way
        if seed is not None and not _is_given(getattr(seed, "entropy", None)):
            one.state = type(one)().state
    _DRAWN.clear()


def _is_given(entropy: Any) -> bool:
    return not isinstance(entropy, int) or entropy < _GIVEN
