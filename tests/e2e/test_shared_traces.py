"""Test traces in stores that several users write to: each reuses what the other computed from the same files."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jupyter_pipelines.storage.step_record import decode
from tests.e2e.notebook_project import COMMAND, CommandResult, NotebookProject
from tests.storage.s3_server import S3Server, s3
from tests.storage.users import StoreUser, new_user, team_folder

READ = ("%%step load -o total", "total = int(open('atad'[::-1] + '.csv').read())")


class TeamMember:
    """A user with a copy of the project, who shares a store with others."""

    def __init__(self, user: StoreUser, environment: dict[str, str]) -> None:
        self.user = user
        folder = user.home / "project"
        folder.mkdir()
        (folder / "pyproject.toml").touch()
        # The digests of a user's environment are made with a key in the user's cache folder.
        home = {"HOME": str(user.home), "JUPYTER_PIPELINES_CACHE": str(user.home / "cache")}
        self.book = NotebookProject(folder, environment={**environment, **user.environment, **home})

    def write(self, *cells: str) -> None:
        self.book.write("\n".join(cells))

    def put(self, content: str) -> None:
        (self.book.folder / "data.csv").write_text(content)

    def forget(self) -> None:
        """Remove what was copied from the shared store, as on a new machine of this user."""
        shutil.rmtree(self.user.home / "front", ignore_errors=True)

    def plan(self) -> dict[str, Any]:
        answer = self.book.plan()
        assert answer.code == 0, answer.err
        (step,) = answer.document["steps"]
        return step

    def decision(self) -> str:
        return self.plan()["decision"]

    def run(self, *options: str) -> CommandResult:
        answer = self.book.run(*options)
        assert answer.code == 0, answer.err
        return answer


class SharedPlace:
    """A shared store as a file system sees it."""

    def __init__(self, url: str, environment: dict[str, str], files: fsspec.AbstractFileSystem, root: str) -> None:
        self.environment = {**environment, "JUPYTER_PIPELINES_STORE": url}
        self.files = files
        self.root = root

    def records(self) -> list[str]:
        return sorted(self.files.find(f"{self.root}/records"))

    def newest(self) -> str:
        (path,) = (path for path in self.records() if Path(path).stem.count(".") == 0)
        return path


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3() as running_server:
        yield running_server


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> SharedPlace:
    if request.param == "folder":
        root = team_folder(tmp_path / "team")
        return SharedPlace(f"shared://{root}", {}, fsspec.filesystem("file"), str(root))
    server: S3Server = request.getfixturevalue("server")
    bucket = server.create_bucket(f"traces-{tmp_path.name.replace('_', '-')[-30:]}")
    files = fsspec.filesystem(
        "s3",
        endpoint_url=server.address,
        key="tests",
        secret="tests",
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return SharedPlace(f"{bucket}/store", dict(server.environment), files, f"{bucket.removeprefix('s3://')}/store")


@pytest.fixture
def team(place: SharedPlace, tmp_path: Path) -> list[TeamMember]:
    """Ada and Bob, who trust each other, and Eve, whom neither trusts."""
    users = [new_user(name, tmp_path) for name in ("ada", "bob", "eve")]
    users[0].trusts(users[1])
    users[1].trusts(users[0])
    return [TeamMember(user, place.environment) for user in users]


def key_id(member: TeamMember) -> str:
    own = member.user.keyring.own()
    assert own is not None
    return own.public.id


def test_a_key_has_a_trace_for_each_content_that_a_colleague_read(place: SharedPlace, team: list[TeamMember]) -> None:
    ada, bob, eve = team
    outputs = {}
    for member, content in ((ada, "1"), (bob, "2"), (eve, "3")):
        member.write(*READ)
        member.put(content)
        answer = member.run()
        assert answer.steps("state") == {"load": "succeeded"}
        outputs[content] = answer.steps("outputs")["load"]["total"]["digest"]
    assert len(set(outputs.values())) == 3
    assert len(place.records()) == 3
    # Each record has the signature of its user, also where that of another user has taken its place.
    signers = {}
    for path in place.records():
        record = decode(place.files.cat_file(path), Path(path).stem)
        assert record.signature is not None
        signers[record.signature.key] = record
    assert set(signers) == {key_id(member) for member in team}
    assert place.newest().endswith(f"{signers[key_id(eve)].key}.json")

    def all_reuse() -> None:
        for member in (ada, bob):
            member.forget()
            for content in ("1", "2", "1"):
                member.put(content)
                planned = member.plan()
                assert (planned["decision"], planned["outputs"]["total"]["digest"]) == ("reuse", outputs[content])
            member.put("3")
            assert member.decision() == "run"

    # The newest record is untrusted, then damaged, then missing: the others are found behind it.
    all_reuse()
    newest = place.files.cat_file(place.newest())
    place.files.pipe_file(place.newest(), newest[: len(newest) // 2])
    all_reuse()
    # A copy of a record under the name of another trace is not taken for it.
    (of_ada,) = (path for path in place.records() if Path(path).stem == signers[key_id(ada)].key)
    (of_bob,) = (path for path in place.records() if Path(path).stem == signers[key_id(bob)].key)
    place.files.pipe_file(of_ada, place.files.cat_file(of_bob))
    ada.forget()
    ada.put("1")
    assert ada.decision() == "run"
    ada.put("2")
    assert ada.decision() == "reuse"


ASK = ("%%step load -o total", "import os\ntotal = len(os.environ['TOKEN'])")
INCOMPARABLE = "environment variable `TOKEN` cannot be compared on this machine"


def command(member: TeamMember, *arguments: str) -> str:
    answer = subprocess.run(
        [str(COMMAND), *arguments],
        cwd=member.book.folder,
        env={**os.environ, **member.book.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


def test_a_team_shares_a_key_for_what_it_reads_from_the_environment(place: SharedPlace, team: list[TeamMember]) -> None:
    ada, bob, eve = team
    eve.user.trusts(ada.user)
    eve.user.trusts(bob.user)

    advice = dict.fromkeys(("ada", "bob", "eve"), "")

    def decisions(*members: TeamMember) -> list[tuple[str, str]]:
        planned = {member.user.name: member.plan() for member in members or team}
        advice.update({name: " ".join(step["reason"]["details"]) for name, step in planned.items()})
        return [(step["decision"], step["reason"]["text"]) for step in planned.values()]

    same = ("reuse", "nothing it depends on has changed")
    for member in team:
        member.write(*ASK)
        member.book.environment["TOKEN"] = "the secret word"
    # A digest that Ada's own key has made, with a result that comes from a store of her own and with one that does not.
    private = str(ada.user.home / "private")
    assert ada.book.run("--store", private).code == 0
    command(ada, "store", "move", place.environment["JUPYTER_PIPELINES_STORE"], "--store", private)
    assert decisions() == [same, ("run", INCOMPARABLE), ("run", INCOMPARABLE)]
    assert "keys share" in advice["bob"]
    ada.run("--force", "load")
    assert decisions(ada, bob) == [same, ("run", INCOMPARABLE)]
    assert "keys share" in advice["bob"]
    # With a key that both have, Bob uses what Ada computes; Eve trusts her, and cannot compare.
    secret = command(ada, "keys", "share")
    command(bob, "keys", "join", secret)
    ada.run("--force", "load")
    assert decisions() == [same, same, ("run", INCOMPARABLE)]
    assert "keys join" in advice["eve"]
    # Bob's other value has a trace of its own, and both hold where their values are.
    bob.book.environment["TOKEN"] = "another word"
    assert decisions(bob) == [("run", "environment variable `TOKEN` changed")]
    assert bob.run().steps("state") == {"load": "succeeded"}
    assert decisions(ada, bob) == [same, same]
    ada.book.environment["TOKEN"] = "another word"
    assert decisions(ada) == [same]
    del ada.book.environment["TOKEN"]
    assert decisions(ada) == [("run", "environment variable `TOKEN` is not set")]
    # No digest in the store tells the values to readers who do not have the key.
    content = b"".join(place.files.cat_file(path) for path in place.records())
    for value in (b"the secret word", b"another word"):
        assert value not in content
        assert hashlib.sha256(value).hexdigest()[:16].encode() not in content


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_file_outside_the_project_is_looked_for_under_the_same_path(
    place: SharedPlace, team: list[TeamMember], tmp_path: Path
) -> None:
    ada, bob, _ = team
    outside = tmp_path / "outside.csv"
    for member in (ada, bob):
        member.write("%%step load -o total", f"total = int(open({str(outside)[::-1]!r}[::-1]).read())")
    outside.write_text("1")
    ada.run()
    assert bob.decision() == "reuse"
    outside.write_text("2")
    assert bob.plan()["reason"]["text"] == f"file `{outside}`, which it read, changed"
    outside.unlink()
    # For Ada, who has computed it, the file was here.
    reasons = [f"file `{outside}`, which it read, is missing {where}" for where in ("now", "on this machine")]
    assert [member.plan()["reason"]["text"] for member in (ada, bob)] == reasons
