"""The serializers of this package keep the contract that it asks of others."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pytest

from jupyter_pipelines.storage.serializers.arrow_frames import ArrowSerializer, ParquetSerializer
from jupyter_pipelines.storage.serializers.json_text_bytes import BytesSerializer, JsonSerializer, TextSerializer
from jupyter_pipelines.storage.serializers.numpy_arrays import NpySerializer
from jupyter_pipelines.storage.serializers.pickles import JoblibSerializer, PickleSerializer
from jupyter_pipelines.storage.serializers.protocol import ValueSerializer
from jupyter_pipelines.testing import SerializerContract


class TestJson(SerializerContract):
    def serializer(self) -> ValueSerializer:
        return JsonSerializer()

    def values(self) -> Iterable[Any]:
        return [None, 1, -0.5, "ä\ud800", [1, [2]], {"b": 1, "a": {}}]

    def refused(self) -> Iterable[Any]:
        shared: list[int] = []
        return [(1,), {1: 2}, {1, 2}, np.float64(1), [shared, shared], b"", 1j, 10**5000]


class TestText(SerializerContract):
    def serializer(self) -> ValueSerializer:
        return TextSerializer()

    def values(self) -> Iterable[Any]:
        return ["", "a\r\nä"]

    def refused(self) -> Iterable[Any]:
        return [1, b"", "\ud800", np.str_("a")]


class TestBytes(SerializerContract):
    def serializer(self) -> ValueSerializer:
        return BytesSerializer()

    def values(self) -> Iterable[Any]:
        return [b"", b"\0\xff"]

    def refused(self) -> Iterable[Any]:
        return ["", bytearray(), memoryview(b"")]


class TestNpy(SerializerContract):
    def serializer(self) -> ValueSerializer:
        return NpySerializer()

    def values(self) -> Iterable[Any]:
        return [np.arange(6).reshape(2, 3), np.array(1.5), np.array(["a"]), np.zeros((0, 2))]

    def refused(self) -> Iterable[Any]:
        return [
            [1],
            np.float64(1),
            np.array([object()]),
            np.ma.masked_array([1]),
            np.zeros(1, np.dtype("i4", metadata={"a": 1})),
        ]

    def same(self, left: Any, right: Any) -> bool:
        return bool(type(left) is type(right) and left.dtype == right.dtype and np.array_equal(left, right))


class FrameContract(SerializerContract):
    def values(self) -> Iterable[Any]:
        frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index([5, 6], name="i"))
        return [frame, frame["b"], frame.index, pd.DataFrame({"c": pd.Categorical(["a", "b"])}), frame.iloc[:0]]

    def refused(self) -> Iterable[Any]:
        return [1, pd.DataFrame({"a": [1j]}), pd.Series([1, "a"], dtype=object), pd.Timestamp("2026-01-01")]

    def same(self, left: Any, right: Any) -> bool:
        dtypes = ([*left.dtypes], [*right.dtypes]) if isinstance(left, pd.DataFrame) else (left.dtype, right.dtype)
        return bool(type(left) is type(right) and left.equals(right) and dtypes[0] == dtypes[1])


class TestArrow(FrameContract):
    def serializer(self) -> ValueSerializer:
        return ArrowSerializer()


class TestParquet(FrameContract):
    def serializer(self) -> ValueSerializer:
        return ParquetSerializer()


class TestPickle(SerializerContract):
    def serializer(self) -> ValueSerializer:
        return PickleSerializer()

    def values(self) -> Iterable[Any]:
        return [(1, "a"), {1: {2}}, len, 1j, Path("a")]


class TestJoblib(SerializerContract):
    def serializer(self) -> ValueSerializer:
        pytest.importorskip("joblib")
        return JoblibSerializer()

    def values(self) -> Iterable[Any]:
        return [(1, "a"), {1: {2}}]


# The contract itself can be broken


class CarelessSerializer:
    """A serializer that takes lists, loses an item, and refuses nothing."""

    name = "careless"
    suffix = ".txt"

    def accepts(self, value: Any) -> bool:
        return isinstance(value, list)

    def write(self, value: Any, file: BinaryIO) -> None:
        file.write(repr((value[1:], id(value))).encode())

    def read(self, path: Path) -> Any:
        return []


class BrokenContract(SerializerContract):
    def serializer(self) -> ValueSerializer:
        return CarelessSerializer()

    def values(self) -> Iterable[Any]:
        return [[1, 2]]

    def refused(self) -> Iterable[Any]:
        return [[object()]]


def test_a_careless_serializer_breaks_the_contract(tmp_path: Path) -> None:
    contract = BrokenContract()
    with pytest.raises(AssertionError, match="has come back as"):
        contract.test_its_values_come_back_as_they_were(tmp_path)
    (tmp_path / "again").mkdir()
    with pytest.raises(AssertionError, match="bytes differ"):
        contract.test_equal_values_give_equal_bytes(tmp_path / "again")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        contract.test_what_does_not_fit_is_refused_before_a_byte_is_written()
