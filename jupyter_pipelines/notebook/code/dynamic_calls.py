"""Calls whose effect on names is not written in the code: ``exec``, ``globals()``, ``import_module(name)``."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from jupyter_pipelines.notebook.code.ast_walk import every_node
from jupyter_pipelines.notebook.code.ipython_syntax import HARMLESS_MAGICS
from jupyter_pipelines.notebook.code.name_usage import ModuleImport
from jupyter_pipelines.pipeline.identifiers import NAME_LETTER, normal_name, only_names

_RUNNING = frozenset({"exec", "eval", "compile"})
_NAMESPACES = frozenset({"globals", "locals", "vars", "dir"})
_IMPORTING = frozenset({"import_module", "__import__"})
# Functions that run code from a file or a module whose name is a value.
_LOADING = frozenset({"run_path", "run_module", "spec_from_file_location", "SourceFileLoader", "load_source"})
_SHELL = frozenset({"run_line_magic", "magic", "run_cell_magic"})
_QUERIED = re.compile(rf"@({NAME_LETTER}+)")
_NAME = re.compile(rf"(?<![.'\"])(?<!{NAME_LETTER})(?!\d){NAME_LETTER}+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicEffect:
    """The effect of a call on names beyond what its code shows.

    Parameters
    ----------
    reads : tuple of str
        Names it may read.
    imports : tuple of ModuleImport
        What it imports.
    unknown : str
        Why it cannot be known, in one sentence; empty when it can.
    binds : bool
        It may bind any name.
    """

    reads: tuple[str, ...] = ()
    imports: tuple[ModuleImport, ...] = ()
    unknown: str = ""
    binds: bool = False


_NOTHING = DynamicEffect()


def dynamic_effect(call: ast.Call, *, local: bool) -> DynamicEffect:
    """Return the effect of `call` beyond what its code shows; `local` tells whether it is in a function."""
    function = call.func
    if isinstance(function, ast.Name):
        return _of_function(call, function.id, local=local)
    if not isinstance(function, ast.Attribute):
        return _NOTHING
    if function.attr in _IMPORTING:
        return _importing(call)
    if function.attr in ("exec", "eval") and isinstance(function.value, ast.Name) and function.value.id == "builtins":
        return _running(call, function.attr)
    if function.attr in ("query", "eval"):
        return _querying(call, function)
    return _of_shell(call, function)


def _of_function(call: ast.Call, name: str, *, local: bool) -> DynamicEffect:
    if name in _IMPORTING:
        return _importing(call)
    if name in ("exec", "eval"):
        return _running(call, name)
    if name == "compile":
        return DynamicEffect(unknown="`compile()` makes code that is not written here")
    # Without arguments these give access to all names of the cell; within a function, only `globals()` does.
    if (
        name in _NAMESPACES
        and not call.args
        and not call.keywords
        and name != "dir"
        and not (local and name != "globals")
    ):
        return DynamicEffect(unknown=f"`{name}()` can read and bind any name", binds=True)
    return _NOTHING


def _running(call: ast.Call, name: str) -> DynamicEffect:
    """Return the effect of ``eval`` or ``exec``; a literal expression for ``eval`` is analysed like other code."""
    text = _text(call.args[0]) if call.args else None
    if text is not None and name == "eval":
        try:
            tree = ast.parse(text.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            # Not Python: the call raises an error, and reads no name.
            return _NOTHING
        nodes = every_node(tree)
        if not any(isinstance(node, ast.Call) for node in nodes):
            return DynamicEffect(reads=tuple(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name))))
    return DynamicEffect(unknown=f"`{name}()` runs code that is not written here", binds=name == "exec")


def _importing(call: ast.Call) -> DynamicEffect:
    text = _text(call.args[0]) if call.args else None
    if text is None or (text.startswith(".") and not call.args[1:] and not call.keywords):
        return DynamicEffect(unknown="which module `import_module()` imports is known only when it runs")
    level = len(text) - len(text.lstrip("."))
    package = _text(call.args[1]) if level and len(call.args) > 1 else None
    if package is None:
        return DynamicEffect(imports=(ModuleImport(text.lstrip("."), level=level),))
    parts = package.split(".")
    return DynamicEffect(imports=(ModuleImport(".".join([*parts[: len(parts) - level + 1], text.lstrip(".")])),))


def hidden_imports(tree: ast.AST) -> Iterator[str]:
    """Yield why it cannot be known which code `tree` imports or loads, one sentence each.

    A function that imports by name is only understood where it is called under its own name.
    """
    nodes = every_node(tree)
    called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in _IMPORTING and id(node) not in called:
            yield f"`{name}` is passed on: what is imported is known only when it runs"
        elif name in _LOADING:
            yield f"`{name}` runs code that is not written here"
        elif isinstance(node, ast.ImportFrom):
            renamed = [
                alias
                for alias in node.names
                if alias.name in _IMPORTING | _LOADING and alias.asname not in (None, alias.name)
            ]
            yield from (
                f"`{alias.name}` is called `{alias.asname}`: what it imports is not followed" for alias in renamed
            )
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr" and node.args:
            first = node.args[0]
            if isinstance(first, ast.Name) and first.id in ("importlib", "builtins", "runpy"):
                yield f"`getattr({first.id}, …)` can import and run anything"


def _querying(call: ast.Call, function: ast.Attribute) -> DynamicEffect:
    """Return the names that a text for ``DataFrame.query`` takes from around it: ``"age > @limit"``."""
    # The text may be joined or formatted: all literal parts of it are searched.
    text = only_names(normal_name("".join(_texts(call.args[0])))) if call.args else ""
    if function.attr == "eval" and isinstance(function.value, ast.Name) and function.value.id in ("pd", "pandas"):
        return DynamicEffect(reads=tuple(dict.fromkeys(_NAME.findall(text))))
    return DynamicEffect(reads=tuple(dict.fromkeys(_QUERIED.findall(text))))


def _of_shell(call: ast.Call, function: ast.Attribute) -> DynamicEffect:
    """Return the effect of a call of ``get_ipython().…``, of which scripts exported from notebooks are full."""
    shell = function.value
    if not (isinstance(shell, ast.Call) and isinstance(shell.func, ast.Name) and shell.func.id == "get_ipython"):
        return _NOTHING
    if function.attr == "showtraceback":
        return _NOTHING
    text = _text(call.args[0]) if call.args else None
    if function.attr in _SHELL and text is not None and text.lstrip("%").split(" ")[0] in HARMLESS_MAGICS:
        return _NOTHING
    if function.attr in _SHELL and text is not None and text.lstrip("%").split(" ")[0] == "run":
        line = " ".join(["%run", *text.split()[1:], *(_text(node) or "…" for node in call.args[1:])])
        return DynamicEffect(
            unknown=f"`{line}` runs a file; what that reads, changes and binds is not known", binds=True
        )
    return DynamicEffect(unknown=f"`get_ipython().{function.attr}()` can do anything", binds=True)


def is_shell(node: ast.expr) -> bool:
    """Return whether `node` is a method of ``get_ipython()``: then :func:`dynamic_effect` knows what it does."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "get_ipython"
    )


def namespace_key(node: ast.expr) -> str | None:
    """Return the name that ``globals()["name"]`` means."""
    if isinstance(node, ast.Subscript) and _is_namespace(node.value):
        return _text(node.slice)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        return _text(node.args[0]) if _is_namespace(node.func.value) else None
    return None


def membership_test_name(node: ast.Compare) -> str | None:
    """Return the name that ``"name" in globals()`` asks for."""
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn) and _is_namespace(node.comparators[0]):
        return _text(node.left)
    return None


def _is_namespace(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _NAMESPACES and not node.args
    )


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _texts(node: ast.expr) -> Iterator[str]:
    for child in every_node(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value
