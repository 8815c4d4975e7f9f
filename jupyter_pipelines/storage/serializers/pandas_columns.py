"""Columns of pandas as Arrow arrays and back, exactly: supported dtypes are restored, any other is refused.

Each kind of column has a pair of functions: one returns an Arrow array and a small JSON description, the other makes a
pandas array of both. Conversions of pandas and Arrow are not used where they lose something: missing values, units,
time zones. Categories are in :mod:`.pandas_indexes`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

from jupyter_pipelines.storage.serializers.memory_map import address_of
from jupyter_pipelines.storage.serializers.protocol import UnsupportedValue, type_name
from jupyter_pipelines.storage.serializers.time_zones import decode_zone, encode_zone

Spec = dict[str, Any]
_UNITS = frozenset({"s", "ms", "us", "ns"})


def encode(array: Any) -> tuple[Any, Spec]:
    """Return a column as an Arrow array, and the description that :func:`decode` needs.

    Parameters
    ----------
    array : numpy.ndarray or pandas.api.extensions.ExtensionArray
        The array of a column or index.

    Raises
    ------
    UnsupportedValue
        Arrow cannot hold it exactly.
    """
    encoder = _ENCODERS.get(type(array.dtype).__name__, _encode_numpy if _is_numpy(array.dtype) else None)
    if encoder is None:
        raise UnsupportedValue(f"the dtype {array.dtype} ({type_name(array.dtype)}) has no counterpart in Arrow")
    return encoder(array)


class WritableBuffer:
    """The writable memory that read-only Arrow arrays lie in.

    Parameters
    ----------
    memory : mmap.mmap, bytearray or None
        None where other users of the memory are unknown; then what has to be writable is copied.
    """

    def __init__(self, memory: Any = None) -> None:
        self._memory = memory
        self._start = address_of(memory) if memory else 0

    def writable(self, values: Any) -> Any:
        """Return a writable NumPy array with the same values: over the same memory, or a copy."""
        import numpy as np

        if values.flags.writeable:
            return values
        offset = values.__array_interface__["data"][0] - self._start
        inside = self._memory is not None and 0 <= offset <= len(self._memory) - values.nbytes
        if not inside or not values.size or not values.flags.c_contiguous:
            return values.copy()
        return np.frombuffer(self._memory, dtype=values.dtype, count=values.size, offset=offset)


def decode(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    """Return the column from the result of :func:`encode`, writable."""
    return _DECODERS[spec["kind"]](array, spec, buffer)


def _is_numpy(dtype: Any) -> bool:
    import numpy as np

    return isinstance(dtype, np.dtype)


# Plain NumPy ------------------------------------------------------------------------------------------------


def _encode_numpy(array: Any) -> tuple[Any, Spec]:
    import numpy as np
    import pyarrow as pa

    values = np.asarray(array)
    dtype = values.dtype
    if dtype.hasobject:
        return _encode_objects(values)
    # Arrow has no longdouble and complex, only native byte order, and only plain units of time.
    fits = dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8) or _is_time(dtype)
    if not fits or not dtype.isnative or dtype.metadata is not None:
        raise UnsupportedValue(f"the dtype {dtype.str} has no counterpart in Arrow")
    return pa.array(values, from_pandas=False), {"kind": "numpy", "dtype": dtype.str}


def _is_time(dtype: Any) -> bool:
    import numpy as np

    return dtype.kind in "mM" and np.datetime_data(dtype)[0] in _UNITS and np.datetime_data(dtype)[1] == 1


def _decode_numpy(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    import numpy as np

    return buffer.writable(array.to_numpy(zero_copy_only=False).astype(np.dtype(spec["dtype"]), copy=False))


# Objects ----------------------------------------------------------------------------------------------------


def _encode_objects(values: Any) -> tuple[Any, Spec]:
    """Encode objects of a single type with a single kind of missing value; no others are restored for certain."""
    types = set(map(type, values.tolist()))
    null, types = _missing(values, types)
    if len(types) > 1:
        names = ", ".join(sorted(object_type.__name__ for object_type in types)[:3])
        raise UnsupportedValue(f"it holds objects of several types ({names})")
    item = next(iter(types)).__name__ if types else "str"
    if types and next(iter(types)) not in _OBJECT_TYPES:
        raise UnsupportedValue(f"it holds objects of the type {item}")
    return _pack(values, item), {"kind": "object", "item": item, "null": null}


def _missing(values: Any, types: set[type]) -> tuple[str, set[type]]:
    """Return the kind of missing value, and the types of the other objects."""
    import numpy as np

    floats = [scalar for scalar in values.tolist() if type(scalar) is float] if float in types else []
    # Identity counts: decoding inserts np.nan, which would not be the same object as another float NaN.
    if floats and type(None) not in types and {id(number) for number in floats} == {id(np.nan)}:
        return "nan", types - {float}
    return "None", types - {type(None)}


def _pack(values: Any, item: str) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values, type=_arrow_types()[item], from_pandas=True)
    except (pa.ArrowException, UnicodeError, OverflowError, ValueError) as error:
        raise UnsupportedValue(f"an object of the type {item} does not fit: {error}") from error


def _decode_objects(array: Any, spec: Spec, _: WritableBuffer) -> Any:
    import numpy as np

    if spec["item"] in ("str", "bytes"):
        result = np.array(array.to_numpy(zero_copy_only=False), dtype=object)
    else:
        result = np.empty(len(array), dtype=object)
        result[:] = array.to_pylist()
    if spec["null"] == "nan":
        result[array.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return result


_OBJECT_TYPES = frozenset({str, bytes, bool, int, dt.date})


def _arrow_types() -> Mapping[str, Any]:
    import pyarrow as pa

    return {
        "str": pa.large_string(),
        "bytes": pa.large_binary(),
        "bool": pa.bool_(),
        "int": pa.int64(),
        "date": pa.date32(),
    }


# Extension dtypes of pandas ---------------------------------------------------------------------------------


def _encode_masked(array: Any) -> tuple[Any, Spec]:
    import pyarrow as pa
    import pyarrow.compute as pc

    packed = pa.array(array)
    if packed.null_count:
        # The number under a missing value is arbitrary: zeroed, equal columns give equal bytes.
        zero = False if pa.types.is_boolean(packed.type) else 0
        filled = pc.fill_null(packed, pa.scalar(zero, packed.type))
        packed = pa.Array.from_buffers(
            packed.type, len(packed), [pc.is_valid(packed).buffers()[1], filled.buffers()[1]]
        )
    return packed, {"kind": "masked", "dtype": str(array.dtype)}


def _decode_masked(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    import numpy as np
    import pandas as pd

    dtype: Any = pd.api.types.pandas_dtype(spec["dtype"])
    if dtype.name == "boolean" or array.offset:
        return _from_arrow(dtype, array).copy()
    # Over the buffer itself, as to_numpy would copy integers with missing values to floats.
    values = np.frombuffer(array.buffers()[1] or b"", dtype=dtype.numpy_dtype, count=len(array))
    missing = np.array(array.is_null().to_numpy(zero_copy_only=False))
    return dtype.construct_array_type()(buffer.writable(values), missing)


def _encode_string(array: Any) -> tuple[Any, Spec]:
    import pandas as pd
    import pyarrow as pa

    dtype = array.dtype
    na = getattr(dtype, "na_value", pd.NA)
    spec = {"kind": "string", "storage": dtype.storage, "na": "NA" if na is pd.NA else "nan"}
    try:
        return as_single_array(pa.array(array, type=pa.large_string())), spec
    except UnicodeError as error:
        raise UnsupportedValue(f"a text in it is not valid Unicode: {error}") from error


def _decode_string(array: Any, spec: Spec, _: WritableBuffer) -> Any:
    import numpy as np
    import pandas as pd

    # pandas before 2.3 has only pd.NA, and no parameter na_value.
    missing: dict[str, Any] = {} if spec["na"] == "NA" else {"na_value": np.nan}
    dtype = pd.StringDtype(spec["storage"], **missing)
    if spec["storage"] == "python":
        return pd.array(array.to_numpy(zero_copy_only=False), dtype=dtype)
    return _from_arrow(dtype, array)


def _encode_arrow(array: Any) -> tuple[Any, Spec]:
    import pyarrow as pa

    packed = as_single_array(array.__arrow_array__())
    if isinstance(packed.type, pa.BaseExtensionType):
        raise UnsupportedValue(f"the dtype {array.dtype} is an extension of Arrow")
    return packed, {"kind": "arrow"}


def _decode_arrow(array: Any, _: Spec, __: WritableBuffer) -> Any:
    import pandas as pd

    return _from_arrow(pd.ArrowDtype(array.type), array)


def _from_arrow(dtype: Any, array: Any) -> Any:
    return dtype.__from_arrow__(array)


def _encode_zoned(array: Any) -> tuple[Any, Spec]:
    import numpy as np
    import pyarrow as pa

    # As UTC: local times are ambiguous when clocks go back.
    naive = np.asarray(array.tz_convert(None), dtype=f"M8[{array.dtype.unit}]")
    packed, _ = _encode_numpy(naive)
    spec = {"kind": "zoned", "unit": array.dtype.unit, "zone": encode_zone(array.dtype.tz)}
    return packed.view(pa.timestamp(array.dtype.unit, tz="UTC")), spec


def _decode_zoned(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    import pandas as pd
    import pyarrow as pa

    unit = spec["unit"]
    naive = _decode_numpy(array.view(pa.timestamp(unit)), {"dtype": f"M8[{unit}]"}, buffer)
    return pd.DatetimeIndex(naive).tz_localize("UTC").tz_convert(decode_zone(spec["zone"])).array.copy()


def _encode_period(array: Any) -> tuple[Any, Spec]:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    spec = {"kind": "period", "dtype": str(array.dtype)}
    if pd.api.types.pandas_dtype(spec["dtype"]) != array.dtype:
        raise UnsupportedValue(f"the frequency of {array.dtype} has no name that leads back to it")
    return pa.array(np.asarray(array.asi8)), spec


def _decode_period(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    import pandas as pd

    values = buffer.writable(array.to_numpy())
    dtype: Any = pd.api.types.pandas_dtype(spec["dtype"])
    return pd.arrays.PeriodArray(values, dtype=dtype)


def _encode_interval(array: Any) -> tuple[Any, Spec]:
    import pyarrow as pa

    left, left_spec = encode(index_array(array.left))
    right, right_spec = encode(index_array(array.right))
    packed = pa.StructArray.from_arrays([left, right], names=["left", "right"])
    return packed, {"kind": "interval", "closed": array.closed, "left": left_spec, "right": right_spec}


def _decode_interval(array: Any, spec: Spec, buffer: WritableBuffer) -> Any:
    import pandas as pd

    left = decode(array.field("left"), spec["left"], buffer)
    right = decode(array.field("right"), spec["right"], buffer)
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=spec["closed"])


# Codes and the values they stand for ------------------------------------------------------------------------


def dictionary_array(codes: Any, values: Any) -> Any:
    """Return codes and their values as an Arrow dictionary array; code -1 becomes null."""
    import numpy as np
    import pyarrow as pa

    codes = np.asarray(codes)
    missing = codes < 0
    indices = pa.array(np.where(missing, 0, codes).astype(codes.dtype), mask=missing if missing.any() else None)
    return pa.DictionaryArray.from_arrays(indices, values)


def writable_codes(array: Any, buffer: WritableBuffer) -> Any:
    """Return the codes of a dictionary array, writable; null becomes -1."""
    codes = array.indices.fill_null(-1) if array.indices.null_count else array.indices
    return buffer.writable(codes.to_numpy(zero_copy_only=False))


def index_array(index: Any) -> Any:
    """Return the values of an index as an array of its dtype."""
    return index.to_numpy() if _is_numpy(index.dtype) else index.array


def as_single_array(array: Any) -> Any:
    """Return a chunked array as a single array."""
    import pyarrow as pa

    if not isinstance(array, pa.ChunkedArray):
        return array
    if array.num_chunks == 1:
        return array.chunk(0)
    result = array.combine_chunks()
    if isinstance(result, pa.ChunkedArray):
        raise UnsupportedValue("it is too large for one piece of its type")
    return result


_ENCODERS: Mapping[str, Callable[[Any], tuple[Any, Spec]]] = {
    **dict.fromkeys(("Int8Dtype", "Int16Dtype", "Int32Dtype", "Int64Dtype"), _encode_masked),
    **dict.fromkeys(("UInt8Dtype", "UInt16Dtype", "UInt32Dtype", "UInt64Dtype"), _encode_masked),
    **dict.fromkeys(("Float32Dtype", "Float64Dtype", "BooleanDtype"), _encode_masked),
    "StringDtype": _encode_string,
    "ArrowDtype": _encode_arrow,
    "DatetimeTZDtype": _encode_zoned,
    "PeriodDtype": _encode_period,
    "IntervalDtype": _encode_interval,
}
_DECODERS: Mapping[str, Callable[[Any, Spec, WritableBuffer], Any]] = {
    "numpy": _decode_numpy,
    "object": _decode_objects,
    "masked": _decode_masked,
    "string": _decode_string,
    "arrow": _decode_arrow,
    "zoned": _decode_zoned,
    "period": _decode_period,
    "interval": _decode_interval,
}
