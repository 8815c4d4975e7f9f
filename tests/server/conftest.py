from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.book import Book
from tests.server.places import Place, place

CELLS = (
    "import time",
    "%%params\ncount: int = 3",
    "%%step load -p count -o rows\nrows = list(range(count))\nprint('loaded', count)",
    "%%step train -i rows -o model\nmodel = sum(rows)",
    "#md some words",
    "rows[:2]",
)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Book:
    """A notebook that was run once."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "pyproject.toml").write_text("")
    book = Book(folder).write(*CELLS)
    assert book.run().code == 0
    return book


@pytest.fixture(scope="module")
def served(book: Book, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server in the folder of the notebook, and somebody who has logged in."""
    with place(book.folder, tmp_path_factory.mktemp("private")) as one:
        one.log_in()
        yield one


@pytest.fixture(scope="module")
def at(served: Place) -> str:
    """The beginning of the notebook's routes."""
    return served.meet()


@pytest.fixture(scope="module")
def run(served: Place, at: str) -> str:
    """The id of the run."""
    runs = served.ask("GET", f"{at}/runs").document["runs"]
    return str(runs[0]["run"])


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A notebook that is not below the server's root."""
    return Book(tmp_path / "outside").write("%%step secret -o key\nkey = 'outside'").path
