"""Headers that a notebook gives by tags: papermill's ``parameters``, and Kale's."""

from __future__ import annotations

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.headers.cell_layout import RawHeader
from jupyter_pipelines.notebook.headers.lexer import HeaderToken
from jupyter_pipelines.notebook.headers.parser import CellHeader, parse_header

PARAMETERS = frozenset({"parameters", "pipeline-parameters"})
_STEP = ("step:", "block:")
_AFTER_PREFIX = "prev:"


def header_of_tags(tags: tuple[str, ...], number: int) -> tuple[CellHeader | None, tuple[Diagnostic, ...]]:
    """Return the header that the tags of a cell stand for, or None, and its faults.

    ``step:x`` (``block:x`` in older notebooks) makes a step, ``prev:y`` beside it is ``--after y``, ``parameters`` and
    ``pipeline-parameters`` declare parameters. Kale's ``imports``, ``functions`` and ``skip`` need no header: imports
    and functions of any cell are shared code, and a cell without a header is exploration.

    Parameters
    ----------
    tags : tuple of str
        The tags of the cell.
    number : int
        Its number, for the places of faults.
    """
    place = SourceLocation(cell=number, line=1)
    names = _values(tags, *_STEP)
    if names:
        words = [*names, *(["--after"] if _values(tags, _AFTER_PREFIX) else []), *_values(tags, _AFTER_PREFIX)]
        raw_header = RawHeader(
            kind="step", form="tags", words=tuple(HeaderToken(word, word, place) for word in words), place=place
        )
        return parse_header(raw_header)
    if PARAMETERS.intersection(tags):
        return CellHeader(kind="params", place=place, form="tags"), ()
    return None, ()


def _values(tags: tuple[str, ...], *prefixes: str) -> list[str]:
    """Return the values of tags with any of `prefixes`, without duplicates."""
    values = (tag.removeprefix(prefix).strip() for tag in tags for prefix in prefixes if tag.startswith(prefix))
    return list(dict.fromkeys(value for value in values if value))
