"""A look at stored outputs of every kind: right, bounded, and never an exception."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.reporting import previewing
from jupyter_pipelines.reporting.previewing import preview
from jupyter_pipelines.storing import serializers
from jupyter_pipelines.storing.store import Store

Look = Callable[..., dict[str, Any]]
LARGEST = 100_000
"""Bytes that a look without a picture may have."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def look(store: Store, tmp_path: Path) -> Look:
    def look_at(value: Any, form: str | None = None, **options: Any) -> dict[str, Any]:
        path = tmp_path / "value"
        saved = serializers.save(value, path, form)
        digest = store.blobs.put_file(path)[0]
        path.unlink(missing_ok=True)  # moved or copied
        artifact = Artifact(digest=digest, format=saved.format, bytes=saved.bytes)
        return preview(store, artifact, "step.value", **options)

    return look_at


FRAME = pd.DataFrame({"city": ["Rome", None, "Oslo"], "many": [1, 2, 3]}, index=pd.Index([5, 6, 7], name="k"))


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_a_frame_shows_its_columns_and_how_it_begins(look: Look, form: str) -> None:
    found = look(FRAME, form, outdated="the code changed")
    assert (found["name"], found["format"], found["outdated"]) == ("step.value", form, "the code changed")
    assert (found["type"], found["shape"]) == ("pandas.DataFrame", [3, 3])
    assert [one["name"] for one in found["columns"]] == ["index 0", "city", "many"]
    assert found["columns"][2]["dtype"] == "int64"
    assert found["head"] == [["5", "Rome", "1"], ["6", "", "2"], ["7", "Oslo", "3"]]
    assert found["bytes"] > 0
    assert ":" in found["digest"]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_of_a_large_frame_only_the_head_is_read(look: Look, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = pd.DataFrame({f"c{number}": np.arange(50_000) for number in range(60)})
    monkeypatch.setattr(serializers, "load", None)
    found = look(wide, form)
    assert found["shape"] == [50_000, 60]
    assert len(found["head"]) == previewing.ROWS
    assert {len(row) for row in found["head"]} == {len(found["columns"])} == {previewing.COLUMNS}
    assert len(json.dumps(found)) < LARGEST


def test_empty_and_odd_frames(look: Look) -> None:
    assert look(FRAME.iloc[:0])["head"] == []
    assert look(FRAME["city"])["type"] == "pandas.Series"
    assert look(pd.DataFrame({("a", 1): [1.5]}))["columns"][0]["name"] == "('a', 1)"
    assert look(pd.DataFrame())["shape"] == [0, 0]
    long = look(pd.DataFrame({"x" * 500: ["y" * 5000]}))
    assert len(long["columns"][0]["name"]) <= previewing.CELL
    assert len(long["head"][0][0]) <= previewing.CELL


def test_an_array_shows_shape_type_and_rows(look: Look) -> None:
    found = look(np.arange(1000.0).reshape(100, 10))
    assert (found["type"], found["shape"], found["text"]) == ("numpy.ndarray", [100, 10], "dtype float64")
    assert found["head"][1][:2] == ["10.0", "11.0"]
    assert look(np.arange(3))["head"] == [["0"], ["1"], ["2"]]
    assert look(np.array(7))["shape"] == []
    assert look(np.zeros((0, 4)))["head"] == []
    assert look(np.zeros((2, 3, 4, 5)))["head"] is None


def picture(found: dict[str, Any]) -> Image.Image:
    import io

    kind, _, content = found["image"].partition(";base64,")
    assert kind == "data:image/png"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (40, 60, 3), (40, 60, 4), (2000, 3000, 3)])
