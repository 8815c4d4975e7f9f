"""Random generators that imports create: forked processes must not all draw the same numbers from them.

A generator that a package seeds with a constant gives the same numbers in every process, forked or not: it keeps its
state.
"""

from __future__ import annotations

import gc
import random
import sys
from collections.abc import Collection, Mapping
from typing import Any

_FIXED_SEED_LIMIT = 2**64
"""Seeds that are written in code are smaller than this; NumPy takes 128 bits from the operating system."""

_HARMLESS = frozenset({"rich.style"})
"""Modules that draw random numbers at import only for ids of their own objects."""

_SYSTEM_SEEDED: dict[int, Any] = {}
"""NumPy generators seeded by the system, by their id: every child seeds them again."""


_BASELINE: dict[int, Any] = {}


def _live_generators() -> Mapping[int, Any]:
    """Return all living random generators by their id."""
    numpy = sys.modules.get("numpy.random")
    kinds = (random.Random, *((numpy.BitGenerator,) if numpy else ()))
    # By the type, not by isinstance: proxies and lazy objects claim the class of another object, or load it.
    return {id(generator): generator for generator in gc.get_objects() if issubclass(type(generator), kinds)}


def state() -> int:
    """Return a number that changes when the global generator of :mod:`random` is seeded or drawn from."""
    return hash(random.getstate())


def describe_change(before: int, new: Collection[str]) -> str:
    """Return how an import has changed the global generator of :mod:`random`; empty if it has not, or harmlessly.

    Parameters
    ----------
    before : int
        The value of :func:`state` before the import.
    new : collection of str
        The modules that were imported.
    """
    return "it seeds or draws random numbers" if state() != before and _HARMLESS.isdisjoint(new) else ""


def record_baseline() -> None:
    """Record the existing random generators as the baseline."""
    _BASELINE.update(_live_generators())


def record_new() -> str:
    """Record generators created since the last call; return why they cannot be shared, empty if they can."""
    new = {number: generator for number, generator in _live_generators().items() if number not in _BASELINE}
    _BASELINE.update(new)  # held, so that no later generator gets the id of one of them
    for number, generator in new.items():
        if not isinstance(generator, random.Random):
            _SYSTEM_SEEDED[number] = generator
        elif type(generator) is not random.SystemRandom and not _names_files(generator):
            return "it has random numbers of its own"
    return ""


def _names_files(generator: random.Random) -> bool:
    """Tell whether a generator belongs to :mod:`tempfile`, which makes a new one itself when the process id differs."""
    return any(type(referrer).__name__ == "_RandomNameSequence" for referrer in gc.get_referrers(generator))


def reseed() -> None:
    """Reseed the NumPy generators from the system, so that they draw other numbers than in sibling processes."""
    for generator in _SYSTEM_SEEDED.values():
        seed = getattr(generator, "_seed_seq", None)  # none where the seed was set through the legacy API
        if seed is not None and not _is_fixed_seed(getattr(seed, "entropy", None)):
            generator.state = type(generator)().state
    _SYSTEM_SEEDED.clear()


def _is_fixed_seed(entropy: Any) -> bool:
    return not isinstance(entropy, int) or entropy < _FIXED_SEED_LIMIT
