"""Pickles: the last resort for values that no other serializer supports, because reading one runs code.

Functions and classes of the notebook are pickled by value, so that steps that do not define them can read them. Pickles
are repeatable as far as possible, so that equal results give equal bytes: code objects have neither the file name of
the kernel nor a first line, and a class has an id made of its definition or content instead of a random one. Not
repeatable are sets of texts (their order depends on PYTHONHASHSEED) and the identity of equal texts.

If the reading kernel has a class with the same id, it is used, so that ``isinstance`` and members of an ``Enum`` behave
as in the notebook; see :mod:`jupyter_pipelines.storage.serializers.notebook_classes`.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import io
import operator
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, TypeVar

from jupyter_pipelines.storage.serializers import memory_map, notebook_classes, pickle_buffers
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue

PROTOCOL = 5
_FILE_NAME = "<step>"
_PLACEHOLDER = "0" * 32
# SHORT_BINUNICODE of the module name `__main__`, as protocol 4 and later write it.
_NOTEBOOK = b"\x8c\x08__main__"
# Longer writes are the data of arrays, in which the name of a module is not to be searched.
_SEARCHED_BYTES = 1 << 20
_OPEN_FILE_TYPES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)
_LRU_CACHE_TYPE = type(functools.lru_cache(int))
# Globals of this package that existing pickles refer to by an earlier module and name.
_RENAMED_GLOBALS = {
    ("jupyter_pipelines.storing.serializers.objects", "_wrap"): (__name__, "_wrap"),
    ("jupyter_pipelines.pipeline.foreach", "Gathered"): ("jupyter_pipelines.pipeline.foreach", "GatheredResults"),
}


class PickleSerializer:
    """Anything that cloudpickle can pickle; functions and classes of the notebook are stored by value."""

    name = "pickle"
    suffix = ".pkl"

    def accepts(self, value: Any) -> bool:  # noqa: ARG002 - the protocol has it
        """Return True: whether it can be pickled is known when it is tried."""
        return True

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the pickle; large arrays are written from their own memory, without a copy."""
        writer = pickle_buffers.BufferedPickleWriter(file)
        repeatable_pickler()(writer, writer.take).dump(value)
        writer.finish()

    def read(self, path: Path) -> Any:
        """Return the object in `path`; this runs code. Large arrays in it are mapped."""
        return self._load(path, strict=False)

    def read_in_step(self, path: Path) -> Any:
        """Return the object in `path`, with the classes of the notebook that the kernel of the step defines.

        Raises
        ------
        ClassMismatch
            A class of the notebook differs from the stored one.
        """
        return self._load(path, strict=True)

    def _load(self, path: Path, *, strict: bool) -> Any:
        file, buffers = pickle_buffers.split_buffers(memory_map.read_memory(path))
        return _NotebookUnpickler(file, buffers, strict=strict).load()


class JoblibSerializer:
    """Pickles made by joblib, on request: for programs that expect its files."""

    name = "joblib"
    suffix = ".joblib"

    def accepts(self, value: Any) -> bool:  # noqa: ARG002 - the protocol has it
        """Return True: whether it can be pickled is known when it is tried."""
        return True

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the pickle, uncompressed."""
        import joblib

        watched_file = _NotebookNameDetector(file)
        joblib.dump(value, watched_file, protocol=PROTOCOL)
        if watched_file.names_the_notebook:
            raise UnsupportedValue(
                "it has functions or classes of the notebook, which only the default format takes along"
            )

    def read(self, path: Path) -> Any:
        """Return the object in `path`; this runs code."""
        import joblib

        return joblib.load(path)


class _NotebookNameDetector(io.BufferedIOBase):
    """A file that forwards bytes and detects whether they contain the name of the module ``__main__``."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = b""
        self.names_the_notebook = False

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Write `data`."""
        seen = self._end + bytes(memoryview(data)[:_SEARCHED_BYTES])
        self.names_the_notebook = self.names_the_notebook or _NOTEBOOK in seen
        # The name may lie across two writes.
        self._end = seen[-len(_NOTEBOOK) :]
        return self._file.write(data)


class _NotebookUnpickler(pickle.Unpickler):
    """An unpickler that uses existing classes of the notebook instead of creating copies of them.

    Parameters
    ----------
    file : BinaryIO
        The pickle.
    buffers : list of memoryview
        Its buffers.
    strict : bool
        The reader is a step: stored class attributes are set, and a class that differs is an error.
    """

    def __init__(self, file: BinaryIO, buffers: list[memoryview], *, strict: bool) -> None:
        super().__init__(file, buffers=buffers)
        self._present: set[type] = set()
        self._strict = strict

    def find_class(self, module: str, name: str) -> Any:
        """Return the global of a pickle; cloudpickle's constructors of classes are wrapped."""
        module, name = _RENAMED_GLOBALS.get((module, name), (module, name))
        resolved = super().find_class(module, name)
        if module != "cloudpickle.cloudpickle":
            return resolved
        if name in ("_make_skeleton_class", "_make_skeleton_enum"):
            return lambda *args: self._present_class(args[-2]) or resolved(*args)
        if name == "_class_setstate":
            return lambda cls, state: self._with_state(cls, state) if cls in self._present else resolved(cls, state)
        if name == "_make_typevar":
            return lambda *args: _present_type_variable(args[0]) or resolved(*args)
        return resolved

    def _present_class(self, class_id: str) -> type | None:
        """Return the class with an id, if the notebook has defined it."""
        cls = notebook_classes.present_class(class_id, strict=self._strict)
        if cls is not None:
            self._present.add(cls)
        return cls

    def _with_state(self, cls: type, state: Any) -> type:
        if self._strict:
            notebook_classes.take_attributes(cls, state, _pickled)
        return cls


