"""Resolution of imports of the project's own modules, which are read but not imported."""

from __future__ import annotations

import ast
import importlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from jupyter_pipelines.notebook.code.analyze import analyse_bodies
from jupyter_pipelines.notebook.code.ast_walk import children
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.dynamic_calls import dynamic_effect, hidden_imports
from jupyter_pipelines.notebook.code.name_usage import ModuleImport
from jupyter_pipelines.notebook.code.sys_path import path_changes
from jupyter_pipelines.notebook.source.recorded_queries import RecordedQueries
from jupyter_pipelines.pipeline.step import StepModule

_REMEMBERED = 1 << 12
UNKNOWN_SEARCH_PATH = "what it adds to `sys.path` is known only when it runs"
_COMPILED = (".so", ".pyd")
# Imported to list their names; importing these modules has no other effect.
_IMPORTABLE_MODULES = frozenset(
    "abc cmath collections dataclasses datetime decimal enum fractions functools itertools json math operator os "
    "os.path pathlib random re statistics string time typing".split()
)


class ImportClosure(NamedTuple):
    """Modules and packages that code imports, directly and through other modules.

    Parameters
    ----------
    modules : tuple of StepModule
        Modules of the project, by name.
    packages : tuple of str
        Top-level names of everything that is neither the project's nor Python's, by name.
    unknown : tuple of str
        What cannot be determined: a list of sentences.
    """

    modules: tuple[StepModule, ...]
    packages: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModuleFacts:
    """Imports and changes of the search path in the source of a module."""

    imports: tuple[ModuleImport, ...] = ()
    paths: tuple[str | None, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProjectModule:
    """A module of the project."""

    module: StepModule
    package: str
    compiled: bool = False


@dataclass(slots=True)
class _ModuleWalk:
    """State of a walk over transitive imports."""

    modules: dict[str, StepModule] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    paths: dict[str, None] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)
    waiting: list[tuple[ModuleImport, str]] = field(default_factory=list)
    seen: set[tuple[ModuleImport, str]] = field(default_factory=set)


class ProjectModules:
    """The modules of one project; each file is read once.

    Parameters
    ----------
    folder : Path
        The notebook's folder.
    root : Path
        The project's root; its ``src`` folder counts, too.
    recorded_queries : RecordedQueries
        Looks at the files.
    """

    def __init__(self, folder: Path, root: Path, recorded_queries: RecordedQueries) -> None:
        self._folder = folder
        self._witness = recorded_queries
        self._near = [folder]
        self._far = [path for path in dict.fromkeys([root, root / "src"]) if path != folder]
        self._found: dict[str, _ProjectModule | None] = {}
        self._reached: dict[frozenset[ModuleImport], ImportClosure] = {}
        self._being_read: set[str] = set()

    def add_search_folders(self, folders: Iterable[str]) -> bool:
        """Add folders to search for modules, relative to the notebook's folder; return whether any is new."""
        new = [
            path
            for path in (Path(os.path.normpath(self._folder / folder)) for folder in folders)
            if path not in self._near
        ]
        if new:
            self._near += dict.fromkeys(new)
            # A folder that is added may hold another module of a name that was resolved before.
            self._found.clear()
            self._reached.clear()
        return bool(new)

    def reach(self, imports: Iterable[ModuleImport]) -> ImportClosure:
        """Return the modules and packages that imports reach through the project's modules, transitively."""
        start = frozenset(imports)
        if start not in self._reached:
            self._reached[start] = self._reach(start)
        return self._reached[start]

    def star_names(self, import_: ModuleImport, package: str = "") -> tuple[str, ...] | None:
        """Return the names that ``from … import *`` binds; None when that is not known."""
        dotted = _absolute(import_, package)
        module = self._find(dotted)
        if module is None or module.compiled:
            return None if dotted not in _IMPORTABLE_MODULES else _public(importlib.import_module(dotted))
        # Modules may import everything from each other in a circle.
        if dotted in self._being_read:
            return ()
        self._being_read.add(dotted)
        try:
            return self._names_of(module)
        finally:
            self._being_read.discard(dotted)

    # Finding

    def _find(self, dotted: str) -> _ProjectModule | None:
        if dotted not in self._found:
            self._found[dotted] = self._look_for(dotted)
        return self._found[dotted]

    def _look_for(self, dotted: str) -> _ProjectModule | None:
        parts = dotted.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        # Modules beside the notebook or in added folders can hide those of the standard library, others cannot.
        standard = parts[0] in sys.stdlib_module_names
        for folder in self._near if standard else [*self._near, *self._far]:
            module = self._in_folder(folder.joinpath(*parts[:-1]), parts[-1], dotted)
            if module is not None:
                return module
        return None

    def _in_folder(self, folder: Path, name: str, dotted: str) -> _ProjectModule | None:
        entries = self._witness.named(folder, name)
        # A package takes precedence over a module of the same name, as in Python.
        if name in entries and "__init__.py" in self._witness.named(folder / name, "__init__"):
            return _ProjectModule(module=self._read(dotted, folder / name / "__init__.py"), package=dotted)
        package = dotted.rpartition(".")[0]
        if f"{name}.py" in entries:
            return _ProjectModule(module=self._read(dotted, folder / f"{name}.py"), package=package)
        for entry in entries:
            if entry.endswith(_COMPILED):
                module = StepModule(name=dotted, path=str(folder / entry), source="")
                return _ProjectModule(module=module, package=package, compiled=True)
        return None

    def _read(self, dotted: str, path: Path) -> StepModule:
        return StepModule(name=dotted, path=str(path), source=self._witness.text(path))

    # Following

    def _reach(self, start: frozenset[ModuleImport]) -> ImportClosure:
        walk = _ModuleWalk(waiting=[(import_, "") for import_ in start])
        while walk.waiting:
            pending = walk.waiting.pop()
            if pending not in walk.seen:
                walk.seen.add(pending)
                self._follow(*pending, walk)
        # Names may resolve to other modules with the folders just found: the walk starts again.
        if self.add_search_folders(walk.paths):
            return self._reach(start)
        modules = tuple(walk.modules[name] for name in sorted(walk.modules))
        return ImportClosure(modules, tuple(sorted(walk.packages)), tuple(sorted(walk.unknown)))

    def _follow(self, import_: ModuleImport, package: str, walk: _ModuleWalk) -> None:
        dotted = _absolute(import_, package)
        top = dotted.partition(".")[0]
        modules = [module for module in map(self._find, _names(dotted, import_)) if module is not None]
        if (not modules or not self._is_near(modules[0])) and top and top not in sys.stdlib_module_names:
            walk.packages.add(top)
        for module in modules:
            self._enter(module, import_, walk)

    def _is_near(self, module: _ProjectModule) -> bool:
        """Return whether Python finds the module here before it looks among the packages that are installed."""
        path = Path(module.module.path)
        return (path.parent.parent if path.name == "__init__.py" else path.parent) == self._folder

    def _enter(self, project_module: _ProjectModule, import_: ModuleImport, walk: _ModuleWalk) -> None:
        module = project_module.module
        if project_module.compiled:
            walk.unknown.setdefault(f"`{module.name}` is a compiled module of the project; what is in it is not known")
            return
        facts = _facts(module.source, module.path)
        # `from package import *` also imports the submodules that `__all__` names.
        if import_.names == ("*",) and project_module.package == module.name:
            walk.waiting += [(ModuleImport(f"{module.name}.{name}"), "") for name in _names_in_all(module.source) or ()]
        if module.name in walk.modules:
            return
        walk.modules[module.name] = module
        walk.waiting += [(inner, project_module.package) for inner in facts.imports]
        for path in facts.paths:
            if path is None:
                walk.unknown.setdefault(f"module `{module.name}`: {UNKNOWN_SEARCH_PATH}")
            else:
                walk.paths.setdefault(path)
        for sentence in facts.unknown:
            walk.unknown.setdefault(f"module `{module.name}`: {sentence}")

    def _names_of(self, module: _ProjectModule) -> tuple[str, ...] | None:
        listed = _names_in_all(module.module.source)
        if listed is not None:
            return listed
        code = parse_code(module.module.source)
        if code.tree is None:
            return None
        names = analyse_bodies([code.tree.body], lambda inner: self.star_names(inner, module.package))
        return None if names.stars or names.dynamic else tuple(name for name in names.binds if not name.startswith("_"))


