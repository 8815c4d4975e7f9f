"""Equality of values of any type: in tests of steps, and of the live kernel with the store."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from jupyter_pipelines.storage.serializers.pickles import PickleSerializer

_MAX_NAMED = 4
_EXACT = (int, str, bool, bytes, type(None))
_Visited = dict[tuple[int, int], tuple[Any, Any]]


def values_equal(first: Any, second: Any) -> bool:
    """Return whether two values are the same, numbers to about nine digits."""
    return _equal(first, second, {})


def _equal(first: Any, second: Any, visited: _Visited) -> bool:
    if type(first) is not type(second):
        return False
    # First, as there may be a million of them.
    if type(first) in _EXACT:
        return bool(first == second)
    # A value may contain itself. The values are kept, so that no later object gets the id of one that is gone.
    if (id(first), id(second)) in visited:
        return True
    # == of frames and arrays is elementwise and has no truth value.
    comparers: tuple[Callable[[Any, Any], bool | None], ...]
    comparers = (_as_frames, _as_arrays, partial(_as_containers, visited=visited))
    for compare in comparers:
        equal = compare(first, second)
        if equal is not None:
            return equal
    return _as_objects(first, second, visited)


def _as_objects(first: Any, second: Any, visited: _Visited) -> bool:
    try:
        if bool(first == second):
            return True
    except (TypeError, ValueError):
        pass
    # Objects without __eq__, such as fitted models, are compared by identity; their pickles are repeatable, but for
    # the order of sets and for which of their texts are the same object.
    return _pickled(first) == _pickled(second) or _as_reduced(first, second, visited)


def _pickled(value: Any) -> bytes:
    file = io.BytesIO()
    PickleSerializer().write(value, file)
    return file.getvalue()


def _as_reduced(first: Any, second: Any, visited: _Visited) -> bool:
    """Return whether two objects would be restored from equal parts."""
    # Built-in values have been compared by ==, and reduce to themselves.
    if type(first).__module__ == "builtins":
        return False
    visited[id(first), id(second)] = first, second
    left, right = _reduced(first), _reduced(second)
    return left is not None and right is not None and _equal(left, right, visited)


def _reduced(value: Any) -> Any:
    """Return what a pickle has of an object; None if it has no parts."""
    try:
        reduced = value.__reduce_ex__(5)
    except Exception:  # noqa: BLE001 - any type of any library may fail in any way
        return None
    if not isinstance(reduced, tuple):
        return reduced
    return tuple(list(part) if isinstance(part, Iterator) else part for part in reduced)


def _as_frames(first: Any, second: Any) -> bool | None:
    if type(first).__module__.partition(".")[0] == "polars" and hasattr(first, "equals"):
        return _polars_kind(first) == _polars_kind(second) and bool(first.equals(second))
    if type(first).__module__.partition(".")[0] != "pandas" or not hasattr(first, "equals"):
        return None
    import pandas as pd

    kinds = ((pd.DataFrame, "assert_frame_equal"), (pd.Series, "assert_series_equal"), (pd.Index, "assert_index_equal"))
    compare = next((getattr(pd.testing, name) for kind, name in kinds if isinstance(first, kind)), None)
    if compare is None:
        return bool(first.equals(second))
    try:
        # No absolute tolerance, which would make all small numbers equal.
        compare(first, second, rtol=1e-9, atol=0)
    except AssertionError:
        return False
    return True


def _polars_kind(value: Any) -> Any:
    """Return names and types of the columns of a frame of polars, or of a series of its own."""
    return list(value.schema.items()) if hasattr(value, "schema") else (value.name, value.dtype)


def _as_arrays(first: Any, second: Any) -> bool | None:
    if isinstance(first, float):
        return math.isclose(first, second, rel_tol=1e-9) or (math.isnan(first) and math.isnan(second))
    if type(first).__module__ != "numpy" or not (hasattr(first, "dtype") and hasattr(first, "shape")):
        return None
    import numpy as np

    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    if first.dtype.kind == "O":
        return values_equal(first.tolist(), second.tolist())
    if first.dtype.kind not in "fc":
        return bool(np.array_equal(first, second))
    # Not bit by bit: BLAS and the number of threads change the last digits of sums.
    return bool(np.allclose(first, second, rtol=1e-9, atol=0, equal_nan=True))


def _as_containers(first: Any, second: Any, visited: _Visited) -> bool | None:
    if not isinstance(first, dict | list | tuple):
        return None
    visited[id(first), id(second)] = first, second
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            _equal(value, second[key], visited) for key, value in first.items()
        )
    return len(first) == len(second) and all(
        _equal(left, right, visited) for left, right in zip(first, second, strict=True)
    )


# Where they differ


def difference(first: Any, second: Any) -> str:
    """Return which parts of two values differ: ``column `age` ``; empty where both are not made of such parts."""
    if type(first) is not type(second):
        return ""
    for compare in (_different_dtypes, _different_columns, _different_keys, _different_attributes):
        text = compare(first, second)
        if text:
            return text
    return ""


def _different_dtypes(first: Any, second: Any) -> str:
    live, stored = (getattr(value, "dtype", None) for value in (first, second))
    # Texts: a dtype of NumPy equals None where it is that of floats.
    return f"dtype {live}, stored {stored}" if str(live) != str(stored) else ""


def _different_columns(first: Any, second: Any) -> str:
    if not all(hasattr(value, name) for value in (first, second) for name in ("columns", "dtypes")):
        return ""
    if list(first.columns) != list(second.columns):
        return "other columns"
    names = [name for name in first.columns if not values_equal(first[name], second[name])]
    return _named("column", names)


def _different_keys(first: Any, second: Any, noun: str = "key") -> str:
    if not isinstance(first, dict):
        return ""
    if first.keys() != second.keys():
        return _named(noun, [key for key in (*first, *second) if key not in first or key not in second])
    return _named(noun, [key for key in first if not values_equal(first[key], second[key])])


def _different_attributes(first: Any, second: Any) -> str:
    if not (hasattr(first, "__dict__") and hasattr(second, "__dict__")):
        return ""
    return _different_keys(vars(first), vars(second), "attribute")


def _named(noun: str, names: list[Any]) -> str:
    more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
    shown = ", ".join(f"`{str(name)[:40]}`" for name in names[:_MAX_NAMED])
    return f"{noun if len(names) == 1 else noun + 's'} {shown}{more}" if names else ""
