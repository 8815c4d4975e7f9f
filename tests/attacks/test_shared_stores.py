"""S06 S07 S08: other users of a shared store, as uid nobody: what they write is never loaded, mapped or executed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from jupyter_pipelines.storage.step_record import path_of
from tests.e2e.notebook_project import COMMAND, CommandResult, NotebookProject
from tests.storage.users import OTHER_KEY

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
CELLS = (
    "%%step make -o model\nclass Model:\n    pass\nmodel = Model()\nmodel.weight = 200",
    "%%step use -i model -o seen\nseen = model.weight",
)
AS_NOBODY = """
import hashlib, json, os, pickle, sys
from pathlib import Path
os.setgroups([]); os.setgid(65534); os.setuid(65534)
attack, root, canary = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

class Malicious:
    def __reduce__(self):
        return (open, (canary, "w"))

def replaced(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content)

def written(path, whole):
    text = json.dumps(whole["record"], sort_keys=True, separators=(",", ":"))
    replaced(path, json.dumps(whole | {"sha256": hashlib.sha256(text.encode()).hexdigest()}).encode())

def blob(digest):
    name = digest.partition(":")[2]
    return root / "blobs" / name[:2] / name

content = pickle.dumps(Malicious())
digest = "sha256:" + hashlib.sha256(content).hexdigest()
records = {path: json.loads(path.read_bytes()) for path in root.glob("records/*/*.json")}
path, make = next((path, whole) for path, whole in records.items() if whole["record"]["step"] == "make")
use = next(whole for whole in records.values() if whole["record"]["step"] == "use")
output = make["record"]["outputs"]["model"]
if attack == "planted pickle":
    replaced(blob(output["digest"]), content)
if attack in ("swapped digest", "stripped signature", "borrowed signature"):
    blob(digest).parent.mkdir(exist_ok=True)
    blob(digest).write_bytes(content)
    output |= {"digest": digest, "bytes": len(content)}
if attack == "stripped signature":
    del make["signature"]
if attack == "borrowed signature":
    make["signature"] = use["signature"]
if attack == "bytes as a pickle":
    output["format"] = "joblib"
if attack == "record of another step":
    make = {**use, "record": {**use["record"], "key": make["record"]["key"]}}
if attack == "room for runs":
    (root / "runs").mkdir()
    (root / "index.sqlite").write_bytes(b"planted")
    os.rename(root / "tmp", root / "old"); (root / "tmp").symlink_to("/")
