"""What the routes answer, from a real server, about a notebook and its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.book import Book
from tests.server.places import Place, place

pytestmark = pytest.mark.kernel
XSS = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "\u202e\u2066<b>",
]


def cells_of(book: Book) -> list[dict[str, Any]]:
    """Return the cells of a notebook as JupyterLab sends them."""
    cells = book.read()["cells"]
    return [{"id": c["id"], "type": c["cell_type"], "source": c["source"], "tags": []} for c in cells]


def test_a_notebook_gets_one_id(served: Place) -> None:
    first = served.ask("POST", "notebooks", {"path": "book.ipynb"})
    again = served.ask("POST", "notebooks", {"path": "/book.ipynb"})
    assert first.document == again.document
    assert first.document["path"] == "book.ipynb"
    assert len(first.document["id"]) == 32


def test_the_graph_of_the_saved_notebook_says_what_a_run_would_do(served: Place, at: str, run: str) -> None:
    found = served.ask("POST", f"{at}/graph", {}).document
    assert [node["id"] for node in found["graph"]["nodes"]] == ["load", "train"]
    assert {name: one["state"] for name, one in found["statuses"]["steps"].items()} == {
        "load": "reuse",
        "train": "reuse",
    }
    assert found["statuses"]["steps"]["load"]["origin"]["run"] == run
    assert found["faults"] == []
    assert found["last"] == run
    assert found["active"] == []
    kinds = {key: (one["kind"], one["step"]) for key, one in found["cells"].items()}
    assert kinds == {
        "c0": ("shared", None),
        "c1": ("params", None),
        "c2": ("step", "load"),
        "c3": ("step", "train"),
        "m4": ("markdown", None),
        "c5": ("exploration", None),
    }
    assert found["cells"]["c3"]["inferred"] == {"in": ["rows"], "out": ["model"], "params": []}


def test_cells_that_are_not_saved_count(served: Place, at: str, book: Book) -> None:
    cells = cells_of(book)
    cells[3]["source"] = cells[3]["source"].replace("sum(rows)", "max(rows)")
    cells.append({"id": "new", "type": "code", "source": "%%step tell -i model\nprint(model)", "tags": []})
    before = book.path.read_bytes()
    found = served.ask("POST", f"{at}/graph", {"cells": cells}).document
    assert {name: one["state"] for name, one in found["statuses"]["steps"].items()} == {
        "load": "reuse",
        "train": "run",
        "tell": "run",
    }
    assert found["statuses"]["steps"]["train"]["reason"]["code"] == "code"
    assert found["cells"]["new"]["step"] == "tell"
    assert book.path.read_bytes() == before


def test_values_of_parameters_count(served: Place, at: str) -> None:
    found = served.ask("POST", f"{at}/graph", {"parameters": {"count": "4"}}).document
    assert found["statuses"]["steps"]["load"]["reason"]["code"] == "parameter"
    wrong = served.ask("POST", f"{at}/graph", {"parameters": {"count": "many"}}).document
    assert [fault["code"] for fault in wrong["faults"]] == ["JP502"]
    assert wrong["graph"] is not None
    assert wrong["statuses"] is None


def test_faults_leave_cells_and_runs(served: Place, at: str, book: Book, run: str) -> None:
    cells = cells_of(book)
    cells[3]["source"] = "%%step train -i nowhere -o model\nmodel = nowhere"
    found = served.ask("POST", f"{at}/graph", {"cells": cells}).document
    assert found["graph"] is None
    assert [fault["code"] for fault in found["faults"]] == ["JP202"]
    assert found["faults"][0]["cell"] == 4
    assert found["cells"]["c3"]["step"] == "train"
    assert found["last"] == run


def test_a_plan_takes_a_selection(served: Place, at: str) -> None:
    found = served.ask("POST", f"{at}/plan", {"to": ["load"], "force": True}).document
    assert {one["name"]: one["decision"] for one in found["steps"]} == {"load": "run", "train": "skip"}
    unknown = served.ask("POST", f"{at}/plan", {"to": ["laod"]})
    assert (unknown.status, unknown.codes) == (422, ["JP603"])


def test_a_run_is_told_with_statuses_time_line_and_graph(served: Place, at: str, run: str) -> None:
    found = served.ask("GET", f"{at}/runs/{run}").document
    assert found["state"] == "succeeded"
    assert found["statuses"]["steps"]["train"]["state"] == "succeeded"
    assert [bar["step"] for bar in found["timeline"]] == ["load", "train"]
    assert all(0 <= bar["from"] <= bar["to"] for bar in found["timeline"])
    assert len(found["graph"]["nodes"]) == 2
    listed = served.ask("GET", f"{at}/runs").document["runs"]
    assert [(one["run"], one["steps"]) for one in listed] == [(run, {"succeeded": 2})]


def test_events_come_in_parts(served: Place, at: str, run: str) -> None:
    whole = served.ask("GET", f"{at}/runs/{run}/events").document
    assert whole["events"][0]["event"] == "run-started"
    assert whole["ended"]
    rest = served.ask("GET", f"{at}/runs/{run}/events?after=2").document
    assert rest["events"] == whole["events"][2:]
    assert rest["next"] == whole["next"] == len(whole["events"])


def test_a_log_comes_in_parts(served: Place, at: str, run: str) -> None:
    whole = served.ask("GET", f"{at}/runs/{run}/steps/load/log").document
    assert "loaded 3" in whole["text"]
    end = served.ask("GET", f"{at}/runs/{run}/steps/load/log?tail=5").document
    assert end["text"] == whole["text"][-5:]
    assert (end["next"], end["size"], end["ended"]) == (whole["size"], whole["size"], True)
    assert served.ask("GET", f"{at}/runs/{run}/steps/load/log?offset={whole['size']}").document["text"] == ""


def test_the_executed_notebook_of_a_step(served: Place, at: str, run: str) -> None:
    found = served.ask("GET", f"{at}/runs/{run}/steps/load/notebook").document
    assert found["notebook"]["nbformat"] == 4
    assert found["path"] is None  # Jupyter shows nothing that is hidden


def test_an_output_is_shown(served: Place, at: str, run: str) -> None:
    for query in ("", f"?run={run}"):
        found = served.ask("GET", f"{at}/outputs/load/rows{query}").document
        assert (found["name"], found["format"]) == ("load.rows", "json")
        assert "[0, 1, 2]" in found["text"]


def test_a_run_compared_with_itself(served: Place, at: str, run: str) -> None:
    found = served.ask("GET", f"{at}/runs/{run}/diff/{run}").document
    assert "nothing" in found["text"]
    assert found["difference"]["schema"] == "jupyter-pipelines/diff/1"


def test_a_finished_run_cannot_be_stopped_and_says_so(served: Place, at: str, run: str) -> None:
    for _ in range(2):
        assert served.ask("POST", f"{at}/runs/{run}/cancel", {}).document == {"state": "succeeded"}


def test_a_pickle_is_not_loaded_for_a_look(served: Place, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    odd = "class Odd:\n    def __reduce__(self):\n        import pathlib\n        return (pathlib.Path.touch, "
    odd += f"(pathlib.Path({str(trap)!r}),))"
    Book(served.folder, "odd.ipynb").write(odd, "%%step make -o thing\nthing = Odd()").run()
    trap.unlink(missing_ok=True)
    at = served.meet("odd.ipynb")
    found = served.ask("GET", f"{at}/outputs/make/thing")
    assert found.status == 200
    assert not trap.exists()


def test_looking_makes_no_store(served: Place, tmp_path: Path) -> None:
    apart = served.folder / "apart"
    apart.mkdir()
    (apart / "pyproject.toml").write_text("")
    Book(apart).write("%%step one -o x\nx = 1")
    at = served.meet("apart/book.ipynb")
    found = served.ask("POST", f"{at}/graph", {}).document
    assert found["graph"] is not None
    assert served.ask("GET", f"{at}/runs").document == {"runs": []}
    assert not (apart / ".pipelines").exists()


@pytest.mark.parametrize("evil", XSS)
def test_what_others_wrote_comes_back_as_json_only(served: Place, at: str, book: Book, run: str, evil: str) -> None:
    cells = cells_of(book)
    cells[2]["source"] = f"%%step {evil} -o {evil}\nprint(1)"
    cells[4]["source"] = evil
    asked = [
        ("POST", f"{at}/graph", {"cells": cells, "parameters": {evil: evil}}),
        ("POST", f"{at}/plan", {"cells": cells, "to": [evil]}),
        ("POST", f"{at}/runs", {"cells": cells}),
        ("POST", f"{at}/runs", {"parameters": {evil: "1"}}),
        ("POST", f"{at}/runs/{run}/cancel", {"step": evil}),
        ("POST", "notebooks", {"path": evil + ".ipynb"}),
    ]
    for method, path, body in asked:
        reply = served.ask(method, path, body)
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert isinstance(json.loads(reply.text), dict)


def test_half_characters_and_odd_cells_are_faults(served: Place, at: str) -> None:
    cells = [{"id": None, "type": "code", "source": "x = '\ud800'"}]
    reply = served.ask("POST", f"{at}/graph", {"cells": cells})
    assert (reply.status, reply.codes) == (422, ["JP104"])


def test_a_notebook_that_went_away_is_told(served: Place) -> None:
    gone = Book(served.folder, "gone.ipynb").write("%%step one -o x\nx = 1")
    at = served.meet("gone.ipynb")
    gone.path.unlink()
    reply = served.ask("POST", f"{at}/graph", {})
    assert (reply.status, reply.codes) == (422, ["JP104"])


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_servers_of_both_front_ends_answer(app: str, book: Book, run: str, tmp_path: Path) -> None:
    with place(book.folder, tmp_path / app, app=app) as one:
        assert one.ask("GET", f"{one.meet()}/runs").document["runs"][-1]["run"] == run
