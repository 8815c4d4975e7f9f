"""Formats on request, libraries that are missing or not pandas, and generated values."""

from __future__ import annotations

import datetime as dt
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jupyter_pipelines.errors import NotStorable, PluginError, StoreError
from jupyter_pipelines.storage import serializers
from tests.storage import helper_processes, sample_values


def round_trip(value: Any, folder: Path, form: str | None = None) -> tuple[Any, serializers.SaveResult]:
    path = folder / f"value{len(list(folder.iterdir()))}"
    saved = serializers.save(value, path, form, name="rows")
    return serializers.load(path, saved.format), saved


# On request


@pytest.mark.parametrize("text", ["", "a\r\nb\n\0", "ä€😀"])
def test_text_on_request(text: str, tmp_path: Path) -> None:
    loaded, saved = round_trip(text, tmp_path, "text")
    assert (loaded, saved.format, saved.bytes) == (text, "text", len(text.encode()))


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (3, "text"),
        ("\ud800", "text"),
        ((1, 2), "json"),
        ({1: 2}, "json"),
        (np.float64(1), "json"),
        ("a", "bytes"),
        ([1], "npy"),
        (np.array([object()]), "npy"),
        ([1], "arrow"),
        ({"a": 1}, "parquet"),
        (pd.DataFrame({"a": [1j]}), "arrow"),
        (pd.DataFrame({"a": [1j]}), "parquet"),
        (sample_values.FrameSubclass({"a": [1]}), "arrow"),
    ],
)
def test_a_format_that_cannot_hold_the_value_is_refused(value: Any, form: str, tmp_path: Path) -> None:
    with pytest.raises(NotStorable) as caught:
        serializers.save(value, tmp_path / "value", form, name="rows")
    (diagnostic,) = caught.value.faults
    assert diagnostic.code == "JP205"
    assert "`rows`" in diagnostic.message
    assert f"`{form}`" in diagnostic.message
    assert f"without `:{form}`" in diagnostic.suggestion
    assert list(tmp_path.iterdir()) == []


def test_a_misspelt_format_is_told_with_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        serializers.save(1, tmp_path / "value", "jsn")
    assert caught.value.code == "JP602"
    assert "`json`" in str(caught.value)


PARQUET = {
    name: value
    for name, value in sample_values.FRAMES.items()
    if name.startswith(("column-", "index-", "labels-")) or name in ("attrs", "no-duplicates", "no-rows", "wide")
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_on_request_is_exact(name: str, tmp_path: Path) -> None:
    loaded, saved = round_trip(PARQUET[name], tmp_path, "parquet")
    assert saved.format == "parquet"
    sample_values.assert_same(PARQUET[name], loaded)
    assert serializers.save(loaded, tmp_path / "again", "parquet").digest == saved.digest


def test_parquet_can_be_read_by_others(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "kind": pd.Categorical(["x", "y"])}, index=["r", "s"])
    serializers.save(frame, tmp_path / "value.parquet", "parquet")
    loaded = pd.read_parquet(tmp_path / "value.parquet")
    assert loaded["a"].tolist() == [1, 2]
    assert loaded["kind"].tolist() == ["x", "y"]


def test_arrow_can_be_read_by_others(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "when": pd.date_range("2026-01-01", periods=2, tz="Europe/Berlin")})
    serializers.save(frame, tmp_path / "value.arrow")
    loaded = pd.read_feather(tmp_path / "value.arrow")
    assert loaded["a"].tolist() == [1, 2]
    assert loaded["when"].tolist() == frame["when"].tolist()


# Missing and other libraries


def test_without_pyarrow_a_frame_is_pickled_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "pyarrow" else real(name, *rest)
    )
    frame = pd.DataFrame({"a": [1, 2]})
    loaded, saved = round_trip(frame, tmp_path)
    assert saved.format == "pickle"
    assert saved.notes == (
        "`rows` is not stored as arrow: pyarrow is not installed (pip install 'jupyter-pipelines[arrow]')",
    )
    sample_values.assert_same(frame, loaded)


