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
    """A serializer cannot hold this value exactly; raised before the first byte is written.

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
        What the format is called behind a colon: ``-o model:joblib``.
    suffix : str
        How a file of it ends, with the dot.

    Two more attributes may be left out:

    holds_code : bool
        Whether files name functions or classes, so that what a value does depends on code that is elsewhere, and
        reading a file may run code. True where left out.
    copied_by : str
        How a value is copied, with ``{}`` for its name: ``copy.deepcopy({})`` where left out.

    So may a method ``head(path, rows, columns)``, which returns the beginning of a file as a :class:`ValueHead`
    without reading all of it. Without one, a file that holds no code is read whole for a preview.
    """

    name: str
    suffix: str

    def accepts(self, value: Any) -> bool:
        """Tell by its type, without looking far, whether `value` may fit."""

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write `value`; the file cannot be read or sought.

        Raises
        ------
        UnsupportedValue
            It does not fit; nothing was written.
        """

    def read(self, path: Path) -> Any:
        """Return the value written to the file `path`; the caller may change it."""


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
        The value itself, where it is not read until it is looked at.
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
        How many.
    mark : StatSignature
        What the file looked like when it was finished: a file that still looks so has this digest.
    notes : tuple of str
        What the user should know, such as why a data frame was pickled.
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
