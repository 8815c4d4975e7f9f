"""S06 S07: stores that several users write to. Records without a trusted signature are never used or looked into."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.blobs.blobs import path_of as blob_path
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.maintenance.fsck import examine
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.planner_view import StoreView
from jupyter_pipelines.storage.shared.resign import sign_records
from jupyter_pipelines.storage.shared.shared_folder import SharedFolder
from jupyter_pipelines.storage.signing.signatures import TrustPolicy, signed
from jupyter_pipelines.storage.step_record import MAX_TRACES, StepRecord, decode, encode, path_of
from jupyter_pipelines.storage.store import Store
from tests.storage.users import KEY, OTHER_KEY, StoreUser, new_user, record, team_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of files are asked about")


class MaliciousValue:
    """Executes code when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return (open, (str(self.canary), "w"))


class SharedStoreTeam:
    """Ada and Bob trust each other; Eve can write to their store, too."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = team_folder(folder / "team")
        self.ada, self.bob, self.eve = (new_user(name, folder) for name in ("ada", "bob", "eve"))
        self.ada.trusts(self.bob)
        self.bob.trusts(self.ada)
        self.canary = folder / "canary"
        self.patch = patch

    def store_of(self, who: StoreUser) -> Store:
        who.activate(self.patch)
        return open_store(self.root)

    def shared_by_ada(self) -> StepRecord:
        store = self.store_of(self.ada)
        made = record(store)
        store.records.put(made)
        return made

    @property
    def file(self) -> Path:
        return self.root / path_of(KEY)

    def read(self) -> StepRecord:
        """What is in the shared folder."""
        return decode(self.file.read_bytes(), KEY)

    def plant(self, planted: StepRecord, content: bytes | None = None) -> None:
        """Write a record as Eve can: its checksum fits."""
        if content is not None:
            for artifact in planted.outputs.values():
                path = self.root / blob_path(artifact.digest)
                path.parent.mkdir(exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_bytes(content)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_bytes(encode(planted))


@pytest.fixture
def team(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedStoreTeam:
    return SharedStoreTeam(tmp_path, monkeypatch)


def test_what_one_has_computed_the_other_uses(team: SharedStoreTeam) -> None:
    made = team.shared_by_ada()
    store = team.store_of(team.bob)
    assert not store.own
    assert not store.root.is_relative_to(team.root)
    loaded = store.records.get(KEY)
    assert loaded == made
    assert load_value(store, loaded.outputs["x"]) == b"value"
    assert store.records.refusal(KEY) == ""


def test_another_machine_of_the_same_person_has_a_front_of_its_own(
    team: SharedStoreTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a remote worker puts is found here by its digest, before any record names it; and is not put twice."""
    stored = team.store_of(team.ada).blobs.put_bytes(b"from a worker")
    monkeypatch.setenv("JUPYTER_PIPELINES_FRONT", str(team.ada.home / "another machine"))
    monkeypatch.setattr(SharedFolder, "put_blob", lambda *_: pytest.fail("it is there"))
    store = open_store(team.root)
    assert store.blobs.verify(stored.digest) == "ok"
    with store.blobs.open(stored.digest) as file:
        assert file.read() == b"from a worker"


