"""Test widgets in a real kernel, with the messages of a front end: buttons, and the display of other runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from jupyter_pipelines.interfaces.jupyter.widgets import SCRIPT, VIEW
from tests.e2e.notebook_project import NotebookProject
from tests.interfaces.test_live_kernel import LiveKernel
from tests.waiting import PATIENCE

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not SCRIPT.is_file(), reason="the front end is not built"),
]

WAIT = "import pathlib, time\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.01)\n"
CELLS = (
    "%%params\ncount: int = 3",
    f"%%step slow -o slow -p count\nprint('begun', flush=True)\n{WAIT}slow = list(range(count))",
    "%%step after -i slow -o after\nif len(slow) > 5:\n    raise ValueError('too many')\nafter = sum(slow)",
)


class WidgetClient:
    """Front end of a single widget."""

    def __init__(self, live: LiveKernel, data: dict[str, Any]) -> None:
        self.live = live
        self.model = data[VIEW]["model_id"]
        self.states: dict[str, dict[str, Any]] = {}
        self.details: list[dict[str, Any]] = []

    def press(self, do: str, **more: Any) -> None:
        data = {"method": "custom", "content": {"do": do, **more}}
        message = self.live.client.session.msg("comm_msg", {"comm_id": self.model, "data": data})
        self.live.client.shell_channel.send(message)

    def listen(self, until: Callable[[], Any]) -> None:
        """Take messages for this widget until something is so; the test's own time limit ends a hang."""
        while not until():
            message = self.live.client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] == "comm_msg" and message["content"]["comm_id"] == self.model:
                self._take(message["content"]["data"])

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """Press a button, and return the answer."""
        count = len(self.details)
        self.press(do, **more)
        self.listen(lambda: len(self.details) > count)
        assert self.details[-1]["do"] == do
        return self.details[-1]

    def state(self, step: str) -> str | None:
        return self.states.get(step, {}).get("state")

    def _take(self, data: dict[str, Any]) -> None:
        content = data.get("content", {})
        if "detail" in content:
            self.details.append(content["detail"])
        whole = data.get("state", {}).get("statuses")
        if whole is not None:
            self.states = dict(whole["steps"])
        elif "statuses" in content:
            self.states |= content["statuses"]["steps"]


@pytest.fixture
def opened(book: NotebookProject) -> Iterator[tuple[NotebookProject, LiveKernel]]:
    book.write(*CELLS)
    kernel = LiveKernel(book.folder, book.path)
    yield book, kernel
    (book.folder / "go").touch()
    kernel.close()


def wait_for_run(book: NotebookProject) -> dict[str, Any]:
    """Wait until the last run is over, and not only its steps; return its document."""
    return book.call("attach", "--json").document


def show_pipeline(live: LiveKernel) -> WidgetClient:
    return WidgetClient(live, live.ask("%pipeline show").displays[-1])


