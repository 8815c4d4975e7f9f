"""Pickle diagnosis: find the part of a value that cannot be pickled, and the path to it."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from jupyter_pipelines.storage.serializers.pickle_buffers import DiscardingFile
from jupyter_pipelines.storage.serializers.pickles import PickleSerializer

_MAX_DEPTH = 50
_MAX_CHILDREN = 1000


def unpicklable_parts(value: Any, name: str) -> list[tuple[str, Any]]:
    """Return the path from `value` down to the innermost part that cannot be pickled.

    Parameters
    ----------
    value : object
        A value that cannot be pickled.
    name : str
        Name of the value, with which expressions begin.

    Returns
    -------
    list of (str, object)
        Each part with the Python expression for it: ``model.callbacks[2].fh``.
    """
    path, part = name, value
    trail = [(path, part)]
    # Objects refer to each other in circles, such as a child to its parent.
    seen = {id(value)}
    for _ in range(_MAX_DEPTH):
        unpicklable_child = next(
            ((accessor, child) for accessor, child in _parts(part) if id(child) not in seen and not _can_pickle(child)),
            None,
        )
        if unpicklable_child is None:
            break
        path, part = path + unpicklable_child[0], unpicklable_child[1]
        seen.add(id(part))
        trail.append((path, part))
    return trail


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the direct members of `value`, each with the suffix of the expression that leads to it."""
    if isinstance(value, dict):
        yield from _limited((f"[{_short_repr(key)}]", member) for key, member in list(value.items())[:_MAX_CHILDREN])
    elif isinstance(value, list | tuple):
        yield from ((f"[{number}]", element) for number, element in enumerate(value[:_MAX_CHILDREN]))
    elif isinstance(value, set | frozenset):
        yield from _limited((f" (its element {_short_repr(element)})", element) for element in value)
    yield from _attributes(value)


def _limited(parts: Any) -> Iterator[tuple[str, Any]]:
    for _, part in zip(range(_MAX_CHILDREN), parts, strict=False):
        yield part


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the attributes that pickling reads, and the variables that a function refers to."""
    if isinstance(value, types.FunctionType):
        yield from ((f" (its variable {name})", variable) for name, variable in _variables(value).items())
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, type):
        yield from ((f".{name}", attribute) for name, attribute in list(attributes.items())[:_MAX_CHILDREN])
    yield from _slots(value)


def _slots(value: Any) -> Iterator[tuple[str, Any]]:
    for cls in type(value).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else tuple(slots):
            if not name.startswith("__") and hasattr(value, name):
                yield f".{name}", getattr(value, name)


def _variables(function: types.FunctionType) -> dict[str, Any]:
    """Return the global and free variables of a function, which are pickled with it."""
    code, cells = function.__code__, function.__closure__ or ()
    variables = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
    for name, cell in zip(code.co_freevars, cells, strict=False):
        with contextlib.suppress(ValueError):  # an empty cell
            variables[name] = cell.cell_contents
    return variables


def _can_pickle(value: Any) -> bool:
    try:
        PickleSerializer().write(value, cast(BinaryIO, DiscardingFile()))
    except Exception:  # noqa: BLE001 - whatever it raises, it cannot be pickled
        return False
    return True


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - other people's code
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 40 else text[:37] + "…"
