"""Widgets without a front end: what they send, how much of it, and what they leave in a notebook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.interfaces import feeding, showing, widgets
from jupyter_pipelines.interfaces.feeding import Feed, last_line
from jupyter_pipelines.interfaces.widgets import VIEW, PipelineWidget, bounded
from jupyter_pipelines.planning.deciding import Reason
from jupyter_pipelines.reporting.graphing import MIME
from jupyter_pipelines.reporting.statuses import Status
from jupyter_pipelines.running.events import (
    RunFinished,
    RunStarted,
    StepDecided,
    StepFinished,
    StepProgress,
    StepStarted,
)
from jupyter_pipelines.running.run import Run, StepRun
from tests.planning.stand_ins import pipeline, step

WHEN: dict[str, Any] = {"run": "20260101-000000-000000-abcdef", "at": "2026-01-01T00:00:00Z"}
REASON = Reason(code="never-run", text="never run")


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A script to send: what it does is tried in a browser."""
    path = tmp_path / "widget.js"
    path.write_text("export default { render: () => undefined };")
    monkeypatch.setattr(widgets, "SCRIPT", path)
    monkeypatch.setattr(showing, "SCRIPT", path)
    widgets._script.cache_clear()
    yield path
    widgets._script.cache_clear()


class Sent(PipelineWidget):
    """A widget that keeps what it sends."""

    def __init__(self, *names: str) -> None:
        self.messages: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        super().__init__(pipeline(*map(step, names)), lambda _, request: self.asked.append(dict(request)))
        self.messages.clear()

    def send(self, content: dict[str, Any], buffers: Any = None) -> None:
        del buffers
        self.messages.append(json.loads(json.dumps(content)))


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is sent by itself."""
    monkeypatch.setattr(feeding, "PACE", 3600)


def started(*names: str) -> RunStarted:
    return RunStarted(**WHEN, notebook=None, parameters={}, decisions=dict.fromkeys(names, "run"), jobs=2, folder=None)


def step_run(name: str, state: str) -> StepRun:
    return StepRun(name=name, state=state, key=None, decision="run", reason=REASON, seconds=1.0)


def test_what_is_shown_has_every_form(script: Path) -> None:
    widget = Sent("load", "train")
    widget.draw(widget.pipeline, {"load": Status(state="failed", detail="it <b>broke</b>")})
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
    widget = Sent(*(f"step_{number}" for number in range(count)))
    widget.draw(widget.pipeline, {f"step_{number}": Status(state="fresh", detail="d" * 200) for number in range(count)})
    data, _ = widget._repr_mimebundle_()
    assert sum(len(json.dumps(one)) for one in data.values()) <= widgets.LARGEST + 1000
    assert {VIEW, MIME} <= data.keys()
    assert "step_0" in data["text/plain"]


def test_what_is_needed_least_is_left_out_first() -> None:
    half = "x" * (widgets.LARGEST * 2 // 3)
    assert bounded({"text/plain": "a", "text/html": half, "image/svg+xml": half}).keys() == {
        "text/plain",
        "image/svg+xml",
    }
    assert bounded({"text/plain": half * 9, "text/html": half}).keys() == {"text/plain"}
    assert len(bounded({"text/plain": half * 9})["text/plain"]) == widgets.LARGEST


def test_only_what_has_changed_is_sent(still: None) -> None:
    widget = Sent("load", "train")
    feed = Feed(lambda: [widget])
    feed(event=started("load", "train"))
    feed.push()
    assert widget.messages[-1]["statuses"]["steps"].keys() == {"load", "train"}
    feed(event=StepDecided(**WHEN, step="load", decision="run", reason=REASON, key="k"))
    feed(event=StepStarted(**WHEN, step="load", attempt=1, log="/none"))
    feed(event=StepProgress(**WHEN, step="load", cell=1, cells=3, text="epoch 1"))
    assert len(widget.messages) == 1
    feed.push()
    told = widget.messages[-1]["statuses"]
    assert (told["run"], told["running"]) == (WHEN["run"], True)
    assert told["steps"].keys() == {"load"}
    entry = told["steps"]["load"]
    assert (entry["state"], entry["cell"], entry["cells"], entry["text"]) == ("running", 1, 3, "epoch 1")
    assert (entry["since"], entry["reason"]["code"]) == (WHEN["at"], "never-run")
    feed.push()
    feed.push()
    assert len(widget.messages) == 2
    feed.close()


def test_many_events_between_two_looks_are_one_message(still: None) -> None:
    """R76."""
    names = [f"s{number}" for number in range(300)]
    widget = Sent(*names)
    feed = Feed(lambda: [widget])
    feed(event=started(*names))
    for name in names:
        feed(event=StepStarted(**WHEN, step=name, attempt=1, log=""))
        feed(event=StepFinished(**WHEN, result=step_run(name, "succeeded")))
    feed.push()
    assert len(widget.messages) == 1
    feed.close()


def test_a_widget_that_comes_while_a_run_goes_on_gets_all_of_it(still: None) -> None:
    first, second = Sent("load", "train"), Sent("load", "train")
    shown = [first]
    feed = Feed(lambda: shown)
    feed(event=started("load", "train"))
    feed(event=StepStarted(**WHEN, step="load", attempt=1, log=""))
    feed.push()
    shown.append(second)
    feed.push()
    for widget in shown:
        assert {name: one["state"] for name, one in widget.statuses["steps"].items()} == {
            "load": "running",
            "train": "pending",
        }
    feed.close()


def test_a_widget_that_is_drawn_while_a_run_goes_on_gets_all_of_it_again(still: None) -> None:
    widget = Sent("load", "train")
    feed = Feed(lambda: [widget])
    feed(event=started("load", "train"))
    feed(event=StepStarted(**WHEN, step="load", attempt=1, log=""))
    feed.push()
    widget.draw(widget.pipeline, {"load": Status(state="never run")})  # by somebody who knew nothing of the run
    feed.push()
    assert widget.statuses["steps"]["load"]["state"] == "running"
    feed.close()


def test_in_the_end_everything_is_there_for_whoever_opens_a_view_later(still: None) -> None:
    widget = Sent("load", "train")
    feed = Feed(lambda: [widget])
    feed(event=started("load", "train"))
    steps = {"load": step_run("load", "succeeded"), "train": step_run("train", "failed")}
    result = Run(id=WHEN["run"], state="failed", seconds=2.0, parameters={}, steps=steps)
    feed(event=RunFinished(**WHEN, result=result))
    states = {name: one["state"] for name, one in widget.statuses["steps"].items()}
    assert states == {"load": "succeeded", "train": "failed"}
    assert not widget.statuses["running"]
    assert "1 failed" in widget.statuses["headline"]
    assert "abcdef" in widget.static()["text/plain"]


def test_a_widget_that_cannot_be_reached_hurts_no_other(still: None) -> None:
    class Broken(Sent):
        def send(self, content: dict[str, Any], buffers: Any = None) -> None:
            raise RuntimeError("gone")

    broken, widget = Broken("load"), Sent("load")
    feed = Feed(lambda: [broken, widget])
    feed(event=started("load"))
    feed.push()
    assert len(widget.messages) == 1
    feed.close()


def test_steps_that_a_pipeline_no_longer_has_are_not_spoken_of() -> None:
    widget = Sent("load")
    before = widget.graph
    widget.draw(pipeline(step("load"), step("other")), {"load": Status(state="fresh"), "gone": Status(state="fresh")})
    assert widget.statuses["steps"].keys() == {"load"}
    assert {node["name"] for node in widget.graph["nodes"]} == {"load", "other"}
    assert before != widget.graph


def test_requests_reach_whoever_answers_and_nonsense_does_not() -> None:
    widget = Sent("load")
    for content in ({"do": "log", "step": "load"}, "text", None, ["do"]):
        widget._handle_custom_msg(content, [])
    assert widget.asked == [{"do": "log", "step": "load"}]
    widget.reply(widget.asked[0], {"text": "hello"})
    assert widget.messages[-1] == {"detail": {"do": "log", "step": "load", "text": "hello"}}


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(str(log)) == ""
    log.write_text("one\ntwo\n\n   \n")
    assert last_line(str(log)) == "two"
    log.write_text("x" * 100_000)
    assert len(last_line(str(log))) == 300


class Shell:
    kernel = object()


def test_where_no_widget_can_be_a_picture_is_shown_and_the_reason_said_once(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert showing.can_show_widgets(Shell())
    assert not showing.can_show_widgets(object())
    monkeypatch.setenv("JUPYTER_PIPELINES_WIDGET", "0")
    assert not showing.can_show_widgets(Shell())
    monkeypatch.delenv("JUPYTER_PIPELINES_WIDGET")
    assert capsys.readouterr().err == ""
    script.unlink()
    assert not showing.can_show_widgets(Shell())
    assert not showing.can_show_widgets(Shell())
    assert capsys.readouterr().err.count("note: the graph is shown as a picture") == 1
