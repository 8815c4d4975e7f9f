"""Upkeep of a store as a whole, for the `store` commands; they need no notebook."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.notebook.source.read_result import project_root
from jupyter_pipelines.project.planning_api import STORE_FOLDER, STORE_VARIABLE
from jupyter_pipelines.storage.maintenance.format_upgrade import UpgradeReport
from jupyter_pipelines.storage.maintenance.format_upgrade import upgrade as upgrade_store
from jupyter_pipelines.storage.maintenance.store_copy import CopyReport, copy_store
from jupyter_pipelines.storage.maintenance.store_summary import COLLECT_AGE_DAYS, StoreSummary, summarise
from jupyter_pipelines.storage.store import FORMAT, newer_format_error

__all__ = [
    "COLLECT_AGE_DAYS",
    "FORMAT",
    "CopyReport",
    "StoreSummary",
    "UpgradeReport",
    "describe",
    "move",
    "newer_error",
    "upgrade",
]


def describe(store: str | None) -> StoreSummary:
    """Return what a store holds; nothing in it is changed, and none is made.

    Parameters
    ----------
    store : str or None
        Its address; by default that of the project that the current folder belongs to.

    Raises
    ------
    StoreError, PluginError
        There is none, or it cannot be read; there is no store of such a scheme.
    """
    return summarise(_address(store))


def newer_error(summary: StoreSummary) -> StoreError | None:
    """Return why this version cannot use a store; None if it can."""
    if not summary.is_newer or summary.format is None:
        return None
    return newer_format_error(summary.location.address, summary.format, summary.writer)


def upgrade(store: str | None) -> UpgradeReport:
    """Bring a store to the newest format, in place.

    Raises
    ------
    StoreError, PluginError
        There is none, it is in use, or it cannot be written; there is no store of such a scheme.
    """
    return upgrade_store(_address(store))


def move(
    store: str | None, destination: str, *, removes: bool, on_progress: Callable[[CopyReport], None]
) -> CopyReport:
    """Copy a store to another address; with `removes`, remove the original when all of it has been copied.

    Raises
    ------
    StoreError, PluginError
        A store cannot be opened, is in use, or cannot be copied there; there is no store of such a scheme.
    """
    return copy_store(_address(store), destination, removes=removes, on_progress=on_progress)


def _address(store: str | None) -> str | Path:
    # The same order as for a notebook: what was given, the variable, the project's folder.
    return store or os.environ.get(STORE_VARIABLE) or project_root(Path.cwd()) / STORE_FOLDER
