"""Test the magics in a real kernel, driven as a front end drives it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.notebook_project import NotebookProject
from tests.kernels import kernel_manager
from tests.waiting import PATIENCE

pytestmark = pytest.mark.kernel


class LiveKernel:
    """Running kernel, with the messages that a front end receives from it."""

    def __init__(self, folder: Path, notebook: Path | None = None) -> None:
        self.manager = kernel_manager()
        environment = {"JUPYTER_PIPELINES_NOTEBOOK": str(notebook)} if notebook else {}
        self.manager.start_kernel(
            cwd=str(folder), extra_arguments=["--InteractiveShell.colors=NoColor"], env=environment_with(environment)
        )
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE)
        self.ask("%load_ext jupyter_pipelines")

    def send(self, code: str, cell_id: str | None = None) -> str:
        message = self.client.session.msg("execute_request", {"code": code, "silent": False, "store_history": True})
        message["content"] |= {"user_expressions": {}, "allow_stdin": True, "stop_on_error": True}
        message["metadata"] = {"cellId": cell_id} if cell_id else {}
        self.client.shell_channel.send(message)
        return message["header"]["msg_id"]

    def answer(self, sent: str) -> CellReply:
        answer = CellReply()
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != sent:
                continue
            if answer.take(message["msg_type"], message["content"]):
                break
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == sent:
                answer.status = reply["content"]["status"]
                return answer

    def ask(self, code: str, cell_id: str | None = None) -> CellReply:
        return self.answer(self.send(code, cell_id))

    def value(self, expression: str) -> Any:
        answer = self.ask(f"import json as _json; print(_json.dumps({expression}))")
        assert answer.status == "ok", answer.error
        return json.loads(answer.text)

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def environment_with(more: dict[str, str]) -> dict[str, str]:
    import os

    return {**os.environ, **more}


class CellReply:
    """All messages that a kernel sent for an executed cell."""

    def __init__(self) -> None:
        self.status = ""
        self.text = ""
        self.error = ""
        self.result: dict[str, Any] = {}
        self.displays: list[dict[str, Any]] = []
        self.comm_messages: list[dict[str, Any]] = []

    def take(self, kind: str, content: dict[str, Any]) -> bool:
        if kind == "stream":
            self.text += content["text"]
        elif kind == "error":
            self.error = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"]))
        elif kind == "execute_result":
            self.result = content["data"]
        elif kind in ("display_data", "update_display_data"):
            self.displays.append(content["data"])
        elif kind in ("comm_open", "comm_msg"):
            self.comm_messages.append(content["data"])
        return kind == "status" and content["execution_state"] == "idle"


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveKernel]:
    """A kernel without a notebook, as a console has."""
    kernel = LiveKernel(tmp_path)
    yield kernel
    kernel.close()


PIPELINE = (
    "%load_ext jupyter_pipelines",
    "%%params\ncount: Annotated[int, Interval(ge=1)] = 3",
    "%%step make -o numbers -p count\nnumbers = list(range(count))",
    "%%step double -i numbers -o doubled\ndoubled = [2 * number for number in numbers]",
)


@pytest.fixture
def opened(book: NotebookProject) -> Iterator[tuple[NotebookProject, LiveKernel]]:
    """A saved notebook, and a kernel that knows it."""
    book.write(*PIPELINE)
    kernel = LiveKernel(book.folder, book.path)
    yield book, kernel
    kernel.close()


def test_a_body_runs_as_if_there_were_no_header(live: LiveKernel) -> None:
    answer = live.ask("%%step one -o x\nx = 20\nx + 1")
    assert (answer.status, answer.result["text/plain"], live.value("x")) == ("ok", "21", 20)


def test_errors_fail_the_cell_and_have_the_line_numbers_the_user_sees(live: LiveKernel) -> None:
    answer = live.ask("%%step one -o x\nx = 1\n\n1 / 0")
    assert answer.status == "error"
    assert "ZeroDivisionError" in answer.error
    assert re.search(r"line 4|-+> 4", answer.error)
    assert "jupyter_pipelines" not in answer.error


def test_await_works(live: LiveKernel) -> None:
    assert live.ask("%%step one -o x\nimport asyncio\nx = await asyncio.sleep(0, 5)").status == "ok"
    assert live.value("x") == 5


@pytest.mark.parametrize("code", [
    "%%step one -i a -i b \\\n   -o x\nx = 7",
    "# a comment\n\n%%step one -o x\nx = 7",
    "%%step one -o x --timeout '10m'\nx = 7",
    "%%time\n%%step one -o x\nx = 7",
    "%%step one -o x\n%%time\nx = 7",
    "#| step: one\n#| out: x\nx = 7",
    "%%step one -o x\r\nx = 7",
    "%%setup\nx = 7",
    "%%params\nx: Annotated[int, Interval(ge=1)] = 7",
    "%%params\nx: Literal[7, 8] | None = 7",
], ids=range(10))  # fmt: skip
def test_headers_in_every_form(live: LiveKernel, code: str) -> None:
    live.ask("a = b = 1")
    answer = live.ask(code)
    assert answer.status == "ok", answer.error
    assert live.value("x") == 7


@pytest.mark.parametrize("item", ["{a}", "$a", "${{parent.inputs.x}}"])
def test_nothing_in_a_header_is_expanded(live: LiveKernel, item: str) -> None:
    live.ask("a = 'boom'")
    answer = live.ask(f"%%step one -i {item}\nx = 1")
    assert answer.status == "error"
    assert item in answer.error
    assert "boom" not in answer.error


def test_a_name_that_was_swallowed_is_told(live: LiveKernel) -> None:
    answer = live.ask("%%step -i a b -o m train\nm = 1")
    assert answer.status == "error"
    assert "error[JP101]" in answer.error
    assert "name" in answer.error
    assert "Traceback" not in answer.error


def test_help_shows_examples(live: LiveKernel) -> None:
    sent = live.send("%%step?")
    content = None
    while content is None:
        message = live.client.get_shell_msg(timeout=PATIENCE)
        if message["parent_header"].get("msg_id") == sent:
            content = message["content"]
    assert "%%step train" in json.dumps(content["payload"])


def test_a_session_without_a_notebook_is_the_pipeline(live: LiveKernel) -> None:
    for cell in PIPELINE[1:]:
        assert live.ask(cell).status == "ok"
    answer = live.ask("%pipeline run -p count=5")
    assert answer.status == "ok", answer.error
    live.ask("%pipeline load double.doubled")
    assert live.value("doubled") == [0, 2, 4, 6, 8]


def test_what_a_step_lacks_is_loaded_from_the_store(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    assert book.run().code == 0
    answer = live.ask(PIPELINE[3], "c3")
    assert answer.status == "ok", answer.error
    assert "numbers" in answer.text
    assert live.value("doubled") == [0, 2, 4]


def test_the_text_executed_last_counts_and_the_user_is_told(opened: tuple[NotebookProject, LiveKernel]) -> None:
    _, live = opened
    live.ask(PIPELINE[1], "c1")
    live.ask(PIPELINE[2].replace("range(count)", "range(10, 10 + count)"), "c2")
    answer = live.ask("%pipeline run")
    assert answer.status == "ok", answer.error
    assert "make" in answer.text
    live.ask("%pipeline load double.doubled")
    assert live.value("doubled") == [20, 22, 24]


def test_show_has_a_picture_and_a_text_and_follows_the_cells(opened: tuple[NotebookProject, LiveKernel]) -> None:
    _, live = opened
    shown = live.ask("%pipeline show").displays[-1]
    assert {"text/plain", "text/html"} <= shown.keys()
    assert "never run" in shown["text/plain"]
    assert "<script" not in shown["text/html"]
    live.ask(PIPELINE[1], "c1")
    comm_messages = live.ask(PIPELINE[2], "c2").comm_messages
    states = [
        message["state"]["statuses"]["steps"] for message in comm_messages if "statuses" in message.get("state", {})
    ]
    assert {name: status["state"] for name, status in states[-1].items()} == {"make": "fresh", "double": "never run"}


def test_where_no_widget_can_be_the_picture_follows_the_cells(opened: tuple[NotebookProject, LiveKernel]) -> None:
    _, live = opened
    live.ask("%env JUPYTER_PIPELINES_WIDGET=0")
    shown = live.ask("%pipeline show").displays[-1]
    assert "application/vnd.jupyter.widget-view+json" not in shown
    live.ask(PIPELINE[1], "c1")
    after = live.ask(PIPELINE[2], "c2").displays[-1]
    assert "fresh" in after["text/plain"]


def test_a_failed_run_fails_the_cell_and_can_be_debugged(book: NotebookProject) -> None:
    book.write(*PIPELINE[:3], "%%step broken -i numbers\nnumbers[99]")
    live = LiveKernel(book.folder, book.path)
    answer = live.ask("%pipeline run")
    assert answer.status == "error"
    assert "error[JP300]" in answer.error
    assert "IndexError" in answer.error
    assert "site-packages" not in answer.error
    assert len(answer.error.splitlines()) <= 15
    debugged = live.ask("%pipeline debug broken")
    assert "broken.ipynb" in debugged.text
    assert live.value("numbers") == [0, 1, 2]
    live.close()


def test_the_words_of_the_shell_work_in_the_notebook(opened: tuple[NotebookProject, LiveKernel]) -> None:
    book, live = opened
    assert "never run" in live.ask("%pipeline plan").text.lower()
    assert live.ask("%pipeline check").text.strip() == "no faults"
    for count in (3, 4):
        assert live.ask(f"%pipeline run -p count={count}").status == "ok"
    assert (
        "3 -> 5" in live.ask("%pipeline why make -p count=5").text
        or "4 -> 5" in live.ask("%pipeline why make -p count=5").text
    )
    assert live.ask("%pipeline runs").text.count("succeeded") >= 2
    assert "count" in live.ask("%pipeline diff last~1 last").text
    assert live.ask("%pipeline rnu").status == "error"
    assert "run" in live.ask("%pipeline rnu").error
    assert live.ask("%pipeline run 'make").status == "error"
    assert live.ask("%pipeline run --force make").status == "ok"
    saved = book.path.read_bytes()
    assert live.ask("%pipeline freeze").status == "ok"
    assert book.path.read_bytes() == saved  # everything is declared


def test_an_interrupt_cancels_the_run_and_the_kernel_goes_on(book: NotebookProject) -> None:
    book.write("%%step slow -o x\nopen('begun', 'w').close()\nimport time\ntime.sleep(600)\nx = 1")
    live = LiveKernel(book.folder, book.path)
    sent = live.send("%pipeline run")
    while not (book.folder / "begun").exists():
        time.sleep(0.02)
    live.manager.interrupt_kernel()
    answer = live.answer(sent)
    assert answer.status == "error"
    assert "JP306" in answer.error
    assert live.value("1 + 1") == 2
    states = [run["state"] for run in book.call("runs", "--json").document["runs"]]
    assert states == ["cancelled"]
    live.close()


def test_a_secret_is_there_under_its_name(live: LiveKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    live.ask("import os; os.environ['SHOP_TOKEN'] = 'not-to-be-seen'")
    assert live.ask('%%params\ntoken: Secret = "env:SHOP_TOKEN"').status == "ok"
    assert live.value("token") == "not-to-be-seen"
    answer = live.ask('%%params\ntoken: Secret = "env:NO_TOKEN"')
    assert "the secret `token` cannot be had: the environment variable `NO_TOKEN` is not set" in answer.text


def test_a_step_over_many_items_runs_for_the_first_and_later_steps_get_a_list(tmp_path: Path) -> None:
    cells = (
        "%%params\ndepths: list[int] = [2, 4]",
        "%%step fit -i ten --foreach depth=depths -o model\nmodel = depth * ten",
        "%%step best -i model -o top\ntop = sum(model)",
    )
    book = NotebookProject(tmp_path).write(cells[0], "%%step begin -o ten\nten = 10", *cells[1:])
    live = LiveKernel(tmp_path, book.path)
    try:
        live.ask(cells[0])
        live.ask("%%step begin -o ten\nten = 10")
        first = live.ask(cells[1])
        assert "for the first of 2 items: depth=2" in first.text
        assert live.value("model") == 20
        single = live.ask(cells[2])
        assert "a list of the one item that ran here" in single.text
        assert live.value("[top, model, model.keys]") == [20, [20], [{"depth": 2}]]
        assert live.ask("%pipeline run fit").status == "ok"
        every = live.ask(cells[2])
        assert every.status == "ok"
        live.ask(cells[1])
        assert "loaded from the store (all items of step `fit`)" in live.ask(cells[2]).text
        assert live.value("[top, list(model)]") == [60, [20, 40]]
        live.ask("%pipeline load fit.model")
        assert live.value("model.of(depth=4)") == 40
    finally:
        live.close()
