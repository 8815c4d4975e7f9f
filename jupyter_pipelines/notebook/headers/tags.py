"""Headers that a notebook gives by tags: papermill's ``parameters``, and Kale's."""

from __future__ import annotations

from collections.abc import Iterator

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.headers.cell_layout import RawHeader
from jupyter_pipelines.notebook.headers.lexer import HeaderToken
from jupyter_pipelines.notebook.headers.parser import CellHeader, parse_header
from jupyter_pipelines.notebook.headers.units import STEP_NAME_RULE, is_step_name, propose_step_name

PARAMETERS = frozenset({"parameters", "pipeline-parameters"})
_STEP = ("step:", "block:")
_AFTER_PREFIX = "prev:"
_SKIP = "skip"


def header_of_tags(tags: tuple[str, ...], number: int) -> tuple[CellHeader | None, tuple[Diagnostic, ...]]:
    """Return the header that the tags of a cell stand for, or None, and its faults.

    ``step:x`` (``block:x`` in older notebooks) makes a step, ``prev:y`` beside it is ``--after y``, ``parameters`` and
    ``pipeline-parameters`` declare parameters. Kale's ``imports`` and ``functions`` need no header: imports and
    functions of any cell are shared code. A cell with ``skip`` is no step whatever else it is tagged, as in Kale.

    Parameters
    ----------
    tags : tuple of str
        The tags of the cell.
    number : int
        Its number, for the places of faults.
    """
    place = SourceLocation(cell=number, line=1)
    names = [] if _SKIP in tags else _values(tags, *_STEP)
    faults = tuple(_faults(tags, names, place))
    if faults:
        return CellHeader(kind="step", place=place, form="tags"), faults
    if names:
        words = [*names, *(["--after"] if _values(tags, _AFTER_PREFIX) else []), *_values(tags, _AFTER_PREFIX)]
        raw_header = RawHeader(
            kind="step", form="tags", words=tuple(HeaderToken(word, word, place) for word in words), place=place
        )
        return parse_header(raw_header)
    if PARAMETERS.intersection(tags):
        return CellHeader(kind="params", place=place, form="tags"), ()
    return None, ()


def _faults(tags: tuple[str, ...], names: list[str], place: SourceLocation) -> Iterator[Diagnostic]:
    """Yield what is wrong with the tags of a step, in the spelling of tags."""
    if len(names) > 1:
        written = [tag for tag in tags if tag.startswith(_STEP)]
        yield Diagnostic(
            code="JP101",
            message=f"the tags of a cell name one step, and here are {', '.join(f'`{tag}`' for tag in written)}",
            suggestion="keep one of these tags, or split the cell",
            place=place,
        )
    for tag in tags if names else ():
        prefix, colon, name = tag.partition(":")
        if tag.startswith((*_STEP, _AFTER_PREFIX)) and name.strip() and not is_step_name(name.strip()):
            yield Diagnostic(
                code="JP103",
                message=f"`{name.strip()}` cannot be the name of a step",
                suggestion=f"write the tag `{prefix}{colon}{propose_step_name(name)}`",
                place=place,
                notes=(STEP_NAME_RULE,),
            )


def _values(tags: tuple[str, ...], *prefixes: str) -> list[str]:
    """Return the values of tags with any of `prefixes`, without duplicates."""
    values = (tag.removeprefix(prefix).strip() for tag in tags for prefix in prefixes if tag.startswith(prefix))
    return list(dict.fromkeys(value for value in values if value))
