"""Whatever else Python can pickle: the last resort, because reading it runs code.

Pickles are made as repeatable as pickling is, so that a step that comes to the same result stores the same bytes:
functions and classes of the notebook do not carry the file name of the kernel that compiled them, nor a random id.
Not repeatable are sets of texts (their order depends on PYTHONHASHSEED) and which equal texts are one object.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import types
from collections import ChainMap
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

PROTOCOL = 5
_FILE_NAME = "<step>"
_PLACEHOLDER = "0" * 32


class Pickle:
    """Anything that cloudpickle can pickle; functions and classes of the notebook are stored by value."""

    name = "pickle"
    suffix = ".pkl"

    def accepts(self, value: Any) -> bool:  # noqa: ARG002 - the protocol has it
        """Return True: whether it can be pickled is known when it is tried."""
        return True

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the pickle."""
        _pickler()(file).dump(value)

    def read(self, path: Path) -> Any:
        """Return the object in `path`; this runs code."""
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 - a store that others can write to is not opened


class Joblib:
    """The same by joblib, on request: for programs that expect its files."""

    name = "joblib"
    suffix = ".joblib"

    def accepts(self, value: Any) -> bool:  # noqa: ARG002 - the protocol has it
        """Return True: whether it can be pickled is known when it is tried."""
        return True

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the pickle, uncompressed."""
        import joblib

        joblib.dump(value, file, protocol=PROTOCOL)

    def read(self, path: Path) -> Any:
        """Return the object in `path`; this runs code."""
        import joblib

        return joblib.load(path)


@cache
def _pickler() -> Any:
    """Return the class of our pickler; made on first use, because cloudpickle takes its time to import."""
    import cloudpickle
    from cloudpickle import cloudpickle as inner

    class Repeatable(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)

        def __init__(self, file: BinaryIO) -> None:
            super().__init__(file, protocol=PROTOCOL)

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type):
                _name_class(value, inner)
            return super().reducer_override(value)

    return Repeatable


def _reduce_code(code: types.CodeType) -> Any:
    from cloudpickle import cloudpickle as inner

    return inner._code_reduce(code.replace(co_filename=_FILE_NAME))  # noqa: SLF001 - it has no public name


def _name_class(value: type, inner: Any) -> None:
    """Give a class of the notebook an id made of its content, where cloudpickle would draw a random one."""
    by_class = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", None)
    by_id = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_ID", None)
    by_reference = getattr(inner, "_should_pickle_by_reference", None)
    if by_class is None or by_id is None or by_reference is None or value in by_class or by_reference(value):
        return
    by_class[value] = _PLACEHOLDER
    try:
        content = io.BytesIO()
        _pickler()(content).dump(value)
    except BaseException:
        del by_class[value]
        raise
    name = hashlib.sha256(content.getvalue()).hexdigest()[:32]
    by_class[value] = name
    by_id.setdefault(name, value)
