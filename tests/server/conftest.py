from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.server.jupyter_server import JupyterServer, running_server

CELLS = (
    "import time",
    "%%params\ncount: int = 3",
    "%%step load -p count -o rows\nrows = list(range(count))\nprint('loaded', count)",
    "%%step train -i rows -o model\nmodel = sum(rows)",
    "#md some words",
    "rows[:2]",
)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> NotebookProject:
    """A notebook that was run once."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "pyproject.toml").write_text("")
    book = NotebookProject(folder).write(*CELLS)
    assert book.run().code == 0
    return book


@pytest.fixture(scope="module")
def served(book: NotebookProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A server in the folder of the notebook, with a logged-in user."""
    with running_server(book.folder, tmp_path_factory.mktemp("private")) as server:
        server.log_in()
        yield server


@pytest.fixture(scope="module")
def base(served: JupyterServer) -> str:
    """The beginning of the notebook's routes."""
    return served.register()


@pytest.fixture(scope="module")
def run(served: JupyterServer, base: str) -> str:
    """The id of the run."""
    runs = served.ask("GET", f"{base}/runs").document["runs"]
    return str(runs[0]["run"])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A notebook that is not below the server's root."""
    return NotebookProject(tmp_path / "outside").write("%%step secret -o key\nkey = 'outside'").path
