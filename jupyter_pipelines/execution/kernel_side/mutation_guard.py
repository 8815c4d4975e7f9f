"""The mutation guard: it notices when a step changes an input that it does not declare as an output.

Runs inside the kernel, so it imports the standard library only; what knows a library is asked only when that library
is loaded already. A fingerprint covers what a value *is*, not how it is kept: consolidating the blocks of a data
frame, filling a cached property or sorting the indices of a sparse matrix changes nothing. What has no fingerprint is
not checked.

Memory that a stored file is mapped to is not read: where it is counts instead of what is in it, as long as the kernel
says that nothing was written to it. Only where that, or anything else, looks different is the input loaded once more
and compared.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_DEEPEST = 20
_LARGE = 1 << 14
_PARTS = ("_data", "_mask", "_ndarray")
"""What pandas calls the arrays of NumPy in its own: numbers and which are missing, moments, codes."""
_STABLE_LIBRARIES = frozenset({"builtins", "numpy", "pandas", "polars", "scipy", "sklearn"})
_CHANGING_LIBRARIES = frozenset({"matplotlib", "plotly", "bokeh"})
"""Libraries whose objects change when they are merely looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RememberedInput:
    """What an input looked like: its fingerprint, in which `regions` stand by their addresses, and how to load it."""

    value: Callable[[], Any]
    print: bytes
    regions: tuple[Any, ...] = ()
    again: Callable[[], Any] | None = None


class MutationGuard:
    """Detects inputs that changed since they were loaded.

    It holds on to a value only where Python cannot refer to one weakly: an input that the step has dropped costs no
    memory.
    """

    def __init__(self) -> None:
        self._known: dict[str, _RememberedInput] = {}

    def remember(self, name: str, value: Any, reload: Callable[[], Any] | None = None, *, keep: bool = False) -> None:
        """Remember `value`, if it can be changed at all; `reload` loads it once more, `keep` holds on to it."""
        if isinstance(value, _SCALARS):
            return
        ink = _FingerprintHasher(_regions() if reload else ())
        digest = _written(ink, value)
        if digest is not None:
            regions = tuple(ink.met)
            reference = (lambda: value) if keep else _reference(value)
            self._known[name] = _RememberedInput(value=reference, print=digest, regions=regions, again=reload)

    def knows(self, name: str) -> bool:
        """Tell whether a change of the input `name` would be noticed."""
        return name in self._known

    def changed(self) -> dict[str, bool]:
        """Return the names of inputs that look different now, and for each whether that is sure to be a change.

        It is not sure where an unknown library may have filled a cache of its own.
        """
        now = {name: (known.value(), known) for name, known in self._known.items()}
        return {name: _is_known(value) for name, (value, known) in now.items() if _differs(value, known)}


def fingerprint(value: Any) -> bytes | None:
    """Return a digest of what a value is; None when it has none."""
    return _written(_FingerprintHasher(), value)


def _written(ink: _FingerprintHasher, value: Any) -> bytes | None:
    try:
        _feed(ink, value, 0)
    except Exception:  # noqa: BLE001 - any type of any library may fail in any way; that is no reason to fail a step
        return None
    return ink.digest()


class _FingerprintHasher:
    """Hashes a value: it takes bytes, or the address of mapped memory that is known not to change.

    Parameters
    ----------
    regions : tuple of Region
        Memory that is hashed by its address.

    Attributes
    ----------
    met : dict of Region to None
        The regions that were met.
    """

    def __init__(self, regions: tuple[Any, ...] = ()) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.regions = regions
        self.met: dict[Any, None] = {}

    def __call__(self, data: Any) -> None:
        """Take bytes."""
        large = memoryview(data).nbytes >= _LARGE and _fast()
        self._hash.update(large(data).digest() if large else data)

    def place(self, address: int, size: int) -> bool:
        """Take memory by its address, if it lies in one of the regions; tell whether it does."""
        region = next((candidate for candidate in self.regions if candidate.holds(address, size)), None)
        if region is not None:
            self.met[region] = None
            self._hash.update(f"at {address} {size}\0".encode())
        return region is not None

    def digest(self) -> bytes:
        """Return the digest of what was taken."""
        return self._hash.digest()


