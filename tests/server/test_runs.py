"""Runs that a server starts, sees, tells of and stops; and what is left of them when it is killed."""

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

from jupyter_pipelines.interfaces.server.telling import EVENT_SCHEMA
from tests.journeys.book import Book
from tests.server.places import TOKEN, Place, place

pytestmark = pytest.mark.kernel
GATE = "import pathlib, time\ndef wait(name):\n    while not pathlib.Path(name).exists():\n        time.sleep(0.02)"


class Stream:
    """Jupyter's own stream of events, as JupyterLab listens to it; it puts together what each tells as a difference."""

    def __init__(self, served: Place) -> None:
        address = f"ws://127.0.0.1:{served.port}/api/events/subscribe?token={TOKEN}"
        self._socket = websocket.create_connection(address, timeout=60)
        self._told: dict[str, dict[str, Any]] = {}

    def next(self) -> dict[str, Any]:
        """Wait for the next event of ours."""
        while True:
            event = json.loads(self._socket.recv())
            if event["schema_id"] == EVENT_SCHEMA:
                self._told.setdefault(event["run"], {}).update(event["statuses"])
                return event

    def told(self, run: str, step: str) -> dict[str, Any]:
        """Return what was told of a step last, by whichever event; nothing is empty."""
        return self._told.get(run, {}).get(step, {})

    def until(self, run: str, state: str) -> list[dict[str, Any]]:
        """Wait until a run is told to have a state; return all that was told of it."""
        events = [self.next()]
        while events[-1]["run"] != run or events[-1]["state"] != state:
            events.append(self.next())
        return [event for event in events if event["run"] == run]

    def close(self) -> None:
        self._socket.close()


@contextmanager
def listening(served: Place) -> Iterator[Stream]:
    stream = Stream(served)
    try:
        yield stream
    finally:
        stream.close()


