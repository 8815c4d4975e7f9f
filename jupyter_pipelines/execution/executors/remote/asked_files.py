"""Files that questions of a trace are about: what a worker needs to give the same answers as this machine."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing.folder_events import is_skipped
from jupyter_pipelines.pipeline.ignored_paths import is_clutter, is_ignored
from jupyter_pipelines.planning.keys.traces import HIDDEN_NAMES, details_of, named_modules, names_fitting, path_on_disk

_INIT = "__init__.py"
_PRIVATE = re.compile(
    r"(.*\.)?env(\..*)?|\.envrc|.*\.(pem|key|p12|pfx|jks|keystore|secret|kdbx|ppk)|id_(rsa|dsa|ecdsa|ed25519).*"
    r"|\.(netrc|pgpass|pypirc|npmrc|htpasswd|git-credentials)|_netrc"
    r"|.*(credential|secret|service[-_]?account|password).*|(.*[-_.])?token\.(json|txt|ya?ml|toml)"
)
"""Names of files and folders that may hold secrets: what is in them is sent only if header or code name it."""
_PRIVATE_FOLDERS = frozenset(".ssh .aws .azure .config .docker .gcloud .gnupg .kube secrets credentials".split())
_MAX_FILES, _MAX_BYTES = 2_000, 1 << 30
"""Largest number and size of files that are sent though neither header nor code name them."""


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
        sent = [path for path in dict.fromkeys(map(os.path.normpath, named)) if self._is_sent(path)]
        return list(_within_limits(sent))

    def withheld(self, path: str) -> bool:
        """Tell whether a file of the project is not sent because it may hold secrets."""
        absolute = self._path(path)
        return absolute.startswith(f"{self._root}/") and is_private(absolute, self._root) and os.path.exists(absolute)  # noqa: PTH110

    def _is_sent(self, path: str) -> bool:
        if (
            not path.startswith(f"{self._root}/")
            or f"{path}/".startswith(self._left_out)
            or is_private(path, self._root)
        ):
            return False
        within = path[len(self._root) + 1 :]
        hidden = any(name in HIDDEN_NAMES or is_clutter(name) or is_skipped(name) for name in within.split("/"))
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
            # `pathlib` refuses some patterns, which code may ask for all the same.
            with contextlib.suppress(OSError, ValueError, NotImplementedError):
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


def _within_limits(paths: Iterable[str]) -> Iterator[str]:
    files = size = 0
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116
        except OSError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            files, size = files + 1, size + status.st_size
        if files <= _MAX_FILES and size <= _MAX_BYTES:
            yield path


def is_private(path: str, root: str) -> bool:
    """Tell whether a path in a project says that a file may hold secrets, also behind a link; modules do not."""
    real = os.path.realpath(path)
    inside = real.startswith(f"{os.path.realpath(root)}/")
    return _says_private(path.removeprefix(f"{root}/")) or (not inside and _says_private(real))


def _says_private(path: str) -> bool:
    *folders, name = path.lower().split("/")
    if not _PRIVATE_FOLDERS.isdisjoint(folders):
        return True
    return not name.endswith((".py", ".ipynb")) and _PRIVATE.fullmatch(name) is not None
