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

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing import disks, viewing
from jupyter_pipelines.storing.records import StepRecord, path_of
from jupyter_pipelines.storing.store import Store
from jupyter_pipelines.storing.viewing import StoreView

BOOK = "book.ipynb"
LONG_AGO = 3_600_000_000_000


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that is written in a test be an hour old."""
    monkeypatch.setattr(viewing, "time", _Later())


class _Later:
    def time_ns(self) -> int:
        return __import__("time").time_ns() + LONG_AGO


def filled(folder: Path, count: int = 3) -> Store:
    store = Store.open(folder / "store")
    for number in range(count):
        digest, size = store.blobs.put_bytes(f"content {number}".encode())
        artifact = Artifact(digest=digest, format="json", bytes=size)
        store.records.put(record(number, {"x": artifact}))
    return store


def record(number: int, outputs: dict[str, Artifact], *, key: str = "", **changes: Any) -> StepRecord:
    one = StepRecord(
        key=key or f"{number:064x}",
        step=f"s{number}",
        notebook=BOOK,
        parts={"code:1": "a"},
        outputs=outputs,
        run="20260101-000000-000000-abcdef",
        created="2026-01-01T00:00:00Z",
        seconds=1.5,
    )
    return replace(one, **changes)


def names(count: int = 3) -> list[str]:
    return [f"s{number}" for number in range(count)]


def seen(view: Any, count: int = 3) -> list[Any]:
    """Return what planning asks about every step."""
    found = [view.record(f"{number:064x}") for number in range(count)]
    return [(one, [view.intact(artifact) for artifact in one.outputs.values()]) if one else None for one in found]


@contextmanager
def nothing_is_opened(store: Store, patch: pytest.MonkeyPatch) -> Iterator[None]:
    with patch.context() as here:

        def refuse(path: str) -> Any:
            raise AssertionError(f"{path} is opened again")

        here.setattr(store.door, "open", refuse)
        yield


def test_a_glance_answers_what_the_store_would(tmp_path: Path) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    glance = view.at_once([*names(), "s9"])
    assert seen(glance) == seen(view) == [(store.records.get(f"{n:064x}"), ["ok"]) for n in range(3)]
    assert [glance.latest(name) for name in names()] == [view.latest(name) for name in names()]
    assert glance.latest("s9") is None
    assert glance.record("f" * 64) is None


def test_what_has_not_changed_is_not_opened_again(tmp_path: Path, later: None, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    first = seen(view.at_once(names()))
    with nothing_is_opened(store, monkeypatch):
        assert seen(view) == first


def test_a_second_plan_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    first = seen(StoreView(store, BOOK).at_once(names()))
    again = Store.open(tmp_path / "store")
    with nothing_is_opened(again, monkeypatch):
        assert seen(StoreView(again, BOOK).at_once(names())) == first


def test_many_steps_take_few_questions_to_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    store = filled(tmp_path, 60)
    StoreView(store, BOOK).at_once(names(60))
    use = store.index._use
    monkeypatch.setattr(store.index, "_use", lambda act, otherwise: (asked.append(""), use(act, otherwise))[1])
    seen(StoreView(store, BOOK).at_once(names(60)), 60)
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
    (_, before) = seen(view.at_once(names()))[1]
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
    for one in (newer, record(7, {})):
        Store.open(tmp_path / "store").records.put(one)
    assert view.record(f"{7:064x}") == record(7, {})
    assert view.record(f"{1:064x}") == newer


def test_files_that_may_still_change_unseen_are_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    view.at_once(names())
    assert disks.UNSETTLED_NS >= 2_000_000_000
    with nothing_is_opened(store, monkeypatch), pytest.raises(AssertionError, match="opened again"):
        view.record(f"{1:064x}")


def test_a_folder_is_looked_at_member_by_member(tmp_path: Path, later: None) -> None:
    store = Store.open(tmp_path / "store")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.txt").write_text("a")
    digest, size = store.blobs.put_folder(tmp_path / "made")
    artifact = Artifact(digest=digest, format="folder", bytes=size)
    store.records.put(record(0, {"x": artifact}))
    view = StoreView(store, BOOK)
    assert seen(view.at_once(names(1)), 1)[0][1] == ["ok"]
    (entry,) = store.blobs.manifest(digest)
    store.blobs.path(str(entry.digest)).unlink()
    assert view.intact(artifact) == "missing"


def test_a_record_is_served_as_its_file_says_it(tmp_path: Path, later: None) -> None:
    store = filled(tmp_path)
    view = StoreView(store, BOOK)
    found = view.at_once(names()).record(f"{1:064x}")
    document = json.loads((store.root / path_of(f"{1:064x}")).read_bytes())["record"]
    assert found is not None
    assert json.loads(json.dumps(found.to_dict())) == document
