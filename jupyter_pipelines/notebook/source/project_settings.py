"""Settings of a project: ``[tool.jupyter-pipelines]`` of its ``pyproject.toml``."""

from __future__ import annotations

import tomllib
from pathlib import Path

from jupyter_pipelines.errors import Diagnostic, closest_name
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries
from jupyter_pipelines.pipeline.ignored_paths import empty_range, ignored_path

FILE = "pyproject.toml"
_TABLE = "jupyter-pipelines"
_SETTINGS = ("ignore",)


def ignored_by_project(root: Path, recorded_queries: RecordedQueries) -> tuple[tuple[str, ...], list[Diagnostic]]:
    """Return the paths that a project ignores in all steps, and what is wrong with the setting.

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
    # Searching the text takes less time than parsing it, and most projects have no such table.
    if _TABLE not in text:
        return (), []
    try:
        tools = tomllib.loads(text).get("tool", {})
    except tomllib.TOMLDecodeError as error:
        return (), [_fault(f"`{FILE}` cannot be read: {error}", "mend the file")]
    table = tools.get(_TABLE, {}) if isinstance(tools, dict) else None
    if not isinstance(table, dict):
        return (), [_fault(f"`{_TABLE}` in `{FILE}` is no table", f"write `[tool.{_TABLE}]` and the settings below it")]
    faults = [_unknown_setting(name) for name in table if name not in _SETTINGS]
    names = table.get("ignore", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        wrong = _fault(f"`ignore` in `{FILE}` is not a list of texts", 'write `ignore = ["logs/", "*.tmp"]`')
        return (), [*faults, wrong]
    paths = {name: ignored_path(name) for name in names}
    faults += [
        _fault(f"`{name}` in `ignore` of `{FILE}` is not in the project", "write the path as seen from that file")
        for name, ignored in paths.items()
        if ignored is None
    ]
    faults += [
        _fault(f"no character fits `{empty}` in `ignore` of `{FILE}`", "write the lower end of a range first: `[a-z]`")
        for empty in filter(None, map(empty_range, names))
    ]
    return tuple(ignored for ignored in paths.values() if ignored is not None), faults


def _unknown_setting(name: str) -> Diagnostic:
    closest = closest_name(name, _SETTINGS)
    suggestion = f"write `{closest}`" if closest else f"take it away; the settings are: {', '.join(_SETTINGS)}"
    return _fault(f"there is no setting `{name}` in `{FILE}`", suggestion)


def _fault(message: str, suggestion: str) -> Diagnostic:
    return Diagnostic(code="JP604", message=message, suggestion=suggestion, notes=(f"the table is `[tool.{_TABLE}]`",))
