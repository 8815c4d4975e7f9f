"""Shared code: definitions at the top level of cells that are not steps, and which of them a step reaches."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from jupyter_pipelines.notebook.code import Code
from jupyter_pipelines.notebook.flow import BUILTINS, Flow
from jupyter_pipelines.notebook.modules import Import, imports_in
from jupyter_pipelines.pipeline.step import SharedCode, SharedKind

_LITERAL = (
    *(ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Name, ast.Starred, ast.JoinedStr, ast.FormattedValue),
    *(ast.UnaryOp, ast.BinOp, ast.BoolOp, ast.Compare),
    *(ast.expr_context, ast.unaryop, ast.operator, ast.boolop, ast.cmpop),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Definition:
    """A statement of shared code.

    Parameters
    ----------
    code : SharedCode
        The statement as the pipeline keeps it.
    names : tuple of str
        What it binds.
    needs : Mapping of str to node
        What it needs, now or when it is called.
    imports : tuple of Import
        What it imports, functions' bodies included.
    line : int
        Its line in the cell.
    stars : tuple of ImportFrom
        Star imports in it.
    """

    code: SharedCode
    names: tuple[str, ...]
    needs: Mapping[str, ast.AST]
    imports: tuple[Import, ...]
    line: int
    stars: tuple[ast.ImportFrom, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands: cell and line."""
        return self.code.cell, self.line


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Computed:
    """A name that an exploratory cell computes.

    Parameters
    ----------
    name : str
        The name.
    cell, line : int
        Where.
    text : str
        The line.
    """

    name: str
    cell: int
    line: int
    text: str

    @property
    def position(self) -> tuple[int, int]:
        """Where it stands: cell and line."""
        return self.cell, self.line


@dataclass(slots=True)
class Index:
    """Everything that cells without a step bind, by name."""

    by_name: dict[str, list[Definition | Computed]] = field(default_factory=dict)
    setups: list[Definition] = field(default_factory=list)
    stars: list[Definition] = field(default_factory=list)

    def add(self, number: int, code: Code, body: str, offset: int) -> None:
        """Take in a cell without a header."""
        for statement in code.tree.body if code.tree else ():
            kind = kind_of(statement)
            if kind is None:
                self._add_computed(number, statement, body, offset)
            else:
                self._add_definition(define(kind, [statement], number, segment(body, code.source, statement), offset))

    def add_setup(self, number: int, code: Code, body: str, offset: int) -> None:
        """Take in a ``%%setup`` cell."""
        statements = code.tree.body if code.tree else []
        one = define("setup", statements, number, body, offset)
        self.setups.append(one)

    def _add_definition(self, one: Definition) -> None:
        for name in one.names:
            self.by_name.setdefault(name, []).append(one)
        if one.stars:
            self.stars.append(one)

    def _add_computed(self, number: int, statement: ast.stmt, body: str, offset: int) -> None:
        flow = Flow(number)
        flow.run([statement])
        lines = body.split("\n")
        for name, at in flow.binds.items():
            line = getattr(at.node, "lineno", statement.lineno)
            text = lines[line - 1] if line <= len(lines) else ""
            one = Computed(name=name, cell=number, line=line + offset, text=text)
            self.by_name.setdefault(name, []).append(one)

    def find(self, name: str, cell: int) -> Definition | Computed | None:
        """Return what binds `name` for code in `cell`: the latest before it, else the first after it."""
        found = self.by_name.get(name, ())
        before = [one for one in found if one.position[0] <= cell]
        return before[-1] if before else found[0] if found else None

    def setups_before(self, cell: int) -> list[Definition]:
        """Return the ``%%setup`` cells that stand before `cell`."""
        return [one for one in self.setups if one.code.cell < cell]


@dataclass(slots=True)
class Closure:
    """What a set of names leads to.

    Parameters
    ----------
    definitions : list of Definition
        In the order in which they have to run.
    open : dict of str to str
        Names that no definition binds, each with the shared name that needs it, or empty for the step itself.
    computed : dict of str to Computed
        Names that only an exploratory cell binds.
    """

    definitions: list[Definition] = field(default_factory=list)
    open: dict[str, str] = field(default_factory=dict)
    computed: dict[str, Computed] = field(default_factory=dict)


