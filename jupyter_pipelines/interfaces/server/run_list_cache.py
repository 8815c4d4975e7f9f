"""Cache of run summaries; a run that has ended never changes and is read only once."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.project import Project, notebook_name

if TYPE_CHECKING:
    from jupyter_pipelines.notebook.source.read_result import NotebookPaths
    from jupyter_pipelines.storage.store import Store

MAX_RUNS = 20_000
RUNNING = "running"


class RunListCache:
    """The summaries of runs, cached once a run has ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._over: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def of(self, project: Project, home: NotebookPaths) -> list[dict[str, Any]]:
        """Return the runs of a notebook, newest first."""
        if not project.has_store(home):
            return []
        store, name = project.store_for(home), notebook_name(home)
        briefs = (self._brief(store, run) for run in store.runs.ids())
        return [brief["shown"] for brief in briefs if brief is not None and brief["notebook"] == name]

    def _brief(self, store: Store, run: str) -> dict[str, Any] | None:
        key = (store.url, run)
        with self._lock:
            if key in self._over:
                return self._over[key]
        try:
            document = store.runs.read(run)
        except StoreError:
            return None
        brief = {"notebook": document.get("notebook"), "shown": run_summary(document)}
        # A store may have thousands of runs, and each uncached one costs a file to read and parse.
        if document.get("state") != RUNNING:
            with self._lock:
                self._over[key] = brief
                while len(self._over) > MAX_RUNS:
                    self._over.popitem(last=False)
        return brief


RUN_LIST_CACHE = RunListCache()
"""The cache that all requests share."""


def run_summary(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the summary of a run in a list of runs."""
    steps = document.get("steps") or []
    about = {name: document.get(name) for name in ("run", "state", "started", "finished", "seconds", "parameters")}
    return {**about, "headline": headline(document), "steps": dict(Counter(str(step["state"]) for step in steps))}


def headline(document: Mapping[str, Any]) -> str:
    """Return the result of a run in one line."""
    from jupyter_pipelines.reporting.summary import headline as of_summary

    return of_summary(document)