written(path, make)
print(oct(path.stat().st_mode), path.stat().st_uid)
"""
ATTACKS = {
    "planted pickle": "output-missing",
    "swapped digest": "untrusted",
    "stripped signature": "untrusted",
    "borrowed signature": "untrusted",
    "bytes as a pickle": "untrusted",
    "record of another step": "untrusted",
    "room for runs": "unchanged",
}


class SharedStoreScenario:
    """Notebook of root, and a shared store that all users may write to."""

    def __init__(self, folder: Path) -> None:
        self.book = NotebookProject(folder / "work").write(*CELLS)
        (self.book.folder / "pyproject.toml").write_text("")
        self.team = folder / "team"
        self.team.mkdir()
        self.team.chmod(0o2777)
        self.canary = folder / "canary"
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        self.book.environment |= {"JUPYTER_PIPELINES_KEYS": str(self.home / "keys")}
        self.use_machine("one")

    def use_machine(self, machine: str) -> None:
        """Switch to another machine of the same user, whose local front of the store is empty."""
        self.book.environment |= {"JUPYTER_PIPELINES_FRONT": str(self.home / machine)}

    def keys(self, *arguments: str) -> CommandResult:
        environment = {**os.environ, **self.book.environment}
        run = [str(COMMAND), "keys", *arguments]
        done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def call(self, command: str, *options: str) -> CommandResult:
        return self.book.call(command, *options, "--store", str(self.team))

    def attack_as_nobody(self, attack: str) -> None:
        run = [sys.executable, "-c", AS_NOBODY, attack, str(self.team), str(self.canary)]
        subprocess.run(run, check=True, capture_output=True, cwd="/")


@pytest.fixture
def scenario() -> Iterator[SharedStoreScenario]:
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o777)  # so that a canary could be made
    made = SharedStoreScenario(folder)
    assert made.keys("new").code == 0
    yield made
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("attack", ATTACKS)
def test_s06_s07_what_nobody_planted_is_computed_again_and_never_executed(
    scenario: SharedStoreScenario, attack: str
) -> None:
    first = scenario.call("run", "--json")
    assert first.code == 0, first.err
    scenario.attack_as_nobody(attack)
    scenario.use_machine("two")
    planned = scenario.call("plan", "--json")
    assert planned.reasons["make"] == ATTACKS[attack]
    again = scenario.call("run", "--json")
    assert again.code == 0, again.err
    assert {name: outputs["seen"]["digest"] for name, outputs in again.steps("outputs").items() if name == "use"} == {
        "use": first.steps("outputs")["use"]["seen"]["digest"]
    }
    assert not scenario.canary.exists()
    scenario.use_machine("three")
    healed = scenario.call("run", "--json")
    assert set(healed.steps("state").values()) == {"reused"}
    assert scenario.call("output", "use.seen").out.strip().endswith("200")
    assert not scenario.canary.exists()


def test_s06_s22_nothing_that_a_run_executes_or_believes_is_in_the_shared_folder(scenario: SharedStoreScenario) -> None:
    """Notebooks, tickets, logs, sockets and runs; and a kernel is told of the store in front only."""
    assert scenario.call("run").code == 0
    assert sorted(path.name for path in scenario.team.iterdir()) == [
        ".gitignore",
        "blobs",
        "format.json",
        "records",
        "tmp",
    ]
    assert list((scenario.team / "tmp").iterdir()) == []
    runs = [path for path in (scenario.home / "one").rglob("*") if path.parent.parent.name == "runs"]
    assert {path.name for path in runs} >= {"run.json", "events.jsonl", "make.ipynb"}
    tickets = [path for path in runs if path.suffix == ".json" and "store" in json.loads(path.read_text())]
    assert len(tickets) == 2
    for path in tickets:
        assert Path(json.loads(path.read_text())["store"]).is_relative_to(scenario.home)


def test_s07_why_and_fsck_say_that_it_is_not_signed(scenario: SharedStoreScenario) -> None:
    scenario.call("run")
    scenario.attack_as_nobody("stripped signature")
    scenario.use_machine("two")
    explanation = scenario.book.call("why", "make", "--store", str(scenario.team)).out
    assert "not signed by a key you trust" in explanation
    assert "it is not signed" in explanation
    report = scenario.call("fsck", "--json")
    assert report.code == 2
    assert report.document["counts"]["untrusted"] == 1
    assert scenario.call("fsck", "--repair").code == 0
    assert scenario.call("fsck").code == 0
    assert not scenario.canary.exists()


def test_s06_without_a_key_the_store_is_refused(scenario: SharedStoreScenario) -> None:
    scenario.call("run")
    shutil.rmtree(scenario.home / "keys")
    refused = scenario.call("run")
    assert refused.code == 2
    assert "JP401" in refused.err
    assert "keys new" in refused.err


def test_s07_without_the_package_the_store_is_refused_before_anything_runs(scenario: SharedStoreScenario) -> None:
    """No silent downgrade: the import is blocked, as if the package was not there."""
    scenario.call("run")
    scenario.attack_as_nobody("stripped signature")
    (scenario.home / "patch").mkdir()
    (scenario.home / "patch" / "sitecustomize.py").write_text("import sys\nsys.modules['cryptography'] = None\n")
    scenario.book.environment["PYTHONPATH"] = str(scenario.home / "patch")
    for command in ("run", "plan", "fsck"):
        refused = scenario.call(command)
        assert refused.code == 2
        assert "JP411" in refused.err
        assert "jupyter-pipelines[signing]" in refused.err
    assert not scenario.canary.exists()


def test_s08_a_key_that_others_can_read_or_that_lies_in_the_project_is_refused(scenario: SharedStoreScenario) -> None:
    scenario.call("run")
    (scenario.home / "keys" / "own.key").chmod(0o644)
    refused = scenario.call("run")
    assert (refused.code, "JP412" in refused.err) == (2, True)
    scenario.book.environment["JUPYTER_PIPELINES_KEYS"] = str(scenario.book.folder / "keys")
    inside = scenario.keys("new")
    assert (inside.code, "JP412" in inside.err) == (2, True)
    assert not (scenario.book.folder / "keys").exists()


AS_OTHER_USER = """
import os, sys
from pathlib import Path
from tests.storage.users import OTHER_KEY, new_user, record
from jupyter_pipelines.storage.opening import open_store
home, root = Path(sys.argv[1]), sys.argv[2]
def work(root):
    store = open_store(root)
    store.records.put(record(store, b"theirs", key=OTHER_KEY))
    return store
os.environ |= {"JUPYTER_PIPELINES_KEYS": str(home / "x" / "keys"), "JUPYTER_PIPELINES_FRONT": str(home / "x" / "front")}
new_user("x", home)
work(str(home / "x" / "team"))  # everything that will be needed is imported while it can be
work(f"shared://{home}/x/shared")
os.setgroups([]); os.setgid(65534); os.setuid(65534); os.umask(0o077)
other = new_user("other", home / "of-nobody")
os.environ |= other.environment
store = work(root)
print(store.own, other.keyring.own().public)
"""


def test_s06_what_another_user_has_signed_is_used_once_they_are_trusted(scenario: SharedStoreScenario) -> None:
    """Two users of the machine: root, and nobody, who has a key of their own and another umask."""
    assert scenario.call("run").code == 0
    (scenario.home.parent / "of-nobody").mkdir()
    os.chown(scenario.home.parent / "of-nobody", 65534, 65534)
    scenario.home.chmod(0o711)
    run = [sys.executable, "-c", AS_OTHER_USER, str(scenario.home.parent), str(scenario.team)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    own, public = done.stdout.split()
    assert own == "False"
    path = scenario.team / path_of(OTHER_KEY)
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (65534, 0o644)
    assert scenario.call("fsck").code == 2
    assert scenario.keys("trust", "other", public).code == 0
    assert scenario.call("fsck").code == 0
    assert set(scenario.call("run", "--json").steps("state").values()) == {"reused"}
