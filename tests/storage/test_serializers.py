"""Every value comes back exactly as it was, or is refused with a reason; the same value gives the same bytes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jupyter_pipelines import plugins
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.blobs.digests import digest_file
from tests.storage import sample_values

CASES = [
    *(pytest.param(value, "json", id=f"plain-{name}") for name, value in sample_values.PLAIN.items()),
    *(pytest.param(value, "bytes", id=name) for name, value in sample_values.BYTES.items()),
    *(pytest.param(value, "pickle", id=f"other-{name}") for name, value in sample_values.PICKLED.items()),
    *(pytest.param(value, "npy", id=f"array-{name}") for name, value in sample_values.ARRAYS.items()),
    *(pytest.param(value, "pickle", id=f"array-{name}") for name, value in sample_values.ARRAYS_PICKLED.items()),
    *(pytest.param(value, "pickle", id=f"subclass-{name}") for name, value in sample_values.SUBCLASSES.items()),
    *(pytest.param(value, "arrow", id=f"pandas-{name}") for name, value in sample_values.FRAMES.items()),
    *(pytest.param(value, "pickle", id=f"pandas-{name}") for name, value in sample_values.FRAMES_PICKLED.items()),
]

# pandas itself cannot set an item of these.
WRITABLE = [
    name
    for name, value in sample_values.FRAMES.items()
    if isinstance(value, pd.Series | pd.DataFrame) and "arrow-list" not in name and "arrow-struct" not in name
]


def round_trip(value: Any, folder: Path, form: str | None = None) -> tuple[Any, serializers.SaveResult]:
    path = folder / "value"
    saved = serializers.save(value, path, form, name="value")
    assert saved.digest == digest_file(path)
    assert saved.bytes == path.stat().st_size
    path.chmod(0o444)
    return serializers.load(path, saved.format), saved


@pytest.mark.parametrize(("value", "form"), CASES)
def test_a_value_comes_back_as_it_was(value: Any, form: str, tmp_path: Path) -> None:
    before = copy.deepcopy(value)
    loaded, saved = round_trip(value, tmp_path)
    assert saved.format == form, saved.notes
    sample_values.assert_same(value, loaded)
    sample_values.assert_same(value, before)


@pytest.mark.parametrize(("value", "form"), CASES)
def test_the_same_value_gives_the_same_bytes(value: Any, form: str, tmp_path: Path) -> None:
    digests = []
    for number in range(5):
        saved = serializers.save(value, tmp_path / str(number))
        assert saved.format == form
        digests.append(saved.digest)
        value = serializers.load(tmp_path / str(number), form)
    # A pickle settles when it has been read a few times: then equal texts are one object, or are not, for good.
    assert len(set(digests if form != "pickle" else digests[3:])) == 1


@pytest.mark.parametrize("name", sample_values.ARRAYS)
def test_an_array_that_comes_back_can_be_written_to(name: str, tmp_path: Path) -> None:
    loaded, _ = round_trip(sample_values.ARRAYS[name], tmp_path)
    loaded[...] = loaded


@pytest.mark.parametrize("name", WRITABLE)
def test_a_frame_that_comes_back_can_be_written_to(name: str, tmp_path: Path) -> None:
    loaded, _ = round_trip(sample_values.FRAMES[name], tmp_path)
    expected = copy.deepcopy(sample_values.FRAMES[name])
    for frame in (loaded, expected):
        if not frame.empty:
            if frame.ndim == 1:
                frame.iloc[0] = frame.iloc[-1]
            else:
                frame.iloc[0, 0] = frame.iloc[-1, 0]
    sample_values.assert_same(expected, loaded)


@pytest.mark.parametrize("name", sample_values.FRAMES_PICKLED)
def test_a_frame_that_arrow_cannot_hold_says_why_it_is_pickled(name: str, tmp_path: Path) -> None:
    _, saved = round_trip(sample_values.FRAMES_PICKLED[name], tmp_path)
    assert len(saved.notes) == 1
    assert saved.notes[0].startswith("`value` is not stored as arrow: ")


def test_what_is_derived_from_a_frame_is_pickled(tmp_path: Path) -> None:
    loaded, saved = round_trip(sample_values.FrameSubclass({"a": [1]}), tmp_path)
    assert saved.format == "pickle"
    assert type(loaded) is sample_values.FrameSubclass


def test_what_stands_under_missing_values_does_not_count(tmp_path: Path) -> None:
    first = pd.array([1, 2, 3], dtype="Int64")
    other = pd.array([1, 99, 3], dtype="Int64")
    first[1] = other[1] = pd.NA
    digests = {
        serializers.save(pd.Series(array), tmp_path / str(number)).digest for number, array in enumerate((first, other))
    }
    assert len(digests) == 1


def test_how_a_frame_lies_in_memory_does_not_count(tmp_path: Path) -> None:
    numbers = np.arange(12.0).reshape(4, 3)
    frames = [
        pd.DataFrame(numbers),
        pd.DataFrame(np.asfortranarray(numbers)),
        pd.DataFrame({0: numbers[:, 0], 1: numbers[:, 1], 2: numbers[:, 2]}, columns=pd.RangeIndex(3)),
        pd.DataFrame(np.vstack([numbers, numbers])).iloc[:4],
    ]
    assert len({serializers.save(frame, tmp_path / str(number)).digest for number, frame in enumerate(frames)}) == 1


def test_a_format_says_what_it_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """What serializers leave out counts as the worst: they hold code, and are copied deeply."""

    class Bare:
        name = "bare"
        suffix = ".bare"

    known = plugins.load
    monkeypatch.setattr(plugins, "load", lambda kind, name: Bare if name == "bare" else known(kind, name))
    formats = [*plugins.BUILT_IN["serializers"], "bare", "unknown", "pickle#x", "file", "folder"]
    with_code = {"joblib", "pickle", "bare", "unknown", "pickle#x"}
    assert {name for name in formats if serializers.holds_code(name)} == with_code
    assert serializers.copy_expression("arrow", "x") == serializers.copy_expression("npy", "x") == "x.copy()"
    assert {serializers.copy_expression(name, "x") for name in ("json", "bare", "pickle#x")} == {"copy.deepcopy(x)"}
