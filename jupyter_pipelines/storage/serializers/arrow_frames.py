"""Data frames as Arrow IPC files, uncompressed, and as Parquet on request.

Slow imports are done when a frame is written or read: planning only needs the attributes of the classes.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, ValueHead

_COPY = "{}.copy()"


class ArrowSerializer:
    """Data frames and series of pandas and polars, indexes of pandas, and tables of pyarrow."""

    name = "arrow"
    suffix = ".arrow"
    holds_code = False
    copied_by = _COPY

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is of one of these classes, and not of a class derived from it."""
        return _tables().library_of(value) is not None

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the frame in one piece, so that equal frames give equal bytes."""
        table = _tables().table_of(value)
        import pyarrow as pa

        with pa.ipc.new_file(pa.PythonFile(file, mode="w"), table.schema) as writer:
            for batch in _tables().batches_of(table):
                writer.write_batch(batch)

    def read(self, path: Path) -> Any:
        """Return the frame in `path`; a large file is mapped copy-on-write, so that changes stay in memory."""
        import pyarrow as pa

        from jupyter_pipelines.storage.serializers import memory_map
        from jupyter_pipelines.storage.serializers.pandas_columns import WritableBuffer

        memory = memory_map.read_memory(path)
        table = pa.ipc.open_file(pa.BufferReader(pa.py_buffer(memory))).read_all()
        return _tables().value_of(table, WritableBuffer(memory))

    def head(self, path: Path, rows: int, columns: int) -> ValueHead:
        """Return the first rows and columns of the frame in `path`."""
        import pyarrow as pa

        # Mapped, so that a preview of a large frame touches only the pages of its first batch.
        with pa.memory_map(str(path)) as memory:
            reader = pa.ipc.open_file(memory)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            count = sum(batch.num_rows for batch in batches)
            return _table_head(reader.schema, count, batches[:1], rows, columns)


class ParquetSerializer:
    """The same values as Parquet, on request: smaller files, slower, readable by other programs."""

    name = "parquet"
    suffix = ".parquet"
    holds_code = False
    copied_by = _COPY

    def accepts(self, value: Any) -> bool:
        """Tell whether `value` is a frame, series or table, and not of a class derived from it."""
        return _tables().library_of(value) is not None

    def write(self, value: Any, file: BinaryIO) -> None:
        """Write the frame, compressed with zstd, after verifying in memory that it can be read back unchanged."""
        table = _tables().table_of(value)
        import pyarrow as pa
        import pyarrow.parquet as pq

        from jupyter_pipelines.storage.serializers import parquet_conversion

        sink = pa.BufferOutputStream()
        try:
            pq.write_table(parquet_conversion.flatten(table), sink, compression="zstd")
            content = sink.getvalue()
            restored = parquet_conversion.restore(pq.read_table(pa.BufferReader(content)))
        except (pa.ArrowException, ValueError) as error:
            raise UnsupportedValue(f"Parquet cannot hold it: {error}") from error
        _tables().check_same(table, restored)
        file.write(content)

    def read(self, path: Path) -> Any:
        """Return the frame in `path`."""
        import pyarrow.parquet as pq

        from jupyter_pipelines.storage.serializers import parquet_conversion
        from jupyter_pipelines.storage.serializers.pandas_columns import WritableBuffer

        return _tables().value_of(parquet_conversion.restore(pq.ParquetFile(path).read()), WritableBuffer())

    def head(self, path: Path, rows: int, columns: int) -> ValueHead:
        """Return the first rows and columns of the frame in `path`."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names[:columns]
            first = islice(file.iter_batches(batch_size=rows, columns=names), 1)
            return _table_head(file.schema_arrow, file.metadata.num_rows, list(first), rows, columns)


def _tables() -> Any:
    return importlib.import_module("jupyter_pipelines.storage.serializers.frame_tables")


def _table_head(schema: Any, count: int, batches: Sequence[Any], rows: int, columns: int) -> ValueHead:
    spec = json.loads((schema.metadata or {}).get(_tables().KEY, b"{}"))
    fields = [schema.field(number) for number in range(min(len(schema.names), columns))]
    slices = [batch.slice(0, rows) for batch in batches]
    values = [batch.column(number).to_pylist() for batch in slices for number in range(len(fields))]
    return ValueHead(
        type=f"{spec.get('library', 'pyarrow')}.{spec.get('type', 'Table')}",
        shape=(count, len(schema.names)),
        columns=[(_column_name(field.name), field.type) for field in fields],
        rows=[list(row) for row in zip(*values, strict=True)],
    )


def _column_name(column: str) -> str:
    level = column.removeprefix("__index_level_").removesuffix("__")
    return f"index {level}" if column != level else column
