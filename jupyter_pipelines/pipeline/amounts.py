"""Durations and sizes in words, by tables that the front end has, too (``labextension/facts.py``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountRule:
    """Rule for writing amounts below a limit.

    Parameters
    ----------
    below : float or None
        The limit; None for the last rule.
    unit : float
        What is counted. The count is rounded, halves up.
    split : int or None
        The count is divided by it: ``{0}`` in `text` is the quotient, and ``{1}`` the remainder.
    text : str
        The words.
    """

    below: float | None
    unit: float
    split: int | None = None
    text: str


# Limits lie where rounding would reach the unit of the next rule: 59.5 s is shown as a minute.
DURATIONS = (
    AmountRule(below=9.95, unit=0.1, split=10, text="{0}.{1} s"),
    AmountRule(below=59.5, unit=1, text="{0} s"),
    AmountRule(below=3599.5, unit=1, split=60, text="{0} min {1} s"),
    AmountRule(below=None, unit=60, split=60, text="{0} h {1} min"),
)
SIZES = (
    AmountRule(below=1, unit=1, text="{0} bytes"),
    AmountRule(below=2, unit=1, text="{0} byte"),
    AmountRule(below=1000, unit=1, text="{0} bytes"),
    AmountRule(below=999_950, unit=100, split=10, text="{0}.{1} kB"),
    AmountRule(below=999_950_000, unit=100_000, split=10, text="{0}.{1} MB"),
    AmountRule(below=999_950_000_000, unit=100_000_000, split=10, text="{0}.{1} GB"),
    AmountRule(below=None, unit=100_000_000_000, split=10, text="{0}.{1} TB"),
)


def in_words(seconds: float) -> str:
    """Return a duration as people say it: ``0.4 s``, ``12 s``, ``4 min 12 s``, ``2 h 5 min``."""
    return _written(seconds, DURATIONS)


def size_in_words(count: int) -> str:
    """Return a number of bytes as people say it: ``512 bytes``, ``3.4 MB``."""
    return _written(count, SIZES)


def _written(amount: float, rules: Sequence[AmountRule]) -> str:
    amount = max(0, amount)
    rule = next(rule for rule in rules if rule.below is None or amount < rule.below)
    # As the front end rounds: `round` would round halves to even numbers.
    count = math.floor(amount / rule.unit + 0.5)
    return rule.text.format(*(divmod(count, rule.split) if rule.split else (count,)))
