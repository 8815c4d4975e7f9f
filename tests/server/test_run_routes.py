"""Test runs that a server starts, observes, reports and stops, and what remains of them when the server is killed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websocket

from jupyter_pipelines.interfaces.server.run_events import EVENT_SCHEMA
from tests.e2e.notebook_project import NotebookProject
from tests.server.jupyter_server import TOKEN, JupyterServer, running_server
from tests.waiting import PATIENCE

GATE = "import pathlib, time\ndef wait(name):\n    while not pathlib.Path(name).exists():\n        time.sleep(0.02)"


class EventStream:
    """Subscribe to Jupyter's event stream as JupyterLab does, and merge the differences of the events."""

    def __init__(self, served: JupyterServer) -> None:
        address = f"ws://127.0.0.1:{served.port}/api/events/subscribe?token={TOKEN}"
        self._socket = websocket.create_connection(address, timeout=PATIENCE)
        self._statuses: dict[str, dict[str, Any]] = {}

    def next(self) -> dict[str, Any]:
        """Wait for the next event of this package."""
        while True:
            event = json.loads(self._socket.recv())
            if event["schema_id"] == EVENT_SCHEMA:
                self._statuses.setdefault(event["run"], {}).update(event["statuses"])
                return event

    def status_of(self, run: str, step: str) -> dict[str, Any]:
        """Return the merged status of a step; it is empty before the first event."""
        return self._statuses.get(run, {}).get(step, {})

    def until(self, run: str, state: str) -> list[dict[str, Any]]:
        """Wait until an event reports this state of the run; return all events of the run."""
        events = [self.next()]
        while events[-1]["run"] != run or events[-1]["state"] != state:
            events.append(self.next())
        return [event for event in events if event["run"] == run]

    def close(self) -> None:
        self._socket.close()


@contextmanager
def listening(served: JupyterServer) -> Iterator[EventStream]:
    stream = EventStream(served)
    try:
        yield stream
    finally:
        stream.close()


