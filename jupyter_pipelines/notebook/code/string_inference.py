"""Inference of the strings that expressions may evaluate to: literals, names, and paths joined of them.

A text is a template (:mod:`jupyter_pipelines.pipeline.path_templates`) with the names that it is made of. A name
stands for all that is bound to it anywhere: by an assignment, a loop, a default, or a call of the function whose
argument it is.
That is more than it can be at one place, and never less than what is written out.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice, product
from typing import Any, NamedTuple

from jupyter_pipelines.notebook.code.ast_walk import every_node
from jupyter_pipelines.notebook.code.cell_code import parse_code
from jupyter_pipelines.pipeline.path_templates import (
    JOINT,
    MAX_LENGTH,
    escape_braces,
    expand_template,
    names_in,
    placeholder,
)

_IDENTITY_FUNCTIONS = frozenset("absolute as_posix abspath expanduser fspath normpath realpath resolve str".split())
_COLLECTION_FUNCTIONS = frozenset("enumerate items keys list reversed set sorted tuple values zip".split())
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_ROUNDS = 8
"""How many functions may pass a text on to each other."""
Bound = Mapping[str, tuple[str, ...]]


class StringCall(NamedTuple):
    """Texts that a function is called with."""

    function: str
    texts: tuple[tuple[str, ...], ...]
    named: tuple[tuple[str, tuple[str, ...]], ...]


class StringBindings(NamedTuple):
    """What a piece of code binds to names, which arguments its functions have, and how it calls functions."""

    names: Bound
    arguments: Bound
    calls: tuple[StringCall, ...]


class StringEvaluator:
    """Possible string values of names in pieces of code that belong together.

    Parameters
    ----------
    sources : iterable of str
        The pieces.
    parameters : collection of str
        Names of parameters: they stand for their values, too, and stay in the templates.
    """

    def __init__(self, sources: Iterable[str], parameters: Collection[str]) -> None:
        piece_bindings = [bindings(source) for source in sources]
        self._names: dict[str, tuple[str, ...]] = defaultdict(tuple)
        self._parameters = frozenset(parameters)
        self._known: dict[str, tuple[str, ...]] = {name: (placeholder(name),) for name in parameters}
        arguments = {
            name: argument_names for piece in piece_bindings for name, argument_names in piece.arguments.items()
        }
        passed = (pair for piece in piece_bindings for call in piece.calls for pair in _passed(call, arguments))
        for name, templates in chain((pair for piece in piece_bindings for pair in piece.names.items()), passed):
            self._names[name] += templates

    def of(self, template: str) -> Iterator[str]:
        """Yield the values of a template; of names, only parameters are left in them."""
        needed = self._needed(template)
        for _ in range(_ROUNDS):  # names are known in the order in which they are bound, but for those of arguments
            # Until nothing is added: functions may pass a text on from one to the next.
            before = len(self._known), sum(len(self._known.get(name, ())) for name in needed)
            for name in needed:
                self._known[name] = self._values_of(name)
            if before == (len(self._known), sum(len(self._known[name]) for name in needed)):
                break
        yield from expand_template(template, self._choices)

    def like(self, template: str) -> Iterator[str]:
        """Yield the values of a template, with an empty string for each unknown name."""
        list(self.of(template))
        yield from expand_template(template, lambda name: self._choices(name) or ("",))

    def _choices(self, name: str) -> Sequence[str]:
        return self._known.get(name, ())

    def _needed(self, template: str) -> list[str]:
        """Return the names that a template is made of, and those that they are made of, in the order of binding."""
        names: dict[str, None] = {}
        pending = [template]
        while pending:
            fresh = [name for name in names_in(pending.pop()) if name not in names and name in self._names]
            names |= dict.fromkeys(fresh)
            pending += [template for name in fresh for template in self._names[name]]
        return [name for name in self._names if name in names]

    def _values_of(self, name: str) -> tuple[str, ...]:
        own = (placeholder(name),) if name in self._parameters else ()
        texts = (text for template in self._names[name] for text in expand_template(template, self._choices))
        return tuple(dict.fromkeys((*own, *islice(texts, MAX_LENGTH))))


def _passed(call: StringCall, arguments: Bound) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the texts that arguments of a function may have in a call."""
    argument_names = arguments.get(call.function)
    if argument_names is not None:
        yield from zip(argument_names, call.texts, strict=False)
        yield from ((name, texts) for name, texts in call.named if name in argument_names)


@lru_cache(maxsize=8192)
def bindings(source: str) -> StringBindings:
    """Return which texts a piece of code binds to names."""
    tree = parse_code(source).tree
    names: dict[str, tuple[str, ...]] = defaultdict(tuple)
    arguments: dict[str, tuple[str, ...]] = {}
    calls = []
    for node in every_node(tree) if tree else ():
        for name, texts in _bound(node):
            names[name] += texts
        if isinstance(node, _FUNCTIONS):
            arguments[node.name] = _arguments(node)
        elif isinstance(node, ast.ClassDef):
            initializers = [
                statement
                for statement in node.body
                if isinstance(statement, ast.FunctionDef) and statement.name == "__init__"
            ]
            arguments[node.name] = _arguments(initializers[0]) if initializers else ()
        elif isinstance(node, ast.Call):
            calls.append(_call(node))
    return StringBindings(dict(names), arguments, tuple(call for call in calls if any(call.texts) or call.named))


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    names = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    # Calls of a method do not pass its object.
    return tuple(names[1:] if names[:1] in (["self"], ["cls"]) else names)


def _call(node: ast.Call) -> StringCall:
    texts = tuple(() if isinstance(argument, ast.Starred) else texts_of(argument) for argument in node.args)
    named = tuple((keyword.arg, texts_of(keyword.value)) for keyword in node.keywords if keyword.arg)
    return StringCall(called_name(node), texts, tuple(pair for pair in named if pair[1]))


