"""Sandbox copies of a notebook's folder, so that runs of a conversion change neither it nor each other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LINK_THRESHOLD = 50_000_000
"""Size in bytes above which a file is linked instead of copied."""

MAX_FILES = 3_000
_MAX_PARENTS = 2
_LEFT_OUT = frozenset(
    {".git", ".pipelines", ".ipynb_checkpoints", "__pycache__", ".venv", "venv", "node_modules", ".tox", ".mypy_cache"}
)


@contextmanager
def sandbox(folder: Path, place: Path | None = None) -> Iterator[Path]:
    """Yield a copy of `folder`, beside it, so that relative paths out of it stay valid.

    Where no copy can be made, yield the folder itself.

    Parameters
    ----------
    folder : Path
        What is copied.
    place : Path or None
        Where an earlier copy was: the next one is made there, unless something is there.
    """
    try:
        copy = _empty_folder(folder, place)
    except OSError:
        yield folder
        return
    try:
        _copy(folder, copy)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _empty_folder(folder: Path, place: Path | None) -> Path:
    if place is not None:
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
            return place
    # Beside the folder and not in /tmp: `../data` must lead to the same files.
    return Path(tempfile.mkdtemp(prefix=f".{folder.name}.convert-", dir=folder.parent))


def _copy(folder: Path, copy: Path) -> None:
    files_left = MAX_FILES
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        target = copy / Path(root).relative_to(folder)
        files_left -= len(files) + len(folders)
        # A folder of very many files is linked as a whole: copying it for each run would take longer than the run.
        if files_left < 0 and target != copy:
            target.rmdir()
            target.symlink_to(root, target_is_directory=True)
            folders.clear()
            continue
        for name in folders:
            (target / name).mkdir()
        for name in files:
            _copy_file(Path(root, name), target / name)


def _copy_file(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.is_file() or source.stat().st_size > LINK_THRESHOLD:
        target.symlink_to(source.resolve())
    else:
        # copy2 keeps times: code may look at them, for instance to choose the newest file.
        shutil.copy2(source, target)


def nearby_files(paths: Iterable[str], folder: Path) -> frozenset[str]:
    """Return those of absolute paths that are files around a folder, as seen from it; modules apart, which are code.

    What lies farther away belongs to the machine, and may lie elsewhere on another machine.
    """
    existing = (path for path in paths if not path.endswith(".py") and Path(path).is_file())
    relative_paths = (Path(os.path.relpath(path, folder)) for path in existing)
    return frozenset(path.as_posix() for path in relative_paths if path.parts.count("..") <= _MAX_PARENTS)
