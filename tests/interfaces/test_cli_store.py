"""Test the ``store`` commands: what they say, change and refuse, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.interfaces.cli import main
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.maintenance.exclusive_use import EXCLUSIVE_KEY
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import StepRecord, path_of
from jupyter_pipelines.storage.store import Store
from tests.storage.users import KEY, OTHER_KEY, StoreUser, new_user, record, team_folder

RUN = "20260101-000000-000000-abcdef"
THIRD_KEY = "ef" + "0" * 62
StoreCall = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreUser:
    """A user without a key, in a project of her own."""
    user = StoreUser("ada", tmp_path / "ada")
    user.activate(monkeypatch)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "project")
    return user


@pytest.fixture
def call(ada: StoreUser, capsys: pytest.CaptureFixture[str]) -> StoreCall:
    def call_store(*arguments: str) -> tuple[int, dict[str, Any], str]:
        code = main.call(["store", *arguments, "--json"])
        answer = capsys.readouterr()
        return code, json.loads(answer.out), answer.err

    return call_store


@pytest.fixture
def source(ada: StoreUser) -> Path:
    """The project's store: a value, a folder, a run."""
    store = open_store(".pipelines")
    store.records.put(record(store))
    Path("tree/sub").mkdir(parents=True)
    Path("tree/sub/leaf").write_text("leaf")
    digest = store.blobs.put_folder(Path("tree")).digest
    outputs = {"tree": Artifact(digest=digest, format="folder", bytes=4)}
    store.records.put(replace(record(store, key=OTHER_KEY, step="grow"), outputs=outputs))
    folder = store.runs.create(RUN)
    (folder / "load.ipynb").write_text("{}")
    unnamed = store.blobs.put_bytes(b"of no record").digest
    step = {"name": "load", "notebook": f"{folder}/load.ipynb", "outputs": {"x": artifact(unnamed).to_dict()}}
    store.runs.write(RUN, {"schema": "jupyter-pipelines/run/1", "state": "succeeded", "steps": [step]})
    store.close()
    return store.root


def artifact(digest: str) -> Artifact:
    return Artifact(digest=digest, format="bytes", bytes=12)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def make_older(root: Path) -> None:
    """Make a store what a version before traces left."""
    store = open_store(root)
    for key in store.records.all_keys():
        stored = store.records.get(key)
        assert stored is not None
        store.records.put(replace(stored, trace=None, signature=None))
    store.close()
    (root / "format.json").write_text('{"schema": "jupyter-pipelines/store/2", "writer": "0.1.0"}')


def damage(store: Store, digest: str) -> None:
    path = store.blobs.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"X" + path.read_bytes()[1:])


def result_of(url: object, key: str = KEY) -> tuple[StepRecord, Any]:
    """Return a record and the value of its output, as a run gets them."""
    store = open_store(url)  # type: ignore[arg-type]
    stored = store.records.get(key)
    assert stored is not None
    (output,) = stored.outputs.values()
    value = load_value(store, output)
    return stored, value


# Info


def test_info_counts_what_a_store_holds_and_changes_nothing(call: StoreCall, source: Path) -> None:
    before = files_of(source)
    code, document, err = call("info")
    assert (code, err) == (0, "")
    assert document["schema"] == "jupyter-pipelines/store-info/1"
    assert (document["store"], document["kind"], document["format"]) == (str(source), "folder", 3)
    assert (document["readable"], document["writable"], document["needs_upgrade"]) == (True, True, False)
    assert document["records"]["count"] == document["records"]["traced"] == 2
    assert document["records"]["schemas"] == {"2": 2}
    assert document["records"]["signed"] == {"unsigned": 2}
    assert document["artifacts"]["count"] == 4
    assert document["runs"]["count"] == 1
    assert files_of(source) == before


