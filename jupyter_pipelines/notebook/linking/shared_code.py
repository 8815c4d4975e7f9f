"""Index of the code in cells without a step: shared definitions and exploratory names."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from jupyter_pipelines.notebook.code.name_usage import DeferredUsage, ModuleImport, NameBinding, NameUsage, SourceSpan
from jupyter_pipelines.notebook.code.run_magic import (
    BoundElsewhere,
    MissingScript,
    RunCommand,
    ScriptCode,
    ScriptFinder,
    command_of,
)
from jupyter_pipelines.notebook.code.toplevel import TopLevelStatement, setup_statement, top_level_statements
from jupyter_pipelines.notebook.code.visitor import StarNames
from jupyter_pipelines.pipeline.step import SharedCode, SharedKind, StepModule

Position = tuple[int, ...]
"""Number of a cell, and number of a statement in it; ``(cell, 0)`` stands before all of them.

A third number counts the statements of the file that a statement runs.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SharedDefinition:
    """A piece of shared code.

    Parameters
    ----------
    code : SharedCode
        The piece as the pipeline keeps it.
    binds : tuple of str
        The names it binds.
    names : NameUsage
        How it uses names.
    position : tuple of int
        Where it stands.
    line : int
        Its first line in the cell.
    is_future : bool
        It is a ``__future__`` import, which changes how later code is compiled.
    in_setup : bool
        A ``%%setup`` cell runs it.
    module : StepModule or None
        The file that it runs as a whole.
    """

    code: SharedCode
    binds: tuple[str, ...]
    names: NameUsage
    position: Position
    line: int
    is_future: bool = False
    in_setup: bool = False
    module: StepModule | None = None

    @property
    def kind(self) -> SharedKind:
        """Kind of the code."""
        return self.code.kind

    @property
    def cell(self) -> int:
        """Number of its cell."""
        return self.code.cell

    def is_value(self, name: str) -> bool:
        """Return whether `name` refers to an object that steps may change, not to a module, function or class."""
        bind = self.names.binds.get(name)
        return bind is not None and bind.kind == "value"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ExploratoryName:
    """A name that an exploratory cell binds or changes.

    Parameters
    ----------
    name : str
        The name.
    cell, line : int
        Where.
    text : str
        The statement.
    position : tuple of int
        Where, among statements.
    reads : frozenset of str
        The names that the statement reads.
    how : str
        How an object is changed, in a few words; empty when the name is bound.
    deleted : bool
        The name is deleted there.
    file : str
        The file in which the statement stands, if the cell runs one.
    """

    name: str
    cell: int
    line: int
    text: str
    position: Position
    reads: frozenset[str]
    how: str = ""
    deleted: bool = False
    file: str = ""


Entry = SharedDefinition | ExploratoryName


@dataclass(slots=True)
class _NameTimeline:
    """Definitions or changes of the same name, in notebook order."""

    positions: list[Position] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        # Appended: cells are added in notebook order, so positions stay sorted for `bisect`.
        self.positions.append(entry.position)
        self.entries.append(entry)


