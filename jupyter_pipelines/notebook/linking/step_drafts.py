"""A step before its interface is known: its cells, their headers, and how their code uses names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.code.cell_code import CellCode
from jupyter_pipelines.notebook.code.name_usage import NameMutation, NameUsage, SourceSpan
from jupyter_pipelines.notebook.headers.split import CellHeader, IOSpec
from jupyter_pipelines.pipeline.foreach import ForeachAxis
from jupyter_pipelines.pipeline.step import Section, StepCell

# Characters of a line that a message shows.
_LONGEST = 200
# Other steps that a message names.
_SHOWN = 5


@dataclass(slots=True, eq=False)
class StepDraft:
    """What is known of a step from its own cells.

    Parameters
    ----------
    name : str
        Its name.
    order : int
        How many steps begin before it.
    headers : list of CellHeader
        The header of each cell.
    cells : list of StepCell
        Its cells.
    codes : list of CellCode
        Their Python code, parsed.
    names : NameUsage
        How their code uses names.
    mutates : Mapping of str to NameMutation
        Outside names whose objects it changes in place, itself or through functions of the notebook.
    """

    name: str
    order: int
    headers: list[CellHeader] = field(default_factory=list)
    cells: list[StepCell] = field(default_factory=list)
    codes: list[CellCode] = field(default_factory=list)
    names: NameUsage = field(default_factory=NameUsage)
    mutates: Mapping[str, NameMutation] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Number of its first cell."""
        return self.cells[0].number

    @property
    def last(self) -> int:
        """Number of its last cell."""
        return self.cells[-1].number

    @property
    def parsed(self) -> bool:
        """Whether all of its code could be read."""
        return all(code.tree is not None for code in self.codes)

    @property
    def dynamic(self) -> bool:
        """Whether it may bind names that its code does not show."""
        return self.names.dynamic or not self.parsed or any(code.unknown for code in self.codes)

    @property
    def place(self) -> SourceLocation:
        """Where its first header stands."""
        return self.headers[0].place

    @property
    def cached(self) -> bool:
        """Whether its result may be reused at all."""
        return not any(header.cache is False for header in self.headers)

    def items(self, section: Section) -> tuple[IOSpec, ...] | None:
        """Return the items that its headers declare in `section`, each name once; None if no header has the option."""
        declared = [items for header in self.headers if (items := getattr(header, section)) is not None]
        if not declared:
            return None
        # Reversed, so that of cells that declare the same name the first counts.
        return tuple(
            {item.name: item for items in reversed(declared) for item in items}[name]
            for name in _unique_names(declared)
        )

    @property
    def optional(self) -> tuple[IOSpec, ...]:
        """Inputs that may be missing."""
        return tuple(item for header in self.headers for item in header.optional)

    @property
    def after(self) -> tuple[IOSpec, ...]:
        """Steps to wait for."""
        return tuple(item for header in self.headers for item in header.after)

    @property
    def axes(self) -> Mapping[str, ForeachAxis]:
        """Its ``--foreach`` axes, by name."""
        axes: dict[str, ForeachAxis] = {}
        for axis in (axis for header in self.headers for axis in header.foreach):
            axes.setdefault(axis.name, axis)
        return axes

    def cell_of(self, span: SourceSpan) -> int:
        """Return the number of the cell that a span lies in."""
        return self.cells[span.part].number

    def where(self, span: SourceSpan) -> SourceLocation:
        """Return the location of a span in the text of the cell as its author sees it."""
        cell, code = self.cells[span.part], self.codes[span.part]
        return place_in(cell.text.split("\n"), cell.number, span, offset=cell.offset, indent=code.indent)


def _unique_names(declared: list[tuple[IOSpec, ...]]) -> dict[str, None]:
    return dict.fromkeys(item.name for items in declared for item in items)


def place_in(lines: list[str], cell: int, span: SourceSpan, *, offset: int = 0, indent: int = 0) -> SourceLocation:
    """Return the location of `span` in a cell.

    Parameters
    ----------
    lines : list of str
        The lines of the cell.
    cell : int
        Its number.
    span : SourceSpan
        Its position in the Python text of the cell.
    offset : int
        Lines that the cell has above that text.
    indent : int
        Characters that the cell has in front of each line of it.
    """
    line = span.line + offset
    text = lines[line - 1] if 0 < line <= len(lines) else ""
    # `ast` counts columns in bytes of UTF-8, locations are in characters.
    raw = text.encode()
    column = len(raw[: span.column + indent].decode(errors="ignore"))
    length = len(raw[span.column + indent : span.column + indent + span.length].decode(errors="ignore"))
    return SourceLocation(cell=cell, line=line, column=column, length=length, text=text.replace("\t", " ")[:_LONGEST])


def step_diagnostic(
    draft: StepDraft, code: str, message: str, suggestion: str, place: SourceLocation | None, **fields: Any
) -> Diagnostic:
    """Return a fault of a step."""
    return Diagnostic(
        code=code, message=message, suggestion=suggestion, step=draft.name, place=place or draft.place, **fields
    )


def for_all_steps(fault: Diagnostic, steps: Iterable[str]) -> Diagnostic:
    """Return a fault of one step with a note that names the others which have it for the same reason."""
    others = list(dict.fromkeys(name for name in steps if name != fault.step))
    if not others:
        return fault
    shown = ", ".join(f"`{name}`" for name in others[:_SHOWN]) + (" and others" if len(others) > _SHOWN else "")
    return replace(fault, notes=(*fault.notes, f"so it is for {shown}"))
