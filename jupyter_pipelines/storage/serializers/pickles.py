"""Pickles: the last resort for values that no other serializer supports, because reading one runs code.

Functions and classes of the notebook are pickled by value, so that a step can read what it has no code for. Pickles are
made as repeatable as pickling is, so that a step that comes to the same result stores the same bytes: code carries
neither the file name of the kernel that compiled it nor its first line, and a class has an id made of its definition
or of its content, not a random id. Not repeatable are sets of texts (their order depends on PYTHONHASHSEED) and which
equal texts are one object.

By the id a class is recognised, too: where the reading kernel has the same class already, it is used, so that
``isinstance`` and members of an ``Enum`` mean what they say; see
:mod:`jupyter_pipelines.storage.serializers.notebook_classes`.
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
# How pickles since protocol 4 write the name of the module `__main__`; long stretches of bytes are arrays.
_NOTEBOOK = b"\x8c\x08__main__"
_SEARCHED_BYTES = 1 << 20
_OPEN_FILE_TYPES = (io.TextIOWrapper, io.BufferedReader, io.BufferedWriter, io.BufferedRandom, io.FileIO)
_LRU_CACHE_TYPE = type(functools.lru_cache(int))
# What stored pickles call by a name that it had when they were written: module and name then, module and name now.
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
        """Write the pickle; large arrays in it go straight from where they are to the file."""
        writer = pickle_buffers.BufferedPickleWriter(file)
        repeatable_pickler()(writer, writer.take).dump(value)
        writer.finish()

    def read(self, path: Path) -> Any:
        """Return the object in `path`; this runs code. Large arrays in it are mapped."""
        return self._load(path, strict=False)

    def read_in_step(self, path: Path) -> Any:
        """Return the object in `path` in the kernel of a step, whose classes take part in it.

        Raises
        ------
        ClassMismatch
            A class of the notebook is not what it was.
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
    """A file that passes bytes on, and notices whether they name the notebook's own module."""

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
        self._end = seen[-len(_NOTEBOOK) :]
        return self._file.write(data)


class _NotebookUnpickler(pickle.Unpickler):
    """An unpickler that reuses classes of the notebook that exist already instead of making them anew.

    Parameters
    ----------
    file : BinaryIO
        The pickle.
    buffers : list of memoryview
        Its buffers.
    strict : bool
        It is read by a step: attributes of its classes change with it, and a class that differs is an error.
    """

    def __init__(self, file: BinaryIO, buffers: list[memoryview], *, strict: bool) -> None:
        super().__init__(file, buffers=buffers)
        self._present: set[type] = set()
        self._strict = strict

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names; what cloudpickle makes classes with is replaced."""
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
    """Return the class of our pickler; made on first use, because cloudpickle takes its time to import."""
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
            """Tell whether a cached function of the notebook is met for the first time, not within itself."""
            is_new = value.__module__ == "__main__" and id(value) not in self._unwrapped
            self._unwrapped.add(id(value))
            return is_new

    return RepeatablePickler


def _reduce_by_name(value: Any) -> Any:
    """Return how to get a member of an enumeration or a generic model from its class; None for anything else."""
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
    """Return a cached function of the notebook, which pickles only by a name that others do not have."""
    return functools.lru_cache(maxsize, typed)(function)


def _without_definition_site(reduced: Any) -> Any:
    """Take out of the state of a class what is not its content.

    That is the line it was defined in (Python 3.13 and later), and what copyreg notes when an instance is pickled.
    """
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    if isinstance(state, tuple) and state and isinstance(state[0], dict):
        state[0].pop("__firstlineno__", None)
        state[0].pop("__slotnames__", None)
    return reduced


def _assign_class_id(cls: type) -> None:
    """Give a class of the notebook an id made of its definition, where cloudpickle would draw a random id."""
    from cloudpickle import cloudpickle as inner

    by_class = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", None)
    by_reference = getattr(inner, "_should_pickle_by_reference", None)
    if by_class is None or by_reference is None or cls in by_class or by_reference(cls):
        return
    class_id = notebook_classes.definition_id(cls)
    if class_id:
        _assign_id(cls, class_id)
        return
    # A class that mentions itself is met again while its content is read; it needs some id by then.
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
    """Have cloudpickle know a class or a type variable by `name`."""
    from cloudpickle import cloudpickle as inner

    by_class = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", None)
    by_id = getattr(inner, "_DYNAMIC_CLASS_TRACKER_BY_ID", None)
    if by_class is not None and by_id is not None and value not in by_class:
        by_class[value] = name
        by_id.setdefault(name, value)
