"""Arrow tables in the form that Parquet can hold, and back.

Parquet has no categories, no times in seconds, and different field names inside lists. Categorical columns are written
as plain values, which other programs can read. Categories and schema are kept in the metadata, to cast columns back.
"""

from __future__ import annotations

from typing import Any

from jupyter_pipelines.storage.serializers.pandas_columns import as_single_array
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue

SCHEMA = b"jupyter_pipelines.schema"
CATEGORIES = b"jupyter_pipelines.categories."


def flatten(table: Any) -> Any:
    """Return the table with plain columns, and with its schema and categories in the metadata."""
    metadata = {**(table.schema.metadata or {}), SCHEMA: bytes(table.schema.serialize())}
    columns = []
    for number, column in enumerate(map(as_single_array, table.columns)):
        values = getattr(column, "dictionary", None)
        if values is not None:
            metadata[CATEGORIES + str(number).encode()] = pack([values])
        columns.append(column if values is None else _spelled_out(column))
    return _table(columns, table.schema.names).replace_schema_metadata(metadata)


def restore(table: Any) -> Any:
    """Return the table from the result of :func:`flatten`."""
    import pyarrow as pa

    metadata = table.schema.metadata
    schema = pa.ipc.read_schema(pa.BufferReader(metadata[SCHEMA]))
    columns = []
    for number, (column, field) in enumerate(zip(table.columns, schema, strict=True)):
        packed = metadata.get(CATEGORIES + str(number).encode())
        if packed is None:
            # Types are equal even when the fields inside lists have other names.
            columns.append(column.cast(field.type) if str(column.type) != str(field.type) else column)
        else:
            columns.append(_coded(as_single_array(column), unpack(packed)[0], field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def pack(arrays: list[Any]) -> bytes:
    """Return arrays of equal length as the bytes of an Arrow stream."""
    import pyarrow as pa

    batch = pa.RecordBatch.from_arrays(arrays, names=[str(number) for number in range(len(arrays))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def unpack(content: bytes) -> list[Any]:
    """Return the arrays from the result of :func:`pack`."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.BufferReader(content)) as reader:
        return [as_single_array(column) for column in reader.read_all().columns]


def _spelled_out(column: Any) -> Any:
    """Return the values of a dictionary array if they can be looked up again when reading, else its codes."""
    values = column.dictionary
    if not _can_look_up(values.type):
        return column.indices
    if values.null_count or len(values.unique()) != len(values):
        raise UnsupportedValue("its categories are not all different")
    return values.take(column.indices)


def _coded(column: Any, values: Any, type: Any) -> Any:  # noqa: A002 - pyarrow's own word
    import pyarrow as pa
    import pyarrow.compute as pc

    codes = column
    if _can_look_up(values.type):
        column = column.cast(values.type) if column.type != values.type else column
        codes = pc.index_in(column, value_set=values).cast(type.index_type)
    return pa.DictionaryArray.from_arrays(codes, values, ordered=type.ordered)


def _can_look_up(type: Any) -> bool:  # noqa: A002 - pyarrow's own word
    import pyarrow as pa

    texts = pa.types.is_large_string(type) or pa.types.is_string(type)
    return bool(texts or pa.types.is_integer(type) or pa.types.is_boolean(type) or pa.types.is_timestamp(type))


def _table(columns: list[Any], names: list[str]) -> Any:
    import pyarrow as pa

    return pa.Table.from_arrays(columns, names=names)
