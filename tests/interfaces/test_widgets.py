"""Test widgets without a front end: their messages, the size of these, and what they store in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.execution.runs.events import (
    RunFinished,
    RunStarted,
    StepDecided,
    StepFinished,
    StepProgress,
    StepStarted,
)
from jupyter_pipelines.execution.runs.result import Run, StepRun
from jupyter_pipelines.interfaces.jupyter import display, widget_feed, widgets
from jupyter_pipelines.interfaces.jupyter.widget_feed import WidgetFeed, last_line
from jupyter_pipelines.interfaces.jupyter.widgets import VIEW, PipelineWidget, bounded
from jupyter_pipelines.planning.reasons import DecisionReason
from jupyter_pipelines.reporting.graph_json import MIME
from jupyter_pipelines.reporting.step_status import StepStatus
from tests.planning.planning_fakes import pipeline, step

WHEN: dict[str, Any] = {"run": "20260101-000000-000000-abcdef", "at": "2026-01-01T00:00:00Z"}
REASON = DecisionReason(code="never-run", text="never run")


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Provide a script to send; tests/browser/ covers what the real script does."""
    path = tmp_path / "widget.js"
    path.write_text("export default { render: () => undefined };")
    monkeypatch.setattr(widgets, "SCRIPT", path)
    monkeypatch.setattr(display, "SCRIPT", path)
    widgets._script.cache_clear()
    yield path
    widgets._script.cache_clear()


class RecordingWidget(PipelineWidget):
    """Widget that records the messages it sends."""

    def __init__(self, *names: str) -> None:
        self.messages: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        super().__init__(pipeline(*map(step, names)), lambda _, request: self.requests.append(dict(request)))
        self.messages.clear()

    def send(self, content: dict[str, Any], buffers: Any = None) -> None:
        del buffers
        self.messages.append(json.loads(json.dumps(content)))