def test_nothing_is_imported_that_the_value_did_not_bring(tmp_path: Path) -> None:
    code = """
    from jupyter_pipelines.storage import serializers
    folder = Path(sys.argv[1])
    for number, value in enumerate([{"a": [1.5, None]}, "text", b"bytes"]):
        saved = serializers.save(value, folder / str(number))
        assert serializers.load(folder / str(number), saved.format) == value
    heavy = {"numpy", "pandas", "pyarrow", "polars", "joblib", "cloudpickle", "sqlite3", "psutil", "filelock"}
    print(*sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
    """
    assert helper_processes.output_of(code, tmp_path) == "\n"


def test_a_serializer_that_breaks_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_pipelines.storage.serializers import numpy_arrays as npy

    def fail(array: Any, file: Any) -> bool:
        file.write(b"half")
        raise RuntimeError("no")

    monkeypatch.setattr(npy, "_write_head", fail)
    loaded, saved = round_trip(np.arange(3), tmp_path)
    assert loaded.tolist() == [0, 1, 2]
    assert saved.format == "pickle"
    assert saved.notes == ("`rows` is not stored as npy: RuntimeError: no",)


def test_buffers_of_any_shape_are_hashed(tmp_path: Path) -> None:
    value = (np.empty((0, 3)), np.asfortranarray(np.ones((3, 2))), np.array(1.5), np.arange(9)[::2])
    loaded, _ = round_trip(value, tmp_path)
    sample_values.assert_same(value, loaded)


def test_tables_of_pyarrow(tmp_path: Path) -> None:
    table = pa.table(
        {
            "a": pa.chunked_array([[1, 2], [None]]),
            "d": pa.chunked_array([pa.array(["x", "y"]).dictionary_encode(), pa.array(["z"]).dictionary_encode()]),
            "l": pa.array([[1], None, []]),
        },
        metadata={b"mine": b"\xff"},
    )
    for variant in (
        table,
        table.replace_schema_metadata(None),
        table.slice(0, 0),
        table.slice(0, 0).select([]),
        table.slice(1),
    ):
        loaded, saved = round_trip(variant, tmp_path)
        assert saved.format == "arrow"
        assert loaded.to_pylist() == variant.to_pylist()
        assert loaded.schema.equals(variant.schema, check_metadata=True)
        assert type(loaded.schema.metadata) is type(variant.schema.metadata)


def test_how_a_table_is_cut_into_chunks_does_not_count(tmp_path: Path) -> None:
    table = pa.table({"a": pa.chunked_array([[1, 2], [3]])})
    other = pa.table({"a": pa.chunked_array([[1], [2, 3]])})
    assert round_trip(table, tmp_path)[1].digest == round_trip(other, tmp_path)[1].digest


def test_frames_of_polars(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "a": [1, None],
            "s": ["x", None],
            "c": pl.Series(["a", "b"], dtype=pl.Categorical),
            "e": pl.Series(["a", "b"], dtype=pl.Enum(["b", "a"])),
            "l": [[1], [2, 3]],
            "st": [{"q": 1}, {"q": None}],
            "when": pl.Series([1, 2], dtype=pl.Datetime("ns", "Europe/Berlin")),
            "d": pl.Series([1, 2], dtype=pl.Duration("us")),
            "n": [None, None],
            "dec": pl.Series(["1.2", "2.3"]).cast(pl.Decimal(10, 2)),
            "arr": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
        }
    )
    for variant in (frame, frame.clear(), frame["c"], pl.DataFrame(), pl.concat([frame, frame], rechunk=False)):
        loaded, saved = round_trip(variant, tmp_path)
        assert saved.format == "arrow", saved.notes
        assert type(loaded) is type(variant)
        assert loaded.equals(variant)
        assert getattr(loaded, "schema", None) == getattr(variant, "schema", None)
        assert round_trip(loaded, tmp_path)[1].digest == saved.digest
    whole, saved = round_trip(pl.DataFrame({"i": pl.Series([1, 2], dtype=pl.Int128)}), tmp_path)
    assert saved.format == "pickle"
    assert len(saved.notes) == 1
    assert whole.dtypes == [pl.Int128]