def _present_type_variable(name: str) -> Any:
    variable = getattr(sys.modules.get("__main__"), name, None)
    return variable if isinstance(variable, TypeVar) and variable.__module__ == "__main__" else None


@functools.cache
def repeatable_pickler() -> Any:
    """Return the class of the pickler; created at first use, because the import of cloudpickle is slow."""
    import cloudpickle

    class RepeatablePickler(cloudpickle.Pickler):  # type: ignore[misc]
        dispatch_table: ClassVar[Any] = ChainMap({types.CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)

        def __init__(self, file: BinaryIO, take: Callable[[pickle.PickleBuffer], bool] | None = None) -> None:
            super().__init__(file, protocol=PROTOCOL, buffer_callback=take)
            self._unwrapped: set[int] = set()

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, _OPEN_FILE_TYPES):
                # cloudpickle would read it to its end and store a text in its place.
                raise TypeError(f"cannot pickle an open file ({type(value).__name__})")
            # Before cloudpickle, which pickles these by value: members of an Enum would lose their identity.
            by_name = _reduce_by_name(value)
            if by_name is not None:
                return by_name
            if isinstance(value, type):
                _assign_class_id(value)
                return _without_definition_site(super().reducer_override(value))
            if isinstance(value, _LRU_CACHE_TYPE) and self._is_new(value):
                return _wrap, (value.__wrapped__, *value.cache_parameters().values())
            return super().reducer_override(value)

        def _function_getnewargs(self, function: Any) -> Any:
            made_of = super()._function_getnewargs(function)
            made_of[1].pop("__file__", None)  # its globals say where a script lies
            return made_of

        def _is_new(self, value: Any) -> bool:
            """Tell whether a cached function of the notebook is visited for the first time."""
            is_new = value.__module__ == "__main__" and id(value) not in self._unwrapped
            self._unwrapped.add(id(value))
            return is_new

    return RepeatablePickler


def _reduce_by_name(value: Any) -> Any:
    """Return how to restore an Enum member or a generic model from its class; None for anything else."""
    if isinstance(value, enum.Enum) and type(value).__module__ == "__main__" and _is_named(value):
        return getattr, (type(value), value.name)
    if isinstance(value, TypeVar) and value.__module__ == "__main__":
        _assign_id(value, f"type variable {value.__name__}")
    if isinstance(value, type) and value.__module__ == "__main__":
        origin = notebook_classes.generic_origin(value)
        return None if origin is None else (operator.getitem, origin)
    return None


def _is_named(member: enum.Enum) -> bool:
    """Tell whether a member of an enumeration is one of those that it lists, not a combination of flags."""
    return type(member).__members__.get(str(member.name)) is member


def _reduce_code(code: types.CodeType) -> Any:
    from cloudpickle import cloudpickle as inner

    plain = code.replace(co_filename=_FILE_NAME, co_firstlineno=1)
    return inner._code_reduce(plain)  # noqa: SLF001 - it has no public name


def _wrap(function: Any, maxsize: int | None, typed: bool) -> Any:
    """Return a function with a new lru_cache; a cached function itself pickles only by its name in the notebook."""
    return functools.lru_cache(maxsize, typed)(function)


def _without_definition_site(reduced: Any) -> Any:
    """Remove attributes from the state of a class that depend on where and when it was used.

    These are its first line number (Python 3.13 and later), and the slot names that copyreg caches in it.
    """
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    if isinstance(state, tuple) and state and isinstance(state[0], dict):
        state[0].pop("__firstlineno__", None)
        state[0].pop("__slotnames__", None)
    return reduced


def _assign_class_id(cls: type) -> None:
    """Register a class of the notebook with cloudpickle under an id made of its definition, instead of a random one."""
    from cloudpickle import cloudpickle as inner

    by_class = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", None)
    by_reference = getattr(inner, "_should_pickle_by_reference", None)
    if by_class is None or by_reference is None or cls in by_class or by_reference(cls):
        return
    class_id = notebook_classes.definition_id(cls)
    if class_id:
        _assign_id(cls, class_id)
        return
    # A class that refers to itself is visited again while it is pickled; the placeholder ends the recursion.
    by_class[cls] = _PLACEHOLDER
    try:
        content = _pickled(cls)
    finally:
        del by_class[cls]
    _assign_id(cls, hashlib.sha256(content).hexdigest()[:32])


def _pickled(value: Any) -> bytes:
    content = io.BytesIO()
    repeatable_pickler()(content).dump(value)
    return content.getvalue()


def _assign_id(value: Any, name: str) -> None:
    """Register a class or type variable with cloudpickle under the id `name`."""
    from cloudpickle import cloudpickle as inner

    by_class = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", None)
    by_id = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_ID", None)
    if by_class is not None and by_id is not None and value not in by_class:
        by_class[value] = name
        by_id.setdefault(name, value)
