"""Shared parts: outputs of a step that refer to the same objects, such as a model and its optimizer.

Stored separately, they would be restored with separate copies of these objects. They are stored together instead, in
one pickle of a mapping from names to values.
"""

from __future__ import annotations

import copy
import enum
import functools
import pathlib
import sys
import types
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

# Deciding exactly whether two strided arrays overlap is NP-hard; beyond this effort they count as overlapping.
_MAX_WORK = 10_000
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_UNCHANGING = (
    *_PLAIN,
    range,
    slice,
    type,
    enum.Enum,
    pathlib.PurePath,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.CodeType,
    types.MappingProxyType,
)
_UNCHANGING_OF_LIBRARIES = (
    *(("datetime", name) for name in ("date", "time", "timedelta", "tzinfo")),
    ("decimal", "Decimal"),
    ("fractions", "Fraction"),
    ("logging", "Logger"),
    ("re", "Pattern"),
    ("uuid", "UUID"),
    *(("numpy", name) for name in ("dtype", "generic", "ufunc")),
    ("pandas", "Index"),
    ("pandas.api.extensions", "ExtensionDtype"),
    ("pyarrow", "DataType"),
    ("pyarrow", "Schema"),
)
_WITHOUT_PARTS = (("pandas", "DataFrame"), ("pandas", "Series"), ("polars", "DataFrame"), ("pyarrow", "Table"))


def groups(values: Mapping[str, Any]) -> list[list[str]]:
    """Return groups of names of values that refer to the same mutable objects.

    Parameters
    ----------
    values : Mapping of str to object
        Values by name.

    Returns
    -------
    list of list of str
        Names in the order of `values`; a value that shares nothing is in no group.
    """
    candidates = {name: value for name, value in values.items() if not _is_unchanging(value)}
    if len(candidates) < 2:
        return []
    parts = {name: _parts(value) for name, value in candidates.items()}
    leader = {name: name for name in candidates}
    for first, second in combinations(candidates, 2):
        is_one = leader[first] == leader[second]
        if not is_one and (_share(parts[first], parts[second]) or _are_views(candidates[first], candidates[second])):
            old, new = leader[second], leader[first]
            leader = {name: new if other == old else other for name, other in leader.items()}
    grouped: dict[str, list[str]] = {}
    for name in candidates:
        grouped.setdefault(leader[name], []).append(name)
    return [names for names in grouped.values() if len(names) > 1]


def as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a group for pickling; arrays that are views of the same memory are restored as such."""
    arrays = {id(value): value for value in values.values() if _is_plain_array(value)}
    views = {id(array): array for pair in combinations(arrays.values(), 2) if _overlap(*pair) for array in pair}
    memory: dict[int, _ViewedMemory] = {}
    for array in views.values():
        memory.setdefault(id(_owner(array)), _ViewedMemory(_owner(array))).add(array)
    return {
        name: memory[id(_owner(value))].view(value) if id(value) in views else value for name, value in values.items()
    }


class _ViewedMemory:
    """The range of an array's memory that is covered by several views of it.

    Parameters
    ----------
    owner : numpy.ndarray
        The array.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._bounds = (sys.maxsize, 0)
        self._bytes: Any = None

    def add(self, array: Any) -> None:
        """Extend the range by that of a view."""
        first, end = _byte_bounds(array)
        self._bounds = (min(first, self._bounds[0]), max(end, self._bounds[1]))

    def view(self, array: Any) -> _ArrayView:
        """Return the object to pickle in place of a view."""
        first, end = self._bounds
        if self._bytes is None:
            start = _address(self._owner)
            self._bytes = self._owner.reshape(-1, order="A").view("u1")[first - start : end - start]
        return _ArrayView(self._bytes, (_address(array) - first, array.shape, array.strides, array.dtype))


class _ArrayView:
    """Pickled form of an array view: its memory and its layout.

    Parameters
    ----------
    memory : numpy.ndarray
        Bytes.
    layout : tuple
        Offset in bytes, shape, strides, dtype.
    """

    def __init__(self, memory: Any, layout: tuple[Any, ...]) -> None:
        self._made_of = (memory, *layout)

    def __reduce__(self) -> tuple[Any, ...]:
        return _view, self._made_of


def _view(memory: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], dtype: Any) -> Any:
    """Return an array view of `memory` from the byte `offset` on."""
    import numpy as np

    return np.ndarray(shape, dtype, memory, offset, strides)


def _byte_bounds(array: Any) -> tuple[int, int]:
    """Return the addresses of the first byte of an array and of the byte after its last."""
    reach = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
    start = _address(array)
    return start + sum(min(0, way) for way in reach), start + sum(max(0, way) for way in reach) + array.itemsize


def _owner(array: Any) -> Any:
    """Return the array that owns the memory of `array`."""
    while _is_plain_array(array.base):
        array = array.base
    return array


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _are_views(first: Any, second: Any) -> bool:
    return _is_plain_array(first) and _is_plain_array(second) and _overlap(first, second)


