"""Paths and patterns of files that do not count: ``logs/``, ``*.tmp``, ``data/**/*.bak``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

# In this order: macOS, Windows, Jupyter, Emacs, backups, Office, LibreOffice, Vim, NFS. A name may hold newlines.
_CLUTTER = re.compile(
    r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini|\.ipynb_checkpoints|\.#.*|#.*#|.*~|~\$.*|\.~lock\..*#|\..*\.sw[a-p]|\.nfs[0-9a-f]+",
    re.DOTALL,
)


def is_clutter(name: str) -> bool:
    """Tell whether a name is that of a file which file managers, editors and Jupyter put beside a user's files."""
    return _CLUTTER.fullmatch(name) is not None


def ignored_path(text: str) -> str | None:
    """Return a path or pattern in the form that steps hold; None if it leads out of the project, or is all of it."""
    # Headers have to mean the same on every platform: a backslash separates, it is never part of a name.
    written = text.replace("\\", "/")
    path = posixpath.normpath(written)
    if not text or path in (".", "..") or path.startswith(("/", "~", "../")):
        return None
    # `normpath` drops the `./` that ties a bare name to the project's folder.
    return f"./{path}" if written.startswith("./") and "/" not in path else path


def ignore_pattern(path: str) -> str:
    """Return the pattern that leaves out the file called `path` and no other."""
    return re.sub(r"[*?[]", r"[\g<0>]", path)


def empty_range(text: str) -> str | None:
    """Return the set of characters in a pattern that no character fits, as in ``[z-a]``; None if there is none."""
    for sign in _SIGNS.findall(text):
        if len(sign) > 1 and sign.startswith("["):
            try:
                re.compile(_character_set(sign))
            except re.error:
                return str(sign)
    return None


def is_ignored(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path relative to the project's root is left out.

    A path leaves out the file or the folder of that name, and all below it. A name or pattern without ``/`` fits in any
    folder, others from the project's folder, as ``./name`` does; ``*`` and ``?`` stop at a ``/``, ``**`` does not.
    """
    return any(_expression(pattern).match(path) for pattern in patterns)


def _expression(pattern: str) -> re.Pattern[str]:
    known = _EXPRESSIONS.get(pattern)
    if known is None:
        text = pattern.removeprefix("./") if "/" in pattern else f"**/{pattern}"
        known = _EXPRESSIONS[pattern] = re.compile(f"{_translated(text)}(?:/|$)", re.DOTALL)
    return known


_EXPRESSIONS: dict[str, re.Pattern[str]] = {}
# Alternatives are tried from left to right: longer signs come first.
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
    # Unescaped, Python warns that `[`, `&&`, `~~` and `||` in a set may come to mean set operations.
    members = re.sub(r"([\\^\[&~|])", r"\\\1", sign[2 if negated else 1 : -1])
    return f"[{'^' if negated else ''}{members}]"