def test_the_buttons(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    front = show_pipeline(live)
    run = front.ask("run", parameters={"count": "4"})["run"]
    front.listen(lambda: front.state("slow") == "running" and front.states["slow"].get("text") == "begun")
    assert front.ask("log", step="slow")["text"].strip() == "begun"
    assert live.value("1 + 1") == 2  # the kernel is free meanwhile
    (book.folder / "go").touch()
    front.listen(lambda: front.state("after") in ("succeeded", "reused"))
    preview = front.ask("preview", step="slow", output="slow")["preview"]
    assert (preview["type"], preview["shape"], preview["text"]) == ("list", [4], "[0, 1, 2, 3]")
    lines = front.ask("dependencies", step="slow")["lines"]
    assert "it looked for go" in lines or "it read go" in lines
    executed = front.ask("notebook", step="after")
    assert Path(executed["path"]).is_file()
    assert (book.folder / executed["relative"]).is_file()
    document = wait_for_run(book)
    assert (document["run"], document["state"], document["parameters"]) == (run, "succeeded", {"count": 4})
    (book.folder / "go").unlink()
    front.ask("force", step="slow")
    front.listen(lambda: front.state("slow") == "running")
    (book.folder / "go").touch()
    front.listen(lambda: front.state("after") in ("reused", "succeeded"))
    assert len(book.call("runs", "--json").document["runs"]) == 2


def test_what_failed_says_why_and_is_taken_apart_in_the_kernel(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    (book.folder / "go").touch()
    front = show_pipeline(live)
    front.ask("run", parameters={"count": "9"})
    front.listen(lambda: front.state("after") == "failed")
    assert front.states["after"]["error"]["type"] == "ValueError"
    wait_for_run(book)
    assert "too many" in front.ask("error", step="after")["error"]["message"]
    assert front.ask("debug", step="after")["loaded"] == ["slow"]
    assert live.value("len(slow)") == 9
    assert front.ask("debug", step="slow")["faults"][0]["code"] == "JP405"


def test_what_has_failed_is_shown_as_failed_until_something_changes(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    (book.folder / "go").touch()
    book.edit("count: int = 3", "count: int = 9")
    assert live.ask("%pipeline run").status == "error"
    front = show_pipeline(live)
    front.press("log", step="after")
    front.listen(lambda: front.details)
    step_statuses = live.ask("%pipeline show").displays[-1]["application/vnd.jupyter-pipelines.graph.v1+json"][
        "statuses"
    ]["steps"]
    assert (step_statuses["after"]["state"], step_statuses["after"]["error"]["type"]) == ("failed", "ValueError")
    book.edit("> 5", "> 50")
    step_statuses = live.ask("%pipeline show").displays[-1]["application/vnd.jupyter-pipelines.graph.v1+json"][
        "statuses"
    ]["steps"]
    assert step_statuses["after"]["state"] != "failed"


def test_the_result_of_a_run_stays_until_something_else_happens(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    (book.folder / "go").touch()
    front = show_pipeline(live)
    front.ask("run", parameters={"count": "9"})
    front.listen(lambda: front.state("after") == "failed")
    wait_for_run(book)
    assert front.ask("log", step="after")
    assert front.state("after") == "failed"
    live.send(CELLS[1], "c1")
    front.listen(lambda: front.state("after") != "failed")


def test_run_to_here_runs_no_further(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    (book.folder / "go").touch()
    front = show_pipeline(live)
    front.ask("to", step="slow")
    front.listen(lambda: front.state("slow") in ("succeeded", "reused"))
    steps = {step["name"]: step["state"] for step in wait_for_run(book)["steps"]}
    assert steps == {"slow": "succeeded", "after": "skipped"}


def test_what_is_wrong_is_answered(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    front = show_pipeline(live)
    refused = front.ask("run", parameters={"count": "many"})
    assert refused["faults"][0]["code"] == "JP502"
    assert "count" in refused["message"]
    assert front.ask("to", step="nobody")["faults"][0]["code"] == "JP603"
    assert front.ask("preview", step="after", output="after")["faults"][0]["code"] == "JP405"
    assert front.ask("log", step="slow")["faults"][0]["code"] == "JP405"
    assert front.ask("dependencies", step="slow")["lines"] == []
    assert front.ask("dependencies", step="slwo")["faults"][0]["code"] == "JP603"
    assert front.ask("cancel")["faults"][0]["code"] == "JP405"
    front.press("dance")
    book.write(*CELLS[:2], "%%step after -i slwo -o after\nafter = 1")
    assert front.ask("run")["faults"][0]["severity"] == "error"


def test_a_run_is_cancelled_by_a_button_wherever_it_was_started(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    front = show_pipeline(live)
    process = book.start("run", "--json")
    front.listen(lambda: front.state("slow") == "running")
    assert front.ask("cancel", step="slow")["state"] == "cancelling"
    out, _ = process.communicate(timeout=PATIENCE)
    assert json.loads(out)["state"] == "cancelled"
    front.listen(lambda: front.state("slow") == "cancelled")
    assert front.ask("cancel")["state"] == "cancelled"


def test_two_widgets_show_the_same(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    first, second = show_pipeline(live), show_pipeline(live)
    first.press("run")
    second.listen(lambda: second.state("slow") == "running")
    (book.folder / "go").touch()
    second.listen(lambda: second.state("after") in ("succeeded", "reused"))
    assert second.state("slow") == "succeeded"


def test_a_widget_made_while_a_run_goes_on_joins_it_and_a_new_kernel_knows_of_it(
    opened: tuple[NotebookProject, LiveKernel],
) -> None:
    """R72, R73."""
    book, live = opened
    run = book.call("run", "--detach", "--json").document["run"]
    front = show_pipeline(live)
    front.listen(lambda: front.state("slow") == "running")
    live.close()
    again = LiveKernel(book.folder, book.path)
    front = show_pipeline(again)
    front.listen(lambda: front.state("slow") == "running")
    assert front.ask("cancel")["run"] == run
    front.listen(lambda: front.state("slow") == "cancelled")
    again.close()


def test_a_cell_edited_while_a_run_goes_on_is_edited_when_it_is_over(
    opened: tuple[NotebookProject, LiveKernel],
) -> None:
    book, live = opened
    live.ask("slow = [1]")
    front = show_pipeline(live)
    front.ask("run")
    front.listen(lambda: front.state("slow") == "running")
    live.ask(CELLS[2].replace("sum(slow)", "max(slow)"), "c2")
    (book.folder / "go").touch()
    front.listen(lambda: front.state("after") == "fresh")
    assert front.state("slow") == "reused"


def test_a_run_in_the_kernel_is_shown_and_stays_when_others_run(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    (book.folder / "go").touch()
    answer = live.ask("%pipeline run -p count=9")
    assert answer.status == "error"
    saved = answer.displays[-1]
    assert saved["application/vnd.jupyter-pipelines.graph.v1+json"]["statuses"]["steps"]["after"]["state"] == "failed"
    assert "failed" in saved["text/plain"]
    mine = WidgetClient(live, saved)
    assert live.ask("%pipeline run -p count=2").status == "ok"
    assert mine.ask("error", step="after")["error"]["type"] == "ValueError"
    assert mine.states == {}


@pytest.mark.parametrize("magics", [True, False])
def test_pipelines_plans_and_runs_are_shown_as_graphs(opened: tuple[NotebookProject, LiveKernel], magics: bool) -> None:
    book, live = opened
    (book.folder / "go").touch()
    if not magics:
        live.ask("%unload_ext jupyter_pipelines")
    live.ask("import jupyter_pipelines as jp\npipeline = jp.read('book.ipynb')")
    first = live.ask("pipeline").result
    assert {VIEW, "text/plain", "text/html", "image/svg+xml"} <= first.keys()
    assert not (book.folder / ".pipelines").exists()  # looking makes no store
    ran = live.ask("jp.run(pipeline)").result
    assert VIEW in ran
    assert "succeeded" in ran["text/plain"]
    planned = live.ask("jp.plan(pipeline)").result
    assert VIEW in planned
    assert "reuse" in planned["text/plain"]
    front = WidgetClient(live, first)
    assert front.ask("preview", step="after", output="after")["preview"]["text"] == "3"
    assert front.ask("debug", step="after")["faults"]


def test_a_notebook_executed_without_a_front_end_gets_pictures(opened: tuple[NotebookProject, LiveKernel]) -> None:
    """Readers of notebooks that nbclient or papermill executed have no widgets."""
    book, _ = opened
    (book.folder / "go").touch()
    book.write(
        "%load_ext jupyter_pipelines", *CELLS[:1], "%%step one -o one\none = 1", "%pipeline show", "%pipeline run"
    )
    notebook = nbformat.read(book.path, as_version=4)
    NotebookClient(
        notebook,
        resources={"metadata": {"path": str(book.folder)}},
        startup_timeout=PATIENCE,
        iopub_timeout=PATIENCE,
    ).execute()
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells[-2:]:
        data = cell.outputs[-1].data
        assert VIEW not in data
        assert {"text/plain", "text/html"} <= data.keys()
    assert "done" in notebook.cells[-1].outputs[-1].data["text/plain"]


def test_a_detached_run_is_shown_without_waiting(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    answer = live.ask("%pipeline run --detach")
    assert answer.status == "ok", answer.error
    front = WidgetClient(live, answer.displays[0])
    front.listen(lambda: front.state("slow") == "running")
    (book.folder / "go").touch()
    front.listen(lambda: front.state("after") == "succeeded")


def test_a_notebook_without_front_end_keeps_the_graph_as_it_is_in_the_end(
    opened: tuple[NotebookProject, LiveKernel],
) -> None:
    book, live = opened
    show_pipeline(live)
    (book.folder / "go").touch()
    answer = live.ask("%pipeline run")
    assert len(answer.displays) == 2  # one picture at the beginning, one in the end, whatever lies between
    assert "succeeded" in json.dumps(answer.displays[-1]["application/vnd.jupyter-pipelines.graph.v1+json"]["statuses"])
