"""Large files are mapped: a step can change the value it gets like any other, and the stored file never changes."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.serializers import memory_map, pickle_buffers
from tests.storage import sample_values

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel of Linux")


@pytest.fixture(autouse=True)
def everything_is_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_map, "MIN_MAPPED_BYTES", 1)
    monkeypatch.setattr(filesystem_features, "is_local", lambda device: True)


def stored(value: Any, folder: Path) -> tuple[Path, str]:
    path = folder / "value"
    saved = serializers.save(value, path)
    path.chmod(0o444)
    return path, saved.format


VALUES = {
    **{f"array-{name}": value for name, value in sample_values.ARRAYS.items()},
    **{f"frame-{name}": value for name, value in sample_values.FRAMES.items()},
    **{f"pickle-{name}": value for name, value in sample_values.PICKLED.items()},
    **{f"pickle-array-{name}": value for name, value in sample_values.ARRAYS_PICKLED.items()},
    **{f"pickle-frame-{name}": value for name, value in sample_values.FRAMES_PICKLED.items()},
    "pickle-of-large": {1: np.arange(100_000), 2: [np.asfortranarray(np.ones((300, 300)))], 3: b"x" * 100_000},
}


@pytest.mark.parametrize("name", VALUES)
def test_a_mapped_value_is_as_it_was_and_stays_in_the_file_whatever_is_done_to_it(name: str, tmp_path: Path) -> None:
    value = VALUES[name]
    path, form = stored(value, tmp_path)
    content = path.read_bytes()
    loaded = serializers.load(path, form)
    sample_values.assert_same(value, loaded)
    overwrite(loaded)
    assert path.read_bytes() == content
    sample_values.assert_same(value, serializers.load(path, form))


def overwrite(value: Any) -> None:
    if isinstance(value, np.ndarray) and value.size:
        value[...] = value.flat[-1]
    elif isinstance(value, pd.DataFrame) and not value.empty:
        for column in range(value.shape[1]):
            # What pandas itself cannot set is of no use to a step either.
            with contextlib.suppress(TypeError, ValueError, NotImplementedError, pa.ArrowException):
                value.iloc[0, column] = value.iloc[-1, column]
    elif isinstance(value, dict):
        for member in list(value.values()):
            overwrite(member)


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.__setitem__("i", frame["i"] + 1),
        lambda frame: frame.iloc.__setitem__((0, 0), 99),
        lambda frame: frame.loc.__setitem__((frame["f"] > 0.5, "f"), -1.0),
        lambda frame: frame.fillna({"f": 0.0}, inplace=True),
        lambda frame: frame.pop("i"),
        lambda frame: frame["f"].to_numpy().copy().sort(),
        lambda frame: frame.insert(0, "new", frame["s"].str.upper()),
        lambda frame: frame.loc.__setitem__(1, frame.loc[0]),
        lambda frame: frame["c"].cat.codes.to_numpy().copy().sort(),
        lambda frame: setattr(frame, "columns", list("uvwxyz")),
    ],
)
def test_what_a_step_does_to_a_mapped_frame_works_as_in_the_notebook(change: Any, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "i": generator.integers(0, 9, 50),
            "f": generator.random(50),
            "s": pd.array(list("abcde") * 10, dtype="str"),
            "c": pd.Categorical(list("xy") * 25),
            "m": pd.array([1, None] * 25, dtype="Int64"),
            "t": pd.date_range("2026", periods=50, tz="UTC"),
        }
    )
    path, form = stored(frame, tmp_path)
    content = path.read_bytes()
    loaded = serializers.load(path, form)
    change(frame)
    change(loaded)
    pd.testing.assert_frame_equal(loaded, frame)
    assert path.read_bytes() == content


def test_columns_of_one_type_are_one_block_without_a_copy(tmp_path: Path) -> None:
    names = [f"{kind}{number}" for number in range(60) for kind in "if"]
    frame = pd.DataFrame({name: np.arange(1003, dtype="i8" if name[0] == "i" else "f8") for name in names})
    before = set(memory_map.regions())
    loaded = serializers.load(*stored(frame, tmp_path))
    pd.testing.assert_frame_equal(loaded, frame)
    (region,) = set(memory_map.regions()) - before
    assert len(loaded._mgr.blocks) == 2
    for name in names:
        assert region.holds(loaded[name].to_numpy().__array_interface__["data"][0], 8 * 1003), name
    # Too many blocks make pandas complain as soon as another column is added.
    loaded["new"] = 1


def test_columns_at_unequal_distances_are_still_columns(tmp_path: Path) -> None:
    kinds = ["f8", "f8", "i4", "f8", "f8", "f8", "i2", "f8", "i4", "f8"]
    frame = pd.DataFrame({number: np.arange(37).astype(kind) for number, kind in enumerate(kinds)})
    loaded = serializers.load(*stored(frame, tmp_path))
    pd.testing.assert_frame_equal(loaded, frame)
    loaded.iloc[3, :] = 7
    frame.iloc[3, :] = 7
    pd.testing.assert_frame_equal(loaded, frame)


def test_a_mapped_array_is_an_array_and_nothing_else(tmp_path: Path) -> None:
    loaded = serializers.load(*stored(np.arange(1000.0), tmp_path))
    assert type(loaded) is np.ndarray
    assert loaded.flags.writeable
    assert loaded.flags.aligned


def test_a_map_goes_with_its_last_user(tmp_path: Path) -> None:
    before = set(memory_map.regions())
    loaded = serializers.load(*stored(np.arange(1000.0), tmp_path))
    (region,) = set(memory_map.regions()) - before
    part = loaded[10:20]
    del loaded
    gc.collect()
    assert region in memory_map.regions()
    assert part.tolist() == list(range(10, 20))
    del part
    gc.collect()
    assert region not in memory_map.regions()


@LINUX
def test_the_kernel_knows_what_was_written_to(tmp_path: Path) -> None:
    before = set(memory_map.regions())
    loaded = serializers.load(*stored(np.arange(100_000.0), tmp_path))
    (region,) = set(memory_map.regions()) - before
    assert memory_map.unwritten_regions([region]) == {region}
    assert loaded.sum() > 0
    assert memory_map.unwritten_regions([region]) == {region}
    loaded[54_321] = loaded[54_321]
    assert memory_map.unwritten_regions([region]) == set()


def test_where_the_system_does_not_say_nothing_is_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = serializers.load(*stored(np.arange(100.0), tmp_path))
    monkeypatch.setattr(memory_map, "_PAGES", tmp_path / "none")
    assert memory_map.unwritten_regions(memory_map.regions()) == set()
    assert loaded is not None


def test_a_file_that_might_go_away_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem_features, "is_local", lambda device: False)
    path, form = stored(np.arange(1000.0), tmp_path)
    before = set(memory_map.regions())
    loaded = serializers.load(path, form)
    assert set(memory_map.regions()) == before
    assert loaded.tolist() == list(range(1000))


def test_tables_of_pyarrow_and_polars_are_mapped(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    for number, value in enumerate((pa.table({"a": [1, 2], "s": ["x", None]}), polars.DataFrame({"a": [1.5, 2]}))):
        (tmp_path / str(number)).mkdir()
        loaded = serializers.load(*stored(value, tmp_path / str(number)))
        assert loaded.equals(value)


# Pickles with their buffers beside them


def test_large_arrays_in_a_pickle_lie_side_by_side_with_it(tmp_path: Path) -> None:
    value = {"a": np.arange(50_000.0), "b": [np.ones((300, 300), order="F")], "small": np.arange(3)}
    path, form = stored(value, tmp_path)
    content = path.read_bytes()
    assert form == "pickle"
    assert content.startswith(pickle_buffers.MAGIC)
    assert value["a"].tobytes() in content
    loaded = serializers.load(path, form)
    for array in (loaded["a"], loaded["b"][0], loaded["small"]):
        assert array.flags.writeable
        assert array.flags.aligned
    assert any(region.holds(loaded["a"].ctypes.data, loaded["a"].nbytes) for region in memory_map.regions())
    loaded["a"][:] = 0
    assert path.read_bytes() == content


def test_arrays_that_could_not_be_written_to_still_cannot(tmp_path: Path) -> None:
    array = np.arange(50_000.0)
    array.flags.writeable = False
    loaded = serializers.load(*stored([array], tmp_path))[0]
    assert not loaded.flags.writeable


def test_one_array_in_two_places_stays_one(tmp_path: Path) -> None:
    array = np.arange(50_000.0)
    first, second = serializers.load(*stored((array, array), tmp_path))
    assert first is second


def test_a_large_pickle_without_arrays_is_read_as_it_was_written(tmp_path: Path) -> None:
    value = (
        [(number, str(number)) for number in range(700_000)],
        b"x" * (9 << 20),
        bytearray(9 << 20),
        "ä" * (9 << 20),
    )
    path, form = stored(value, tmp_path)
    assert path.read_bytes().startswith(pickle_buffers.MAGIC)
    assert serializers.load(path, form) == value
    assert serializers.save(value, tmp_path / "again").digest == serializers.save(value, tmp_path / "2").digest


def test_a_pickle_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    value = {"a": np.arange(50_000.0), "b": [1]}
    (tmp_path / "old").write_bytes(pickle.dumps(value, 5))
    sample_values.assert_same(value, serializers.load(tmp_path / "old", "pickle"))


def test_small_pickles_are_plain(tmp_path: Path) -> None:
    path, _ = stored((1, np.arange(3)), tmp_path)
    assert pickle.loads(path.read_bytes())[0] == 1


@pytest.mark.parametrize("size", [3, 8, 30, 4000, -1])
def test_a_pickle_that_ends_too_early_is_told(size: int, tmp_path: Path) -> None:
    path, form = stored([np.arange(50_000.0)], tmp_path)
    path.chmod(0o600)
    os.truncate(path, size % path.stat().st_size)
    with pytest.raises(StoreError) as caught:
        serializers.load(path, form)
    assert caught.value.code == "JP405"


def test_pieces_are_one_file() -> None:
    content = bytes(range(200)) * 3
    raw = pickle_buffers._ConcatenatedBuffers(
        [memoryview(content)[start : start + 70] for start in range(0, 600, 70)] + [memoryview(b"")]
    )
    with io.BufferedReader(raw, 64) as file:
        assert file.read(10) + file.readline() + file.read() == content


def test_an_array_that_lies_anyhow_is_written_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_pipelines.storage.serializers import numpy_arrays

    expected = {name: serializers.save(value, tmp_path / name).digest for name, value in sample_values.ARRAYS.items()}
    monkeypatch.setattr(numpy_arrays, "_CHUNK_BYTES", 16)
    for name, value in sample_values.ARRAYS.items():
        assert serializers.save(value, tmp_path / f"{name}-again").digest == expected[name], name
        sample_values.assert_same(value, serializers.load(tmp_path / f"{name}-again", "npy"))
