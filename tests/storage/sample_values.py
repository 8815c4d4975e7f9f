"""Sample values of every kind that steps pass on, and an exact comparison of two values."""

from __future__ import annotations

import datetime as dt
import fractions
import math
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


@dataclass
class SampleRecord:
    """A class of a module that every process can import."""

    x: int = 0
    others: list[Any] = field(default_factory=list)


class FrameSubclass(pd.DataFrame):
    """A subclass of DataFrame, which the serializers for frames do not accept."""

    @property
    def _constructor(self) -> type:
        return FrameSubclass


PLAIN: dict[str, Any] = {
    "none": None,
    "true": True,
    "int": 3,
    "large-int": 10**100,
    "float": 0.1,
    "minus-zero": -0.0,
    "nan": math.nan,
    "infinity": -math.inf,
    "text": "ä€\n\r\n\0\ud800",
    "empty-text": "",
    "list": [1, 2.0, "3", None, False],
    "nested": {"b": [{"a": 1}, []], "a": {}, "": [[[1]]]},
    "order-of-keys": {"z": 1, "a": 2},
}
BYTES: dict[str, Any] = {"bytes": b"\0\xff", "empty-bytes": b""}
_SHARED = [1]
PICKLED: dict[str, Any] = {
    "tuple": (1, "a"),
    "tuple-in-list": [(1, 2)],
    "set": {1, 2},
    "complex": 1j,
    "int-keys": {1: 2},
    "shared-list": [_SHARED, _SHARED],
    "huge-int": 10**5000,
    "bytearray": bytearray(b"x"),
    "fraction": fractions.Fraction(1, 3),
    "date": dt.date(2026, 1, 2),
    "moment": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    "numpy-float": np.float64(0.5),
    "numpy-bool": np.bool_(False),
    "numpy-in-list": [np.int64(3)],
    "dataclass": SampleRecord(x=3, others=[SampleRecord()]),
    "timestamp": pd.Timestamp("2026-01-02", tz="UTC"),
    "deep-list": __import__("functools").reduce(lambda inner, _: [inner], range(300), []),
}


def _structured(**options: Any) -> np.dtype[Any]:
    return np.dtype(
        [("a", "<i4"), ("b", ">f8"), ("c", "S3"), ("d", "U2"), ("e", "<M8[s]"), ("f", "i2", (2,))], **options
    )


ARRAYS: dict[str, Any] = {
    "ints": np.arange(6),
    "two-dimensional": np.arange(6.0).reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "transposed": np.arange(24).reshape(2, 3, 4).T,
    "strided": np.arange(20)[::3],
    "reversed": np.arange(5)[::-1],
    "big-endian": np.arange(5, dtype=">i4"),
    "zero-dimensional": np.array(3.5),
    "empty": np.empty((0, 3)),
    "empty-strings": np.array(["", ""]),
    "bool": np.array([True, False]),
    "half": np.array([0.5, np.nan], dtype="f2"),
    "long-double": np.array([0.5], dtype="longdouble"),
    "complex": np.array([1 + 2j, np.nan]),
    "strings": np.array(["a", "ä€"]),
    "bytes": np.array([b"a", b"bc\0d"]),
    "moments": np.array(["2026-01-01", "NaT"], dtype="M8[ms]"),
    "days": np.array(["2026-01-01", "NaT"], dtype="M8[D]"),
    "durations": np.array([1, 2], dtype="m8[ns]"),
    "structured": np.zeros(3, dtype=_structured()),
    "padded": np.zeros(3, dtype={"names": ["a"], "formats": ["<i4"], "offsets": [4], "itemsize": 16}),
    "read-only": np.broadcast_to(np.arange(3), (2, 3)),
    "negative-nan": np.array([np.float64(-np.nan)]),
    "unicode-fields": np.zeros(2, dtype=[("größe", "f8"), ("幅", "f8")]),
    "many-fields": np.zeros(2, dtype=[(f"field_{number}", "i1") for number in range(5000)]),
}
ARRAYS_PICKLED: dict[str, Any] = {
    "objects": np.array([{"a": 1}, None], dtype=object),
    "aligned": np.zeros(3, dtype=_structured(align=True)),
    "metadata": np.zeros(3, dtype=np.dtype("i4", metadata={"unit": "m"})),
}
if hasattr(np.dtypes, "StringDType"):
    ARRAYS_PICKLED["variable-strings"] = np.array(["a", "bcd"], dtype=np.dtypes.StringDType())
