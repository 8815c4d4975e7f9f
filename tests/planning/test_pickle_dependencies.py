"""Objects that name code bring its modules and packages along, from step to step; plain data does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.plan import Plan
from tests.planning.planning_fakes import PlanSimulation, artifact, decisions, module, pipeline, step


class TypedPlanSimulation(PlanSimulation):
    """Make outputs in the format that `formats` says, with the same bytes whatever is computed."""

    def __init__(self, **formats: str) -> None:
        super().__init__()
        self.formats = formats

    def _compute(self, step, now):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        kinds = {each.name: self.formats.get(step.name, "pickle") for each in step.outputs}
        return {name: artifact(f"{step.name}.{name}", kind) for name, kind in kinds.items()}


def three_steps(source: str = "x = 1") -> Pipeline:
    return pipeline(
        step("train", "", "model", modules=(module("models", source),), packages="sklearn"),
        step("wrap", "model=train.model", "wrapped"),
        step("judge", "wrapped=wrap.wrapped", "score"),
        step("other", "", "y"),
    )


def run_then(simulation: PlanSimulation, pipeline: Pipeline) -> tuple[Plan, dict[str, str]]:
    simulation.run(three_steps())
    return simulation.plan(pipeline), decisions(simulation.run(pipeline))


ALL_RUN = {"train": "run", "wrap": "run", "judge": "run", "other": "reuse"}


@pytest.mark.parametrize("kind", ["pickle", "joblib", "of a plug-in"])
def test_an_edited_class_reruns_each_step_that_gets_an_object_of_it(kind: str) -> None:
    plan, ran = run_then(TypedPlanSimulation(train=kind, wrap=kind), three_steps("x = 2"))
    assert decisions(plan) == {"train": "run", "wrap": "maybe", "judge": "maybe", "other": "reuse"}
    assert ran == ALL_RUN


def test_the_reason_names_the_module() -> None:
    simulation = TypedPlanSimulation()
    simulation.run(three_steps())
    decided = simulation.run(three_steps("x = 2"))
    for name in ("wrap", "judge"):
        assert (decided[name].reason.code, decided[name].reason.text) == ("module", "module `models` changed")
        assert decided[name].reason.details == ("/project/models.py",)
        assert decided[name].parts["package:sklearn"] == "1.9.0"
    assert "module:models" not in decided["other"].parts


@pytest.mark.parametrize("kind", ["json", "text", "bytes", "arrow", "parquet", "npy", "file", "folder"])
def test_plain_data_brings_nothing_along(kind: str) -> None:
    _, ran = run_then(TypedPlanSimulation(train=kind), three_steps("x = 2"))
    assert ran == {"train": "run", "wrap": "reuse", "judge": "reuse", "other": "reuse"}


def test_what_became_plain_data_brings_nothing_further() -> None:
    _, ran = run_then(TypedPlanSimulation(wrap="json"), three_steps("x = 2"))
    assert ran == {"train": "run", "wrap": "run", "judge": "reuse", "other": "reuse"}


def test_a_newer_package_counts_for_objects_of_it() -> None:
    simulation = TypedPlanSimulation()
    simulation.run(three_steps())
    simulation.environment = PythonEnvironment.fixed("3.11", {"sklearn": "2"})
    decided = simulation.run(three_steps())
    assert decisions(decided) == ALL_RUN
    assert decided["judge"].reason.text == "sklearn 1.9.0 -> 2"


def test_where_nothing_that_objects_name_changed_early_cut_off_works() -> None:
    simulation = TypedPlanSimulation()
    simulation.run(three_steps())
    commented = three_steps("x = 1  # a comment")
    assert set(decisions(simulation.plan(commented)).values()) == {"reuse"}
    other = replace(
        commented,
        steps=(replace(commented["train"], cells=step("train", "", "", "other()").cells), *commented.steps[1:]),
    )
    assert decisions(simulation.plan(other)) == {"train": "run", "wrap": "maybe", "judge": "maybe", "other": "reuse"}
    assert decisions(simulation.run(other)) == {"train": "run", "wrap": "reuse", "judge": "reuse", "other": "reuse"}


def test_a_plan_and_a_run_make_the_same_key() -> None:
    simulation = TypedPlanSimulation()
    ran = simulation.run(three_steps())
    assert {planned.name: planned.key for planned in simulation.plan(three_steps())} == {
        name: decided.key for name, decided in ran.items()
    }


def test_part_of_a_pipeline_sees_the_code_of_what_is_left_out() -> None:
    simulation = TypedPlanSimulation()
    simulation.run(three_steps())
    plan = simulation.plan(three_steps("x = 2"), only="judge")
    assert plan["judge"].decision == "run"
    assert plan["judge"].reason.text == "module `models` changed"
    assert plan["judge"].key == simulation.run(three_steps("x = 2"), only="judge")["judge"].key


def test_code_that_comes_along_is_watched_while_the_step_runs(tmp_path: Path) -> None:
    path = tmp_path / "models.py"
    path.write_text("x = 1")
    original = three_steps()
    train = replace(original["train"], modules=(module("models", "x = 1", str(path)),))
    planner = TypedPlanSimulation().planner(replace(original, steps=(train, *original.steps[1:])))
    available: dict[str, dict[str, Artifact]] = {"train": {"model": artifact("m", "pickle")}}
    decided = planner.decide("wrap", available)
    assert planner.drift(decided) == ()
    path.write_text("x = 2")
    assert planner.drift(decided) == ("module `models`",)
