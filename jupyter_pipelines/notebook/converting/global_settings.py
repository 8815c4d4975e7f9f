"""Global settings: moved in front of a step that begins with them, else repeated for later steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jupyter_pipelines.notebook.code.name_usage import BUILTINS
from jupyter_pipelines.notebook.converting import statement_features
from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, SurveyedCell
from jupyter_pipelines.notebook.converting.chunks import CodeChunk

_LOGIN = re.compile(r"://[^/\s@]+@|AccountKey=")
"""A URL or a connection string with a password or a token in it."""
_SECRET_VARIABLE = re.compile(r"pass|pwd|token|secret|credential|_pat$|key\d*$|_dsn$|connection_string|cookie", re.I)
"""Wider than for parameters, which a warning names: what is left out by mistake costs a comment."""
_LEFT_OUT = "# `{0}` is a secret: set it before the pipeline runs."


def is_setting(survey: CellSurvey, chunk: CodeChunk) -> bool:
    """Return whether a chunk only makes settings, and needs nothing but shared code for them."""
    if not statement_features.sets_something(chunk.text, chunk.body, survey.imported):
        return False
    available = survey.shared | BUILTINS
    free = (set(chunk.names.reads) | set(chunk.names.later.reads)) - set(chunk.names.binds)
    return free <= available and not chunk.names.deletes and _binds_nothing_lasting(survey, chunk)


def _binds_nothing_lasting(survey: CellSurvey, chunk: CodeChunk) -> bool:
    """Return whether no other chunk uses the names that a chunk binds, such as the variable of a loop."""
    others = (other for unit in survey.units for other in unit.cut.chunks if other is not chunk)
    used = {name for other in others for name in other.names.reads}
    return not used & set(chunk.names.binds)


def hoist_settings(survey: CellSurvey, groups: Sequence[list[SurveyedCell]]) -> None:
    """Move the settings with which a step begins in front of it."""
    for units in groups:
        for unit in units:
            leading = list(_leading_settings(survey, unit))
            unit.settle(leading)
            if unit.is_left:
                break


def _leading_settings(survey: CellSurvey, unit: SurveyedCell) -> Iterator[CodeChunk]:
    """Yield the settings at the beginning of a cell; none if the outputs of the cell may be theirs."""
    only_settings = all(is_setting(survey, chunk) or not chunk.body for chunk in unit.left)
    if unit.cut.whole or unit.spoken or (unit.observed.shows and (only_settings and unit.seen is not None)):
        return
    for chunk in unit.left:
        if not is_setting(survey, chunk):
            return
        yield chunk


def repeated_settings(survey: CellSurvey, units: Sequence[SurveyedCell]) -> list[str]:
    """Return the statements that repeat the settings of a step for later steps."""
    statements: list[str] = []
    for unit in units:
        chunks = [chunk for chunk in unit.rest if is_setting(survey, chunk)]
        statements += [chunk.text.strip("\n") for chunk in chunks]
        if not chunks and not unit.moved and unit.seen is not None:
            statements += setting_statements(unit.seen.settings)
    return statements


def setting_statements(changes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return statements that repeat the settings which changed in a rehearsal."""
    statements: list[str] = []
    for owner, values in changes.items():
        statements += _STATEMENT_WRITERS[owner](values) if owner in _STATEMENT_WRITERS else []
    return statements


def _matplotlib(values: Mapping[str, Any]) -> list[str]:
    # A `repr` such as `<function …>` is no literal.
    lines = "".join(f"    {key!r}: {literal},\n" for key, literal in values.items() if "<" not in str(literal))
    start = ["import matplotlib"]
    if "cycler(" in lines:
        start.append("from cycler import cycler")
    return [*start, f"matplotlib.rcParams.update({{\n{lines}}})"] if lines else []


def _pandas(values: Mapping[str, Any]) -> list[str]:
    plain = {key: literal for key, literal in values.items() if "<" not in str(literal)}
    return (
        ["import pandas", *(f"pandas.set_option({key!r}, {literal})" for key, literal in plain.items())]
        if plain
        else []
    )


def _numpy(values: Mapping[str, Any]) -> list[str]:
    plain = ", ".join(f"{key}={literal}" for key, literal in values.items() if "<" not in str(literal))
    return ["import numpy", f"numpy.set_printoptions({plain})"] if plain else []


def _numpy_errors(values: Mapping[str, Any]) -> list[str]:
    return ["import numpy", f"numpy.seterr({', '.join(f'{key}={mode!r}' for key, mode in values.items())})"]


def _decimal(values: Mapping[str, Any]) -> list[str]:
    text = f"{values['context']})" if not str(values["context"]).endswith(")") else values["context"]
    return ["import decimal", f"decimal.getcontext().prec = {_precision(str(text))}"]


def _precision(text: str) -> str:
    return text.partition("prec=")[2].partition(",")[0]


def _environment(values: Mapping[str, Any]) -> list[str]:
    secrets = [key for key, value in values.items() if _SECRET_VARIABLE.search(key) or _LOGIN.search(str(value))]
    lines = [f"os.environ[{key!r}] = {value!r}" for key, value in values.items() if key not in secrets]
    # What looks like a secret is not written down: that a later step fails without it costs less than a leak.
    return [*(["import os", *lines] if lines else []), *(_LEFT_OUT.format(key) for key in secrets)]


_STATEMENT_WRITERS: Mapping[str, Any] = {
    "matplotlib": _matplotlib,
    "pandas": _pandas,
    "numpy": _numpy,
    "numpy-errors": _numpy_errors,
    "decimal": _decimal,
    "locale": lambda values: ["import locale", f"locale.setlocale(locale.LC_ALL, {values['all']!r})"],
    "environment": _environment,
    "folder": lambda values: ["import os", f"os.chdir({values['cwd']!r})"],
    "path": lambda values: ["import sys", f"sys.path[:] = {values['sys.path']!r}"],
    "recursion": lambda values: ["import sys", f"sys.setrecursionlimit({values['limit']!r})"],
}
