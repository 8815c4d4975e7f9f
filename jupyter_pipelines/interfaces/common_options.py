"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jupyter_pipelines.errors import Diagnostic, PlanError
from jupyter_pipelines.pipeline.identifiers import normal_name

if TYPE_CHECKING:
    from jupyter_pipelines.interfaces.value_documents import DocumentFault

FILE_HELP: Mapping[str, str] = {
    "parameters": 'give a .json or .yaml file with names and values, such as {"trees": 200}',
    "steps": 'give a .json or .yaml file with names of steps and numbers of cells, such as {"load": 2, "train": 9}',
}
_SUFFIXES = frozenset({".json", ".yaml", ".yml"})
# Names are separated by spaces and commas, but not in the brackets of an item: `fit[depth=2,rate=0.1]`. A bracket that
# closes ends the item if nothing follows it or another name does, which has no `=` of its own.
_NAMES = re.compile(r"[^\s,\[]+\[.*?\](?=\s*,?\s*$|[\s,]+[^\s,\[\]=]+(?:[\s,\[]|$))|[^\s,]+", re.DOTALL)
MAX_FILE_BYTES = 1_000_000
"""Largest accepted size of a parameter file, in bytes."""

PARAMETER = click.option(
    "-p", "pairs", multiple=True, metavar="NAME=VALUE", help="Value of a parameter; may be repeated."
)
PARAMETERS_FILE = click.option(
    "--params-file", "files", multiple=True, metavar="FILE", help="Values of parameters, as JSON or YAML."
)
TO = click.option("--to", multiple=True, metavar="STEP", help="This step and all before it; may be repeated.")
FROM = click.option("--from", "start", multiple=True, metavar="STEP", help="This step and all after it.")
ONLY = click.option("--only", multiple=True, metavar="STEP", help="This step and no other.")
FORCE = click.option(
    "--force", multiple=True, metavar="[STEP]", help="Compute again, all steps or this one; the results are reusable."
)


def normal_names(_: click.Context, __: click.Parameter, value: Any) -> Any:
    """Return the names of steps and outputs that an option or argument was given in the form in which they are kept."""
    if isinstance(value, str):
        return normal_name(value)
    return tuple(map(normal_name, value)) if isinstance(value, tuple) else value


def with_values(work: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for values of parameters."""
    return PARAMETER(PARAMETERS_FILE(work))


def with_selection(work: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for part of the graph."""
    return TO(FROM(ONLY(FORCE(work))))


def parameter_arguments(pairs: Iterable[str], files: Iterable[str]) -> dict[str, Any]:
    """Return the keyword arguments by which a project takes values: from files, and as text.

    Raises
    ------
    PlanError
        A pair has no value (JP604), or a file cannot be read (JP508).
    """
    texts = texts_of(pairs)
    parameters: dict[str, Any] = {}
    for name in files:
        parameters |= read_values(Path(name))
    if parameters:
        from jupyter_pipelines.interfaces.value_documents import UnquotedWord

        # The type of its parameter says whether `yes` is true or a text, as behind `-p`.
        texts = {name: str(value) for name, value in parameters.items() if isinstance(value, UnquotedWord)} | texts
    return {"parameters": {name: value for name, value in parameters.items() if name not in texts}, "texts": texts}


def selection_arguments(
    *, to: Iterable[str], start: Iterable[str], only: Iterable[str], force: Iterable[str]
) -> dict[str, Any]:
    """Return the keyword arguments by which a project takes part of the graph."""
    forced = list(force)
    return {
        "to": _names(to),
        "start": _names(start),
        "only": _names(only),
        # `--force` without a step is passed on as an empty value, and means all steps.
        "force": True if "" in forced else _names(forced),
    }


def texts_of(pairs: Iterable[str]) -> dict[str, str]:
    """Return values by name from ``NAME=VALUE``; the last value of a name counts.

    Raises
    ------
    PlanError
        Pairs without a value (JP604), all at once.
    """
    faults = [_no_value(pair) for pair in pairs if not pair.partition("=")[0] or "=" not in pair]
    if faults:
        raise PlanError(*faults)
    return {normal_name(name.strip()): value for name, _, value in (pair.partition("=") for pair in pairs)}


def read_values(path: Path, holds: str = "parameters") -> Mapping[str, Any]:
    """Return values by name from a JSON or YAML file.

    Parameters
    ----------
    path : Path
        The file.
    holds : {"parameters", "steps"}
        What is named in it.

    Raises
    ------
    PlanError
        It cannot be read (JP508).
    """
    try:
        if path.suffix not in _SUFFIXES:
            raise PlanError(_unreadable(path, f"its name ends in `{path.suffix or path.name}`", holds))
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PlanError(_unreadable(path, f"it is larger than {MAX_FILE_BYTES:,} bytes", holds))
        parsed = _parsed(path.read_text(encoding="utf-8-sig"), path, holds)
    except OSError as error:
        raise PlanError(_unreadable(path, (error.strerror or str(error)).lower(), holds)) from error
    except (ValueError, RecursionError) as error:
        raise PlanError(_unreadable(path, str(error).splitlines()[0], holds)) from error
    if not isinstance(parsed, dict) or not all(isinstance(name, str) for name in parsed):
        raise PlanError(_unreadable(path, "it does not hold names and values", holds))
    values = {normal_name(name): value for name, value in parsed.items()}
    if len(values) < len(parsed):
        names = [normal_name(name) for name in parsed]
        twice = next(name for name in reversed(parsed) if names.count(normal_name(name)) > 1)
        reason = f"`{twice}` and another name in it are both `{normal_name(twice)}` for Python"
        raise PlanError(_unreadable(path, reason, holds))
    return values


def _parsed(text: str, path: Path, holds: str) -> Any:
    from jupyter_pipelines.interfaces.value_documents import ValueDocumentError, parse_json, parse_yaml

    try:
        return (parse_json if path.suffix == ".json" else parse_yaml)(text)
    except ValueDocumentError as error:
        raise PlanError(*(_unreadable(path, fault.reason, holds, fault) for fault in error.faults)) from error


def _names(texts: Iterable[str]) -> list[str]:
    return [name for text in texts for name in _NAMES.findall(normal_name(text))]


def _no_value(pair: str) -> Diagnostic:
    name = pair.partition("=")[0] or "NAME"
    return Diagnostic(
        code="JP604", message=f"`-p {pair}` does not say NAME=VALUE", suggestion=f"write `-p {name}=VALUE`"
    )


def _unreadable(path: Path, reason: str, holds: str, fault: DocumentFault | None = None) -> Diagnostic:
    place = fault.place if fault else None
    return Diagnostic(
        code="JP508",
        message=f"the file of {holds} `{path}` cannot be read: {reason}",
        suggestion=(fault.suggestion if fault else "") or FILE_HELP[holds],
        place=replace(place, file=str(path)) if place else None,
        label=fault.label if fault else "",
    )
