"""Parts of code without effect on a result: imports that nothing uses, type hints of functions that are only called.

An import of a module that every kernel has loaded anyway does nothing but bind a name. It has no effect if that name
stands nowhere else in the code of the step, not even in a text. Hints of a function have no effect if their evaluation
cannot fail, and if nothing but calls can reach the function: its name stands in calls only, and these are not in
lambdas, methods, or functions that are themselves values, since such an object may be stored together with what it
calls.

None of this is certain in code that looks at names, namespaces or frames, or calls a package that may do so. In such
code everything counts.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jupyter_pipelines.notebook.code.ast_walk import children
from jupyter_pipelines.notebook.code.cell_code import parse_code

_CACHE_SIZE = 1 << 13
_MAX_DEPTH = 12
_WORD = re.compile(r"\w+")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_KEPT = "kept"

LOADED = frozenset(
    """
    abc argparse ast base64 bisect collections contextlib copy dataclasses datetime decimal enum fnmatch functools
    glob hashlib heapq io itertools json logging math numbers operator os pathlib pickle random re shutil string struct
    sys tempfile textwrap threading time traceback types typing uuid warnings weakref zipfile
    """.split()
)
"""Modules of the standard library that every kernel has loaded before the first cell runs."""
_HINTS = {
    "Any": 0, "Optional": 1, "Union": -1, "List": 1, "Dict": 2, "Tuple": -1, "Set": 1, "FrozenSet": 1, "Type": 1,
    "Iterable": 1, "Iterator": 1, "Sequence": 1, "Mapping": 2, "MutableMapping": 2, "Collection": 1,
}  # fmt: skip
"""Names of `typing` in hints, each with the number of types in brackets; -1 for one or more."""
_ABSTRACT = frozenset({"Iterable", "Iterator", "Sequence", "Mapping", "MutableMapping", "Collection"})
IMPORTED = {
    "typing": frozenset(_HINTS) | {"Callable", "Literal"},
    "collections.abc": _ABSTRACT | {"Callable"},
    "collections": frozenset({"Counter", "OrderedDict", "defaultdict", "deque", "namedtuple"}),
    "dataclasses": frozenset({"dataclass", "field"}),
    "datetime": frozenset({"date", "datetime", "timedelta"}),
    "functools": frozenset({"lru_cache", "partial", "reduce", "wraps"}),
    "itertools": frozenset({"chain", "combinations", "islice", "product"}),
    "pathlib": frozenset({"Path"}),
}
"""Names imported from loaded modules that exist in every supported Python."""
_TYPES = frozenset({"bool", "bytes", "complex", "float", "int", "object", "str"})
_GENERIC = {"dict": 2, "frozenset": 1, "list": 1, "set": 1, "tuple": -1, "type": 1}
_WITH_TYPES = frozenset({"Optional", "Union", "Literal"})
"""What cannot stand inside other hints without types in brackets."""
_MODULE_TYPES = {
    "numpy": frozenset({"ndarray"}),
    "pandas": frozenset({"DataFrame", "Index", "Series"}),
    "typing": IMPORTED["typing"],
}
_KNOWN_PACKAGES = frozenset(
    "numpy scipy pandas polars pyarrow sklearn matplotlib seaborn PIL joblib torch tqdm".split()
)
"""Packages that use neither names nor hints of their callers, except through methods in `_REVEALING`."""
_REVEALING = frozenset(
    """
    globals locals vars dir exec eval compile breakpoint help __import__ import_module reload resolve_name locate
    find_spec entry_points getattr hasattr setattr delattr attrgetter methodcaller __dict__ __getattr__ __globals__
    __main__ __builtins__ builtins modules __annotations__ __annotate__ annotationlib get_type_hints inspect signature
    getmembers getclosurevars __closure__ __code__ __reduce__ __wrapped__ _getframe _getframemodulename
    _current_frames currentframe walk_stack tb_frame f_back f_globals f_locals f_builtins gi_frame cr_frame
    ag_frame settrace setprofile monitoring gc get_objects get_referrers get_ipython user_ns In _ih _i
    runpy run_path run_module timeit cProfile profile pdb doctest unittest mock tokenize symtable dis
    dictConfig fileConfig dump_session query sql formula from_formula numexpr register_pickle_by_value
    """.split()
)
"""Words of code that may look at names, hints, namespaces or frames."""


@dataclass(slots=True)
class FunctionUse:
    """How a name is used that is called, or that a function has.

    Parameters
    ----------
    is_plain : bool
        Functions of this name have no decorators.
    scopes : set of str
        Functions around its definition and its calls; ``""`` for a lambda or a class.
    """

    is_plain: bool = True
    scopes: set[str] = field(default_factory=set)


@dataclass(slots=True)
class HintUse:
    """The hints of a function, or of a variable outside functions and classes.

    Parameters
    ----------
    is_plain : bool
        They are of a form that can be evaluated without fault or effect.
    words : set of str
        The words in them.
    needs : dict of str to frozenset of str
        Names to evaluate, each with the imports that may bind it: ``typing.Any``, ``numpy``; none for Python's own.
    above : set of str
        Those that are imported further up in the same source.
    """

    is_plain: bool = True
    words: set[str] = field(default_factory=set)
    needs: dict[str, frozenset[str]] = field(default_factory=dict)
    above: set[str] = field(default_factory=set)


@dataclass(slots=True)
class SourceWords:
    """The words of a piece of code, by what is done with them.

    Parameters
    ----------
    is_known : bool
        It is Python, without lines of IPython's own and star imports.
    loose : set of str
        Words anywhere but in the other fields: in such places a name may stand for anything.
    bound : set of str
        Names that something else than an import binds.
    functions : dict of str to FunctionUse
        Functions, and what is called.
    hints : dict of str to HintUse
        Hints of ``def NAME`` and ``var NAME``.
    vain : set of str
        Names bound by imports that do nothing else.
    taken : set of str
        Names that other imports take from modules.
    origins : dict of str to set of str
        Names that imports bind, each with what they import: ``typing.Any``, ``numpy``.
    imported : set of str
        Names that imports at the top level bind.
    """

    is_known: bool = True
    loose: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    functions: dict[str, FunctionUse] = field(default_factory=dict)
    hints: dict[str, HintUse] = field(default_factory=dict)
    vain: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    origins: dict[str, set[str]] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)


def inert_names(
    notebook: Sequence[str], modules: Mapping[str, str], packages: Iterable[str], interface: Iterable[str]
) -> tuple[str, ...]:
    """Return which names of a step have parts without effect.

    Parameters
    ----------
    notebook : sequence of str
        The shared code and the cells of the step, in running order.
    modules : Mapping of str to str
        The project's own modules that it reaches, each with its source.
    packages : iterable of str
        The packages that it imports.
    interface : iterable of str
        Names of its inputs, outputs and parameters.

    Returns
    -------
    tuple of str
        ``import NAME`` for a name that imports bind in vain, ``def NAME`` and ``var NAME`` for a function and a
        variable whose hints have no effect.
    """
    if not _KNOWN_PACKAGES.issuperset(packages):
        return ()
    pieces = [words_of(source) for source in notebook]
    apart = [words_of(source) for source in modules.values()]
    every = [*pieces, *apart]
    loose = set(interface).union(*(words.loose for words in every))
    called = {name for words in every for name in words.functions}
    if not all(words.is_known for words in every) or not _REVEALING.isdisjoint(loose | called):
        return ()
    # A module of the project may have the name of one of Python's.
    bound = set(interface).union(*(words.bound for words in every), (name.partition(".")[0] for name in modules))
    sure = _sure_hints(pieces, apart, bound)
    in_hints = {word for words in every for use in words.hints.values() for word in use.words}
    functions = _only_called(every, loose | in_hints, frozenset(modules))
    inert = {label for label in sure if label.startswith("var ") or label.removeprefix("def ") in functions}
    # The words of hints without effect need no import.
    used = {word for words in every for label, use in words.hints.items() if label not in inert for word in use.words}
    used |= loose | called | bound.union(*(words.taken for words in every))
    vain = {f"import {name}" for words in every for name in words.vain - used}
    return tuple(sorted(inert | vain))


def replacements(tree: ast.Module, inert: Iterable[str]) -> dict[int, list[ast.AST]]:
    """Return by what the nodes of a tree are replaced that have no effect: nothing, or an assignment without hint.

    Parameters
    ----------
    tree : ast.Module
        The tree; it is not changed.
    inert : iterable of str
        What :func:`inert_names` returns.

    Returns
    -------
    dict of int to list of ast.AST
        By identity of the node.
    """
    names = frozenset(inert)
    replaced: dict[int, list[ast.AST]] = {id(part): [] for part in _vain_imports(tree.body, names)}
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, scope = stack.pop()
        inner = scope
        if isinstance(node, _DEFINITIONS):
            inner = label if (label := f"def {node.name}") in names else _KEPT
            replaced |= {id(hint): [] for hint in _signature_hints(node) if inner != _KEPT}
        elif isinstance(node, ast.ClassDef | ast.Lambda):
            inner = _KEPT
        elif isinstance(node, ast.AnnAssign) and _variable(node) and (scope or _variable(node)) in names and node.value:
            replaced[id(node)] = [ast.Assign(targets=[node.target], value=node.value)]
        stack += [(child, inner) for child in children(node)]
    return replaced


def _vain_imports(body: Sequence[ast.stmt], names: frozenset[str]) -> Iterator[ast.AST]:
    """Yield the imports among statements that have no effect, and single names of imports."""
    # What stands last is kept: IPython shows the value of an expression at the end of a cell.
    for statement in body[:-1]:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            vain = [
                alias
                for alias in statement.names
                if f"import {_bound_name(alias)}" in names and _only_binds(statement, alias)
            ]
            yield from vain
            if len(vain) == len(statement.names):
                yield statement


def _sure_hints(pieces: Iterable[SourceWords], apart: Iterable[SourceWords], bound: set[str]) -> set[str]:
    """Return the labels of hints that are evaluated without fault, wherever they stand."""
    pieces, apart = list(pieces), list(apart)
    origins: dict[str, set[str]] = {}
    for words in (*pieces, *apart):
        for name, imports in words.origins.items():
            origins.setdefault(name, set()).update(imports)
    sure: dict[str, bool] = {}
    imported: set[str] = set()
    # Cells share their imports; each module needs its own.
    for words, before in [*((words, imported) for words in pieces), *((words, set[str]()) for words in apart)]:
        for label, use in words.hints.items():
            is_sure = use.is_plain and all(
                name not in bound
                and origins.get(name, set()) <= accepted
                and (not accepted or name in use.above or name in before)
                for name, accepted in use.needs.items()
            )
            sure[label] = sure.get(label, True) and is_sure
        before.update(words.imported)
    return {label for label, is_sure in sure.items() if is_sure}


def _only_called(every: Iterable[SourceWords], loose: set[str], modules: frozenset[str]) -> set[str]:
    """Return the functions that nothing but calls can reach, from code of which the same is true."""
    uses: dict[str, FunctionUse] = {}
    origins: dict[str, set[str]] = {}
    for words in every:
        for name, use in words.functions.items():
            whole = uses.setdefault(name, FunctionUse())
            whole.is_plain &= use.is_plain
            whole.scopes |= use.scopes
        for name, imports in words.origins.items():
            origins.setdefault(name, set()).update(imports)
    own = {name: {f"{module}.{name}" for module in modules} for name in uses}
    called = {
        name
        for name, use in uses.items()
        if use.is_plain and name not in loose and origins.get(name, set()) <= own[name]
    }
    while spread := {name for name in called if not uses[name].scopes <= called}:
        called -= spread
    return called


@lru_cache(maxsize=_CACHE_SIZE)
def words_of(source: str) -> SourceWords:
    """Return the words of a piece of code; the result must not be changed."""
    code = parse_code(source)
    if code.tree is None or code.magics or code.unknown:
        return SourceWords(is_known=False)
    collector = _WordCollector()
    collector.collect(code.tree)
    return collector.words


class _FailingHintError(Exception):
    """A hint is of a form whose evaluation may fail or have effects."""


class _WordCollector:
    """Sorts the words of a tree by what is done with them."""

    def __init__(self) -> None:
        self.words = SourceWords()
        self._stack: list[tuple[ast.AST, tuple[str, ...]]] = []
        self._certain: frozenset[int] = frozenset()

    def collect(self, tree: ast.Module) -> None:
        self._stack = [(tree, ())]
        while self._stack:
            node, scopes = self._stack.pop()
            visit = self._VISITS.get(type(node), _WordCollector._other)
            visit(self, node, scopes)

    def _push(self, nodes: Iterable[ast.AST], scopes: tuple[str, ...]) -> None:
        # Reversed, so that they are visited in the order of the source.
        self._stack += [(node, scopes) for node in list(nodes)[::-1]]

    def _body(self, body: Sequence[ast.stmt], scopes: tuple[str, ...]) -> None:
        # Docstrings are not code.
        first = body[0] if body else None
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        self._push(body[1:] if is_text else body, scopes)

    def _module(self, node: ast.Module, scopes: tuple[str, ...]) -> None:
        self._certain = frozenset(map(id, node.body))
        self._body(node.body, scopes)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scopes: tuple[str, ...]) -> None:
        use = self.words.functions.setdefault(node.name, FunctionUse())
        use.is_plain &= not node.decorator_list and not getattr(node, "type_params", [])
        use.scopes.update(scopes)
        self.words.bound.add(node.name)
        for hint in _signature_hints(node):
            self._hint(f"def {node.name}", hint)
        arguments = node.args
        around = [*node.decorator_list, *getattr(node, "type_params", []), *arguments.defaults]
        self._push([*around, *filter(None, arguments.kw_defaults)], scopes)
        for argument in _arguments(arguments):
            self._bind(argument.arg)
        self._body(node.body, (*scopes, node.name))

    def _class(self, node: ast.ClassDef, scopes: tuple[str, ...]) -> None:
        self._bind(node.name)
        inner = (*scopes, "")
        self._push([*node.decorator_list, *node.bases, *node.keywords], inner)
        self._body(node.body, inner)

    def _lambda(self, node: ast.Lambda, scopes: tuple[str, ...]) -> None:
        self._push(children(node), (*scopes, ""))

    def _call(self, node: ast.Call, scopes: tuple[str, ...]) -> None:
        inner: list[ast.AST] = [*node.args, *node.keywords]
        if isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            self.words.functions.setdefault(name, FunctionUse()).scopes.update(scopes)
            inner = [node.func.value, *inner] if isinstance(node.func, ast.Attribute) else inner
        else:
            inner = [node.func, *inner]
        self._push(inner, scopes)

    def _import(self, node: ast.Import | ast.ImportFrom, _scopes: tuple[str, ...]) -> None:
        words = self.words
        for alias in node.names:
            name = _bound_name(alias)
            words.is_known &= name != "*"
            words.origins.setdefault(name, set()).add(_origin(node, alias))
            if _only_binds(node, alias):
                words.vain.add(name)
            else:
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
                # Under another name, a function can be more than called.
                words.loose.update(_WORD.findall(module), [alias.name] if alias.asname else ())
                words.taken.add(alias.name)
            if id(node) in self._certain:
                words.imported.add(name)

    def _hinted(self, node: ast.AnnAssign, scopes: tuple[str, ...]) -> None:
        scope = scopes[-1] if scopes else None
        label = f"def {scope}" if scope else _variable(node)
        if scope == "" or not node.value or not _variable(node):
            self._push(children(node), scopes)
            return
        self._hint(label, node.annotation, is_evaluated=scope is None)
        self._push([child for child in children(node) if child is not node.annotation], scopes)

    def _hint(self, label: str, hint: ast.expr, *, is_evaluated: bool = True) -> None:
        use = self.words.hints.setdefault(label, HintUse())
        for inner in ast.walk(hint):
            use.words.update(_texts(inner))
        try:
            needs = dict(_needs(hint))
        except _FailingHintError:
            use.is_plain = False
        else:
            if is_evaluated:
                use.needs |= needs
                use.above |= needs.keys() & self.words.imported

    def _bind(self, name: str) -> None:
        self.words.bound.add(name)
        self.words.loose.add(name)

    def _other(self, node: ast.AST, scopes: tuple[str, ...]) -> None:
        texts = list(_texts(node))
        self.words.loose.update(texts)
        if not isinstance(node, ast.Attribute | ast.keyword | ast.Constant) and not _is_loaded_name(node):
            self.words.bound.update(texts)
        self._push(children(node), scopes)

    _VISITS: Mapping[type[ast.AST], Any] = {
        ast.Module: _module,
        ast.FunctionDef: _function,
        ast.AsyncFunctionDef: _function,
        ast.ClassDef: _class,
        ast.Lambda: _lambda,
        ast.Call: _call,
        ast.Import: _import,
        ast.ImportFrom: _import,
        ast.AnnAssign: _hinted,
    }


def _only_binds(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> bool:
    """Tell whether an import does nothing but bind a name, and cannot fail."""
    if isinstance(node, ast.Import):
        return alias.name in LOADED
    return not node.level and alias.name in IMPORTED.get(node.module or "", ())


def _origin(node: ast.Import | ast.ImportFrom, alias: ast.alias) -> str:
    if isinstance(node, ast.Import):
        return alias.name
    return f"{'.' * node.level}{node.module or ''}.{alias.name}"


def _bound_name(alias: ast.alias) -> str:
    return alias.asname or alias.name.partition(".")[0]


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    single = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *single]


def _signature_hints(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    hints = [argument.annotation for argument in _arguments(node.args)]
    return [hint for hint in (*hints, node.returns) if hint is not None]


def _variable(node: ast.AnnAssign) -> str:
    """Return the label of a variable with a hint; empty if it is no plain name, whose hint is always evaluated."""
    return f"var {node.target.id}" if isinstance(node.target, ast.Name) and node.simple else ""


def _is_loaded_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _texts(node: ast.AST) -> Iterator[str]:
    """Yield the words that a node itself consists of."""
    if isinstance(node, ast.Constant):
        value = node.value
        text = value.decode("latin-1") if isinstance(value, bytes) else value if isinstance(value, str) else ""
        yield from _WORD.findall(text)
        return
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from (part for part in value if isinstance(part, str))


def _needs(node: ast.expr, depth: int = 0) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the names that a hint evaluates, each with the imports that may bind it; raise if it may fail."""
    if depth > _MAX_DEPTH:
        raise _FailingHintError
    if isinstance(node, ast.Constant):
        if not (node.value is None or (isinstance(node.value, str) and _is_name(node.value))):
            raise _FailingHintError
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        if isinstance(node.left, ast.Constant) or (isinstance(node.right, ast.Constant) and node.right.value):
            raise _FailingHintError
        yield from _needs(node.left, depth + 1)
        yield from _needs(node.right, depth + 1)
    elif isinstance(node, ast.Subscript):
        yield from _subscript_needs(node, depth)
    else:
        name, root, accepted = _type_name(node)
        if name in _WITH_TYPES:
            raise _FailingHintError
        yield root, accepted