def close(index: Index, names: Iterable[str], cell: int, made: frozenset[str] | set[str]) -> Closure:
    """Follow `names` through shared code.

    Parameters
    ----------
    index : Index
        The shared code of the notebook.
    names : iterable of str
        Where to begin.
    cell : int
        The cell that needs them.
    made : set of str
        Names that parameters and steps make; they are not followed.
    """
    closure = Closure()
    setups = index.setups_before(cell)
    from_setup = {name for one in setups for name in one.names}
    waiting: list[tuple[str, str]] = [(name, "") for name in names]
    waiting += [(name, one.code.name) for one in setups for name in one.needs]
    chosen: dict[int, Definition] = {id(one): one for one in setups}
    seen: set[str] = set()
    while waiting:
        name, wanted_by = waiting.pop(0)
        if name in seen or (name in BUILTINS and name not in index.by_name):
            continue
        seen.add(name)
        found = None if name in made else index.find(name, cell)
        if isinstance(found, Definition):
            if id(found) not in chosen:
                chosen[id(found)] = found
                waiting += [(needed, name) for needed in found.needs if needed not in found.names]
        elif name in from_setup:
            continue
        elif found is not None:
            closure.computed[name] = found
            closure.open[name] = wanted_by
        elif name not in BUILTINS:
            closure.open[name] = wanted_by
    for one in index.stars:
        if one.position[0] <= cell and (closure.open or any(name not in seen for name in names)):
            chosen.setdefault(id(one), one)
    closure.definitions = sorted(chosen.values(), key=lambda one: one.position)
    return closure


def define(kind: SharedKind, statements: list[ast.stmt], number: int, source: str, offset: int) -> Definition:
    """Return the definition that `statements` are."""
    flow = Flow(number)
    flow.run(statements)
    names = tuple(flow.binds)
    tree = ast.Module(body=statements, type_ignores=[])
    line = (statements[0].lineno if statements else 1) + offset
    name = f"cell {number}" if kind == "setup" else names[0] if names else f"cell {number}, line {line}"
    return Definition(
        code=SharedCode(name=name, kind=kind, source=source, cell=number),
        names=names,
        needs={name: at.node for name, at in flow.needs.items()},
        imports=tuple(imports_in(tree)),
        line=line,
        stars=tuple(flow.stars),
        unknown=tuple(flow.unknown),
    )


def kind_of(statement: ast.stmt) -> SharedKind | None:
    """Return what kind of shared code a statement is; None for exploration."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return "import"
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        return "function"
    if isinstance(statement, ast.ClassDef):
        return "class"
    if _is_constant(statement):
        return "constant"
    return "block" if _is_block(statement) else None


def _is_constant(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return False
    return all(_is_names(target) for target in targets) and _is_literal(value)


def _is_names(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple | ast.List):
        return all(_is_names(one) for one in target.elts)
    return isinstance(target, ast.Name)


def _is_literal(value: ast.expr) -> bool:
    return all(isinstance(node, _LITERAL) for node in ast.walk(value)) and not isinstance(value, ast.Name)


def _is_block(statement: ast.stmt) -> bool:
    if not isinstance(statement, ast.If | ast.Try):
        return False
    inner = [one for name in ("body", "orelse", "finalbody") for one in getattr(statement, name, [])]
    inner += [one for handler in getattr(statement, "handlers", []) for one in handler.body]
    defining = [one for one in inner if not isinstance(one, ast.Pass)]
    return bool(defining) and all(kind_of(one) is not None for one in defining)


def segment(body: str, source: str, statement: ast.stmt) -> str:
    """Return the text of a statement, decorators included, as its author wrote it."""
    first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", []))])
    last = statement.end_lineno or statement.lineno
    lines = source.split("\n")
    alone = not lines[first - 1][: _column(lines, first, statement)].strip() and not _rest(lines[last - 1], statement)
    if alone:
        return "\n".join(body.split("\n")[first - 1 : last]).strip("\n")
    return ast.get_source_segment(source, statement) or ast.unparse(statement)


def _column(lines: list[str], first: int, statement: ast.stmt) -> int:
    return 0 if first < statement.lineno else len(lines[first - 1].encode()[: statement.col_offset].decode())


def _rest(line: str, statement: ast.stmt) -> str:
    rest = line.encode()[statement.end_col_offset or 0 :].decode().strip()
    return "" if rest.startswith("#") else rest.strip(";").strip()


def reached_imports(definitions: Iterable[Definition]) -> Iterator[Import]:
    """Yield what the definitions import."""
    for one in definitions:
        yield from one.imports
