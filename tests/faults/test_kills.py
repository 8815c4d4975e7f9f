"""SIGKILL at named points of runner, worker, zygote and kernel: no false success, and a plain re-run completes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

pytestmark = pytest.mark.kernel
HERE = Path(__file__).with_name("killing")
CELLS = (
    "%%step a -o x\nx = list(range(1000))",
    "%%step b -i x -o y notes:file\ny = [one * 2 for one in x]\nnotes.write_text(str(y))",
    "%%step c -i y -o z\nz = sum(y)",
)
RUNNER = [
    "storage.records.record_store:RecordStore.put:before",
    "storage.records.record_store:RecordStore.put:after",
    "storage.records.run_store:RunStore.write:before",
    "storage.records.run_store:RunStore.write:after",
    "storage.records.run_store:RunStore.append:after",
    "storage.store:Store.flush:before",
    "execution.scheduler.publish:publish:before",
    "execution.scheduler.publish:publish:after",
]
OTHERS = [
    "storage.blobs.blobs:BlobStore.put_files:before",
    "storage.blobs.blobs:BlobStore.put_files:after",
    "execution.worker.worker:execute:before",
    "execution.worker.worker:execute:after",
    "execution.prefork.fork_server:_receive:after",
    "execution.kernel_side.step_io:StepIO._load:before",
    "execution.kernel_side.step_io:StepIO._save_one:before",
    "execution.kernel_side.step_io:StepIO._write_manifest:after",
]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The outputs when nothing goes wrong."""
    book = NotebookProject(tmp_path_factory.mktemp("clean")).write(*CELLS)
    answer = book.run("--store", "s")
    assert answer.code == 0, answer.err
    return answer.steps("outputs")


@pytest.mark.parametrize("point", [*RUNNER, *OTHERS])
def test_killed_at_a_named_point(point: str, clean: dict, tmp_path: Path) -> None:
    """R02 R30 R31: the first process at the point is killed; what it was doing is done again by the next run."""
    killed = tmp_path / "killed"
    environment = {
        "PYTHONPATH": str(HERE),
        "JP_TEST_KILL_AT": f"jupyter_pipelines.{point}",
        "JP_TEST_KILLED": str(killed),
    }
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").touch()
    book = NotebookProject(tmp_path / "project", environment=environment).write(*CELLS)
    before = book.path.read_bytes()
    first = book.run()
    assert killed.exists(), first.err
    if first.code == 0:  # the death was noticed, and the work done by another process
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
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
        except OSError:
            continue
        if f"JP_TEST_KILLED={killed}".encode() in environment.split(b"\0") and int(folder.name) != os.getpid():
            pids.append(int(folder.name))
    return pids
