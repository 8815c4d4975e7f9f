"""Save and load values: choose the serializer for a value, write it, read it back.

Runs in the kernel of every step and therefore imports little: of libraries, only those that the value itself has
loaded.
"""

# ruff: noqa: A002 - the word is `format` in headers, in documents and for users
from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from jupyter_pipelines import plugins
from jupyter_pipelines.errors import Diagnostic, NotStorable, PluginError, StoreError
from jupyter_pipelines.pipeline.artifacts import PATH_FORMATS, Artifact
from jupyter_pipelines.storage.blobs.digests import HashingWriter
from jupyter_pipelines.storage.files.filesystem_features import WritebackPacer
from jupyter_pipelines.storage.files.os_errors import unwritable_error, writing
from jupyter_pipelines.storage.files.stat_signature import StatSignature
from jupyter_pipelines.storage.serializers.pickle_buffers import DiscardingFile
from jupyter_pipelines.storage.serializers.protocol import (
    SaveResult,
    UnsupportedValue,
    ValueSerializer,
    split_member,
    type_name,
)

__all__ = [
    "SaveResult",
    "UnsupportedValue",
    "ValueSerializer",
    "choose",
    "get",
    "holds_code",
    "load",
    "save",
    "stores_as",
]
BY_TYPE = ("json", "bytes", "npy", "arrow", "pickle")
"""Serializers in the order in which they are tried; the last accepts everything that can be pickled."""


def get(name: str) -> ValueSerializer:
    """Return the serializer called `name`.

    Raises
    ------
    PluginError
        There is none (JP602), or its package is broken (JP601).
    """
    return cast(ValueSerializer, plugins.load("serializers", name)())


def holds_code(format: str) -> bool:
    """Tell whether values in a format refer to functions or classes by name; files and folders never do."""
    file_format, _ = split_member(format)
    if file_format in PATH_FORMATS or file_format == BY_TYPE[-1]:
        return file_format == BY_TYPE[-1]  # without importing the module of pickles, which takes long
    try:
        return bool(getattr(plugins.load("serializers", file_format), "holds_code", True))
    except PluginError:
        return True


def copy_expression(format: str, name: str) -> str:
    """Return the Python expression that copies a value of a format."""
    serializer = plugins.load("serializers", split_member(format)[0])
    return str(getattr(serializer, "copied_by", "copy.deepcopy({})")).format(name)


def choose(value: Any, format: str | None = None) -> ValueSerializer:
    """Return the serializer that is tried first for `value`.

    Raises
    ------
    NotStorable
        The requested format does not take values of this type (JP205).
    """
    return next(_candidates(value, format, "value"))


def save(value: Any, path: Path, format: str | None = None, *, name: str = "value") -> SaveResult:
    """Write `value` to the file `path`, which must not exist.

    Parameters
    ----------
    value : object
        The value.
    path : Path
        The new file.
    format : str or None
        The serializer to use; None lets the type of the value decide.
    name : str
        Name of the output, for messages.

    Raises
    ------
    NotStorable
        No serializer supports it (JP205); `path` does not exist afterwards.
    PluginError
        There is no such format (JP602), or its package is broken (JP601).
    StoreError
        The disk is full (JP403), or `path` cannot be written (JP402).
    """
    notes: list[str] = []
    for serializer in _candidates(value, format, name):
        try:
            return _write(serializer, value, path, what=f"the output `{name}`", notes=tuple(notes))
        except UnsupportedValue as error:
            if format is not None:
                raise NotStorable(_refused(name, format, error.reason)) from error
            notes.append(f"`{name}` is not stored as {serializer.name}: {error.reason}")
        except StoreError:
            raise
        except Exception as error:
            # A bug in a library must not lose the result of a step as long as another serializer can store it.
            if format is not None or serializer.name == BY_TYPE[-1]:
                raise NotStorable(_failed(name, value, serializer.name, error, notes)) from error
            notes.append(f"`{name}` is not stored as {serializer.name}: {type(error).__name__}: {error}")
    raise AssertionError("the last serializer takes everything or says why not")


