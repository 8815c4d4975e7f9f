"""Data frames as tables of Arrow, and back.

Metadata of the table describe what Arrow cannot express about a pandas frame: index classes, names, frequencies, string
dtypes. A value that cannot be restored exactly raises UnsupportedValue, and is pickled with a note instead.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from jupyter_pipelines.storage.serializers import pandas_indexes, pandas_tables
from jupyter_pipelines.storage.serializers.pandas_columns import WritableBuffer, as_single_array
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, type_name

KEY = b"jupyter_pipelines"
_INSTALL = "pyarrow is not installed (pip install 'jupyter-pipelines[arrow]')"
_SUPPORTED: Mapping[str, frozenset[str]] = {
    "pandas": frozenset({"DataFrame", "Series"} | pandas_indexes.INDEXES),
    "polars": frozenset({"DataFrame", "Series"}),
    "pyarrow": frozenset({"Table"}),
}


def library_of(value: Any) -> str | None:
    """Return the library of a frame, series, index or table; None for other values and derived classes."""
    value_type = type(value)
    library = value_type.__module__.partition(".")[0]
    return library if value_type.__name__ in _SUPPORTED.get(library, ()) else None


def table_of(value: Any) -> Any:
    """Return the value as an Arrow table with a description of the value in its metadata."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UnsupportedValue(_INSTALL)
    try:
        return _ENCODERS[str(library_of(value))](value)
    except UnsupportedValue:
        raise
    except Exception as error:
        raise UnsupportedValue(f"{type(error).__name__}: {error}") from error


def value_of(table: Any, buffer: WritableBuffer) -> Any:
    """Return the value from which :func:`table_of` made the table; `buffer` is the memory of the table."""
    spec = json.loads(table.schema.metadata[KEY])
    return _DECODERS[spec["library"]](table, spec, buffer)


def batches_of(table: Any) -> list[Any]:
    """Return the record batches to write."""
    import pyarrow as pa

    # An empty table has no batches, and a file without batches loses the dictionaries (categories).
    empty = [as_single_array(column) for column in table.columns] if table.num_rows == 0 else []
    return [pa.RecordBatch.from_arrays(empty, schema=table.schema)] if empty else table.to_batches()


def _encode_polars(value: Any) -> Any:
    import polars as pl  # type: ignore[import-not-found, unused-ignore]
    import pyarrow as pa

    frame = value.to_frame() if isinstance(value, pl.Series) else value
    if type(value) not in (pl.DataFrame, pl.Series):
        raise UnsupportedValue(f"{type_name(value)} is derived from a class of polars")
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks()
    # Types are compared without the rows, so that the check costs nothing for large frames.
    restored = cast("pl.DataFrame", pl.from_arrow(pa.Table.from_batches([], schema=table.schema)))
    if restored.schema != frame.schema:
        raise UnsupportedValue("one of its types has no counterpart in Arrow")
    spec = {"library": "polars", "type": type(value).__name__, "rows": frame.height}
    return table.replace_schema_metadata({KEY: _encoded(spec)})


def _decode_polars(table: Any, spec: dict[str, Any], _: WritableBuffer) -> Any:
    import polars as pl

    frame = cast("pl.DataFrame", pl.from_arrow(table.replace_schema_metadata(None)))
    return frame.to_series() if spec["type"] == "Series" else frame


def _encode_pyarrow(value: Any) -> Any:
    import pyarrow as pa

    metadata = value.schema.metadata
    if type(value) is not pa.Table or KEY in (metadata or {}) or (value.num_rows and not value.num_columns):
        raise UnsupportedValue("it is no plain table")
    spec = {"library": "pyarrow", "bare": metadata is None}
    table = (
        # One chunk and one dictionary for each column: equal tables then give equal bytes, however they were built.
        value.unify_dictionaries().combine_chunks().replace_schema_metadata({**(metadata or {}), KEY: _encoded(spec)})
    )
    restored_schema = pa.ipc.read_schema(pa.BufferReader(table.schema.serialize()))
    if not restored_schema.equals(table.schema, check_metadata=True):
        raise UnsupportedValue("one of its types does not come back from a file")
    return table


def _decode_pyarrow(table: Any, spec: dict[str, Any], _: WritableBuffer) -> Any:
    metadata = {key: value for key, value in table.schema.metadata.items() if key != KEY}
    return table.replace_schema_metadata(None if spec["bare"] else metadata)


def _encode_pandas(value: Any) -> Any:
    table, spec = pandas_tables.encode(value)
    metadata = {**(table.schema.metadata or {}), KEY: _encoded({"library": "pandas", **spec})}
    return table.replace_schema_metadata(metadata)


def _encoded(spec: dict[str, Any]) -> bytes:
    return json.dumps(spec, sort_keys=True, separators=(",", ":")).encode()


def check_same(table: Any, back: Any) -> None:
    """Raise UnsupportedValue for the first column that Parquet does not restore exactly."""
    for field, written, restored in zip(table.schema, table.columns, back.columns, strict=True):
        if not _same(as_single_array(written), as_single_array(restored)):
            raise UnsupportedValue(f"Parquet cannot hold the column `{field.name}` ({field.type}) exactly")


def _same(left: Any, right: Any) -> bool:
    """Compare arrays bit by bit: NaN is unequal to itself, and -0.0 is equal to 0.0."""
    import pyarrow as pa

    if left.type != right.type or len(left) != len(right):
        return False
    if pa.types.is_dictionary(left.type):
        return _same(left.indices, right.indices) and _same(left.dictionary, right.dictionary)
    if pa.types.is_floating(left.type):
        bits = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[left.type.bit_width]
        return bool(left.view(bits).equals(right.view(bits)))
    if pa.types.is_struct(left.type):
        return left.is_valid().equals(right.is_valid()) and all(map(_same, left.flatten(), right.flatten()))
    return bool(left.equals(right))


_ENCODERS: Mapping[str, Callable[[Any], Any]] = {
    "pandas": _encode_pandas,
    "polars": _encode_polars,
    "pyarrow": _encode_pyarrow,
}
_DECODERS: Mapping[str, Callable[[Any, dict[str, Any], WritableBuffer], Any]] = {
    "pandas": pandas_tables.decode,
    "polars": _decode_polars,
    "pyarrow": _decode_pyarrow,
}
