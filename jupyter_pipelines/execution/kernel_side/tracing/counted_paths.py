"""Which paths are dependencies: the project's files and data elsewhere; not Python, packages, the system or caches.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import functools
import hashlib
import os
import site
import sys
import sysconfig
from collections.abc import Iterable

from jupyter_pipelines.execution.kernel_side.tracing.compiled_copies import is_copy, source_of
from jupyter_pipelines.execution.kernel_side.tracing.folder_events import is_skipped
from jupyter_pipelines.pipeline.ignored_paths import is_ignored

_SYSTEM = (
    *("/proc", "/sys", "/dev", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/var/cache"),
    *("/run/user", "/run/lock", "/run/systemd", "/run/udev"),
)
"""Folders of the system; disks that are plugged in are below ``/run/media``, and count."""
_CACHES = """
    .cache/matplotlib .cache/fontconfig .cache/pip .cache/uv .cache/jupyter-pipelines .cache/black .cache/Python
    .config/jupyter-pipelines .matplotlib .fontconfig .fonts .ipython .jupyter .nv
    .local/share/jupyter .local/share/jupyter-pipelines .local/share/fonts .local/state .config/pip
""".split()
"""Folders below the user's home that only programs write to; a folder in which users keep data must not stand here."""
_CODE = (".py", ".pyc", ".pyo", ".so", ".pyd", ".pth")
_INSTALLED = "-packages/"
_THIS_PACKAGE = os.path.abspath(__file__).partition("/execution/kernel_side/")[0]
_UNSAVED = (".~", ".#")
"""Beginnings of names of lock files that editors keep beside a file that is open."""
_TOOL_FOLDERS = frozenset(
    """
    .cache mlruns mlartifacts wandb lightning_logs catboost_info dask-scratch-space dask-worker-space
    """.split()
)
"""Folders in a project that libraries write to on their own; files in them are no results of a step."""
DATABASES = (".db", ".db3", ".sqlite", ".sqlite3", ".gpkg", ".duckdb")
DATABASE_LOGS = ("-wal", ".wal")
"""What SQLite and DuckDB add to the name of a database: there stands what is not in the database yet."""
_TOOL_FILES = (".lock", ".pid", ".pyc", ".swp", "~", "/.gitignore")
"""Endings of lock files, caches and temporary files, which are no results of a step."""
_CACHED_CALL = ("/output.pkl", "/metadata.json", "/func_code.py")
"""Ends the paths of what `joblib.Memory` keeps."""
_CELLS = "/ipykernel_"
"""Part of the file names that ipykernel gives to the code of cells; no such file exists."""


