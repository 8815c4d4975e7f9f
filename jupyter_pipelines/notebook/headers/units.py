"""Durations, sizes, counts and names, as headers spell them."""

from __future__ import annotations

import keyword
import re

from jupyter_pipelines.pipeline.identifiers import normal_name

MAX_NAME_LENGTH = 100

_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_SECONDS = re.compile(_NUMBER)
_DURATION = re.compile("".join(f"(?:({_NUMBER}){unit})?" for unit in "wdhms"))
_UNITS = (604800.0, 86400.0, 3600.0, 60.0, 1.0)
_SIZE = re.compile(rf"({_NUMBER})([kmgt])(?:i?b)?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


STEP_NAME_RULE = "a name has letters, digits, `_` and `-`, starts with a letter or `_`, and is at most 100 long"


def is_step_name(text: str) -> bool:
    """Return whether a step may be called `text`: as an identifier of any script, with ``-`` in it as well."""
    name = normal_name(text)
    return len(name) <= MAX_NAME_LENGTH and not name.startswith("-") and name.replace("-", "_").isidentifier()


def propose_step_name(text: str) -> str:
    """Return the name that comes closest to `text` and can be used."""
    fitting = (
        character if character == "-" or f"_{character}".isidentifier() else " " for character in normal_name(text)
    )
    plain = re.sub(r"[\s_]+", "_", re.sub(r"(?<!\w)-+|-+(?!\w)", " ", "".join(fitting))).strip("_") or "step"
    return (plain if is_step_name(plain[:1]) else f"step_{plain}")[:MAX_NAME_LENGTH]


def parse_identifier(text: str) -> str | None:
    """Return `text` as Python reads it as a name (NFKC), or None when it is no name or a keyword."""
    name = normal_name(text)
    return name if name.isidentifier() and not keyword.iskeyword(name) else None


def propose_identifier(text: str) -> str:
    """Return the Python name that comes closest to `text`."""
    fitting = (character if f"_{character}".isidentifier() else "_" for character in normal_name(text))
    name = re.sub("_+", "_", "".join(fitting)).strip("_") or "name"
    return name if parse_identifier(name) else (f"{name}_" if keyword.iskeyword(name) else f"_{name}")


def parse_count(text: str, minimum: int) -> int | None:
    """Return a whole number of at least `minimum`, or None."""
    return int(text) if _COUNT.fullmatch(text) and int(text) >= minimum else None


def parse_duration(text: str) -> float | None:
    """Return the seconds that ``90``, ``30s``, ``10m``, ``2h``, ``1h30m``, ``1d`` or ``2w`` mean, or None; never 0."""
    if _SECONDS.fullmatch(text):
        return float(text) or None
    match = _DURATION.fullmatch(text.lower())
    if match is None:
        return None
    return sum(float(part or 0) * unit for part, unit in zip(match.groups(), _UNITS, strict=True)) or None


def parse_size(text: str) -> int | None:
    """Return the bytes that ``512M``, ``8G`` or ``2GiB`` mean, or None; never 0.

    A unit is a power of 1024, with or without ``i`` and ``B``. A size without a unit is refused: a step never
    needs as little as eight bytes.
    """
    match = _SIZE.fullmatch(text.lower())
    return int(float(match[1]) * 1024 ** _POWERS[match[2]]) or None if match else None