@pytest.fixture
def gated(tmp_path: Path) -> NotebookProject:
    """A notebook whose second step waits for the file ``go``."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    load = "%%step load -o rows\nprint('loading')\nrows = [1, 2]"
    wait = "%%step train -i rows -o model\nprint('waiting now')\nwait('go')\nmodel = sum(rows)"
    return NotebookProject(folder).write(GATE, load, wait)


def test_a_run_is_told_of_while_it_goes_on(gated: NotebookProject, tmp_path: Path) -> None:
    with running_server(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        base = served.register()
        reply = served.ask("POST", f"{base}/runs", {})
        assert reply.status == 202
        run = reply.document["run"]
        while stream.status_of(run, "train").get("text") != "waiting now":
            event = stream.next()
        assert stream.status_of(run, "load")["state"] == "succeeded"
        assert stream.status_of(run, "train")["state"] == "running"
        assert stream.status_of(run, "train")["since"]
        assert (event["path"], event["notebook"]) == ("book.ipynb", base.partition("/")[2])
        assert (event["finished"], event["total"]) == (1, 2)
        assert served.ask("POST", f"{base}/graph", {}).document["active"] == [run]
        log = served.ask("GET", f"{base}/runs/{run}/steps/train/log").document
        assert ("waiting now" in log["text"], log["ended"]) == (True, False)
        (gated.folder / "go").touch()
        last = stream.until(run, "succeeded")[-1]
        assert stream.status_of(run, "train")["state"] == "succeeded"
        assert last["finished"] == 2
        assert served.ask("POST", f"{base}/graph", {}).document["active"] == []


def test_a_run_of_the_shell_is_told_of_too(gated: NotebookProject, tmp_path: Path) -> None:
    (gated.folder / "go").touch()
    with running_server(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        base = served.register()
        assert served.ask("GET", f"{base}/runs").document["runs"] == []
        document = gated.run().document
        events = stream.until(document["run"], "succeeded")
        assert {name for event in events for name in event["statuses"]} == {"load", "train"}


def test_a_run_outlives_its_server_and_the_next_one_shows_it(gated: NotebookProject, tmp_path: Path) -> None:
    with running_server(gated.folder, tmp_path / "first") as served, listening(served) as stream:
        base = served.register()
        run = served.ask("POST", f"{base}/runs", {}).document["run"]
        while not stream.status_of(run, "train"):
            stream.next()
        served.kill()
    with running_server(gated.folder, tmp_path / "second") as served, listening(served) as stream:
        assert served.ask("POST", f"{base}/graph", {}).codes == ["JP801"]
        base = served.register()
        assert served.ask("POST", f"{base}/graph", {}).document["active"] == [run]
        assert set(stream.next()["statuses"]) == {"load", "train"}
        (gated.folder / "go").touch()
        stream.until(run, "succeeded")
        document = served.ask("GET", f"{base}/runs/{run}").document
        assert {step["name"]: (step["state"], step["attempts"]) for step in document["steps"]} == {
            "load": ("succeeded", 1),
            "train": ("succeeded", 1),
        }


def test_a_run_is_stopped_from_the_next_server(gated: NotebookProject, tmp_path: Path) -> None:
    with running_server(gated.folder, tmp_path / "first") as served, listening(served) as stream:
        base = served.register()
        run = served.ask("POST", f"{base}/runs", {}).document["run"]
        while stream.status_of(run, "train").get("state") != "running":
            stream.next()
        served.kill()
    with running_server(gated.folder, tmp_path / "second") as served, listening(served) as stream:
        base = served.register()
        assert served.ask("POST", f"{base}/runs/{run}/cancel", {"now": True}).document == {"state": "cancelling"}
        stream.until(run, "cancelled")
        assert stream.status_of(run, "train")["state"] == "cancelled"
        assert served.ask("POST", f"{base}/runs/{run}/cancel", {}).document == {"state": "cancelled"}


def test_cells_that_are_not_saved_are_run_and_not_written(gated: NotebookProject, tmp_path: Path) -> None:
    before = gated.path.read_bytes()
    cells = [{"id": "n", "type": "code", "source": "%%step only -o x\nx = 7", "tags": []}]
    with running_server(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        base = served.register()
        run = served.ask("POST", f"{base}/runs", {"cells": cells}).document["run"]
        stream.until(run, "succeeded")
        shown = served.ask("GET", f"{base}/runs/{run}").document
        assert [step["name"] for step in shown["steps"]] == ["only"]
    assert gated.path.read_bytes() == before


# The same request, sent twice


def test_the_same_key_gets_the_same_run_also_at_once_and_after_a_restart(
    gated: NotebookProject, tmp_path: Path
) -> None:
    (gated.folder / "go").touch()
    with running_server(gated.folder, tmp_path / "first") as served:
        base = served.register()
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(served.ask, "POST", f"{base}/runs", {}, Idempotency_Key="click-1") for _ in range(4)]
            runs = {submitted.result().document["run"] for submitted in asked}
        assert len(runs) == 1
        other = served.ask("POST", f"{base}/runs", {"force": True}, Idempotency_Key="click-1")
        assert (other.status, other.codes) == (400, ["JP802"])
        served.kill()
    with running_server(gated.folder, tmp_path / "second") as served:
        base = served.register()
        again = served.ask("POST", f"{base}/runs", {}, Idempotency_Key="click-1")
        assert {again.document["run"]} == runs
        assert len(served.ask("GET", f"{base}/runs").document["runs"]) == 1
        assert {served.ask("POST", f"{base}/runs", {}, Idempotency_Key="click-2").document["run"]} != runs


def test_a_key_whose_run_was_refused_can_be_used_again(gated: NotebookProject, tmp_path: Path) -> None:
    wrong = [{"id": "n", "type": "code", "source": "%%step only -i nothing -o x\nx = nothing", "tags": []}]
    with running_server(gated.folder, tmp_path / "private") as served:
        base = served.register()
        for _ in range(2):
            refused = served.ask("POST", f"{base}/runs", {"cells": wrong}, Idempotency_Key="k")
            assert (refused.status, refused.codes) == (422, ["JP202"])
        assert not list(gated.folder.glob(".pipelines/runs/*/run.json"))


def test_events_are_bounded(gated: NotebookProject, tmp_path: Path) -> None:
    """A step that prints without end causes at most ten events a second."""
    noisy = "%%step noisy -o x\nfor n in range(20000):\n    print(n)\nx = 1"
    steps = [f"%%step s{n} -o y{n}\ny{n} = {n}" for n in range(6)]
    gated.write(noisy, *steps)
    with running_server(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        base = served.register()
        run = served.ask("POST", f"{base}/runs", {}).document["run"]
        events = stream.until(run, "succeeded")
        seconds = served.ask("GET", f"{base}/runs/{run}").document["seconds"]
        assert len(events) <= 10 * seconds + 3
        assert max(len(json.dumps(event)) for event in events) < 20_000


def test_no_thread_stays_for_a_run(gated: NotebookProject) -> None:
    from jupyter_pipelines.interfaces.server.notebook_registry import NotebookRegistry
    from jupyter_pipelines.interfaces.server.run_events import RunEventPoller
    from jupyter_pipelines.project import Project

    (gated.folder / "go").touch()
    registry, project = NotebookRegistry(gated.folder), Project()
    poller = RunEventPoller(registry, project)
    registry.meet("book.ipynb")
    assert poller.look() == []
    before = threading.active_count()
    run = gated.run().document["run"]
    events = poller.look()
    assert [(event["run"], event["state"]) for event in events] == [(run, "succeeded")]
    assert threading.active_count() == before
    assert not poller.is_busy
