"""Fingerprints of values, which show whether a value changed between two moments."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import time
import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Kind = Literal["value", "function", "class", "module"]

MOST_BYTES = 400_000_000
"""Size up to which one value is looked at."""

_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CODE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_ITERATORS = (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType, map, filter, zip, enumerate, reversed)
_DRAWN = ("matplotlib.figure", "matplotlib.axes", "matplotlib.artist", "matplotlib.lines", "matplotlib.container")
_ALIVE = ("ipywidgets.", "traitlets.", "_thread", "threading", "multiprocessing", "concurrent.", "asyncio", "socket")
_ALIVE_REASON = "is alive: a widget, thread, lock or pool"


class ValueFingerprint(NamedTuple):
    """The fingerprint of a value at one moment.

    Parameters
    ----------
    id : int
        Which object it is.
    kind : str
        What it is.
    digest : str or None
        Digest of its content; None where that cannot be determined.
    stuck : str
        Why it cannot be handed to another kernel; empty when it can.
    """

    id: int
    kind: Kind
    digest: str | None
    stuck: str = ""


class TimeBudget:
    """Time for looking at values.

    Parameters
    ----------
    seconds : float
        How much there is.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def spent(self) -> bool:
        """Whether there is none left."""
        return time.monotonic() > self._end


class _SizeLimitExceeded(Exception):
    """The value has more bytes than are looked at, or the time for it is spent."""


class _HashingFile(io.RawIOBase):
    """A file that only remembers the digest of what is written."""

    def __init__(self, budget: TimeBudget) -> None:
        self.digest = hashlib.blake2b(digest_size=16)
        self.size = 0
        self._budget = budget

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Take in `data`."""
        self.size += len(data)
        if self.size > MOST_BYTES or self._budget.spent:
            raise _SizeLimitExceeded
        self.digest.update(data)
        return len(data)


def fingerprint(value: Any, budget: TimeBudget) -> ValueFingerprint:
    """Return what `value` is like now."""
    kind = kind_of(value)
    if kind == "module":
        return ValueFingerprint(id(value), kind, "module")
    if isinstance(value, _PLAIN):
        return ValueFingerprint(id(value), kind, f"{type(value).__name__}:{hash(value)}:{str(value)[:40]!r}")
    reason = _not_transferable(value)
    if reason:
        return ValueFingerprint(id(value), kind, None, reason)
    if budget.spent:
        return ValueFingerprint(id(value), kind, None)
    return ValueFingerprint(id(value), kind, *_digest(value, kind, budget))


def kind_of(value: Any) -> Kind:
    """Return what kind of thing `value` is."""
    if isinstance(value, types.ModuleType):
        return "module"
    if isinstance(value, type):
        return "class"
    return "function" if isinstance(value, _CODE) else "value"


def _not_transferable(value: Any) -> str:
    """Return why `value` certainly cannot be handed on."""
    module = type(value).__module__ or ""
    if isinstance(value, _ITERATORS) or (type(value).__name__.endswith("_iterator") and module == "builtins"):
        return "is used up by looking at it"
    if isinstance(value, io.IOBase):
        return "is an open file"
    if type(value).__name__.endswith(("Connection", "Cursor", "Engine", "Session")):
        return "is a connection"
    if module.startswith(_DRAWN) or (module.startswith("mpl_toolkits") and hasattr(value, "figure")):
        return "is a live figure"
    return _ALIVE_REASON if module.startswith(_ALIVE) else ""


def _digest(value: Any, kind: Kind, budget: TimeBudget) -> tuple[str | None, str]:
    if kind != "value":
        return _of_code(value), ""
    file = _HashingFile(budget)
    try:
        for part in _parts(value):
            _pickle(part, file)
    except _SizeLimitExceeded:
        return None, ""
    except Exception as error:  # noqa: BLE001 - a value may raise anything when it is pickled
        return None, _unpicklable(value, error)
    return file.digest.hexdigest(), ""


def _pickle(value: Any, file: _HashingFile) -> None:
    def keep(buffer: pickle.PickleBuffer) -> None:
        try:
            file.write(buffer.raw())
        except BufferError:
            file.write(bytes(buffer))

    pickle.Pickler(file, protocol=5, buffer_callback=keep).dump(value)


def _parts(value: Any) -> Iterator[Any]:
    """Yield what a value is made of; a frame's content counts, not how its blocks lie."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and type(value) is getattr(pandas, "DataFrame", None):
        yield value.index
        yield value.columns
        for position in range(value.shape[1]):
            yield value.iloc[:, position].to_numpy()
            yield str(value.dtypes.iloc[position])
    elif pandas is not None and type(value) is getattr(pandas, "Series", None):
        yield from (value.index, value.name, value.to_numpy(), str(value.dtype))
    else:
        yield value


def _of_code(value: Any) -> str:
    """Return what a function or class keeps from call to call."""
    if isinstance(value, type):
        kept = {
            key: attribute
            for key, attribute in vars(value).items()
            if isinstance(attribute, (*_PLAIN, list, dict, set, tuple))
        }
    else:
        kept = {"defaults": getattr(value, "__defaults__", None), "own": getattr(value, "__dict__", None)}
        kept["cells"] = [_content(cell) for cell in getattr(value, "__closure__", None) or ()]
    return _short(kept)


def _content(cell: Any) -> str:
    try:
        return _short(cell.cell_contents)
    except ValueError:
        return "empty"


def _short(value: Any) -> str:
    try:
        return hashlib.blake2b(pickle.dumps(value, protocol=5), digest_size=16).hexdigest()
    except Exception:  # noqa: BLE001 - a value may raise anything when it is pickled
        return "unknown"


def _unpicklable(value: Any, error: Exception) -> str:
    error_text = f"{type(error).__name__}: {error}".splitlines()[0][:120]
    if "lambda" in error_text or "<locals>" in error_text:
        return "holds a function that was made on the spot"
    return f"cannot be pickled ({type(value).__name__}, {error_text})"
