"""Registrations: shared code that no code refers to by name, but that changes what a step uses.

A function under ``@show.register`` or under a decorator that adds it to a list, a subclass of a class with
``__init_subclass__``, and a module that is imported for its effect on another module. Decorators and base classes may
be defined in the notebook or in modules of the project.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from jupyter_pipelines.notebook.code.analyze import analyse_bodies
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.notebook.code.mutations import base_name
from jupyter_pipelines.notebook.code.name_usage import NameUsage
from jupyter_pipelines.notebook.code.project_modules import ProjectModules
from jupyter_pipelines.notebook.linking.shared_code import SharedCodeIndex, SharedDefinition
from jupyter_pipelines.pipeline.step import StepModule

_REMEMBERED = 1 << 12
_REGISTERING = "register"
_SUBCLASS_HOOK = "__init_subclass__"
# Metaclasses of the standard library: they change no other object when a class is made.
_SILENT_METACLASSES = frozenset({"ABCMeta", "EnumMeta", "EnumType", "type"})


class CodeRegistration(NamedTuple):
    """Shared code that changes objects which other names refer to.

    Parameters
    ----------
    definition : SharedDefinition
        The code.
    names : frozenset of str
        The names whose objects it changes.
    modules : frozenset of str
        The modules and packages that it changes.
    bases : frozenset of str
        The classes that list it among their subclasses.
    """

    definition: SharedDefinition
    names: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()
    bases: frozenset[str] = frozenset()


def registrations(index: SharedCodeIndex, modules: ProjectModules) -> list[CodeRegistration]:
    """Return the shared code of a notebook that changes objects which other names refer to.

    Parameters
    ----------
    index : SharedCodeIndex
        The shared code.
    modules : ProjectModules
        The project's own modules.
    """
    candidates = (_registration(definition, index, modules) for definition in index.definitions)
    return [candidate for candidate in candidates if candidate is not None]


def _registration(
    definition: SharedDefinition, index: SharedCodeIndex, modules: ProjectModules
) -> CodeRegistration | None:
    if definition.kind == "import":
        changed = _changed_by_import(definition, modules)
        return CodeRegistration(definition, modules=changed) if changed else None
    if definition.kind not in ("function", "class"):
        return None
    names, imported = _changed_by_decorators(definition, index, modules)
    outside = _bases_outside(definition, index, modules)
    imported |= {name for base in outside.values() for name in base}
    above = _bases_above(definition, index)
    for base in above.values():
        if _has_subclass_hook(base.code.source):
            names |= {*above, *_changed_by_hook(base)}
    names -= set(definition.binds)
    bases = frozenset({*above, *outside})
    if not (names or imported or bases):
        return None
    return CodeRegistration(definition, frozenset(names), frozenset(imported), bases)


def _changed_by_decorators(
    definition: SharedDefinition, index: SharedCodeIndex, modules: ProjectModules
) -> tuple[set[str], set[str]]:
    """Return the names and the modules that the decorators of a definition change."""
    names: set[str] = set()
    imported: set[str] = set()
    for root, whole in _decorators(definition.code.source):
        entry = index.find(root, definition.position)
        if not isinstance(entry, SharedDefinition):
            continue
        if entry.kind != "import":
            names |= {root} if "." in whole else _changed_by(entry, root, index)
        # The decorator of a package is not analysed: only its name tells that it registers something.
        elif _REGISTERING in whole:
            imported |= {import_.module for import_ in entry.names.imports}
        else:
            imported |= _changed_by_own_decorator(_path_in_module(entry, whole), _own_modules(entry, modules))
    return names, imported


def _own_modules(entry: SharedDefinition, modules: ProjectModules) -> tuple[StepModule, ...]:
    return modules.reach(entry.names.imports).modules


def _path_in_module(entry: SharedDefinition, whole: str) -> list[str]:
    """Return the names that lead to an object from the module that an import statement names."""
    imported = [name for import_ in entry.names.imports for name in import_.names]
    return [*imported, *whole.partition("[")[0].split(".")[1:]]


def _changed_by_own_decorator(path: Sequence[str], own: Sequence[StepModule]) -> set[str]:
    """Return the modules of which the decorator at `path` changes objects, also by what it calls."""
    kinds = {binding.kind for module in own if (binding := _usage(module.source).binds.get(path[0] if path else ""))}
    if kinds & {"class", "value"}:
        # A class, an object or its method: any of them may keep what it gets.
        return {module.name for module in own}
    changed: set[str] = set()
    pending, seen = list(path[-1:]), set(path[-1:])
    while pending:
        name = pending.pop()
        for module in own:
            usage = _usage(module.source).functions.get(name)
            if usage is not None:
                changed |= _homes(module, {*usage.mutates, *usage.binds})
                pending += usage.reads.keys() - seen
                seen |= usage.reads.keys()
    return changed


def _homes(module: StepModule, names: Collection[str]) -> set[str]:
    """Return the modules that objects with these names in a module may come from, the module itself included."""
    origins: dict[str, tuple[str, ...]] = {}
    for statement in _statements(module.source):
        origins |= _origins(statement, _package(module.name, module.path))
    return {home for name in names for home in (module.name, *origins.get(name, ()))}


def _bases_outside(
    definition: SharedDefinition, index: SharedCodeIndex, modules: ProjectModules
) -> dict[str, frozenset[str]]:
    """Return the imported base classes of a class, each with the modules that a subclass of it changes."""
    outside: dict[str, frozenset[str]] = {}
    classes = [definition, *_bases_above(definition, index).values()] if definition.kind == "class" else []
    for derived in classes:
        for root, whole in _bases(derived.code.source):
            entry = index.find(root, derived.position)
            if isinstance(entry, SharedDefinition) and entry.kind == "import":
                path = _path_in_module(entry, whole)
                outside[root] = frozenset(_changed_by_own_base(path, _own_modules(entry, modules)))
    return outside


def _changed_by_own_base(path: Sequence[str], own: Sequence[StepModule]) -> set[str]:
    """Return the modules that a subclass of the class at `path` changes: through a hook, or by being a subclass."""
    changed: set[str] = set()
    is_listed = any("__subclasses__" in module.source for module in own)
    pending, seen = list(path[-1:]), set(path[-1:])
    while pending:
        name = pending.pop()
        for module in own:
            for node in _statements(module.source):
                if isinstance(node, ast.ClassDef) and node.name == name:
                    hook = _usage(module.source).methods.get(_SUBCLASS_HOOK)
                    if is_listed or _hooks(node):
                        changed |= {module.name, *_homes(module, hook.mutates if hook else ())}
                    above = {base.rpartition(".")[2] for base in map(ast.unparse, node.bases)} - seen
                    pending += above
                    seen |= above
    return changed


@lru_cache(maxsize=_REMEMBERED)
def _usage(source: str) -> NameUsage:
    return analyse_bodies([_statements(source)])


@lru_cache(maxsize=_REMEMBERED)
def _decorators(source: str) -> tuple[tuple[str, str], ...]:
    """Return the decorators of a definition, each as the name that it begins with and the whole dotted name."""
    decorators = [expression for node in _statements(source) for expression in getattr(node, "decorator_list", ())]
    return tuple((root.id, ast.unparse(named)) for named, root in _named(decorators))


@lru_cache(maxsize=_REMEMBERED)
def _bases(source: str) -> tuple[tuple[str, str], ...]:
    """Return the base classes of a class, each as the name that it begins with and the whole dotted name."""
    bases = [base for node in _statements(source) for base in getattr(node, "bases", ())]
    return tuple((root.id, ast.unparse(named)) for named, root in _named(bases))


def _statements(source: str) -> list[ast.stmt]:
    tree = parse_code(source).tree
    return tree.body if tree else []


def _named(expressions: Iterable[ast.expr]) -> Iterator[tuple[ast.expr, ast.Name]]:
    for expression in expressions:
        named = expression.func if isinstance(expression, ast.Call) else expression
        root = base_name(named)
        if root is not None:
            yield named, root


def _changed_by(entry: SharedDefinition, name: str, index: SharedCodeIndex) -> set[str]:
    """Return the names whose objects change when the function `name` is called, also by what it calls."""
    changed: set[str] = set()
    pending, seen = [(name, entry)], {name}
    while pending:
        function, definition = pending.pop()
        usage = definition.names.functions.get(function)
        if usage is None:
            continue
        changed |= usage.mutates.keys() | usage.binds.keys()
        for read in usage.reads.keys() - seen:
            called = index.find(read, definition.position)
            if isinstance(called, SharedDefinition) and called.kind == "function":
                seen.add(read)
                pending.append((read, called))
    return changed


def _bases_above(definition: SharedDefinition, index: SharedCodeIndex) -> dict[str, SharedDefinition]:
    """Return the base classes of a class that are defined in the notebook, transitively."""
    above: dict[str, SharedDefinition] = {}
    pending = [definition] if definition.kind == "class" else []
    while pending:
        current = pending.pop()
        for base, _ in _bases(current.code.source):
            entry = index.find(base, current.position)
            if isinstance(entry, SharedDefinition) and entry.kind == "class" and base not in above:
                above[base] = entry
                pending.append(entry)
    return above


@lru_cache(maxsize=_REMEMBERED)
def _has_subclass_hook(source: str) -> bool:
    """Tell whether subclasses of a class have effects: through `__init_subclass__`, or through a metaclass."""
    return any(_hooks(node) for node in _statements(source) if isinstance(node, ast.ClassDef))


def _hooks(node: ast.ClassDef) -> bool:
    methods = [member for member in node.body if isinstance(member, ast.FunctionDef)]
    metaclasses = [keyword.value for keyword in node.keywords if keyword.arg == "metaclass"]
    return any(method.name == _SUBCLASS_HOOK for method in methods) or any(
        ast.unparse(metaclass).rpartition(".")[2] not in _SILENT_METACLASSES for metaclass in metaclasses
    )


def _changed_by_hook(base: SharedDefinition) -> set[str]:
    hook = base.names.methods.get(_SUBCLASS_HOOK)
    return set(hook.mutates) if hook else set()


def _changed_by_import(definition: SharedDefinition, modules: ProjectModules) -> frozenset[str]:
    """Return the modules that importing modules of the project changes, without the imported modules themselves."""
    own = modules.reach(definition.names.imports).modules
    changed = {name for module in own for name in _changed_modules(module.source, module.name, module.path)}
    return frozenset(changed - {import_.module for import_ in definition.names.imports})


@lru_cache(maxsize=_REMEMBERED)
def _changed_modules(source: str, name: str, path: str) -> tuple[str, ...]:
    """Return the modules that a module changes when it is imported: it assigns to their attributes, or calls them."""
    package = _package(name, path)
    origins: dict[str, tuple[str, ...]] = {}
    changed: dict[str, None] = {}
    for statement in _statements(source):
        origins |= _origins(statement, package)
        for expression in _changing_expressions(statement):
            root = base_name(expression)
            changed |= dict.fromkeys(origins.get(root.id, ()) if root else ())
    return tuple(changed)


def _package(name: str, path: str) -> str:
    """Return the package that relative imports in a module start from."""
    return name if path.endswith("__init__.py") else name.rpartition(".")[0]


def _origins(statement: ast.stmt, package: str) -> dict[str, tuple[str, ...]]:
    """Return the modules that the names of an import statement may come from."""
    if isinstance(statement, ast.Import):
        return {
            alias.asname or alias.name.partition(".")[0]: (alias.name, alias.name.partition(".")[0])
            for alias in statement.names
        }
    if not isinstance(statement, ast.ImportFrom):
        return {}
    module = statement.module or ""
    if statement.level:
        around = package.split(".") if package else []
        module = ".".join([*around[: len(around) - statement.level + 1], *([module] if module else [])])
    return {
        alias.asname or alias.name: (
            module,
            f"{module}.{alias.name}" if module else alias.name,
            module.partition(".")[0],
        )
        for alias in statement.names
    }


def _changing_expressions(statement: ast.stmt) -> Iterator[ast.expr]:
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (target for target in targets if isinstance(target, ast.Attribute | ast.Subscript))
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        yield statement.value.func
    elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield from (named for named, _ in _named(statement.decorator_list))
