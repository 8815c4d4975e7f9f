"""Test previews of stored outputs of every kind: correct, bounded, and without exceptions."""

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

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.reporting import output_preview
from jupyter_pipelines.reporting.output_preview import preview
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

PreviewFunction = Callable[..., dict[str, Any]]
MAX_PREVIEW_BYTES = 100_000
"""Size limit of a preview without an image."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def preview_of(store: Store, tmp_path: Path) -> PreviewFunction:
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
def test_a_frame_shows_its_columns_and_how_it_begins(preview_of: PreviewFunction, form: str) -> None:
    preview = preview_of(FRAME, form, outdated="the code changed")
    assert (preview["name"], preview["format"], preview["outdated"]) == ("step.value", form, "the code changed")
    assert (preview["type"], preview["shape"]) == ("pandas.DataFrame", [3, 3])
    assert [column["name"] for column in preview["columns"]] == ["index 0", "city", "many"]
    assert preview["columns"][2]["dtype"] == "int64"
    assert preview["head"] == [["5", "Rome", "1"], ["6", "", "2"], ["7", "Oslo", "3"]]
    assert preview["bytes"] > 0
    assert ":" in preview["digest"]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
def test_of_a_large_frame_only_the_head_is_read(
    preview_of: PreviewFunction, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = pd.DataFrame({f"c{number}": np.arange(50_000) for number in range(60)})
    monkeypatch.setattr(serializers, "load", None)
    preview = preview_of(wide, form)
    assert preview["shape"] == [50_000, 60]
    assert len(preview["head"]) == output_preview.ROWS
    assert {len(row) for row in preview["head"]} == {len(preview["columns"])} == {output_preview.COLUMNS}
    assert len(json.dumps(preview)) < MAX_PREVIEW_BYTES


def test_empty_and_odd_frames(preview_of: PreviewFunction) -> None:
    assert preview_of(FRAME.iloc[:0])["head"] == []
    assert preview_of(FRAME["city"])["type"] == "pandas.Series"
    assert preview_of(pd.DataFrame({("a", 1): [1.5]}))["columns"][0]["name"] == "('a', 1)"
    assert preview_of(pd.DataFrame())["shape"] == [0, 0]
    long = preview_of(pd.DataFrame({"x" * 500: ["y" * 5000]}))
    assert len(long["columns"][0]["name"]) <= output_preview.CELL
    assert len(long["head"][0][0]) <= output_preview.CELL


def test_an_array_shows_shape_type_and_rows(preview_of: PreviewFunction) -> None:
    preview = preview_of(np.arange(1000.0).reshape(100, 10))
    assert (preview["type"], preview["shape"], preview["text"]) == ("numpy.ndarray", [100, 10], "dtype float64")
    assert preview["head"][1][:2] == ["10.0", "11.0"]
    assert preview_of(np.arange(3))["head"] == [["0"], ["1"], ["2"]]
    assert preview_of(np.array(7))["shape"] == []
    assert preview_of(np.zeros((0, 4)))["head"] == []
    assert preview_of(np.zeros((2, 3, 4, 5)))["head"] is None


def picture(preview: dict[str, Any]) -> Image.Image:
    import io

    kind, _, content = preview["image"].partition(";base64,")
    assert kind == "data:image/png"
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (40, 60, 3), (40, 60, 4), (2000, 3000, 3)])
def test_an_array_of_bytes_with_the_shape_of_a_picture_is_one(
    preview_of: PreviewFunction, shape: tuple[int, ...]
) -> None:
    pixels = (np.indices(shape).sum(axis=0) % 251).astype("uint8")
    shown = picture(preview_of(pixels))
    assert max(shown.size) <= 480
    step = -(-max(shape[:2]) // 480)
    small = pixels[::step, ::step]
    assert np.array_equal(np.asarray(shown).reshape(small.shape), small)
    assert preview_of(pixels.astype("int32"))["image"] is None


def test_figures_and_pictures_are_shown_where_pickles_may_be_loaded(preview_of: PreviewFunction) -> None:
    figure = matplotlib.figure.Figure(figsize=(6, 4))
    figure.subplots().plot([1, 2, 3])
    assert max(picture(preview_of(figure, unpickle=True)).size) <= 960
    assert picture(preview_of(Image.new("RGB", (900, 300), "red"), unpickle=True)).size == (480, 160)


class UnpicklingTrap:
    """Create a folder on unpickling."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled_unless_it_may_be(preview_of: PreviewFunction, tmp_path: Path) -> None:
    for form in ("pickle", "joblib"):
        assert "executes code" in preview_of(UnpicklingTrap(tmp_path / "sprung"), form)["text"]
    assert not (tmp_path / "sprung").exists()
    preview_of(UnpicklingTrap(tmp_path / "sprung"), "pickle", unpickle=True)
    assert (tmp_path / "sprung").exists()