def test_what_is_in_front_is_not_checked_again(team: SharedStoreTeam, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that reuses everything costs what it costs with a store of one's own."""
    made = team.shared_by_ada()
    store = team.store_of(team.bob)
    assert store.records.get(KEY) == made
    assert load_value(store, made.outputs["x"]) == b"value"
    monkeypatch.setattr(TrustPolicy, "rejection_reason", lambda *_: pytest.fail("a signature was checked"))
    monkeypatch.setattr(SharedFolder, "fetch", lambda *_: pytest.fail("bytes were copied"))
    store = team.store_of(team.bob)
    view = StoreView(store, "book.ipynb").at_once(["load"])
    assert view.record(KEY) == made
    assert load_value(store, made.outputs["x"]) == b"value"


def test_a_folder_is_shared_whole(team: SharedStoreTeam, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "member").write_bytes(b"member")
    store = team.store_of(team.ada)
    stored = store.blobs.put_folder(tmp_path / "tree")
    folder = Artifact(digest=stored.digest, format="folder", bytes=stored.size)
    store.records.put(replace(record(store), outputs={"d": folder}))
    store = team.store_of(team.bob)
    assert store.intact(folder) == "ok"
    assert (load_value(store, folder) / "sub" / "member").read_bytes() == b"member"


def stripped(team: SharedStoreTeam) -> str:
    team.plant(replace(team.read(), signature=None))
    return "not signed"


def by_a_stranger(team: SharedStoreTeam) -> str:
    team.eve.activate(team.patch)
    pickled = pickle.dumps(MaliciousValue(team.canary))
    from jupyter_pipelines.storage.blobs.digests import digest_bytes

    evil = Artifact(digest=digest_bytes(pickled), format="pickle", bytes=len(pickled))
    team.plant(signed(replace(team.read(), outputs={"x": evil}, signature=None)), pickled)
    return "which you do not trust"


def another_digest(team: SharedStoreTeam) -> str:
    from jupyter_pipelines.storage.blobs.digests import digest_bytes

    pickled = pickle.dumps(MaliciousValue(team.canary))
    evil = Artifact(digest=digest_bytes(pickled), format="pickle", bytes=len(pickled))
    team.plant(replace(team.read(), outputs={"x": evil}), pickled)
    return "was changed"


def as_a_pickle(team: SharedStoreTeam) -> str:
    """The right bytes, to be read as code."""
    shared = team.read()
    team.plant(replace(shared, outputs={"x": replace(shared.outputs["x"], format="pickle")}))
    return "was changed"


def for_another_step(team: SharedStoreTeam) -> str:
    team.plant(replace(team.read(), step="train"))
    return "was changed"


def of_another_key(team: SharedStoreTeam) -> str:
    """A record that Ada has signed, under a key that it is not for."""
    store = team.store_of(team.ada)
    store.records.put(record(store, b"other", key=OTHER_KEY))
    team.file.write_bytes((team.root / path_of(OTHER_KEY)).read_bytes())
    return "another key"


def renamed_to_this_key(team: SharedStoreTeam) -> str:
    store = team.store_of(team.ada)
    store.records.put(record(store, b"other", key=OTHER_KEY))
    team.plant(replace(decode((team.root / path_of(OTHER_KEY)).read_bytes(), OTHER_KEY), key=KEY))
    return "was changed"


def a_pipe(team: SharedStoreTeam) -> str:
    team.file.unlink()
    os.mkfifo(team.file)
    return "not a file"


def a_link(team: SharedStoreTeam) -> str:
    team.file.rename(team.root / "elsewhere")
    team.file.symlink_to(team.root / "elsewhere")
    return "cannot be read"


def a_folder(team: SharedStoreTeam) -> str:
    team.file.unlink()
    team.file.mkdir()
    return "not a file"


def garbage(team: SharedStoreTeam) -> str:
    team.file.write_bytes(b"[" * 100_000)
    return "cannot be read"


def endless(team: SharedStoreTeam) -> str:
    os.truncate(team.file, 100 << 20)
    return "larger than"


ATTACKS = (
    stripped, by_a_stranger, another_digest, as_a_pickle, for_another_step, of_another_key, renamed_to_this_key,
    a_pipe, a_link, a_folder, garbage, endless,
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_s07_what_was_planted_is_a_miss_that_says_why_and_heals(
    team: SharedStoreTeam, attack: Callable[[SharedStoreTeam], str]
) -> None:
    made = team.shared_by_ada()
    refusal = attack(team)
    store = team.store_of(team.bob)
    assert store.records.get(KEY) is None
    assert refusal in store.records.refusal(KEY)
    assert store.records.latest("load") is None
    view = StoreView(store, "book.ipynb").at_once(["load"])
    assert view.record(KEY) is None
    assert refusal in view.refused(KEY)
    again = record(store)
    store.records.put(again)  # Bob has computed it
    assert store.records.get(KEY) == again == made
    assert load_value(store, again.outputs["x"]) == b"value"
    (team.ada.home / "front").rename(team.ada.home / "old")
    assert team.store_of(team.ada).records.get(KEY) == made
    assert not team.canary.exists()


@pytest.mark.parametrize("content", [b"", b"valuf", b"value and more"])
def test_s06_bytes_that_were_exchanged_are_missing_and_heal(team: SharedStoreTeam, content: bytes) -> None:
    made = team.shared_by_ada()
    blob = team.root / blob_path(made.outputs["x"].digest)
    blob.unlink()
    blob.write_bytes(content)
    store = team.store_of(team.bob)
    loaded = store.records.get(KEY)
    assert loaded is not None
    assert store.intact(loaded.outputs["x"]) == "missing"
    with pytest.raises(StoreError, match="JP405"):
        load_value(store, loaded.outputs["x"])
    assert list(store.blobs.digests()) == []
    store.records.put(record(store))
    assert blob.read_bytes() == b"value"


def test_s06_bytes_are_exchanged_after_they_were_checked(team: SharedStoreTeam) -> None:
    """What was checked is a copy in front, which others cannot reach."""
    made = team.shared_by_ada()
    store = team.store_of(team.bob)
    assert store.intact(made.outputs["x"]) == "ok"
    blob = team.root / blob_path(made.outputs["x"].digest)
    blob.unlink()
    blob.write_bytes(b"valuf")
    assert load_value(store, made.outputs["x"]) == b"value"
    assert not store.blobs.path(made.outputs["x"].digest).is_relative_to(team.root)


def test_an_old_record_of_the_same_key_is_as_good_as_a_new_one(team: SharedStoreTeam) -> None:
    """S07: rolled back to what a trusted user once signed for this very key: the same computation."""
    made = team.shared_by_ada()
    old = team.file.read_bytes()
    store = team.store_of(team.ada)
    store.records.put(replace(record(store), created="2027"))
    team.file.write_bytes(old)
    assert team.store_of(team.bob).records.get(KEY) == made


def test_who_is_not_trusted_any_more_is_not_believed_any_more(team: SharedStoreTeam) -> None:
    """S07: also what came in before is forgotten; one's own results stay."""
    team.shared_by_ada()
    store = team.store_of(team.bob)
    assert store.records.get(KEY) is not None
    store.records.put(mine := record(store, b"mine", key=OTHER_KEY))
    team.bob.keyring.distrust("ada")
    store = team.store_of(team.bob)
    assert store.records.get(KEY) is None
    assert "you do not trust" in store.records.refusal(KEY)
    assert store.records.get(OTHER_KEY) == mine
    team.bob.trusts(team.ada)
    assert team.store_of(team.bob).records.get(KEY) is not None


def test_without_a_key_a_store_of_several_people_is_refused(
    team: SharedStoreTeam, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S06: what has been true before there were keys stays true."""
    team.shared_by_ada()
    monkeypatch.setenv("JUPYTER_PIPELINES_KEYS", str(team.root.parent / "none"))
    with pytest.raises(StoreError, match="JP401") as caught:
        open_store(team.root)
    assert "keys new" in str(caught.value)
    with pytest.raises(StoreError, match="JP412"):
        open_store(f"shared://{team.root}")


def test_s07_without_the_package_it_is_refused(team: SharedStoreTeam, monkeypatch: pytest.MonkeyPatch) -> None:
    team.shared_by_ada()
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for act in (lambda: open_store(team.root), lambda: examine(team.root)):
        with pytest.raises(StoreError, match="JP411"):
            act()


def test_s08_with_a_key_that_others_can_read_it_is_refused(team: SharedStoreTeam) -> None:
    team.shared_by_ada()
    (team.ada.keyring.folder / "own.key").chmod(0o644)
    with pytest.raises(StoreError, match="JP412"):
        team.store_of(team.ada)


def test_a_store_that_cannot_be_written_is_read(team: SharedStoreTeam, monkeypatch: pytest.MonkeyPatch) -> None:
    made = team.shared_by_ada()
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    store = team.store_of(team.bob)
    assert store.records.get(KEY) == made
    store.check_writable()
    store.records.put(record(store, b"mine", key=OTHER_KEY))
    assert store.records.get(OTHER_KEY) is not None
    assert not (team.root / path_of(OTHER_KEY)).exists()


def test_files_are_as_open_as_the_folder_and_runs_are_not_there(team: SharedStoreTeam) -> None:
    before = os.umask(0o077)
    try:
        team.shared_by_ada()
    finally:
        os.umask(before)
    assert sorted(path.name for path in team.root.iterdir()) == [".gitignore", "blobs", "format.json", "records", "tmp"]
    for path in team.root.rglob("*"):
        assert path.stat().st_mode & 0o7777 == (0o2777 if path.is_dir() else path.stat().st_mode & 0o644 | 0o444)
    assert list((team.root / "tmp").iterdir()) == []


def test_a_url_makes_a_store_for_several_people(team: SharedStoreTeam, tmp_path: Path) -> None:
    team.ada.activate(team.patch)
    store = open_store(f"shared://{tmp_path}/made")
    store.records.put(record(store))
    assert (tmp_path / "made").stat().st_mode & 0o7777 == 0o2770
    assert open_store(store.url).records.get(KEY) is not None
    assert store.url == f"shared://{tmp_path}/made"


def test_an_empty_folder_that_is_not_meant_for_several_is_closed(team: SharedStoreTeam, tmp_path: Path) -> None:
    """As before: the umask of many systems leaves new folders open to a group of one."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine").chmod(0o775)
    team.ada.activate(team.patch)
    assert open_store(tmp_path / "mine").own
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o700


def test_fsck_counts_records_without_a_trusted_signature_and_a_repair_leaves_the_rest(team: SharedStoreTeam) -> None:
    """S06 S07: an untrusted record goes; blobs stay, which a trusted record may need; the folder stays open."""
    made = team.shared_by_ada()
    store = team.store_of(team.ada)
    store.records.put(replace(made, key=OTHER_KEY, step="train", signature=None))  # the same output
    assert examine(team.root).code == 0
    by_a_stranger(team)
    team.bob.activate(team.patch)
    for url in (team.root, f"shared://{team.root}"):
        report = examine(url)
        assert report.shared
        assert report.code == 2
        assert [(finding.kind, finding.path) for finding in report.findings] == [("untrusted", path_of(KEY))]
        assert report.to_dict()["counts"] == {"damaged": 0, "untrusted": 1, "unchecked": 0}
    assert examine(team.root, repair=True).code == 0
    assert not team.file.exists()
    assert team.root.stat().st_mode & 0o777 == 0o777
    store = team.store_of(team.bob)
    report = store.records.get(OTHER_KEY)
    assert report is not None
    assert load_value(store, report.outputs["x"]) == b"value"
    assert not team.canary.exists()


@pytest.mark.parametrize("place", ["format.json", path_of(KEY), "blobs"])
def test_r40_a_pipe_in_place_of_a_file_blocks_no_reader(team: SharedStoreTeam, place: str) -> None:
    made = team.shared_by_ada()
    path = team.root / (blob_path(made.outputs["x"].digest) if place == "blobs" else place)
    path.unlink()
    os.mkfifo(path)
    team.bob.activate(team.patch)
    if place == "format.json":
        with pytest.raises(StoreError, match="JP401"):
            open_store(team.root)
    else:
        assert examine(team.root).code == 1
        assert examine(team.root, repair=True).code == 0
        store = open_store(team.root)
        assert store.records.get(KEY) is None


def test_s06_the_front_has_to_be_ones_own(
    team: SharedStoreTeam, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a folder that others can write to, nor a folder inside the shared store."""
    made = team.shared_by_ada()
    root = team.store_of(team.ada).root
    root.chmod(0o777)
    with pytest.raises(StoreError, match="JP401"):
        team.store_of(team.ada)
    monkeypatch.setenv("JUPYTER_PIPELINES_FRONT", str(team.root / "front"))
    with pytest.raises(StoreError, match="which several people write to"):
        open_store(team.root)
    monkeypatch.setenv("JUPYTER_PIPELINES_FRONT", str(tmp_path / "elsewhere"))
    assert open_store(team.root).records.get(KEY) == made


def test_what_others_may_have_written_cannot_be_signed(team: SharedStoreTeam) -> None:
    team.shared_by_ada()
    with pytest.raises(StoreError, match="JP413"):
        sign_records(team.store_of(team.bob))


def test_a_store_of_ones_own_that_was_signed_can_be_opened_to_others(team: SharedStoreTeam, tmp_path: Path) -> None:
    team.ada.activate(team.patch)
    store = open_store(tmp_path / "own")
    store.records.put(made := record(store))
    store.close()
    for path in (tmp_path / "own", *(tmp_path / "own").rglob("*")):
        path.chmod(0o2777 if path.is_dir() else 0o644)
    team.bob.activate(team.patch)
    assert open_store(tmp_path / "own").records.get(KEY) == made


def test_nothing_of_a_shared_folder_is_a_run_or_an_index(team: SharedStoreTeam) -> None:
    """S06: runs and an index that others write into the shared folder are never read."""
    team.shared_by_ada()
    run = "20260101-000000-000000-abcdef"
    (team.root / "runs" / run).mkdir(parents=True)
    (team.root / "runs" / run / "run.json").write_text(json.dumps({"state": "succeeded", "steps": []}))
    (team.root / "index.sqlite").write_bytes(b"planted")
    store = team.store_of(team.bob)
    assert store.runs.names() == ()
    assert store.records.latest("load") is None
    assert store.records.get(KEY) is not None
    assert (team.root / "index.sqlite").read_bytes() == b"planted"


def traced(store: Store, answer: str, **changes: object) -> StepRecord:
    """Put a record whose step read a file with this content."""
    made = replace(record(store, answer.encode()), trace={'["file","data.csv"]': answer}, **changes)
    store.records.put(made)
    return made


def answers(records: list[StepRecord]) -> list[str]:
    return [next(iter((found.trace or {}).values())) for found in records]


def kept_files(team: SharedStoreTeam) -> list[Path]:
    return sorted(team.file.parent.glob(f"{KEY}.?*.json"))


def test_a_replaced_record_of_a_colleague_keeps_its_signature(team: SharedStoreTeam) -> None:
    of_ada = traced(team.store_of(team.ada), "1", created="2026-01-01T00:00:00.000Z")
    before = team.read().signature
    store = team.store_of(team.bob)
    of_bob = traced(store, "2", created="2026-01-02T00:00:00.000Z")
    assert team.read() == of_bob
    (path,) = kept_files(team)
    kept = decode(path.read_bytes(), path.stem)
    assert (kept.signature, kept.step_key) == (before, KEY)
    assert TrustPolicy.of_user().rejection_reason(kept) == ""
    assert replace(kept, key=KEY) == of_ada
    # Also through the index, where the record stands as it is signed.
    for opened in (store, team.store_of(team.bob), team.store_of(team.ada)):
        assert "1" in answers(opened.records.others(KEY))
        for _ in range(2):  # from the file, then from the index
            again = opened.records.get_many([kept.key])[kept.key]
            assert (again, again.signature) == (kept, before)
    assert examine(team.root).to_dict()["looked_at"]["records"] == 2


def test_the_newest_trace_comes_first_and_sixteen_are_kept(team: SharedStoreTeam) -> None:
    store = team.store_of(team.ada)
    for day in range(1, MAX_TRACES + 4):
        traced(store, str(day), created=f"2026-01-{day:02}T00:00:00.000Z")
    expected = [str(day) for day in range(MAX_TRACES + 2, 3, -1)]
    assert answers(store.records.others(KEY)) == expected
    assert len(kept_files(team)) == len(expected) == MAX_TRACES - 1
    assert answers(team.store_of(team.bob).records.others(KEY)) == [str(MAX_TRACES + 3), *expected]


def test_the_same_trace_and_an_incomplete_trace_are_not_kept(team: SharedStoreTeam) -> None:
    store = team.store_of(team.ada)
    traced(store, "1")
    traced(store, "1", run="20260101-000000-000001-abcdef")
    incomplete = replace(record(store), trace={'["unwatched","a file changed"]': "a file changed"})
    store.records.put(incomplete)
    assert answers(store.records.others(KEY)) == ["1"]
    traced(store, "2")
    assert answers(store.records.others(KEY)) == ["1"]
    assert len(kept_files(team)) == 1


def test_a_forged_or_damaged_record_is_not_kept_and_hides_none(team: SharedStoreTeam) -> None:
    traced(team.store_of(team.ada), "1")
    store = team.store_of(team.bob)
    of_bob = traced(store, "2")
    forged = replace(team.read(), trace={'["file","data.csv"]': "9"})
    for content in (encode(forged), encode(replace(forged, signature=None)), b"{", b""):
        team.file.write_bytes(content)
        traced(store, "2")
        assert len(kept_files(team)) == 1
    team.file.write_bytes(b"{")
    assert answers(team.store_of(team.ada).records.others(KEY)) == ["1"]
    # What lies under the name of another trace is no record at all.
    (path,) = kept_files(team)
    team.ada.activate(team.patch)
    path.write_bytes(encode(signed(of_bob, required=True)))
    team.patch.setenv("JUPYTER_PIPELINES_FRONT", str(team.ada.home / "another machine"))
    assert open_store(team.root).records.others(KEY) == []


def test_what_replaces_a_record_in_front_is_newer(team: SharedStoreTeam) -> None:
    """A record that another has replaced is found, and so is that of a user who may only read the shared folder."""
    store = team.store_of(team.ada)
    traced(store, "1", created="2026-01-02T00:00:00.000Z")
    traced(team.store_of(team.bob), "2", created="2026-01-01T00:00:00.000Z")
    store = team.store_of(team.ada)
    assert sorted(answers(store.records.others(KEY))) == ["1", "2"]
    (newest,) = answers([store.records.get(KEY)])
    assert newest == "1"
    team.patch.setattr(SharedFolder, "is_writable", lambda _: False)
    traced(store, "3", created="2026-01-03T00:00:00.000Z")
    assert answers(store.records.others(KEY)) == ["1", "2"]
