"""Routes and the requests that their functions get; nothing here depends on HTTP.

A route is one entry in a table and one plain function ``(project, request) -> dict``. Permissions and the
schema of the request are checked before the function is called.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry, RegisteredNotebook
from jupyter_pipelines.notebook.source.document import NotebookDocument, document_from_json, read_document
from jupyter_pipelines.notebook.source.read_result import NotebookPaths
from jupyter_pipelines.project import Project

Action = Literal["read", "write", "execute"]
ACTIONS: tuple[Action, ...] = ("read", "write", "execute")
Method = Literal["GET", "POST"]
Schema = Mapping[str, Any]
_NAMED = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request to a route.

    Parameters
    ----------
    known : NotebookRegistry
        The notebooks that are registered with this server.
    about : RegisteredNotebook or None
        The notebook whose id stands in the path; None for routes without an id.
    names : Mapping of str to str
        The other variable parts of the path, by their names in the route's path. They are not validated: compare them
        with what exists, and never join them into a path.
    body : Mapping
        The body, which has the shape that the route's schema demands.
    query : Mapping
        The query string, which has the shape of the route's schema.
    key : str
        The ``Idempotency-Key``; empty without this header.
    may : Mapping of str to bool
        What the user may do; only for routes that are `personal`.
    """

    known: NotebookRegistry
    about: RegisteredNotebook | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    may: Mapping[str, bool] = field(default_factory=dict)

    @property
    def notebook(self) -> RegisteredNotebook:
        """The notebook that the path names."""
        if self.about is None:
            raise LookupError("the route names no notebook")
        return self.about

    @property
    def path(self) -> Path:
        """Where the notebook is."""
        return self.notebook.path

    def document(self) -> NotebookDocument:
        """Return the notebook with the cells of the body, saved or not; as it is saved where the body has none.

        Raises
        ------
        NotebookError
            The file cannot be read, or a cell is not what a cell must be.
        """
        # Read even if the body has the cells: kernel and language stand in the metadata of the file.
        saved = read_document(self.path)
        cells = self.body.get("cells")
        if cells is None:
            return saved
        content = {"nbformat": 4, "cells": [_as_nbformat(cell) for cell in cells]}
        return replace(saved, cells=document_from_json(content, self.path).cells)

    def home(self, project: Project) -> NotebookPaths:
        """Return where the notebook's runs are, whatever its cells say now.

        Raises
        ------
        NotebookError
            There is no such file any more.
        """
        return project.home(self.path)

    def run(self, project: Project) -> dict[str, Any]:
        """Return the document of the run whose whole id stands in the path.

        Raises
        ------
        StoreError
            The notebook has no such run (JP405).
        """
        return run_by_id(project, self.home(project), self.names["run"])


def run_by_id(project: Project, home: NotebookPaths, name: str) -> dict[str, Any]:
    """Return the document of a run by its full id; abbreviations are not accepted.

    Raises
    ------
    StoreError
        The notebook has no such run (JP405).
    """
    document = project.find_run(home, name) if project.has_store(home) else None
    if document is None:
        raise StoreError(
            Diagnostic(code="JP405", message=f"there is no run `{name}`", suggestion="ask for the list of runs again")
        )
    return document


Work = Callable[[Project, ApiRequest], Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRoute:
    """A route of the JSON API.

    Parameters
    ----------
    method : {"GET", "POST"}
        ``POST`` for whatever changes something or takes a body.
    path : str
        Below ``jupyter-pipelines/api/``; names of parts that vary stand in braces, ``{id}`` is a notebook's.
    work : callable
        Called with the project and the request, in a thread; returns the answer.
    action : {"read", "write", "execute"}
        What the user must be allowed to do with the resource ``jupyter_pipelines``.
    summary : str
        What it does, for the OpenAPI document.
    body, query, answer : Mapping or None
        JSON Schemas.
    status : int
        HTTP status of a successful answer.
    personal : bool
        The answer says what the user may do.
    """

    method: Method
    path: str
    work: Work
    action: Action = "read"
    summary: str
    body: Schema | None = None
    query: Schema | None = None
    answer: Schema | None = None
    status: int = 200
    personal: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the variable parts of the path."""
        return tuple(_NAMED.findall(self.path))

    @property
    def pattern(self) -> str:
        """The path as a regular expression; no part of it can hold a slash before it is decoded."""
        return pattern_of(self.path)


def pattern_of(path: str) -> str:
    """Return a path with names in braces as a regular expression."""
    # [^/]+ is matched before percent-decoding, so that an encoded slash cannot reach another route.
    plain = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    return _NAMED.sub(r"(?P<\1>[^/]+)", plain)


def _as_nbformat(cell: Mapping[str, Any]) -> dict[str, Any]:
    about = {"tags": cell.get("tags") or []}
    return {"cell_type": cell["type"], "id": cell.get("id"), "source": cell["source"], "metadata": about}