def test_info_says_by_whom_records_are_signed(call: StoreCall, source: Path, ada: StoreUser, tmp_path: Path) -> None:
    new_user("ada", tmp_path)
    bob, eve = new_user("bob", tmp_path), new_user("eve", tmp_path)
    ada.trusts(bob)
    store = open_store(source)
    for user, key in ((ada, "1"), (bob, "2"), (eve, "3")):
        with pytest.MonkeyPatch.context() as patch:
            user.activate(patch)
            store.records.put(record(store, key=key * 64))
    assert call("info")[1]["records"]["signed"] == {"unsigned": 2, "trusted": 1, "unknown": 1, "you": 1}


def test_info_of_an_older_store_says_that_it_can_be_upgraded(
    call: StoreCall, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_older(source)
    code, document, _ = call("info")
    assert (code, document["format"], document["needs_upgrade"]) == (0, 2, True)
    assert (document["records"]["untraced"], document["records"]["schemas"]) == (2, {"1": 2})
    assert main.call(["store", "info"]) == 0
    out = capsys.readouterr().out
    assert "jupyter pipelines store upgrade" in out
    assert "2 without: their steps run once more" in out


def test_info_of_a_newer_store_says_so(call: StoreCall, source: Path) -> None:
    (source / "format.json").write_text('{"schema": "jupyter-pipelines/store/99", "writer": "7.0"}')
    code, document, err = call("info")
    assert (code, document["format"], document["writer"], document["readable"]) == (2, 99, "7.0", False)
    assert "JP406" in err
    assert "pip install -U" in err


def test_info_of_a_damaged_store_counts_the_damage(call: StoreCall, source: Path) -> None:
    (source / "format.json").write_bytes(b"{")
    (source / path_of(KEY)).write_bytes(b'{"record": {"schema": 1}}')
    before = files_of(source)
    code, document, _ = call("info")
    assert (code, document["format"]) == (0, None)
    assert (document["records"]["unreadable"], document["records"]["traced"]) == (1, 1)
    assert files_of(source) == before


def test_info_of_an_empty_folder_holds_nothing(call: StoreCall) -> None:
    Path("empty").mkdir()
    code, document, _ = call("info", "--store", "empty")
    assert (code, document["format"], document["records"]["count"]) == (0, None, 0)
    assert list(Path("empty").iterdir()) == []


def test_info_of_a_store_that_can_only_be_read(call: StoreCall, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert call("info")[1]["writable"] is False


@pytest.mark.parametrize("command", [("info",), ("upgrade",), ("move", "there")])
def test_where_there_is_no_store_none_is_made(call: StoreCall, command: tuple[str, ...]) -> None:
    Path("notes.txt").write_text("mine")
    code, document, _ = call(*command)
    assert (code, document["faults"][0]["code"]) == (2, "JP401")
    code, document, _ = call(*command, "--store", str(Path.cwd()))
    assert (code, document["faults"][0]["code"]) == (2, "JP401")
    code, document, _ = call(*command, "--store", "memory://nothing/here")
    assert (code, document["faults"][0]["code"]) == (2, "JP401")
    assert sorted(path.name for path in Path().iterdir()) == ["notes.txt", "pyproject.toml"]


# Upgrade


def test_an_older_store_is_upgraded_once_and_keeps_what_it_holds(call: StoreCall, source: Path) -> None:
    make_older(source)
    before = files_of(source)
    code, document, _ = call("upgrade")
    assert (code, document["from"], document["to"], document["changed"]) == (0, 2, 3, True)
    assert document["records"]["untraced"] == 2
    after = files_of(source)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith(("leases/", "index."))} == {"format.json"}
    assert call("upgrade")[1]["changed"] is False
    assert result_of(source)[0].trace is None


def test_an_older_store_is_only_marked_when_something_is_to_be_written(source: Path) -> None:
    make_older(source)
    store = open_store(source)
    assert store.records.get(KEY) is not None
    assert b"store/2" in (source / "format.json").read_bytes()
    store.check_writable()
    assert b"store/3" in (source / "format.json").read_bytes()


def test_a_shared_store_is_upgraded_by_the_command_and_by_no_run(
    call: StoreCall, ada: StoreUser, tmp_path: Path
) -> None:
    new_user("ada", tmp_path)
    root = team_folder(tmp_path / "team")
    store = open_store(root)
    store.records.put(record(store))
    (root / "format.json").write_text('{"schema": "jupyter-pipelines/store/2", "writer": "0.1.0"}')
    open_store(root).check_writable()
    assert b"store/2" in (root / "format.json").read_bytes()
    code, document, _ = call("upgrade", "--store", str(root))
    assert (code, document["from"], document["changed"]) == (0, 2, True)
    assert b"store/3" in (root / "format.json").read_bytes()


@pytest.mark.parametrize("command", [("upgrade",), ("move", "there")])
def test_a_store_in_use_is_left_alone(call: StoreCall, source: Path, command: tuple[str, ...]) -> None:
    make_older(source)
    store = open_store(source)
    with store.leases.lease(EXCLUSIVE_KEY):
        code, document, _ = call(*command)
    assert (code, document["faults"][0]["code"]) == (2, "JP407")
    store.runs.write(RUN, {"state": "running", "steps": []})
    code, document, _ = call(*command)
    assert (code, document["faults"][0]["code"]) == (2, "JP407")
    assert b"store/2" in (source / "format.json").read_bytes()
    store.runs.write(RUN, {"state": "succeeded", "steps": []})
    with store.leases.lease(KEY):
        code, document, _ = call(*command)
    assert (code, document["faults"][0]["code"]) == (2, "JP407")
    assert call(*command)[0] == 0


# Move


def test_all_of_a_store_is_copied_and_the_source_stays(call: StoreCall, source: Path, tmp_path: Path) -> None:
    before = files_of(source)
    code, document, _ = call("move", str(tmp_path / "new"))
    assert (code, document["schema"]) == (0, "jupyter-pipelines/store-move/1")
    assert document["records"] == {"total": 2, "copied": 2, "already": 0, "replaced": 0}
    assert (document["artifacts"]["copied"], document["runs"]["copied"]) == (4, 1)
    assert (document["left_out"], document["kept"], document["removed"]) == ([], [], False)
    assert result_of(tmp_path / "new")[1] == b"value"
    assert (Path(result_of(tmp_path / "new", OTHER_KEY)[1]) / "sub" / "leaf").read_text() == "leaf"
    (run,) = open_store(tmp_path / "new").runs.ids()
    (step,) = open_store(tmp_path / "new").runs.read(run)["steps"]
    assert Path(step["notebook"]).is_relative_to(tmp_path / "new")
    assert Path(step["notebook"]).read_text() == "{}"
    assert {name: text for name, text in files_of(source).items() if name in before and "index" not in name} == {
        name: text for name, text in before.items() if "index" not in name
    }


def test_a_second_copy_goes_on_where_the_first_ended(
    call: StoreCall, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_pipelines.storage.records.record_store import RecordStore

    put = RecordStore.put

    def interrupted(self: RecordStore, stored: StepRecord, **options: Any) -> None:
        if stored.key == OTHER_KEY:
            raise KeyboardInterrupt
        put(self, stored, **options)

    with monkeypatch.context() as patch:
        patch.setattr(RecordStore, "put", interrupted)
        assert main.call(["store", "move", str(tmp_path / "new")]) == 130
    assert open_store(tmp_path / "new").folder.ls("tmp") == []
    code, document, _ = call("move", str(tmp_path / "new"))
    assert (code, document["records"]["already"], document["records"]["copied"]) == (0, 1, 1)
    assert (document["artifacts"]["already"], document["artifacts"]["copied"]) == (3, 1)
    damage(open_store(tmp_path / "new"), result_of(source)[0].outputs["x"].digest)
    document = call("move", str(tmp_path / "new"))[1]
    assert (document["artifacts"]["copied"], document["records"]["already"]) == (1, 2)
    assert result_of(tmp_path / "new")[1] == b"value"


@pytest.mark.parametrize("what", ["output", "member", "record"])
def test_what_is_damaged_is_left_out_and_said(call: StoreCall, source: Path, tmp_path: Path, what: str) -> None:
    store = open_store(source)
    if what == "record":
        (source / path_of(KEY)).write_bytes((source / path_of(KEY)).read_bytes().replace(b"load", b"lord"))
    elif what == "output":
        damage(store, result_of(source)[0].outputs["x"].digest)
    else:
        (member,) = store.blobs.manifest(result_of(source, OTHER_KEY)[0].outputs["tree"].digest)
        store.blobs.path(member.digest).unlink()
    code, document, _ = call("move", str(tmp_path / "new"), "--remove")
    assert (code, document["records"]["copied"], document["removed"]) == (1, 1, False)
    (left_out,) = document["left_out"]
    assert left_out["key"] == (OTHER_KEY if what == "member" else KEY)
    assert "missing" in left_out["why"] if what == "member" else "damaged" in left_out["why"]
    assert open_store(tmp_path / "new").records.get(left_out["key"]) is None
    assert source.is_dir()


@pytest.mark.parametrize(("created", "state"), [("2025", "replaced"), ("2027", "kept"), ("", "kept")])
def test_a_result_that_is_there_is_replaced_only_if_it_is_older(
    call: StoreCall, source: Path, tmp_path: Path, created: str, state: str
) -> None:
    store = open_store(tmp_path / "new")
    other = replace(record(store, content=b"other"), seconds=9.0)
    store.records.put(replace(other, created=created or other.created))
    code, document, _ = call("move", str(tmp_path / "new"), "--remove")
    assert (code, document["records"]["replaced"]) == (0, int(state == "replaced"))
    assert [kept["key"] for kept in document["kept"]] == ([KEY] if state == "kept" else [])
    assert result_of(tmp_path / "new")[1] == (b"value" if state == "replaced" else b"other")
    assert document["removed"] is (state == "replaced")
    assert source.exists() is (state == "kept")


def test_a_source_that_has_arrived_is_removed_and_other_files_stay(
    call: StoreCall, source: Path, tmp_path: Path
) -> None:
    (source / "notes.txt").write_text("mine")
    document = call("move", str(tmp_path / "new"), "--remove")[1]
    assert document["removed"] is False
    assert [str(path) for path in source.iterdir()] == [str(source / "notes.txt")]
    shutil.rmtree(source)
    code, document, _ = call("move", ".pipelines", "--store", str(tmp_path / "new"), "--remove")
    assert (code, document["removed"]) == (0, True)
    assert not (tmp_path / "new").exists()
    assert result_of(source)[1] == b"value"


@pytest.mark.parametrize("where", [".pipelines", ".pipelines/inside", "file:.pipelines"])
def test_a_destination_in_the_source_is_refused(call: StoreCall, source: Path, where: str) -> None:
    where = f"file://{source}" if where.startswith("file:") else where
    code, document, _ = call("move", where)
    assert (code, document["faults"][0]["code"]) == (2, "JP408")


def test_a_folder_with_other_files_is_no_destination(call: StoreCall, source: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "beach.jpg").touch()
    code, document, _ = call("move", str(tmp_path / "photos"))
    assert (code, document["faults"][0]["code"]) == (2, "JP401")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["beach.jpg"]


# Shared stores


@pytest.fixture
def team(tmp_path: Path, ada: StoreUser) -> Mapping[str, StoreUser]:
    """Ada and Bob trust each other."""
    new_user("ada", tmp_path)
    bob = new_user("bob", tmp_path)
    bob.trusts(ada)
    ada.trusts(bob)
    return {"ada": ada, "bob": bob, "eve": new_user("eve", tmp_path)}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_what_goes_into_a_shared_store_is_signed_and_a_colleague_uses_it(
    call: StoreCall,
    source: Path,
    team: Mapping[str, StoreUser],
    tmp_path: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    where = str(team_folder(tmp_path / "team")) if kind == "folder" else f"memory://{tmp_path}/team"
    assert result_of(source)[0].signature is None
    code, document, _ = call("move", where)
    assert (code, document["records"]["copied"], document["left_out"]) == (0, 2, [])
    assert call("move", where)[1]["records"]["already"] == 2
    info = call("info", "--store", where)[1]
    assert (info["records"]["signed"], info["artifacts"]["count"]) == ({"you": 2}, 4)
    team["bob"].activate(monkeypatch)
    assert result_of(where)[1] == b"value"
    assert (Path(result_of(where, OTHER_KEY)[1]) / "sub" / "leaf").read_text() == "leaf"
    code, document, _ = call("move", str(tmp_path / "home"), "--store", where)
    assert (code, document["records"]["copied"], document["left_out"]) == (0, 2, [])
    assert result_of(tmp_path / "home")[1] == b"value"
    assert call("move", str(tmp_path / "home"), "--store", where, "--remove")[1]["faults"][0]["code"] == "JP408"


def test_what_no_trusted_key_vouches_for_is_not_copied(
    call: StoreCall, source: Path, team: Mapping[str, StoreUser], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(source)
    with monkeypatch.context() as patch:
        team["eve"].activate(patch)
        store.records.put(record(store, key=THIRD_KEY))
    where = str(team_folder(tmp_path / "team"))
    code, document, _ = call("move", where)
    assert (code, document["records"]["copied"]) == (1, 2)
    assert [(left["key"], "do not trust" in left["why"]) for left in document["left_out"]] == [(THIRD_KEY, True)]
    with monkeypatch.context() as patch:
        team["eve"].activate(patch)
        team["eve"].trusts(team["ada"])
        shared = open_store(where)
        shared.records.put(record(shared, key=THIRD_KEY))
    code, document, _ = call("move", str(tmp_path / "home"), "--store", where)
    assert [left["key"] for left in document["left_out"]] == [THIRD_KEY]
    assert open_store(tmp_path / "home").records.get(THIRD_KEY) is None


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_other_traces_of_a_key_are_copied_with_their_signatures(
    call: StoreCall, team: Mapping[str, StoreUser], tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def traced(url: str | Path, answer: str) -> None:
        store = open_store(url)
        trace = {'["file","data.csv"]': answer}
        made = replace(record(store, answer.encode()), trace=trace, created=f"2026-01-0{answer}T00:00:00.000Z")
        store.records.put(made)
        store.close()

    def answers(url: str | Path) -> set[str]:
        store = open_store(url)
        newest = store.records.get(KEY)
        assert newest is not None
        return {next(iter((each.trace or {}).values())) for each in (newest, *store.records.others(KEY))}

    first, second = (
        str(team_folder(tmp_path / name)) if kind == "folder" else f"memory://{tmp_path}/{name}"
        for name in ("first", "second")
    )
    traced(first, "1")
    with monkeypatch.context() as patch:
        team["bob"].activate(patch)
        traced(first, "2")
        traced(second, "3")
    traced(tmp_path / "home", "4")
    for source, destination, count in ((first, "middle", 2), ("middle", second, 2), ("home", second, 1)):
        places = [place if place in (first, second) else str(tmp_path / place) for place in (source, destination)]
        code, document, _ = call("move", places[1], "--store", places[0])
        assert (code, document["records"]["total"], document["left_out"]) == (0, count, []), places
    assert answers(tmp_path / "middle") == {"1", "2"}
    assert answers(second) == {"1", "2", "3", "4"}
    assert call("info", "--store", second)[1]["records"]["signed"] == {"trusted": 2, "you": 2}
    # A newer result with another trace does not keep an older one from being moved away.
    traced(tmp_path / "last", "1")
    code, document, _ = call("move", second, "--store", str(tmp_path / "last"), "--remove")
    assert (code, document["removed"], document["kept"]) == (0, True, [])


def test_without_a_key_nothing_goes_into_a_shared_store(call: StoreCall, source: Path, tmp_path: Path) -> None:
    code, document, _ = call("move", f"shared://{tmp_path}/team")
    assert (code, document["faults"][0]["code"]) == (2, "JP412")
