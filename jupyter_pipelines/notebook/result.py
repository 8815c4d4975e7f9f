"""What reading a notebook gives, and where the notebook belongs; knows nothing of how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.document import Document
from jupyter_pipelines.pipeline.graph import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading a notebook gave.

    Parameters
    ----------
    document : Document
        The notebook.
    pipeline : Pipeline or None
        What it makes; None when there is any error.
    faults : tuple of Fault
        Errors and warnings, in the order of their places.
    """

    document: Document
    pipeline: Pipeline | None
    faults: tuple[Fault, ...]


def folder_of(document: Document) -> Path:
    """Return the folder that steps run in: the notebook's own or the one it names, without links on the way."""
    return Path(document.path.parent if document.path else "", document.folder or "").resolve()


def project_root(folder: Path) -> Path:
    """Return the nearest folder upward with a ``pyproject.toml`` or ``.git``, else `folder`."""
    for one in (folder, *folder.parents):
        if (one / "pyproject.toml").exists() or (one / ".git").exists():
            return one
    return folder