def _subscript_needs(node: ast.Subscript, depth: int) -> Iterator[tuple[str, frozenset[str]]]:
    name, root, accepted = _type_name(node.value)
    yield root, accepted
    elements = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "Literal":
        if not all(isinstance(element, ast.Constant) and element.value is not ... for element in elements):
            raise _FailingHintError
        return
    count = 2 if name == "Callable" else {**_HINTS, **_GENERIC}.get(name, 0)
    if not elements or (count != len(elements) and count != -1):
        raise _FailingHintError
    for place, element in enumerate(elements):
        is_dots = isinstance(element, ast.Constant) and element.value is ...
        if name == "Callable" and not place:
            if not is_dots and not isinstance(element, ast.List):
                raise _FailingHintError
            for inner in element.elts if isinstance(element, ast.List) else []:
                yield from _needs(inner, depth + 1)
        elif not (is_dots and name in ("tuple", "Tuple") and len(elements) == 2 and place):
            yield from _needs(element, depth + 1)


def _type_name(node: ast.expr) -> tuple[str, str, frozenset[str]]:
    """Return the name of a type, the name that its expression begins with, and the imports that may bind that."""
    if isinstance(node, ast.Name):
        if node.id in _TYPES or node.id in _GENERIC:
            return node.id, node.id, frozenset()
        accepted = [module for module in ("typing", "collections.abc") if node.id in IMPORTED[module]]
        if accepted:
            return node.id, node.id, frozenset(f"{module}.{node.id}" for module in accepted)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        packages = [module for module, names in _MODULE_TYPES.items() if node.attr in names]
        if packages:
            return node.attr, node.value.id, frozenset(packages)
    raise _FailingHintError


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
