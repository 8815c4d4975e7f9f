"""Which files in a folder that a step takes were changed, added or removed since the step ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import FileSource
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step

_MAX_FILES = 1000
"""Records keep no list of files for a folder with more."""
_MAX_SHOWN = 3
# Hexadecimal digits: enough to tell versions of a file apart in a message. No decision is made by them.
_LENGTH = 20


class FolderReader(Protocol):
    """Reads folders of the user."""

    def folder_contents(self, path: Path) -> tuple[str, Mapping[str, str]]:
        """Return the digest of a folder, and those of its files by path."""


def folder_files(
    reader: FolderReader, pipeline: Pipeline, step: Step, parts: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the files in the folders that a step took, by input, as records keep them.

    Parameters
    ----------
    reader : FolderReader
        Reads the folders.
    pipeline : Pipeline
        Holds the step.
    step : Step
        The step.
    parts : Mapping of str to str
        What its key was made of; a folder that has changed since is left out.
    """
    folders = {}
    for name, path in _paths(pipeline, step):
        if path.is_dir():
            contents = _contents(reader, path)
            if contents is not None and contents[0] == parts.get(f"file:{name}") and len(contents[1]) <= _MAX_FILES:
                folders[name] = _short(contents[1])
    return folders


def changed_files(
    reader: FolderReader, pipeline: Pipeline, step: Step, before: Mapping[str, Mapping[str, str]], name: str
) -> str:
    """Return in a few words which files differ in the folder of the input `name`; empty if that is not known."""
    path = dict(_paths(pipeline, step)).get(name)
    if name not in before or path is None or not path.is_dir():
        return ""
    contents = _contents(reader, path)
    changes = list(_changes(_short(contents[1]), before[name])) if contents else []
    more = [f"and {len(changes) - _MAX_SHOWN} more"] if len(changes) > _MAX_SHOWN else []
    return ", ".join([*changes[:_MAX_SHOWN], *more])


def _paths(pipeline: Pipeline, step: Step) -> Iterator[tuple[str, Path]]:
    for step_input in step.inputs:
        if isinstance(step_input.source, FileSource):
            yield step_input.name, pipeline.folder / step_input.source.path
    yield from ((path, pipeline.folder / path) for path in step.files)


def _contents(reader: FolderReader, path: Path) -> tuple[str, Mapping[str, str]] | None:
    try:
        return reader.folder_contents(path)
    except (OSError, StoreError):
        # What cannot be read now explains nothing: the reason stays without the names of files.
        return None


def _short(files: Mapping[str, str]) -> dict[str, str]:
    return {path: digest.partition(":")[2][:_LENGTH] for path, digest in files.items() if not path.endswith("/")}


def _changes(now: Mapping[str, str], before: Mapping[str, str]) -> Iterator[str]:
    for path in sorted({*now, *before}):
        if path not in before:
            yield f"`{path}` was added"
        elif path not in now:
            yield f"`{path}` was removed"
        elif now[path] != before[path]:
            yield f"`{path}` changed"
