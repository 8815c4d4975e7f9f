"""Test conversions that a server starts: they continue without it, and their results are kept."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from jupyter_pipelines.interfaces import convert_process
from tests.e2e.notebook_project import NotebookProject
from tests.server.jupyter_server import JupyterServer, running_server
from tests.waiting import PATIENCE

CELLS = ("rows = [1, 2, 3]", "total = sum(rows)", "print(total)")


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    return NotebookProject(folder).write(*CELLS)


def finished(served: JupyterServer, base: str, conversion: str) -> dict[str, Any]:
    """Wait until the process of a conversion has ended, and return the document of its result."""
    (owner,) = served.folder.glob(f".pipelines/served/conversions/{conversion}/{convert_process.OWNER}")
    with suppress(psutil.NoSuchProcess):
        psutil.Process(json.loads(owner.read_text())["pid"]).wait(PATIENCE)
    return served.ask("GET", f"{base}/conversions/{conversion}").document


def test_a_conversion_outlives_its_server_and_is_told_by_the_next(book: NotebookProject, tmp_path: Path) -> None:
    before = book.path.read_bytes()
    with running_server(book.folder, tmp_path / "first") as served:
        base = served.register()
        reply = served.ask("POST", f"{base}/conversions", {"target": "made.ipynb"})
        assert reply.status == 202
        conversion = reply.document["conversion"]
        served.kill()
    with running_server(book.folder, tmp_path / "second") as served:
        document = finished(served, served.register(), conversion)
    assert (document["state"], document["result"]["state"], document["path"]) == ("done", "identical", "made.ipynb")
    assert document["page"].startswith("<!doctype html>")
    assert document["said"]
    assert "%%step" in (book.folder / "made.ipynb").read_text()
    assert book.path.read_bytes() == before


def test_what_cannot_be_converted_is_told(book: NotebookProject, tmp_path: Path) -> None:
    with running_server(book.folder, tmp_path / "private") as served:
        base = served.register()
        (book.folder / "taken.ipynb").write_text("somebody else's")
        started = served.ask("POST", f"{base}/conversions", {"target": "taken.ipynb", "static": True}).document
        document = finished(served, base, started["conversion"])
        assert document["state"] == "failed"
        assert [fault["code"] for fault in document["faults"]] == ["JP702"]
        assert (book.folder / "taken.ipynb").read_text() == "somebody else's"
        dry = served.ask("POST", f"{base}/conversions", {"static": True, "dry_run": True}).document
        assert finished(served, base, dry["conversion"])["path"] is None
        other = NotebookProject(book.folder, "other.ipynb").write(*CELLS)
        reply = served.ask("GET", f"{served.register(other.name)}/conversions/{dry['conversion']}")
        assert (reply.status, reply.codes) == (404, ["JP405"])


@pytest.mark.parametrize(
    "target",
    ["../up.ipynb", "a/b.ipynb", "/abs.ipynb", ".hidden.ipynb", "x.txt", "a\\b.ipynb", "a\0.ipynb", "..ipynb", ""],
)
def test_a_target_is_a_name_and_no_path(target: str) -> None:
    from jupyter_pipelines.interfaces.server.conversions import ROUTES
    from jupyter_pipelines.interfaces.server.json_handler import HttpRefusal, check

    assert ROUTES[0].body is not None
    with pytest.raises(HttpRefusal):
        check(ROUTES[0].body, {"target": target})


def test_a_conversion_whose_process_died_has_failed(book: NotebookProject) -> None:
    from jupyter_pipelines.interfaces.server.conversions import FOLDER, conversion_status
    from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry
    from jupyter_pipelines.interfaces.server.routing import ApiRequest
    from jupyter_pipelines.project import Project

    project, registry, name = Project(), NotebookRegistry(book.folder), "0" * 32
    notebook = registry.meet("book.ipynb")
    store = project.store_for(project.home(book.path))
    store.folder.write(f"{FOLDER}/{name}/order.json", f'{{"source": "{notebook.path}"}}'.encode())
    document = conversion_status(project, ApiRequest(known=registry, about=notebook, names={"conversion": name}))
    assert (document["state"], document["faults"][0]["code"]) == ("failed", "JP308")
