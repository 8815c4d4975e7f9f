"""Labels, indexes and categories of pandas as Arrow arrays and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jupyter_pipelines.storage.serializers import pandas_columns
from jupyter_pipelines.storage.serializers.pandas_columns import (
    Spec,
    WritableBuffer,
    dictionary_array,
    index_array,
    writable_codes,
)
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, type_name

INDEXES = frozenset(
    {
        "Index",
        "RangeIndex",
        "DatetimeIndex",
        "TimedeltaIndex",
        "PeriodIndex",
        "IntervalIndex",
        "CategoricalIndex",
        "MultiIndex",
    }
)


def encode_label(label: Any) -> Any:
    """Return the name of a column, series or level as a JSON value.

    Raises
    ------
    UnsupportedValue
        It is neither a plain value nor a tuple of such.
    """
    if label is None or type(label) in (str, bool, int, float):
        return label
    if type(label) is tuple:
        return {"tuple": [encode_label(part) for part in label]}
    raise UnsupportedValue(f"the name {label!r} is of the type {type_name(label)}")


def decode_label(label: Any) -> Any:
    """Return the label from the result of :func:`encode_label`."""
    return tuple(decode_label(part) for part in label["tuple"]) if isinstance(label, dict) else label


def encode_column(array: Any) -> tuple[Any, Spec]:
    """Return a column, categorical or not, as an Arrow array and its description; see :func:`columns.encode`."""
    import pandas as pd

    if not isinstance(array.dtype, pd.CategoricalDtype):
        return pandas_columns.encode(array)
    values, spec = _encode_values(array.categories)
    return dictionary_array(array.codes, values), {
        "kind": "categorical",
        "ordered": bool(array.ordered),
        "values": spec,
    }


def decode_column(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    """Return the column from the result of :func:`encode_column`."""
    import pandas as pd

    if spec["kind"] != "categorical":
        return pandas_columns.decode(array, spec, buffer)
    categories = _decode_values(array.dictionary, spec["values"], buffer)
    return pd.Categorical.from_codes(writable_codes(array, buffer), categories=categories, ordered=spec["ordered"])


def encode_index(index: Any) -> tuple[list[Any], Spec]:
    """Return an index as Arrow arrays of its length, and its description.

    Returns
    -------
    arrays : list of pyarrow.Array
        One for each level; none for a range.
    spec : dict
        Description for :func:`decode_index`.

    Raises
    ------
    UnsupportedValue
        Arrow cannot hold it exactly.
    """
    if type(index).__name__ not in INDEXES or type(index).__module__.partition(".")[0] != "pandas":
        raise UnsupportedValue(f"its index is a {type_name(index)}")
    if type(index).__name__ == "RangeIndex":
        return [], _describe_range(index)
    if type(index).__name__ == "MultiIndex":
        return _encode_multi(index)
    array, spec = encode_column(index_array(index))
    return [array], {"index": "plain", "array": spec, "freq": _freq(index), "name": encode_label(index.name)}


def decode_index(arrays: Sequence[Any], spec: Spec, buffer: WritableBuffer) -> Any:
    """Return the index from the result of :func:`encode_index`."""
    import pandas as pd

    name = decode_label(spec.get("name"))
    if spec["index"] == "range":
        return pd.RangeIndex(spec["start"], spec["stop"], spec["step"], name=name)
    if spec["index"] == "labels":
        return pd.Index(_objects([decode_label(label) for label in spec["values"]]), dtype=object, name=name)
    if spec["index"] == "multi":
        return _decode_multi(arrays, spec, buffer)
    values = decode_column(arrays[0], spec["array"], buffer)
    result = pd.Index(values, dtype=values.dtype, name=name)
    return result if spec["freq"] is None else type(result)(result, freq=spec["freq"])


def encode_labels(index: Any) -> tuple[list[Any], Spec]:
    """Encode the names of columns like :func:`encode_index`, but allow objects of several types."""
    if type(index).__name__ == "Index" and index.dtype == object:
        return [], {"index": "labels", "values": list(map(encode_label, index)), "name": encode_label(index.name)}
    return encode_index(index)


def _objects(items: list[Any]) -> Any:
    import numpy as np

    # Filled one by one: NumPy would make a two-dimensional array of tuples.
    result = np.empty(len(items), dtype=object)
    for position, item in enumerate(items):
        result[position] = item
    return result


def array_count(spec: Spec) -> int:
    """Return how many arrays an index with this description has."""
    return {"range": 0, "labels": 0, "plain": 1}.get(spec["index"], len(spec.get("levels", ())))


def _describe_range(index: Any) -> Spec:
    numbers = {"start": int(index.start), "stop": int(index.stop), "step": int(index.step)}
    return {"index": "range", **numbers, "name": encode_label(index.name)}


def _freq(index: Any) -> str | None:
    """Return the frequency of a datetime or timedelta index; None for others, whose dtype contains it."""
    from pandas.tseries.frequencies import to_offset

    if type(index).__name__ not in ("DatetimeIndex", "TimedeltaIndex") or index.freq is None:
        return None
    name = str(index.freq.freqstr)
    try:
        if to_offset(name) == index.freq:
            return name
    except ValueError:
        pass
    raise UnsupportedValue(f"the frequency {index.freq} of its index has no name that leads back to it")


def _encode_multi(index: Any) -> tuple[list[Any], Spec]:
    levels = [_encode_values(level.rename(None)) for level in index.levels]
    arrays = [dictionary_array(codes, values) for codes, (values, _) in zip(index.codes, levels, strict=True)]
    spec = {
        "index": "multi",
        "levels": [level_spec for _, level_spec in levels],
        "names": [encode_label(name) for name in index.names],
        "sortorder": index.sortorder,
    }
    return arrays, spec


def _decode_multi(arrays: Sequence[Any], spec: Spec, buffer: WritableBuffer) -> Any:
    import pandas as pd

    pairs = list(zip(arrays, spec["levels"], strict=True))
    return pd.MultiIndex(
        levels=[_decode_values(array.dictionary, level, buffer) for array, level in pairs],
        codes=[writable_codes(array, buffer) for array, _ in pairs],
        names=[decode_label(name) for name in spec["names"]],
        sortorder=spec["sortorder"],
        # The codes were valid when they were written, and checking them would read the whole index.
        verify_integrity=False,
    )


def _encode_values(index: Any) -> tuple[Any, Spec]:
    """Return categories or a level as a single array, also for a RangeIndex."""
    import pyarrow as pa

    arrays, spec = encode_index(index)
    if spec["index"] == "multi" or (spec["index"] == "plain" and spec["array"]["kind"] == "categorical"):
        raise UnsupportedValue("its categories have categories themselves")
    return (arrays[0] if arrays else pa.array(index.to_numpy())), spec


def _decode_values(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    return decode_index([array], spec, buffer)
