"""Result of reading a notebook, and the project that a notebook belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic, NotebookError
from jupyter_pipelines.notebook.source.document import NotebookDocument, read_document
from jupyter_pipelines.pipeline.graph import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """Result of reading a notebook.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    pipeline : Pipeline or None
        The pipeline; None if there is any error.
    faults : tuple of Diagnostic
        Errors and warnings, in the order of their places.
    incomplete : Pipeline or None
        Where there is an error, what was read nevertheless: to find further faults, and for nothing else.
    """

    document: NotebookDocument
    pipeline: Pipeline | None
    faults: tuple[Diagnostic, ...]
    incomplete: Pipeline | None = None


def folder_of(document: NotebookDocument) -> Path:
    """Return the folder that steps run in: the notebook's own or the folder it names, with symbolic links resolved."""
    return Path(document.path.parent if document.path else "", document.folder or "").resolve()


def project_root(folder: Path) -> Path:
    """Return the nearest folder upward with a ``pyproject.toml`` or ``.git``, else `folder`."""
    for candidate in (folder, *folder.parents):
        # `exists`, not `is_dir`: in worktrees and submodules of Git, `.git` is a file.
        if (candidate / "pyproject.toml").exists() or (candidate / ".git").exists():
            return candidate
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookPaths:
    """The notebook file and the root of its project, known also when its cells have errors.

    Parameters
    ----------
    notebook : Path or None
        The notebook.
    root : Path
        The project's root.
    """

    notebook: Path | None
    root: Path


def notebook_paths(path: Path) -> NotebookPaths:
    """Return the paths of the notebook at `path` and of its project.

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
        # A notebook that cannot be parsed at the moment still has a place, and runs that can be looked at.
        folder = path.absolute().parent
    return NotebookPaths(notebook=path, root=project_root(folder))