class SharedCodeIndex:
    """Everything that cells without a step bind, by name.

    Cells are added in notebook order.

    Parameters
    ----------
    star_names : callable
        Returns the names that a star import binds, or None when that is not known.
    scripts : ScriptFinder
        Finds the files that cells run.
    elsewhere : callable
        Returns what the notebook binds outside a line that runs a file: takes the number of the cell and the line.
    """

    def __init__(
        self, star_names: StarNames, scripts: ScriptFinder, elsewhere: Callable[[int, int], BoundElsewhere]
    ) -> None:
        self._star_names = star_names
        self._scripts = scripts
        self._elsewhere = elsewhere
        self._names: dict[str, _NameTimeline] = {}
        self._changes: dict[str, _NameTimeline] = {}
        self._modules: dict[str, list[SharedDefinition]] = {}
        self.methods: dict[str, DeferredUsage] = {}
        self.definitions: list[SharedDefinition] = []
        self.setups: list[SharedDefinition] = []
        self.futures: list[SharedDefinition] = []
        self.stars: list[SharedDefinition] = []
        self.explored: list[tuple[int, TopLevelStatement]] = []
        self.missing: list[tuple[int, int, MissingScript, bool]] = []

    def add(self, cell: int, body: str) -> None:
        """Add a cell without a header."""
        for number, piece in enumerate(top_level_statements(body), start=1):
            command = command_of(piece)
            if command is not None:
                self._add_run((cell, number), piece, command)
            elif piece.kind == "computed":
                self._add_computed((cell, number), piece)
            else:
                self._add_piece((cell, number), piece)

    def add_parameters(self, cell: int, body: str) -> None:
        """Add the imports and definitions of a cell that declares parameters."""
        for number, piece in enumerate(top_level_statements(body), start=1):
            if piece.kind not in ("computed", "constant"):
                self._add_piece((cell, number), piece)

    def add_setup(self, cell: int, body: str) -> None:
        """Add a ``%%setup`` cell; a file that it runs stands between the parts of the cell."""
        for number, part in enumerate(_setup_parts(body), start=1):
            piece = setup_statement(part, self._star_names) if isinstance(part, str) else part
            command = None if isinstance(part, str) else command_of(part)
            if command is not None:
                self._add_run((cell, number), piece, command, in_setup=True)
            else:
                self._add_to_setup(_definition(piece, (cell, number), f"cell {cell}", in_setup=True))

    def _add_to_setup(self, definition: SharedDefinition) -> None:
        self.setups.append(definition)
        self._bind(definition)

    def known(self) -> Iterator[str]:
        """Yield every name that is bound somewhere."""
        yield from self._names

    def find(self, name: str, position: Position) -> Entry | None:
        """Return what binds `name` for code at `position`: the latest before it, else the first after it.

        A ``%%setup`` cell after it does not count: it does not run before that code.
        """
        timeline = self._names.get(name)
        if timeline is None:
            return None
        index = bisect_left(timeline.positions, position)
        if index:
            return timeline.entries[index - 1]
        return next((entry for entry in timeline.entries if not _is_setup(entry)), None)

    def setup_below(self, name: str, position: Position) -> SharedDefinition | None:
        """Return the first ``%%setup`` cell after `position` that binds `name`."""
        entries = self._names[name].entries if name in self._names else []
        setups = (entry for entry in entries if isinstance(entry, SharedDefinition) and _is_setup(entry))
        return next((setup for setup in setups if setup.position > position), None)

    def bound_between(self, name: str, start: Position, end: Position) -> list[Entry]:
        """Return the entries that bind `name` between `start` (inclusive) and `end` (exclusive)."""
        timeline = self._names.get(name, _NameTimeline())
        return timeline.entries[bisect_left(timeline.positions, start) : bisect_left(timeline.positions, end)]

    def changed_between(self, name: str, start: Position, end: Position) -> ExploratoryName | None:
        """Return the first exploratory change of the object of `name` between `start` and `end`."""
        timeline = self._changes.get(name)
        if timeline is None:
            return None
        index = bisect_left(timeline.positions, start)
        change = (
            timeline.entries[index] if index < len(timeline.positions) and timeline.positions[index] < end else None
        )
        return change if isinstance(change, ExploratoryName) else None

    def modules(self, name: str, position: Position) -> list[SharedDefinition]:
        """Return every ``import name.…`` before `position`: each makes another submodule available."""
        return [definition for definition in self._modules.get(name, ()) if definition.position < position]

    def _add_run(
        self, position: Position, piece: TopLevelStatement, command: RunCommand, *, in_setup: bool = False
    ) -> None:
        """Add a line that runs a file: as its statements where these can stand in the cell, else as a whole."""
        script = self._scripts.find(command, self._elsewhere(position[0], piece.line))
        if isinstance(script, MissingScript):
            self.missing.append((position[0], piece.line, script, in_setup))
        elif script is None or script.pieces is None:
            self._add_whole_run(position, piece, command, script, in_setup=in_setup)
        else:
            for number, inner in enumerate(script.pieces, start=1):
                origin = _ScriptLine(script.name, piece.line, in_setup=in_setup)
                if inner.kind != "computed":
                    self._add_piece((*position, number), inner, origin)
                elif in_setup:
                    name = next(iter(inner.names.binds), script.name)
                    self._add_to_setup(_definition(inner, (*position, number), name, origin=origin, kind="block"))
                else:
                    self._add_computed((*position, number), inner, origin)

    def _add_whole_run(
        self,
        position: Position,
        piece: TopLevelStatement,
        command: RunCommand,
        script: ScriptCode | None,
        *,
        in_setup: bool,
    ) -> None:
        """Add a line that runs a file as a whole."""
        module = StepModule(name=script.name, path=str(script.path), source=script.source) if script else None
        names = script.names if script else piece.names
        run = TopLevelStatement(kind="block", source=command.line, line=piece.line, names=names)
        definition = replace(_definition(run, position, command.line, in_setup=in_setup), module=module)
        if in_setup:
            self._add_to_setup(definition)
        else:
            self._bind(definition)
        if names.stars or names.dynamic:
            self.stars.append(definition)

    def _add_piece(self, position: Position, piece: TopLevelStatement, origin: _ScriptLine | None = None) -> None:
        if piece.star is not None:
            self._add_star(position, piece, piece.star, origin)
            return
        where = origin.file if origin else f"cell {position[0]}, line {piece.line}"
        name = next(iter(piece.names.binds), where)
        definition = _definition(piece, position, name, origin=origin)
        if piece.is_future:
            self.futures.append(definition)
        self._bind(definition)
        if piece.names.stars:  # of a module that may be missing: `try: from numpy import *`
            self.stars.append(definition)
        for import_ in piece.names.imports:
            if piece.kind == "import" and not import_.names and name == import_.module.partition(".")[0]:
                self._modules.setdefault(name, []).append(definition)

    def _add_star(
        self, position: Position, piece: TopLevelStatement, star: ModuleImport, origin: _ScriptLine | None
    ) -> None:
        """Add ``from … import *`` as one import for each name, where the names are known."""
        names = self._star_names(star)
        if names is None:
            self.stars.append(_definition(piece, position, piece.source, origin=origin))
            return
        # One definition for each name, so that a step includes only those imports that it reaches.
        for name in names:
            text = f"from {'.' * star.level}{star.module} import {name}"
            span = SourceSpan(0, 1, 0, len(name))
            single = NameUsage(imports=(star._replace(names=(name,)),), binds={name: _import_of(span)})
            import_ = TopLevelStatement(kind="import", source=text, line=piece.line, names=single)
            self._bind(_definition(import_, position, name, origin=origin))

    def _add_computed(self, position: Position, piece: TopLevelStatement, origin: _ScriptLine | None = None) -> None:
        cell = position[0]
        self.explored.append((cell, piece if origin is None else replace(piece, line=origin.line)))
        reads = frozenset(piece.names.reads)
        lines = piece.source.split("\n")

        def computed(name: str, span: SourceSpan, *, how: str = "", deleted: bool = False) -> ExploratoryName:
            text = lines[span.line - piece.line] if 0 <= span.line - piece.line < len(lines) else lines[0]
            location: Any = {"cell": cell, "line": span.line, "position": position}
            location |= {"line": origin.line, "file": f"{origin.file}, line {span.line}"} if origin else {}
            return ExploratoryName(name=name, text=text.strip(), reads=reads, how=how, deleted=deleted, **location)

        for name, bind in piece.names.binds.items():
            self._timeline(self._names, name).add(computed(name, bind.spot))
        for name in piece.names.deletes:
            if name not in piece.names.binds:
                self._timeline(self._names, name).add(computed(name, SourceSpan(0, piece.line, 0, 1), deleted=True))
        for name, mutation in piece.names.mutates.items():
            self._timeline(self._changes, name).add(computed(name, mutation.spot, how=mutation.how))

    def _bind(self, definition: SharedDefinition) -> None:
        self.definitions.append(definition)
        # Looked up by name alone, as the types of objects are not known: the first method of a name stands for all.
        for name, method in definition.names.methods.items():
            self.methods.setdefault(name, method)
        for name in definition.binds:
            self._timeline(self._names, name).add(definition)

    @staticmethod
    def _timeline(timelines: dict[str, _NameTimeline], name: str) -> _NameTimeline:
        return timelines.setdefault(name, _NameTimeline())


