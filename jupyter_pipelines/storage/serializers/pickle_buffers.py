"""Pickles with out-of-band buffers, each aligned in memory, so that they need not be copied.

Such a file begins with a magic number; then come pieces of the pickle and buffers, a table of them with kind, offset
and size, and the offset of the table. A value without large buffers is a plain pickle.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

MAGIC = b"JPparts\x01"
LARGE = 1 << 16
"""Size in bytes from which a buffer is stored out of band."""

# A cache line, and the width of the widest vector registers: libraries read aligned arrays without a copy.
_ALIGNED = 64
_FLUSH_BYTES = 8 << 20
_READ_AT_ONCE = 1 << 20
_ROW = struct.Struct("<BQQ")
_END = struct.Struct("<QQ")
_STREAM, _BUFFER = 0, 1


class BufferedPickleWriter:
    """A file for a pickler that stores large buffers out of band. :meth:`finish` completes it.

    Parameters
    ----------
    file : BinaryIO
        The file to write to.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._offset = 0
        self._stream = bytearray()
        self._table: list[tuple[int, int, int]] = []

    def write(self, data: Any) -> int:
        """Write a piece of the pickle stream."""
        view = memoryview(data).cast("B")
        if view.nbytes >= _FLUSH_BYTES:
            self._flush_stream()
            self._add(_STREAM, view)
            return view.nbytes
        self._stream += view
        if len(self._stream) >= _FLUSH_BYTES:
            self._flush_stream()
        return view.nbytes

    def take(self, buffer: pickle.PickleBuffer) -> bool:
        """Write a large buffer out of band, or return True for a buffer to be pickled in band."""
        try:
            view = buffer.raw()
        # A buffer that is not contiguous has no raw view.
        except BufferError:
            return True
        if view.nbytes < LARGE:
            return True
        self._add(_BUFFER, view)
        return False

    def finish(self) -> None:
        """Write the rest of the pickle stream and the table."""
        if not self._table:
            self._file.write(self._stream)
            return
        self._flush_stream()
        rows = b"".join(_ROW.pack(*row) for row in self._table)
        self._file.write(rows + _END.pack(self._offset, len(self._table)))

    def _flush_stream(self) -> None:
        if self._stream:
            self._add(_STREAM, memoryview(self._stream))
            self._stream = bytearray()

    def _add(self, kind: int, view: memoryview) -> None:
        if not self._offset:
            self._write(MAGIC)
        self._write(b"\0" * (-self._offset % _ALIGNED))
        self._table.append((kind, self._offset, view.nbytes))
        self._write(view)

    def _write(self, data: Any) -> None:
        self._file.write(data)
        self._offset += memoryview(data).nbytes


class DiscardingFile(io.RawIOBase):
    """A file that discards what is written, for pickling a value only to inspect it."""

    def write(self, data: Any) -> int:
        """Discard `data`, and return its size in bytes."""
        return memoryview(data).nbytes


def split_buffers(memory: Any) -> tuple[BinaryIO, list[memoryview]]:
    """Return the pickle in `memory` as a file, and its buffers, which are not copied.

    Raises
    ------
    ValueError
        It is truncated, or its table is malformed.
    """
    view = memoryview(memory)
    if bytes(view[: len(MAGIC)]) != MAGIC:
        return _joined([view]), []
    rows = list(_rows(view))
    streams = [view[start : start + size] for kind, start, size in rows if kind == _STREAM]
    return _joined(streams), [view[start : start + size] for kind, start, size in rows if kind == _BUFFER]


def _rows(view: memoryview) -> Iterator[tuple[int, int, int]]:
    try:
        start, count = _END.unpack(view[-_END.size :])
        table = view[start : len(view) - _END.size]
        if len(table) != count * _ROW.size:
            raise ValueError("the file is not whole")
        yield from _ROW.iter_unpack(table)
    except struct.error as error:
        raise ValueError("the file is not whole") from error


def _joined(pieces: list[memoryview]) -> BinaryIO:
    if sum(piece.nbytes for piece in pieces) < _FLUSH_BYTES:
        return io.BytesIO(b"".join(pieces))
    return io.BufferedReader(_ConcatenatedBuffers(pieces), _READ_AT_ONCE)  # type: ignore[return-value, unused-ignore]


class _ConcatenatedBuffers(io.RawIOBase):
    """Several stretches of memory as one file."""

    def __init__(self, pieces: list[memoryview]) -> None:
        super().__init__()
        self._pieces = [piece for piece in pieces if piece.nbytes]

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        if not self._pieces:
            return 0
        buffer = memoryview(target).cast("B")
        size = min(buffer.nbytes, self._pieces[0].nbytes)
        buffer[:size] = self._pieces[0][:size]
        self._pieces[0] = self._pieces[0][size:]
        if not self._pieces[0].nbytes:
            del self._pieces[0]
        return size
