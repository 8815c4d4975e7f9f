"""Result of reading a notebook, and the project that a notebook belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.errors import Fault, NotebookError
from jupyter_pipelines.notebook.document import Document, read_document
from jupyter_pipelines.pipeline.graph import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Result of reading a notebook.

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
    """Return the folder that steps run in: the notebook's own or the folder it names, with symbolic links resolved."""
    return Path(document.path.parent if document.path else "", document.folder or "").resolve()


def project_root(folder: Path) -> Path:
    """Return the nearest folder upward with a ``pyproject.toml`` or ``.git``, else `folder`."""
    for candidate in (folder, *folder.parents):
        if (candidate / "pyproject.toml").exists() or (candidate / ".git").exists():
            return candidate
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Project that a notebook belongs to, known also when its cells have errors.

    Parameters
    ----------
    notebook : Path or None
        The notebook.
    root : Path
        The project's root.
    """

    notebook: Path | None
    root: Path


def home_of(path: Path) -> Home:
    """Return where the notebook at `path` belongs.

    Raises
    ------
    NotebookError
        There is no such file (JP104).
    """
    try:
        folder = folder_of(read_document(path))
    except NotebookError:
        if not path.is_file():
            raise
        folder = path.absolute().parent
    return Home(notebook=path, root=project_root(folder))