def _is_plain_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject


def _overlap(first: Any, second: Any) -> bool:
    """Tell whether two arrays share memory whose owner is contiguous, and so can be stored."""
    owner = _owner(first)
    if owner is not _owner(second) or not (owner.flags.c_contiguous or owner.flags.f_contiguous):
        return False
    numpy = sys.modules["numpy"]
    try:
        return bool(numpy.shares_memory(first, second, max_work=_MAX_WORK))
    except numpy.exceptions.TooHardError:
        return True


def _is_unchanging(value: Any) -> bool:
    """Tell whether a value and its members are immutable."""
    if isinstance(value, tuple | frozenset):
        return all(map(_is_unchanging, value))
    return isinstance(value, _UNCHANGING) or _is_of(value, _UNCHANGING_OF_LIBRARIES)


def _parts(value: Any) -> dict[int, Any]:
    """Return the objects that pickling `value` visits, by id; the mapping keeps them alive, so that ids stay unique."""
    if _has_no_parts(value):
        return {id(value): value}
    from jupyter_pipelines.storage.serializers.pickle_buffers import DiscardingFile

    pickler = _parts_pickler()(DiscardingFile(), lambda _: False)
    try:
        pickler.dump(value)
    except Exception:  # noqa: BLE001 - storing the value raises it again
        return {}
    return {number: part for number, (_, part) in pickler.memo.copy().items()}


@functools.cache
def _parts_pickler() -> Any:
    """Return the class of a pickler that does not descend into immutable values."""
    from jupyter_pipelines.storage.serializers.pickles import repeatable_pickler

    class PartsPickler(repeatable_pickler()):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            # This pickle is never read: `id` stands for any callable that is pickled by name.
            if isinstance(value, types.FunctionType):
                return id, (tuple(map(_cell_contents, value.__closure__ or ())),)
            if isinstance(value, type) or _is_of(value, _UNCHANGING_OF_LIBRARIES + _WITHOUT_PARTS):
                return id, ()
            return super().reducer_override(value)

    return PartsPickler


def _cell_contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return None


def _has_no_parts(value: Any) -> bool:
    """Tell whether no member of `value` can be shared with another value."""
    if _is_of(value, _WITHOUT_PARTS):
        return True
    if _is_of(value, (("numpy", "ndarray"),)):
        return not value.dtype.hasobject
    if type(value) in (list, set):
        return _are_plain(value)
    return type(value) is dict and _are_plain(value.values())


def _are_plain(elements: Iterable[Any]) -> bool:
    return set(map(type, elements)) <= set(_PLAIN)


def _share(first: Mapping[int, Any], second: Mapping[int, Any]) -> bool:
    """Tell whether two values share a mutable object that is not a constant of a library."""
    common = {number: first[number] for number in first.keys() & second.keys()}
    common = {number: part for number, part in common.items() if _can_change(part)}
    if not common:
        return False
    constants = _constants(common, {type(part) for parts in (first, second) for part in parts.values()})
    for constant in constants:
        for number in _parts(constant).keys() | {id(constant)}:
            common.pop(number, None)
    return bool(common)


def _constants(common: Mapping[int, Any], classes: Iterable[type]) -> list[Any]:
    """Return those of the common objects that are attributes of library modules and classes."""
    holders = {holder for cls in classes for holder in cls.__mro__ if not _is_own(sys.modules.get(holder.__module__))}
    modules = [module for module in list(sys.modules.values()) if not _is_own(module)]
    kept: dict[int, Any] = {}
    for holder in (*holders, *modules):
        for value in list(getattr(holder, "__dict__", {}).values()):
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            for candidate in (value, *list(inner)):
                if id(candidate) in common:
                    kept[id(candidate)] = candidate
    return list(kept.values())


def _is_own(module: Any) -> bool:
    """Tell whether a module is the notebook or one of the user's, not of Python or an installed package."""
    if module is None or getattr(module, "__name__", "") == "__main__":
        return True
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and "-packages" not in file and not file.startswith((sys.prefix, sys.base_prefix))


def _can_change(part: Any) -> bool:
    if isinstance(part, (*_UNCHANGING, tuple, frozenset)) or _is_of(part, _UNCHANGING_OF_LIBRARIES):
        return False
    try:
        # A __reduce_ex__ that returns a text is the name of a global, which exists once in each process.
        return copy.copy(part) is not part and not isinstance(part.__reduce_ex__(4), str)
    except Exception:  # noqa: BLE001 - any type of any library may fail in any way
        return True


def _is_of(value: Any, kinds: Iterable[tuple[str, str]]) -> bool:
    """Tell whether `value` is of one of these types, without importing their libraries."""
    present = (getattr(sys.modules.get(module), name, None) for module, name in kinds)
    return isinstance(value, tuple(kind for kind in present if isinstance(kind, type)))
