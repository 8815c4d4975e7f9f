"""The project's own modules that code reaches, found and read without importing anything."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from jupyter_pipelines.notebook.code import parse_code
from jupyter_pipelines.pipeline.step import Module


@dataclass(frozen=True, slots=True)
class Import:
    """One name that an import statement asks for: a dotted module, and what is taken from it."""

    module: str
    name: str | None = None
    level: int = 0


@dataclass(slots=True)
class Reached:
    """What imports lead to: modules of the project, top-level names of packages, and what could not be read."""

    modules: dict[str, Module] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    unknown: list[str] = field(default_factory=list)


class Finder:
    """Finds modules of the project by their dotted name; remembers what it has read.

    Parameters
    ----------
    folder : Path
        The notebook's folder.
    root : Path
        The project's root; its ``src`` folder counts as well.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folders = tuple(dict.fromkeys([folder, root, root / "src"]))
        self._modules: dict[str, Module | None] = {}
        self._imports: dict[str, tuple[Import, ...]] = {}

    def own(self, name: str) -> bool:
        """Return whether a top-level name is a module or package of the project."""
        return any(
            ((one / name).is_dir() and _has_python(one / name)) or (one / f"{name}.py").is_file()
            for one in self.folders
        )

    def module(self, dotted: str) -> Module | None:
        """Return a module of the project, or None when there is no file for it."""
        if dotted not in self._modules:
            self._modules[dotted] = self._find(dotted)
        return self._modules[dotted]

    def _find(self, dotted: str) -> Module | None:
        parts = dotted.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        for folder in self.folders:
            base = folder.joinpath(*parts)
            for path in (base / "__init__.py", base.with_name(base.name + ".py")):
                if path.is_file():
                    return Module(name=dotted, path=str(path), source=path.read_text("utf-8-sig", "replace"))
        return None

    def reach(self, imports: Iterable[Import]) -> Reached:
        """Follow imports through the project's own modules, however far."""
        found = Reached()
        waiting: list[tuple[Import, str | None]] = [(one, None) for one in imports]
        seen: set[tuple[Import, str | None]] = set()
        while waiting:
            one, within = waiting.pop()
            if (one, within) in seen:
                continue
            seen.add((one, within))
            for module in self._named(one, within, found):
                if module.name not in found.modules:
                    found.modules[module.name] = module
                    package = module.name if Path(module.path).name == "__init__.py" else module.name.rpartition(".")[0]
                    waiting += [(inner, package) for inner in self._imports_of(module, found)]
        return found

    def _named(self, one: Import, within: str | None, found: Reached) -> Iterator[Module]:
        dotted = _absolute(one, within)
        top = dotted.partition(".")[0]
        if not top:
            return
        if not self.own(top):
            if top not in sys.stdlib_module_names:
                found.packages.add(top)
            return
        parts = dotted.split(".")
        for end in range(1, len(parts) + 1):
            module = self.module(".".join(parts[:end]))
            if module is not None:
                yield module
        below = self.module(f"{dotted}.{one.name}") if one.name and one.name != "*" else None
        if below is not None:
            yield below

    def _imports_of(self, module: Module, found: Reached) -> tuple[Import, ...]:
        if module.name not in self._imports:
            code = parse_code(module.source)
            if code.tree is None:
                found.unknown.append(f"the module `{module.name}` cannot be parsed")
            self._imports[module.name] = tuple(imports_in(code.tree)) if code.tree else ()
        return self._imports[module.name]


def imports_in(tree: ast.AST) -> Iterator[Import]:
    """Yield every import in `tree`, at any depth; also ``import_module`` of a literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(node.module or "", alias.name, node.level)
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield Import(first.value)


def _absolute(one: Import, within: str | None) -> str:
    if not one.level:
        return one.module
    parts = (within or "").split(".")
    base = parts[: len(parts) - one.level + 1]
    return ".".join([*base, *([one.module] if one.module else [])]) if any(base) else one.module


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _has_python(folder: Path) -> bool:
    return (folder / "__init__.py").is_file() or next(folder.glob("*.py"), None) is not None
