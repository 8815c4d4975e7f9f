"""Test two users with folders of their own, a bucket and a database: each reuses what the other computes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.storage.postgres_server import PostgresServer, postgres
from tests.storage.s3_server import S3Server, s3
from tests.storage.users import StoreUser, new_user
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3Server]:
    with s3() as server:
        yield server


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with postgres() as server:
        yield server


@pytest.fixture
def team(bucket: S3Server, database: PostgresServer, tmp_path: Path) -> list[NotebookProject]:
    """The same notebook with both of them, and what each has to know."""
    ada, bob = new_user("ada", tmp_path), new_user("bob", tmp_path)
    ada.trusts(bob)
    bob.trusts(ada)
    shared = {
        **bucket.environment,
        "JUPYTER_PIPELINES_STORE": f"{bucket.create_bucket('team-' + tmp_path.name.replace('_', '-')[-30:])}/store",
        "JUPYTER_PIPELINES_INDEX": database.create_database(tmp_path.name),
    }
    return [_project_of(user, shared) for user in (ada, bob)]


def _project_of(user: StoreUser, shared: dict[str, str]) -> NotebookProject:
    folder = user.home / "project"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    return NotebookProject(folder, environment={**shared, **user.environment, "HOME": str(user.home)})


def in_database(url: str, query: str) -> object:
    import psycopg

    with psycopg.connect(url) as connection:
        (row,) = connection.execute(query).fetchall()
    return row[0]


@pytest.mark.parametrize("items", [28, 198])
def test_steps_are_computed_once_each(team: list[NotebookProject], tmp_path: Path, items: int) -> None:
    ran = tmp_path / "ran"
    note = f"open({str(ran)!r}, 'a').write"
    cells = (
        f"%%step load -o X\n{note}('load\\n')\nX = list(range(50))",
        (
            f"%%step fit -i X --foreach n={','.join(map(str, range(items)))} -o model\n"
            f"{note}(f'{{n}}\\n')\nmodel = [n * x for x in X]"
        ),
        f"%%step best -i model -o top\n{note}('best\\n')\ntop = max(map(sum, model))",
    )
    running = [book.write(*cells).start("run", "--json") for book in team]
    ended = [process.communicate(timeout=PATIENCE) for process in running]
    assert [process.returncode for process in running] == [0, 0], [err for _, err in ended]
    assert sorted(ran.read_text().split()) == sorted([*map(str, range(items)), "load", "best"])
    documents = [json.loads(out) for out, _ in ended]
    digests = [{step["name"]: step["outputs"] for step in document["steps"]} for document in documents]
    assert digests[0] == digests[1]
    shares = [
        sum(step["state"] == "succeeded" and step["name"] != "fit" for step in document["steps"])
        for document in documents
    ]
    assert sum(shares) == items + 2
    url = team[0].environment["JUPYTER_PIPELINES_INDEX"]
    # And what names all items.
    assert in_database(url, "SELECT count(*) FROM jupyter_pipelines_claims WHERE until = '-infinity'") == items + 3
    assert in_database(url, "SELECT count(*) FROM jupyter_pipelines_records") == items + 3
    for book in team:
        assert set(book.run().steps("state").values()) == {"reused"}


def test_no_document_and_no_log_has_the_password(team: list[NotebookProject]) -> None:
    book = team[0].write("%%step one -o x\nx = 1")
    answer = book.run()
    assert answer.code == 0, answer.err
    assert "secret-word" not in answer.out + answer.err
    kept = [path for path in book.folder.parent.rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"secret-word" in path.read_bytes()]


def test_a_database_that_is_not_there_is_told_before_anything_runs(team: list[NotebookProject], tmp_path: Path) -> None:
    book = team[0].write(f"%%step one -o x\nopen({str(tmp_path / 'ran')!r}, 'w')\nx = 1")
    book.environment["JUPYTER_PIPELINES_INDEX"] = "postgresql://tests:secret-word@127.0.0.1:1/none"
    answer = book.run()
    assert answer.code == 2
    assert [fault["code"] for fault in answer.document["faults"]] == ["JP415"]
    assert "secret-word" not in answer.out + answer.err
    assert not (tmp_path / "ran").exists()


def test_a_database_that_goes_away_in_the_middle_of_a_run_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    book = NotebookProject(folder)
    hold = (
        f"%%step hold -o x\nimport pathlib, time\npathlib.Path({str(tmp_path)!r}, 'started').touch()\n"
        f"while not pathlib.Path({str(tmp_path)!r}, 'go').exists(): time.sleep(0.01)\nx = 1"
    )
    book.write(hold, "%%step after -i x -o y\ny = x + 1")
    (folder / "pyproject.toml").write_text("")
    with postgres() as server:
        book.environment["JUPYTER_PIPELINES_INDEX"] = server.create_database("team")
        running = book.start("run", "--json")
        end = time.monotonic() + PATIENCE
        while not (tmp_path / "started").exists():
            assert time.monotonic() < end
            time.sleep(0.02)  # another process makes it
        server.stop()
        (tmp_path / "go").touch()
        out, err = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, err
    assert json.loads(out)["state"] == "succeeded"
    assert book.call("run", "--json").document["faults"][0]["code"] == "JP415"
    del book.environment["JUPYTER_PIPELINES_INDEX"]
    assert book.value("after.y") == 2
