"""A step before its interface is known: its cells, what they say and what their code does to names."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field

from jupyter_pipelines.errors import Fault, Place
from jupyter_pipelines.notebook.changing import changes_of
from jupyter_pipelines.notebook.code import Code
from jupyter_pipelines.notebook.flow import At, Flow
from jupyter_pipelines.notebook.headers import Header, Item
from jupyter_pipelines.pipeline.step import StepCell

PATHS = ("file", "folder")


@dataclass(slots=True, eq=False)
class Draft:
    """What is known of a step from its own cells.

    Parameters
    ----------
    name : str
        Its name.
    headers : list of Header
        One a cell.
    cells : list of StepCell
        Its cells.
    codes : list of Code
        What Python sees of them.
    flow : Flow
        What they do to names.
    """

    name: str
    headers: list[Header] = field(default_factory=list)
    cells: list[StepCell] = field(default_factory=list)
    codes: list[Code] = field(default_factory=list)
    flow: Flow = field(default_factory=Flow)

    def add(self, header: Header, cell: StepCell, code: Code) -> None:
        """Take in one more cell."""
        self.headers.append(header)
        self.cells.append(cell)
        self.codes.append(code)
        self.flow.cell = cell.number
        self.flow.run(code.tree.body if code.tree else ())

    @property
    def first(self) -> int:
        """Number of its first cell."""
        return self.cells[0].number

    @property
    def parsed(self) -> bool:
        """Whether all of its code could be read."""
        return all(code.tree is not None for code in self.codes)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What its own code hides."""
        return tuple(dict.fromkeys([*(one for code in self.codes for one in code.unknown), *self.flow.unknown]))

    def items(self, section: str) -> tuple[Item, ...] | None:
        """Return the declared ``inputs``, ``outputs`` or ``parameters`` of all its headers; None when left out."""
        declared = [getattr(header, section) for header in self.headers]
        if all(one is None for one in declared):
            return None
        return tuple(item for one in declared for item in one or ())

    def changes(self, names: Iterable[str]) -> dict[str, At]:
        """Return which of `names` its code certainly changes in place."""
        body = [statement for code in self.codes for statement in (code.tree.body if code.tree else ())]
        owners = {
            id(node): cell.number
            for cell, code in zip(self.cells, self.codes, strict=True)
            if code.tree
            for node in ast.walk(code.tree)
        }
        found = changes_of(ast.Module(body=body, type_ignores=[]), frozenset(names))
        return {name: At(owners[id(node)], node) for name, node in found.items()}

    def place(self, at: At, length: int = 0) -> Place:
        """Return where something in its code stands, as its author sees the cell."""
        cell = next(one for one in self.cells if one.number == at.cell)
        line = getattr(at.node, "lineno", 1)
        text = _line(cell.body, line)
        column = len(text.encode()[: getattr(at.node, "col_offset", 0)].decode("utf-8", "replace"))
        return Place(cell=at.cell, line=line + cell.offset, column=column, length=length or _length(at.node), text=text)


def _line(text: str, number: int) -> str:
    lines = text.split("\n")
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _length(node: ast.AST) -> int:
    if getattr(node, "end_lineno", None) == getattr(node, "lineno", 0) and isinstance(node, ast.expr):
        return (node.end_col_offset or 0) - node.col_offset
    return len(getattr(node, "name", "") or "x")


def fault(draft: Draft, code: str, message: str, suggestion: str, place: Place | None = None, **more: object) -> Fault:
    """Return a fault of a step."""
    return Fault(code=code, message=message, suggestion=suggestion, step=draft.name, place=place, **more)  # type: ignore[arg-type]
