"""A run as a value: its document, its text, its errors, and outputs that are loaded on access."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import (
    Diagnostic,
    ExecutorLost,
    KernelDied,
    PipelinesError,
    RunCancelled,
    RunError,
    SourceLocation,
    StepFailed,
    StepTimedOut,
    StoreError,
)
from jupyter_pipelines.execution.runs.result import SCHEMA, ResultOrigin, Run, StepRun
from jupyter_pipelines.pipeline.amounts import in_words
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.planning.reasons import DecisionReason
from jupyter_pipelines.storage.opening import open_store

FAULT = Diagnostic(
    code="JP300",
    message="KeyError: 'colum'",
    suggestion="look at the executed notebook",
    notebook="churn.ipynb",
    step="train",
    place=SourceLocation(cell=5, line=3, column=4, length=7, text="frame['colum']"),
    label="here",
    notes=("it has: column",),
)
NEVER = DecisionReason(code="never-run", text="it has never run", details=("a", "b"))


def step_run(name: str, state: str = "succeeded", **more: Any) -> StepRun:
    return StepRun(name=name, state=state, key="0" * 64, decision="run", reason=NEVER, **more)


def run_of(*steps: StepRun, state: str = "failed") -> Run:
    return Run(
        id="20260101-000000-000000-abcdef",
        state=state,
        seconds=12.3456,
        parameters={"trees": 200, "kind": "rf"},
        steps={step.name: step for step in steps},
        notebook="churn.ipynb",
        started="2026-01-01T00:00:00.000Z",
        finished="2026-01-01T00:00:12.346Z",
    )


ARTIFACT = Artifact(digest="sha256:" + "1" * 64, format="json", bytes=3)
LOAD = step_run(
    "load",
    "reused",
    origin=ResultOrigin(run="r0", created="2025-12-31T00:00:00Z", seconds=252.0),
    artifacts={"rows": ARTIFACT},
)
TRAIN = step_run(
    "train", "failed", seconds=2.0, attempts=2, fault=FAULT, error_type="KeyError", notebook="/n.ipynb", log="/n.log"
)
SCORE = replace(
    step_run("score", "blocked"),
    decision="blocked",
    reason=DecisionReason(code="upstream", text="`train` failed", details=()),
)
RUN = run_of(LOAD, TRAIN, SCORE)


def test_the_document_has_what_is_promised() -> None:
    document = json.loads(json.dumps(RUN.to_dict()))
    assert (document["schema"], document["run"], document["state"]) == (SCHEMA, RUN.id, "failed")
    assert document["seconds"] == 12.346
    assert document["parameters"] == {"trees": 200, "kind": "rf"}
    load, train, score = document["steps"]
    assert load["outputs"] == {"rows": {"digest": ARTIFACT.digest, "format": "json", "bytes": 3}}
    assert load["origin"] == {"run": "r0", "created": "2025-12-31T00:00:00Z", "seconds": 252.0}
    assert load["error"] is None
    assert {name: train[name] for name in ("name", "state", "decision", "seconds", "attempts", "notebook")} == {
        "name": "train", "state": "failed", "decision": "run", "seconds": 2.0, "attempts": 2, "notebook": "/n.ipynb",
    }  # fmt: skip
    assert train["reason"] == {"code": "never-run", "text": "it has never run", "details": ["a", "b"]}
    assert {name: train["error"][name] for name in ("code", "type", "message", "cell", "line")} == {
        "code": "JP300", "type": "KeyError", "message": "KeyError: 'colum'", "cell": 5, "line": 3,
    }  # fmt: skip
    assert score["reason"]["code"] == "upstream"


def test_a_run_comes_back_from_its_document() -> None:
    again = Run.from_dict(json.loads(json.dumps(RUN.to_dict())))
    assert again == replace(RUN, seconds=12.346)
    assert again["train"].fault == FAULT


def test_a_fault_without_a_place_comes_back_without_a_place() -> None:
    run = run_of(step_run("load", "failed", fault=replace(FAULT, place=None, notes=())))
    assert Run.from_dict(run.to_dict())["load"].fault == run["load"].fault


def test_another_document_is_refused() -> None:
    with pytest.raises(ValueError, match="jupyter-pipelines/run/1"):
        Run.from_dict({"schema": "jupyter-pipelines/plan/1"})


def test_fields_of_a_newer_version_do_no_harm() -> None:
    document = RUN.to_dict() | {"new": 1}
    document["steps"] = [step_document | {"new": 1} for step_document in document["steps"]]
    assert Run.from_dict(document)["load"] == LOAD


def test_values_are_loaded_when_they_are_asked_for(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    stored = store.blobs.put_bytes(b'{"a": 1}')
    artifact = Artifact(digest=stored.digest, format="bytes", bytes=stored.size)
    run = run_of(step_run("load", artifacts={"rows": artifact}, store=store), state="succeeded")
    assert dict(run["load"].outputs) == {"rows": b'{"a": 1}'}
    path = store.blobs.path(stored.digest)
    path.chmod(0o600)
    path.write_bytes(b'{"a": 2}')
    with pytest.raises(StoreError) as caught:
        run["load"].outputs["rows"]
    assert caught.value.code == "JP404"
    store.close()


def test_a_typing_mistake_is_answered() -> None:
    with pytest.raises(KeyError, match="write `train`"):
        RUN["trian"]
    with pytest.raises(KeyError, match="write `rows`"):
        LOAD.outputs["row"]
    with pytest.raises(KeyError, match="without its store"):
        LOAD.outputs["rows"]
    assert list(LOAD.outputs) == ["rows"]
    assert len(LOAD.outputs) == 1
    assert repr(LOAD.outputs) == "<outputs of load: rows>"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("JP300", StepFailed),
        ("JP204", StepFailed),
        ("JP403", StepFailed),
        ("JP301", KernelDied),
        ("JP302", KernelDied),
        ("JP304", StepTimedOut),
        ("JP305", KernelDied),
        ("JP308", ExecutorLost),
    ],
)
def test_a_failed_run_raises_what_its_first_fault_says(code: str, error: type[PipelinesError]) -> None:
    second = step_run("other", "failed", fault=FAULT)
    run = run_of(step_run("train", "failed", fault=replace(FAULT, code=code)), second)
    with pytest.raises(RunError) as caught:
        run.raise_for_state()
    assert type(caught.value) is error
    assert [diagnostic.code for diagnostic in caught.value.faults] == [code, "JP300"]
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults


def test_a_cancelled_run_raises_cancelled() -> None:
    with pytest.raises(RunCancelled, match="not finished: train"):
        run_of(LOAD, step_run("train", "cancelled"), state="cancelled").raise_for_state()


def test_a_run_that_only_lacks_something_says_what() -> None:
    with pytest.raises(RunError, match="`score` is blocked: `train` failed"):
        run_of(SCORE).raise_for_state()


def test_a_lost_run_raises() -> None:
    with pytest.raises(RunError, match="the run is lost"):
        run_of(LOAD, state="lost").raise_for_state()


def test_a_run_that_succeeded_returns_itself() -> None:
    run = run_of(LOAD, state="succeeded")
    assert run.raise_for_state() is run


def test_it_is_told_in_words() -> None:
    lines = str(RUN).splitlines()
    assert lines[0] == f"run {RUN.id}: failed after 12 s, 1 of 3 steps reused, about 4 min 12 s saved"
    assert lines[1] == "  load: reused, from run r0"
    assert lines[2] == "  train: failed, 2.0 s, 2 attempts"
    assert "error[JP300]: KeyError: 'colum'" in lines[3]
    assert lines[-1] == "  score: blocked, `train` failed"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (252, "4 min 12 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