@pytest.fixture
def manual_push(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the timer: only ``push`` sends updates."""
    monkeypatch.setattr(widget_feed, "PACE", 3600)


def started(*names: str) -> RunStarted:
    return RunStarted(**WHEN, notebook=None, parameters={}, decisions=dict.fromkeys(names, "run"), jobs=2, folder=None)


def step_run(name: str, state: str) -> StepRun:
    return StepRun(name=name, state=state, key=None, decision="run", reason=REASON, seconds=1.0)


def test_what_is_shown_has_every_form(script: Path) -> None:
    widget = RecordingWidget("load", "train")
    widget.draw(widget.pipeline, {"load": StepStatus(state="failed", detail="it <b>broke</b>")})
    data, _ = widget._repr_mimebundle_()
    assert data[VIEW]["model_id"] == widget.model_id
    assert {"text/plain", "text/html", "image/svg+xml", MIME} <= data.keys()
    assert data[MIME]["statuses"]["steps"]["load"]["state"] == "failed"
    assert [node["name"] for node in data[MIME]["graph"]["nodes"]] == ["load", "train"]
    assert "<b>" not in data["image/svg+xml"]
    assert widget.get_state()["_esm"] == script.read_text()
    json.dumps(data)


@pytest.mark.parametrize("count", [50, 500, 2000])
def test_what_one_output_writes_into_a_notebook_is_bounded(count: int) -> None:
    widget = RecordingWidget(*(f"step_{number}" for number in range(count)))
    widget.draw(
        widget.pipeline, {f"step_{number}": StepStatus(state="fresh", detail="d" * 200) for number in range(count)}
    )
    data, _ = widget._repr_mimebundle_()
    assert sum(len(json.dumps(representation)) for representation in data.values()) <= widgets.MAX_BUNDLE_BYTES + 1000
    assert {VIEW, MIME} <= data.keys()
    assert "step_0" in data["text/plain"]


def test_what_is_needed_least_is_left_out_first() -> None:
    half = "x" * (widgets.MAX_BUNDLE_BYTES * 2 // 3)
    assert bounded({"text/plain": "a", "text/html": half, "image/svg+xml": half}).keys() == {
        "text/plain",
        "image/svg+xml",
    }
    assert bounded({"text/plain": half * 9, "text/html": half}).keys() == {"text/plain"}
    assert len(bounded({"text/plain": half * 9})["text/plain"]) == widgets.MAX_BUNDLE_BYTES


def test_only_what_has_changed_is_sent(manual_push: None) -> None:
    widget = RecordingWidget("load", "train")
    feed = WidgetFeed(lambda: [widget])
    feed(event=started("load", "train"))
    feed.push()
    assert widget.messages[-1]["statuses"]["steps"].keys() == {"load", "train"}
    feed(event=StepDecided(**WHEN, step="load", decision="run", reason=REASON, key="k"))
    feed(event=StepStarted(**WHEN, step="load", attempt=1, log="/none"))
    feed(event=StepProgress(**WHEN, step="load", cell=1, cells=3, text="epoch 1"))
    assert len(widget.messages) == 1
    feed.push()
    update = widget.messages[-1]["statuses"]
    assert (update["run"], update["running"]) == (WHEN["run"], True)
    assert update["steps"].keys() == {"load"}
    entry = update["steps"]["load"]
    assert (entry["state"], entry["cell"], entry["cells"], entry["text"]) == ("running", 1, 3, "epoch 1")
    assert (entry["since"], entry["reason"]["code"]) == (WHEN["at"], "never-run")
    feed.push()
    feed.push()
    assert len(widget.messages) == 2
    feed.close()


def test_many_events_between_two_looks_are_one_message(manual_push: None) -> None:
    """R76."""
    names = [f"s{number}" for number in range(300)]
    widget = RecordingWidget(*names)
    feed = WidgetFeed(lambda: [widget])
    feed(event=started(*names))
    for name in names:
        feed(event=StepStarted(**WHEN, step=name, attempt=1, log=""))
        feed(event=StepFinished(**WHEN, result=step_run(name, "succeeded")))
    feed.push()
    assert len(widget.messages) == 1
    feed.close()


def test_a_widget_that_comes_while_a_run_goes_on_gets_all_of_it(manual_push: None) -> None:
    first, second = RecordingWidget("load", "train"), RecordingWidget("load", "train")
    shown = [first]
    feed = WidgetFeed(lambda: shown)
    feed(event=started("load", "train"))
    feed(event=StepStarted(**WHEN, step="load", attempt=1, log=""))
    feed.push()
    shown.append(second)
    feed.push()
    for widget in shown:
        assert {name: status["state"] for name, status in widget.statuses["steps"].items()} == {
            "load": "running",
            "train": "pending",
        }
    feed.close()


def test_a_widget_that_is_drawn_while_a_run_goes_on_gets_all_of_it_again(manual_push: None) -> None:
    widget = RecordingWidget("load", "train")
    feed = WidgetFeed(lambda: [widget])
    feed(event=started("load", "train"))
    feed(event=StepStarted(**WHEN, step="load", attempt=1, log=""))
    feed.push()
    widget.draw(widget.pipeline, {"load": StepStatus(state="never run")})  # from code that does not know of the run
    feed.push()
    assert widget.statuses["steps"]["load"]["state"] == "running"
    feed.close()


def test_the_final_statuses_are_there_for_views_that_open_later(manual_push: None) -> None:
    widget = RecordingWidget("load", "train")
    feed = WidgetFeed(lambda: [widget])
    feed(event=started("load", "train"))
    steps = {"load": step_run("load", "succeeded"), "train": step_run("train", "failed")}
    result = Run(id=WHEN["run"], state="failed", seconds=2.0, parameters={}, steps=steps)
    feed(event=RunFinished(**WHEN, result=result))
    states = {name: status["state"] for name, status in widget.statuses["steps"].items()}
    assert states == {"load": "succeeded", "train": "failed"}
    assert not widget.statuses["running"]
    assert "1 failed" in widget.statuses["headline"]
    assert "abcdef" in widget.static()["text/plain"]


def test_a_widget_that_cannot_be_reached_hurts_no_other(manual_push: None) -> None:
    class UnreachableWidget(RecordingWidget):
        def send(self, content: dict[str, Any], buffers: Any = None) -> None:
            raise RuntimeError("gone")

    broken, widget = UnreachableWidget("load"), RecordingWidget("load")
    feed = WidgetFeed(lambda: [broken, widget])
    feed(event=started("load"))
    feed.push()
    assert len(widget.messages) == 1
    feed.close()


def test_steps_that_a_pipeline_no_longer_has_are_not_spoken_of() -> None:
    widget = RecordingWidget("load")
    before = widget.graph
    widget.draw(
        pipeline(step("load"), step("other")), {"load": StepStatus(state="fresh"), "gone": StepStatus(state="fresh")}
    )
    assert widget.statuses["steps"].keys() == {"load"}
    assert {node["name"] for node in widget.graph["nodes"]} == {"load", "other"}
    assert before != widget.graph


def test_requests_reach_the_handler_and_nonsense_does_not() -> None:
    widget = RecordingWidget("load")
    for content in ({"do": "log", "step": "load"}, "text", None, ["do"]):
        widget._handle_custom_msg(content, [])
    assert widget.requests == [{"do": "log", "step": "load"}]
    widget.reply(widget.requests[0], {"text": "hello"})
    assert widget.messages[-1] == {"detail": {"do": "log", "step": "load", "text": "hello"}}


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(str(log)) == ""
    log.write_text("one\ntwo\n\n   \n")
    assert last_line(str(log)) == "two"
    log.write_text("x" * 100_000)
    assert len(last_line(str(log))) == 300


class ShellWithKernel:
    kernel = object()


def test_where_no_widget_can_be_a_picture_is_shown_and_the_reason_said_once(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert display.can_show_widgets(ShellWithKernel())
    assert not display.can_show_widgets(object())
    monkeypatch.setenv("JUPYTER_PIPELINES_WIDGET", "0")
    assert not display.can_show_widgets(ShellWithKernel())
    monkeypatch.delenv("JUPYTER_PIPELINES_WIDGET")
    assert capsys.readouterr().err == ""
    script.unlink()
    assert not display.can_show_widgets(ShellWithKernel())
    assert not display.can_show_widgets(ShellWithKernel())
    assert capsys.readouterr().err.count("note: the graph is shown as a picture") == 1
