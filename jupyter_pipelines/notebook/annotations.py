"""Annotations of parameters, read without running anything: which values a parameter may have."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jupyter_pipelines.errors import closest
from jupyter_pipelines.notebook.literals import NotLiteral, literal
from jupyter_pipelines.pipeline.parameters import LIMITS, Kind

KNOWN = "`int`, `float`, `str`, `bool`, `Secret`, `list[…]`, `dict[str, …]`, `Literal[…]`, `X | None` or `Annotated[…]`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The values that an annotation admits; the fields are those of a parameter."""

    kind: Kind = "any"
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    items: Kind = "any"
    limits: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    doubts: tuple[tuple[ast.expr, str, str], ...] = ()


class Unreadable(ValueError):
    """An annotation says something that is not known.

    Parameters
    ----------
    node : ast.expr
        The part that is not known.
    message, suggestion : str
        What is wrong, and what to write.
    """

    def __init__(self, node: ast.expr, message: str, suggestion: str) -> None:
        super().__init__(message, suggestion)
        self.node = node
        self.message = message
        self.suggestion = suggestion


def read_annotation(node: ast.expr) -> Shape:
    """Return what the annotation `node` admits.

    Raises
    ------
    Unreadable
        Something in it is not known, or contradicts itself.
    """
    try:
        return shape_of(node)
    except RecursionError:
        raise Unreadable(node, "the annotation is nested too deeply", f"write {KNOWN}") from None


def shape_of(node: ast.expr) -> Shape:
    """Return what one part of an annotation admits."""
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(node, list(_alternatives(node)))
    if isinstance(node, ast.Subscript):
        return _subscript(node)
    name = _name(node)
    if name in _PLAIN:
        return Shape(kind=_PLAIN[name])
    near = closest(name, [*_PLAIN, *_GENERIC])
    raise Unreadable(node, f"the annotation `{_text(node)}` is not known", f"write {f'`{near}`' if near else KNOWN}")


def _constant(node: ast.Constant) -> Shape:
    if node.value is None:
        return Shape(nullable=True)
    if isinstance(node.value, str):
        try:
            return shape_of(ast.parse(node.value.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, Unreadable):
            pass
    raise Unreadable(node, f"the annotation `{_text(node)}` is not known", f"write {KNOWN}")


def _subscript(node: ast.Subscript) -> Shape:
    name = _name(node.value)
    reader = _GENERIC.get(name)
    if reader is None:
        near = closest(name, _GENERIC)
        help_text = f"write `{near}[…]`" if near else f"write {KNOWN}"
        raise Unreadable(node.value, f"the annotation `{_text(node.value)}[…]` is not known", help_text)
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return reader(node, list(arguments))


# Unions and choices


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    else:
        yield node


def _union(node: ast.expr, alternatives: Iterable[ast.expr]) -> Shape:
    shapes = [shape_of(alternative) for alternative in alternatives]
    nullable = any(shape.nullable for shape in shapes)
    not_none = [shape for shape in shapes if shape != Shape(nullable=True)]
    if len(not_none) == 1:
        return replace(not_none[0], nullable=nullable)
    if {shape.kind for shape in not_none} <= {"int", "float", "number"} and not any(
        shape.limits or shape.choices for shape in not_none
    ):
        return Shape(kind="number", nullable=nullable)
    if any(shape.limits or shape.choices for shape in not_none):
        message = f"`{_text(node)}` mixes types with limits or choices of their own"
        raise Unreadable(node, message, "use one type, and `Annotated[…]` or `Literal[…]` around it")
    return Shape(nullable=nullable)


def _optional(node: ast.Subscript, arguments: list[ast.expr]) -> Shape:
    return replace(_union(node, arguments), nullable=True)


def _literal(node: ast.Subscript, arguments: list[ast.expr]) -> Shape:
    try:
        values = [literal(argument) for argument in arguments]
    except NotLiteral as error:
        message = f"`{_text(error.node)}` in `Literal[…]` is no literal"
        raise Unreadable(error.node, message, 'write texts, numbers or `None`: `Literal["a", "b"]`') from None
    choices = tuple(value for value in values if value is not None)
    kinds = {_KIND_OF.get(type(value), "any") for value in choices}
    if "any" in kinds or not values:
        raise Unreadable(node, f"`{_text(node)}` has choices that are no plain values", 'write `Literal["a", "b"]`')
    return Shape(kind=kinds.pop() if len(kinds) == 1 else "any", choices=choices, nullable=None in values)


# Containers


def _list(_: ast.Subscript, arguments: list[ast.expr]) -> Shape:
    element_nodes = [
        argument for argument in arguments if not (isinstance(argument, ast.Constant) and argument.value is ...)
    ]
    shapes = [shape_of(element_node) for element_node in element_nodes]
    kinds = {shape.kind for shape in shapes}
    return Shape(kind="list", items=kinds.pop() if len(kinds) == 1 and not _narrow(shapes) else "any")


def _dict(node: ast.Subscript, arguments: list[ast.expr]) -> Shape:
    if len(arguments) != 2 or shape_of(arguments[0]).kind not in ("str", "any"):
        raise Unreadable(node, f"`{_text(node)}`: the keys of a parameter are texts", "write `dict[str, …]`")
    shape = shape_of(arguments[1])
    return Shape(kind="dict", items="any" if _narrow([shape]) else shape.kind)


def _narrow(shapes: Iterable[Shape]) -> bool:
    """Return whether the elements admit None, which an element's kind cannot say."""
    return any(shape.nullable for shape in shapes)


# Annotated


def _annotated(_: ast.Subscript, arguments: list[ast.expr]) -> Shape:
    shape = shape_of(arguments[0])
    for metadata in arguments[1:]:
        shape = _refined(shape, metadata)
    return shape


def _refined(shape: Shape, node: ast.expr) -> Shape:
    """Return `shape` with what one argument of ``Annotated`` adds."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return replace(shape, description=shape.description or node.value)
    if not isinstance(node, ast.Call):
        return _doubtful(shape, node)
    name = _name(node.func)
    if name == "Field":
        return _field(shape, node)
    limits = _made(name, node)
    if limits is None:
        return _doubtful(shape, node)
    return replace(shape, limits={**shape.limits, **limits})


def _field(shape: Shape, node: ast.Call) -> Shape:
    """Read pydantic's ``Field``, whose limits have the same names."""
    expressions = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg in (*LIMITS, "description")}
    try:
        known = {name: literal(value) for name, value in expressions.items()}
    except NotLiteral:
        raise Unreadable(node, f"`{_text(node)}` cannot be read", "write literals for its limits") from None
    description = str(known.pop("description", ""))
    return replace(shape, limits={**shape.limits, **known}, description=shape.description or description)


