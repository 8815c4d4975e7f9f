"""Test traces in stores that several users write to: each reuses what the other computed from the same files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from jupyter_pipelines.storage.step_record import decode
from tests.e2e.notebook_project import CommandResult, NotebookProject
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
        home = {"HOME": str(user.home), "XDG_CACHE_HOME": str(user.home / "cache")}
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

    def run(self) -> CommandResult:
        answer = self.book.run()
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
