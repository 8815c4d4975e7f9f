"""Estimated widths of texts, without a font."""

from __future__ import annotations

import unicodedata

# Measured fonts are not available where the SVG is made, and differ where it is shown: a few classes suffice.
_NARROW = frozenset("iljtfrI.,:;'|!()[]{} -/\\\"`·")
_BROAD = frozenset("mwMWGOQ@%ACDHNRU_&…+=<>~#")


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width of `text` in a common sans-serif font, in pixels, rather too much than too little."""
    return sum(map(_character_width, text)) * size * (1.07 if bold else 1.0)


def fit(text: str, room: float, size: float, *, bold: bool = False) -> str:
    """Return `text`, its middle replaced by an ellipsis when it is wider than `room` pixels.

    The middle, because names that are long tend to differ at their end.
    """
    if width(text, size, bold=bold) <= room:
        return text
    keep = len(text) - 1
    while keep > 2 and width(_without_middle(text, keep), size, bold=bold) > room:
        keep -= 1
    return _without_middle(text, keep)


def cut(text: str, room: float, size: float) -> str:
    """Return `text`, its end replaced by an ellipsis when it is wider than `room` pixels."""
    if width(text, size) <= room:
        return text
    keep = len(text)
    while keep > 1 and width(text[:keep] + "…", size) > room:
        keep -= 1
    return text[:keep].rstrip() + "…"


def _without_middle(text: str, keep: int) -> str:
    tail = keep // 2
    return f"{text[: keep - tail]}…{text[len(text) - tail :]}"


def _character_width(character: str) -> float:
    if character in _NARROW:
        return 0.33
    if character in _BROAD:
        return 0.76
    if character.isascii():
        return 0.68 if character.isupper() else 0.56
    return 1.0 if unicodedata.east_asian_width(character) in "WF" else 0.66