def test_what_is_large_is_not_loaded(preview_of: PreviewFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_preview, "LARGEST_VALUE", 1000)
    assert "too large" in preview_of({"x": "y" * 2000})["text"]
    assert "too large" in preview_of({1, *range(2000)}, unpickle=True)["text"]


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
    ids=lambda value: str(value)[:12],
)
def test_plain_values(preview_of: PreviewFunction, value: Any, kind: str, shape: list[int] | None) -> None:
    preview = preview_of(value, unpickle=True)
    assert (preview["type"], preview["shape"]) == (kind, shape)
    assert preview["text"]
    assert len(json.dumps(preview)) < MAX_PREVIEW_BYTES


class HostileObject:
    """Raise from the attributes and the representation that a preview reads."""

    shape = property(lambda self: 1 / 0)

    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_odd_values_raise_nothing(preview_of: PreviewFunction) -> None:
    assert "HostileObject" in preview_of(HostileObject(), unpickle=True)["type"]
    assert preview_of([HostileObject()], unpickle=True)["shape"] == [1]
    assert preview_of(pd.DataFrame({"a": [HostileObject(), 1]}), "pickle", unpickle=True)["type"] == "pandas.DataFrame"


def test_files_and_folders(store: Store, tmp_path: Path) -> None:
    def look_at(path: Path) -> dict[str, Any]:
        return preview(store, Artifact(digest=store.blobs.put_file(path)[0], format="file", bytes=1), "s.f")

    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert look_at(tmp_path / "a.csv")["text"] == "a,b\n1,2\n"
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    assert picture(look_at(tmp_path / "a.png")).size == (9, 9)
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n" + bytes(output_preview.LARGEST_IMAGE))
    assert look_at(tmp_path / "large.png")["image"] is None
    (tmp_path / "x.bin").write_bytes(bytes(range(256)) * 1000)
    assert len(look_at(tmp_path / "x.bin")["text"]) < 1000
    (tmp_path / "x.svg").write_text("<svg onload='alert(1)'/>")
    assert look_at(tmp_path / "x.svg")["image"] is None
    (tmp_path / "out" / "sub").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "out" / "sub" / f"{number:02}").write_text("four")
    digest, total = store.blobs.put_folder(tmp_path / "out")
    folder_preview = preview(store, Artifact(digest=digest, format="folder", bytes=total), "s.f")
    assert (folder_preview["type"], folder_preview["shape"], folder_preview["head"][0]) == (
        "folder",
        [30],
        ["sub/00", "4"],
    )
    assert len(folder_preview["head"]) == output_preview.ROWS


def test_what_is_damaged_or_gone_says_so(preview_of: PreviewFunction, store: Store) -> None:
    before = preview_of([1, 2, 3])
    artifact = Artifact(digest=before["digest"], format="json", bytes=before["bytes"])
    path = store.blobs.path(artifact.digest)
    path.chmod(0o600)
    path.write_text("[6, 6, 6]")
    assert "damaged" in preview(store, artifact, "x")["text"]
    path.unlink()
    gone = preview(store, artifact, "x")
    assert "no longer" in gone["text"]
    assert gone.keys() == before.keys()
    unknown = preview(store, Artifact(digest=before["digest"], format="tape", bytes=3), "x")
    assert unknown["text"]


def test_texts_of_others_can_do_nothing_but_be_read(preview_of: PreviewFunction) -> None:
    preview = preview_of(pd.DataFrame({"\u202ea\x1b[2J": ["\x1b]0;x\x07"]}))
    assert "\x1b" not in json.dumps(preview, ensure_ascii=False)
    assert "\u202e" not in json.dumps(preview, ensure_ascii=False)
