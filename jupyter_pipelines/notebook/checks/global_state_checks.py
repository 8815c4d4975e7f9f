"""Check for global settings of a process that steps do not see: seeds, styles, search paths.

A step has a kernel of its own. Settings that exploration or another step makes in another kernel are lost without an
error: all names exist, but their objects behave differently.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

from jupyter_pipelines.errors import Diagnostic, SourceLocation
from jupyter_pipelines.notebook.code.ast_walk import children, every_node
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.name_usage import ModuleImport
from jupyter_pipelines.notebook.linking.shared_code import SharedCodeIndex, SharedDefinition
from jupyter_pipelines.notebook.linking.step_drafts import StepDraft, step_diagnostic
from jupyter_pipelines.notebook.linking.step_interfaces import StepInterface

_REMEMBERED = 1 << 14
_SHOWN = 60
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


class _SettingKind(NamedTuple):
    """A kind of setting.

    Parameters
    ----------
    pattern : re.Pattern
        What sets it, fully named.
    module : str
        Steps that import this module are affected; empty when every step is.
    draws : re.Pattern or None
        Names that are affected when an earlier step has set it; None where only exploration is checked.
    """

    pattern: re.Pattern[str]
    module: str
    draws: re.Pattern[str] | None = None


def _kind(pattern: str, module: str = "", draws: str = "") -> _SettingKind:
    return _SettingKind(re.compile(pattern), module, re.compile(draws) if draws else None)


# The first pattern that matches counts. Options of pandas for its display are left out: they change no result.
_KINDS = (
    # No module: other libraries draw from NumPy's global generator, too, so every step is affected.
    _kind(
        r"numpy\.random\.(seed|set_state)",
        "",
        r"numpy\.random\.(?!seed|set_state|default_rng|RandomState|Generator|SeedSequence|[A-Z])\w",
    ),
    _kind(r"random\.(seed|setstate)", "random", r"random\.(?!seed|setstate|Random|SystemRandom)\w"),
    _kind(r"decimal\.(getcontext\(\)|setcontext)", "decimal", r"decimal\.(Decimal|getcontext)"),
    _kind(r"locale\.setlocale", "locale", r"locale\.\w"),
    _kind(r"torch\.(cuda\.)?(manual_seed|manual_seed_all|set_default_\w+)", "torch"),
    _kind(r"tensorflow\.(random\.set_seed|keras\.utils\.set_random_seed|config\.)", "tensorflow"),
    _kind(r"keras\.utils\.set_random_seed", "keras"),
    _kind(r"pandas\.(set_option\((?!display)|options\.(?!display))", "pandas"),
    _kind(r"numpy\.seterr", "numpy"),
    _kind(r"sklearn\.set_config", "sklearn"),
    _kind(r"seaborn\.set(_\w+)?\b", "seaborn"),
    _kind(r"matplotlib\.(pyplot\.)?(rcParams|rc\b|style\.use)", "matplotlib"),
    _kind(r"os\.(environ\b|putenv|chdir)"),
    _kind(r"sys\.path\b"),
)


class _SettingAction(NamedTuple):
    """A call or assignment that may be a setting: its first name, the attributes after it, and its location."""

    root: str
    rest: str
    line: int
    column: int
    length: int


class GlobalStateLint:
    """Finds global settings that steps do not see.

    Parameters
    ----------
    interfaces : Mapping of str to StepInterface
        All steps.
    index : SharedCodeIndex
        The shared code.
    texts : Mapping of int to list of str
        The lines of every cell, by its number.
    """

    def __init__(
        self, interfaces: Mapping[str, StepInterface], index: SharedCodeIndex, texts: Mapping[int, list[str]]
    ) -> None:
        self._interfaces = interfaces
        self._index = index
        self._texts = texts

    def faults(self) -> Iterator[Diagnostic]:
        """Yield a warning for every setting that a step would need and does not see."""
        yield from self._lost_in_exploration()
        for interface in self._interfaces.values():
            yield from self._in_step(interface)

    def _lost_in_exploration(self) -> Iterator[Diagnostic]:
        for cell, piece in self._index.explored:
            for action in possible_settings(piece.source):
                kind = _setting_kind(self._full_name(action, cell))
                users = self._affected_steps(kind, cell) if kind else []
                if users:
                    yield self._lost(cell, action._replace(line=action.line + piece.line - 1), users)

    def _affected_steps(self, kind: _SettingKind, cell: int) -> list[str]:
        return [
            name
            for name, interface in self._interfaces.items()
            if interface.draft.last > cell
            and (not kind.module or kind.module in _top_level_names(interface.reach.imports))
        ]

    def _full_name(self, action: _SettingAction, cell: int) -> str:
        entry = self._index.find(action.root, (cell + 1, 0))
        return f"{_imported(entry, action.root)}{action.rest}" if isinstance(entry, SharedDefinition) else ""

    def _lost(self, cell: int, action: _SettingAction, users: list[str]) -> Diagnostic:
        lines = self._texts.get(cell, [])
        text = lines[action.line - 1] if 0 < action.line <= len(lines) else ""
        shown_steps = ", ".join(f"`{name}`" for name in users[:4]) + (" and others" if len(users) > 4 else "")
        return Diagnostic(
            code="JP217",
            message=f"cell {cell} makes a setting that no step sees: `{text.strip()[:_SHOWN]}`",
            suggestion=f"begin cell {cell} with `%%setup`, or move the line there: it runs first in steps that follow",
            severity="warning",
            place=SourceLocation(
                cell=cell, line=action.line, column=action.column, length=action.length, text=text[:200]
            ),
            label="not part of the pipeline",
            notes=(f"steps that may need it: {shown_steps}",),
        )

    def _in_step(self, interface: StepInterface) -> Iterator[Diagnostic]:
        """Yield settings that a step makes for itself and a later step would have in the live notebook."""
        draft = interface.draft
        # A search in the text is enough for nearly all steps, and costs far less than to analyse their cells.
        if not any(word in cell.body for cell in draft.cells for word in ("seed", "state", "context", "locale")):
            return
        for part, action, name in _settings_of(draft, self._index):
            kind = _setting_kind(name)
            if kind is None or kind.draws is None:
                continue
            user = self._first_user(draft, kind.pattern, kind.draws)
            if user is not None:
                yield self._kept(draft, part, action, user)

    def _first_user(self, draft: StepDraft, sets: re.Pattern[str], draws: re.Pattern[str]) -> StepDraft | None:
        """Return the first step after `draft` that a setting affects and that does not make it itself."""
        for interface in self._interfaces.values():
            other = interface.draft
            if other.order <= draft.order:
                continue
            names = list(_used_names(other, interface, self._index))
            if not any(map(sets.match, names)) and any(map(draws.match, names)):
                return other
        return None

    @staticmethod
    def _kept(draft: StepDraft, part: int, action: _SettingAction, user: StepDraft) -> Diagnostic:
        cell = draft.cells[part]
        text = cell.text.split("\n")[action.line - 1 + cell.offset]
        place = SourceLocation(
            cell=cell.number,
            line=action.line + cell.offset,
            column=action.column,
            length=action.length,
            text=text[:200],
        )
        message = f"step `{draft.name}` makes a setting that step `{user.name}` does not see: `{text.strip()[:_SHOWN]}`"
        suggestion = "move the line into a `%%setup` cell: it then runs first in every step that follows"
        return step_diagnostic(
            draft, "JP217", message, suggestion, place, severity="warning", label="for this step alone"
        )


def _setting_kind(name: str) -> _SettingKind | None:
    return next((kind for kind in _KINDS if kind.pattern.match(name)), None)


def _top_level_names(imports: Iterable[ModuleImport]) -> set[str]:
    return {import_.module.partition(".")[0] for import_ in imports}


def _imported(entry: SharedDefinition, name: str) -> str:
    """Return the full name of what `name` stands for, when an import binds it."""
    if entry.kind != "import" or not entry.names.imports:
        return name
    return _qualified_name(entry.names.imports[0], name)


def _qualified_name(import_: ModuleImport, name: str) -> str:
    if import_.names:
        return f"{import_.module}.{import_.names[0]}"
    return name if import_.module.partition(".")[0] == name else import_.module


def _settings_of(draft: StepDraft, index: SharedCodeIndex) -> Iterator[tuple[int, _SettingAction, str]]:
    for part, cell in enumerate(draft.cells):
        own_imports = _own_imports(cell.body)
        for action in possible_settings(cell.body):
            yield part, action, _resolved(action.root, own_imports, index, cell.number) + action.rest


def _resolved(root: str, own_imports: Mapping[str, str], index: SharedCodeIndex, cell: int) -> str:
    if root in own_imports:
        return own_imports[root]
    entry = index.find(root, (cell, 0))
    return _imported(entry, root) if isinstance(entry, SharedDefinition) else root


def _used_names(draft: StepDraft, interface: StepInterface, index: SharedCodeIndex) -> Iterator[str]:
    """Yield the full names of everything that a step and its shared code use."""
    for cell in draft.cells:
        own_imports = _own_imports(cell.body)
        for root, rest in _chains_of(cell.body):
            yield _resolved(root, own_imports, index, cell.number) + rest
    for definition in interface.reach.definitions:
        if definition.kind != "import":
            for root, rest in _chains_of(definition.code.source):
                yield _resolved(root, {}, index, draft.last) + rest


@lru_cache(maxsize=_REMEMBERED)
def possible_settings(body: str) -> tuple[_SettingAction, ...]:
    """Return calls whose value is not used, and assignments to attributes or elements, outside functions."""
    tree = parse_code(body).tree
    actions: list[_SettingAction] = []
    stack: list[ast.AST] = list(tree.body) if tree else []
    while stack:
        node = stack.pop()
        # A function runs when it is called, then in the kernel of the step that calls it.
        if isinstance(node, _FUNCTIONS):
            continue
        stack += [child for child in children(node) if isinstance(child, ast.stmt | ast.ExceptHandler)]
        actions += [action for target in _targets(node) if (action := _setting_action(target)) is not None]
    return tuple(sorted(actions, key=lambda action: action.line))


def _targets(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [node.value]
    if isinstance(node, ast.Assign):
        return [target for target in node.targets if not isinstance(target, ast.Name)]
    return [node.target] if isinstance(node, ast.AugAssign) and not isinstance(node.target, ast.Name) else []


def _setting_action(target: ast.expr) -> _SettingAction | None:
    chain = _chain(target)
    if chain is None:
        return None
    argument = target.args[0] if isinstance(target, ast.Call) and target.args else None
    text = str(argument.value) if isinstance(argument, ast.Constant) else ""
    # With its first argument, which tells settings of one function apart: `set_option("display…")`.
    rest = chain[1] + (f"({text}" if isinstance(target, ast.Call) else "")
    on_one_line = target.end_lineno == target.lineno
    return _SettingAction(
        chain[0],
        rest,
        target.lineno,
        target.col_offset,
        (target.end_col_offset or 0) - target.col_offset if on_one_line else 1,
    )


def _chain(node: ast.expr) -> tuple[str, str] | None:
    """Return the name that an expression begins with, and the attributes and calls after it."""
    rest = ""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            rest, node = f".{node.attr}{rest}", node.value
        elif isinstance(node, ast.Call):
            rest, node = (f"(){rest}" if rest else ""), node.func
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            return None
    return node.id, rest


@lru_cache(maxsize=_REMEMBERED)
def _chains_of(body: str) -> frozenset[tuple[str, str]]:
    tree = parse_code(body).tree
    nodes = every_node(tree) if tree else iter(())
    chains = (_chain(node) for node in nodes if isinstance(node, ast.Attribute | ast.Call | ast.Name))
    return frozenset(chain for chain in chains if chain is not None)


@lru_cache(maxsize=_REMEMBERED)
def _own_imports(body: str) -> Mapping[str, str]:
    """Return the names that imports in a cell bind, each with what it stands for."""
    tree = parse_code(body).tree
    imports: dict[str, str] = {}
    for node in every_node(tree) if tree else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                imports[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            imports.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
    return imports
