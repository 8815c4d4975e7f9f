"""Parser of the annotations of parameters; nothing is evaluated."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jupyter_pipelines.errors import closest_name
from jupyter_pipelines.notebook.parameters.literals import NotLiteral, literal
from jupyter_pipelines.pipeline.parameters import LIMITS, Kind

KNOWN_ANNOTATIONS = (
    "`int`, `float`, `str`, `bool`, `Secret`, `list[…]`, `dict[str, …]`, `Literal[…]`, `X | None` or `Annotated[…]`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueDomain:
    """The values that an annotation admits; the fields are those of a parameter."""

    kind: Kind = "any"
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    items: Kind = "any"
    limits: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""
    doubts: tuple[tuple[ast.expr, str, str], ...] = ()


class AnnotationParseError(ValueError):
    """An annotation that is not supported.

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


def read_annotation(node: ast.expr) -> ValueDomain:
    """Return the domain that an annotation describes.

    Raises
    ------
    AnnotationParseError
        Something in it is not known, or contradicts itself.
    """
    try:
        return domain_of(node)
    except RecursionError:
        raise AnnotationParseError(node, "the annotation is nested too deeply", f"write {KNOWN_ANNOTATIONS}") from None


def domain_of(node: ast.expr) -> ValueDomain:
    """Return the domain that a part of an annotation describes."""
    if isinstance(node, ast.Constant):
        return _constant(node)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union(node, list(_alternatives(node)))
    if isinstance(node, ast.Subscript):
        return _subscript(node)
    name = _name(node)
    if name in _PLAIN:
        return ValueDomain(kind=_PLAIN[name])
    closest = closest_name(name, [*_PLAIN, *_GENERIC])
    raise AnnotationParseError(
        node,
        f"the annotation `{_text(node)}` is not known",
        f"write {f'`{closest}`' if closest else KNOWN_ANNOTATIONS}",
    )