@functools.cache
def _fast() -> Any:
    """Return a hash for what is large; None where there is none that is faster than Python's own."""
    try:
        from blake3 import blake3
    except ImportError:
        return None
    return blake3


def _regions() -> tuple[Any, ...]:
    mapped = sys.modules.get("jupyter_pipelines.storage.serializers.memory_map")
    return mapped.regions() if mapped else ()


def _is_known(value: Any) -> bool:
    """Tell whether a value is of Python, of a library without caches in its objects, or of a class of the user."""
    name = type(value).__module__
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return name.partition(".")[0] in _STABLE_LIBRARIES or "site-packages" not in file


def _reference(value: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _differs(value: Any, known: _RememberedInput) -> bool:
    if value is None:
        return False
    if not known.regions:
        return fingerprint(value) not in (None, known.print)
    from jupyter_pipelines.storage.serializers import memory_map

    regions = tuple(region for region in known.regions if region in memory_map.regions())
    looks_the_same = _written(_FingerprintHasher(regions), value) == known.print
    if looks_the_same and memory_map.unwritten_regions(regions) == set(known.regions):
        return False
    return _differs_from_stored(value, known.again)


def _differs_from_stored(value: Any, reload: Callable[[], Any] | None) -> bool:
    """Compare a value with what is stored."""
    try:
        stored = fingerprint(reload()) if reload else None
    except Exception:  # noqa: BLE001 - the worker that staged it checks that it is still there
        return False
    return stored is not None and fingerprint(value) not in (None, stored)


def _feed(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    """Feed a tag that tells types apart, then the content."""
    if depth > _DEEPEST or type(value).__module__.partition(".")[0] in _CHANGING_LIBRARIES:
        raise TypeError
    ink(f"{type(value).__module__}.{type(value).__qualname__}\0".encode())
    for module, name, feed in _FEEDERS:
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(value, kind):
            feed(ink, value, depth)
            return
    _feed_pickle(ink, value, depth)


def _feed_scalar(ink: _FingerprintHasher, value: Any, _: int) -> None:
    ink(repr(value).encode("utf-8", "surrogatepass") + b"\0")


def _feed_mapping(ink: _FingerprintHasher, value: Mapping[Any, Any], depth: int) -> None:
    ink(b"%d\0" % len(value))
    for key, item in value.items():
        _feed(ink, key, depth + 1)
        _feed(ink, item, depth + 1)


def _feed_sequence(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    ink(b"%d\0" % len(value))
    for item in value:
        _feed(ink, item, depth + 1)


def _feed_set(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    _feed_sequence(ink, sorted(value, key=repr), depth)


def _feed_array(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    ink(f"{value.dtype.str}{value.dtype.descr if value.dtype.names else ''}{value.shape}\0".encode())
    if value.dtype.hasobject:
        _feed_sequence(ink, value.ravel().tolist(), depth)
    else:
        _feed_memory(ink, value)


def _feed_memory(ink: _FingerprintHasher, value: Any) -> None:
    numpy = sys.modules["numpy"]
    is_contiguous = value.size and (value.flags.c_contiguous or value.flags.f_contiguous)
    if ink.regions and is_contiguous and ink.place(value.__array_interface__["data"][0], value.nbytes):
        ink(f"{value.strides}\0".encode())
    else:
        # As bytes, because moments have no buffers.
        ink(numpy.ascontiguousarray(value).reshape(-1).view("u1") if value.nbytes else b"")


def _feed_frame(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    _feed(ink, value.index, depth + 1)
    _feed(ink, value.columns, depth + 1)
    _feed(ink, value.attrs, depth + 1)
    for position in range(value.shape[1]):
        _feed_column(ink, value.iloc[:, position], depth)


def _feed_series(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    _feed(ink, value.index, depth + 1)
    _feed(ink, value.name, depth + 1)
    _feed_column(ink, value, depth)


def _feed_index(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    _feed(ink, list(value.names), depth + 1)
    _feed_column(ink, value, depth)


def _feed_column(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    """Feed a series or an index by its values; NumPy's numbers as they lie, the rest by pandas' own hash."""
    ink(f"{value.dtype}\0".encode())
    numpy, pandas = sys.modules["numpy"], sys.modules["pandas"]
    if isinstance(value.dtype, numpy.dtype) and not value.dtype.hasobject:
        _feed_array(ink, value.to_numpy(), depth)
        return
    if getattr(value.dtype, "categories", None) is not None:
        _feed(ink, [bool(value.dtype.ordered), value.dtype.categories], depth + 1)
    if ink.regions and _feed_parts(ink, value.array, depth):
        return
    try:
        hashes = pandas.util.hash_pandas_object(value, index=False)
    except TypeError:
        _feed_sequence(ink, value.tolist(), depth)
    else:
        _feed_array(ink, numpy.asarray(hashes), depth)


def _feed_parts(ink: _FingerprintHasher, array: Any, depth: int) -> bool:
    """Feed a column of pandas by the arrays that it is made of, some of which may lie in mapped memory."""
    chunks = getattr(getattr(array, "_pa_array", None), "chunks", ())
    if chunks and not any(hasattr(chunk, "dictionary") for chunk in chunks):
        for chunk in chunks:
            ink(f"{chunk.type} {len(chunk)} {chunk.offset}\0".encode())
            for buffer in chunk.buffers():
                if buffer is not None and not ink.place(buffer.address, buffer.size):
                    ink(buffer)
        return True
    parts = [part for name in _PARTS if (part := getattr(array, name, None)) is not None]
    for part in parts:
        _feed(ink, part, depth + 1)
    return bool(parts)


def _feed_sparse(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    """Feed a matrix in canonical form: reading one may sort its indices."""
    value = value.tocsr(copy=True)
    value.sum_duplicates()
    for part in (value.shape, value.indptr, value.indices, value.data):
        _feed(ink, part, depth + 1)


def _feed_tree(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    """Feed a search tree of scikit-learn, which counts how often it was asked."""
    for part in value.get_arrays():
        _feed(ink, part, depth + 1)


def _feed_polars(ink: _FingerprintHasher, value: Any, depth: int) -> None:
    _feed(ink, [str(column) for column in value.schema.items()], depth + 1)
    _feed_array(ink, value.hash_rows(seed=0).to_numpy(), depth)


def _feed_pickle(ink: _FingerprintHasher, value: Any, _: int) -> None:
    _FingerprintPickler(ink).dump(value)


class _DigestSink(io.RawIOBase):
    """A file that goes into a digest, so that no copy of the value is made."""

    def __init__(self, ink: _FingerprintHasher) -> None:
        super().__init__()
        self._ink = ink

    def write(self, data: Any) -> int:
        self._ink(data)
        return memoryview(data).nbytes

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Take the memory of an array, of which the pickle would hold a copy."""
        view = buffer.raw()
        self._ink(b"%d\0" % view.nbytes)
        if not self._ink.regions or not self._ink.place(_address(view), view.nbytes):
            self._ink(view)
        return False


def _address(view: memoryview) -> int:
    numpy = sys.modules.get("numpy")
    return int(numpy.frombuffer(view, "u1").__array_interface__["data"][0]) if numpy and view.nbytes else -1


class _FingerprintPickler(pickle.Pickler):
    """Pickles what an object is, without its caches; data in it gets the fingerprint of its own kind."""

    def __init__(self, ink: _FingerprintHasher) -> None:
        sink = _DigestSink(ink)
        super().__init__(sink, protocol=5, buffer_callback=sink.take)
        self._ink = ink

    def reducer_override(self, obj: Any) -> Any:
        for module, name, feed in _INSIDE_OBJECTS:
            kind = getattr(sys.modules.get(module), name, None)
            if kind is not None and isinstance(obj, kind):
                return bytes, (self._digest_of(feed, obj),)
        if isinstance(obj, type) or not _caches(obj):
            return NotImplemented
        return _without(obj.__reduce_ex__(5), _caches(obj))

    def _digest_of(self, feed: Any, value: Any) -> bytes:
        ink = _FingerprintHasher(self._ink.regions)
        feed(ink, value, 0)
        self._ink.met |= ink.met
        return ink.digest()


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
    state = {name: attribute for name, attribute in reduced[2].items() if name not in names}
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
_INSIDE_OBJECTS = tuple(feeder for feeder in _LIBRARIES if feeder[1] != "ndarray")
