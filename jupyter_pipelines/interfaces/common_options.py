"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from jupyter_pipelines.errors import Diagnostic, PlanError

_MAX_DEPTH = 64
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
    return {name.strip(): value for name, _, value in (pair.partition("=") for pair in pairs)}


def read_values(path: Path) -> Mapping[str, Any]:
    """Return values by name from a JSON or YAML file.

    Raises
    ------
    PlanError
        It cannot be read (JP508).
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise PlanError(_unreadable(path, f"it is larger than {MAX_FILE_BYTES:,} bytes"))
        # utf-8-sig also reads files with the byte order mark that Windows editors write.
        parsed = _parsed(path.read_text(encoding="utf-8-sig"), path)
    except OSError as error:
        raise PlanError(_unreadable(path, (error.strerror or str(error)).lower())) from error
    except (ValueError, RecursionError) as error:
        raise PlanError(_unreadable(path, str(error).splitlines()[0])) from error
    if not isinstance(parsed, dict) or not all(isinstance(name, str) for name in parsed):
        raise PlanError(_unreadable(path, "it does not hold names and values"))
    return parsed


def _parsed(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        return json.loads(text)
    if path.suffix in (".yaml", ".yml"):
        return _yaml(text)
    raise PlanError(_unreadable(path, f"its name ends in `{path.suffix or path.name}`"))


def _yaml(text: str) -> Any:
    """Return the value of a YAML text; aliases are refused, as few of them can expand to millions of values."""
    import yaml

    # The loader of libyaml is several times as fast, and not part of every build of PyYAML.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        # Checked on the events, before any value is built: building alone could exhaust memory or the stack.
        for event in yaml.parse(text, loader):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it uses references (`*name`), which are not read")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise ValueError(f"it is nested more than {_MAX_DEPTH} deep")
        return yaml.load(text, loader) or {}  # noqa: S506 - a safe loader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _names(texts: Iterable[str]) -> list[str]:
    return [name for text in texts for name in text.replace(",", " ").split()]


def _no_value(pair: str) -> Diagnostic:
    name = pair.partition("=")[0] or "NAME"
    return Diagnostic(
        code="JP604", message=f"`-p {pair}` does not say NAME=VALUE", suggestion=f"write `-p {name}=VALUE`"
    )


def _unreadable(path: Path, reason: str) -> Diagnostic:
    return Diagnostic(
        code="JP508",
        message=f"the file of parameters `{path}` cannot be read: {reason}",
        suggestion='give a .json or .yaml file with names and values, such as {"trees": 200}',
    )
