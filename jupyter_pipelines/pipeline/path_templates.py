"""Paths that depend on parameters: templates of :meth:`str.format`, which become paths when the values are known.

``{folder}␟{year}.csv`` is the file of a year in a folder. Between parts that are joined as paths stands the separator
that ASCII has for it, as only the values tell whether a later part is absolute.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from string import Formatter

JOINT = "\x1f"
MAX_LENGTH = 1000
"""Limit for the texts of a name, and for the characters of a path: a longer text is not the name of a file."""
_SYSTEM = ("/dev/", "/proc/", "/sys/")  # contents change all the time, as the clock does
_parse = Formatter().parse


def escape_braces(text: str) -> str:
    """Return the template that expands to `text` itself, with its braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def placeholder(name: str) -> str:
    """Return the template that expands to the value of `name`."""
    return f"{{{name}}}"


def expand_template(template: str, choices: Callable[[str], Sequence[str]]) -> Iterator[str]:
    """Yield the expansions of a template, at most `MAX_LENGTH`, for every combination of choices for its names."""
    parts: list[Sequence[str]] = []
    for text, name, *_ in _parse(template):
        parts += [(escape_braces(text),)] if name is None else [(escape_braces(text),), choices(name)]
    yield from islice(map("".join, product(*parts)), MAX_LENGTH)


def names_in(template: str) -> list[str]:
    """Return the names that a template still depends on."""
    return [name for _, name, *_ in _parse(template) if name is not None]


def path_of(template: str) -> str:
    """Return the path that a template without names is; empty for a URL, a path of the system, and what is no path."""
    text = posixpath.join(*"".join(text for text, *_ in _parse(template)).split(JOINT))
    is_usable = 0 < len(text) < MAX_LENGTH and "://" not in text and not text.startswith(_SYSTEM)
    return text if is_usable and text.isprintable() else ""
