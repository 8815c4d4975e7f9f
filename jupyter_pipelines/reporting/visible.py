"""Texts of others, so written that they can do nothing but be read."""

from __future__ import annotations

import unicodedata

NAME_LIMIT = 200
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: object, limit: int = NAME_LIMIT) -> str:
    """Return `text` with every character visible that is not (controls, marks that turn the direction), cut to `limit`.

    Names, reasons and messages come from notebooks that others wrote: nothing in them may move a terminal's cursor,
    reverse what stands beside it or fill the screen.
    """
    whole = str(text)
    shown = whole if whole.isprintable() else "".join(map(_visible, whole[: limit + 1]))
    return clip(shown, limit)


def _visible(character: str) -> str:
    return repr(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character


def clip(text: str, limit: int) -> str:
    """Return `text`, its end replaced by an ellipsis when it has more than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
