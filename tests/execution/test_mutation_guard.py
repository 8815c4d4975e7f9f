"""The mutation guard on inputs that lie in mapped files: nothing is read twice, and nothing is overlooked."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jupyter_pipelines.execution.kernel_side import mutation_guard
from jupyter_pipelines.execution.kernel_side.mutation_guard import MutationGuard
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.serializers import memory_map, pickle_buffers
from tests.execution.test_step_io import CHANGED, READ, frame

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


class StoredValue:
    """Save a value and load it as between steps."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loaded = 0

    def guarded(self, value: Any) -> tuple[Any, MutationGuard]:
        path = self.folder / "value"
        saved = serializers.save(value, path)

        def load() -> Any:
            self.loaded += 1
            return serializers.load(path, saved.format)

        loaded, guard = load(), MutationGuard()
        guard.remember("value", loaded, load)
        return loaded, guard


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredValue:
    monkeypatch.setattr(memory_map, "MIN_MAPPED_BYTES", 1)
    monkeypatch.setattr(pickle_buffers, "LARGE", 1)
    monkeypatch.setattr(filesystem_features, "is_local", lambda device: True)
    return StoredValue(tmp_path)


@pytest.mark.parametrize("kind", READ)
def test_reading_a_stored_value_changes_nothing(stored: StoredValue, kind: str) -> None:
    make, read = READ[kind]
    value, guard = stored.guarded(make())
    read(value)
    assert guard.changed() == {}


@pytest.mark.parametrize("kind", CHANGED)
def test_changing_a_stored_value_is_noticed(stored: StoredValue, kind: str) -> None:
    value, guard = stored.guarded(READ[kind][0]())
    CHANGED[kind](value)
    assert guard.changed() == {"value": True}


def wide() -> pd.DataFrame:
    numbers = np.arange(40.0).reshape(10, 4)
    return pd.DataFrame(numbers, columns=list("abde")).assign(
        s=pd.array(list("vwxyz") * 2, dtype="str"),
        c=pd.Categorical(list("xy") * 5),
        m=pd.array([1, None] * 5, dtype="Int64"),
        t=pd.date_range("2026", periods=10, tz="UTC"),
        p=pd.period_range("2026", periods=10, freq="D"),
        n=pd.date_range("2026", periods=10),
        o=[True, False] * 5,
    )