@dataclass(frozen=True, slots=True)
class _ScriptLine:
    """The file that a piece of code is from, and the line of a cell that runs it."""

    file: str
    line: int
    in_setup: bool = False


def _setup_parts(body: str) -> Iterator[str | TopLevelStatement]:
    """Yield a ``%%setup`` cell in parts: lines that run files, and the text between them at its lines of the cell."""
    lines = body.split("\n")
    runs = [piece for piece in top_level_statements(body) if _is_own_line(piece, lines)]
    # A cell magic gets the rest of its cell as one text, which cannot be split.
    if not runs or any(line.lstrip().startswith("%%") for line in lines):
        yield body
        return
    start = 0
    for piece in runs:
        if _has_code(lines[start : piece.line - 1]):
            # Blank lines keep the line numbers of the cell.
            yield "\n" * start + "\n".join(lines[start : piece.line - 1])
        yield piece
        start = piece.line
        while lines[start - 1].rstrip().endswith("\\") and start < len(lines):
            start += 1
    if _has_code(lines[start:]):
        yield "\n" * start + "\n".join(lines[start:])


def _has_code(lines: list[str]) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)


def _is_own_line(piece: TopLevelStatement, lines: list[str]) -> bool:
    """Return whether a piece is a line that runs a file, and shares it with no other statement."""
    return command_of(piece) is not None and (
        lines[piece.line - 1].lstrip().startswith("%run") or lines[piece.line - 1].strip() == piece.source.strip()
    )


def _is_setup(entry: Entry) -> bool:
    return isinstance(entry, SharedDefinition) and entry.in_setup


def _import_of(span: SourceSpan) -> NameBinding:
    return NameBinding(span, "import", sure=True)


def _definition(
    piece: TopLevelStatement,
    position: Position,
    name: str,
    *,
    origin: _ScriptLine | None = None,
    kind: SharedKind | None = None,
    in_setup: bool = False,
) -> SharedDefinition:
    kinds = {kind: kind for kind in get_args(SharedKind)}
    line = origin.line if origin else piece.line
    code = SharedCode(
        name=name,
        kind=kind or kinds.get(piece.kind, "import"),
        source=piece.source,
        cell=position[0],
        line=line,
        file=origin.file if origin else "",
    )
    return SharedDefinition(
        code=code,
        binds=tuple(piece.names.binds),
        names=piece.names,
        position=position,
        line=line,
        is_future=piece.is_future,
        in_setup=in_setup or (origin is not None and origin.in_setup),
    )
