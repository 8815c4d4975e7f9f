"""``name[=locator][:format]``: an item of ``-i`` or ``-o``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from jupyter_pipelines.errors import SourceLocation
from jupyter_pipelines.pipeline.url_inputs import is_url

_FORMAT = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class IOSpec:
    """``name[=locator][:format]``, or the name of a step or input.

    Parameters
    ----------
    name : str
        A Python identifier in the form in which Python keeps it (NFKC); the name of a step after ``--after``.
    locator : str or None
        The part after ``=``, as written: a path, a URL, or ``step.name``. It refers to the output of a step when it
        reads ``<step>.<name>`` and the notebook has that step; otherwise it is a file.
    format : str or None
        The part after the last colon, when that is a word and not part of a path.
    place : SourceLocation
        Where the item stands.
    """

    name: str
    locator: str | None = None
    format: str | None = None
    place: SourceLocation


def is_format(text: str) -> bool:
    """Return whether `text` may name a format; whether such a format exists is not checked."""
    return _FORMAT.fullmatch(text) is not None


def split_item(text: str) -> tuple[str, str | None, str | None]:
    r"""Return name, locator and format of an item; None for a part that is absent, empty for one that is unfinished.

    A colon starts a format only at the end and before one word: those in ``C:\data``, ``C:data`` and ``12:30.csv``
    belong to the locator. All of a URL is the locator: its path may end in a colon and a word.
    """
    name, equals, locator = text.partition("=")
    if not equals:
        name, colon, format_ = text.partition(":")
        return name, None, format_ if colon else None
    if is_url(locator):
        return name, locator, None
    before, _, last = locator.rpartition(":")
    if len(before) > 1 and (_FORMAT.fullmatch(last) or not last):
        return name, before, last
    return name, locator, None
