"""Test what becomes of a user's results when a store is upgraded, copied or moved."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.storage.opening import open_store
from tests.e2e.notebook_project import COMMAND, CommandResult, NotebookProject
from tests.storage.s3_server import S3Server, s3
from tests.storage.users import new_user, team_folder
from tests.waiting import PATIENCE

CELLS = (
    "%%step load -i raw=data.csv -o rows\nrows = [int(line) for line in raw.read_text().split()]",
    "%%step draw -i rows -o plots:folder\nplots.mkdir(exist_ok=True)\n(plots / 'a.txt').write_text(str(rows))",
    "%%step fit --foreach depth=1,2 -i rows -o score\nscore = sum(rows) * depth",
    "%%step best -i score -o top\ntop = max(score)",
)


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3() as running_server:
        yield running_server


@pytest.fixture
def pipeline(book: NotebookProject) -> NotebookProject:
    """A notebook that has run once."""
    (book.folder / "data.csv").write_text("1\n2\n")
    book.write(*CELLS)
    answer = book.run()
    assert answer.code == 0, answer.err
    return book


def store_command(book: NotebookProject, *arguments: str) -> CommandResult:
    done = subprocess.run(
        [COMMAND, "store", *arguments, "--json"],
        cwd=book.folder,
        env={**os.environ, **book.environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


def states(answer: CommandResult) -> set[str]:
    assert answer.code == 0, answer.err
    return set(answer.steps("state").values())


def make_older(root: Path) -> None:
    """Make a store what a version before traces left."""
    store = open_store(root)
    for key in store.records.all_keys():
        stored = store.records.get(key)
        assert stored is not None
        store.records.put(replace(stored, trace=None))
    store.close()
    (root / "format.json").write_text('{"schema": "jupyter-pipelines/store/2", "writer": "0.1.0"}')


@pytest.mark.parametrize("upgraded", [True, False])
def test_each_step_of_an_older_store_runs_once_more(pipeline: NotebookProject, upgraded: bool) -> None:
    store = pipeline.folder / ".pipelines"
    make_older(store)
    assert pipeline.plan().reasons["load"] == "untraced"
    assert b"store/2" in (store / "format.json").read_bytes()
    if upgraded:
        assert store_command(pipeline, "upgrade").document["changed"] is True
        assert pipeline.plan().reasons["load"] == "untraced"
    answer = pipeline.run()
    assert states(answer) == {"succeeded"}
    assert set(answer.reasons.values()) == {"untraced"}
    assert b"store/3" in (store / "format.json").read_bytes()
    assert states(pipeline.run()) == {"reused"}
    assert store_command(pipeline, "info").document["records"]["untraced"] == 0


@pytest.mark.parametrize("kind", ["own folder", "shared folder", "bucket"])
def test_all_is_reused_at_the_destination(
    pipeline: NotebookProject, kind: str, tmp_path: Path, server: S3Server
) -> None:
    ada, bob = new_user("ada", tmp_path), new_user("bob", tmp_path)
    bob.trusts(ada)
    pipeline.environment |= {**ada.environment, **server.environment}
    if kind == "own folder":
        where = str(tmp_path / "elsewhere")
    elif kind == "shared folder":
        where = str(team_folder(tmp_path / "team"))
    else:
        where = f"{server.create_bucket(f'b{abs(hash(str(tmp_path)))}')}/results"
    answer = store_command(pipeline, "move", where, "--remove")
    assert answer.code == 0, answer.err
    assert answer.document["removed"] is True
    assert not (pipeline.folder / ".pipelines").exists()
    assert states(pipeline.run("--store", where)) == {"reused"}
    assert pipeline.value("best.top", "--store", where) == 6
    assert not (pipeline.folder / ".pipelines").exists()
    if kind != "own folder":
        pipeline.environment |= bob.environment
        assert states(pipeline.run("--store", where)) == {"reused"}