def test_damaged_bytes_are_told_without_a_traceback(tmp_path: Path) -> None:
    pytest.importorskip("joblib")
    (tmp_path / "value").write_bytes(b"\x00nonsense")
    for form in ("json", "npy", "arrow", "parquet", "pickle", "joblib", "text"):
        if form == "text":
            (tmp_path / "value").write_bytes(b"\xff")
        with pytest.raises(StoreError) as caught:
            serializers.load(tmp_path / "value", form)
        assert caught.value.code == "JP405"
        assert form in str(caught.value)


# Generated values

ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters())
PLAIN = st.recursive(ATOMS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
LABELS = st.none() | st.integers() | st.text(max_size=3) | st.tuples(st.integers(), st.text(max_size=2))


@given(value=PLAIN)
def test_any_plain_value(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded, saved = round_trip(value, tmp_path_factory.mktemp("any"))
    assert saved.format == "json"
    sample_values.assert_same(value, loaded)


@given(
    value=st.recursive(
        ATOMS | st.binary() | st.complex_numbers(),
        lambda inner: (
            st.lists(inner)
            | st.tuples(inner, inner)
            | st.dictionaries(ATOMS.filter(lambda key: key == key), inner)
            | st.frozensets(st.integers())
        ),
        max_leaves=10,
    )
)
def test_any_value_of_python(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded, _ = round_trip(value, tmp_path_factory.mktemp("any"))
    sample_values.assert_same(value, loaded)


@given(
    value=arrays.arrays(
        arrays.scalar_dtypes() | arrays.nested_dtypes(), arrays.array_shapes(min_dims=0, min_side=0), fill=st.nothing()
    )
)
def test_any_array(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded, saved = round_trip(value, tmp_path_factory.mktemp("any"))
    assert saved.format == ("pickle" if value.dtype.hasobject else "npy"), saved.notes
    assert loaded.dtype == value.dtype
    assert loaded.shape == value.shape
    assert loaded.tobytes() == value.tobytes()


def _column(rows: int) -> st.SearchStrategy[Any]:
    def many(elements: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[Any]:
        return st.lists(elements, min_size=rows, max_size=rows).map(lambda items: pd.Series(items, **options).array)

    moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))  # noqa: DTZ001
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    return st.one_of(
        many(st.integers(-(2**63), 2**63 - 1), dtype="i8"),
        many(st.floats(), dtype="f8"),
        many(st.floats(width=32), dtype="f4"),
        many(st.booleans(), dtype="bool"),
        many(texts | st.none(), dtype="str"),
        many(texts | st.none(), dtype=object),
        many(texts | st.none(), dtype="string"),
        many(st.integers() | st.text() | st.none(), dtype=object),
        many(st.integers(-128, 127) | st.none(), dtype="Int8"),
        many(moments | st.none(), dtype="M8[us]"),
        many(moments, dtype="M8[us]").map(lambda array: array.tz_localize("UTC").tz_convert("America/New_York")),
        many(st.timedeltas().filter(lambda delta: abs(delta) < dt.timedelta(days=90_000)), dtype="m8[ns]"),
        many(st.sampled_from("abc") | st.none(), dtype="category"),
        many(st.floats(-5, 5)).map(lambda array: pd.cut(array, [-1, 0, 1])),
    )


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 5))
    columns = draw(st.lists(_column(rows), max_size=4))
    labels = draw(st.lists(LABELS, min_size=len(columns), max_size=len(columns)))
    index = draw(st.none() | _column(rows))
    named = pd.Index(index, dtype=index.dtype, name=draw(LABELS)) if index is not None else pd.RangeIndex(rows)
    series = {at: pd.Series(array, index=named, dtype=array.dtype) for at, array in enumerate(columns)}
    frame = pd.DataFrame(series, index=named)
    if labels:
        frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    return frame


@given(frame=frames())
def test_any_frame(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("any")
    loaded, saved = round_trip(frame, folder)
    sample_values.assert_same(frame, loaded)
    assert (saved.format == "arrow") == (saved.notes == ())
    if saved.format == "arrow":
        assert round_trip(loaded, folder)[1].digest == saved.digest
    assert not math.isnan(saved.bytes)
