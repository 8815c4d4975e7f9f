"""Thousands of steps, one after the other: no recursion, and nothing that grows faster than they do."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pytest

from jupyter_pipelines.notebook.document import Document
from jupyter_pipelines.notebook.reading import read
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning import carrying, keying
from jupyter_pipelines.planning.keying import Keying
from jupyter_pipelines.planning.plan import PlannedStep
from jupyter_pipelines.storing.records import StepRecord
from tests.planning.stand_ins import PYTHON, Store, World, artifact, module, pipeline, step

DEEP = 10_000


class Calls:
    """Counts the calls of a function."""

    def __init__(self, patch: pytest.MonkeyPatch, room: Any, name: str) -> None:
        self.count = 0
        self._work = getattr(room, name)
        patch.setattr(room, name, self)

    def __call__(self, *about: Any, **more: Any) -> Any:
        self.count += 1
        return self._work(*about, **more)


class Sorted(Store):
    """A store that finds the record of a step without looking at all the others."""

    def latest(self, name: str) -> StepRecord | None:
        self.asked["latest"] += 1
        return self.newest.get(name)

    def put(self, planned: PlannedStep, outputs: Mapping[str, Artifact]) -> None:
        super().put(planned, outputs)
        self.newest[planned.name] = self.records[str(planned.key)]

    @cached_property
    def newest(self) -> dict[str, StepRecord]:
        return {}


def chain(count: int) -> Pipeline:
    first = step("s0", "", "x0", modules=(module("tool", "x = 1"),))
    return pipeline(first, *(step(f"s{n}", f"x{n - 1}=s{n - 1}.x{n - 1}", f"x{n}") for n in range(1, count)))


def filled(one: Pipeline, kind: str = "json") -> tuple[World, dict[str, Mapping[str, Artifact]]]:
    """Return a world in which every step has run, and what they made."""
    world = World(store=Sorted())
    made: dict[str, Mapping[str, Artifact]] = {}
    planner = world.planner(one)
    for name in one.order():
        decided = planner.decide(name, made)
        made[name] = {output.name: artifact(name, kind) for output in one[name].outputs}
        world.store.put(decided, made[name])
    return world, made


def test_a_chain_of_thousands_is_read() -> None:
    texts = ["%%step s0\nx0 = 0", *(f"%%step s{n}\nx{n} = x{n - 1} + 1" for n in range(1, 3_000))]
    found = read(Document.of_texts([(f"c{n}", text) for n, text in enumerate(texts)]))
    assert found.faults == ()
    assert found.pipeline is not None
    assert len(found.pipeline.ancestors("s2999")) == 2_999


@pytest.mark.parametrize("kind", ["json", "pickle"])
def test_a_chain_of_ten_thousand_is_planned_and_decided(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one = chain(DEEP)
    joined = Calls(monkeypatch, carrying, "_joined")
    world, made = filled(one, kind)
    parts = Calls(monkeypatch, keying, "parts")
    world.store.asked.clear()
    joined.count = 0
    plan = world.plan(one)
    assert {planned.decision for planned in plan} == {"reuse"}
    assert ("module:tool" in plan[f"s{DEEP - 1}"].parts) == (kind == "pickle")
    known: dict[str, Mapping[str, Artifact]] = {}
    for name in one.order():
        assert plan.planner.decide(name, known).decision == "reuse"
        known[name] = made[name]
    assert parts.count == DEEP
    assert joined.count < 5 * DEEP
    assert world.store.asked["record"] == world.store.asked["intact"] == 2 * DEEP


def test_the_first_of_ten_thousand_was_edited() -> None:
    world, _ = filled(chain(DEEP))
    edited = pipeline(step("s0", "", "x0", "edited()"), *chain(DEEP).steps[1:])
    decisions = [planned.decision for planned in world.plan(edited)]
    assert decisions == ["run", *["maybe"] * (DEEP - 1)]


def test_what_comes_along_makes_another_key() -> None:
    one = pipeline(step("a"))
    known: dict[str, str] = {}
    keys = Keying(one, {}, PYTHON)
    alone = keys.of(one["a"], known)
    more = step("a", modules=(module("tool", "x = 1"),))
    assert keys.of(more, known).key != alone.key
    assert keys.of(one["a"], known) == alone


def test_what_came_along_in_another_run_does_not_count() -> None:
    one = chain(3)
    planner = World().planner(one)
    runs = [{f"s{n}": {f"x{n}": artifact("x", kind)} for n in range(2)} for kind in ("json", "pickle", "json")]
    found = ["module:tool" in planner.decide("s2", upstream).parts for upstream in runs]
    assert found == [False, True, False]
