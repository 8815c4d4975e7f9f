"""Test what the routes of a real server answer about a notebook and its runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.server.jupyter_server import JupyterServer, running_server

XSS = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "javascript:alert(1)",
    "\u202e\u2066<b>",
]


def cells_of(book: NotebookProject) -> list[dict[str, Any]]:
    """Return the cells of a notebook as JupyterLab sends them."""
    cells = book.read()["cells"]
    return [{"id": c["id"], "type": c["cell_type"], "source": c["source"], "tags": []} for c in cells]


def test_a_notebook_gets_one_id(served: JupyterServer) -> None:
    first = served.ask("POST", "notebooks", {"path": "book.ipynb"})
    again = served.ask("POST", "notebooks", {"path": "/book.ipynb"})
    assert first.document == again.document
    assert first.document["path"] == "book.ipynb"
    assert len(first.document["id"]) == 32


def test_the_graph_of_the_saved_notebook_says_what_a_run_would_do(served: JupyterServer, base: str, run: str) -> None:
    document = served.ask("POST", f"{base}/graph", {}).document
    assert [node["id"] for node in document["graph"]["nodes"]] == ["load", "train"]
    assert {name: status["state"] for name, status in document["statuses"]["steps"].items()} == {
        "load": "reuse",
        "train": "reuse",
    }
    assert document["statuses"]["steps"]["load"]["origin"]["run"] == run
    assert document["faults"] == []
    assert document["last"] == run
    assert document["active"] == []
    kinds = {key: (cell["kind"], cell["step"]) for key, cell in document["cells"].items()}
    assert kinds == {
        "c0": ("shared", None),
        "c1": ("params", None),
        "c2": ("step", "load"),
        "c3": ("step", "train"),
        "m4": ("markdown", None),
        "c5": ("exploration", None),
    }
    assert document["cells"]["c3"]["inferred"] == {"in": ["rows"], "out": ["model"], "params": []}


def test_cells_that_are_not_saved_count(served: JupyterServer, base: str, book: NotebookProject) -> None:
    cells = cells_of(book)
    cells[3]["source"] = cells[3]["source"].replace("sum(rows)", "max(rows)")
    cells.append({"id": "new", "type": "code", "source": "%%step tell -i model\nprint(model)", "tags": []})
    before = book.path.read_bytes()
    document = served.ask("POST", f"{base}/graph", {"cells": cells}).document
    assert {name: status["state"] for name, status in document["statuses"]["steps"].items()} == {
        "load": "reuse",
        "train": "run",
        "tell": "run",
    }
    assert document["statuses"]["steps"]["train"]["reason"]["code"] == "code"
    assert document["cells"]["new"]["step"] == "tell"
    assert book.path.read_bytes() == before


def test_values_of_parameters_count(served: JupyterServer, base: str) -> None:
    document = served.ask("POST", f"{base}/graph", {"parameters": {"count": "4"}}).document
    assert document["statuses"]["steps"]["load"]["reason"]["code"] == "parameter"
    wrong = served.ask("POST", f"{base}/graph", {"parameters": {"count": "many"}}).document
    assert [fault["code"] for fault in wrong["faults"]] == ["JP502"]
    assert wrong["graph"] is not None
    assert wrong["statuses"] is None


def test_faults_leave_cells_and_runs(served: JupyterServer, base: str, book: NotebookProject, run: str) -> None:
    cells = cells_of(book)
    cells[3]["source"] = "%%step train -i nowhere -o model\nmodel = nowhere"
    document = served.ask("POST", f"{base}/graph", {"cells": cells}).document
    assert document["graph"] is None
    assert [fault["code"] for fault in document["faults"]] == ["JP202"]
    assert document["faults"][0]["cell"] == 4
    assert document["cells"]["c3"]["step"] == "train"
    assert document["last"] == run


def test_a_plan_takes_a_selection(served: JupyterServer, base: str) -> None:
    document = served.ask("POST", f"{base}/plan", {"to": ["load"], "force": True}).document
    assert {step["name"]: step["decision"] for step in document["steps"]} == {"load": "run", "train": "skip"}
    unknown = served.ask("POST", f"{base}/plan", {"to": ["laod"]})
    assert (unknown.status, unknown.codes) == (422, ["JP603"])


def test_a_run_is_told_with_statuses_time_line_and_graph(served: JupyterServer, base: str, run: str) -> None:
    document = served.ask("GET", f"{base}/runs/{run}").document
    assert document["state"] == "succeeded"
    assert document["statuses"]["steps"]["train"]["state"] == "succeeded"
    assert [bar["step"] for bar in document["timeline"]] == ["load", "train"]
    assert all(0 <= bar["from"] <= bar["to"] for bar in document["timeline"])
    assert len(document["graph"]["nodes"]) == 2
    listed = served.ask("GET", f"{base}/runs").document["runs"]
    assert [(listed_run["run"], listed_run["steps"]) for listed_run in listed] == [(run, {"succeeded": 2})]


def test_events_come_in_parts(served: JupyterServer, base: str, run: str) -> None:
    whole = served.ask("GET", f"{base}/runs/{run}/events").document
    assert whole["events"][0]["event"] == "run-started"
    assert whole["ended"]
    rest = served.ask("GET", f"{base}/runs/{run}/events?after=2").document
    assert rest["events"] == whole["events"][2:]
    assert rest["next"] == whole["next"] == len(whole["events"])


def test_a_log_comes_in_parts(served: JupyterServer, base: str, run: str) -> None:
    whole = served.ask("GET", f"{base}/runs/{run}/steps/load/log").document
    assert "loaded 3" in whole["text"]
    end = served.ask("GET", f"{base}/runs/{run}/steps/load/log?tail=5").document
    assert end["text"] == whole["text"][-5:]
    assert (end["next"], end["size"], end["ended"]) == (whole["size"], whole["size"], True)
    assert served.ask("GET", f"{base}/runs/{run}/steps/load/log?offset={whole['size']}").document["text"] == ""


def test_the_executed_notebook_of_a_step(served: JupyterServer, base: str, run: str) -> None:
    document = served.ask("GET", f"{base}/runs/{run}/steps/load/notebook").document
    assert document["notebook"]["nbformat"] == 4
    assert document["path"] is None  # Jupyter shows nothing that is hidden


def test_an_output_is_shown(served: JupyterServer, base: str, run: str) -> None:
    for query in ("", f"?run={run}"):
        document = served.ask("GET", f"{base}/outputs/load/rows{query}").document
        assert (document["name"], document["format"]) == ("load.rows", "json")
        assert "[0, 1, 2]" in document["text"]


def test_what_a_result_depends_on_is_shown(served: JupyterServer, base: str, run: str) -> None:
    lines = served.ask("GET", f"{base}/steps/load/dependencies").document["lines"]
    assert any(line.startswith("it asked for the environment variables") for line in lines), lines
    assert served.ask("GET", f"{base}/steps/lod/dependencies").codes == ["JP603"]


def test_a_run_compared_with_itself(served: JupyterServer, base: str, run: str) -> None:
    document = served.ask("GET", f"{base}/runs/{run}/diff/{run}").document
    assert "nothing" in document["text"]
    assert document["difference"]["schema"] == "jupyter-pipelines/diff/1"


def test_a_finished_run_cannot_be_stopped_and_says_so(served: JupyterServer, base: str, run: str) -> None:
    for _ in range(2):
        assert served.ask("POST", f"{base}/runs/{run}/cancel", {}).document == {"state": "succeeded"}


def test_a_pickle_is_not_loaded_for_a_look(served: JupyterServer, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    odd = "class Odd:\n    def __reduce__(self):\n        import pathlib\n        return (pathlib.Path.touch, "
    odd += f"(pathlib.Path({str(trap)!r}),))"
    NotebookProject(served.folder, "odd.ipynb").write(odd, "%%step make -o thing\nthing = Odd()").run()
    trap.unlink(missing_ok=True)
    base = served.register("odd.ipynb")
    reply = served.ask("GET", f"{base}/outputs/make/thing")
    assert reply.status == 200
    assert not trap.exists()


def test_looking_makes_no_store(served: JupyterServer, tmp_path: Path) -> None:
    apart = served.folder / "apart"
    apart.mkdir()
    (apart / "pyproject.toml").write_text("")
    NotebookProject(apart).write("%%step one -o x\nx = 1")
    base = served.register("apart/book.ipynb")
    document = served.ask("POST", f"{base}/graph", {}).document
    assert document["graph"] is not None
    assert served.ask("GET", f"{base}/runs").document == {"runs": []}
    assert not (apart / ".pipelines").exists()


@pytest.mark.parametrize("evil", XSS)
def test_what_others_wrote_comes_back_as_json_only(
    served: JupyterServer, base: str, book: NotebookProject, run: str, evil: str
) -> None:
    cells = cells_of(book)
    cells[2]["source"] = f"%%step {evil} -o {evil}\nprint(1)"
    cells[4]["source"] = evil
    asked = [
        ("POST", f"{base}/graph", {"cells": cells, "parameters": {evil: evil}}),
        ("POST", f"{base}/plan", {"cells": cells, "to": [evil]}),
        ("POST", f"{base}/runs", {"cells": cells}),
        ("POST", f"{base}/runs", {"parameters": {evil: "1"}}),
        ("POST", f"{base}/runs/{run}/cancel", {"step": evil}),
        ("POST", "notebooks", {"path": evil + ".ipynb"}),
    ]
    for method, path, body in asked:
        reply = served.ask(method, path, body)
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert isinstance(json.loads(reply.text), dict)


def test_half_characters_and_odd_cells_are_faults(served: JupyterServer, base: str) -> None:
    cells = [{"id": None, "type": "code", "source": "x = '\ud800'"}]
    reply = served.ask("POST", f"{base}/graph", {"cells": cells})
    assert (reply.status, reply.codes) == (422, ["JP104"])


def test_a_notebook_that_went_away_is_told(served: JupyterServer) -> None:
    gone = NotebookProject(served.folder, "gone.ipynb").write("%%step one -o x\nx = 1")
    base = served.register("gone.ipynb")
    gone.path.unlink()
    reply = served.ask("POST", f"{base}/graph", {})
    assert (reply.status, reply.codes) == (422, ["JP104"])


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_servers_of_both_front_ends_answer(app: str, book: NotebookProject, run: str, tmp_path: Path) -> None:
    with running_server(book.folder, tmp_path / app, app=app) as server:
        assert server.ask("GET", f"{server.register()}/runs").document["runs"][-1]["run"] == run