def _made(name: str, node: ast.Call) -> dict[str, Any] | None:
    """Return the limits of ``Interval(ge=1)`` and the like, or None when annotated-types has no `name`."""
    import annotated_types

    kind = getattr(annotated_types, name, None)
    if name not in _LIMITING or kind is None:
        return None
    try:
        constraint = kind(
            *map(literal, node.args),
            **{keyword.arg: literal(keyword.value) for keyword in node.keywords if keyword.arg},
        )
        parts = list(constraint) if isinstance(constraint, annotated_types.GroupedMetadata) else [constraint]
    except (NotLiteral, TypeError, ValueError):
        usage = _LIMITING[name]
        raise Unreadable(node, f"`{_text(node)}` cannot be read", f"write it like `{usage}`, with literals") from None
    limits = {limit: getattr(part, limit) for part in parts for limit in LIMITS if hasattr(part, limit)}
    return {limit: bound for limit, bound in limits.items() if bound is not None}


def _doubtful(shape: Shape, node: ast.expr) -> Shape:
    near = closest(_name(node.func) if isinstance(node, ast.Call) else _name(node), _LIMITING)
    suggestion = f"write `{_LIMITING[near]}`" if near else f"limits are: {', '.join(_LIMITING)}"
    doubt = (node, f"`{_text(node)}` is not known, and checks nothing", suggestion)
    return replace(shape, doubts=(*shape.doubts, doubt))


# Names


def _name(node: ast.expr) -> str:
    """Return the last part of a dotted name, so that ``typing.Literal`` reads as ``Literal``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _text(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else f"{text[:59]}…"


_PLAIN: Mapping[str, Kind] = {
    "int": "int",
    "float": "float",
    "str": "str",
    "Secret": "secret",
    "bool": "bool",
    "list": "list",
    "List": "list",
    "Sequence": "list",
    "tuple": "list",
    "Tuple": "list",
    "dict": "dict",
    "Dict": "dict",
    "Mapping": "dict",
    "Any": "any",
    "object": "any",
}
_GENERIC: Mapping[str, Callable[[ast.Subscript, list[ast.expr]], Shape]] = {
    "Annotated": _annotated,
    "Literal": _literal,
    "Optional": _optional,
    "Union": _union,
    "list": _list,
    "List": _list,
    "Sequence": _list,
    "tuple": _list,
    "Tuple": _list,
    "dict": _dict,
    "Dict": _dict,
    "Mapping": _dict,
}
_KIND_OF: Mapping[type, Kind] = {int: "int", float: "float", str: "str", bool: "bool"}
_LIMITING: Mapping[str, str] = {
    "Interval": "Interval(gt=0, le=1)",
    "Gt": "Gt(0)",
    "Ge": "Ge(0)",
    "Lt": "Lt(1)",
    "Le": "Le(1)",
    "MultipleOf": "MultipleOf(2)",
    "Len": "Len(1, 10)",
    "MinLen": "MinLen(1)",
    "MaxLen": "MaxLen(10)",
}
