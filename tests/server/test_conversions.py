"""Conversions that a server starts: they go on without it, and their results are kept."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_pipelines.interfaces import converter
from tests.journeys.book import Book
from tests.server.places import Place, place

pytestmark = pytest.mark.kernel
CELLS = ("rows = [1, 2, 3]", "total = sum(rows)", "print(total)")


@pytest.fixture
def book(tmp_path: Path) -> Book:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    return Book(folder).write(*CELLS)


def finished(served: Place, at: str, conversion: str) -> dict[str, Any]:
    """Wait until the process of a conversion has ended, and ask what has come of it."""
    (owner,) = served.folder.glob(f".pipelines/served/conversions/{conversion}/{converter.OWNER}")
    with suppress(psutil.NoSuchProcess):
        psutil.Process(json.loads(owner.read_text())["pid"]).wait(120)
    return served.ask("GET", f"{at}/conversions/{conversion}").document


def test_a_conversion_outlives_its_server_and_is_told_by_the_next(book: Book, tmp_path: Path) -> None:
    before = book.path.read_bytes()
    with place(book.folder, tmp_path / "first") as served:
        at = served.meet()
        reply = served.ask("POST", f"{at}/conversions", {"target": "made.ipynb"})
        assert reply.status == 202
        conversion = reply.document["conversion"]
        served.kill()
    with place(book.folder, tmp_path / "second") as served:
        found = finished(served, served.meet(), conversion)
    assert (found["state"], found["result"]["state"], found["path"]) == ("done", "identical", "made.ipynb")
    assert found["page"].startswith("<!doctype html>")
    assert found["said"]
    assert "%%step" in (book.folder / "made.ipynb").read_text()
    assert book.path.read_bytes() == before


def test_what_cannot_be_converted_is_told(book: Book, tmp_path: Path) -> None:
    with place(book.folder, tmp_path / "private") as served:
        at = served.meet()
        (book.folder / "taken.ipynb").write_text("somebody else's")
        started = served.ask("POST", f"{at}/conversions", {"target": "taken.ipynb", "static": True}).document
        found = finished(served, at, started["conversion"])
        assert found["state"] == "failed"
        assert [fault["code"] for fault in found["faults"]] == ["JP702"]
        assert (book.folder / "taken.ipynb").read_text() == "somebody else's"
        dry = served.ask("POST", f"{at}/conversions", {"static": True, "dry_run": True}).document
        assert finished(served, at, dry["conversion"])["path"] is None
        other = Book(book.folder, "other.ipynb").write(*CELLS)
        reply = served.ask("GET", f"{served.meet(other.name)}/conversions/{dry['conversion']}")
        assert (reply.status, reply.codes) == (404, ["JP405"])


@pytest.mark.parametrize(
    "target",
    ["../up.ipynb", "a/b.ipynb", "/abs.ipynb", ".hidden.ipynb", "x.txt", "a\\b.ipynb", "a\0.ipynb", "..ipynb", ""],
)
def test_a_target_is_a_name_and_no_path(target: str) -> None:
    from jupyter_pipelines.interfaces.server.conversions import ROUTES
    from jupyter_pipelines.interfaces.server.handling import Refused, check

    assert ROUTES[0].body is not None
    with pytest.raises(Refused):
        check(ROUTES[0].body, {"target": target})


def test_a_conversion_whose_process_died_has_failed(book: Book) -> None:
    from jupyter_pipelines.interfaces.server.asking import Request
    from jupyter_pipelines.interfaces.server.conversions import FOLDER, told
    from jupyter_pipelines.interfaces.server.known import Known
    from jupyter_pipelines.project import Project

    project, known, name = Project(), Known(book.folder), "0" * 32
    about = known.meet("book.ipynb")
    store = project.store_for(project.home(book.path))
    store.door.write(f"{FOLDER}/{name}/order.json", f'{{"source": "{about.path}"}}'.encode())
    found = told(project, Request(known=known, about=about, names={"conversion": name}))
    assert (found["state"], found["faults"][0]["code"]) == ("failed", "JP308")
