"""The protocol of serializers, and the error for a value that a serializer does not support."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.files.stat_signature import StatSignature

_MEMBER = "#"


class UnsupportedValue(Exception):
    """A value that a serializer cannot store exactly; raised before the first byte is written.

    Parameters
    ----------
    reason : str
        Why, in a few words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ValueSerializer(Protocol):
    """Turns values into bytes and back, exactly or not at all.

    Attributes
    ----------
    name : str
        Name of the format in headers: ``-o model:joblib``.
    suffix : str
        Suffix of its files, with the dot.

    Two more attributes may be left out:

    holds_code : bool
        Whether files refer to functions or classes by name, so that a value depends on code elsewhere, and reading a
        file may run code. Default True.
    copied_by : str
        Python expression that copies a value, with ``{}`` for its name. Default ``copy.deepcopy({})``.

    A method ``head(path, rows, columns)`` is optional. It returns the beginning of a file as a :class:`ValueHead`
    without reading all of it. Without it, a file that holds no code is read completely for a preview.
    """

    name: str
    suffix: str

    def accepts(self, value: Any) -> bool:
        """Tell quickly, by its type, whether `value` may be supported."""

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write `value`; the file cannot be read or sought.

        Raises
        ------
        UnsupportedValue
            It is not supported; nothing was written.
        """

    def read(self, path: Path) -> Any:
        """Return the value in the file `path`; the caller may modify it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueHead:
    """The beginning of a stored value, for a preview.

    Parameters
    ----------
    type : str
        The type of the value, with its package.
    shape : tuple of int or None
        Its size.
    columns : sequence of (str, object)
        Names and types of the columns of a table.
    rows : sequence of sequence of object
        The first rows of a table.
    text : str
        The beginning of a text.
    value : object
        The value itself, if it is read lazily.
    """

    type: str
    shape: tuple[int, ...] | None = None
    columns: Sequence[tuple[str, object]] = ()
    rows: Sequence[Sequence[Any]] = ()
    text: str = ""
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveResult:
    """The result of saving a value.

    Parameters
    ----------
    format : str
        Name of the serializer.
    digest : str
        Digest of the bytes, computed while they were written.
    bytes : int
        Size in bytes.
    mark : StatSignature
        Stat signature after the last write: a file that still has it has this digest.
    notes : tuple of str
        Notes for the user, such as why a data frame was pickled.
    """

    format: str
    digest: str
    bytes: int
    mark: StatSignature
    notes: tuple[str, ...] = ()

    @property
    def artifact(self) -> Artifact:
        """The same as an artifact."""
        return Artifact(digest=self.digest, format=self.format, bytes=self.bytes)


def member_format(name: str) -> str:
    """Return the format of the output `name` in a file that holds several outputs, a pickle of a mapping."""
    return f"pickle{_MEMBER}{name}"


def split_member(stored_format: str) -> tuple[str, str]:
    """Return the format of a file, and the name of the output in it: empty for a file that holds one output."""
    file_format, _, member = stored_format.partition(_MEMBER)
    return file_format, member


def type_name(value: Any) -> str:
    """Return the type of `value` in words, with its module unless it is built in."""
    value_type = type(value)
    return (
        value_type.__qualname__
        if value_type.__module__ == "builtins"
        else f"{value_type.__module__}.{value_type.__qualname__}"
    )
