"""Runs followed and cancelled through their folders: the events and results are those seen in the process itself."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.execution.runs.events import RunFinished, StepStarted
from jupyter_pipelines.execution.runs.follow import EventTail, RunFollower, cancel, follow, listen
from jupyter_pipelines.execution.runs.result import Run
from jupyter_pipelines.execution.runs.stop_requests import request_stop
from jupyter_pipelines.execution.scheduler import loop
from jupyter_pipelines.execution.scheduler.loop import run_plan
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.records.run_store import EVENTS
from jupyter_pipelines.storage.store import Store
from tests.execution.execution_fakes import HANG, NOTEBOOK, InlineExecutor, SimulatedClock, pipeline_of, plan, step

WORK = {"load": lambda: {"rows": b"12"}, "other": lambda: {"more": b"3"}, "clean": lambda rows: {"tidy": rows}}
IDENTIFY = (
    "import json; from jupyter_pipelines.storage.files.process_identity import ProcessIdentity; "
    "print(json.dumps(ProcessIdentity.current().to_dict()))"
)
SLOW = WORK | {"load": lambda: HANG}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def three(tmp_path: Path) -> Pipeline:
    return pipeline_of(
        tmp_path, step("load", outputs="rows"), step("clean", "rows=load.rows", "tidy"), step("other", outputs="more")
    )


class ControlledRun:
    """A run in this thread that can be cancelled through its folder when a step starts."""

    def __init__(self, three: Pipeline, store: Store, work: dict[str, Any]) -> None:
        self.clock = SimulatedClock()
        self.executor = InlineExecutor(work, clock=self.clock)
        self.store = store
        self.heard: list[Any] = []
        self.answers: list[Any] = []
        self._plan = plan(three, store)

    def run(self, when: str = "", **request: Any) -> Run:
        """Run it; when step `when` has started, cancel as `request` says."""

        def observe(*, event: Any) -> None:
            self.heard.append(event)
            if isinstance(event, StepStarted) and event.step == when:
                document = {"run": event.run, "state": "running", "steps": []}
                self.answers.append(cancel(self.store, document, **request))

        return run_plan(
            self._plan,
            store=self.store,
            executor=self.executor,
            observers=[observe],
            notebook=NOTEBOOK,
            clock=self.clock,
            keep_going=True,
        )


def states(run: Run) -> dict[str, str]:
    return {name: step_run.state for name, step_run in run.steps.items()}


def lost(store: Store) -> str:
    """Return the id of a run whose process is gone, with a step that was running."""
    ended = subprocess.run([sys.executable, "-c", IDENTIFY], capture_output=True, check=True)
    run = store.runs.new_id()
    store.runs.create(run)
    document = {"run": run, "state": "running", "steps": [{"name": "load", "state": "running"}], "seconds": 1.5}
    store.runs.write(run, {**document, "owner": json.loads(ended.stdout)})
    store.runs.append(run, {"event": "step-started", "run": run, "at": "", "step": "load", "attempt": 1, "log": ""})
    return run


def test_a_run_is_seen_from_outside_as_from_inside(three: Pipeline, store: Store) -> None:
    controlled = ControlledRun(three, store, WORK)
    run = controlled.run()
    assert list(follow(store, run.id)) == [json.loads(json.dumps(event.to_dict())) for event in controlled.heard]
    seen = list(listen(store, run.id))
    assert [type(event) for event in seen] == [type(event) for event in controlled.heard]
    assert [event.to_dict() for event in seen] == [event.to_dict() for event in controlled.heard]
    assert isinstance(seen[-1], RunFinished)
    assert seen[-1].result.to_dict() == run.to_dict()


def test_a_follower_gets_events_while_the_run_goes_on(three: Pipeline, store: Store) -> None:
    begun, seen = threading.Event(), []

    def observe(*, event: Any) -> None:
        if isinstance(event, StepStarted) and event.step == "clean":
            begun.set()

    def watch() -> None:
        begun.wait()
        run = store.runs.ids()[0]
        seen.extend(line["event"] for line in follow(store, run))

    watcher = threading.Thread(target=watch)
    watcher.start()
    clock = SimulatedClock()
    run_plan(
        plan(three, store),
        store=store,
        executor=InlineExecutor(WORK, clock=clock),
        observers=[observe],
        notebook=NOTEBOOK,
    )
    watcher.join()
    assert seen[0] == "run-started"
    assert seen[-1] == "run-finished"
    assert seen.count("step-finished") == 3


def test_a_line_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    tail = EventTail(tmp_path)
    assert tail.read() == []
    (tmp_path / EVENTS).write_bytes(b'{"event":"a"}\n{"eve')
    assert tail.read() == [{"event": "a"}]
    assert tail.read() == []
    with (tmp_path / EVENTS).open("ab") as file:
        file.write(b'nt":"b"}\nbroken\n[1]\n{"event":"c"}\n')
    assert tail.read() == [{"event": "b"}, {"event": "c"}]
    assert tail.count == 3


def test_of_a_run_whose_process_is_gone_the_last_word_is_that_it_is_lost(store: Store) -> None:
    run = lost(store)
    assert [(line["event"], line.get("state")) for line in follow(store, run)] == [
        ("step-started", None),
        ("run-finished", "lost"),
    ]
    assert store.runs.read(run)["steps"] == [{"name": "load", "state": "lost"}]


def test_another_process_with_the_same_pid_is_not_the_run(store: Store) -> None:
    """R45."""
    run = lost(store)
    for change in ({"started": "1"}, {"boot": "00000000"}):
        owner = {**ProcessIdentity.current().to_dict(), **change}
        store.runs.write(run, {**store.runs.read(run), "state": "running", "owner": owner})
        assert [line["event"] for line in follow(store, run)][-1] == "run-finished"
        assert store.runs.read(run)["state"] == "lost"


def test_a_run_that_could_not_write_its_last_event_ends_all_the_same(three: Pipeline, store: Store) -> None:
    run = ControlledRun(three, store, WORK).run()
    path = store.runs.folder(run.id) / EVENTS
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    last = list(follow(store, run.id))[-1]
    assert (last["event"], last["state"]) == ("run-finished", "succeeded")


def test_a_run_that_is_removed_while_it_is_watched_is_lost(three: Pipeline, store: Store) -> None:
    run = ControlledRun(three, store, WORK).run()
    watch = RunFollower(store, run.id)
    store.runs.remove(run.id)
    assert [line["state"] for line in watch.read()] == ["lost"]
    assert watch.ended
    assert watch.read() == []


def test_a_watch_never_waits(three: Pipeline, store: Store) -> None:
    run = store.runs.new_id()
    store.runs.create(run)
    store.runs.write(run, {"run": run, "state": "running", "steps": []})
    watch = RunFollower(store, run)
    assert watch.read() == []
    assert not watch.ended


def test_a_run_is_cancelled_through_its_folder(three: Pipeline, store: Store) -> None:
    controlled = ControlledRun(three, store, SLOW)
    run = controlled.run("load")
    assert (run.state, states(run)["load"], states(run)["clean"]) == ("cancelled", "cancelled", "cancelled")
    assert controlled.answers == ["cancelling"]
    assert controlled.executor.calls == [("load", False), ("other", False)]
    assert controlled.clock.time < 2


def test_a_step_is_cancelled_through_the_folder_and_the_others_go_on(three: Pipeline, store: Store) -> None:
    run = ControlledRun(three, store, SLOW).run("load", step="load")
    assert states(run) == {"load": "cancelled", "clean": "blocked", "other": "succeeded"}


def test_a_step_that_does_not_end_when_asked_is_ended(three: Pipeline, store: Store) -> None:
    controlled = ControlledRun(three, store, SLOW)
    controlled.executor.obeys = lambda hard: hard
    run = controlled.run("load", step="load")
    assert states(run) == {"load": "cancelled", "clean": "blocked", "other": "succeeded"}
    assert controlled.executor.calls == [("load", False), ("load", True)]
    assert controlled.clock.time < loop.GIVE_UP


def test_a_step_that_does_not_even_end_then_is_left_behind(three: Pipeline, store: Store) -> None:
    controlled = ControlledRun(three, store, SLOW)
    controlled.executor.obeys = lambda hard: False
    run = controlled.run("load", step="load")
    assert states(run) == {"load": "cancelled", "clean": "blocked", "other": "succeeded"}
    assert controlled.clock.time < loop.GIVE_UP + 1


def test_now_does_not_wait(three: Pipeline, store: Store) -> None:
    controlled = ControlledRun(three, store, SLOW)
    controlled.executor.obeys = lambda hard: hard
    assert controlled.run("load", now=True).state == "cancelled"
    assert controlled.clock.time < loop.PATIENCE


def test_cancelling_twice_is_not_cancelling_harder(three: Pipeline, store: Store) -> None:
    controlled = ControlledRun(three, store, SLOW)
    controlled.executor.obeys = lambda hard: bool(controlled.clock.time > 1)
    controlled.run("load")
    run = store.runs.ids()[0]
    assert controlled.executor.calls[0] == ("load", False)
    assert cancel(store, store.runs.read(run)) == "cancelled"


def test_what_is_over_is_said_to_be_over(three: Pipeline, store: Store) -> None:
    run = ControlledRun(three, store, WORK).run()
    before = sorted(store.runs.folder(run.id).iterdir())
    document = store.runs.read(run.id)
    assert cancel(store, document) == cancel(store, document, now=True) == "succeeded"
    assert cancel(store, document, step="load") == "succeeded"
    assert cancel(store, store.runs.read(lost(store))) == "lost"
    assert sorted(store.runs.folder(run.id).iterdir()) == before


def test_a_step_that_is_over_is_said_to_be_over_while_the_run_goes_on(store: Store) -> None:
    run = store.runs.new_id()
    store.runs.create(run)
    document = {
        "run": run,
        "state": "running",
        "steps": [{"name": "a", "state": "reused"}, {"name": "b", "state": "running"}],
    }
    assert cancel(store, document, step="a") == "reused"
    assert cancel(store, document, step="b") == "cancelling"


def test_a_request_that_cannot_be_left_is_an_error(store: Store) -> None:
    run = store.runs.new_id()
    with pytest.raises(StoreError, match="JP402"):
        cancel(store, {"run": run, "state": "running", "steps": []})


def test_a_request_left_for_another_run_is_not_heard(three: Pipeline, store: Store) -> None:
    other = store.runs.create(store.runs.new_id())
    request_stop(other)
    assert ControlledRun(three, store, WORK).run().state == "succeeded"
