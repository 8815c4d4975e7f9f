"""The mutation guard: it notices when a step changes an input that it does not declare as an output.

Runs inside the kernel, so it imports the standard library only; what knows a library is asked only when that library
is loaded already. A fingerprint covers what a value *is*, not how it is kept: consolidating the blocks of a data
frame, filling a cached property or sorting the indices of a sparse matrix changes nothing. What has no fingerprint is
not checked.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_DEEPEST = 20
_STILL = frozenset({"builtins", "numpy", "pandas", "polars", "scipy", "sklearn"})
_RESTLESS = frozenset({"matplotlib", "plotly", "bokeh"})
"""Libraries whose objects change when they are merely looked at."""


class Guard:
    """Remembers what inputs looked like when they were loaded.

    It holds on to a value only where Python cannot refer to one weakly: an input that the step has dropped costs no
    memory.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Callable[[], Any], bytes]] = {}

    def remember(self, name: str, value: Any) -> None:
        """Remember `value`, if it can be changed at all."""
        if isinstance(value, _SCALARS):
            return
        found = fingerprint(value)
        if found is not None:
            self._known[name] = (_reference(value), found)

    def changed(self) -> dict[str, bool]:
        """Return the names of those that look different now, and for each whether that is sure to be a change.

        It is not where a library that we know nothing of may have filled a cache of its own.
        """
        now = {name: (value(), before) for name, (value, before) in self._known.items()}
        return {name: _is_known(value) for name, (value, before) in now.items() if _differs(value, before)}


def fingerprint(value: Any) -> bytes | None:
    """Return a digest of what a value is; None when it has none."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        _feed(digest.update, value, 0)
    except Exception:  # noqa: BLE001 - any type of any library may fail in any way; that is no reason to fail a step
        return None
    return digest.digest()


def _is_known(value: Any) -> bool:
    """Tell whether a value is of Python, of a library whose objects hold still, or of a class of the user's own."""
    name = type(value).__module__
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return name.partition(".")[0] in _STILL or "site-packages" not in file


