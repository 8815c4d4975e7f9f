"""Which values share parts that can change."""

from __future__ import annotations

import enum
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.serializers import shared_parts


class Colour(enum.Enum):
    """An enumeration."""

    RED = 1


class Holder:
    """An object with one attribute."""

    def __init__(self, value: Any) -> None:
        self.value = value


class FrozenHolder:
    """An object without attributes of its own that can be set."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


CHANGING = [
    [1],
    {"a": 1},
    {1, 2},
    [[1], [2]],
    bytearray(b"x"),
    Holder(1),
    Holder([1]),
    FrozenHolder(1),
    np.zeros(3),
    pd.DataFrame({"a": [1]}),
    pd.Series([1]),
    np.random.default_rng(1),
]
UNCHANGING = [
    1,
    "text" * 100,
    b"bytes" * 100,
    (1, "a"),
    frozenset({1}),
    range(3),
    len,
    Holder,
    Colour.RED,
    re.compile("x"),
    Path("x"),
    datetime(2026, 1, 1, tzinfo=UTC),
    logging.getLogger("a name"),
    np.dtype("int64"),
    np.float64(1.5),
    np.add,
    pd.Index([1, 2]),
    pd.Timestamp("2026-01-01"),
]


@pytest.mark.parametrize("part", CHANGING, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("wrap", [Holder, lambda part: [part], lambda part: {"a": (part,)}, lambda part: part])
def test_what_can_change_is_shared(part: Any, wrap: Any) -> None:
    assert shared_parts.groups({"a": Holder(part), "b": wrap(part), "c": [2]}) == [["a", "b"]]


@pytest.mark.parametrize("part", UNCHANGING, ids=lambda part: type(part).__name__)
def test_what_cannot_change_is_not_shared(part: Any) -> None:
    assert shared_parts.groups({"a": Holder(part), "b": [part], "c": part, "d": {"x": part}}) == []


def test_a_class_is_not_shared_by_its_instances() -> None:
    @dataclass
    class Local:
        value: list[int]
        seen: ClassVar[dict[str, int]] = {}

    assert shared_parts.groups({"a": Local([1]), "b": Local([1])}) == []


def test_functions_share_what_they_close_over() -> None:
    counts = [0]
    assert shared_parts.groups({"up": lambda: counts[0] + 1, "down": [lambda: counts[0] - 1]}) == []
    assert shared_parts.groups({"up": [lambda: counts[0] + 1], "down": [lambda: counts[0] - 1]}) == [["up", "down"]]


def test_equal_values_are_not_shared() -> None:
    assert shared_parts.groups({"a": Holder([1]), "b": Holder([1])}) == []


def test_frames_with_the_same_columns_share_nothing() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    assert shared_parts.groups({"frame": frame, "half": frame.iloc[:1].copy(), "both": {"x": frame.copy()}}) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda a: a, lambda a: a[1:3]),
        (lambda a: a[:3], lambda a: a[::2]),
        (lambda a: a[:, 1], lambda a: a[1]),
        (lambda a: a.T, lambda a: a[2]),
        (lambda a: a.view("f8"), lambda a: a),
        (lambda a: a[:2][:, 1:], lambda a: a.ravel()),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_views_of_the_same_memory_are_views_again(tmp_path: Path, first: Any, second: Any, order: Any) -> None:
    memory = np.array(np.arange(200_000).reshape(200, 1000), order=order)
    values = {"a": first(memory), "b": second(memory), "c": np.zeros(3)}
    overlapping = np.shares_memory(values["a"], values["b"])
    assert shared_parts.groups(values) == ([["a", "b"]] if overlapping else [])
    saved = serializers.save(shared_parts.as_stored(values), tmp_path / "value", "pickle")
    loaded = serializers.load(tmp_path / "value", saved.format)
    for name, value in values.items():
        np.testing.assert_array_equal(loaded[name], value)
        assert loaded[name].dtype == value.dtype
    assert np.shares_memory(loaded["a"], loaded["b"]) == overlapping
    values["a"].flat[:] = 7
    loaded["a"].flat[:] = 7
    np.testing.assert_array_equal(loaded["b"], values["b"])


def test_halves_of_an_array_share_nothing() -> None:
    memory = np.zeros((10, 4))
    assert shared_parts.groups({"x": memory[:, :3], "y": memory[:, 3], "z": memory[5:, 3].copy()}) == []


def test_a_small_part_of_a_large_array_is_stored_alone(tmp_path: Path) -> None:
    large = np.zeros((1000, 1000))
    rows = large[:2]
    saved = serializers.save(shared_parts.as_stored({"a": rows, "b": rows[:, 0]}), tmp_path / "value", "pickle")
    assert saved.bytes < 20_000


def test_what_libraries_keep_for_everybody_is_not_shared() -> None:
    frame = pd.DataFrame({"a": [1, 2]})
    values = {"raw": {"x": frame}, "clean": {"x": frame.rename(columns={"a": "b"})}, "series": [frame["a"].copy()]}
    assert shared_parts.groups(values) == []


def test_two_figures_share_nothing() -> None:
    figure = pytest.importorskip("matplotlib.figure")
    first, second = figure.Figure(), figure.Figure()
    axes = first.subplots()
    second.subplots().plot([1, 2])
    assert shared_parts.groups({"first": first, "second": second, "axes": axes}) == [["first", "axes"]]


def test_two_estimators_share_nothing() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    models = [ensemble.GradientBoostingClassifier(n_estimators=2) for _ in range(2)]
    for model in models:
        model.fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    assert shared_parts.groups({"first": models[0], "second": models[1]}) == []


def test_groups_are_joined() -> None:
    first, second = [1], [2]
    values = {"a": Holder(first), "x": [9], "b": {"f": first, "s": second}, "c": (second,), "d": [3]}
    assert shared_parts.groups(values) == [["a", "b", "c"]]


def test_what_cannot_be_pickled_is_left_to_its_own_error() -> None:
    part = [1]
    assert shared_parts.groups({"a": [part, (number for number in part)], "b": [part]}) == []
