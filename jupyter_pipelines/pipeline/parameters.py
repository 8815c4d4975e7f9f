"""Parameters: typed values set from outside, checked before anything runs."""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from jupyter_pipelines.errors import SourceLocation
from jupyter_pipelines.pipeline.secrets import is_reference

Kind = Literal["int", "float", "number", "str", "bool", "list", "dict", "any", "secret"]
MismatchKind = Literal["type", "range", "choice"]

TRUE = frozenset({"true", "yes", "on", "1"})
FALSE = frozenset({"false", "no", "off", "0"})


class ParameterError(ValueError):
    """A value does not fit a parameter.

    Parameters
    ----------
    wrong : {"type", "range", "choice"}
        Which constraint the value violates.
    message : str
        What was expected and what came.
    """

    def __init__(self, wrong: MismatchKind, message: str) -> None:
        # Exceptions are unpickled by calling the class with `args`: both arguments have to be in it.
        super().__init__(wrong, message)
        self.wrong = wrong
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A typed value set from outside.

    Parameters
    ----------
    name : str
        A Python identifier.
    kind : str
        Its type; ``number`` takes integers and floats, ``any`` takes whatever JSON can say, ``secret`` is a
        reference to a secret text.
    default : object
        Its default; ignored when `required`.
    required : bool
        It has no default.
    nullable : bool
        ``None`` is a value, too.
    choices : tuple
        The only values it may have; empty for no such limit.
    items : str
        The type of the elements of a list or the values of a dict.
    limits : Mapping of str to object
        ``gt``, ``ge``, ``lt``, ``le``, ``multiple_of``, ``min_length``, ``max_length``.
    annotation : str
        The annotation as written; empty when there is none.
    description : str
        The comment after it.
    place : SourceLocation or None
        Where it is declared.
    """

    name: str
    kind: Kind = "any"
    default: Any = None
    required: bool = False
    nullable: bool = False
    choices: tuple[Any, ...] = ()
    items: Kind = "any"
    limits: Mapping[str, Any] = field(default_factory=dict)
    annotation: str = ""
    description: str = ""
    place: SourceLocation | None = None

    def fit(self, value: Any) -> Any:
        """Validate `value` and return it in the form that the step gets.

        Raises
        ------
        ParameterError
            It has the wrong type, is out of range or none of the choices.
        """
        if value is None:
            if self.nullable or self.kind == "any" or None in self.choices:
                return None
            raise ParameterError("type", f"expected {self.expected()}, got None")
        try:
            plain = _plain(value, self.expected())
        except RecursionError:
            reason = "got a value that is nested too deeply, or contains itself"
            raise ParameterError("type", f"expected {self.expected()}, as JSON or Python writes it, {reason}") from None
        value = _of_kind(plain, self.kind, self.expected())
        value = _with_items(value, self.items, self.expected())
        self._check_choice(value)
        for name, bound in self.limits.items():
            _check_limit(name, bound, value)
        return value

    def parse(self, text: str) -> Any:
        """Parse a text from a command line as a value of this parameter.

        Raises
        ------
        ParameterError
            `text` is not a value of this type.
        """
        if self.nullable and (text == "None" or (text == "null" and self.kind != "str")):
            return None
        if self.choices:
            # Compared as texts: `-p depth=2` has to give the integer 2 where the choices are integers.
            return next((choice for choice in self.choices if str(choice) == text), text)
        return _PARSERS[self.kind](text, self.expected())

    def text_for(self, value: Any) -> str | None:
        """Return a text that :meth:`parse` reads as `value`; None if there is none."""
        as_json = json.dumps(value, ensure_ascii=False) if isinstance(value, str | list | dict) else str(value)
        for text in (value, as_json) if isinstance(value, str) else (as_json,):
            try:
                fit = self.fit(self.parse(text))
            except ParameterError:
                continue
            if type(fit) is type(value) and fit == value:
                return text
        return None

    def with_text_keys(self, text: str) -> str | None:
        """Return a text that dicts in `text` fit by, as their keys are texts there; None if there is none."""
        try:
            as_json = _as_json(_from_python(text))
            return self.text_for(_from_json(as_json)) if as_json else None
        except (ParameterError, ValueError):
            return None

    def expected(self) -> str:
        """Return in words what the parameter takes."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        words = _WORDS[self.kind]
        if self.kind in ("list", "dict") and self.items != "any":
            words += f" of {_WORDS[self.items]}"
        return f"{words} or None" if self.nullable else words

    def to_dict(self) -> dict[str, Any]:
        """Return the parameter as the ``show`` document describes it."""
        return {
            "name": self.name,
            "type": self.kind,
            "annotation": self.annotation,
            "default": None if self.required else self.default,
            "required": self.required,
            "nullable": self.nullable,
            "choices": list(self.choices),
            "limits": dict(self.limits),
            "description": self.description,
            "cell": self.place.cell if self.place else None,
        }

    def _check_choice(self, value: Any) -> None:
        # `True == 1 == 1.0` holds in Python, but a step would get another type than the one that was declared.
        if self.choices and not any(value == choice and type(value) is type(choice) for choice in self.choices):
            raise ParameterError("choice", f"expected {self.expected()}, got {value!r}")


_WORDS: Mapping[Kind, str] = {
    "int": "an integer",
    "float": "a number",
    "number": "a number",
    "str": "a text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dict with text keys",
    "any": "a plain value",
    "secret": "where the secret is (`env:NAME` or `file:PATH`)",
}
_TYPES: Mapping[Kind, tuple[type, ...]] = {
    "int": (int,),
    "float": (float, int),
    "number": (int, float),
    "str": (str,),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "any": (bool, int, float, str, list, dict),
    "secret": (str,),
}


