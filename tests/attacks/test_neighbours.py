"""Other users of the machine: they reach no kernel, and find nothing to read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel

TRY = """
import json, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sockets, folder = json.load(sys.stdin)
reached, read = [], []
for path in sockets:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(path.replace("@", "\\0", 1) if path.startswith("@") else path)
        reached.append(path)
    except OSError:
        pass
for root, folders, files in os.walk(folder):
    for name in files:
        try:
            open(os.path.join(root, name), "rb").close()
            read.append(os.path.join(root, name))
        except OSError:
            pass
print(json.dumps([reached, read]))
"""


@pytest.fixture
def book() -> Iterator[NotebookProject]:
    """A notebook in a folder that all users can read."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="open-to-all-"))
    folder.chmod(0o755)
    (folder / "pyproject.toml").write_text("")
    yield NotebookProject(folder)
    shutil.rmtree(folder, ignore_errors=True)


def sockets(run: psutil.Process) -> set[str]:
    """Paths and abstract names of all sockets of a run."""
    processes = [run, *run.children(recursive=True)]
    return {socket.laddr for process in processes for socket in process.net_connections("unix") if socket.laddr}


def try_as_nobody(sockets_of_run: set[str], folder: Path) -> tuple[list[str], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", TRY], input=json.dumps([sorted(sockets_of_run), str(folder)]), capture_output=True,
        text=True, check=True, cwd="/",
    )  # fmt: skip
    reached, read = json.loads(done.stdout)
    return reached, read


@pytest.mark.parametrize("warm", ["fork", "0"])
def test_s21_s22_nobody_reaches_kernels_or_reads_results(book: NotebookProject, warm: str) -> None:
    os.umask(0o022)
    if warm == "0":
        book.environment["JUPYTER_PIPELINES_WARM"] = "0"
    wait = "while not Path('go').exists():\n    time.sleep(0.05)"
    body = f"from pathlib import Path\nPath('there').touch()\n{wait}\nrows = [1]"
    book.write("import time", f"%%step load -o rows\n{body}")
    process = book.start("run")
    try:
        while not (book.folder / "there").exists():
            assert process.poll() is None
        mine = sockets(psutil.Process(process.pid))
        assert mine
        reached, read = try_as_nobody(mine, book.folder / ".pipelines")
        assert (reached, read) == ([], [])
        (book.folder / "go").touch()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.communicate()
    assert try_as_nobody(set(), book.folder / ".pipelines")[1] == []


def test_s22_a_run_that_is_killed_leaves_nothing_that_others_can_read(book: NotebookProject) -> None:
    private = book.folder / "tmp"
    private.mkdir(mode=0o755)
    book.environment["TMPDIR"] = str(private)
    wait = "from pathlib import Path\nPath('there').touch()\ntime.sleep(600)\nrows = [1]"
    process = book.write("import time", f"%%step load -o rows\n{wait}").start("run")
    while not (book.folder / "there").exists():
        assert process.poll() is None
    others = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert try_as_nobody(set(), private)[1] == []
    psutil.wait_procs(others, timeout=PATIENCE)  # they notice that their runner is gone, and clear up
    assert list(private.iterdir()) == []
