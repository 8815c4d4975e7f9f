"""Untrusted texts, with control characters escaped."""

from __future__ import annotations

import unicodedata

NAME_LIMIT = 200
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: object, limit: int = NAME_LIMIT) -> str:
    """Return `text` with every character visible that is not (controls, marks that turn the direction), cut to `limit`.

    Names, reasons and messages come from notebooks that others wrote: nothing in them may move a terminal's cursor,
    reverse what stands beside it or fill the screen.
    """
    characters = str(text)
    printable = characters if characters.isprintable() else "".join(map(_visible, characters[: limit + 1]))
    return clip(printable, limit)


def _visible(character: str) -> str:
    return repr(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character


def clip(text: str, limit: int) -> str:
    """Return `text`, its end replaced by an ellipsis when it has more than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
