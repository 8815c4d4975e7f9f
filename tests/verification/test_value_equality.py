"""Equality of values of any type, and which of their parts differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from jupyter_pipelines.verification.value_equality import difference, values_equal


class FittedModel:
    """An object without ``__eq__``."""

    def __init__(self, *, names: Any = (), weights: Any = (), inner: Any = None) -> None:
        self.names, self.weights, self.inner = names, weights, inner


class SlottedModel:
    __slots__ = ("weights",)

    def __init__(self, weights: Any) -> None:
        self.weights = weights


def cyclic(weight: float) -> FittedModel:
    model = FittedModel(weights=[weight])
    model.inner = [model]
    return model


# Sets in two orders: their pickles differ.
SETS = [set(order) for order in ([8, 16, 0], [0, 16, 8])]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1.0, 1.0 + 1e-12, True),
        (1.0, 1.1, False),
        (float("nan"), float("nan"), True),
        (1, True, False),
        (5, 6, False),
        ("a", "b", False),
        ({"a": [1.0]}, {"a": [1.0 + 1e-12]}, True),
        ({"a": 1}, {"b": 1}, False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
        (np.array([1, 2]), np.array([1, 3]), False),
        (np.array([1, 2]), np.array([1, 2], dtype="int32"), False),
        (np.array([1.0]), np.array([1.0], dtype="float32"), False),
        (np.array([None, np.zeros(2)], dtype=object), np.array([None, np.zeros(2)], dtype=object), True),
        (np.zeros(2), np.zeros((2, 1)), False),
        (np.int64(5), np.int64(6), False),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": [1.0 + 1e-12]}), True),
        (pd.DataFrame({"a": [1e-9]}), pd.DataFrame({"a": [2e-9]}), False),
        (pd.Series([1]), pd.Series([2]), False),
        (pd.Index([1]), pd.Index([1]), True),
        (pd.Index([1]), pd.Index([1.0]), False),
        (pl.DataFrame({"a": [1, None]}), pl.DataFrame({"a": [1, None]}), True),
        (pl.DataFrame({"a": [1, None]}), pl.DataFrame({"a": [1, 2]}), False),
        (pl.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]}, {"a": pl.Int8}), False),
        (pl.Series("a", [1.0, float("nan")]), pl.Series("a", [1.0, float("nan")]), True),
        (pl.Series("a", [1]), pl.Series("a", [2]), False),
        (pl.Series("a", [1]), pl.Series("b", [1]), False),
        (pd.Timestamp("2026-01-01"), pd.Timestamp("2026-01-02"), False),
        (FittedModel(names=SETS[0]), FittedModel(names=SETS[1]), True),
        (FittedModel(names=SETS[0]), FittedModel(names={0, 16, 9}), False),
        (FittedModel(weights=np.array([1.0])), FittedModel(weights=np.array([1.0 + 1e-12])), True),
        (FittedModel(weights=np.array([1.0])), FittedModel(weights=np.array([1.1])), False),
        (SlottedModel([1.0]), SlottedModel([1.0 + 1e-12]), True),
        (SlottedModel([1.0]), SlottedModel([2.0]), False),
        (cyclic(1.0), cyclic(1.0 + 1e-12), True),
        (cyclic(1.0), cyclic(2.0), False),
        (values_equal, values_equal, True),
        (values_equal, difference, False),
    ],
    ids=range(37),
)
def test_values_are_the_same_or_not(first: Any, second: Any, expected: bool) -> None:
    assert values_equal(first, second) is expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"a": [1], "b": [3]}), "column `b`"),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"c": [1]}), "other columns"),
        (np.array([1]), np.array([1.0]), "dtype int64, stored float64"),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 3, "c": 4}, "keys `b`, `c`"),
        ({"a": 1}, {"b": 1}, "keys `a`, `b`"),
        ({n: n for n in range(9)}, {n: -n - 1 for n in range(9)}, "keys `0`, `1`, `2`, `3` and 5 more"),
        (FittedModel(weights=[1.0]), FittedModel(weights=[2.0]), "attribute `weights`"),
        (SlottedModel([1.0]), SlottedModel([2.0]), ""),
        (1, 2, ""),
        ({}, [], ""),
    ],
    ids=range(10),
)
def test_the_parts_that_differ_are_named(first: Any, second: Any, expected: str) -> None:
    assert difference(first, second) == expected
