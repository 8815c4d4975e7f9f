"""Classes of the notebook in pickles: an unpickled instance gets the class that the step defines.

A pickle holds such a class by value, for steps that do not define it. Each class has an id made of its name in the
notebook and a digest of its methods. A step that defines a class of that id uses its own; class attributes that had
changed when the pickle was written are set there as well, as they would have changed in the notebook.
"""

from __future__ import annotations

import abc
import dis
import enum
import hashlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MODULE = "__main__"
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_MISSING = object()
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
# Instructions that depend on line breaks or on the interpreter, and not on what the code does.
_WITHOUT_EFFECT = frozenset({"NOP", "RESUME", "CACHE", "EXTENDED_ARG"})
_DOCUMENTED = 0x4000000  # of code with a docstring, in Python 3.13 and later
_ORDINARY = (type, abc.ABCMeta)
_ORIGINAL_ATTRIBUTES: dict[tuple[type, str], bytes] = {}


class ClassMismatch(Exception):
    """A class of the notebook differs from the class of a stored instance.

    Parameters
    ----------
    why : str
        What differs.
    instead : str
        What to do.
    """

    def __init__(self, why: str, instead: str) -> None:
        super().__init__(why)
        self.instead = instead


def definition_id(cls: type) -> str:
    """Return the id of a class that is reachable by a name in the notebook; empty for any other."""
    path = _path_of(cls)
    return f"{path}:{_PYTHON}:{_definition_digest(cls)}" if path else ""


def present_class(class_id: str, *, strict: bool) -> type | None:
    """Return the class of the notebook with this id; None if this kernel has none under that name.

    Parameters
    ----------
    class_id : str
        As :func:`definition_id` returned it in the kernel that stored an instance.
    strict : bool
        Raise an error for a different class of that name, instead of returning None.

    Raises
    ------
    ClassMismatch
        Under that name there is another class.
    """
    path, _, definition = class_id.partition(":")
    cls = _at(path) if definition else None
    if cls is None:
        return None
    python, _, digest = definition.partition(":")
    if python != _PYTHON or digest == _definition_digest(cls):  # byte code of other versions cannot be compared
        return cls
    if strict:
        raise ClassMismatch(
            f"its class `{path}` is not the class `{path}` that this step defines",
            f"define `{path}` once, in a cell without a header; if it is, compute the input again: "
            "`jupyter pipelines run NOTEBOOK --force`",
        )
    return None


def generic_origin(cls: type) -> tuple[type, Any] | None:
    """Return the generic class and arguments of a parametrised pydantic model; None for any other class."""
    metadata = cls.__dict__.get("__pydantic_generic_metadata__")
    if not isinstance(metadata, Mapping) or not metadata.get("origin") or not metadata.get("args"):
        return None
    arguments = metadata["args"]
    return metadata["origin"], arguments[0] if len(arguments) == 1 else arguments


def take_attributes(cls: type, state: tuple[Mapping[str, Any], Any], content: Callable[[Any], bytes]) -> None:
    """Set the class attributes that a class of the notebook had in the kernel that stored an instance.

    Parameters
    ----------
    cls : type
        The class.
    state : tuple
        State of the class in the pickle: namespace and slots.
    content : callable
        Returns the same bytes for the same value.

    Raises
    ------
    ClassMismatch
        Two inputs have different values of an attribute.
    """
    for registered in state[0].get("_abc_impl", ()):
        if isinstance(cls, abc.ABCMeta):
            cls.register(registered)
    if type(cls) not in _ORDINARY:
        return
    for name, value in _data_attributes(state[0]):
        present = cls.__dict__.get(name, _MISSING)
        here, there = b"" if present is _MISSING else content(present), content(value)
        # The value that the definition gave, before any input changed it: only changed values are carried over.
        original = _ORIGINAL_ATTRIBUTES.setdefault((cls, name), here)
        if there in (here, original):
            continue
        if here != original:
            raise ClassMismatch(
                f"steps before it left different values in `{cls.__qualname__}.{name}`",
                f"keep what changes in instances, or make `{cls.__qualname__}.{name}` an output of a step",
            )
        setattr(cls, name, value)


def _data_attributes(namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the data attributes of a class, without methods, nested classes and caches."""
    for name, value in namespace.items():
        is_own = not (name.startswith("__") and name.endswith("__")) and name != "_abc_impl" and "cache" not in name
        if is_own and not isinstance(value, type) and not hasattr(type(value), "__get__"):
            yield name, value


def _path_of(cls: type) -> str:
    """Return the dotted name by which a class is reachable in the notebook; empty if it is not."""
    if cls.__module__ != _MODULE:
        return ""
    if _at(cls.__qualname__) is cls:
        return cls.__qualname__
    variables = vars(sys.modules[_MODULE])
    return min((name for name, value in variables.items() if value is cls and not name.startswith("_")), default="")


def _at(path: str) -> type | None:
    """Return the class of the notebook at `path`."""
    value: Any = sys.modules.get(_MODULE)
    for name in path.split("."):
        value = vars(value).get(name) if isinstance(value, type | types.ModuleType) else None
    return value if isinstance(value, type) and value.__module__ == _MODULE else None


def _definition_digest(cls: type) -> str:
    """Return a digest of a class's methods and bases; comments, docstrings and attribute values do not count."""
    members = [f"{cls.__qualname__} {type(cls).__qualname__}", *(base.__qualname__ for base in cls.__bases__)]
    members += (_definition_digest(base) for base in cls.__bases__ if base.__module__ == _MODULE)
    for name, value in sorted(vars(cls).items()):
        members += (f"{name} {text}" for function in _functions(value) for text in _code_texts(function))
    if issubclass(cls, enum.Enum):
        members += (f"{member.name}={_plain_text(member.value)}" for member in cls)
    members.append(_plain_text(getattr(cls, "_fields", None)))
    return hashlib.sha256("\n".join(members).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _plain_text(value: Any) -> str:
    """Return the repr of a plain value, and of any other its type, as a repr may contain an address."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_plain_text, value))}]"
    return repr(value) if isinstance(value, _PLAIN) else type(value).__qualname__


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """Yield the notebook functions of a class attribute: a method, or the accessors of a property."""
    if isinstance(value, property):
        parts: tuple[Any, ...] = (value.fget, value.fset, value.fdel)
    else:
        parts = (getattr(value, "__func__", value),)
    yield from (part for part in parts if isinstance(part, types.FunctionType) and part.__module__ == _MODULE)


def _code_texts(function: types.FunctionType) -> Iterator[str]:
    defaults = (*(function.__defaults__ or ()), *sorted((function.__kwdefaults__ or {}).items()))
    yield _plain_text(defaults)
    yield from _instructions(function.__code__)


def _instructions(code: types.CodeType) -> Iterator[str]:
    """Yield the instructions of code in a form that is independent of line numbers and docstrings."""
    yield f"{code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]} {code.co_flags & ~_DOCUMENTED}"
    for instruction in dis.get_instructions(code):
        if instruction.opname in _WITHOUT_EFFECT:
            continue
        if isinstance(instruction.argval, types.CodeType):
            yield from _instructions(instruction.argval)
        elif isinstance(instruction.argval, frozenset):
            # The order of a frozenset of texts depends on PYTHONHASHSEED.
            yield f"{instruction.opname} {sorted(map(repr, instruction.argval))}"
        else:
            # Jump targets are offsets, which move with instructions that have no effect.
            is_jump = instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs
            yield instruction.opname if is_jump else f"{instruction.opname} {instruction.argval!r}"
