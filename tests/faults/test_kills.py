"""SIGKILL at named points of runner, worker, zygote and kernel: no false success, and a plain re-run completes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.journeys.book import Book

pytestmark = pytest.mark.kernel
HERE = Path(__file__).with_name("killing")
CELLS = (
    "%%step a -o x\nx = list(range(1000))",
    "%%step b -i x -o y notes:file\ny = [one * 2 for one in x]\nnotes.write_text(str(y))",
    "%%step c -i y -o z\nz = sum(y)",
)
RUNNER = [
    "storing.records:Records.put:before",
    "storing.records:Records.put:after",
    "storing.runs:Runs.write:before",
    "storing.runs:Runs.write:after",
    "storing.runs:Runs.append:after",
    "storing.store:Store.settle:before",
    "running.publishing:publish:before",
    "running.publishing:publish:after",
]
OTHERS = [
    "storing.blobs:Blobs.put_files:before",
    "storing.blobs:Blobs.put_files:after",
    "running.worker:execute:before",
    "running.worker:execute:after",
    "running.forking.node:_hear:after",
    "running.inside:Inside._load:before",
    "running.inside:Inside._save_one:before",
    "running.inside:Inside._write_manifest:after",
]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The outputs when nothing goes wrong."""
    book = Book(tmp_path_factory.mktemp("clean")).write(*CELLS)
    answer = book.run("--store", "s")
    assert answer.code == 0, answer.err
    return answer.steps("outputs")


@pytest.mark.parametrize("point", [*RUNNER, *OTHERS])
def test_killed_at_a_named_point(point: str, clean: dict, tmp_path: Path) -> None:
    """R02 R30 R31: whoever comes to the point first is killed; what it was doing is done again by the next run."""
    killed = tmp_path / "killed"
    environment = {
        "PYTHONPATH": str(HERE),
        "JP_TEST_KILL_AT": f"jupyter_pipelines.{point}",
        "JP_TEST_KILLED": str(killed),
    }
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").touch()
    book = Book(tmp_path / "project", environment=environment).write(*CELLS)
    before = book.path.read_bytes()
    first = book.run()
    assert killed.exists(), first.err
    if first.code == 0:  # the death was noticed, and the work done by somebody else
        assert first.steps("outputs") == clean
    elif point in RUNNER:
        assert first.code == -9, first.err
    else:
        assert first.code == 1, first.err
        assert "Traceback" not in first.err
        assert {"failed"} & set(first.steps("state").values())
    book.environment.clear()
    again = book.run()
    assert again.code == 0, again.err
    assert again.steps("outputs") == clean
    assert book.path.read_bytes() == before
    states = {run["state"] for run in book.call("runs", "--json").document["runs"]}
    assert "running" not in states
    assert [path for path in (book.folder / ".pipelines" / "tmp").rglob("*") if path.is_file()] == []
    assert book.call("fsck").code == 0
    assert not living(killed)


def living(killed: Path) -> list[int]:
    """Return the processes that were started for the first run and are still there."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"JP_TEST_KILLED={killed}".encode() in environment.split(b"\0") and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found
