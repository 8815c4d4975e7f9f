"""Untrusted texts, with control characters escaped."""

from __future__ import annotations

import unicodedata

NAME_LIMIT = 200
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def clean(text: object, limit: int = NAME_LIMIT) -> str:
    """Return `text` with control and direction characters escaped, cut to `limit` characters.

    Names, reasons and messages come from notebooks of other users: they must not move a terminal's cursor, reverse
    adjacent text or fill the screen.
    """
    characters = str(text)
    # Cut before escaping, so that a text of megabytes costs nothing; one more lets clip() see that it was cut.
    printable = characters if characters.isprintable() else "".join(map(_visible, characters[: limit + 1]))
    return clip(printable, limit)


def _visible(character: str) -> str:
    return repr(character)[1:-1] if unicodedata.category(character) in _HIDDEN else character


def clip(text: str, limit: int) -> str:
    """Return `text`, its end replaced by an ellipsis when it has more than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
