"""Chains of thousands of steps: no recursion, and no cost that grows faster than their number."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pytest

from jupyter_pipelines.notebook.reader import read
from jupyter_pipelines.notebook.source.document import NotebookDocument
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.keys import pickle_dependencies, step_keys
from jupyter_pipelines.planning.keys.step_keys import PlanStepKeys
from jupyter_pipelines.planning.plan import PlannedStep
from jupyter_pipelines.storage.step_record import StepRecord
from tests.planning.planning_fakes import PYTHON, InMemoryStore, PlanSimulation, artifact, module, pipeline, step

DEEP = 10_000


class CallCounter:
    """Count the calls of a function."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.count = 0
        self._work = getattr(owner, name)
        patch.setattr(owner, name, self)

    def __call__(self, *about: Any, **more: Any) -> Any:
        self.count += 1
        return self._work(*about, **more)


class IndexedStore(InMemoryStore):
    """Find the latest record of a step without searching all records."""

    def latest(self, name: str) -> StepRecord | None:
        self.asked["latest"] += 1
        return self.by_step.get(name)

    def put(self, planned: PlannedStep, outputs: Mapping[str, Artifact]) -> None:
        super().put(planned, outputs)
        self.by_step[planned.name] = self.records[str(planned.key)]

    @cached_property
    def by_step(self) -> dict[str, StepRecord]:
        return {}


def chain(count: int) -> Pipeline:
    first = step("s0", "", "x0", modules=(module("tool", "x = 1"),))
    return pipeline(first, *(step(f"s{n}", f"x{n - 1}=s{n - 1}.x{n - 1}", f"x{n}") for n in range(1, count)))


def filled(pipeline: Pipeline, kind: str = "json") -> tuple[PlanSimulation, dict[str, Mapping[str, Artifact]]]:
    """Return a simulation in which every step has run, and what they made."""
    simulation = PlanSimulation(store=IndexedStore())
    made: dict[str, Mapping[str, Artifact]] = {}
    planner = simulation.planner(pipeline)
    for name in pipeline.order():
        decided = planner.decide(name, made)
        made[name] = {output.name: artifact(name, kind) for output in pipeline[name].outputs}
        simulation.store.put(decided, made[name])
    return simulation, made


def test_a_chain_of_thousands_is_read() -> None:
    texts = ["%%step s0\nx0 = 0", *(f"%%step s{n}\nx{n} = x{n - 1} + 1" for n in range(1, 3_000))]
    reading = read(NotebookDocument.of_texts([(f"c{n}", text) for n, text in enumerate(texts)]))
    assert reading.faults == ()
    assert reading.pipeline is not None
    assert len(reading.pipeline.ancestors("s2999")) == 2_999


@pytest.mark.parametrize("kind", ["json", "pickle"])
def test_a_chain_of_ten_thousand_is_planned_and_decided(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = chain(DEEP)
    joined = CallCounter(monkeypatch, pickle_dependencies, "_with_code_of")
    simulation, made = filled(long, kind)
    parts = CallCounter(monkeypatch, step_keys, "parts")
    simulation.store.asked.clear()
    joined.count = 0
    plan = simulation.plan(long)
    assert {planned.decision for planned in plan} == {"reuse"}
    assert ("module:tool" in plan[f"s{DEEP - 1}"].parts) == (kind == "pickle")
    known: dict[str, Mapping[str, Artifact]] = {}
    for name in long.order():
        assert plan.planner.decide(name, known).decision == "reuse"
        known[name] = made[name]
    assert parts.count == DEEP
    assert joined.count < 5 * DEEP
    assert simulation.store.asked["record"] == simulation.store.asked["intact"] == 2 * DEEP


def test_the_first_of_ten_thousand_was_edited() -> None:
    simulation, _ = filled(chain(DEEP))
    edited = pipeline(step("s0", "", "x0", "edited()"), *chain(DEEP).steps[1:])
    decisions = [planned.decision for planned in simulation.plan(edited)]
    assert decisions == ["run", *["maybe"] * (DEEP - 1)]


def test_what_comes_along_makes_another_key() -> None:
    single_step = pipeline(step("a"))
    known: dict[str, str] = {}
    keys = PlanStepKeys(single_step, {}, PYTHON)
    alone = keys.of(single_step["a"], known)
    more = step("a", modules=(module("tool", "x = 1"),))
    assert keys.of(more, known).key != alone.key
    assert keys.of(single_step["a"], known) == alone


def test_what_came_along_in_another_run_does_not_count() -> None:
    short = chain(3)
    planner = PlanSimulation().planner(short)
    runs = [{f"s{n}": {f"x{n}": artifact("x", kind)} for n in range(2)} for kind in ("json", "pickle", "json")]
    carried = ["module:tool" in planner.decide("s2", upstream).parts for upstream in runs]
    assert carried == [False, True, False]