def _names(dotted: str, import_: ModuleImport) -> Iterator[str]:
    """Yield every module that an import may run: parent packages, the module itself, and submodules taken from it."""
    parts = dotted.split(".") if dotted else []
    for end in range(1, len(parts) + 1):
        yield ".".join(parts[:end])
    for name in import_.names:
        if name != "*":
            yield f"{dotted}.{name}" if dotted else name


def _absolute(import_: ModuleImport, package: str) -> str:
    """Return the dotted name of the module that `import_` refers to in a module of `package`."""
    if not import_.level:
        return import_.module
    parts = package.split(".") if package else []
    kept = parts[: len(parts) - import_.level + 1]
    return ".".join([*kept, *([import_.module] if import_.module else [])])


def _public(module: object) -> tuple[str, ...]:
    names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
    return tuple(names)


# Facts from the source of a module


@lru_cache(maxsize=_REMEMBERED)
def _facts(source: str, path: str) -> _ModuleFacts:
    code = parse_code(source)
    if code.tree is None or code.magics:
        return _ModuleFacts(unknown=("it cannot be parsed",))
    imports: list[ModuleImport] = []
    paths: list[str | None] = []
    unknown: dict[str, None] = dict.fromkeys(hidden_imports(code.tree))
    for node in _executed(code.tree):
        if isinstance(node, ast.Import):
            imports += [ModuleImport(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append(ModuleImport(node.module or "", tuple(alias.name for alias in node.names), node.level))
        elif isinstance(node, ast.Call):
            effect = dynamic_effect(node, local=True)
            imports += effect.imports
            if effect.unknown and "import_module" in effect.unknown:
                unknown.setdefault(effect.unknown)
        paths += path_changes(node, {"__file__": path})
    return _ModuleFacts(
        imports=tuple(dict.fromkeys(imports)), paths=tuple(dict.fromkeys(paths)), unknown=tuple(unknown)
    )


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield every node except those that only type checkers evaluate."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            stack.extend(node.orelse)
        else:
            stack.extend(children(node))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


@lru_cache(maxsize=_REMEMBERED)
def _names_in_all(source: str) -> tuple[str, ...] | None:
    """Return the names in ``__all__``, if it is a list of strings."""
    tree = parse_code(source).tree
    for statement in tree.body if tree else ():
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            try:
                return tuple(str(name) for name in ast.literal_eval(statement.value))  # type: ignore[attr-defined]
            except (ValueError, TypeError):
                return None
    return None
