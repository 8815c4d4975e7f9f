"""Plain values as JSON, text and bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, BinaryIO

from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, ValueHead

_ATOMS = frozenset({type(None), bool, int, float, str})
# The json module recurses for each level, and raises RecursionError near the limit of the interpreter.
_MAX_DEPTH = 100
_HEAD_BYTES = 16_000
# Python refuses to convert texts of more than 4300 digits to int (sys.set_int_max_str_digits).
_MAX_INT = 10**4000


class JsonSerializer:
    """Numbers, texts, None, lists, and dicts with text keys; exactly these types, no subclasses.

    A container that occurs twice is refused, because it would be restored as two objects.
    """

    name = "json"
    suffix = ".json"
    holds_code = False

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` and all its members are plain."""
        return is_plain(value)

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write `value`; the order of keys is kept, as it is part of the value."""
        file.write(json.dumps(value, separators=(",", ":")).encode())

    def read(self, path: Path) -> Any:
        """Return the value in `path`."""
        return json.loads(path.read_bytes())


class TextSerializer:
    """A str as UTF-8, on request."""

    name = "text"
    suffix = ".txt"
    holds_code = False

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is a str."""
        return type(value) is str

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the text as it is, line ends included."""
        try:
            content = value.encode()
        except UnicodeEncodeError as error:
            raise UnsupportedValue(f"it is not valid Unicode: {error.reason} at {error.start}") from error
        file.write(content)

    def read(self, path: Path) -> str:
        """Return the text in `path`."""
        return path.read_bytes().decode()

    def head(self, path: Path, rows: int, columns: int) -> ValueHead:  # noqa: ARG002 - a text has neither
        """Return the beginning of the text in `path`."""
        return ValueHead(type="str", text=_beginning(path).decode("utf-8", "replace"))


class BytesSerializer:
    """Bytes as they are."""

    name = "bytes"
    suffix = ".bin"
    holds_code = False

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is a bytes object."""
        return type(value) is bytes

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the bytes."""
        file.write(value)

    def read(self, path: Path) -> bytes:
        """Return the bytes in `path`."""
        return path.read_bytes()

    def head(self, path: Path, rows: int, columns: int) -> ValueHead:  # noqa: ARG002 - bytes have neither
        """Return the first 256 bytes in `path`, in hexadecimal."""
        return ValueHead(type="bytes", shape=(path.stat().st_size,), text=_beginning(path)[:256].hex(" "))


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def is_plain(value: Any) -> bool:
    """Tell whether JSON restores exactly `value`: only JSON's types, and no container that occurs twice."""
    seen: set[int] = set()
    level = [value]
    for _ in range(_MAX_DEPTH):
        if not level:
            return True
        deeper: list[Any] = []
        for member in level:
            if not _is_plain_node(member, seen, deeper):
                return False
        level = deeper
    return False


def _is_plain_node(value: Any, seen: set[int], deeper: list[Any]) -> bool:
    """Tell whether `value` itself is plain, and add its members to `deeper`."""
    value_type = type(value)
    if value_type in _ATOMS:
        return value_type is not int or -_MAX_INT < value < _MAX_INT
    if (value_type is not list and value_type is not dict) or id(value) in seen:
        return False
    seen.add(id(value))
    if value_type is list:
        deeper.extend(value)
        return True
    deeper.extend(value.values())
    return all(type(key) is str for key in value)
