"""Survey of a notebook's code cells: which chunks become shared code, parameters, or part of a step."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from jupyter_pipelines.notebook.code.analyze import analyse_bodies
from jupyter_pipelines.notebook.code.name_usage import BUILTINS, DeferredUsage, NameUsage, is_ipython_history
from jupyter_pipelines.notebook.converting import statement_features
from jupyter_pipelines.notebook.converting.chunks import DEFINING, ChunkedCell, CodeChunk, split_into_chunks
from jupyter_pipelines.notebook.converting.observation import CellTrace
from jupyter_pipelines.notebook.parameters.literals import NotLiteral, literal
from jupyter_pipelines.notebook.source.document import NotebookCell, NotebookDocument

_NOTHING = CellTrace()
_COMMENT_OR_BLANK = re.compile(r"^\s*(#.*)?$")


@dataclass(slots=True, kw_only=True, eq=False)
class SurveyedCell:
    """A code cell of the original, with its chunks sorted into shared code, parameters and parts of a step.

    Parameters
    ----------
    at : int
        Its position among the code cells, counted from 0.
    cell : NotebookCell
        The cell.
    cut : ChunkedCell
        Its chunks.
    seen : CellTrace or None
        Its trace; None without a rehearsal.
    shared : list of CodeChunk
        What becomes shared code.
    tuned : list of CodeChunk
        What becomes parameters.
    left : list of CodeChunk
        What remains for a step, settings included.
    moved : list of CodeChunk
        Settings at the beginning of a step that are moved in front of it, as later steps need them, too.
    names : NameUsage
        How what remains uses names.
    dropped : bool
        It only shows something, and is to be left out.
    spoken : bool
        Its outputs show what its imports and settings print, so these stay in the step as well.
    """

    at: int
    cell: NotebookCell
    cut: ChunkedCell
    seen: CellTrace | None = None
    shared: list[CodeChunk] = field(default_factory=list)
    tuned: list[CodeChunk] = field(default_factory=list)
    left: list[CodeChunk] = field(default_factory=list)
    moved: list[CodeChunk] = field(default_factory=list)
    names: NameUsage = field(default_factory=NameUsage)
    dropped: bool = False
    spoken: bool = False

    @property
    def rest(self) -> list[CodeChunk]:
        """The chunks that remain for a step."""
        return [chunk for chunk in self.left if chunk not in self.moved]

    @property
    def observed(self) -> CellTrace:
        """What it did; nothing without a rehearsal."""
        return self.seen or _NOTHING

    @property
    def is_left(self) -> bool:
        """Whether anything remains for a step."""
        if self.dropped:
            return False
        return any(chunk.body or chunk.kind == "magic" or self.cut.whole for chunk in self.rest if chunk.text.strip())

    def settle(self, moved: Sequence[CodeChunk] = ()) -> None:
        """Analyse how what remains uses names, with the settings `moved` in front of the step."""
        self.moved = list(moved)
        self.names = analyse_bodies([[node for chunk in self.rest for node in chunk.body]])


@dataclass(slots=True, kw_only=True, eq=False)
class CellSurvey:
    """All code cells of a notebook.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    units : list of SurveyedCell
        In order.
    imported : Mapping of str to str
        Names that are imported, with their full names.
    reads_of : dict of str to set of str
        Shared names, each with the names that code using it needs in turn.
    methods : dict of str to set of str
        Names of methods, with the names that methods of the notebook's classes need.
    """

    document: NotebookDocument
    units: list[SurveyedCell]
    imported: Mapping[str, str]
    reads_of: dict[str, set[str]] = field(default_factory=dict)
    methods: dict[str, set[str]] = field(default_factory=dict)

    @property
    def is_observed(self) -> bool:
        """Whether a rehearsal recorded what cells do."""
        return any(unit.seen is not None for unit in self.units)

    @property
    def shared(self) -> set[str]:
        """Names that shared code and parameters bind."""
        return set(self.reads_of)

    def body(self, units: Iterable[SurveyedCell]) -> tuple[ast.stmt, ...]:
        """Return the statements that remain of cells for steps."""
        return tuple(node for unit in units for chunk in unit.rest for node in chunk.body)

    def needs(self, names: NameUsage, body: tuple[ast.stmt, ...]) -> set[str]:
        """Return every name that code needs, including those of the shared code that it uses."""
        waiting = [*names.reads, *(name for name in names.later.reads if name not in names.binds)]
        waiting += sorted(statement_features.names_in_texts(body))
        for method in {
            node.attr for statement in body for node in ast.walk(statement) if isinstance(node, ast.Attribute)
        }:
            waiting += self.methods.get(method, ())
        needed: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in needed:
                needed.add(name)
                waiting.extend(self.reads_of.get(name, ()))
        return {name for name in needed if not is_ipython_history(name)}


def survey(
    document: NotebookDocument,
    seen: Mapping[int, CellTrace],
    *,
    keep_whole: frozenset[int] = frozenset(),
    spoken: frozenset[int] = frozenset(),
) -> CellSurvey:
    """Survey all code cells and decide which chunks become shared code.

    Parameters
    ----------
    document : NotebookDocument
        The notebook.
    seen : Mapping of int to CellTrace
        What cells did, by their number; empty without a rehearsal.
    keep_whole : frozenset of int
        Numbers of cells that have to stay whole.
    spoken : frozenset of int
        Numbers of cells whose outputs show what their imports and settings print.
    """
    cells = [cell for cell in document.cells if cell.kind == "code"]
    units = [
        SurveyedCell(at=position, cell=cell, cut=split_into_chunks(cell.source), seen=seen.get(cell.number))
        for position, cell in enumerate(cells)
    ]
    for unit in units:
        unit.spoken = unit.cell.number in spoken
    spell_out_stars(units)
    body = tuple(node for unit in units for chunk in unit.cut.chunks for node in chunk.body)
    cell_survey = CellSurvey(document=document, units=units, imported=dict(statement_features.imported_by(body)))
    _ChunkSorter(cell_survey, keep_whole).sort()
    return cell_survey


def spell_out_stars(units: Sequence[SurveyedCell]) -> None:
    """Replace star imports by imports of the names that are read, where a rehearsal has shown what they bind."""
    all_chunks = [chunk for unit in units for chunk in unit.cut.chunks]
    names_read = {name for chunk in all_chunks for name in (*chunk.names.reads, *_read_later(chunk.names))}
    for unit in units:
        if unit.seen is not None and not unit.cut.whole:
            chunks = tuple(_spelled_out(chunk, unit, names_read) for chunk in unit.cut.chunks)
            unit.cut = replace(unit.cut, chunks=chunks)


def _spelled_out(chunk: CodeChunk, unit: SurveyedCell, read: set[str]) -> CodeChunk:
    (node,) = chunk.body if len(chunk.body) == 1 else (None,)
    if chunk.kind != "star" or not isinstance(node, ast.ImportFrom) or node.level or not node.module:
        return chunk
    # Names that the cell binds again below are not taken from the module.
    names = sorted((unit.observed.stars.get(node.module, frozenset()) & read) - _bound_after(chunk, unit))
    if not names:
        return chunk
    return split_into_chunks(f"from {node.module} import {', '.join(names)}").chunks[0]


def _bound_after(chunk: CodeChunk, unit: SurveyedCell) -> set[str]:
    """Return the names that later chunks of the cell bind, other star imports included."""
    later = unit.cut.chunks[unit.cut.chunks.index(chunk) + 1 :]
    modules = {
        node.module or ""
        for following in later
        for node in following.body
        if isinstance(node, ast.ImportFrom) and following.kind == "star"
    }
    stars = {name for module in modules for name in unit.observed.stars.get(module, ())}
    return stars | {name for following in later for name, bind in following.names.binds.items() if bind.sure}


class _ChunkSorter:
    """Sorts chunks into shared code, parameters and parts of steps."""

    def __init__(self, cell_survey: CellSurvey, keep_whole: frozenset[int]) -> None:
        self.found = cell_survey
        self.keep_whole = keep_whole
        self.binders: dict[str, list[tuple[SurveyedCell, CodeChunk]]] = {}
        for unit in cell_survey.units:
            for chunk in unit.cut.chunks:
                for name in (*chunk.names.binds, *chunk.names.deletes):
                    self.binders.setdefault(name, []).append((unit, chunk))
        self.touched = self._touched()
        self.written = {path.rpartition("/")[2].removesuffix(".py") for path in self._wrote() if path.endswith(".py")}
        self.read_by = self._read_by()

    def sort(self) -> None:
        shared = self._hoistable()
        for unit in self.found.units:
            for chunk in unit.cut.chunks:
                if id(chunk) not in shared:
                    unit.left.append(chunk)
                elif self._is_tuned(unit, chunk):
                    unit.tuned.append(chunk)
                    self._record_needs(chunk)
                else:
                    unit.shared.append(chunk)
                    unit.left += [chunk] if unit.spoken and chunk.kind == "import" else []
                    self._record_needs(chunk)
            unit.settle()

    def _record_needs(self, chunk: CodeChunk) -> None:
        """Record which names code needs if it uses a piece of shared code."""
        names = chunk.names
        needed = {
            *names.reads,
            *names.later.reads,
            *(name for function in names.functions.values() for name in function.reads),
        }
        for later in names.methods.values():
            needed |= set(later.reads)
        for name in names.binds:
            self.found.reads_of.setdefault(name, set()).update(needed)
        for method, later in names.methods.items():
            self.found.methods.setdefault(method, set()).update(_closure(later))

    # What can become shared code

    def _hoistable(self) -> set[int]:
        """Return the chunks whose meaning does not depend on position."""
        kept = {
            id(chunk): (unit, chunk)
            for unit in self.found.units
            for chunk in unit.cut.chunks
            if self._is_hoistable(unit, chunk)
        }
        # A chunk that is dropped may have bound a name that others need: repeated until none is.
        while True:
            names = {name for _, chunk in kept.values() for name in chunk.names.binds}
            remaining = {
                key: (unit, chunk) for key, (unit, chunk) in kept.items() if self._is_self_contained(chunk, names)
            }
            if len(remaining) == len(kept):
                return self._wanted(remaining)
            kept = remaining

    def _is_hoistable(self, unit: SurveyedCell, chunk: CodeChunk) -> bool:
        if unit.cut.whole or unit.cell.number in self.keep_whole or chunk.kind not in DEFINING:
            return False
        # A module that a cell writes does not exist before the cell has run.
        if chunk.kind in ("import", "star") and any(
            imported.module.split(".")[0] in self.written for imported in chunk.names.imports
        ):
            return False
        if chunk.kind == "star":
            return True
        if chunk.kind == "constant" and not is_literal(chunk):
            return False
        if any(self._has_effect(node) for node in chunk.body):
            return False
        return all(self._is_bound_once(name, chunk) for name in chunk.names.binds)

    def _has_effect(self, statement: ast.stmt) -> bool:
        """Return whether a definition does more than define: its decorator may register it somewhere."""
        decorators = [
            decorator.func if isinstance(decorator, ast.Call) else decorator
            for decorator in getattr(statement, "decorator_list", ())
        ]
        return any(
            not self._is_mild(decorator)
            for decorator in decorators
            if statement_features.root(decorator) not in self.found.imported
        )

    def _is_mild(self, decorator: ast.expr) -> bool:
        """Return whether a decorator is Python's own, or a function here that changes nothing outside itself."""
        name = decorator.id if isinstance(decorator, ast.Name) else ""
        functions = [
            chunk.names.functions[name] for _, chunk in self.binders.get(name, ()) if name in chunk.names.functions
        ]
        return name in BUILTINS or (
            bool(functions) and not any(function.mutates or function.binds for function in functions)
        )

    def _is_bound_once(self, name: str, chunk: CodeChunk) -> bool:
        others = [other for _, other in self.binders[name] if other is not chunk]
        if chunk.kind == "import":
            # To import the same thing twice makes no difference.
            return all(other.kind == "import" and other.names.imports == chunk.names.imports for other in others)
        if others or name in self.touched:
            return False
        # A rehearsal also shows bindings that are not in the code, such as those by `exec`.
        return self._bound_in_cells(name) <= 1

    def _bound_in_cells(self, name: str) -> int:
        return sum(name in unit.observed.bound for unit in self.found.units)

    def _is_self_contained(self, chunk: CodeChunk, names: set[str]) -> bool:
        """Return whether all that a chunk needs when it runs is shared, too."""
        return all(name in names or name in BUILTINS for name in chunk.names.reads if name not in chunk.names.binds)

    def _wanted(self, kept: Mapping[int, tuple[SurveyedCell, CodeChunk]]) -> set[int]:
        """Return the chunks to share; of constants, those that another cell or shared code uses, or that users tune."""
        hoisted = {key for key, (_, chunk) in kept.items() if chunk.kind != "constant"}
        constants = {key: (unit, chunk) for key, (unit, chunk) in kept.items() if is_constant(chunk)}
        for key, (unit, chunk) in constants.items():
            users = {user for name in chunk.names.binds for user in self.read_by.get(name, ())}
            if users - {unit.at} or self._is_tuned(unit, chunk):
                hoisted.add(key)
        return self._closed(hoisted, kept)

    def _closed(self, hoisted: set[int], kept: Mapping[int, tuple[SurveyedCell, CodeChunk]]) -> set[int]:
        """Return `hoisted` with all shared chunks that its members need."""
        by_name = {name: key for key, (_, chunk) in kept.items() for name in chunk.names.binds}
        waiting = list(hoisted)
        while waiting:
            names = kept[waiting.pop()][1].names
            needed = {
                *names.reads,
                *names.later.reads,
                *(read_name for function in names.functions.values() for read_name in function.reads),
            }
            added = {by_name[name] for name in needed if name in by_name} - hoisted
            hoisted |= added
            waiting += added
        return hoisted

    def _is_tuned(self, unit: SurveyedCell, chunk: CodeChunk) -> bool:
        """Return whether a chunk sets a single value that users tune."""
        if chunk.kind != "constant" or len(chunk.body) != 1 or "parameters" in unit.cell.tags:
            return False
        (statement,) = chunk.body
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return False
        (target,) = statement.targets
        if not isinstance(target, ast.Name) or target.id.startswith("_"):
            return False
        used = bool(self.read_by.get(target.id))
        return used and statement_features.tuned_value(target.id, statement.value) is not None

    # Facts

    def _wrote(self) -> Iterator[str]:
        for unit in self.found.units:
            yield from unit.observed.wrote

    def _touched(self) -> set[str]:
        """Return the names whose objects something changes, or that are deleted."""
        touched: set[str] = set()
        for unit in self.found.units:
            trace = unit.observed
            touched |= trace.changed | trace.deleted
            for chunk in unit.cut.chunks:
                touched |= {*chunk.names.mutates, *chunk.names.deletes, *_changed_later(chunk.names)}
        return touched

    def _read_by(self) -> dict[str, set[int]]:
        """Return the cells that read a name, bodies of functions included."""
        cells_by_name: dict[str, set[int]] = {}
        for unit in self.found.units:
            for chunk in unit.cut.chunks:
                names = {*chunk.names.reads, *_read_later(chunk.names), *statement_features.names_in_texts(chunk.body)}
                for name in names:
                    cells_by_name.setdefault(name, set()).add(unit.at)
        return cells_by_name


def is_literal(chunk: CodeChunk) -> bool:
    """Return whether a chunk assigns only literals."""
    try:
        for statement in chunk.body:
            value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
            if value is None:
                return False
            literal(value)
    except NotLiteral:
        return False
    return True


def is_constant(chunk: CodeChunk) -> bool:
    """Return whether a chunk is a literal constant."""
    return chunk.kind == "constant"


def _closure(later: DeferredUsage) -> set[str]:
    return set(later.reads)


def _read_later(names: NameUsage) -> set[str]:
    laters = [names.later, *names.functions.values(), *names.methods.values()]
    return {name for later in laters for name in later.reads}


def _changed_later(names: NameUsage) -> Iterator[str]:
    """Yield the names that functions change or bind outside themselves."""
    for later in (names.later, *names.functions.values(), *names.methods.values()):
        yield from later.mutates
        yield from later.binds


def is_blank(text: str) -> bool:
    """Return whether a text has nothing but comments."""
    return all(_COMMENT_OR_BLANK.match(line) for line in text.split("\n"))


def names_of(units: Sequence[SurveyedCell]) -> NameUsage:
    """Return how what remains of several cells uses names, in order."""
    return analyse_bodies([[node for chunk in unit.rest for node in chunk.body] for unit in units])
