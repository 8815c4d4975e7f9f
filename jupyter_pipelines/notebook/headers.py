"""The header of a cell: ``%%step``, ``%%params``, ``%%setup``, and the ``#|`` lines that say the same.

One parser serves the notebook's reader, the live kernel and JupyterLab, so that they cannot differ. It is pure and
never raises; what is wrong is returned. See :mod:`~jupyter_pipelines.notebook.words` for how a header is split into
words, :mod:`~jupyter_pipelines.notebook.options` for what it may say.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from jupyter_pipelines.errors import Fault
from jupyter_pipelines.notebook.grammar import Header, parse
from jupyter_pipelines.notebook.items import Item
from jupyter_pipelines.notebook.layout import MAGICS, Layout, Mark, Role, lay_out, second_header
from jupyter_pipelines.notebook.options import OPTIONS, Option
from jupyter_pipelines.notebook.tags import header_of_tags
from jupyter_pipelines.notebook.words import Line

__all__ = ["OPTIONS", "Header", "Item", "Option", "Split", "split_cell"]
_REMEMBERED = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A cell, taken apart.

    Parameters
    ----------
    header : Header or None
        What the cell says about itself, as far as it can be read; None when it says nothing.
    body : str
        What a kernel runs. Without a header, the cell itself. With a header, its lines are comments, and magics such as
        ``%%time`` stand first, so that it has as many lines as the cell and code keeps its line numbers. Only above
        the magic of another language, whose cell must not get our comments, the top is dropped.
    offset : int
        Line in the cell minus line in `body`, for all lines below the top: the number of dropped lines, nearly always
        0. The cell has `offset` more lines than `body`.
    faults : tuple of Fault
        What is wrong with the header, in order of place.
    """

    header: Header | None
    body: str
    offset: int = 0
    faults: tuple[Fault, ...] = ()


@lru_cache(maxsize=_REMEMBERED)
def split_cell(source: str, number: int = 0, tags: tuple[str, ...] = ()) -> Split:
    """Take a cell apart into header and body.

    Applied to its own `body`, it returns that body.

    Parameters
    ----------
    source : str
        The cell.
    number : int
        Its number for the places of faults; 0 in a session.
    tags : tuple of str
        Its tags; they count where it has no header (see :mod:`~jupyter_pipelines.notebook.tags`).
    """
    if "%%" not in source and "#|" not in source:
        return _tagged(source, number, tags, ())
    layout = lay_out(source, number)
    if not layout.marks:
        return _tagged(source, number, tags, tuple(layout.faults))
    first, *others = layout.marks
    header, faults = parse(first)
    all_faults = [*layout.faults, *faults, *(second_header(mark.place, first) for mark in others)]
    body, offset = _body(layout, first)
    return Split(header=header, body=body, offset=offset, faults=tuple(sorted(all_faults, key=_position)))


def _position(fault: Fault) -> tuple[int, int]:
    return (fault.place.line, fault.place.column) if fault.place else (0, 0)


def _tagged(source: str, number: int, tags: tuple[str, ...], layout_faults: tuple[Fault, ...]) -> Split:
    header, faults = header_of_tags(tags, number) if tags else (None, ())
    return Split(header=header, body=source, faults=(*layout_faults, *faults))


def _body(layout: Layout, first: Mark) -> tuple[str, int]:
    """Return the text that a kernel runs, and how many lines of the cell are left out."""
    top = list(zip(layout.lines, layout.roles, strict=False))
    texts = [line.text for line, role in top if role in MAGICS]
    if not layout.opaque:
        texts += [_silent(line, role, first) for line, role in top if role not in MAGICS]
    texts += [line.text for line in layout.lines[len(top) :]]
    offset = len(layout.lines) - len(texts)
    # Ends keep their position, whatever text moves to the top: the last line may have none.
    ends = [line.end for line in layout.lines[offset:]]
    return "".join(text + end for text, end in zip(texts, ends, strict=True)), offset


def _silent(line: Line, role: Role, first: Mark) -> str:
    """Return a line of the top as a comment; ``#|`` lines that make a header of their own are comments already."""
    if role == "header" or (role == "option" and first.form == "magic"):
        return f"{_indent(line.text)}# {line.text.lstrip()}".rstrip()
    return line.text


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]