def test_an_array_of_bytes_with_the_shape_of_a_picture_is_one(look: Look, shape: tuple[int, ...]) -> None:
    pixels = (np.indices(shape).sum(axis=0) % 251).astype("uint8")
    shown = picture(look(pixels))
    assert max(shown.size) <= 480
    step = -(-max(shape[:2]) // 480)
    small = pixels[::step, ::step]
    assert np.array_equal(np.asarray(shown).reshape(small.shape), small)
    assert look(pixels.astype("int32"))["image"] is None


def test_figures_and_pictures_are_shown_where_pickles_may_be_loaded(look: Look) -> None:
    figure = matplotlib.figure.Figure(figsize=(6, 4))
    figure.subplots().plot([1, 2, 3])
    assert max(picture(look(figure, unpickle=True)).size) <= 960
    assert picture(look(Image.new("RGB", (900, 300), "red"), unpickle=True)).size == (480, 160)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled_unless_it_may_be(look: Look, tmp_path: Path) -> None:
    for form in ("pickle", "joblib"):
        assert "executes code" in look(Trap(tmp_path / "sprung"), form)["text"]
    assert not (tmp_path / "sprung").exists()
    look(Trap(tmp_path / "sprung"), "pickle", unpickle=True)
    assert (tmp_path / "sprung").exists()


def test_what_is_large_is_not_loaded(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previewing, "LARGEST_VALUE", 1000)
    assert "too large" in look({"x": "y" * 2000})["text"]
    assert "too large" in look({1, *range(2000)}, unpickle=True)["text"]


@pytest.mark.parametrize(
    ("value", "kind", "shape"),
    [
        ([1, 2, 3], "list", [3]),
        ({"a": 1}, "dict", [1]),
        ("text", "str", [4]),
        (b"\x00\x01", "bytes", [2]),
        (None, "NoneType", None),
        (3.5, "float", None),
        ({1, 2}, "set", [2]),
        (list(range(100_000)), "list", [100_000]),
        ("z" * 100_000, "str", [100_000]),
        (10**4000, "int", None),
    ],
    ids=lambda one: str(one)[:12],
)
def test_plain_values(look: Look, value: Any, kind: str, shape: list[int] | None) -> None:
    found = look(value, unpickle=True)
    assert (found["type"], found["shape"]) == (kind, shape)
    assert found["text"]
    assert len(json.dumps(found)) < LARGEST


class Odd:
    """An object that makes trouble wherever one looks."""

    shape = property(lambda self: 1 / 0)

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_odd_values_raise_nothing(look: Look) -> None:
    assert "Odd" in look(Odd(), unpickle=True)["type"]
    assert look([Odd()], unpickle=True)["shape"] == [1]
    assert look(pd.DataFrame({"a": [Odd(), 1]}), "pickle", unpickle=True)["type"] == "pandas.DataFrame"


def test_files_and_folders(store: Store, tmp_path: Path) -> None:
    def look_at(path: Path) -> dict[str, Any]:
        return preview(store, Artifact(digest=store.blobs.put_file(path)[0], format="file", bytes=1), "s.f")

    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert look_at(tmp_path / "a.csv")["text"] == "a,b\n1,2\n"
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    assert picture(look_at(tmp_path / "a.png")).size == (9, 9)
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n" + bytes(previewing.LARGEST_IMAGE))
    assert look_at(tmp_path / "large.png")["image"] is None
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 1000)
    assert len(look_at(tmp_path / "x.bin")["text"]) < 1000
    (tmp_path / "x.svg").write_text("<svg onload='alert(1)'/>")
    assert look_at(tmp_path / "x.svg")["image"] is None
    (tmp_path / "out" / "sub").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "out" / "sub" / f"{number:02}").write_text("four")
    digest, total = store.blobs.put_folder(tmp_path / "out")
    found = preview(store, Artifact(digest=digest, format="folder", bytes=total), "s.f")
    assert (found["type"], found["shape"], found["head"][0]) == ("folder", [30], ["sub/00", "4"])
    assert len(found["head"]) == previewing.ROWS


def test_what_is_damaged_or_gone_says_so(look: Look, store: Store) -> None:
    found = look([1, 2, 3])
    artifact = Artifact(digest=found["digest"], format="json", bytes=found["bytes"])
    path = store.blobs.path(artifact.digest)
    path.chmod(0o600)
    path.write_text("[6, 6, 6]")
    assert "damaged" in preview(store, artifact, "x")["text"]
    path.unlink()
    gone = preview(store, artifact, "x")
    assert "no longer" in gone["text"]
    assert gone.keys() == found.keys()
    unknown = preview(store, Artifact(digest=found["digest"], format="tape", bytes=3), "x")
    assert unknown["text"]


def test_texts_of_others_can_do_nothing_but_be_read(look: Look) -> None:
    found = look(pd.DataFrame({"\u202ea\x1b[2J": ["\x1b]0;x\x07"]}))
    assert "\x1b" not in json.dumps(found, ensure_ascii=False)
    assert "\u202e" not in json.dumps(found, ensure_ascii=False)
