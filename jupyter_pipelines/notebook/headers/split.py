"""The header of a cell: ``%%step``, ``%%params``, ``%%setup``, and the ``#|`` lines that say the same.

One parser serves the notebook's reader, the live kernel and JupyterLab, so that they cannot differ. It is pure and
never raises; what is wrong is returned. See :mod:`~jupyter_pipelines.notebook.headers.lexer` for how a header is split
into words, :mod:`~jupyter_pipelines.notebook.headers.options` for what it may say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.notebook.headers.cell_layout import (
    MAGICS,
    CellLayout,
    RawHeader,
    Role,
    read_layout,
    second_header,
)
from jupyter_pipelines.notebook.headers.io_spec import IOSpec
from jupyter_pipelines.notebook.headers.lexer import SourceLine
from jupyter_pipelines.notebook.headers.options import OPTIONS, HeaderOption
from jupyter_pipelines.notebook.headers.parser import CellHeader, parse_header
from jupyter_pipelines.notebook.headers.tags import header_of_tags
from jupyter_pipelines.pipeline.url_inputs import hide_credentials

__all__ = ["OPTIONS", "CellHeader", "HeaderOption", "IOSpec", "SplitCell", "split_cell"]
# Every reading splits all cells again, and hardly any has changed since the last.
_CACHE_SIZE = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCell:
    """A cell, split into its header and its body.

    Parameters
    ----------
    header : CellHeader or None
        The header as far as it can be read; None if the cell has none.
    body : str
        What a kernel runs. Without a header, the cell itself. With a header, its lines are comments, and magics such as
        ``%%time`` stand first, so that it has as many lines as the cell and code keeps its line numbers. Only above
        the magic of another language, whose cell must not get comments of Python, the top is dropped.
    offset : int
        Line in the cell minus line in `body`, for all lines below the top: the number of dropped lines, nearly always
        0. The cell has `offset` more lines than `body`.
    faults : tuple of Diagnostic
        What is wrong with the header, in order of place.
    """

    header: CellHeader | None
    body: str
    offset: int = 0
    faults: tuple[Diagnostic, ...] = ()


@lru_cache(maxsize=_CACHE_SIZE)
def split_cell(source: str, number: int = 0, tags: tuple[str, ...] = ()) -> SplitCell:
    """Split a cell into header and body.

    Applied to its own `body`, it returns that body.

    Parameters
    ----------
    source : str
        The cell.
    number : int
        Its number for the places of faults; 0 in a session.
    tags : tuple of str
        Its tags; they count if it has no header (see :mod:`~jupyter_pipelines.notebook.headers.tags`).
    """
    # Most cells: without these characters there is no header in either form.
    if "%%" not in source and "#|" not in source and "%step" not in source:
        return _split_tagged(source, number, tags, ())
    layout = read_layout(source, number)
    if not layout.marks:
        return _split_tagged(source, number, tags, tuple(layout.faults))
    first, *others = layout.marks
    header, faults = parse_header(first)
    all_faults = [*layout.faults, *faults, *(second_header(raw_header.place, first) for raw_header in others)]
    body, offset = _body(layout, first)
    return SplitCell(header=header, body=body, offset=offset, faults=tuple(sorted(all_faults, key=_position)))


def _position(fault: Diagnostic) -> tuple[int, int]:
    return (fault.place.line, fault.place.column) if fault.place else (0, 0)


def _split_tagged(source: str, number: int, tags: tuple[str, ...], layout_faults: tuple[Diagnostic, ...]) -> SplitCell:
    header, faults = header_of_tags(tags, number) if tags else (None, ())
    return SplitCell(header=header, body=source, faults=(*layout_faults, *faults))


def _body(layout: CellLayout, first: RawHeader) -> tuple[str, int]:
    """Return the text that a kernel runs, and how many lines of the cell are left out."""
    top = list(zip(layout.lines, layout.roles, strict=False))
    texts = [line.text for line, role in top if role in MAGICS]
    if not layout.opaque:
        texts += [_commented_out(line, role, first) for line, role in top if role not in MAGICS]
    texts += [line.text for line in layout.lines[len(top) :]]
    offset = len(layout.lines) - len(texts)
    # Line ends keep their position when lines move to the top: the last line may have none.
    ends = [line.end for line in layout.lines[offset:]]
    return "".join(text + end for text, end in zip(texts, ends, strict=True)), offset


def _commented_out(line: SourceLine, role: Role, first: RawHeader) -> str:
    """Return a line of the top as a comment; ``#|`` lines that make a header of their own are comments already."""
    # What runs is kept with its result, and sent to workers: credentials in the URLs of inputs stay in the notebook.
    text = hide_credentials(line.text)
    if role == "header" or (role == "option" and first.form == "magic"):
        return f"{_indent(text)}# {text.lstrip()}".rstrip()
    return text


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]
