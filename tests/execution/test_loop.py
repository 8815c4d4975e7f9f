"""The run loop with a real store and functions for steps: what it computes, reuses, records, emits and leaves."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import Diagnostic, ExecutorLost, PlanError, SourceLocation, StoreError
from jupyter_pipelines.execution.runs.events import Event, StepFinished, StepStarted, StepWaiting
from jupyter_pipelines.execution.runs.result import Run
from jupyter_pipelines.execution.scheduler import loop, stop
from jupyter_pipelines.execution.scheduler.loop import run_plan
from jupyter_pipelines.execution.scheduler.stop import StopToken
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket, TicketProgress
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from tests.execution.execution_fakes import (
    HANG,
    NOTEBOOK,
    AttemptFailure,
    InlineExecutor,
    SimulatedClock,
    ThreadExecutor,
    pipeline_of,
    plan,
    step,
)
from tests.waiting import PATIENCE

WORK = {
    "load": lambda: {"rows": b"123"},
    "clean": lambda rows: {"tidy": rows[:2]},
    "model": lambda tidy: {"score": tidy * 2},
}


def raises(state: str = "failed", code: str = "JP300") -> Callable[..., Any]:
    def work(**inputs: Any) -> None:
        raise AttemptFailure(state, code)

    return work


def in_turn(*ends: Callable[..., Any]) -> Callable[..., Any]:
    rest = iter(ends)

    def work(**inputs: Any) -> Any:
        return next(rest)(**inputs)

    return work


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path / "store")
    yield opened
    opened.close()


@pytest.fixture
def chain(tmp_path: Path) -> Pipeline:
    return pipeline_of(
        tmp_path,
        step("load", outputs="rows"),
        step("clean", "rows=load.rows", "tidy"),
        step("model", "tidy=clean.tidy", "score"),
    )


def run(
    pipeline: Pipeline,
    store: Store,
    work: dict[str, Any] | InlineExecutor = WORK,
    *,
    planned: Any = None,
    **options: Any,
) -> Run:
    clock = SimulatedClock()
    executor = work if isinstance(work, InlineExecutor) else InlineExecutor(work, clock=clock)
    executor.clock = clock
    result = run_plan(
        planned or plan(pipeline, store), store=store, executor=executor, notebook=NOTEBOOK, clock=clock, **options
    )
    assert executor.closed == 1
    assert not list(store.leases.held()), "every lease is given back"
    return result


def states(result: Run) -> dict[str, str]:
    return {name: step_run.state for name, step_run in result.steps.items()}


def code_of(result: Run, name: str) -> str | None:
    diagnostic = result[name].fault
    return diagnostic.code if diagnostic else None


# What is computed, and what is reused --------------------------------------------------------------------------------


def test_a_run_computes_and_records_every_step(chain: Pipeline, store: Store) -> None:
    result = run(chain, store)
    assert states(result) == dict.fromkeys(("load", "clean", "model"), "succeeded")
    assert result.state == "succeeded"
    artifact = result["model"].artifacts["score"]
    assert store.blobs.path(artifact.digest).read_bytes() == b"1212"
    record = store.records.get(result["model"].key)
    assert record.outputs == {"score": artifact}
    assert (record.run, record.notebook, record.step, record.attempts, record.seconds) == (
        result.id, NOTEBOOK, "model", 1, 2.5,
    )  # fmt: skip
    assert record.parts["input:tidy"].startswith(result["clean"].artifacts["tidy"].digest)


def test_the_document_on_disk_is_the_run(chain: Pipeline, store: Store) -> None:
    result = run(chain, store)
    document = store.runs.read(result.id)
    assert document == json.loads(json.dumps(result.to_dict()))
    assert Run.from_dict(document, store) == result


def test_a_second_run_reuses_everything_and_starts_nothing(chain: Pipeline, store: Store) -> None:
    first = run(chain, store)
    executor = InlineExecutor(WORK)
    second = run(chain, store, executor)
    assert executor.submitted == []
    assert states(second) == dict.fromkeys(("load", "clean", "model"), "reused")
    assert second.saved == 7.5
    model = second["model"]
    assert (model.origin.run, model.origin.seconds, model.seconds, model.attempts) == (first.id, 2.5, 0, 0)
    assert model.notebook == first["model"].notebook
    assert Path(model.notebook).read_text() == "attempt 1"
    assert model.artifacts == first["model"].artifacts


def test_reusing_needs_no_ticket_notebook_or_executor(chain: Pipeline, store: Store) -> None:
    run(chain, store)
    heavy = {"papermill", "nbformat", "pandas", "jupytext", "nbclient", "jupyter_client", "IPython"}
    program = CHAIN + "print(result.state, *[name for name in sys.argv[2:] if name in sys.modules])"
    done = python(program, chain.folder, *heavy)
    assert done.communicate(timeout=PATIENCE)[0] == "succeeded\n"


def test_a_step_edited_to_the_same_result_leaves_what_follows_untouched(chain: Pipeline, store: Store) -> None:
    run(chain, store)
    edited = pipeline_of(chain.folder, step("load", outputs="rows", code="edited"), *chain.steps[1:])
    assert states(run(edited, store)) == {"load": "succeeded", "clean": "reused", "model": "reused"}


def test_a_different_result_is_computed_on(chain: Pipeline, store: Store) -> None:
    run(chain, store)
    edited = pipeline_of(chain.folder, step("load", outputs="rows", code="edited"), *chain.steps[1:])
    result = run(edited, store, WORK | {"load": lambda: {"rows": b"999"}})
    assert states(result) == dict.fromkeys(("load", "clean", "model"), "succeeded")
    assert store.blobs.path(result["model"].artifacts["score"].digest).read_bytes() == b"9999"


def test_a_plain_second_run_goes_on_after_a_failure(chain: Pipeline, store: Store) -> None:
    first = run(chain, store, WORK | {"clean": raises()})
    assert states(first) == {"load": "succeeded", "clean": "failed", "model": "blocked"}
    assert first.state == "failed"
    model = first["model"]
    assert (model.decision, model.reason.code, model.reason.text) == ("blocked", "upstream", "`clean` failed")
    assert store.records.latest("clean") is None
    assert states(run(chain, store)) == {"load": "reused", "clean": "succeeded", "model": "succeeded"}


def test_after_a_failure_nothing_new_starts_unless_it_shall_go_on(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("a", outputs="x"), step("b", outputs="y"), step("c", "x=a.x y=b.y"))
    work = {"a": raises(), "b": lambda: {"y": b""}}
    first = run(pipeline, store, InlineExecutor(work, jobs=1))
    assert states(first) == {"a": "failed", "b": "skipped", "c": "blocked"}
    assert (first["b"].decision, first["b"].reason.code) == ("skip", "upstream")
    assert first["b"].reason.text == "not started, because `a` failed; `--continue` goes on without it"
    second = run(pipeline, store, InlineExecutor(work, jobs=1), keep_going=True)
    assert states(second) == {"a": "failed", "b": "succeeded", "c": "blocked"}
    assert states(run(pipeline, store, InlineExecutor(work, jobs=1))) == {"a": "failed", "b": "reused", "c": "blocked"}


def test_a_forced_step_is_computed_and_reusable_afterwards(chain: Pipeline, store: Store) -> None:
    first = run(chain, store)
    second = run(chain, store, planned=plan(chain, store, forced="clean"))
    assert states(second) == {"load": "reused", "clean": "succeeded", "model": "reused"}
    third = run(chain, store)
    assert (third["clean"].origin.run, third["model"].origin.run) == (second.id, first.id)


def test_a_step_without_cache_runs_each_time_and_takes_no_lease(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows", cache=False), step("clean", "rows=load.rows", "tidy"))
    taken = []
    store.leases.try_acquire = lambda key, take=store.leases.try_acquire: (taken.append(key), take(key))[1]
    run(pipeline, store)
    second = run(pipeline, store)
    assert states(second) == {"load": "succeeded", "clean": "reused"}
    assert taken == [second["clean"].key]


def test_a_skipped_step_gives_what_is_stored_of_it(chain: Pipeline, store: Store) -> None:
    first = run(chain, store)
    second = run(chain, store, planned=plan(chain, store, only="model", forced="model"))
    assert states(second) == {"load": "skipped", "clean": "skipped", "model": "succeeded"}
    assert second["clean"].artifacts == first["clean"].artifacts
    assert second["clean"].origin.run == first.id


def test_a_worker_gets_all_it_needs(tmp_path: Path, store: Store) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.csv").write_text("1,2")
    load = step(
        "load",
        "raw=data/rows.csv also=data/rows.csv more=data/more.csv",
        "rows",
        optional="also more",
        parameters=("trees",),
        timeout=5.0,
        kernel="other",
    )
    pipeline = pipeline_of(tmp_path, load, step("clean", "rows=load.rows", "tidy"))
    executor = InlineExecutor({"load": lambda raw, also, more: {"rows": b"1"}, "clean": lambda rows: {"tidy": rows}})
    result = run(pipeline, store, executor, planned=plan(pipeline, store, values={"trees": 200, "unused": 1}))
    first, second = executor.tickets
    assert (first.run, first.step, first.attempt, first.cwd, first.store) == (
        result.id, "load", 1, str(tmp_path), store.url,
    )  # fmt: skip
    assert (first.parameters, first.timeout, first.kernel) == ({"trees": 200}, 5.0, "other")
    digest = store.digest(tmp_path / "data" / "rows.csv")
    assert first.inputs == {
        "raw": {"kind": "file", "path": "data/rows.csv", "digest": digest},
        "also": {"kind": "file", "path": "data/rows.csv", "digest": digest},
        "more": {"kind": "missing"},
    }
    assert first.outputs == {"rows": {"kind": "value", "format": None}}
    assert first.notebook["nbformat"] == 4
    artifact = result["load"].artifacts["rows"]
    assert second.inputs == {"rows": {"kind": "artifact", "digest": artifact.digest, "format": "bytes"}}
    folder = store.runs.folder(result.id)
    assert first.publish == {"notebook": str(folder / "load.ipynb"), "log": str(folder / "load.log")}
    assert first.path != second.path
    assert first.id != second.id


def test_a_result_whose_file_changed_meanwhile_is_used_and_not_reused(tmp_path: Path, store: Store) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "rows.csv"
    file.write_text("before")
    pipeline = pipeline_of(tmp_path, step("load", "raw=data/rows.csv", "rows"), step("clean", "rows=load.rows", "tidy"))

    def edited_while_read(raw: Any) -> dict[str, bytes]:
        file.write_text("afterwards")
        return {"rows": b"1"}

    first = run(pipeline, store, WORK | {"load": edited_while_read})
    assert states(first) == {"load": "succeeded", "clean": "succeeded"}
    assert [diagnostic.code for diagnostic in first["load"].warnings] == ["JP311"]
    assert store.records.latest("load") is None
    second = run(pipeline, store, WORK | {"load": lambda raw: {"rows": b"1"}})
    assert states(second) == {"load": "succeeded", "clean": "reused"}


def test_a_step_knows_its_previous_run(chain: Pipeline, store: Store) -> None:
    first = run(chain, store)
    assert first["load"].previous is None
    edited = pipeline_of(chain.folder, step("load", outputs="rows", code="edited"), *chain.steps[1:])
    second = run(edited, store)
    assert (second["load"].previous.run, second["load"].origin) == (first.id, None)
    assert (second["clean"].previous, second["clean"].origin.run) == (None, first.id)


def test_the_longest_way_to_the_end_starts_first(tmp_path: Path, store: Store) -> None:
    steps = [step(name, outputs=name) for name in "abc"]
    pipeline = pipeline_of(tmp_path, *steps)
    slow = {"a": 1.0, "b": 9.0, "c": 3.0}
    work = {name: lambda name=name: {name: b""} for name in slow}
    executor = InlineExecutor(work, seconds=slow)
    run(pipeline, store, executor)
    again = pipeline_of(tmp_path, *(step(name, outputs=name, code=f"{name}2") for name in "abc"))
    executor = InlineExecutor(work, jobs=1)
    run(again, store, executor)
    assert executor.submitted == ["b", "c", "a"]


def test_optional_and_always_inputs_may_be_missing(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(
        tmp_path,
        step("load", outputs="rows"),
        step("clean", "rows=load.rows", "tidy", optional="rows"),
        step("tell", "rows=load.rows", always=True),
    )
    seen: dict[str, Any] = {}
    work = {
        "load": raises(),
        "clean": lambda rows: {"tidy": repr(rows).encode()},
        "tell": lambda rows: seen.update(rows=rows),
    }
    result = run(pipeline, store, work)
    assert states(result) == {"load": "failed", "clean": "succeeded", "tell": "succeeded"}
    assert seen == {"rows": None}
    assert result.state == "failed"


# What is no success --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["failed", "timed-out", "died"])
def test_whatever_is_not_a_success_is_a_failure(chain: Pipeline, store: Store, state: str) -> None:
    result = run(chain, store, WORK | {"load": raises(state, "JP304")})
    assert states(result) == {"load": "failed", "clean": "blocked", "model": "blocked"}
    diagnostic = result["load"].fault
    assert (diagnostic.code, diagnostic.step, diagnostic.notebook) == ("JP304", "load", str(chain.notebook))
    assert store.records.all_keys() == ()


def test_a_fault_that_does_not_say_where_gets_the_place_of_its_step(tmp_path: Path, store: Store) -> None:
    header = SourceLocation(cell=4, line=1, text="%%step load -o rows")
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows", place=header))
    assert run(pipeline, store, {"load": raises()})["load"].fault.place == header


def test_a_success_without_its_output_is_a_failure(chain: Pipeline, store: Store) -> None:
    result = run(chain, store, WORK | {"load": dict})
    assert code_of(result, "load") == "JP204"
    assert states(result) == {"load": "failed", "clean": "blocked", "model": "blocked"}
    assert store.records.all_keys() == ()


def test_a_success_whose_blob_is_not_in_the_store_is_a_failure(chain: Pipeline, store: Store) -> None:
    class LyingExecutor(InlineExecutor):
        def poll(self, timeout: float) -> Any:
            news = super().poll(timeout)
            for message in news:
                for artifact in message.outputs.values() if isinstance(message, StepOutcome) else ():
                    store.blobs.path(artifact.digest).unlink()
            return news

    result = run(chain, store, LyingExecutor(WORK))
    assert code_of(result, "load") == "JP405"
    assert store.records.all_keys() == ()


def test_a_failure_without_a_reason_gets_one(chain: Pipeline, store: Store) -> None:
    class SilentExecutor(InlineExecutor):
        def poll(self, timeout: float) -> Any:
            news, self._ready = [StepOutcome(ticket=ticket.id, state="died") for ticket in self._ready], []
            return news

    assert code_of(run(chain, store, SilentExecutor(WORK)), "load") == "JP308"


def test_a_record_that_cannot_be_written_is_a_failure_and_not_tried_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows", retries=3), step("clean", "rows=load.rows", "tidy"))
    full = Diagnostic(code="JP403", message="the store is full", suggestion="free space")

    def refuse(record: Any, **_: Any) -> None:
        raise StoreError(full)

    monkeypatch.setattr(store.records, "put", refuse)
    executor = InlineExecutor(WORK)
    result = run(pipeline, store, executor)
    assert executor.submitted == ["load"]
    assert states(result) == {"load": "failed", "clean": "blocked"}
    assert code_of(result, "load") == "JP403"
    assert result["load"].artifacts == {}
    monkeypatch.undo()
    assert run(pipeline, store).state == "succeeded"


def test_a_full_store_is_found_out_before_anything_is_computed(
    chain: Pipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise StoreError(Diagnostic(code="JP403", message="the store is full", suggestion="free space"))

    monkeypatch.setattr(store, "check_writable", refuse)
    executor = InlineExecutor(WORK)
    result = run(chain, store, executor)
    assert executor.submitted == []
    assert code_of(result, "load") == "JP403"


def test_a_store_that_cannot_be_written_is_still_read(chain: Pipeline, store: Store) -> None:
    run(chain, store)
    (store.root / "runs").rename(store.root.parent / "elsewhere")
    (store.root / "runs").write_text("a file where the folder should be")
    reused = run(chain, store)
    assert states(reused) == dict.fromkeys(("load", "clean", "model"), "reused")
    assert [diagnostic.code for diagnostic in reused.warnings] == ["JP402"]
    executor = InlineExecutor(WORK)
    forced = run(chain, store, executor, planned=plan(chain, store, forced="clean"))
    assert executor.submitted == []
    assert states(forced) == {"load": "reused", "clean": "failed", "model": "blocked"}
    assert code_of(forced, "clean") == "JP402"


def test_a_run_that_fills_the_store_can_still_say_so(
    chain: Pipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the end of `clean` on nothing can be written any more, but for the space that was kept."""
    kept: list[int] = []
    full = StoreError(Diagnostic(code="JP403", message="the store is full", suggestion="free space"))

    def fill(rows: bytes) -> dict[str, bytes]:
        write = store.folder.write
        (reserve,) = (store.root / "tmp").iterdir()
        kept.append(reserve.stat().st_size)

        def refuse(path: str, content: bytes, **options: Any) -> None:
            if reserve.exists() or len(content) > kept[0]:
                raise full
            write(path, content, **options)

        monkeypatch.setattr(store.folder, "write", refuse)
        return {"tidy": rows}

    result = run(chain, store, WORK | {"clean": fill})
    assert states(result) == {"load": "succeeded", "clean": "failed", "model": "blocked"}
    document = store.runs.read(result.id)
    assert document["state"] == "failed"
    assert [step_document["error"] and step_document["error"]["code"] for step_document in document["steps"]] == [
        None,
        "JP403",
        None,
    ]
    assert not list((store.root / "tmp").iterdir())