@pytest.fixture
def gated(tmp_path: Path) -> Book:
    """A notebook whose second step waits for the file ``go``."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "pyproject.toml").write_text("")
    load = "%%step load -o rows\nprint('loading')\nrows = [1, 2]"
    wait = "%%step train -i rows -o model\nprint('waiting now')\nwait('go')\nmodel = sum(rows)"
    return Book(folder).write(GATE, load, wait)


def test_a_run_is_told_of_while_it_goes_on(gated: Book, tmp_path: Path) -> None:
    with place(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        at = served.meet()
        reply = served.ask("POST", f"{at}/runs", {})
        assert reply.status == 202
        run = reply.document["run"]
        while stream.told(run, "train").get("text") != "waiting now":
            event = stream.next()
        assert stream.told(run, "load")["state"] == "succeeded"
        assert stream.told(run, "train")["state"] == "running"
        assert stream.told(run, "train")["since"]
        assert (event["path"], event["notebook"]) == ("book.ipynb", at.partition("/")[2])
        assert (event["finished"], event["total"]) == (1, 2)
        assert served.ask("POST", f"{at}/graph", {}).document["active"] == [run]
        log = served.ask("GET", f"{at}/runs/{run}/steps/train/log").document
        assert ("waiting now" in log["text"], log["ended"]) == (True, False)
        (gated.folder / "go").touch()
        last = stream.until(run, "succeeded")[-1]
        assert stream.told(run, "train")["state"] == "succeeded"
        assert last["finished"] == 2
        assert served.ask("POST", f"{at}/graph", {}).document["active"] == []


def test_a_run_of_the_shell_is_told_of_too(gated: Book, tmp_path: Path) -> None:
    (gated.folder / "go").touch()
    with place(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        at = served.meet()
        assert served.ask("GET", f"{at}/runs").document["runs"] == []
        document = gated.run().document
        events = stream.until(document["run"], "succeeded")
        assert {name for event in events for name in event["statuses"]} == {"load", "train"}


def test_a_run_outlives_its_server_and_the_next_one_shows_it(gated: Book, tmp_path: Path) -> None:
    with place(gated.folder, tmp_path / "first") as served, listening(served) as stream:
        at = served.meet()
        run = served.ask("POST", f"{at}/runs", {}).document["run"]
        while not stream.told(run, "train"):
            stream.next()
        served.kill()
    with place(gated.folder, tmp_path / "second") as served, listening(served) as stream:
        assert served.ask("POST", f"{at}/graph", {}).codes == ["JP801"]
        at = served.meet()
        assert served.ask("POST", f"{at}/graph", {}).document["active"] == [run]
        assert set(stream.next()["statuses"]) == {"load", "train"}
        (gated.folder / "go").touch()
        stream.until(run, "succeeded")
        found = served.ask("GET", f"{at}/runs/{run}").document
        assert {one["name"]: (one["state"], one["attempts"]) for one in found["steps"]} == {
            "load": ("succeeded", 1),
            "train": ("succeeded", 1),
        }


def test_a_run_is_stopped_from_the_next_server(gated: Book, tmp_path: Path) -> None:
    with place(gated.folder, tmp_path / "first") as served, listening(served) as stream:
        at = served.meet()
        run = served.ask("POST", f"{at}/runs", {}).document["run"]
        while stream.told(run, "train").get("state") != "running":
            stream.next()
        served.kill()
    with place(gated.folder, tmp_path / "second") as served, listening(served) as stream:
        at = served.meet()
        assert served.ask("POST", f"{at}/runs/{run}/cancel", {"now": True}).document == {"state": "cancelling"}
        stream.until(run, "cancelled")
        assert stream.told(run, "train")["state"] == "cancelled"
        assert served.ask("POST", f"{at}/runs/{run}/cancel", {}).document == {"state": "cancelled"}


def test_cells_that_are_not_saved_are_run_and_not_written(gated: Book, tmp_path: Path) -> None:
    before = gated.path.read_bytes()
    cells = [{"id": "n", "type": "code", "source": "%%step only -o x\nx = 7", "tags": []}]
    with place(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        at = served.meet()
        run = served.ask("POST", f"{at}/runs", {"cells": cells}).document["run"]
        stream.until(run, "succeeded")
        shown = served.ask("GET", f"{at}/runs/{run}").document
        assert [one["name"] for one in shown["steps"]] == ["only"]
    assert gated.path.read_bytes() == before


# The same wish, made twice


def test_the_same_key_gets_the_same_run_also_at_once_and_after_a_restart(gated: Book, tmp_path: Path) -> None:
    (gated.folder / "go").touch()
    with place(gated.folder, tmp_path / "first") as served:
        at = served.meet()
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(served.ask, "POST", f"{at}/runs", {}, Idempotency_Key="click-1") for _ in range(4)]
            runs = {one.result().document["run"] for one in asked}
        assert len(runs) == 1
        other = served.ask("POST", f"{at}/runs", {"force": True}, Idempotency_Key="click-1")
        assert (other.status, other.codes) == (400, ["JP802"])
        served.kill()
    with place(gated.folder, tmp_path / "second") as served:
        at = served.meet()
        again = served.ask("POST", f"{at}/runs", {}, Idempotency_Key="click-1")
        assert {again.document["run"]} == runs
        assert len(served.ask("GET", f"{at}/runs").document["runs"]) == 1
        assert {served.ask("POST", f"{at}/runs", {}, Idempotency_Key="click-2").document["run"]} != runs


def test_a_key_whose_run_was_refused_can_be_used_again(gated: Book, tmp_path: Path) -> None:
    wrong = [{"id": "n", "type": "code", "source": "%%step only -i nothing -o x\nx = nothing", "tags": []}]
    with place(gated.folder, tmp_path / "private") as served:
        at = served.meet()
        for _ in range(2):
            refused = served.ask("POST", f"{at}/runs", {"cells": wrong}, Idempotency_Key="k")
            assert (refused.status, refused.codes) == (422, ["JP202"])
        assert not list(gated.folder.glob(".pipelines/runs/*/run.json"))


def test_events_are_bounded(gated: Book, tmp_path: Path) -> None:
    """A step that prints without end makes ten events a second at most, whoever listens."""
    noisy = "%%step noisy -o x\nfor n in range(20000):\n    print(n)\nx = 1"
    steps = [f"%%step s{n} -o y{n}\ny{n} = {n}" for n in range(6)]
    gated.write(noisy, *steps)
    with place(gated.folder, tmp_path / "private") as served, listening(served) as stream:
        at = served.meet()
        run = served.ask("POST", f"{at}/runs", {}).document["run"]
        events = stream.until(run, "succeeded")
        seconds = served.ask("GET", f"{at}/runs/{run}").document["seconds"]
        assert len(events) <= 10 * seconds + 3
        assert max(len(json.dumps(event)) for event in events) < 20_000


def test_no_thread_stays_for_a_run(gated: Book) -> None:
    from jupyter_pipelines.interfaces.server.known import Known
    from jupyter_pipelines.interfaces.server.telling import Teller
    from jupyter_pipelines.project import Project

    (gated.folder / "go").touch()
    known, project = Known(gated.folder), Project()
    teller = Teller(known, project)
    known.meet("book.ipynb")
    assert teller.look() == []
    before = threading.active_count()
    run = gated.run().document["run"]
    told = teller.look()
    assert [(one["run"], one["state"]) for one in told] == [(run, "succeeded")]
    assert threading.active_count() == before
    assert not teller.is_busy
