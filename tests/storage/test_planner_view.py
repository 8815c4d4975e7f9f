"""What planning sees of a store is what is in it at that moment, however little of it is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage import planner_view
from jupyter_pipelines.storage.files import filesystem_features
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.planner_view import StoreView
from jupyter_pipelines.storage.step_record import StepRecord, path_of
from jupyter_pipelines.storage.store import Store

BOOK = "book.ipynb"
LONG_AGO = 3_600_000_000_000


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that is written in a test be an hour old."""
    monkeypatch.setattr(planner_view, "time", LaterClock())


class LaterClock:
    def time_ns(self) -> int:
        return __import__("time").time_ns() + LONG_AGO


def filled(folder: Path, count: int = 3) -> Store:
    store = open_store(folder / "store")
    for number in range(count):
        digest, size = store.blobs.put_bytes(f"content {number}".encode())
        artifact = Artifact(digest=digest, format="json", bytes=size)
        store.records.put(record(number, {"x": artifact}))
    return store


def record(number: int, outputs: dict[str, Artifact], *, key: str = "", **changes: Any) -> StepRecord:
    made = StepRecord(
        key=key or f"{number:064x}",
        step=f"s{number}",
        notebook=BOOK,
        parts={"code:1": "a"},
        outputs=outputs,
        run="20260101-000000-000000-abcdef",
        created="2026-01-01T00:00:00Z",
        seconds=1.5,
    )
    return replace(made, **changes)


def names(count: int = 3) -> list[str]:
    return [f"s{number}" for number in range(count)]


def answers(view: Any, count: int = 3) -> list[Any]:
    """Return the record of every step and the conditions of its outputs, as planning asks for them."""
    records = [view.record(f"{number:064x}") for number in range(count)]
    return [
        (step_record, [view.intact(artifact) for artifact in step_record.outputs.values()]) if step_record else None
        for step_record in records
    ]


@contextmanager
def nothing_is_opened(store: Store, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with patch.context() as here:

        def refuse(path: str) -> Any:
            raise AssertionError(f"{path} is opened again")

        here.setattr(store.folder, "open", refuse)
        yield


def test_a_preloaded_view_answers_what_the_store_would(tmp_path: Path) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    preloaded = view.at_once([*names(), "s9"])
    assert answers(preloaded) == answers(view) == [(store.records.get(f"{n:064x}"), ["ok"]) for n in range(3)]
    assert [preloaded.latest(name) for name in names()] == [view.latest(name) for name in names()]
    assert preloaded.latest("s9") is None
    assert preloaded.record("f" * 64) is None


def test_what_has_not_changed_is_not_opened_again(tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    first = answers(view.at_once(names()))
    with nothing_is_opened(store, monkeypatch):
        assert answers(view) == first


def test_a_second_plan_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    first = answers(StoreView(store, BOOK).at_once(names()))
    again = open_store(tmp_path / "store")
    with nothing_is_opened(again, monkeypatch):
        assert answers(StoreView(again, BOOK).at_once(names())) == first


def test_many_steps_take_few_questions_to_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    store = filled(tmp_path, 60)
    StoreView(store, BOOK).at_once(names(60))
    use = store.index._use
    monkeypatch.setattr(store.index, "_use", lambda act, otherwise: (asked.append(""), use(act, otherwise))[1])
    answers(StoreView(store, BOOK).at_once(names(60)), 60)
    assert len(asked) < 10


def overwritten(path: Path) -> None:
    """Change a byte in place: size, name and time of change stay what they were."""
    before = path.stat()
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


def linked(path: Path) -> None:
    path.rename(path.with_name("away"))
    path.symlink_to("away")


HARM: dict[str, Callable[[Path], object]] = {
    "changed in place": overwritten,
    "replaced": replaced,
    "removed": Path.unlink,
    "a link": linked,
}


@pytest.mark.parametrize("when", ["at once", "an hour later"])
@pytest.mark.parametrize("harm", HARM)
def test_harm_to_an_output_is_seen(harm: str, when: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if when != "at once":
        request.getfixturevalue("later")
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    (_, before) = answers(view.at_once(names()))[1]
    artifact = store.records.get(f"{1:064x}").outputs["x"]  # type: ignore[union-attr]
    HARM[harm](store.blobs.path(artifact.digest))
    assert before == ["ok"]
    assert view.intact(artifact) == store.intact(artifact) != "ok"


@pytest.mark.parametrize("when", ["at once", "an hour later"])
@pytest.mark.parametrize("harm", HARM)
def test_harm_to_a_record_is_seen(harm: str, when: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if when != "at once":
        request.getfixturevalue("later")
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    view.at_once(names())
    HARM[harm](store.root / path_of(f"{1:064x}"))
    assert view.record(f"{1:064x}") is None


def test_a_record_that_another_run_writes_meanwhile_is_seen(tmp_path: Path, later: None) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    view.at_once([*names(), "s7"])
    assert view.record(f"{7:064x}") is None
    newer = record(1, {}, seconds=9.0)
    for step_record in (newer, record(7, {})):
        open_store(tmp_path / "store").records.put(step_record)
    assert view.record(f"{7:064x}") == record(7, {})
    assert view.record(f"{1:064x}") == newer


def test_files_that_may_still_change_unseen_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    view.at_once(names())
    assert filesystem_features.COARSE_MARGIN_NS >= 2_000_000_000
    with nothing_is_opened(store, monkeypatch), pytest.raises(AssertionError, match="opened again"):
        view.record(f"{1:064x}")


def test_a_folder_is_looked_at_member_by_member(tmp_path: Path, later: None) -> None:
    store = open_store(tmp_path / "store")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.txt").write_text("a")
    digest, size = store.blobs.put_folder(tmp_path / "made")
    artifact = Artifact(digest=digest, format="folder", bytes=size)
    store.records.put(record(0, {"x": artifact}))
    view = StoreView(store, BOOK)
    assert answers(view.at_once(names(1)), 1)[0][1] == ["ok"]
    (entry,) = store.blobs.manifest(digest)
    store.blobs.path(str(entry.digest)).unlink()
    assert view.intact(artifact) == "missing"


def test_a_record_is_served_as_its_file_says_it(tmp_path: Path, later: None) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    loaded = view.at_once(names()).record(f"{1:064x}")
    document = json.loads((store.root / path_of(f"{1:064x}")).read_bytes())["record"]
    assert loaded is not None
    assert json.loads(json.dumps(loaded.to_dict())) == document
