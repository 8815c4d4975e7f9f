"""Files that code reads without declaring them: their paths once parameters have values, and their digests."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.ignored_paths import is_clutter, is_ignored
from jupyter_pipelines.pipeline.path_templates import MAX_LENGTH, escape_braces, expand_template, path_of
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.fingerprint import MISSING


def with_files_read(step: Step, values: Mapping[str, Any]) -> Step:
    """Return `step` with the files that it reads for these values of its parameters, those of its item included."""
    if not step.templates:
        return step
    known_values = {**values, **step.item.parameters} if step.item else values
    paths = (
        path_of(text)
        for template in step.templates
        for text in expand_template(template, lambda name: _texts(known_values.get(name)))
    )
    # Bounded: a parameter that is a long list must not turn into a plan that hashes a file for each member.
    files = dict.fromkeys((*step.files, *filter(None, islice(paths, MAX_LENGTH))))
    return replace(step, files=tuple(files), templates=())


def _texts(value: Any) -> Sequence[str]:
    """Return templates of all texts in a value that may be part of a path."""
    return [escape_braces(text) for text in islice(dict.fromkeys(_plain(value)), MAX_LENGTH)]


def _plain(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (text for pair in value.items() for member in pair for text in _plain(member))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (text for element in value for text in _plain(element))
    elif value is not None:
        yield str(value)


def files_matching(folder: Path, pattern: str) -> list[str]:
    """Return the files that fit a pattern, relative to `folder`, by name; hidden files are left out."""
    names = glob.glob(pattern, root_dir=folder, recursive=True)  # noqa: PTH207 - takes absolute patterns, too
    return sorted(Path(name).as_posix() for name in names if (folder / name).is_file())


def files_at(pipeline: Pipeline, path: str, ignored: Sequence[str] = ()) -> list[str]:
    """Return the paths that code reads under `path`: the files that match, if it is a pattern, else the path itself.

    The notebook itself and the folder that it is in are left out: they change with every edit. So is what is `ignored`.
    """
    absolute = pipeline.folder / path
    # A file may have the characters of a pattern in its name.
    if glob.has_magic(path) and not absolute.exists():
        return [
            name
            for name in files_matching(pipeline.folder, path)
            if pipeline.folder / name != pipeline.notebook and not is_left_out(pipeline, name, ignored)
        ]
    if is_left_out(pipeline, path, ignored):
        return []
    normalized = Path(os.path.normpath(absolute))
    # A folder that contains the notebook would change with every edit and every run.
    return [] if pipeline.folder.is_relative_to(normalized) else [path]


def is_left_out(pipeline: Pipeline, path: str, ignored: Sequence[str]) -> bool:
    """Tell whether what code reads under `path` is ignored by the step."""
    if not ignored:
        return False
    absolute = Path(os.path.normpath(pipeline.folder / path))
    return absolute.is_relative_to(pipeline.root) and is_ignored(
        absolute.relative_to(pipeline.root).as_posix(), ignored
    )


def digest_of(pipeline: Pipeline, path: str, digest: Callable[[Path], str], ignored: Sequence[str] = ()) -> str:
    """Return the digest of what code reads under `path`; `digest` computes that of a file or folder.

    What is `ignored` is left out of folders and patterns.

    Raises
    ------
    OSError, StoreError
        It is not there (`FileNotFoundError`), or cannot be read.
    """
    paths, folder = files_at(pipeline, path, ignored), pipeline.folder
    if not paths:
        raise FileNotFoundError(path)
    if paths != [path]:
        return _digest(f"{name} {digest(folder / name)}" for name in paths)
    if ignored and (folder / path).is_dir():
        return _digest(
            line
            for name, line in _folder_lines(folder / path, digest)
            if not is_left_out(pipeline, os.path.join(path, name), ignored)  # noqa: PTH118 - paths here are texts
        )
    try:
        return digest(folder / path)
    # The digest refuses folders with links that lead nowhere or files without permission: such are noted, not refused.
    except (OSError, StoreError):
        if not (folder / path).is_dir():
            raise
        return _digest(line for _, line in _folder_lines(folder / path, digest))


def _folder_lines(folder: Path, digest: Callable[[Path], str]) -> Iterator[tuple[str, str]]:
    """Yield each name in a folder with a line for its digest, also broken or circular links and unreadable files."""
    for root, folders, names in os.walk(folder):
        # Assigned in place: `os.walk` descends into what is left in this list.
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        counted = sorted([*folders, *(name for name in names if not is_clutter(name))])
        for path in (Path(root, name) for name in counted):
            name = path.relative_to(folder).as_posix()
            line = f"{name} {path.readlink() if path.is_symlink() else ''}"
            try:
                yield name, f"{line} {digest(path)}" if path.is_file() else line
            except (OSError, StoreError):
                yield name, f"{line} {MISSING}"


def _digest(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