SUBCLASSES: dict[str, Any] = {
    "masked": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
    "matrix": np.ones((2, 2)).view(np.matrix) if hasattr(np, "matrix") else None,
    "records": np.zeros(2, dtype=[("a", "i4")]).view(np.recarray),
}

_N = 4
_DAYS = pd.date_range("2026-03-28", periods=_N, freq="D")
COLUMNS: dict[str, Any] = {
    **{name: np.array([0, 1, 2, 3], dtype=name) for name in "i1 i2 i4 i8 u1 u2 u4 u8 f4 f8".split()},
    "half": np.array([0.5, np.nan, np.inf, -0.0], dtype="f2"),
    "float-nan": np.array([0.5, np.nan, -np.inf, -0.0]),
    "bool": np.array([True, False, True, True]),
    "str": pd.array(["a", None, "", "ä€\0"], dtype="str"),
    "string": pd.array(["a", None, "", "ä€"], dtype="string"),
    "string-python": pd.array(["a", pd.NA, "", "b"], dtype=pd.StringDtype("python")),
    "str-python": pd.array(["a", np.nan, "", "b"], dtype=pd.StringDtype("python", na_value=np.nan)),
    "object-str": np.array(["a", "b", "", "ä"], dtype=object),
    "object-str-none": np.array(["a", None, "", None], dtype=object),
    "object-str-nan": np.array(["a", np.nan, "", np.nan], dtype=object),
    "object-all-none": np.array([None] * _N, dtype=object),
    "object-all-nan": np.array([np.nan] * _N, dtype=object),
    "object-int": np.array([1, 2, None, 2**62], dtype=object),
    "object-bool": np.array([True, None, False, True], dtype=object),
    "object-bytes": np.array([b"a", b"", None, b"\0"], dtype=object),
    "object-date": np.array([dt.date(2026, 1, 2), None, dt.date(1, 1, 1), dt.date(9999, 12, 31)], dtype=object),
    **{
        f"moments-{unit}": pd.array(["2026-01-01", None, "1969-01-01", "2026-02-03"], dtype=f"M8[{unit}]")
        for unit in ("s", "ms", "us", "ns")
    },
    **{f"durations-{unit}": pd.array([1, None, -5, 7], dtype=f"m8[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "zoned": (_DAYS + pd.Timedelta(hours=2.5)).tz_localize("UTC").tz_convert(BERLIN).array,
    "zoned-utc": pd.DatetimeIndex(["2026-01-01", None, "2026-02-01", "2026-03-01"]).tz_localize(dt.UTC).array,
    "zoned-offset": _DAYS.tz_localize(dt.timezone(dt.timedelta(hours=5, minutes=30))).array,
    "zoned-zoneinfo-utc": _DAYS.tz_localize(zoneinfo.ZoneInfo("UTC")).array,
    "zoned-seconds": pd.DatetimeIndex(["2026-01-01"] * _N).as_unit("s").tz_localize("Asia/Tokyo").array,
    **{
        name: pd.array([1, None, 3, 0], dtype=name)
        for name in "Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float32 Float64".split()
    },
    "boolean": pd.array([True, None, False, True], dtype="boolean"),
    "Int64-whole": pd.array([1, 2, 3, 4], dtype="Int64"),
    "category": pd.Categorical(["b", "a", None, "b"], categories=["b", "unused", "a"]),
    "category-ordered": pd.Categorical(["b", "a", None, "b"], categories=["b", "a"], ordered=True),
    "category-ints": pd.Categorical([3, 1, 1, 3]),
    "category-range": pd.Categorical.from_codes([0, 1, 2, -1], pd.RangeIndex(3)),
    "category-named": pd.Categorical.from_codes([0, 1, 1, -1], pd.Index(["x", "y"], name="kind")),
    "category-moments": pd.Categorical(_DAYS),
    "category-object": pd.Categorical.from_codes([0, 1, 0, -1], pd.Index(["x", "y"], dtype=object)),
    "category-empty": pd.Categorical([None] * _N, categories=[]),
    "category-many": pd.Categorical.from_codes([0, 299, 5, -1], [str(number) for number in range(300)]),
    "cut": pd.cut([1, 5, 9, 100], [0, 5, 10]),
    "period": pd.array(pd.PeriodIndex(["2026-01", None, "2026-03", "2026-04"], freq="M")),
    "period-weeks": pd.period_range("2026-01-01", periods=_N, freq="W-WED").array,
    "period-two-days": pd.period_range("2026-01-01", periods=_N, freq="2D").array,
    "interval": pd.arrays.IntervalArray.from_tuples([(0.0, 1.0), np.nan, (2.0, 3.0), (2.0, 9.0)], closed="left"),
    "interval-ints": pd.arrays.IntervalArray.from_breaks([0, 1, 2, 3, 4], closed="both"),
    "interval-moments": pd.arrays.IntervalArray.from_breaks(pd.date_range("2026-01-01", periods=5, tz=BERLIN)),
    "arrow-string": pd.array(["a", None, "b", ""], dtype=pd.ArrowDtype(pa.string())),
    "arrow-int": pd.array([1, None, 3, 4], dtype=pd.ArrowDtype(pa.int16())),
    "arrow-decimal": pd.array([None, 1, 2, 3], dtype=pd.ArrowDtype(pa.decimal128(7, 2))),
    "arrow-list": pd.array([[1, 2], None, [], [3]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "arrow-struct": pd.array(
        [{"a": 1}, None, {"a": None}, {"a": 2}], dtype=pd.ArrowDtype(pa.struct([("a", pa.int8())]))
    ),
    "arrow-date": pd.array([dt.date(2026, 1, 1), None, None, None], dtype=pd.ArrowDtype(pa.date32())),
    "arrow-dictionary": pd.array(["a", "b", "a", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
}
COLUMNS_PICKLED: dict[str, Any] = {
    "complex": np.array([1j, 2, 3, 4]),
    "object-mixed": np.array([1, "a", None, 2.5], dtype=object),
    "object-lists": np.array([[1], [2], [3], None], dtype=object),
    "object-floats": np.array([1.5, None, 2.5, 3.5], dtype=object),
    "object-none-and-nan": np.array(["a", None, np.nan, "b"], dtype=object),
    "object-other-nan": np.array(["a", float("nan"), "b", "c"], dtype=object),
    "object-surrogate": np.array(["a", "\ud800", "b", "c"], dtype=object),
    "object-huge-int": np.array([2**64, 1, 2, 3], dtype=object),
    "object-datetime": np.array([dt.datetime(2026, 1, 2)] * _N, dtype=object),  # noqa: DTZ001
    "object-nat": np.array(["a", pd.NaT, "b", "c"], dtype=object),
    "object-bool-int": np.array([True, 1, 0, False], dtype=object),
    "object-numpy-str": np.array([np.str_("a")] * _N, dtype=object),
    "sparse": pd.arrays.SparseArray([0, 0, 1, 2]),
    "named-offset": _DAYS.tz_localize(dt.timezone(dt.timedelta(hours=1), "CET")).array,
}
_PRODUCT = pd.MultiIndex.from_product([["a", "b"], range(2)], names=["letter", None])
INDEXES: dict[str, Any] = {
    "range": pd.RangeIndex(_N),
    "range-named": pd.RangeIndex(10, 2, -2, name="row"),
    "ints": pd.Index([3, 1, 2, 2], name=0),
    "floats": pd.Index([0.5, np.nan, 1.0, 2.0]),
    "strings": pd.Index(list("abca"), name=("a", 1)),
    "objects": pd.Index(list("abca"), dtype=object),
    "bools": pd.Index([True, False, True, True]),
    "moments": pd.DatetimeIndex(["2026-01-01", None, "2026-01-01", "2025-01-01"], name="when"),
    "daily": _DAYS,
    "hourly-zoned": pd.date_range("2026-03-28", periods=_N, freq="12h", tz=BERLIN),
    "business-days": pd.bdate_range("2026-03-27", periods=_N),
    "month-ends": pd.date_range("2026-01-31", periods=_N, freq="ME", unit="s"),
    "durations": pd.timedelta_range("1h", periods=_N, freq="90min"),
    "periods": pd.period_range("2026-01", periods=_N, freq="Q"),
    "intervals": pd.interval_range(0, 4, periods=_N),
    "categories": pd.CategoricalIndex(list("abca"), categories=["c", "b", "a"], ordered=True, name="c"),
    "nullable": pd.Index(pd.array([1, None, 3, 4], dtype="Int64")),
    "product": _PRODUCT,
    "unused-levels": pd.MultiIndex.from_product([["a", "b", "c"], [1, 2]])[1:5],
    "missing-levels": pd.MultiIndex.from_tuples([("a", 1), (None, 2), ("b", None), ("a", 1)], names=["x", "x"]),
    "level-of-moments": pd.MultiIndex.from_arrays([_DAYS, pd.interval_range(0, 4, periods=_N)]),
    "level-zoned": pd.MultiIndex.from_arrays([_DAYS.tz_localize(BERLIN), [1, 2, 3, 4]], sortorder=0),
}
INDEXES_PICKLED: dict[str, Any] = {
    "objects-mixed": pd.Index([1, "a", None, (1, 2)], dtype=object),
    "name-of-a-timestamp": pd.Index([1, 2, 3, 4], name=pd.Timestamp("2026-01-01")),
    "level-of-categories": pd.MultiIndex.from_arrays([pd.Categorical(list("abca")), [1, 2, 3, 4]]),
    "holidays": pd.date_range("2026-01-01", periods=_N, freq=pd.offsets.CustomBusinessDay(holidays=["2026-01-02"])),
}
LABELS: dict[str, Any] = {
    "ints": pd.RangeIndex(2),
    "mixed": pd.Index([1, "1"], dtype=object),
    "duplicates": pd.Index(["a", "a"]),
    "named": pd.Index(["a", "b"], name="columns"),
    "objects": pd.Index(["a", "b"], dtype=object),
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["one", "two"]),
    "moments": pd.date_range("2026-01-01", periods=2, freq="D"),
    "categories": pd.CategoricalIndex(["a", "b"]),
    "like-a-number": pd.Index(["a", "a.1"]),
    "clashing": pd.Index(["__index_level_0__", "a"]),
    "empty-text": pd.Index(["", " "]),
    "tuples": pd.Index([("a",), ("a", 1)], tupleize_cols=False),
    "none-and-nan": pd.Index([None, np.nan], dtype=object),
    "bools": pd.Index([True, "a"], dtype=object),
}


def _frame(columns: Any = None, **options: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"x": [1.5, 2.5, np.nan, 4.0], "y": list("abcd")}, **options)
    if columns is not None:
        frame.columns = columns
    return frame


def _column(array: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series(array, dtype=array.dtype), "y": [1, 2, 3, 4]})


def _with(frame: Any, act: Callable[[Any], None]) -> Any:
    act(frame)
    return frame


FRAMES: dict[str, Any] = {
    **{f"column-{name}": _column(array) for name, array in COLUMNS.items()},
    **{f"series-{name}": pd.Series(array, dtype=array.dtype, name="s") for name, array in COLUMNS.items()},
    **{f"index-{name}": _frame(index=index) for name, index in INDEXES.items()},
    **{f"alone-{name}": index for name, index in INDEXES.items()},
    **{f"labels-{name}": _frame(columns=labels) for name, labels in LABELS.items()},
    "no-rows": _frame().iloc[:0],
    "no-rows-categories": pd.DataFrame({"c": COLUMNS["category"]}).iloc[:0],
    "no-rows-levels": _frame(index=_PRODUCT).iloc[:0],
    "no-columns": _frame()[[]],
    "no-columns-index": _frame(index=list("abcd"))[[]],
    "nothing": pd.DataFrame(),
    "empty-series": pd.Series(dtype="f8"),
    "empty-moments": pd.Series(pd.DatetimeIndex([], freq="D")),
    "attrs": _with(_frame(), lambda frame: frame.attrs.update(source="x", nested={"a": [1]})),
    "series-attrs": _with(pd.Series([1]), lambda series: series.attrs.update(unit="m")),
    "no-duplicates": _frame().set_flags(allows_duplicate_labels=False),
    "series-unnamed": pd.Series([1, 2]),
    "series-named-tuple": pd.Series([1, 2], name=("a", 1)),
    "fortran": pd.DataFrame(np.arange(12.0).reshape(3, 4)),
    "transposed": pd.DataFrame(np.arange(12.0).reshape(3, 4)).T,
    "sliced": pd.DataFrame({"a": np.arange(10), "s": [str(number) for number in range(10)]}).iloc[3:8:2],
    "filtered-strings": pd.Series([f"{number}" for number in range(20)])[5:9],
    "wide": pd.DataFrame(np.ones((2, 300))),
}
FRAMES_PICKLED: dict[str, Any] = {
    **{f"column-{name}": _column(array) for name, array in COLUMNS_PICKLED.items()},
    **{f"index-{name}": _frame(index=index) for name, index in INDEXES_PICKLED.items()},
    "attrs": _with(_frame(), lambda frame: frame.attrs.update(shape=(1, 2))),
    "label-of-a-tuple-with-a-list": pd.Series([1], name=(1, (2, np.int64(3)))),
}


def assert_same(expected: Any, actual: Any) -> None:
    """Fail unless both values are the same in every respect that a step could notice."""
    assert type(expected) is type(actual)
    if isinstance(expected, np.ndarray):
        _same_array(expected, actual)
    elif isinstance(expected, pd.DataFrame | pd.Series | pd.Index):
        _same_pandas(expected, actual)
    elif isinstance(expected, float | complex | np.floating):
        assert repr(expected) == repr(actual)
    elif isinstance(expected, list | tuple):
        assert len(expected) == len(actual)
        for mine, its in zip(expected, actual, strict=True):
            assert_same(mine, its)
    elif isinstance(expected, dict):
        assert list(expected) == list(actual)
        assert_same(list(expected.values()), list(actual.values()))
    else:
        assert expected == actual


def _same_array(expected: Any, actual: Any) -> None:
    assert expected.dtype == actual.dtype
    assert expected.dtype.metadata == actual.dtype.metadata
    assert expected.dtype.isalignedstruct == actual.dtype.isalignedstruct
    assert expected.shape == actual.shape
    if expected.dtype.hasobject:
        assert_same(expected.tolist(), actual.tolist())
    elif expected.dtype.names:  # the padding between fields has no meaning
        assert np.array_equal(expected, actual)
    else:
        assert expected.tobytes() == actual.tobytes()
    if expected.flags.c_contiguous or expected.flags.f_contiguous:
        assert expected.flags.f_contiguous == actual.flags.f_contiguous


def _same_pandas(expected: Any, actual: Any) -> None:
    if isinstance(expected, pd.Index):
        _same_index(expected, actual)
        return
    exact = {"check_exact": True, "check_freq": True, "check_flags": True}
    if isinstance(expected, pd.Series):
        pd.testing.assert_series_equal(expected, actual, **exact)
        assert_same(expected.name, actual.name)
        _same_values(expected, actual)
    else:
        pd.testing.assert_frame_equal(expected, actual, **exact, check_column_type="exact")
        _same_index(expected.columns, actual.columns)
        for at in range(expected.shape[1]):
            _same_values(expected.iloc[:, at], actual.iloc[:, at])
    _same_index(expected.index, actual.index)
    assert expected.attrs == actual.attrs


def _same_index(expected: Any, actual: Any) -> None:
    assert type(expected) is type(actual)
    pd.testing.assert_index_equal(expected, actual, exact=True, check_exact=True)
    assert expected.names == actual.names
    if isinstance(expected, pd.MultiIndex):
        assert expected.sortorder == actual.sortorder
        for mine, its in zip(expected.levels, actual.levels, strict=True):
            _same_index(mine, its)
        for mine, its in zip(expected.codes, actual.codes, strict=True):
            assert mine.tolist() == its.tolist()
        return
    assert getattr(expected, "freq", None) == getattr(actual, "freq", None)
    _same_values(expected, actual)


def _same_values(expected: Any, actual: Any) -> None:
    """Compare what `equals` is generous about: dtypes, zones, objects, bits of floats."""
    assert expected.dtype == actual.dtype
    assert str(expected.dtype) == str(actual.dtype)
    assert type(expected.array) is type(actual.array)
    if isinstance(expected.dtype, pd.StringDtype):
        assert (expected.dtype.storage, expected.dtype.na_value is pd.NA) == (
            actual.dtype.storage,
            actual.dtype.na_value is pd.NA,
        )
    if isinstance(expected.dtype, pd.DatetimeTZDtype):
        assert type(expected.dtype.tz) is type(actual.dtype.tz)
        assert expected.dtype.tz == actual.dtype.tz
    if isinstance(expected.dtype, pd.CategoricalDtype):
        mine, its = pd.Categorical(expected), pd.Categorical(actual)
        _same_index(mine.categories, its.categories)
        assert mine.codes.tolist() == its.codes.tolist()
    if isinstance(expected.dtype, np.dtype) and expected.dtype.kind == "f":
        assert expected.to_numpy().tobytes() == actual.to_numpy().tobytes()
    if expected.dtype == object:
        assert [type(item) for item in expected] == [type(item) for item in actual]