CHANGES: dict[str, Callable[[pd.DataFrame], object]] = {
    "number": lambda value: value.iloc.__setitem__((3, 1), -1.0),
    "last-number": lambda value: value.iloc.__setitem__((9, 3), -1.0),
    "text": lambda value: value.iloc.__setitem__((3, 4), "other"),
    "code": lambda value: value.iloc.__setitem__((3, 5), "x"),
    "category": lambda value: value.__setitem__("c", value["c"].cat.rename_categories({"x": "z"})),
    "order-of-categories": lambda value: value.__setitem__("c", value["c"].cat.as_ordered()),
    "missing": lambda value: value.iloc.__setitem__((0, 6), pd.NA),
    "moment": lambda value: value.iloc.__setitem__((3, 7), pd.Timestamp("2027", tz="UTC")),
    "zone": lambda value: value.__setitem__("t", value["t"].dt.tz_convert("Europe/Berlin")),
    "period": lambda value: value.iloc.__setitem__((3, 8), pd.Period("2027-01-01", "D")),
    "plain-moment": lambda value: value.iloc.__setitem__((3, 9), pd.Timestamp("2027")),
    "truth": lambda value: value.iloc.__setitem__((3, 10), True),
    "label": lambda value: setattr(value, "columns", list("abcdefghijk")),
    "order-of-columns": lambda value: setattr(value, "columns", list("badescmtpno")),
    "swapped": lambda value: value.__setitem__(["a", "b"], value[["b", "a"]].to_numpy()),
    "index": lambda value: setattr(value, "index", range(1, 11)),
    "new": lambda value: value.__setitem__("new", 1),
    "gone": lambda value: value.pop("b"),
    "type": lambda value: value.__setitem__("a", value["a"].astype("float32")),
    "attrs": lambda value: value.attrs.update(a=1),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("least", [1, 1 << 20], ids=["mapped", "read"])
def test_every_part_of_a_frame_counts(
    stored: StoredValue, change: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_map, "MIN_MAPPED_BYTES", least)
    value, guard = stored.guarded(wide())
    CHANGES[change](value)
    assert guard.changed() == {"value": True}


@pytest.mark.parametrize("dtype", ["M8[s]", "m8[ns]", "U3", "S3", "c16", "?", "i4,f8", "f2"])
def test_arrays_of_any_kind_are_guarded(dtype: str) -> None:
    value, guard = np.zeros(5, dtype), MutationGuard()
    guard.remember("value", value)
    assert guard._known
    assert guard.changed() == {}
    value[2] = (1, 1) if "," in dtype else np.ones(1, "i4").astype(dtype)[0]
    assert guard.changed() == {"value": True}


@LINUX
@pytest.mark.parametrize(
    "make",
    [
        lambda: np.arange(100_000.0),
        lambda: np.asfortranarray(np.ones((300, 300))),
        wide,
        lambda: wide()["a"],
        lambda: {"one": wide(), "two": [np.arange(1000)]},
    ],
    ids=["array", "fortran", "frame", "series", "nested"],
)
def test_the_memory_of_a_mapped_value_is_not_read_to_know_that_it_is_unchanged(
    stored: StoredValue, make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = mutation_guard._FingerprintHasher.__call__
    monkeypatch.setattr(
        mutation_guard._FingerprintHasher,
        "__call__",
        lambda ink, data: (read.append(memoryview(data).nbytes), real(ink, data))[1],
    )
    value, guard = stored.guarded(make())
    assert guard.changed() == {}
    assert stored.loaded == 1
    assert max(read) < 400, read
    assert value is not None


def test_a_value_that_was_written_as_it_was_is_unchanged(stored: StoredValue) -> None:
    value, guard = stored.guarded(np.arange(1000.0))
    value[5] = value[5]
    value *= 1
    assert guard.changed() == {}


def test_a_value_that_was_changed_back_is_unchanged(stored: StoredValue) -> None:
    value, guard = stored.guarded(wide())
    value.iloc[0, 0], kept = 7.0, value.iloc[0, 0]
    assert guard.changed() == {"value": True}
    value.iloc[0, 0] = kept
    assert guard.changed() == {}


def test_a_frame_whose_columns_have_moved_is_unchanged(stored: StoredValue) -> None:
    value, guard = stored.guarded(wide())
    value["new"] = 1
    del value["new"]
    value["a"] = value["a"].to_numpy().copy()
    assert guard.changed() == {}


def test_where_the_system_does_not_tell_the_values_are_compared(
    stored: StoredValue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_map, "_PAGES", tmp_path / "none")
    value, guard = stored.guarded(np.arange(1000.0))
    assert guard.changed() == {}
    value[999] = 1
    assert guard.changed() == {"value": True}


def test_a_mapped_input_that_the_step_drops_is_not_kept(stored: StoredValue) -> None:
    before = set(memory_map.regions())
    value, guard = stored.guarded(np.arange(1000.0))
    assert set(memory_map.regions()) != before
    del value
    assert set(memory_map.regions()) == before
    assert guard.changed() == {}


@pytest.mark.parametrize("fast", [True, False])
def test_large_values_that_are_not_mapped(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setattr(mutation_guard, "_fast", lambda: None)
    for value in (np.arange(400_000.0), [np.arange(400_000.0)], b"x" * 10, frame()):
        guard = MutationGuard()
        guard.remember("value", value)
        assert guard.changed() == {}
    value = {"a": np.arange(400_000.0)}
    guard.remember("value", value)
    value["a"][399_999] = 0
    assert guard.changed() == {"value": True}
