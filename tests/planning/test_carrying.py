"""Objects that name code bring its modules and packages along, from step to step; plain data does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.environment import Environment
from jupyter_pipelines.planning.plan import Plan
from tests.planning.stand_ins import World, artifact, decisions, module, pipeline, step


class Typed(World):
    """A world in which outputs have the format that `formats` says, and the same bytes whatever is computed."""

    def __init__(self, **formats: str) -> None:
        super().__init__()
        self.formats = formats

    def _compute(self, one, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        kinds = {each.name: self.formats.get(one.name, "pickle") for each in one.outputs}
        return {name: artifact(f"{one.name}.{name}", kind) for name, kind in kinds.items()}


def three(source: str = "x = 1") -> Pipeline:
    return pipeline(
        step("train", "", "model", modules=(module("models", source),), packages="sklearn"),
        step("wrap", "model=train.model", "wrapped"),
        step("judge", "wrapped=wrap.wrapped", "score"),
        step("other", "", "y"),
    )


def run_then(world: World, one: Pipeline) -> tuple[Plan, dict[str, str]]:
    world.run(three())
    return world.plan(one), decisions(world.run(one))


ALL_RUN = {"train": "run", "wrap": "run", "judge": "run", "other": "reuse"}


@pytest.mark.parametrize("kind", ["pickle", "joblib", "of a plug-in"])
def test_an_edited_class_reruns_whoever_gets_an_object_of_it(kind: str) -> None:
    plan, ran = run_then(Typed(train=kind, wrap=kind), three("x = 2"))
    assert decisions(plan) == {"train": "run", "wrap": "maybe", "judge": "maybe", "other": "reuse"}
    assert ran == ALL_RUN


def test_the_reason_names_the_module() -> None:
    world = Typed()
    world.run(three())
    found = world.run(three("x = 2"))
    for name in ("wrap", "judge"):
        assert (found[name].reason.code, found[name].reason.text) == ("module", "module `models` changed")
        assert found[name].reason.details == ("/project/models.py",)
        assert found[name].parts["package:sklearn"] == "1.9.0"
    assert "module:models" not in found["other"].parts


@pytest.mark.parametrize("kind", ["json", "text", "bytes", "arrow", "parquet", "npy", "file", "folder"])
def test_plain_data_brings_nothing_along(kind: str) -> None:
    _, ran = run_then(Typed(train=kind), three("x = 2"))
    assert ran == {"train": "run", "wrap": "reuse", "judge": "reuse", "other": "reuse"}


def test_what_became_plain_data_brings_nothing_further() -> None:
    _, ran = run_then(Typed(wrap="json"), three("x = 2"))
    assert ran == {"train": "run", "wrap": "run", "judge": "reuse", "other": "reuse"}


def test_a_newer_package_counts_for_objects_of_it() -> None:
    world = Typed()
    world.run(three())
    world.environment = Environment.fixed("3.11", {"sklearn": "2"})
    found = world.run(three())
    assert decisions(found) == ALL_RUN
    assert found["judge"].reason.text == "sklearn 1.9.0 -> 2"


def test_where_nothing_that_objects_name_changed_early_cut_off_works() -> None:
    world = Typed()
    world.run(three())
    one = three("x = 1  # a comment")
    assert set(decisions(world.plan(one)).values()) == {"reuse"}
    other = replace(one, steps=(replace(one["train"], cells=step("train", "", "", "other()").cells), *one.steps[1:]))
    assert decisions(world.plan(other)) == {"train": "run", "wrap": "maybe", "judge": "maybe", "other": "reuse"}
    assert decisions(world.run(other)) == {"train": "run", "wrap": "reuse", "judge": "reuse", "other": "reuse"}


def test_a_plan_and_a_run_make_the_same_key() -> None:
    world = Typed()
    ran = world.run(three())
    assert {one.name: one.key for one in world.plan(three())} == {name: one.key for name, one in ran.items()}


def test_part_of_a_pipeline_sees_the_code_of_what_is_left_out() -> None:
    world = Typed()
    world.run(three())
    plan = world.plan(three("x = 2"), only="judge")
    assert plan["judge"].decision == "run"
    assert plan["judge"].reason.text == "module `models` changed"
    assert plan["judge"].key == world.run(three("x = 2"), only="judge")["judge"].key


def test_code_that_comes_along_is_watched_while_the_step_runs(tmp_path: Path) -> None:
    path = tmp_path / "models.py"
    path.write_text("x = 1")
    one = three()
    train = replace(one["train"], modules=(module("models", "x = 1", str(path)),))
    planner = Typed().planner(replace(one, steps=(train, *one.steps[1:])))
    there: dict[str, dict[str, Artifact]] = {"train": {"model": artifact("m", "pickle")}}
    decided = planner.decide("wrap", there)
    assert planner.drift(decided) == ()
    path.write_text("x = 2")
    assert planner.drift(decided) == ("module `models`",)
