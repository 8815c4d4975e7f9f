"""The registry of a server's notebooks; requests name them by ids, and only registration takes a path."""

from __future__ import annotations

import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic, NotebookError
from jupyter_pipelines.notebook.source.document import NOTEBOOK_SUFFIX, SCRIPT_SUFFIXES

MAX_NOTEBOOKS = 10_000
"""Largest number of registered notebooks; the least recently requested are removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredNotebook:
    """A notebook that is registered with the server.

    Parameters
    ----------
    id : str
        Its name in requests; it cannot be guessed, and is not valid on another server.
    name : str
        Its path below the server's root, with slashes, as JupyterLab writes it.
    path : Path
        Absolute path of the file.
    """

    id: str
    name: str
    path: Path


class NotebookRegistry:
    """Notebooks by id.

    Parameters
    ----------
    root : Path
        The server's root: nothing outside can be named.
    hidden : bool
        Whether files and folders whose names begin with a dot can be named.
    clock : callable
        Returns seconds that only ever grow.
    """

    def __init__(self, root: Path, *, hidden: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = root.absolute()
        self._hidden = hidden
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._notebooks: OrderedDict[str, tuple[RegisteredNotebook, float]] = OrderedDict()

    def meet(self, name: str) -> RegisteredNotebook:
        """Register the notebook with this path below the root, and return it.

        Raises
        ------
        NotebookError
            There is no such notebook, or it may not be named (JP801).
        """
        path = self._located(name)
        clean = path.relative_to(self.root).as_posix()
        # The same notebook gets the same id as long as the server runs; with a random secret it cannot be computed
        # elsewhere.
        digest = hmac.digest(self._secret, os.fsencode(path), "sha256").hex()[:32]
        notebook = RegisteredNotebook(id=digest, name=clean, path=path)
        with self._lock:
            self._touch(notebook)
            while len(self._notebooks) > MAX_NOTEBOOKS:
                self._notebooks.popitem(last=False)
        return notebook

    def find(self, key: str) -> RegisteredNotebook:
        """Return the notebook with this id.

        Raises
        ------
        NotebookError
            It was not registered since the server started (JP801).
        """
        with self._lock:
            registered = self._notebooks.get(key)
            if registered is not None:
                self._touch(registered[0])
                return registered[0]
        raise NotebookError(
            Diagnostic(
                code="JP801",
                message="the server was not told of this notebook since it started",
                suggestion="post its path to `notebooks` again, and use the id that comes back",
            )
        )

    def requested_within(self, seconds: float) -> list[RegisteredNotebook]:
        """Return the notebooks that were requested in the last `seconds`."""
        since = self._clock() - seconds
        with self._lock:
            return [notebook for notebook, last in self._notebooks.values() if last >= since]

    def name_of(self, path: Path) -> str | None:
        """Return the path of a file below the root, as JupyterLab writes it; None if it cannot open it."""
        path = Path(os.path.normpath(path.absolute()))
        if not path.is_relative_to(self.root):
            return None
        name = path.relative_to(self.root)
        return None if self._is_hidden(name) or not path.exists() else name.as_posix()

    def _touch(self, notebook: RegisteredNotebook) -> None:
        self._notebooks[notebook.id] = (notebook, self._clock())
        self._notebooks.move_to_end(notebook.id)

    def _located(self, name: str) -> Path:
        """Return the path of a notebook, by the naming rules of Jupyter's contents API."""
        parts = name.strip("/").split("/")
        if "\0" in name or "\\" in name or any(part in ("", ".", "..") for part in parts):
            raise _cannot_open(name, "it is not the path of a file below the server's root")
        path = self.root.joinpath(*parts)
        if self._is_hidden(path.relative_to(self.root)):
            raise _cannot_open(name, "it is hidden")
        if path.suffix not in (NOTEBOOK_SUFFIX, *SCRIPT_SUFFIXES):
            raise _cannot_open(name, "it is not a notebook")
        if not path.is_file():
            raise _cannot_open(name, "there is no such file")
        return path

    def _is_hidden(self, name: Path) -> bool:
        return not self._hidden and any(part.startswith(".") for part in name.parts)


def _cannot_open(name: str, reason: str) -> NotebookError:
    return NotebookError(
        Diagnostic(
            code="JP801",
            message=f"the server cannot open `{name[:200]}`: {reason}",
            suggestion="name a notebook by its path below the folder that the server was started in",
        )
    )
