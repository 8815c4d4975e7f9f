"""Frames, series and indexes of pandas as Arrow tables and back."""

from __future__ import annotations

from collections import Counter
from typing import Any

from jupyter_pipelines.storage.serializers.json_text_bytes import is_plain
from jupyter_pipelines.storage.serializers.pandas_blocks import assemble
from jupyter_pipelines.storage.serializers.pandas_columns import Spec, WritableBuffer, as_single_array, index_array
from jupyter_pipelines.storage.serializers.pandas_indexes import (
    array_count,
    decode_column,
    decode_index,
    decode_label,
    encode_column,
    encode_index,
    encode_label,
    encode_labels,
)
from jupyter_pipelines.storage.serializers.parquet_conversion import pack, unpack
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue

COLUMNS = b"jupyter_pipelines.columns"


def encode(value: Any) -> tuple[Any, Spec]:
    """Return a frame, series or index as a table, and the description that :func:`decode` needs.

    Raises
    ------
    UnsupportedValue
        Arrow cannot hold it exactly.
    """
    import pandas as pd

    if type(value) is pd.DataFrame:
        return _encode_frame(value)
    if type(value) is pd.Series:
        return _encode_series(value)
    arrays, spec = encode_index(value)
    return _table(arrays, [], []), {"type": "Index", "index": spec}


def decode(table: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    """Return the frame, series or index from the result of :func:`encode`, writable."""
    arrays = [as_single_array(column) for column in table.columns]
    levels = array_count(spec["index"])
    index = decode_index(arrays[:levels], spec["index"], buffer)
    if spec["type"] == "Index":
        return index
    values = [
        decode_column(array, column_spec, buffer)
        for array, column_spec in zip(arrays[levels:], spec["columns"], strict=True)
    ]
    if spec["type"] == "Series":
        return _decorate(_series(values[0], index, decode_label(spec["name"])), spec)
    labels = decode_index(unpack(table.schema.metadata[COLUMNS]), spec["labels"], WritableBuffer())
    return _decorate(assemble(values, index, labels), spec)


def _encode_frame(frame: Any) -> tuple[Any, Spec]:
    levels, index = encode_index(frame.index)
    labels, spec_of_labels = encode_labels(frame.columns)
    # By position, as labels of columns need not be unique.
    columns = [_encode_at(frame.iloc[:, position], label) for position, label in enumerate(frame.columns)]
    spec = {
        "type": "DataFrame",
        "index": index,
        "labels": spec_of_labels,
        "columns": [column_spec for _, column_spec in columns],
    }
    names = [str(label) for label in frame.columns]
    table = _table(levels, [array for array, _ in columns], names)
    return table.replace_schema_metadata({COLUMNS: pack(labels)}), {**spec, **_extras(frame)}


def _encode_series(series: Any) -> tuple[Any, Spec]:
    levels, index = encode_index(series.index)
    name = encode_label(series.name)
    array, column = _encode_at(series, "values")
    spec = {"type": "Series", "index": index, "columns": [column], "name": name}
    return _table(levels, [array], ["values"]), {**spec, **_extras(series)}


def _encode_at(series: Any, label: Any) -> tuple[Any, Spec]:
    try:
        return encode_column(index_array(series))
    except UnsupportedValue as error:
        raise UnsupportedValue(f"column {label!r}: {error.reason}") from error


def _extras(value: Any) -> Spec:
    if not is_plain(value.attrs):
        raise UnsupportedValue("its attrs hold more than plain values")
    return {"attrs": value.attrs, "duplicates": bool(value.flags.allows_duplicate_labels)}


def _decorate(value: Any, spec: Spec) -> Any:
    value.attrs.update(spec["attrs"])
    if not spec["duplicates"]:
        value.flags.allows_duplicate_labels = False
    return value


def _series(values: Any, index: Any, name: Any) -> Any:
    import pandas as pd

    return pd.Series(values, index=index, dtype=values.dtype, name=name, copy=False)


def _table(levels: list[Any], columns: list[Any], names: list[str]) -> Any:
    import pyarrow as pa

    names = [*(f"__index_level_{number}__" for number in range(len(levels))), *names]
    return pa.Table.from_arrays([*levels, *columns], names=_unique(names))


def _unique(names: list[str]) -> list[str]:
    """Return unique column names by numbering repetitions; they are only for readers, labels are stored separately."""
    count: Counter[str] = Counter()
    used_names = set(names)
    for position, name in enumerate(names):
        count[name] += 1
        while count[name] > 1 and names[position] in used_names:
            names[position] = f"{name}.{count[name] - 1}"
            count[name] += names[position] in used_names
        used_names.add(names[position])
    return names