def _reference(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _differs(value: Any, before: bytes) -> bool:
    return value is not None and fingerprint(value) not in (None, before)


Update = Callable[[Any], object]


def _feed(update: Update, value: Any, depth: int) -> None:
    """Feed a tag that tells types apart, then the content."""
    if depth > _DEEPEST or type(value).__module__.partition(".")[0] in _RESTLESS:
        raise TypeError
    update(f"{type(value).__module__}.{type(value).__qualname__}\0".encode())
    for module, name, feed in _FEEDERS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            feed(update, value, depth)
            return
    _feed_pickle(update, value, depth)


def _feed_scalar(update: Update, value: Any, _: int) -> None:
    update(repr(value).encode("utf-8", "surrogatepass") + b"\0")


def _feed_mapping(update: Update, value: Mapping[Any, Any], depth: int) -> None:
    update(b"%d\0" % len(value))
    for key, item in value.items():
        _feed(update, key, depth + 1)
        _feed(update, item, depth + 1)


def _feed_sequence(update: Update, value: Any, depth: int) -> None:
    update(b"%d\0" % len(value))
    for item in value:
        _feed(update, item, depth + 1)


def _feed_set(update: Update, value: Any, depth: int) -> None:
    _feed_sequence(update, sorted(value, key=repr), depth)


def _feed_array(update: Update, value: Any, depth: int) -> None:
    update(f"{value.dtype.str}{value.dtype.descr if value.dtype.names else ''}{value.shape}\0".encode())
    if value.dtype.hasobject:
        _feed_sequence(update, value.ravel().tolist(), depth)
    else:
        numpy = sys.modules["numpy"]
        update(memoryview(numpy.ascontiguousarray(value)).cast("B") if value.size else b"")


def _feed_frame(update: Update, value: Any, depth: int) -> None:
    _feed(update, value.index, depth + 1)
    _feed(update, value.columns, depth + 1)
    _feed(update, value.attrs, depth + 1)
    for position in range(value.shape[1]):
        _feed_column(update, value.iloc[:, position], depth)


def _feed_series(update: Update, value: Any, depth: int) -> None:
    _feed(update, value.index, depth + 1)
    _feed(update, value.name, depth + 1)
    _feed_column(update, value, depth)


def _feed_index(update: Update, value: Any, depth: int) -> None:
    _feed(update, list(value.names), depth + 1)
    _feed_column(update, value, depth)


def _feed_column(update: Update, value: Any, depth: int) -> None:
    """Feed a series or an index by its values; NumPy's numbers as they lie, the rest by pandas' own hash."""
    update(f"{value.dtype}\0".encode())
    numpy, pandas = sys.modules["numpy"], sys.modules["pandas"]
    if isinstance(value.dtype, numpy.dtype) and not value.dtype.hasobject:
        _feed_array(update, value.to_numpy(), depth)
        return
    try:
        hashes = pandas.util.hash_pandas_object(value, index=False)
    except TypeError:
        _feed_sequence(update, value.tolist(), depth)
    else:
        _feed_array(update, numpy.asarray(hashes), depth)


def _feed_sparse(update: Update, value: Any, depth: int) -> None:
    """Feed a matrix in canonical form: reading one may sort its indices."""
    value = value.tocsr(copy=True)
    value.sum_duplicates()
    for part in (value.shape, value.indptr, value.indices, value.data):
        _feed(update, part, depth + 1)


def _feed_tree(update: Update, value: Any, depth: int) -> None:
    """Feed a search tree of scikit-learn, which counts how often it was asked."""
    for part in value.get_arrays():
        _feed(update, part, depth + 1)


def _feed_polars(update: Update, value: Any, depth: int) -> None:
    _feed(update, [str(one) for one in value.schema.items()], depth + 1)
    _feed_array(update, value.hash_rows(seed=0).to_numpy(), depth)


def _feed_pickle(update: Update, value: Any, _: int) -> None:
    _Pickler(_Sink(update)).dump(value)


class _Sink(io.RawIOBase):
    """A file that goes into a digest, so that no copy of the value is made."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self._update = update

    def write(self, data: Any) -> int:
        self._update(bytes(data) if isinstance(data, pickle.PickleBuffer) else data)
        return memoryview(data).nbytes


class _Pickler(pickle.Pickler):
    """Pickles what an object is, without its caches; data in it gets the fingerprint of its own kind."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=5)

    def reducer_override(self, obj: Any) -> Any:
        for module, name, feed in _INSIDE_OBJECTS:
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None and isinstance(obj, kind):
                return bytes, (_digest_of(feed, obj),)
        if isinstance(obj, type) or not _caches(obj):
            return NotImplemented
        return _without(obj.__reduce_ex__(5), _caches(obj))


def _digest_of(feed: Any, value: Any) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    feed(digest.update, value, 0)
    return digest.digest()


def _caches(value: Any) -> set[str]:
    """Return the names of the attributes that reading an object fills: cached properties, and what is named a cache."""
    state = getattr(value, "__dict__", None)
    names = set(state) if isinstance(state, dict) else set()
    return {name for name in names if _is_cache(type(value), str(name))}


def _is_cache(kind: type, name: str) -> bool:
    named_so = name.startswith("_") and "cache" in name.lower()
    return named_so or isinstance(getattr(kind, name, None), functools.cached_property)


def _without(reduced: Any, names: set[str]) -> Any:
    if not isinstance(reduced, tuple) or len(reduced) < 3 or not isinstance(reduced[2], dict):
        return reduced
    state = {name: one for name, one in reduced[2].items() if name not in names}
    return (*reduced[:2], state, *reduced[3:])


_LIBRARIES: tuple[tuple[str, str, Any], ...] = (
    ("numpy", "ndarray", _feed_array),
    ("pandas", "DataFrame", _feed_frame),
    ("pandas", "Series", _feed_series),
    ("pandas", "Index", _feed_index),
    ("polars", "DataFrame", _feed_polars),
    ("scipy.sparse", "spmatrix", _feed_sparse),
    ("scipy.sparse", "sparray", _feed_sparse),
    *(("sklearn.neighbors", name, _feed_tree) for name in ("KDTree", "BallTree")),
)
_PLAIN: tuple[tuple[str, str, Any], ...] = (
    *(("builtins", kind.__name__, _feed_scalar) for kind in _SCALARS[1:]),
    ("builtins", "dict", _feed_mapping),
    ("builtins", "list", _feed_sequence),
    ("builtins", "tuple", _feed_sequence),
    ("builtins", "set", _feed_set),
    ("builtins", "frozenset", _feed_set),
)
_FEEDERS = (*_PLAIN, *_LIBRARIES)
_INSIDE_OBJECTS = tuple(one for one in _LIBRARIES if one[1] != "ndarray")
