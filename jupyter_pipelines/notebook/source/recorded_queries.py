"""File-system queries of reading a notebook, recorded with their answers to validate the cache of readings.

Everything that reading looks at besides the notebook is queried here, so a reading can be used again if the same
queries have the same answers. Files are compared by their bytes, never by their times.
"""

from __future__ import annotations

import hashlib
import io
import os
import tokenize
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_pipelines.plugins import Kind
from jupyter_pipelines.plugins import names as names_of

Answer = tuple[str, str, str, Any]
"""Kind of query, path or kind of plug-in it is about, name, and the answer."""


class RecordedQueries:
    """Queries files and plug-ins; each query is made once, and its answer recorded."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str, str], Any] = {}
        self._listings: dict[str, list[str]] = {}
        self._texts: dict[str, str] = {}
        self._ways: Mapping[str, Callable[[Any, str], Any]] = {
            "named": self._named,
            "exists": self._exists,
            "is-file": self._is_file,
            "plugins": self._plugins,
            "text": self._text,
        }

    @property
    def answers(self) -> list[Answer]:
        """Everything that was asked, in the order of asking."""
        return [(*query, answer) for query, answer in self._answers.items()]

    def named(self, folder: Path, name: str) -> list[str]:
        """Return what in `folder` is called `name`, with any ending or none, sorted; nothing if it cannot be read."""
        return self._ask("named", str(folder), name)  # type: ignore[no-any-return]

    def exists(self, path: Path) -> bool:
        """Return whether `path` exists; a text that cannot be a path does not."""
        return bool(self._ask("exists", str(path)))

    def is_file(self, path: Path) -> bool:
        """Return whether `path` is a file, or a link to one."""
        return bool(self._ask("is-file", str(path)))

    def text(self, path: Path) -> str:
        """Return the text of a Python file, decoded as Python does; as well as possible if that fails."""
        self._ask("text", str(path))
        return self._texts[str(path)]

    def plugins(self, kind: Kind) -> list[str]:
        """Return the names of all implementations of a kind, from plug-ins and from this package."""
        return self._ask("plugins", kind)  # type: ignore[no-any-return]

    def agrees(self, answers: Sequence[Sequence[Any]]) -> bool:
        """Repeat recorded queries, and return whether every answer is the same."""
        return all(self._ask(kind, path, name) == answer for kind, path, name, answer in answers)

    def _ask(self, kind: str, path: str, name: str = "") -> Any:
        query = (kind, path, name)
        if query not in self._answers:
            self._answers[query] = self._ways[kind](path, name)
        return self._answers[query]

    def _named(self, folder: str, name: str) -> list[str]:
        if folder not in self._listings:
            self._listings[folder] = _listing(folder)
        return [entry for entry in self._listings[folder] if entry == name or entry.startswith(f"{name}.")]

    def _exists(self, path: str, _name: str) -> bool:
        try:
            return Path(path).exists()
        except (OSError, ValueError):
            return False

    def _is_file(self, path: str, _name: str) -> bool:
        try:
            return Path(path).is_file()
        except (OSError, ValueError):
            return False

    def _plugins(self, kind: Kind, _name: str) -> list[str]:
        return list(names_of(kind))

    def _text(self, path: str, _name: str) -> str | None:
        """Return the digest of a file's bytes as the answer; its text is kept aside, and never saved."""
        try:
            content = Path(path).read_bytes()
        except OSError:
            self._texts[path] = ""
            return None
        self._texts[path] = _decoded(content)
        return hashlib.sha256(content).hexdigest()


def _listing(folder: str) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder))
    except OSError:
        return []


def _decoded(content: bytes) -> str:
    try:
        # A file may declare its encoding in its first lines (PEP 263).
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return io.TextIOWrapper(io.BytesIO(content), encoding).read()
    except (SyntaxError, UnicodeDecodeError):
        # Only an approximation: Python itself refuses to import this file.
        return content.decode("utf-8", "replace")
