"""Paths and patterns of files that do not count: ``logs/``, ``*.tmp``, ``data/**/*.bak``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable


def ignored_path(text: str) -> str | None:
    """Return a path or pattern as steps hold it; None if it leads out of the project, or is all of it."""
    path = posixpath.normpath(text.replace("\\", "/"))
    return None if not text or path in (".", "..") or path.startswith(("/", "~", "../")) else path


def is_ignored(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path relative to the project's root is left out.

    A path leaves out the file or the folder of that name, and all below it. A pattern without ``/`` fits names in any
    folder; ``*`` and ``?`` stop at a ``/``, ``**`` does not.
    """
    return any(_expression(pattern).match(path) for pattern in patterns)


def _expression(pattern: str) -> re.Pattern[str]:
    known = _EXPRESSIONS.get(pattern)
    if known is None:
        anywhere = "/" not in pattern and re.search(r"[*?\[]", pattern)
        text = f"**/{pattern}" if anywhere else pattern
        known = _EXPRESSIONS[pattern] = re.compile(f"{_translated(text)}(?:/|$)", re.DOTALL)
    return known


_EXPRESSIONS: dict[str, re.Pattern[str]] = {}
_SIGNS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?[^\]/]+\]|.", re.DOTALL)


def _translated(pattern: str) -> str:
    """Return a pattern as a regular expression."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(
        parts.get(sign) or (_character_set(sign) if len(sign) > 1 else re.escape(sign))
        for sign in _SIGNS.findall(pattern)
    )


def _character_set(sign: str) -> str:
    negated = sign.startswith("[!")
    members = sign[2 if negated else 1 : -1].replace("\\", "\\\\").replace("^", "\\^")
    return f"[{'^' if negated else ''}{members}]"
