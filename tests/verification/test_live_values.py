"""Values compared with artifacts: equal by bytes, else by value, and nothing is changed or raised."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage import serializers
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.serializers.protocol import member_format
from jupyter_pipelines.storage.store import Store
from jupyter_pipelines.verification import live_values
from jupyter_pipelines.verification.live_values import LiveComparer, LiveComparison, as_text, summary


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "store")
    yield store
    store.close()


def stored(store: Store, value: Any, format: str | None = None) -> Artifact:  # noqa: A002 - the product's word
    path = store.scratch() / "value"
    saved = serializers.save(value, path, format)
    store.blobs.put_file(path, move=True, digest=saved.digest)
    return saved.artifact


def compared(store: Store, value: Any, artifact: Artifact, **limits: Any) -> tuple[str, str]:
    comparison = LiveComparer(store, {"x": value}, **limits).compare("step", "x", artifact)
    return comparison.state, comparison.text


FRAME = pd.DataFrame({"a": [1, 2, 3], "b": ["x", None, "z"]})


@pytest.mark.parametrize(
    ("live", "kept", "expected"),
    [
        (3, 3, ("equal", "")),
        (3, 4, ("differs", "in the kernel: 3; stored: 4")),
        (0.1 + 0.2, 0.3, ("equal", "")),
        (True, 1, ("differs", "in the kernel: True; stored: 1")),
        ("text", "text", ("equal", "")),
        ([1, 2], [1, 3], ("differs", "in the kernel: [1, 2]; stored: [1, 3]")),
        (list(range(9)), list(range(8)), ("differs", "in the kernel: list of 9; stored: list of 8")),
        (FRAME.copy(), FRAME, ("equal", "")),
        (FRAME.assign(a=[1, 2, 4]), FRAME, ("differs", "both: DataFrame, 3 rows x 2; different: column `a`")),
        (FRAME.head(2), FRAME, ("differs", "in the kernel: DataFrame, 2 rows x 2; stored: DataFrame, 3 rows x 2")),
        (FRAME.a, FRAME.a, ("equal", "")),
        (np.arange(4), np.arange(4), ("equal", "")),
        (np.asfortranarray(np.eye(3)), np.eye(3), ("equal", "")),
        (np.arange(4.0), np.arange(4), ("differs", "both: ndarray, 4; different: dtype float64, stored int64")),
        ({"rows": FRAME, "n": 1}, {"rows": FRAME, "n": 1}, ("equal", "")),
        ({"rows": FRAME, "n": 2}, {"rows": FRAME, "n": 1}, ("differs", "both: dict of 2; different: key `n`")),
        (pl.Series("a", [1, 2]), pl.Series("a", [1, 3]), ("differs", "both: Series, 2")),
        ((n for n in range(3)), [0, 1, 2], ("differs", "in the kernel: generator; stored: [0, 1, 2]")),
    ],
    ids=range(18),
)
def test_a_value_and_what_is_stored(store: Store, live: Any, kept: Any, expected: tuple[str, str]) -> None:
    assert compared(store, live, stored(store, kept)) == expected


def test_looking_at_a_value_uses_nothing_up(store: Store) -> None:
    lines = iter([1, 2, 3])
    generator = np.random.default_rng(7)
    np.random.seed(7)
    for value in (lines, generator, FRAME):
        compared(store, value, stored(store, [1]))
    fresh = np.random.default_rng(7)
    assert (list(lines), generator.random(), np.random.get_state()[2]) == ([1, 2, 3], fresh.random(), 624)


def test_an_output_in_a_file_with_others(store: Store) -> None:
    first = [0]
    kept = stored(store, {"x": [first], "y": first}, "pickle")
    artifact = Artifact(digest=kept.digest, format=member_format("x"), bytes=kept.bytes)
    assert compared(store, [[0]], artifact) == ("equal", "")
    assert compared(store, [[1]], artifact)[0] == "differs"


def test_files_and_folders(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    kept = store.blobs.put_folder(folder)
    artifact = Artifact(digest=kept.digest, format="folder", bytes=kept.size)
    file = store.blobs.put_bytes(b"a")
    assert compared(store, folder, artifact) == ("equal", "")
    assert compared(store, str(folder / "a.txt"), Artifact(digest=file.digest, format="file", bytes=1)) == ("equal", "")
    (folder / "a.txt").write_text("b")
    assert compared(store, folder, artifact) == ("differs", "the folders differ")
    assert compared(store, folder / "gone", artifact) == ("missing", "the kernel has written no folder there")
    assert compared(store, 7, artifact) == ("missing", "the kernel has written no folder there")


def test_what_is_not_compared_says_why(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = stored(store, list(range(1000)))
    large = compared(store, [1], artifact, max_bytes=100)
    assert large == ("not compared", "too large to be loaded: 3.9 kB are stored")
    # Equal bytes are equal, however many they are.
    assert compared(store, list(range(1000)), artifact, max_bytes=100) == ("equal", "")
    assert compared(store, [1], artifact, seconds=-1.0) == ("not compared", "comparing the others has taken too long")
    assert LiveComparer(store, {}).compare("step", "x", artifact).text == "the kernel has no `x`"
    monkeypatch.setattr(live_values, "load_value", lambda *_: 1 / 0)
    assert compared(store, [1], artifact) == ("not compared", "ZeroDivisionError: division by zero")


def test_a_value_that_is_larger_is_not_written_to_its_end(store: Store) -> None:
    artifact = stored(store, b"short")
    assert serializers.stores_as(b"short", artifact)
    assert not serializers.stores_as(b"other", artifact)
    assert not serializers.stores_as(b"x" * 100_000_000, artifact)


def test_summaries_are_short_and_never_ask_elements() -> None:
    class Loud:
        def __repr__(self) -> str:
            raise AssertionError("it is not to be asked")

    texts = [summary(value) for value in ("x" * 1000, [Loud()], {"a": Loud()}, {"a": 1}, None, Loud(), FRAME.a)]
    assert [len(text) <= 60 for text in texts] == [True] * 7
    assert texts[1:4] == ["list of 1", "dict of 1", "{'a': 1}"]
    assert texts[6] == "Series, 3"


def test_the_table() -> None:
    rows = [
        LiveComparison(step="a", name="x", state="equal"),
        LiveComparison(step="long", name="y", state="differs", text="both: Fitted", details=("a cause", "another")),
        LiveComparison(step="b", name="z", state="not stored yet", text="never run"),
    ]
    assert as_text("book", rows) == (
        "book: 1 of 2 values in the kernel differs from what is stored\n\n"
        "  a.x     equal\n"
        "  long.y  differs         both: Fitted\n"
        "                            a cause\n"
        "                            another\n"
        "  b.z     not stored yet  never run"
    )
    assert as_text("book", []) == "book: no outputs"
    assert as_text("book", rows[2:]).startswith("book: no value in the kernel can be compared with a stored one\n")
