"""Settings of a project: ``[tool.jupyter-pipelines]`` of its ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries
from jupyter_pipelines.pipeline.ignored_paths import ignored_path

FILE = "pyproject.toml"
_TABLE = "jupyter-pipelines"


def ignored_by_project(root: Path, recorded_queries: RecordedQueries) -> tuple[tuple[str, ...], list[Diagnostic]]:
    """Return the files of a project that count for no step, and what is wrong with the setting.

    Parameters
    ----------
    root : Path
        The project's root.
    recorded_queries : RecordedQueries
        Reads the file.
    """
    path = root / FILE
    if not recorded_queries.exists(path):
        return (), []
    text = recorded_queries.text(path)
    if _TABLE not in text:
        return (), []
    try:
        table = tomllib.loads(text).get("tool", {}).get(_TABLE, {})
    except tomllib.TOMLDecodeError as error:
        return (), [_fault(f"`{FILE}` cannot be read: {error}", "mend the file")]
    names = table.get("ignore", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return (), [_fault(f"`ignore` in `{FILE}` is not a list of texts", 'write `ignore = ["logs/", "*.tmp"]`')]
    paths = {name: ignored_path(name) for name in names}
    faults = [
        _fault(f"`{name}` in `ignore` of `{FILE}` is not in the project", "write the path as seen from that file")
        for name, ignored in paths.items()
        if ignored is None
    ]
    return tuple(ignored for ignored in paths.values() if ignored is not None), faults


def _fault(message: str, suggestion: str) -> Diagnostic:
    return Diagnostic(code="JP604", message=message, suggestion=suggestion, notes=(f"the table is `[tool.{_TABLE}]`",))