def called_name(node: ast.Call) -> str:
    """Return the last name of the function that is called; empty when it has none."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _bound(node: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the names that a node binds, each with the texts that it may stand for."""
    pairs: Iterable[tuple[ast.expr, ast.expr]] = ()
    if isinstance(node, ast.Assign):
        pairs = [pair for target in node.targets for pair in _pairs(target, node.value)]
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
        pairs = [(node.target, node.value)]
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        pairs = [(node.target, node.iter)]
    elif isinstance(node, _FUNCTIONS):
        yield from _bound_by_function(node)
    for target, value in pairs:
        texts = texts_of(value)
        yield from ((name, texts) for name in _names(target) if texts)


def _pairs(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    is_unpacking = isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List)
    if is_unpacking and len(target.elts) == len(value.elts):  # type: ignore[attr-defined]
        yield from zip(target.elts, value.elts, strict=True)  # type: ignore[attr-defined]
    else:
        yield target, value


def _bound_by_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, tuple[str, ...]]]:
    positional = [*node.args.posonlyargs, *node.args.args]
    defaults = node.args.defaults
    with_defaults = zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    for argument, default in (*with_defaults, *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)):
        if default is not None:
            yield argument.arg, texts_of(default)
    for descendant in every_node(node):
        if isinstance(descendant, ast.Return) and descendant.value is not None:
            yield node.name, texts_of(descendant.value)


def _names(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Attribute):
        yield target.attr
    elif isinstance(target, ast.Tuple | ast.List):
        yield from (name for element in target.elts for name in _names(element))


# What expressions are


def texts_of(node: ast.expr | None) -> tuple[str, ...]:
    """Return the templates of all texts that an expression may evaluate to; of a collection, those of its elements."""
    reader = _READERS.get(type(node)) if node else None
    return tuple(islice(dict.fromkeys(reader(node)), MAX_LENGTH)) if reader else ()


def is_path(node: ast.AST) -> bool:
    """Return whether an expression certainly is a path: ``Path(…)``, or parts joined with ``/``."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Div)
    return isinstance(node, ast.Call) and called_name(node) in ("Path", "PurePath", "joinpath")


def joined(*nodes: ast.expr) -> Iterator[str]:
    """Yield the templates of paths whose parts the nodes are."""
    yield from map(JOINT.join, product(*map(texts_of, nodes)))


def _constant(node: ast.Constant) -> Iterable[str]:
    # Exact types, as `bool` is a subclass of `int`; numbers occur in paths, too.
    if type(node.value) not in (str, int):
        return ()
    text = str(node.value)
    return (escape_braces(text),) if 0 < len(text) < MAX_LENGTH and text.isprintable() else ()


def _formatted(node: ast.JoinedStr) -> Iterable[str]:
    # With a format (`{n:03}`) the text differs from the value: it counts as unknown.
    parts = [
        part.value if isinstance(part, ast.FormattedValue) and not part.format_spec else part for part in node.values
    ]
    return map("".join, product(*map(texts_of, parts)))


def _operation(node: ast.BinOp) -> Iterable[str]:
    if isinstance(node.op, ast.Div):
        return joined(node.left, node.right)
    sides = (texts_of(node.left), texts_of(node.right)) if isinstance(node.op, ast.Add) else ((), ())
    return chain(*sides) if _is_list(node.left) or _is_list(node.right) else map("".join, product(*sides))


def _is_list(node: ast.expr) -> bool:
    return isinstance(node, ast.List | ast.Tuple | ast.ListComp)


def _of_call(node: ast.Call) -> Iterable[str]:
    name, method = called_name(node), isinstance(node.func, ast.Attribute)
    if name in ("Path", "PurePath"):
        return joined(*node.args) if node.args else (".",)
    if name == "joinpath" or (name == "join" and method and not isinstance(node.func.value, ast.Constant)):  # type: ignore[attr-defined]
        return joined(*([node.func.value] if name == "joinpath" else []), *node.args)  # type: ignore[attr-defined]
    if name in _IDENTITY_FUNCTIONS | _COLLECTION_FUNCTIONS:
        return _texts_of_all(node.args or ([node.func.value] if method else []))  # type: ignore[attr-defined]
    return (placeholder(name),) if name else ()


def _texts_of_all(nodes: Iterable[ast.expr | None]) -> Iterable[str]:
    return chain.from_iterable(map(texts_of, nodes))


_READERS: Mapping[type[ast.expr], Callable[[Any], Iterable[str]]] = {
    ast.Constant: _constant,
    ast.Name: lambda node: (placeholder(node.id),),
    ast.Attribute: lambda node: (placeholder(node.attr),),
    ast.JoinedStr: _formatted,
    ast.BinOp: _operation,
    ast.Call: _of_call,
    ast.List: lambda node: _texts_of_all(node.elts),
    ast.Tuple: lambda node: _texts_of_all(node.elts),
    ast.Set: lambda node: _texts_of_all(node.elts),
    ast.Dict: lambda node: _texts_of_all([*node.keys, *node.values]),
    ast.ListComp: lambda node: texts_of(node.elt),
    ast.GeneratorExp: lambda node: texts_of(node.elt),
    ast.Subscript: lambda node: texts_of(node.value),
    ast.IfExp: lambda node: _texts_of_all([node.body, node.orelse]),
    ast.BoolOp: lambda node: _texts_of_all(node.values),
    ast.NamedExpr: lambda node: texts_of(node.value),
    ast.Starred: lambda node: texts_of(node.value),
    ast.Await: lambda node: texts_of(node.value),
}