def _plain(value: Any, expected: str) -> Any:
    """Convert NumPy scalars and tuples to built-in types, and refuse values that no literal can express."""
    # Recognised by the name of its module: this package imports the standard library only.
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, tuple | list):
        return [_plain(element, expected) for element in value]
    if isinstance(value, dict):
        if not all(type(key) is str for key in value):
            raise ParameterError("type", f"expected {expected}, got a dict with keys that are not text")
        return {key: _plain(element, expected) for key, element in value.items()}
    # Exact types: a subclass of `int` or `str`, such as a member of an enum, is not what its literal says.
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise ParameterError("type", f"expected {expected}, got {type(value).__name__}")


def _of_kind(value: Any, kind: Kind, expected: str) -> Any:
    if kind == "secret":  # what came may be the secret itself: it is not repeated
        if not is_reference(value):
            raise ParameterError("type", f"expected {expected}, got something else, perhaps the secret itself")
        return value
    # `bool` is a subclass of `int`: without this, `True` would be accepted as an integer.
    fits = isinstance(value, _TYPES[kind]) and (kind in ("bool", "any") or not isinstance(value, bool))
    if not fits:
        raise ParameterError("type", f"expected {expected}, got {value!r}")
    return float(value) if kind == "float" else value


def _with_items(value: Any, items: Kind, expected: str) -> Any:
    if items == "any" or not isinstance(value, list | dict):
        return value
    if isinstance(value, list):
        return [_of_kind(element, items, expected) for element in value]
    return {key: _of_kind(element, items, expected) for key, element in value.items()}


def _is_multiple(value: Any, bound: Any) -> bool:
    if isinstance(value, int) and isinstance(bound, int) and bound:
        return value % bound == 0
    try:
        # Not `%`: 0.3 is no exact multiple of 0.1 in binary floating point.
        return math.isclose(value / bound, round(value / bound))
    except ZeroDivisionError:
        return bool(value == 0)
    # Of infinity, of `nan`, and of an integer that no float can hold.
    except (OverflowError, ValueError):
        return False


_LIMITS: Mapping[str, tuple[Callable[[Any, Any], bool], str]] = {
    "gt": (lambda value, bound: value > bound, "more than"),
    "ge": (lambda value, bound: value >= bound, "at least"),
    "lt": (lambda value, bound: value < bound, "less than"),
    "le": (lambda value, bound: value <= bound, "at most"),
    "multiple_of": (_is_multiple, "a multiple of"),
    "min_length": (lambda value, bound: len(value) >= bound, "of a length of at least"),
    "max_length": (lambda value, bound: len(value) <= bound, "of a length of at most"),
}
LIMITS = tuple(_LIMITS)


def _check_limit(name: str, bound: Any, value: Any) -> None:
    holds, words = _LIMITS[name]
    try:
        fits = holds(value, bound)
    except TypeError:
        # A limit that does not apply to the type, such as a length of a number, counts as violated.
        fits = False
    if not fits:
        raise ParameterError("range", f"expected a value {words} {bound!r}, got {value!r}")


def _parse_int(text: str, expected: str) -> Any:
    try:
        return int(text)
    except ValueError:
        raise ParameterError("type", f"expected {expected}, got {text!r}") from None


def _parse_float(text: str, expected: str) -> Any:
    try:
        return float(text)
    except ValueError:
        raise ParameterError("type", f"expected {expected}, got {text!r}") from None


def _parse_number(text: str, expected: str) -> Any:
    # Integers first: beyond 2**53 a float would lose digits.
    try:
        return int(text)
    except ValueError:
        return _parse_float(text, expected)


def _parse_bool(text: str, expected: str) -> Any:
    if text.lower() in TRUE | FALSE:
        return text.lower() in TRUE
    raise ParameterError("type", f"expected {expected}, got {text!r}")


def _parse_container(text: str, expected: str) -> Any:
    """Read a list or dict as JSON or Python writes it."""
    for reader in (_from_json, _from_python):
        try:
            return reader(text)
        except ParameterError:
            raise
        except ValueError:
            continue
    raise ParameterError("type", f"expected {expected}, as JSON or Python writes it, got {text!r}")


def _parse_any(text: str, _expected: str) -> Any:
    if text in ("True", "False", "None"):  # as papermill reads them
        return {"True": True, "False": False, "None": None}[text]
    for reader in (_from_json, _from_python) if text.lstrip().startswith(("[", "{", "(")) else (_from_json,):
        try:
            value = reader(text)
        except ParameterError:
            raise
        except ValueError:
            continue
        if reader is _from_json or (isinstance(value, list | tuple | dict) and _as_json(value) is not None):
            return value
    return text


def _as_json(value: Any) -> str | None:
    """Return a value as JSON, with all keys of dicts as texts; None if it holds what JSON does not have."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return None


def _from_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _from_python(text: str) -> Any:
    """Return the value of a Python literal; nothing is run.

    Raises
    ------
    ValueError
        It is no literal.
    ParameterError
        A key of a dict is there twice.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in texts
            tree = ast.parse(text.strip(), mode="eval")
            value = ast.literal_eval(tree)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            _without_duplicates([(key.value, None) for key in node.keys if isinstance(key, ast.Constant)])
    return value


def _without_duplicates(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError("type", f"the key {twice!r} is there twice")
    return values


_PARSERS: Mapping[Kind, Callable[[str, str], Any]] = {
    "int": _parse_int,
    "float": _parse_float,
    "number": _parse_number,
    "str": lambda text, _expected: text,
    "bool": _parse_bool,
    "list": _parse_container,
    "dict": _parse_container,
    "any": _parse_any,
    "secret": lambda text, _expected: text,
}