def _constant(node: ast.Constant) -> ValueDomain:
    if node.value is None:
        return ValueDomain(nullable=True)
    if isinstance(node.value, str):
        # Quoted annotations are valid Python, for names that are imported for type checkers only.
        try:
            return domain_of(ast.parse(node.value.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, AnnotationParseError):
            pass
    raise AnnotationParseError(node, f"the annotation `{_text(node)}` is not known", f"write {KNOWN_ANNOTATIONS}")


def _subscript(node: ast.Subscript) -> ValueDomain:
    name = _name(node.value)
    reader = _GENERIC.get(name)
    if reader is None:
        closest = closest_name(name, _GENERIC)
        help_text = f"write `{closest}[…]`" if closest else f"write {KNOWN_ANNOTATIONS}"
        raise AnnotationParseError(node.value, f"the annotation `{_text(node.value)}[…]` is not known", help_text)
    arguments = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    return reader(node, list(arguments))


# Unions and choices


def _alternatives(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    else:
        yield node


def _union(node: ast.expr, alternatives: Iterable[ast.expr]) -> ValueDomain:
    domains = [domain_of(alternative) for alternative in alternatives]
    nullable = any(domain.nullable for domain in domains)
    not_none = [domain for domain in domains if domain != ValueDomain(nullable=True)]
    if len(not_none) == 1:
        return replace(not_none[0], nullable=nullable)
    if {domain.kind for domain in not_none} <= {"int", "float", "number"} and not any(
        domain.limits or domain.choices for domain in not_none
    ):
        return ValueDomain(kind="number", nullable=nullable)
    if any(domain.limits or domain.choices for domain in not_none):
        message = f"`{_text(node)}` mixes types with limits or choices of their own"
        raise AnnotationParseError(node, message, "use one type, and `Annotated[…]` or `Literal[…]` around it")
    return ValueDomain(nullable=nullable)


def _optional(node: ast.Subscript, arguments: list[ast.expr]) -> ValueDomain:
    return replace(_union(node, arguments), nullable=True)


def _literal(node: ast.Subscript, arguments: list[ast.expr]) -> ValueDomain:
    try:
        values = [literal(argument) for argument in arguments]
    except NotLiteral as error:
        message = f"`{_text(error.node)}` in `Literal[…]` is no literal"
        raise AnnotationParseError(error.node, message, 'write texts, numbers or `None`: `Literal["a", "b"]`') from None
    choices = tuple(value for value in values if value is not None)
    kinds = {_KIND_OF.get(type(value), "any") for value in choices}
    if "any" in kinds or not values:
        raise AnnotationParseError(
            node, f"`{_text(node)}` has choices that are no plain values", 'write `Literal["a", "b"]`'
        )
    return ValueDomain(kind=kinds.pop() if len(kinds) == 1 else "any", choices=choices, nullable=None in values)


# Containers


def _list(_: ast.Subscript, arguments: list[ast.expr]) -> ValueDomain:
    element_nodes = [
        argument for argument in arguments if not (isinstance(argument, ast.Constant) and argument.value is ...)
    ]
    domains = [domain_of(element_node) for element_node in element_nodes]
    kinds = {domain.kind for domain in domains}
    return ValueDomain(kind="list", items=kinds.pop() if len(kinds) == 1 and not _admit_none(domains) else "any")


def _dict(node: ast.Subscript, arguments: list[ast.expr]) -> ValueDomain:
    if len(arguments) != 2 or domain_of(arguments[0]).kind not in ("str", "any"):
        raise AnnotationParseError(node, f"`{_text(node)}`: the keys of a parameter are texts", "write `dict[str, …]`")
    domain = domain_of(arguments[1])
    return ValueDomain(kind="dict", items="any" if _admit_none([domain]) else domain.kind)


def _admit_none(domains: Iterable[ValueDomain]) -> bool:
    """Return whether elements may be None, which the kind of elements cannot express."""
    return any(domain.nullable for domain in domains)


# Annotated


def _annotated(_: ast.Subscript, arguments: list[ast.expr]) -> ValueDomain:
    domain = domain_of(arguments[0])
    for metadata in arguments[1:]:
        domain = _refined(domain, metadata)
    return domain


def _refined(domain: ValueDomain, node: ast.expr) -> ValueDomain:
    """Return `domain` refined by one argument of ``Annotated``."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return replace(domain, description=domain.description or node.value)
    if not isinstance(node, ast.Call):
        return _doubtful(domain, node)
    name = _name(node.func)
    if name == "Field":
        return _field(domain, node)
    limits = _constraint_limits(name, node)
    if limits is None:
        return _doubtful(domain, node)
    return replace(domain, limits={**domain.limits, **limits})


def _field(domain: ValueDomain, node: ast.Call) -> ValueDomain:
    """Read pydantic's ``Field``, whose limits have the same names."""
    expressions = {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg in (*LIMITS, "description")}
    try:
        constraints = {name: literal(value) for name, value in expressions.items()}
    except NotLiteral:
        raise AnnotationParseError(node, f"`{_text(node)}` cannot be read", "write literals for its limits") from None
    description = str(constraints.pop("description", ""))
    constraints = _with_multiples(constraints, node)
    return replace(domain, limits={**domain.limits, **constraints}, description=domain.description or description)


def _constraint_limits(name: str, node: ast.Call) -> dict[str, Any] | None:
    """Return the limits of ``Interval(ge=1)`` and the like, or None when annotated-types has no `name`."""
    # Imported where needed: few notebooks declare limits.
    import annotated_types

    kind = getattr(annotated_types, name, None)
    if name not in _CONSTRAINT_EXAMPLES or kind is None:
        return None
    try:
        constraint = kind(
            *map(literal, node.args),
            **{keyword.arg: literal(keyword.value) for keyword in node.keywords if keyword.arg},
        )
        # A group such as `Interval` or `Len` stands for several limits, and yields them when it is iterated over.
        parts = list(constraint) if isinstance(constraint, annotated_types.GroupedMetadata) else [constraint]
    except (NotLiteral, TypeError, ValueError):
        usage = _CONSTRAINT_EXAMPLES[name]
        raise AnnotationParseError(
            node, f"`{_text(node)}` cannot be read", f"write it like `{usage}`, with literals"
        ) from None
    limits = {limit: getattr(part, limit) for part in parts for limit in LIMITS if hasattr(part, limit)}
    return _with_multiples({limit: bound for limit, bound in limits.items() if bound is not None}, node)


def _with_multiples(limits: dict[str, Any], node: ast.Call) -> dict[str, Any]:
    if limits.get("multiple_of") == 0:
        raise AnnotationParseError(node, "only 0 is a multiple of 0", "write another number, as in `MultipleOf(2)`")
    return limits


def _doubtful(domain: ValueDomain, node: ast.expr) -> ValueDomain:
    closest = closest_name(_name(node.func) if isinstance(node, ast.Call) else _name(node), _CONSTRAINT_EXAMPLES)
    suggestion = (
        f"write `{_CONSTRAINT_EXAMPLES[closest]}`" if closest else f"limits are: {', '.join(_CONSTRAINT_EXAMPLES)}"
    )
    warning = (node, f"`{_text(node)}` is not known, and checks nothing", suggestion)
    return replace(domain, doubts=(*domain.doubts, warning))


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
_GENERIC: Mapping[str, Callable[[ast.Subscript, list[ast.expr]], ValueDomain]] = {
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
_CONSTRAINT_EXAMPLES: Mapping[str, str] = {
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
