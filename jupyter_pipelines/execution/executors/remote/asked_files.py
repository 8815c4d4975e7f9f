"""Files that questions of a trace are about: what a worker needs to give the same answers as this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jupyter_pipelines.pipeline.ignored_paths import is_clutter, is_ignored
from jupyter_pipelines.planning.keys.traces import HIDDEN_NAMES, details_of, named_modules, names_fitting, path_on_disk

_INIT = "__init__.py"
_PRIVATE = re.compile(
    r"\.env(\..*)?|\.envrc|.*\.(pem|key|p12|pfx|jks|keystore|secret)|\.(netrc|pgpass|pypirc|git-credentials)|_netrc"
    r"|id_(rsa|dsa|ecdsa|ed25519).*|\.?(credentials|secrets?)(\..*)?",
    re.IGNORECASE,
)
"""Names of files that may hold secrets: they are sent to another machine only if header or code name them."""


class AskedFiles:
    """Files and folders of a project that a step asked for.

    Parameters
    ----------
    root : str
        The project's folder.
    left_out : sequence of str
        Folders whose files are never sent: those of the store.
    ignored : sequence of str
        Paths and patterns of files that do not count.
    """

    def __init__(self, root: str, left_out: Sequence[str], ignored: Sequence[str]) -> None:
        self._root = root.rstrip("/")
        self._left_out = tuple(f"{folder.rstrip('/')}/" for folder in left_out)
        self._ignored = ignored

    def paths(self, questions: Iterable[str]) -> list[str]:
        """Return the absolute paths of the files and folders that the questions are about and that exist.

        A folder stands for its name only; what is in it is sent if it was asked for as well.
        """
        named = (path for text in questions for path in self._named(*details_of(text)))
        return [path for path in dict.fromkeys(map(os.path.normpath, named)) if self._is_sent(path)]

    def withheld(self, path: str) -> bool:
        """Tell whether a file of the project is not sent because it may hold secrets."""
        absolute = self._path(path)
        return absolute.startswith(f"{self._root}/") and is_private(absolute) and os.path.exists(absolute)  # noqa: PTH110

    def _is_sent(self, path: str) -> bool:
        if not path.startswith(f"{self._root}/") or f"{path}/".startswith(self._left_out) or is_private(path):
            return False
        within = path[len(self._root) + 1 :]
        hidden = any(name in HIDDEN_NAMES or is_clutter(name) for name in within.split("/"))
        return not hidden and not is_ignored(within, self._ignored) and os.path.exists(path)  # noqa: PTH110

    def _named(self, kind: str, *details: Any) -> Iterator[str]:
        if kind in ("file", "module", "kind", "size", "times", "status", "rights"):
            yield self._path(details[0])
        elif kind in ("written", "left"):
            yield self._path(details[0]).rpartition("/")[0]
        elif kind == "origin":
            yield from map(self._path, details[1:])
        elif kind == "listing":
            folder = self._path(details[0])
            yield from (f"{folder}/{name}" for name in _names(folder))
        elif kind in ("glob", "path-glob"):
            yield from names_fitting(kind, details[0], self._path(details[1]), details[2])
        elif kind == "searched":
            yield from self._modules(self._path(details[0]), details[1])

    def _modules(self, folder: str, names: Sequence[str]) -> Iterator[str]:
        for entry in named_modules(folder, _names(folder), names):
            yield from (f"{folder}/{entry}", f"{folder}/{entry}/{_INIT}")

    def _path(self, path: str) -> str:
        return path_on_disk(path, self._root)


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - a list of names
    except OSError:
        return []


def is_private(path: str) -> bool:
    """Tell whether the name of a file says that it may hold secrets; modules of Python do not."""
    name = path.rpartition("/")[2]
    return not name.endswith(".py") and _PRIVATE.fullmatch(name) is not None
