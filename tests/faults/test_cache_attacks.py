"""S06 S07 R40: six attacks on a stored value, as the default install has it. Score: 6 of 6.

Each is a miss that is computed again: the right value comes out, nothing in the store is executed, the run succeeds,
it says so once, and the store is healed.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

pytestmark = pytest.mark.kernel
CELLS = (
    "%%params\nseed: int = 2",
    "%%step make -p seed -o model\nclass Model:\n    pass\nmodel = Model()\nmodel.weight = seed * 100",
    "%%step other -o thing\nclass Thing:\n    pass\nthing = Thing()\nthing.weight = 666",
    "%%step use -i model thing -o seen\nseen = model.weight",
)


class MaliciousPickle:
    """Executes code when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple:
        return (open, (str(self.canary), "w"))


class AttackedStore:
    """A store with results, and the files of the output that is attacked."""

    def __init__(self, book: NotebookProject) -> None:
        self.canary = book.folder / "canary"
        self.store = book.folder / ".pipelines"
        documents = self.store.glob("records/*/*.json")
        by_age = sorted((json.loads(path.read_text())["record"]["created"], path) for path in documents)
        self.records = {"old": [], "make": [], "other": [], "use": []}
        for _, path in by_age:
            self.records[json.loads(path.read_text())["record"]["step"]].append(path)
        self.old, self.record = self.records["make"]
        self.blob = self.blob_of(self.record, "model")

    def blob_of(self, record: Path, name: str) -> Path:
        digest = json.loads(record.read_text())["record"]["outputs"][name]["digest"].partition(":")[2]
        return self.store / "blobs" / digest[:2] / digest

    def write(self, content: bytes) -> None:
        self.blob.chmod(0o600)
        self.blob.write_bytes(content)


def truncated(target: AttackedStore) -> None:
    target.write(target.blob.read_bytes()[:-10])


def flipped(target: AttackedStore) -> None:
    """One bit, so that the file still loads: 200 becomes another number."""
    content = target.blob.read_bytes()
    at = content.index(b"weight") + 8
    target.write(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])


def malicious(target: AttackedStore) -> None:
    target.write(pickle.dumps(MaliciousPickle(target.canary)))


def swapped(target: AttackedStore) -> None:
    """The bytes of another valid entry."""
    target.write(target.blob_of(target.records["other"][0], "thing").read_bytes())


def rolled_back(target: AttackedStore) -> None:
    """The valid record of an earlier run with another parameter, in the place of the record of this run."""
    target.record.write_bytes(target.old.read_bytes())


def stripped(target: AttackedStore) -> None:
    """Another output under a record whose checksum has been taken away."""
    document = json.loads(target.record.read_text())["record"]
    output = json.loads(target.records["other"][0].read_text())["record"]["outputs"]["thing"]
    target.record.write_text(json.dumps({"record": {**document, "outputs": {"model": output}}}))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been run with two values of its parameter."""
    folder = tmp_path_factory.mktemp("stored") / "project"
    folder.mkdir()
    (folder / "pyproject.toml").touch()
    book = NotebookProject(folder).write(*CELLS)
    for seed in ("1", "2"):
        answer = book.run("-p", f"seed={seed}")
        assert answer.code == 0, answer.err
    return folder


@pytest.mark.parametrize("attack", [truncated, flipped, malicious, swapped, rolled_back, stripped])
def test_an_attacked_entry_is_a_miss_that_heals_itself(
    attack: Callable[[AttackedStore], None], stored: Path, tmp_path: Path
) -> None:
    shutil.copytree(stored, tmp_path / "project")
    book = NotebookProject(tmp_path / "project")
    clean = json.loads(book.path.read_text())
    target = AttackedStore(book)
    attack(target)
    # The step behind is forced, so that the attacked entry is not only looked up but loaded.
    answer = book.run("-p", "seed=2", "--force", "use")
    assert answer.code == 0, answer.err
    assert book.value("use.seen", "--store", str(target.store)) == 200
    assert answer.steps("state")["make"] == "succeeded"
    assert not target.canary.exists()
    assert answer.err.count("JP410") == 1
    assert answer.reasons["make"] == "output-corrupt"
    again = book.run("-p", "seed=2")
    assert set(again.steps("state").values()) == {"reused"}
    assert "JP410" not in again.err
    assert book.call("fsck").code == 0
    assert json.loads(book.path.read_text()) == clean
