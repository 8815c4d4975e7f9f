"""Find names that lead to the same mutable object: aliases, views, members of the same container."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

MOST_OBJECTS = 5_000
"""Largest number of objects that are visited from one name; sharing beyond it is not found."""

_DATA = (type(None), bool, int, float, complex, str, bytes, range)
_CODE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_PLAIN = (*_DATA, *_CODE)


def shared_pairs(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the pairs of names that lead to the same mutable object."""
    holders: dict[int, list[str]] = {}
    for name, value in values.items():
        for key in reachable(value):
            holders.setdefault(key, []).append(name)
    return sorted({pair for names in holders.values() if len(names) > 1 for pair in combinations(sorted(names), 2)})


def reachable(value: Any) -> set[int]:
    """Return the ids of the mutable objects that can be reached from `value`."""
    mutable_ids: set[int] = set()
    seen: set[int] = set()
    waiting = [value]
    while waiting and len(seen) < MOST_OBJECTS:
        node = waiting.pop()
        if isinstance(node, _PLAIN) or id(node) in seen:
            continue
        seen.add(id(node))
        # Tuples and frozensets cannot change themselves, but may hold what can.
        if not isinstance(node, tuple | frozenset):
            mutable_ids.add(id(_owner(node)))
        waiting.extend(_members(node))
    return mutable_ids


def _owner(value: Any) -> Any:
    """Return the array that owns the memory of a view; any other value itself."""
    while _is_array(value) and value.base is not None:
        value = value.base
    return value


def _members(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif _is_frame(value):
        # pandas has no public way to the blocks: `frame[column].to_numpy()` may copy, and a copy hides the sharing.
        yield from getattr(getattr(value, "_mgr", None), "arrays", ())
    elif not _is_array(value):
        yield from getattr(value, "__dict__", {}).values()


def _is_frame(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    kinds = tuple(getattr(pandas, name) for name in ("DataFrame", "Series") if hasattr(pandas, name))
    return isinstance(value, kinds)


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return hasattr(numpy, "ndarray") and isinstance(value, numpy.ndarray)  # type: ignore[union-attr]