class CountedPaths:
    """Tells which files and folders count, and under which path.

    Parameters
    ----------
    root : str
        The project's folder.
    left_out : iterable of str
        Folders and files that do not count: the store, the folder of the attempt, the notebook.
    ignored : iterable of str
        Paths and patterns of files of the project that do not count.

    Attributes
    ----------
    ignored : dict of str to None
        The paths that were asked for and left out for a pattern of `ignored`.
    """

    def __init__(self, root: str, left_out: Iterable[str] = (), ignored: Iterable[str] = ()) -> None:
        self.ignored: dict[str, None] = {}
        self._patterns = tuple(ignored)
        self._root = f"{root.rstrip('/')}/"
        self._left_out = tuple(path for path in left_out if path)
        # On a worker, the project's files are laid out in a folder of the store, whose other files are left out.
        self._left_out_inside = tuple(path for path in self._left_out if not is_below(root.rstrip("/"), (path,)))
        self._folders: dict[str, bool] = {}
        home = os.path.expanduser("~")
        self._elsewhere = (*python_folders(), *_SYSTEM, *(f"{home}/{name}" for name in _CACHES))
        self._inside = tuple(path for path in python_folders() if path.startswith(self._root))

    def python_inside(self) -> tuple[str, ...]:
        """Return the folders of Python and its packages that lie in the project."""
        return self._inside

    def inside(self, path: str) -> bool:
        """Tell whether `path` is the project's folder or below it."""
        return path.startswith(self._root) or path == self._root[:-1]

    def holds_own_code(self, folder: str) -> bool:
        """Tell whether a folder is in the project, and holds no installed packages."""
        return self.inside(folder) and _INSTALLED not in folder and not is_below(folder, self._inside)

    def path_of(self, path: str, *, imported: bool = False) -> str | None:
        """Return the path under which an absolute, normalized path is recorded; None if it is no dependency.

        Parameters
        ----------
        path : str
            The path.
        imported : bool
            Python's import system asked for it: installed packages count by their versions, other code by its content.
        """
        if self.inside(path):
            return None if is_below(path, self._left_out_inside) else self._inside_path(path)
        if is_below(path, self._left_out):
            return None
        if imported and path.endswith(_CODE):
            return self._code_elsewhere(path)
        return None if is_below(path, self._elsewhere) or _CELLS in path or is_skipped_below(path, "/") else path

    def _code_elsewhere(self, path: str) -> str | None:
        """Return the source file of code outside of the project, which counts by content; None if it is installed."""
        folder, _, name = path.rpartition("/")
        if is_copy(path):
            path = source_of(folder, name)
            folder, _, name = path.rpartition("/")
        skipped = _INSTALLED in path or _CELLS in path or is_below(path, (*self._elsewhere, _THIS_PACKAGE))
        return None if skipped or not name.endswith(".py") else path

    def _inside_path(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        if is_copy(path):
            folder, _, name = source_of(folder, name).rpartition("/")
        counts = self._folders.get(folder)
        if counts is None:
            skipped = f"{folder}/" != self._root and is_skipped_below(folder, self._root)
            counts = self._folders[folder] = not skipped and not is_below(folder, self._inside)
        # SQLite's -shm and -journal files come and go with each connection; its -wal file holds committed rows.
        if not counts or is_skipped(name) or name.endswith(("-shm", "-journal")) or path in self._inside:
            return None
        counted = f"{folder}/{name}"
        if self._patterns and is_ignored(counted.removeprefix(self._root), self._patterns):
            self.ignored.setdefault(counted)
            return None
        return counted


def counts_as_written(path: str) -> bool:
    """Tell whether a written file of the project is a result of the step, and no lock, cache or temporary file.

    Parameters
    ----------
    path : str
        The path from the project's folder.
    """
    folders = path.split("/")[:-1]
    cached = "joblib" in folders and path.endswith(_CACHED_CALL)
    return not cached and not f"/{path}".endswith((*_TOOL_FILES, *DATABASE_LOGS)) and _TOOL_FOLDERS.isdisjoint(folders)


def database_logs(path: str) -> list[str]:
    """Return the paths of the logs that a database may have: they are beside the file that links lead to."""
    return [f"{os.path.realpath(path)}{ending}" for ending in DATABASE_LOGS]


def names_digest(folder: str) -> str:
    """Return a digest of the names of files and folders in a folder; empty if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                f"{entry.name}/" if entry.is_dir() else entry.name
                for entry in entries
                if not is_skipped(entry.name) and not entry.name.startswith(_UNSAVED)
            )
    except OSError:
        return ""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def is_skipped_below(path: str, root: str) -> bool:
    """Tell whether a part of `path` below `root` is the name of a folder that never counts."""
    return any(map(is_skipped, path.removeprefix(root).split("/")))


def is_below(path: str, folders: Iterable[str]) -> bool:
    """Tell whether `path` is one of `folders` or in one of them."""
    folders = tuple(folders)
    # The first test alone decides for most paths.
    if not path.startswith(folders):
        return False
    return any(path.startswith(folder) and path[len(folder) : len(folder) + 1] in ("", "/") for folder in folders)


@functools.cache
def python_folders() -> tuple[str, ...]:
    """Return the folders of Python and of what is installed for it."""
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, *map(sysconfig.get_path, names), *_site_folders()}
    return tuple(sorted(path for path in folders if path and path != "/"))


def _site_folders() -> list[str]:
    try:
        return [*site.getsitepackages(), site.getusersitepackages()]
    except (AttributeError, OSError):
        return []