def test_a_store_that_is_removed_meanwhile_is_made_again(chain: Pipeline, store: Store) -> None:
    def remove(rows: bytes) -> dict[str, bytes]:
        shutil.rmtree(store.root)
        return {"tidy": rows}

    result = run(chain, store, WORK | {"clean": remove})
    assert result.state == "succeeded"
    assert store.runs.read(result.id)["state"] == "succeeded"


def test_a_damaged_output_is_put_aside_told_and_computed_again(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows more"), step("clean", "rows=load.rows", "tidy"))
    work = WORK | {"load": lambda: {"rows": b"123", "more": b"4"}}
    first = run(pipeline, store, work)
    rows, more = (store.blobs.path(first["load"].artifacts[name].digest) for name in ("rows", "more"))
    rows.chmod(0o600)
    rows.write_bytes(b"xx")
    result = run(pipeline, store, work)
    assert states(result) == {"load": "succeeded", "clean": "reused"}
    assert [(diagnostic.code, "`load.rows`" in diagnostic.message) for diagnostic in result["load"].warnings] == [
        ("JP410", True)
    ]
    assert (rows.read_bytes(), more.read_bytes()) == (b"123", b"4")


def test_damaged_bytes_that_do_not_come_again_do_not_stay(chain: Pipeline, store: Store) -> None:
    first = run(chain, store)
    damaged = store.blobs.path(first["clean"].artifacts["tidy"].digest)
    damaged.chmod(0o600)
    damaged.write_bytes(b"xx")
    run(chain, store, WORK | {"clean": lambda rows: {"tidy": b"other"}})
    assert not damaged.exists()


def test_a_step_that_cannot_be_decided_fails(chain: Pipeline, store: Store) -> None:
    planned = plan(chain, store)
    decide = planned.planner.decide

    def refuse(name: str, upstream: Any, *_: Any) -> Any:
        if name == "clean":
            raise PlanError(Diagnostic(code="JP210", message="there is no such file", suggestion="make it"))
        return decide(name, upstream)

    planned.planner.decide = refuse
    result = run(chain, store, planned=planned)
    assert states(result) == {"load": "succeeded", "clean": "failed", "model": "blocked"}
    assert code_of(result, "clean") == "JP210"


def test_an_executor_that_is_lost_fails_what_it_was_running(chain: Pipeline, store: Store) -> None:
    class UnreachableExecutor(InlineExecutor):
        def poll(self, timeout: float) -> Any:
            raise ExecutorLost(Diagnostic(code="JP308", message="it went away", suggestion="start it again"))

    result = run(chain, store, UnreachableExecutor(WORK))
    assert (states(result)["load"], code_of(result, "load")) == ("failed", "JP308")


def test_an_executor_that_refuses_a_ticket_fails_the_step(chain: Pipeline, store: Store) -> None:
    class FullExecutor(InlineExecutor):
        def submit(self, ticket: Any) -> None:
            raise ExecutorLost(Diagnostic(code="JP308", message="no room", suggestion="wait"))

    result = run(chain, store, FullExecutor(WORK))
    assert (states(result)["load"], code_of(result, "load")) == ("failed", "JP308")


def test_a_demand_that_cannot_be_met_is_refused_before_anything_runs(tmp_path: Path, store: Store) -> None:
    fits, big = ComputeResources(cpus=4, gpus=1, memory=8_000_000), ComputeResources(cpus=1, gpus=2, memory=9_000_000)
    pipeline = pipeline_of(tmp_path, step("load"), step("fits", resources=fits), step("big", resources=big))
    executor = InlineExecutor(WORK, cpus=4, gpus=1, memory=8_000_000)
    with pytest.raises(PlanError) as caught:
        run_plan(plan(pipeline, store), store=store, executor=executor)
    assert [diagnostic.code for diagnostic in caught.value.faults] == ["JP604", "JP604"]
    assert "`big` asks for 2 gpus, and there are 1 gpus" in str(caught.value)
    assert "`big` asks for 9 MB of memory, and there are 8 MB of memory" in str(caught.value)
    assert executor.submitted == []
    assert executor.closed == 1
    assert store.runs.ids() == ()


def test_a_bug_leaves_nothing_running_and_nothing_locked(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(
        tmp_path, step("long"), step("load", outputs="rows"), step("clean", "rows=load.rows", "tidy")
    )
    planned = plan(pipeline, store)
    decide = planned.planner.decide

    def broken(name: str, upstream: Any, *_: Any) -> Any:
        return decide(name, upstream) if name != "clean" else 1 / 0

    planned.planner.decide = broken
    executor = InlineExecutor(WORK | {"long": lambda: HANG})
    with pytest.raises(ZeroDivisionError):
        run_plan(planned, store=store, executor=executor, clock=SimulatedClock())
    assert executor.calls == [("long", True)]
    assert executor.closed == 1
    assert not list(store.leases.held())
    document = store.runs.read(store.runs.ids()[0])
    assert document["state"] == "failed"
    ends = {step_document["name"]: step_document["state"] for step_document in document["steps"]}
    assert ends == {"long": "cancelled", "load": "succeeded", "clean": "cancelled"}


# Retries -------------------------------------------------------------------------------------------------------------


def test_retries_keep_each_attempt(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows", retries=2))
    events: list[Any] = []
    work = {"load": in_turn(raises("failed"), raises("died", "JP301"), WORK["load"])}
    result = run(pipeline, store, work, observers=[lambda *, event: events.append(event)])
    load = result["load"]
    assert (load.state, load.attempts, load.fault, load.seconds) == ("succeeded", 3, None, 5.5)
    retried = [event for event in events if event.kind == "step-retried"]
    assert [(event.attempt, event.pause, event.fault.code) for event in retried] == [
        (1, 0.0, "JP300"),
        (2, 1.0, "JP301"),
    ]
    assert [Path(event.notebook).read_text() for event in retried] == ["attempt 1", "attempt 2"]
    assert [Path(event.log).name for event in retried] == ["load.attempt-1.log", "load.attempt-2.log"]
    assert Path(load.notebook).read_text() == "attempt 3"
    assert store.records.get(load.key).attempts == 3


def test_the_last_failure_counts(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows", retries=1))
    work = {"load": in_turn(raises("failed"), raises("died", "JP301"))}
    result = run(pipeline, store, work)
    assert (result["load"].attempts, code_of(result, "load")) == (2, "JP301")
    assert Path(result["load"].notebook).read_text() == "attempt 2"


# What is told --------------------------------------------------------------------------------------------------------


def test_observers_hear_everything_in_order(chain: Pipeline, store: Store) -> None:
    run(pipeline_of(chain.folder, *chain.steps[:1]), store)
    heard: list[Any] = []
    result = run(chain, store, observers=[lambda *, event: heard.append(event)])
    assert [(event.kind, getattr(event, "step", None)) for event in heard] == [
        ("run-started", None),
        ("step-decided", "load"),
        ("step-finished", "load"),
        ("step-decided", "clean"),
        ("step-started", "clean"),
        ("step-progress", "clean"),
        ("step-finished", "clean"),
        ("step-decided", "model"),
        ("step-started", "model"),
        ("step-progress", "model"),
        ("step-finished", "model"),
        ("run-finished", None),
    ]
    assert {event.run for event in heard} == {result.id}
    assert heard[0].steps == ("load", "clean", "model")
    assert [event.state for event in heard if isinstance(event, StepFinished)] == ["reused", "succeeded", "succeeded"]
    assert heard[-1].result == result


def test_the_events_are_on_disk_too(chain: Pipeline, store: Store) -> None:
    heard: list[Any] = []
    result = run(chain, store, observers=[lambda *, event: heard.append(event)])
    written = store.runs.events(result.id)
    assert written == [json.loads(json.dumps(event.to_dict())) for event in heard]
    assert written[-1]["event"] == "run-finished"


def test_of_the_signs_of_life_only_those_are_on_disk_that_say_which_cell_runs(chain: Pipeline, store: Store) -> None:
    executor = InlineExecutor(WORK)
    executor.signs = [(None, "its kernel starts"), (1, "one"), (1, "two"), (None, "three"), (2, "four"), (1, "five")]
    result = run(chain, store, executor)
    written = [event for event in store.runs.events(result.id) if event["event"] == "step-progress"]
    assert [(event["step"], event["cell"], event["text"]) for event in written if event["step"] == "load"] == [
        ("load", 1, "one"),
        ("load", 2, "four"),
        ("load", 1, "five"),
    ]
    assert {event["step"] for event in written} == {"load", "clean", "model"}


def test_events_are_on_disk_before_a_step_runs(chain: Pipeline, store: Store) -> None:
    kinds_on_disk: list[list[str]] = []

    class EventRecorder(InlineExecutor):
        def poll(self, timeout: float) -> list[TicketProgress | StepOutcome]:
            (run_id, *_) = store.runs.ids()
            kinds_on_disk.append([event["event"] for event in store.runs.events(run_id)])
            return super().poll(timeout)

    run(chain, store, EventRecorder(WORK))
    assert kinds_on_disk[0] == ["run-started", "step-decided", "step-started"]
    assert kinds_on_disk[-1][-2:] == ["step-decided", "step-started"]


def test_a_run_that_reuses_everything_writes_its_events_together(
    chain: Pipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(chain, store)
    written: list[int] = []
    append = store.runs.append
    monkeypatch.setattr(store.runs, "append", lambda run, *events: (written.append(len(events)), append(run, *events)))
    result = run(chain, store)
    assert {step.state for step in result.steps.values()} == {"reused"}
    assert len(written) < 5
    assert sum(written) == len(store.runs.events(result.id)) == 8


def test_a_run_with_nothing_to_do_writes_its_document_once(
    chain: Pipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(chain, store)
    written: list[str] = []
    write = store.runs.write
    monkeypatch.setattr(
        store.runs, "write", lambda run, document: (written.append(document["state"]), write(run, document))
    )
    result = run(chain, store)
    assert written == ["succeeded"]
    assert store.runs.read(result.id) == result.to_dict()


def test_a_run_that_turns_out_to_compute_has_a_document_before_it_does(chain: Pipeline, store: Store) -> None:
    run(chain, store)
    planned = plan(chain, store)
    shutil.rmtree(store.root / "records")
    states: list[str] = []

    class StateRecorder(InlineExecutor):
        def submit(self, ticket: StepTicket) -> None:
            states.append(store.runs.read(ticket.run)["state"])
            super().submit(ticket)

    result = run_plan(planned, store=store, executor=StateRecorder(WORK), notebook=NOTEBOOK)
    assert states == ["running"] * 3
    assert result.state == "succeeded"


def test_a_broken_observer_does_no_harm(chain: Pipeline, store: Store) -> None:
    heard: list[Event] = []

    def broken(*, event: Event) -> None:
        if isinstance(event, StepStarted):
            raise ZeroDivisionError

    result = run(chain, store, observers=[broken, lambda *, event: heard.append(event)])
    assert result.state == "succeeded"
    assert [diagnostic.code for diagnostic in result.warnings] == ["JP606"]
    assert "broken" in result.warnings[0].message
    kinds = [event.kind for event in heard]
    assert kinds.count("warned") == 1
    assert kinds.count("step-started") == 3


def test_warnings_of_a_step_are_told_kept_and_recorded(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("load", outputs="rows"))
    doubt = Diagnostic(code="JP213", message="two outputs are one object", suggestion="copy it", severity="warning")

    class WarningExecutor(InlineExecutor):
        def poll(self, timeout: float) -> Any:
            news = super().poll(timeout)
            return [
                replace(message, warnings=(doubt,)) if isinstance(message, StepOutcome) else message for message in news
            ]

    heard: list[Any] = []
    result = run(pipeline, store, WarningExecutor(WORK), observers=[lambda *, event: heard.append(event)])
    assert [(event.step, event.fault) for event in heard if event.kind == "warned"] == [("load", doubt)]
    assert result["load"].warnings == (doubt,)
    assert store.records.get(result["load"].key).warnings == (doubt.message,)


def test_from_its_first_event_on_a_run_is_on_disk(chain: Pipeline, store: Store) -> None:
    seen: list[str] = []

    def observe(*, event: Event) -> None:
        if event.kind == "run-started":
            seen.extend(store.runs.read(run_id)["state"] for run_id in store.runs.ids())

    run(chain, store, observers=[observe])
    assert seen == ["running"]


def test_while_it_runs_the_document_says_so(chain: Pipeline, store: Store) -> None:
    seen: list[dict[str, Any]] = []

    def read_document(rows: bytes) -> dict[str, bytes]:
        seen.append(store.runs.read(store.runs.ids()[0]))
        return {"tidy": rows}

    run(chain, store, WORK | {"clean": read_document})
    assert seen[0]["state"] == "running"
    assert seen[0]["owner"]["pid"]
    assert [step_document["state"] for step_document in seen[0]["steps"]] == ["succeeded", "running", "pending"]


# Stopping ------------------------------------------------------------------------------------------------------------


def when_started(name: str, then: Callable[[], None]) -> Callable[..., None]:
    def observer(*, event: Event) -> None:
        if isinstance(event, StepStarted) and event.step == name:
            then()

    return observer


def test_a_stop_cancels_and_a_plain_run_goes_on(chain: Pipeline, store: Store) -> None:
    stop = StopToken()
    executor = InlineExecutor(WORK | {"clean": lambda rows: HANG})
    result = run(chain, store, executor, stop=stop, observers=[when_started("clean", stop.request)])
    assert result.state == "cancelled"
    assert states(result) == {"load": "succeeded", "clean": "cancelled", "model": "cancelled"}
    assert executor.calls == [("clean", False)]
    assert store.runs.read(result.id)["state"] == "cancelled"
    assert states(run(chain, store)) == {"load": "reused", "clean": "succeeded", "model": "succeeded"}


def test_a_stop_is_heard_while_nothing_else_happens(chain: Pipeline, store: Store) -> None:
    stop = StopToken()

    def stops(rows: bytes) -> str:
        stop.request()
        return HANG

    assert run(chain, store, WORK | {"clean": stops}, stop=stop).state == "cancelled"


def test_one_step_can_be_stopped(tmp_path: Path, store: Store) -> None:
    pipeline = pipeline_of(tmp_path, step("a", outputs="x"), step("b", outputs="y"), step("c", "x=a.x"))
    stop = StopToken()
    work = {"a": lambda: HANG, "b": lambda: {"y": b""}, "c": dict}
    result = run(pipeline, store, work, stop=stop, observers=[when_started("a", lambda: stop.request("a"))])
    assert states(result) == {"a": "cancelled", "b": "succeeded", "c": "blocked"}
    assert result["c"].reason.text == "`a` was cancelled"


def test_what_does_not_end_when_asked_is_ended(chain: Pipeline, store: Store) -> None:
    stop = StopToken()
    executor = InlineExecutor(WORK | {"clean": lambda rows: HANG})
    executor.obeys = lambda hard: hard
    result = run(chain, store, executor, stop=stop, observers=[when_started("clean", stop.request)])
    assert executor.calls == [("clean", False), ("clean", True)]
    assert result.state == "cancelled"
    assert executor.clock.time <= 2.0


def test_what_does_not_even_end_then_is_left_behind(chain: Pipeline, store: Store) -> None:
    stop = StopToken()
    executor = InlineExecutor(WORK | {"clean": lambda rows: HANG})
    executor.obeys = lambda hard: False
    result = run(chain, store, executor, stop=stop, observers=[when_started("clean", stop.request)])
    assert states(result) == {"load": "succeeded", "clean": "cancelled", "model": "cancelled"}
    assert executor.calls == [("clean", False), ("clean", True)]
    assert executor.clock.time < loop.GIVE_UP + 1


def test_two_interrupts_end_at_once(chain: Pipeline, store: Store) -> None:
    executor = InlineExecutor(WORK | {"clean": lambda rows: HANG})
    executor.obeys = lambda hard: hard

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    result = run(chain, store, executor, observers=[when_started("clean", twice)])
    assert result.state == "cancelled"
    assert executor.calls == [("clean", False), ("clean", True)]
    assert executor.clock.time < loop.PATIENCE
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_does_not_tear_what_is_being_written(
    chain: Pipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = store.records.put

    def interrupted(record: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        put(record, **options)

    monkeypatch.setattr(store.records, "put", interrupted)
    result = run(chain, store)
    assert states(result) == {"load": "succeeded", "clean": "cancelled", "model": "cancelled"}
    assert store.records.get(result["load"].key) is not None


def test_an_interrupt_ends_a_long_decision(chain: Pipeline, store: Store) -> None:
    planned = plan(chain, store)
    decide = planned.planner.decide

    def endless(name: str, upstream: Any, *_: Any) -> Any:
        if name == "load":
            return decide(name, upstream)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the interrupt comes through")

    planned.planner.decide = endless
    result = run(chain, store, planned=planned)
    assert states(result) == {"load": "succeeded", "clean": "cancelled", "model": "cancelled"}


def test_a_signal_that_ends_the_process_cancels_first(
    chain: Pipeline, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(stop.os, "kill", lambda pid, number: sent.append((number, executor.closed)))
    executor = InlineExecutor(WORK | {"clean": lambda rows: HANG})
    observer = when_started("clean", lambda: signal.raise_signal(signal.SIGTERM))
    result = run(chain, store, executor, observers=[observer])
    assert result.state == "cancelled"
    assert sent == [(signal.SIGTERM, 1)]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_stop_before_the_start_starts_nothing(chain: Pipeline, store: Store) -> None:
    stop = StopToken()
    stop.request()
    executor = InlineExecutor(WORK)
    assert run(chain, store, executor, stop=stop).state == "cancelled"
    assert executor.submitted == []


# Two runs at once ----------------------------------------------------------------------------------------------------


class ConcurrentRun:
    """A run of the same pipeline in another thread, with a separate store object on the same folder."""

    def __init__(self, pipeline: Pipeline, store: Store, work: dict[str, Any], observer: Callable[..., None]) -> None:
        self.result: Run | None = None
        self.executor = ThreadExecutor(work)
        self._arguments = (pipeline, store.root, observer)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pipeline, root, observer = self._arguments
        store = open_store(root)
        self.result = run_plan(
            plan(pipeline, store), store=store, executor=self.executor, observers=[observer], notebook=NOTEBOOK
        )
        store.close()

    def wait(self) -> Run:
        self._thread.join(PATIENCE)
        assert self.result is not None
        return self.result


def test_two_runs_compute_each_step_once(chain: Pipeline, store: Store) -> None:
    """The second run starts while the first computes `clean`, and `clean` ends when the second run waits for it."""
    started, waits = threading.Event(), threading.Event()

    def slow(rows: bytes) -> dict[str, bytes]:
        started.set()
        assert waits.wait(PATIENCE)
        return {"tidy": rows[:2]}

    def note(*, event: Event) -> None:
        if isinstance(event, StepWaiting):
            assert event.step == "clean"
            waits.set()

    other = ConcurrentRun(chain, store, WORK | {"clean": slow}, lambda *, event: None)
    assert started.wait(PATIENCE)
    executor = ThreadExecutor(WORK)
    mine = run_plan(plan(chain, store), store=store, executor=executor, observers=[note], notebook=NOTEBOOK)
    theirs = other.wait()
    assert mine.state == theirs.state == "succeeded"
    assert sorted([*executor.submitted, *other.executor.submitted]) == ["clean", "load", "model"]
    assert mine["clean"].state == "reused"
    assert mine["clean"].origin.run == theirs.id
    assert mine["model"].artifacts == theirs["model"].artifacts


def test_when_the_other_run_fails_the_step_is_computed_here(chain: Pipeline, store: Store) -> None:
    started, waits = threading.Event(), threading.Event()

    def fails(rows: bytes) -> None:
        started.set()
        assert waits.wait(PATIENCE)
        raise AttemptFailure("died")

    def note(*, event: Event) -> None:
        if isinstance(event, StepWaiting):
            waits.set()

    other = ConcurrentRun(chain, store, WORK | {"clean": fails}, lambda *, event: None)
    assert started.wait(PATIENCE)
    mine = run_plan(plan(chain, store), store=store, executor=ThreadExecutor(WORK), observers=[note], notebook=NOTEBOOK)
    assert states(mine) == {"load": "reused", "clean": "succeeded", "model": "succeeded"}
    assert states(other.wait()) == {"load": "succeeded", "clean": "failed", "model": "blocked"}


PROGRAM = """
import sys, time
from pathlib import Path
from tests.execution import execution_fakes as s
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.execution.scheduler.loop import run_plan

folder = Path(sys.argv[1])
store = open_store(folder / "store")
"""
CHAIN = """
clean, model = s.step("clean", "rows=load.rows", "tidy"), s.step("model", "tidy=clean.tidy", "score")
chain = s.pipeline_of(folder, s.step("load", "", "rows"), clean, model)
result = run_plan(s.plan(chain, store), store=store, executor=s.InlineExecutor({}), notebook=s.NOTEBOOK)
"""
ROW = """
names = [f"s{number}" for number in range(6)]
steps = [s.step(name, f"y=s{number - 1}.x" if number else "", "x") for number, name in enumerate(names)]

def work(name):
    def do(y=b""):
        with open(folder / "computed", "a") as file:
            file.write(name + "\\n")
        if name in sys.argv[2:]:
            print("here", flush=True)
            time.sleep(600)
        return {"x": y + name.encode()}
    return do

executor = s.InlineExecutor({name: work(name) for name in names})
result = run_plan(s.plan(s.pipeline_of(folder, *steps), store), store=store, executor=executor, notebook=s.NOTEBOOK)
print(result.state, result["s5"].artifacts["x"].digest)
"""


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM + program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_two_processes_compute_each_step_once(tmp_path: Path) -> None:
    processes = [python(ROW, tmp_path) for _ in range(3)]
    ends = {process.communicate(timeout=PATIENCE)[0] for process in processes}
    assert len(ends) == 1
    assert ends.pop().startswith("succeeded sha256:")
    assert sorted((tmp_path / "computed").read_text().split()) == [f"s{number}" for number in range(6)]


def test_a_run_that_was_killed_reads_lost_and_its_lease_is_free(tmp_path: Path) -> None:
    victim = python(ROW, tmp_path, "s3")
    assert victim.stdout
    assert victim.stdout.readline() == "here\n"
    other = python(ROW, tmp_path)
    victim.kill()
    victim.communicate()
    assert other.communicate(timeout=PATIENCE)[0].startswith("succeeded")
    assert sorted((tmp_path / "computed").read_text().split()) == ["s0", "s1", "s2", "s3", "s3", "s4", "s5"]
    store = open_store(tmp_path / "store")
    assert [store.runs.read(run_id)["state"] for run_id in store.runs.ids()] == ["succeeded", "lost"]
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    store.close()


def test_who_has_lost_the_lease_meanwhile_records_nothing(chain: Pipeline, store: Store) -> None:
    """Another run got the lease while this run was stopped; its record stays."""

    def stopped() -> dict[str, bytes]:
        shutil.rmtree(store.root / "leases")
        other = run(chain, store, WORK | {"load": lambda: {"rows": b"456"}})
        assert states(other)["load"] == "succeeded"
        return {"rows": b"123"}

    first = run(chain, store, WORK | {"load": stopped})
    assert (first.state, first["load"].outputs["rows"]) == ("succeeded", b"123")
    assert [diagnostic.code for diagnostic in first["load"].warnings] == ["JP311"]
    assert "the right to record its result" in first["load"].warnings[0].message
    again = run(chain, store)
    assert states(again)["load"] == "reused"
    assert again["load"].artifacts["rows"].bytes == 3
    assert store.blobs.path(again["load"].artifacts["rows"].digest).read_bytes() == b"456"


def test_a_store_that_is_far_away_is_asked_for_no_longer_than_a_turn(tmp_path: Path, store: Store) -> None:
    """Other runs compute thirty steps: asking for all leases at once would delay every other event."""
    asked: list[str] = []
    turns: list[list[str]] = []

    class TurnClock(SimulatedClock):
        def sleep(self, seconds: float) -> None:
            turns.append(asked.copy())
            asked.clear()
            super().sleep(seconds)

    def try_acquire(key: str) -> Any:
        asked.append(key)
        clock.time += 0.06
        return take(key) if len(turns) > 40 else None

    clock, take = TurnClock(), store.leases.try_acquire
    store.leases.try_acquire = try_acquire
    names = [f"s{number}" for number in range(30)]
    pipeline = pipeline_of(tmp_path, *(step(name, outputs="x", code=name) for name in names))
    executor = InlineExecutor({name: lambda: {"x": b"1"} for name in names}, clock=clock)
    result = run_plan(plan(pipeline, store), store=store, executor=executor, notebook=NOTEBOOK, clock=clock)
    assert set(states(result).values()) == {"succeeded"}
    waited = turns[1:40]
    assert max(map(len, waited)) <= 2
    assert len({key for keys in waited for key in keys}) == 30, "each has its turn"
