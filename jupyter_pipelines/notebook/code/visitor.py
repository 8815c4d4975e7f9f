"""Visitor of syntax trees, in the order in which Python runs the code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from jupyter_pipelines.notebook.code.ast_walk import children, every_node
from jupyter_pipelines.notebook.code.dataflow import DataflowScope, FlowState, merge_states
from jupyter_pipelines.notebook.code.dynamic_calls import (
    dynamic_effect,
    hidden_imports,
    is_shell,
    membership_test_name,
    namespace_key,
)
from jupyter_pipelines.notebook.code.mutations import base_name, mutated_targets
from jupyter_pipelines.notebook.code.name_usage import CallSite, DeferredUsage, ModuleImport, NameMutation, SourceSpan
from jupyter_pipelines.notebook.code.scopes import (
    NO_ROOTS,
    ClassScope,
    FunctionScope,
    InnerScope,
    NameScope,
    Roots,
    bound_by,
    local_names,
)
from jupyter_pipelines.notebook.code.sys_path import path_changes, path_value

StarNames = Callable[[ModuleImport], "tuple[str, ...] | None"]

_ITERATING_FUNCTIONS = frozenset(
    {"enumerate", "iter", "list", "reversed", "sorted", "tuple", "zip", "tqdm", "trange", "track"}
)
_EXIT_FUNCTIONS = frozenset({"exit", "quit"})


class NameVisitor:
    """Visits statements, and reports reads, bindings and mutations of names to a :class:`DataflowScope`.

    Parameters
    ----------
    star_names : callable
        Returns the names that a star import binds, or None when that is not known.
    """

    def __init__(self, star_names: StarNames) -> None:
        self.flow = DataflowScope()
        self.scope: NameScope = self.flow
        self.part = 0
        self.imports: list[ModuleImport] = []
        self.paths: list[str | None] = []
        self.stars: list[tuple[ModuleImport, SourceSpan]] = []
        self.unknown: dict[tuple[int, str], None] = {}
        self.methods: dict[str, DeferredUsage] = {}
        self._star_names = star_names
        self._depth = 0
        # Greater than 0 within annotations and guards, where a name that does not exist is no error.
        self.hints = 0
        self._last: ast.stmt | None = None
        self._folders: dict[str, str] = {}

    def run(self, body: list[ast.stmt], part: int) -> None:
        """Walk over the statements of one cell."""
        self.part = part
        self._last = body[-1] if body else None
        self.visit_all(body)
        for sentence in (sentence for statement in body for sentence in hidden_imports(statement)):
            self._note_unknown(sentence, binds=False)

    def visit_all(self, nodes: Iterable[ast.AST | None]) -> None:
        """Walk over nodes, one after the other."""
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit(self, node: ast.AST) -> None:
        """Walk over one node."""
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            handler(self, node)
        else:
            self.visit_all(children(node))

    def spot(self, node: Any, name: str = "") -> SourceSpan:
        """Return the span of `node`, or of `name` at its beginning."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        if name:
            column += _BEFORE_NAME.get(type(node), 0)
            return SourceSpan(self.part, line, column, len(name.encode()))
        same = getattr(node, "end_lineno", line) == line
        return SourceSpan(self.part, line, column, max(node.end_col_offset - column, 1) if same else 1)

    # Names

    def name(self, node: ast.Name) -> None:
        """Walk over a name."""
        if isinstance(node.ctx, ast.Store):
            self.scope.bind(node.id, self.spot(node))
        elif isinstance(node.ctx, ast.Del):
            self.scope.delete(node.id, self.spot(node))
        else:
            self.scope.read(node.id, self.spot(node), sure=not self.hints)
            # Not in a call that is understood: nothing tells what it is used for.
            if node.id == "get_ipython":
                self._note_unknown("`get_ipython()` can do anything", binds=True)
            elif node.id in ("exec", "eval"):
                self._note_unknown(f"`{node.id}` runs code that is not written here", binds=True)

    def _note_unknown(self, sentence: str, *, binds: bool) -> None:
        self.unknown.setdefault((self.part, sentence))
        self.flow.opaque = self.flow.opaque or binds

    def roots(self, node: ast.expr) -> Roots:
        """Return the outside names whose object `node` may be."""
        if isinstance(node, ast.Name):
            return self.scope.roots(node.id)
        if isinstance(node, ast.NamedExpr):
            return self.roots(node.value)
        if isinstance(node, ast.IfExp | ast.BoolOp):
            branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else node.values
            return {root: False for branch in branches for root in self.roots(branch)}
        return NO_ROOTS

    def element_roots(self, node: ast.expr) -> Roots:
        """Return the outside names to whose objects the elements of `node` belong, or which they are."""
        if isinstance(node, ast.Name):
            return self.scope.roots(node.id)
        if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
            parts = node.values if isinstance(node, ast.Dict) else node.elts
            return {root: sure for part in parts for root, sure in self.roots(part).items()}
        return self._passed_on(node) if isinstance(node, ast.Call) else NO_ROOTS

    def _passed_on(self, node: ast.Call) -> Roots:
        """Return the outside names over whose elements the value of a call iterates, as that of ``enumerate`` does."""
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "values") and not node.args:
            return self.element_roots(node.func.value)
        if isinstance(node.func, ast.Name) and node.func.id in _ITERATING_FUNCTIONS:
            return {root: sure for argument in node.args for root, sure in self.element_roots(argument).items()}
        return NO_ROOTS

    def changed(self, target: ast.expr, node: ast.AST, description: str, *, sure: bool = True) -> None:
        """Record that the object to which `target` belongs is changed in place."""
        name = base_name(target)
        if name is not None:
            self.scope.mutate(self.scope.roots(name.id), NameMutation(self.spot(node), sure, description))

    # Binding

    def store(self, target: ast.expr, roots: Roots = NO_ROOTS, value: ast.expr | None = None) -> None:
        """Walk over the target of an assignment of an object of `roots`."""
        if isinstance(target, ast.Name):
            self.scope.bind(target.id, self.spot(target), roots=roots)
        elif isinstance(target, ast.Tuple | ast.List):
            values = value.elts if isinstance(value, ast.Tuple | ast.List) and _pairs(target, value) else []
            for index, element in enumerate(target.elts):
                self.store(
                    element, self.roots(values[index]) if values else NO_ROOTS, values[index] if values else None
                )
        elif isinstance(target, ast.Starred):
            self.store(target.value)
        else:
            self._store_part(target)

    def _store_part(self, target: ast.expr) -> None:
        key = namespace_key(target)
        if key is not None:
            self.scope.bind(key, self.spot(target))
            return
        self.visit_all(children(target))
        self.changed(target, target, "an assignment to a part of it")

    def assign(self, node: ast.Assign) -> None:
        """Walk over an assignment."""
        first = node.targets[0]
        self._note_folder(node, first)
        # In `a, b = b, a` the names get the objects from before, so all are looked up before any is bound.
        element_roots = (
            [self.roots(element) for element in node.value.elts] if isinstance(node.value, ast.Tuple | ast.List) else []
        )
        roots = self.roots(node.value)
        # A lambda with a name is followed when the name is used, as a function is.
        if isinstance(node.value, ast.Lambda) and isinstance(first, ast.Name):
            self._function(node.value, first.id)
            self.scope.bind(first.id, self.spot(first), "function")
            return
        self.visit(node.value)
        for target in node.targets:
            if element_roots and isinstance(target, ast.Tuple | ast.List) and _pairs(target, node.value):
                for element, roots_of_element in zip(target.elts, element_roots, strict=True):
                    self.store(element, roots_of_element)
            else:
                self.store(target, roots)

    def _note_folder(self, node: ast.Assign, first: ast.expr) -> None:
        self.paths += path_changes(node, self._folders)
        if isinstance(first, ast.Name):
            folder = path_value(node.value, self._folders)
            self._folders.update({first.id: folder} if folder is not None else {})
            # From here on the name stands for another value.
            if folder is None:
                self._folders.pop(first.id, None)

    def annotated(self, node: ast.AnnAssign) -> None:
        """Walk over ``name: type = value``."""
        self._annotation(node.annotation)
        if node.value is not None:
            roots = self.roots(node.value)
            self.visit(node.value)
            self.store(node.target, roots)
        elif not isinstance(node.target, ast.Name):
            self.visit_all(children(node.target))

    def augmented(self, node: ast.AugAssign) -> None:
        """Walk over ``name += value``."""
        self.paths += path_changes(node, self._folders)
        target = node.target
        if not isinstance(target, ast.Name):
            self.visit(node.value)
            self._store_part(target)
            return
        self.scope.read(target.id, self.spot(target), sure=not self.hints)
        roots = self.scope.roots(target.id)
        self.visit(node.value)
        # `+=` changes lists and arrays themselves, and replaces numbers and texts: only a list is certain.
        if self.scope.is_outside(target.id):
            sure = isinstance(node.value, ast.List | ast.ListComp)
            self.scope.mutate(roots, NameMutation(self.spot(target), sure, "an augmented assignment"))
        self.scope.bind(target.id, self.spot(target), roots=roots)

    def walrus(self, node: ast.NamedExpr) -> None:
        """Walk over ``name := value``."""
        roots = self.roots(node.value)
        self.visit(node.value)
        self.scope.bind_walrus(node.target.id, self.spot(node.target), roots)

    def delete(self, node: ast.Delete) -> None:
        """Walk over ``del``."""
        for target in node.targets:
            self._delete(target)

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self._delete(element)
            return
        self.visit(target)
        if not isinstance(target, ast.Name):
            self.changed(target, target, "`del` of a part of it")

    def import_(self, node: ast.Import | ast.ImportFrom) -> None:
        """Walk over an import."""
        for alias in node.names:
            if alias.name == "*":
                self._star(ModuleImport(getattr(node, "module", "") or "", ("*",), getattr(node, "level", 0)), node)
                continue
            if isinstance(node, ast.Import):
                self.imports.append(ModuleImport(alias.name))
            else:
                self.imports.append(ModuleImport(node.module or "", (alias.name,), node.level))
            name = alias.asname or alias.name.partition(".")[0]
            self.scope.bind(name, self.spot(alias, name), "import")

    def _star(self, import_: ModuleImport, node: ast.AST) -> None:
        self.imports.append(import_)
        names = self._star_names(import_)
        if names is None:
            self.stars.append((import_, self.spot(node)))
            self.flow.opaque = True
        for name in names or ():
            self.scope.bind(name, self.spot(node), "import")

    def declared(self, node: ast.Global) -> None:
        """Walk over ``global``."""
        self.scope.declare(node.names)

    # Calls and other expressions

    def expression(self, node: ast.Expr) -> None:
        """Walk over an expression whose value is not used."""
        if isinstance(node.value, ast.Call):
            self.call(node.value, discarded=True, last=node is self._last)
        else:
            self.visit(node.value)
        if self._depth == 0 and _ends_program(node.value):
            self.flow.leave()

    def call(self, node: ast.Call, *, discarded: bool = False, last: bool = False) -> None:
        """Walk over a call."""
        key = namespace_key(node)
        if key is not None:
            self.scope.read(key, self.spot(node), sure=False)
            self.visit_all(node.args)
            return
        # Calls of `exec`, `eval` and `get_ipython()` are judged by their arguments, not by their names.
        if not (isinstance(node.func, ast.Name) and node.func.id in ("exec", "eval")) and not is_shell(node.func):
            self.visit(node.func)
        self.visit_all(node.args)
        self.visit_all(node.keywords)
        self._note_implicit_effects(node)
        for change in mutated_targets(node, discarded=discarded, last=last):
            self.changed(change.target, node, change.how, sure=change.sure)
        self._handed_over(node)

    def _note_implicit_effects(self, node: ast.Call) -> None:
        """Record effects of a call that its names do not show, such as reads by `globals()` or imports by name."""
        self.paths += path_changes(node, self._folders)
        effect = dynamic_effect(node, local=self._depth > 0)
        self.imports += effect.imports
        for name in effect.reads:
            self.scope.read(name, self.spot(node), sure=False)
        if effect.unknown:
            self._note_unknown(effect.unknown, binds=effect.binds)

    def _handed_over(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            name, values = f".{function.attr}", [function.value, *node.args]
        elif isinstance(function, ast.Name):
            name, values = function.id, node.args
        else:
            return
        passed: list[tuple[int | str, ast.expr]] = list(enumerate(values))
        passed += [(keyword.arg, keyword.value) for keyword in node.keywords if keyword.arg]
        arguments = tuple((key, root) for key, argument in passed for root in self.roots(argument))
        if arguments:
            self.scope.call(CallSite(name, arguments, self.spot(node)))

    def subscript(self, node: ast.Subscript) -> None:
        """Walk over ``x[…]``; ``globals()["x"]`` reads `x`."""
        key = namespace_key(node)
        if key is None:
            self.visit_all(children(node))
        else:
            self.scope.read(key, self.spot(node), sure=False)

    def compare(self, node: ast.Compare) -> None:
        """Walk over a comparison; ``"x" in globals()`` asks for `x`."""
        name = membership_test_name(node)
        if name is None:
            self.visit_all(children(node))
        else:
            self.scope.read(name, self.spot(node), sure=False)

    def _annotation(self, node: ast.expr | None) -> None:
        """Walk over an annotation, which is often never evaluated."""
        if node is None:
            return
        self.hints += 1
        for part in every_node(node):
            # Annotations in quotes hold names, too; type checkers read them, and some libraries evaluate them.
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                self._text_annotation(part)
        self.visit(node)
        self.hints -= 1

    def _text_annotation(self, node: ast.Constant) -> None:
        try:
            tree = ast.parse(str(node.value).strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for part in every_node(tree):
            if isinstance(part, ast.Name):
                self.scope.read(part.id, self.spot(node), sure=False)

    # Functions, classes, comprehensions

    def _within(self, scope: NameScope, nodes: Iterable[ast.AST | None]) -> None:
        outer, self.scope = self.scope, scope
        self.visit_all(nodes)
        self.scope = outer

    def definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Walk over a function."""
        self.visit_all(node.decorator_list)
        outer = self.scope
        self._type_parameters(node)
        # The name is bound only below: defaults and decorators do not see it.
        self._function(node, node.name)
        self.scope = outer
        self.scope.bind(node.name, self.spot(node, node.name), "function")

    def _type_parameters(self, node: Any) -> None:
        """Enter the scope of type parameters (Python 3.12 and later), if there are any."""
        parameters = getattr(node, "type_params", [])
        if parameters:
            self.scope = InnerScope(self.scope, frozenset(type_parameter.name for type_parameter in parameters))
            for type_parameter in parameters:
                self._annotation(getattr(type_parameter, "bound", None))

    def lambda_(self, node: ast.Lambda) -> None:
        """Walk over a lambda."""
        self._function(node, None)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, name: str | None) -> None:
        arguments = node.args
        self.visit_all([*arguments.defaults, *arguments.kw_defaults])
        all_arguments = [
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ]
        for argument in all_arguments:
            self._annotation(argument.annotation if argument else None)
        self._annotation(getattr(node, "returns", None))
        inner = FunctionScope(local_names(node.body, arguments), arguments)
        self._depth += 1
        self._within(inner, node.body if isinstance(node.body, list) else [node.body])
        self._depth -= 1
        if name and isinstance(self.scope, ClassScope) and inner.found.parameters:
            self.methods.setdefault(name, inner.found)
        self.scope.later(name, inner.found)

    def class_(self, node: ast.ClassDef) -> None:
        """Walk over a class."""
        self.visit_all(node.decorator_list)
        outer = self.scope
        self._type_parameters(node)
        self.visit_all(node.bases)
        self.visit_all(node.keywords)
        inner = ClassScope(self.scope)
        self._within(inner, node.body)
        self.scope.later(node.name, inner.methods)
        self.scope = outer
        self.scope.bind(node.name, self.spot(node, node.name), "class")

    def type_alias(self, node: Any) -> None:
        """Walk over ``type X[T] = …`` (Python 3.12 and later), whose value is evaluated only on demand."""
        outer = self.scope
        self._type_parameters(node)
        self._annotation(node.value)
        self.scope = outer
        self.visit(node.name)

    def comprehension(self, node: Any) -> None:
        """Walk over a comprehension."""
        generators: list[ast.comprehension] = node.generators
        # Python evaluates the first iterable outside the scope of the comprehension.
        self.visit(generators[0].iter)
        local = frozenset(
            name for generator in generators for target in every_node(generator.target) for name in bound_by(target)
        )
        outer = self.scope
        # A comprehension in the body of a class does not see the names of the class.
        inner = InnerScope(outer.outer if isinstance(outer, ClassScope) else outer, local)
        elements = [self.element_roots(generator.iter) for generator in generators[:1]]
        self.scope = inner
        for index, generator in enumerate(generators):
            if index:
                self.visit(generator.iter)
            self.bind_targets(generator.target, elements[0] if index == 0 else self.element_roots(generator.iter))
            self.visit_all(generator.ifs)
        self.visit_all([getattr(node, name, None) for name in ("key", "value", "elt")])
        self.scope = outer

    def bind_targets(self, target: ast.expr, roots: Roots) -> None:
        """Bind the target of a loop, each of its names to parts of what is looped over."""
        if isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                self.bind_targets(element, roots)
        elif isinstance(target, ast.Starred):
            self.bind_targets(target.value, roots)
        else:
            self.store(target, roots)


# Characters before the name (`def `, `async def `, `class `): `ast` has no position of it.
_BEFORE_NAME = {ast.FunctionDef: 4, ast.AsyncFunctionDef: 10, ast.ClassDef: 6}


def _pairs(target: ast.expr, value: ast.expr | None) -> bool:
    """Return whether the elements of `target` and `value` correspond one to one."""
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple | ast.List):
        return False
    starred = any(isinstance(element, ast.Starred) for element in (*target.elts, *value.elts))
    return len(target.elts) == len(value.elts) and not starred


def _ends_program(node: ast.expr) -> bool:
    """Return whether the program ends with `node`: ``sys.exit()`` and the like."""
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Name):
        return function.id in _EXIT_FUNCTIONS
    is_system = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    return is_system and function.attr in ("exit", "_exit") and function.value.id in ("sys", "os")  # type: ignore[attr-defined]


# Branches and loops. In functions a name is local or not whichever way the code takes, so their statements are walked
# in order.

_CATCHING = frozenset({"NameError", "UnboundLocalError"})


def _is_top_level(visitor: NameVisitor) -> bool:
    return visitor.scope is visitor.flow


def branches(visitor: NameVisitor, *alternatives: Callable[[], None]) -> None:
    """Follow alternative branches from here, and merge their states."""
    if not _is_top_level(visitor):
        for follow in alternatives:
            follow()
        return
    start, ends = visitor.flow.state, []
    with visitor.flow.branching():
        for follow in alternatives:
            visitor.flow.state = start.copy()
            follow()
            ends.append(visitor.flow.state)
    visitor.flow.state = merge_states(ends)


def if_(visitor: NameVisitor, node: ast.If) -> None:
    """Walk over ``if``."""
    visitor.visit(node.test)
    branches(visitor, lambda: visitor.visit_all(node.body), lambda: visitor.visit_all(node.orelse))


def if_expression(visitor: NameVisitor, node: ast.IfExp) -> None:
    """Walk over ``a if b else c``."""
    visitor.visit(node.test)
    branches(visitor, lambda: visitor.visit(node.body), lambda: visitor.visit(node.orelse))


def bool_op(visitor: NameVisitor, node: ast.BoolOp) -> None:
    """Walk over ``a and b``: operands after the first may not be evaluated."""
    visitor.visit(node.values[0])
    branches(visitor, lambda: visitor.visit_all(node.values[1:]), lambda: None)


def for_(visitor: NameVisitor, node: ast.For | ast.AsyncFor) -> None:
    """Walk over ``for``."""
    visitor.visit(node.iter)
    visitor.bind_targets(node.target, visitor.element_roots(node.iter))
    _loop(visitor, node.body, node.orelse)


def while_(visitor: NameVisitor, node: ast.While) -> None:
    """Walk over ``while``."""
    visitor.visit(node.test)
    endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
    _loop(visitor, node.body, node.orelse, endless=endless)


def _loop(visitor: NameVisitor, body: list[ast.stmt], orelse: list[ast.stmt], *, endless: bool = False) -> None:
    """Walk over a loop as if its body ran at least once; if it does not, Python reports the missing name itself."""
    if not _is_top_level(visitor):
        visitor.visit_all([*body, *orelse])
        return
    start = visitor.flow.state.copy()
    visitor.flow.enter_loop()
    visitor.visit_all(body)
    out = visitor.flow.end_round()
    # No round comes to its end: the code below is reached only without any round.
    if visitor.flow.state.dead and not out:
        visitor.flow.state = start
    visitor.visit_all(orelse)
    # An endless loop is left by `break` alone.
    visitor.flow.state.dead = visitor.flow.state.dead or (endless and bool(out))
    visitor.flow.state = merge_states([visitor.flow.state, *out])


def leave_loop(visitor: NameVisitor, node: ast.AST) -> None:
    """Walk over ``break`` or ``continue``."""
    if _is_top_level(visitor):
        visitor.flow.leave_round(out=isinstance(node, ast.Break))


def leave(visitor: NameVisitor, node: ast.Raise | ast.Return) -> None:
    """Walk over ``raise`` or ``return``."""
    visitor.visit_all(children(node))
    if _is_top_level(visitor):
        visitor.flow.leave()


def with_(visitor: NameVisitor, node: ast.With | ast.AsyncWith) -> None:
    """Walk over ``with``."""
    for item in node.items:
        visitor.visit(item.context_expr)
        if item.optional_vars is not None:
            visitor.store(item.optional_vars)
    visitor.visit_all(node.body)


def try_(visitor: NameVisitor, node: Any) -> None:
    """Walk over ``try``."""
    if not _is_top_level(visitor):
        with _guarded(visitor, guarded=_is_guard(node)):
            visitor.visit_all(node.body)
        visitor.visit_all([*node.handlers, *node.orelse, *node.finalbody])
        return
    start = visitor.flow.state.copy()
    with _guarded(visitor, guarded=_is_guard(node)):
        visitor.visit_all(node.body)
    # An exception may come before or after any statement: bindings of the body are possible, and none is certain.
    interrupted = FlowState(set(start.definite), start.possible | visitor.flow.state.possible, dict(start.aliases))
    visitor.visit_all(node.orelse)
    ends = [visitor.flow.state]
    with visitor.flow.branching():
        for handler in node.handlers:
            visitor.flow.state = interrupted.copy()
            visitor.visit(handler)
            ends.append(visitor.flow.state)
    visitor.flow.state = merge_states(ends)
    visitor.visit_all(node.finalbody)


@contextmanager
def _guarded(visitor: NameVisitor, *, guarded: bool) -> Iterator[None]:
    """Follow code in which a missing name is no error: ``try: x`` … ``except NameError``."""
    visitor.flow.guards += guarded
    visitor.hints += guarded
    yield
    visitor.hints -= guarded
    visitor.flow.guards -= guarded


def handler(visitor: NameVisitor, node: ast.ExceptHandler) -> None:
    """Walk over ``except``; its name is unbound after it."""
    visitor.visit_all([node.type])
    if node.name:
        visitor.scope.bind(node.name, visitor.spot(node))
    visitor.visit_all(node.body)
    # Python deletes the name at the end of the clause.
    if node.name and _is_top_level(visitor):
        visitor.flow.forget(node.name)


def match(visitor: NameVisitor, node: ast.Match) -> None:
    """Walk over ``match``."""
    visitor.visit(node.subject)
    alternatives: list[Callable[[], None]] = [partial(_case, visitor, case) for case in node.cases]
    if not any(_is_catch_all(case) for case in node.cases):
        alternatives.append(lambda: None)
    branches(visitor, *alternatives)


def _case(visitor: NameVisitor, case: ast.match_case) -> None:
    visitor.visit(case.pattern)
    visitor.visit_all([case.guard, *case.body])


def capture_pattern(visitor: NameVisitor, node: ast.MatchAs | ast.MatchStar | ast.MatchMapping) -> None:
    """Walk over a pattern that binds names."""
    visitor.visit_all(children(node))
    for name in bound_by(node):
        visitor.scope.bind(name, visitor.spot(node))


def _is_guard(node: Any) -> bool:
    """Return whether a ``try`` tests if a name exists."""
    caught = {
        name_node.id
        for handler in node.handlers
        if handler.type
        for name_node in every_node(handler.type)
        if isinstance(name_node, ast.Name)
    }
    asks = len(node.body) == 1 and isinstance(node.body[0], ast.Expr) and isinstance(node.body[0].value, ast.Name)
    return bool(caught & _CATCHING) or asks


def _is_catch_all(case: ast.match_case) -> bool:
    return case.guard is None and isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


_HANDLERS: Mapping[type[ast.AST], Callable[[NameVisitor, Any], None]] = {
    ast.Name: NameVisitor.name,
    ast.Assign: NameVisitor.assign,
    ast.AnnAssign: NameVisitor.annotated,
    ast.AugAssign: NameVisitor.augmented,
    ast.NamedExpr: NameVisitor.walrus,
    ast.Delete: NameVisitor.delete,
    ast.Import: NameVisitor.import_,
    ast.ImportFrom: NameVisitor.import_,
    ast.Global: NameVisitor.declared,
    ast.Expr: NameVisitor.expression,
    ast.Call: NameVisitor.call,
    ast.Subscript: NameVisitor.subscript,
    ast.Compare: NameVisitor.compare,
    ast.FunctionDef: NameVisitor.definition,
    ast.AsyncFunctionDef: NameVisitor.definition,
    ast.Lambda: NameVisitor.lambda_,
    ast.ClassDef: NameVisitor.class_,
    **dict.fromkeys((ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp), NameVisitor.comprehension),
    **({ast.TypeAlias: NameVisitor.type_alias} if hasattr(ast, "TypeAlias") else {}),
    ast.If: if_,
    ast.IfExp: if_expression,
    ast.BoolOp: bool_op,
    ast.For: for_,
    ast.AsyncFor: for_,
    ast.While: while_,
    ast.Break: leave_loop,
    ast.Continue: leave_loop,
    ast.Raise: leave,
    ast.Return: leave,
    ast.With: with_,
    ast.AsyncWith: with_,
    ast.Try: try_,
    ast.TryStar: try_,
    ast.ExceptHandler: handler,
    ast.Match: match,
    ast.MatchAs: capture_pattern,
    ast.MatchStar: capture_pattern,
    ast.MatchMapping: capture_pattern,
}