def load(path: Path, format: str, *, in_step: bool = False) -> Any:
    """Return the value in the file `path`, which was checked by the caller.

    Parameters
    ----------
    path : Path
        The file.
    format : str
        The serializer that wrote it; ``pickle#NAME`` for the output `NAME` of a file that holds several.
    in_step : bool
        The caller is the kernel of a step: instances get the classes that the step defines.

    Raises
    ------
    PluginError
        There is no such format (JP602), or its package is broken (JP601).
    StoreError
        The bytes cannot be turned back into a value (JP405): a package is missing or has changed, or a class of the
        notebook is another class.
    """
    file_format, member = split_member(format)
    serializer = get(file_format)
    try:
        read = getattr(serializer, "read_in_step", serializer.read) if in_step else serializer.read
        value = read(path)
        return value[member] if member else value
    except Exception as error:
        raise StoreError(_unreadable(format, error)) from error


def stores_as(value: Any, artifact: Artifact) -> bool:
    """Tell whether the bytes of `artifact` are those that `value` would be stored as; nothing is written to a disk.

    False where that cannot be told by the bytes: in a file with several outputs, or if the value cannot be stored.
    """
    file_format, member = split_member(artifact.format)
    serializer = get(file_format)
    if member or not serializer.accepts(value):
        return False
    writer = HashingWriter(cast(BinaryIO, _BoundedFile(artifact.bytes)))
    try:
        serializer.write(value, cast(BinaryIO, writer))
    except Exception:  # noqa: BLE001 - libraries wrap the error of a file that is full, and raise any of their own
        return False
    return writer.digest == artifact.digest


class _BoundedFile(DiscardingFile):
    """A file that discards what is written, and is full after as many bytes as expected."""

    def __init__(self, size: int) -> None:
        self._room = size

    def write(self, data: Any) -> int:
        """Discard `data`, and return its size in bytes."""
        size = super().write(data)
        self._room -= size
        if self._room < 0:
            raise OSError(errno.EFBIG, "more bytes than expected")
        return size


def _candidates(value: Any, format: str | None, name: str) -> Iterator[ValueSerializer]:
    if format is None:
        yield from (candidate for candidate in map(get, BY_TYPE) if candidate.accepts(value))
        return
    serializer = get(format)
    if not serializer.accepts(value):
        raise NotStorable(_refused(name, format, f"it cannot hold this {type_name(value)}, or not exactly"))
    yield serializer


def _write(serializer: ValueSerializer, value: Any, path: Path, *, what: str, notes: tuple[str, ...]) -> SaveResult:
    writer: HashingWriter | None = None
    try:
        with writing(path.parent, what):
            file = path.open("xb")
        with file:
            writer = HashingWriter(file, WritebackPacer(file))
            serializer.write(value, cast(BinaryIO, writer))
            with writing(path.parent, what):
                writer.finish()
            # Taken after the last write and before closing: the store refuses the file if it changes after this.
            mark = StatSignature.of(os.fstat(file.fileno()))
    except BaseException as error:
        path.unlink(missing_ok=True)
        # Libraries wrap the OSError of a full disk; the original error tells "disk full" from "cannot be pickled".
        if writer is not None and writer.error is not None:
            raise unwritable_error(writer.error, path.parent, what) from error
        raise
    return SaveResult(format=serializer.name, digest=writer.digest, bytes=writer.size, mark=mark, notes=notes)


def _refused(name: str, format: str, reason: str) -> Diagnostic:
    return Diagnostic(
        code="JP205",
        message=f"the output `{name}` cannot be stored as `{format}`: {reason}",
        suggestion=f"write `{name}` without `:{format}`, so that the type of the value decides",
    )


def _failed(name: str, value: Any, format: str, error: Exception, notes: list[str]) -> Diagnostic:
    from jupyter_pipelines.storage.serializers.pickle_diagnosis import unpicklable_parts
    from jupyter_pipelines.storage.serializers.unstorable_kinds import advice

    trail = unpicklable_parts(value, name)
    path, part = trail[-1]
    holds = "" if path == name else f": `{path}` is a {type_name(part)}"
    return Diagnostic(
        code="JP205",
        message=f"the output `{name}` ({type_name(value)}) cannot be stored{holds}",
        suggestion=advice(name, trail),
        notes=(*notes, f"tried as {format}: {type(error).__name__}: {error}"),
    )


def _unreadable(format: str, error: Exception) -> Diagnostic:
    return Diagnostic(
        code="JP405",
        message=f"a stored {format} output cannot be read back: {type(error).__name__}: {error}",
        suggestion=getattr(
            error,
            "instead",
            "install the packages it was made with, or compute it again: `jupyter pipelines run NOTEBOOK --force`",
        ),
    )
