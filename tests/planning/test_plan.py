"""A decision and its reason for every step: what runs, what is reused, what may run, what cannot, what is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.deciding import Reason
from jupyter_pipelines.planning.environment import Environment
from jupyter_pipelines.planning.plan import Plan
from tests.planning.stand_ins import (
    DEPTH,
    TREES,
    World,
    artifact,
    decisions,
    edited,
    module,
    pipeline,
    shared,
    step,
    with_code,
)

CHURN = pipeline(
    step("load", "raw=data/raw.csv", "rows"),
    step("clean", "rows=load.rows", "rows", shared=(shared("tidy", "def tidy(): pass", 2),)),
    step("train", "rows=clean.rows", "model", parameters="trees depth", packages="sklearn"),
    step("score", "model=train.model rows=clean.rows", "scores", parameters="depth"),
    step("plot", "rows=load.rows", "picture:file"),
    parameters=(TREES, DEPTH),
)
NAMES = ["load", "clean", "train", "score", "plot"]
ALL_REUSED = dict.fromkeys(NAMES, "reuse")


@pytest.fixture
def world() -> World:
    """A world in which the pipeline has run."""
    found = World()
    found.store.files["/project/data/raw.csv"] = "1 2 3"
    found.run(CHURN)
    return found


def reasons(plan: Plan) -> dict[str, str]:
    return {one.name: one.reason.text for one in plan}


# Never run, unchanged -------------------------------------------------------------------------------------------------


def test_in_a_fresh_store_everything_runs_because_it_never_did() -> None:
    fresh = World()
    fresh.store.files["/project/data/raw.csv"] = "1 2 3"
    plan = fresh.plan(CHURN)
    assert decisions(plan) == dict.fromkeys(NAMES, "run")
    assert {one.reason.code for one in plan} == {"never-run"}
    assert plan["load"].key
    assert plan["clean"].key is None
    assert fresh.store.asked["intact"] == 0


def test_what_has_not_changed_is_reused_with_its_outputs_and_their_origin(world: World) -> None:
    plan = world.plan(CHURN)
    assert decisions(plan) == ALL_REUSED
    train = plan["train"]
    assert train.reason.code == "unchanged"
    assert train.reason.details == ("computed in run run4 at 2026-01-01T00:00:000004Z, in 1.5 s",)
    assert train.origin is not None
    assert train.outputs == train.origin.outputs
    assert list(train.outputs) == ["model"]
    assert train.key == train.origin.key


def test_a_run_decides_like_the_plan(world: World) -> None:
    assert decisions(world.run(CHURN)) == ALL_REUSED


def test_a_renamed_step_and_a_renamed_notebook_keep_what_is_stored(world: World) -> None:
    other = replace(
        CHURN,
        notebook=Path("/project/other.ipynb"),
        steps=(
            replace(CHURN["load"], name="fetch"),
            step("clean", "rows=fetch.rows", "rows", shared=CHURN["clean"].shared),
        ),
    )
    plan = world.plan(other)
    assert decisions(plan) == {"fetch": "reuse", "clean": "reuse"}
    assert "as `load`" in plan["fetch"].reason.details[0]


# Changes: code and text of the reason; what follows may run -----------------------------------------------------------


def raw_byte(world: World) -> Pipeline:
    world.store.files["/project/data/raw.csv"] = "1 2 4"
    return CHURN


def newer(world: World) -> Pipeline:
    world.environment = Environment.fixed("3.11", {"sklearn": "1.9.1", "pandas": "9"})
    return CHURN


def other_python(world: World) -> Pipeline:
    world.environment = Environment.fixed("3.12", {"sklearn": "1.9.0"})
    return CHURN


CHANGES = {
    "code": (lambda _: with_code(CHURN, "clean", "other()"), {"clean": ("code", "cell 1 changed")}),
    "shared code": (
        lambda _: edited(CHURN, "clean", shared=(shared("tidy", "def tidy(): return 1", 2),)),
        {"clean": ("shared-code", "shared code `tidy` (cell 2) changed")},
    ),
    "module": (
        lambda _: edited(CHURN, "plot", modules=(module("drawing", "x = 1"),)),
        {"plot": ("module", "module `drawing` is new to it")},
    ),
    "file": (raw_byte, {"load": ("input", "input file `raw` (data/raw.csv) changed")}),
    "package": (newer, {"train": ("package", "sklearn 1.9.0 -> 1.9.1")}),
    "python": (other_python, dict.fromkeys(NAMES, ("python", "Python 3.11 -> 3.12"))),
    "output": (
        lambda _: edited(CHURN, "plot", outputs=step("x", "", "picture:file sizes").outputs),
        {"plot": ("code", "its outputs are now `picture:file sizes`")},
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_found_and_what_follows_may_run(world: World, change, expected) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    changed = change(world)
    plan = world.plan(changed)
    after = changed.descendants(*expected) - set(expected)
    assert decisions(plan) == {
        name: "run" if name in expected else "maybe" if name in after else "reuse" for name in NAMES
    }
    assert {name: (plan[name].reason.code, plan[name].reason.text) for name in expected} == expected
    first, (_, text) = next(iter(expected.items()))
    for name in after:
        assert plan[name].reason.code == "upstream"
        assert plan[name].reason.text == f"follows `{first}`: {text}"
        assert plan[name].key is None
    for one in plan:
        assert (one.previous is None) == (one.decision == "reuse")
    ran = world.run(changed)
    assert {name for name, one in ran.items() if one.decision == "run"} == set(expected) | set(after)
    assert decisions(world.plan(changed)) == ALL_REUSED


def test_only_the_steps_that_use_a_parameter_run(world: World) -> None:
    plan = world.plan(CHURN, trees=200)
    assert decisions(plan) == ALL_REUSED | {"train": "run", "score": "maybe"}
    assert plan["train"].reason == Reason(code="parameter", text="trees: 100 -> 200")
    both = world.plan(CHURN, depth=4)
    assert reasons(both)["train"] == reasons(both)["score"] == "depth: 3 -> 4"
    assert decisions(both) == ALL_REUSED | {"train": "run", "score": "run"}


def test_going_back_to_an_earlier_value_reuses_the_earlier_result(world: World) -> None:
    world.run(CHURN, trees=200)
    assert decisions(world.plan(CHURN, trees=100)) == ALL_REUSED
    assert decisions(world.plan(CHURN, trees=200)) == ALL_REUSED
    assert world.plan(CHURN, trees=300)["train"].reason.text == "trees: 200 -> 300"


def test_an_input_that_came_out_differently_is_the_reason_once_it_is_known(world: World) -> None:
    ran = world.run(with_code(CHURN, "clean", "other()"))
    reason = ran["train"].reason
    assert (reason.code, reason.text) == ("input", "input `rows` changed")
    assert reason.details[0].endswith("(made by `clean`)")


def test_of_two_first_causes_the_second_is_told_too(world: World) -> None:
    changed = with_code(with_code(CHURN, "train", "other()"), "clean", "other()")
    score = world.plan(changed)["score"]
    assert score.reason == Reason(
        code="upstream", text="follows `train`: cell 1 changed", details=("and `clean`: cell 1 changed",)
    )


def test_a_step_that_changed_itself_runs_whatever_is_before_it(world: World) -> None:
    changed = with_code(with_code(CHURN, "load", "other()"), "score", "other()")
    assert decisions(world.plan(changed)) == {
        "load": "run", "clean": "maybe", "train": "maybe", "score": "run", "plot": "maybe",
    }  # fmt: skip


def test_an_input_taken_out_is_a_change_even_while_others_are_open(world: World) -> None:
    changed = edited(with_code(CHURN, "train", "other()"), "score", inputs=step("x", "model=train.model").inputs)
    assert world.plan(changed)["score"].reason == Reason(code="input", text="input `rows` is no longer used")


def test_a_new_input_is_a_change_even_while_it_is_open(world: World) -> None:
    other = step("load", "raw=data/raw.csv", "rows extra")
    taken = step("plot", "rows=load.rows extra=load.extra", "picture:file")
    one = replace(CHURN, steps=tuple({"load": other, "plot": taken}.get(each.name, each) for each in CHURN))
    assert decisions(world.plan(one))["plot"] == "maybe"
    assert decisions(world.run(one))["plot"] == "run"


# Early cut-off --------------------------------------------------------------------------------------------------------


def test_a_step_that_comes_to_the_same_leaves_what_follows_reused(world: World) -> None:
    world.results["clean.rows"] = "as ever"
    world.run(with_code(CHURN, "clean", "one()"))
    changed = with_code(CHURN, "clean", "two()")
    assert decisions(world.plan(changed)) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert decisions(world.run(changed)) == ALL_REUSED | {"clean": "run"}


def test_what_a_step_costs_to_know_is_its_direct_inputs_only(world: World) -> None:
    world.results["train.model"] = "as ever"
    world.run(with_code(CHURN, "train", "one()"))
    changed = with_code(with_code(CHURN, "train", "two()"), "score", *["score_code()"])
    assert decisions(world.run(changed))["score"] == "reuse"


# Forced, never cached, unknown ----------------------------------------------------------------------------------------


def test_a_forced_step_runs_alone_and_its_result_is_reusable(world: World) -> None:
    plan = world.plan(CHURN, forced="clean")
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert plan["clean"].reason.code == "forced"
    assert plan["train"].reason.text == "follows `clean`: forced"
    ran = world.run(CHURN, forced="clean")
    assert decisions(ran) == ALL_REUSED | {"clean": "run"}
    assert decisions(world.plan(CHURN)) == ALL_REUSED
    origin = world.plan(CHURN)["clean"].origin
    assert origin is not None
    assert origin.run == "run6"


def test_a_step_without_cache_always_runs_and_what_follows_may(world: World) -> None:
    one = edited(CHURN, "clean", cache=False)
    world.results["clean.rows"] = "as ever"
    world.run(one)
    plan = world.plan(one)
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert plan["clean"].reason == Reason(code="no-cache", text="declared with `--no-cache`")
    assert plan["clean"].key
    assert decisions(world.run(one)) == ALL_REUSED | {"clean": "run"}


def test_a_step_that_cannot_be_known_is_never_reused_and_says_why(world: World) -> None:
    one = edited(CHURN, "clean", unknown=("cell 4, line 2: exec runs code that cannot be read.", "and more"))
    world.run(one)
    clean = world.plan(one)["clean"]
    assert clean.decision == "run"
    assert clean.reason == Reason(
        code="no-cache", text="cell 4, line 2: exec runs code that cannot be read", details=("and more",)
    )


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "code", "words"), [
    ("missing", "output-missing", "its output `rows` is no longer in the store"),
    ("corrupt", "output-corrupt", "its stored output `rows` is damaged"),
])  # fmt: skip
def test_a_result_that_is_not_whole_is_computed_again(world: World, state: str, code: str, words: str) -> None:
    world.store.damage[world.plan(CHURN)["clean"].outputs["rows"].digest] = state
    plan = world.plan(CHURN)
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert (plan["clean"].reason.code, plan["clean"].reason.text) == (code, words)
    assert plan["clean"].key
    assert plan["clean"].previous is not None


def test_a_result_of_somebody_unknown_is_computed_again_and_says_so(world: World) -> None:
    """S07: nothing is reused that nobody trusted has signed."""
    key = world.plan(CHURN)["clean"].key
    assert key is not None
    del world.store.records[key]
    world.store.refusals[key] = "it is not signed"
    plan = world.plan(CHURN)
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    reason = plan["clean"].reason
    assert (reason.code, reason.text) == ("untrusted", "its stored result is not signed by a key you trust")
    assert reason.details == ("it is not signed",)


def test_damage_is_the_reason_before_what_is_just_missing_and_both_are_told() -> None:
    world = World()
    one = pipeline(step("make", "", "a b"))
    world.run(one)
    outputs = world.plan(one)["make"].outputs
    world.store.damage = {outputs["a"].digest: "missing", outputs["b"].digest: "corrupt"}
    reason = world.plan(one)["make"].reason
    assert reason.code == "output-corrupt"
    assert reason.details == ("its output `a` is no longer in the store",)


def test_a_record_that_lacks_a_declared_output_does_not_count(world: World) -> None:
    (key,) = [key for key, record in world.store.records.items() if record.step == "train"]
    world.store.records[key] = replace(world.store.records[key], outputs={})
    assert world.plan(CHURN)["train"].reason.code == "output-missing"


def test_records_of_another_way_to_make_keys_are_as_good_as_none(world: World) -> None:
    world.store.records = {f"{key}x": record for key, record in world.store.records.items()}
    plan = world.plan(CHURN)
    assert plan["load"].reason == Reason(code="never-run", text="never run by this version of jupyter-pipelines")


# Files, order, optional, always ---------------------------------------------------------------------------------------


def test_a_missing_file_blocks_the_step_and_what_follows(world: World) -> None:
    del world.store.files["/project/data/raw.csv"]
    plan = world.plan(CHURN)
    assert decisions(plan) == dict.fromkeys(NAMES, "blocked")
    assert plan["load"].reason == Reason(code="input", text="the input file `data/raw.csv` is missing")
    assert plan["clean"].reason == Reason(code="upstream", text="`load`, which it waits for, is blocked")
    (fault,) = plan.faults
    assert (fault.code, fault.step) == ("JP210", "load")
    with pytest.raises(PlanError, match=r"data/raw\.csv"):
        plan.require()


def test_a_file_that_cannot_be_read_says_why(world: World) -> None:
    world.store.files["/project/data/raw.csv"] = PermissionError(13, "Permission denied")
    assert world.plan(CHURN)["load"].reason.text == "the input file `data/raw.csv` cannot be read: Permission denied"


def test_an_optional_file_may_come_and_go() -> None:
    world = World()
    one = pipeline(step("load", "raw=data/raw.csv", "rows", optional="raw"))
    world.run(one)
    assert decisions(world.plan(one)) == {"load": "reuse"}
    assert world.plan(one)["load"].parts["file:raw"] == "missing"
    world.store.files["/project/data/raw.csv"] = "1"
    assert world.plan(one)["load"].reason.text == "input file `raw` (data/raw.csv) is there now"


def test_a_file_is_looked_at_once_for_a_plan_and_again_for_each_decision() -> None:
    world = World()
    world.store.files["/project/data/raw.csv"] = "1"
    one = pipeline(*(step(f"s{number}", "raw=data/raw.csv", "x", f"{number}") for number in range(5)))
    plan = world.plan(one)
    assert world.store.asked["digest"] == 1
    world.store.files["/project/data/raw.csv"] = "2"
    assert plan.planner.decide("s0", {}).key != plan["s0"].key


ORDERED = pipeline(
    step("fetch", "", ""),
    step("load", "raw=data/raw.csv", "rows", after="fetch"),
    step("other", "", "x", after="fetch"),
)


def test_mere_order_makes_nobody_run_unless_a_file_may_be_written() -> None:
    world = World()
    world.store.files["/project/data/raw.csv"] = "1"
    world.run(ORDERED)
    changed = with_code(ORDERED, "fetch", "other()")
    plan = world.plan(changed)
    assert decisions(plan) == {"fetch": "run", "load": "maybe", "other": "reuse"}
    assert plan["load"].reason.text == "follows `fetch`: cell 1 changed"
    assert decisions(world.run(changed)) == {"fetch": "run", "load": "reuse", "other": "reuse"}


def test_a_file_that_is_not_there_yet_may_be_written_before() -> None:
    world = World()
    plan = world.plan(ORDERED)
    assert decisions(plan) == {"fetch": "run", "load": "run", "other": "run"}
    assert plan.planner.decide("load", {"fetch": {}}).decision == "blocked"
    world.store.files["/project/data/raw.csv"] = "1"
    assert plan.planner.decide("load", {"fetch": {}}).decision == "run"


def test_a_step_after_a_blocked_one_is_blocked_unless_it_always_runs() -> None:
    one = pipeline(
        step("load", "raw=data/raw.csv", "rows"),
        step("next", after="load"),
        step("tidy", after="load", always=True),
        step("mail", "rows=load.rows", always=True),
        step("look", "rows=load.rows", optional="rows"),
    )
    plan = World().plan(one)
    assert decisions(plan) == {"load": "blocked", "next": "blocked", "tidy": "run", "mail": "run", "look": "run"}
    assert plan["mail"].parts["input:rows"] == plan["look"].parts["input:rows"] == "missing"


@pytest.mark.parametrize("how", [{"optional": "rows"}, {"always": True}], ids=["optional", "always"])
def test_in_a_run_what_failed_is_missing_for_whoever_can_do_without(how: dict[str, object]) -> None:
    world = World()
    one = pipeline(step("load", "", "rows"), step("look", "rows=load.rows", "x", **how))
    planner = world.planner(one)
    without = planner.decide("look", {})
    having = planner.decide("look", {"load": {"rows": artifact("1")}})
    assert (without.decision, without.parts["input:rows"]) == ("run", "missing")
    assert without.key
    assert without.key != having.key


def test_in_a_run_what_is_missing_blocks_everybody_else() -> None:
    one = pipeline(step("load", "", "rows"), step("look", "rows=load.rows", "x"))
    decided = World().planner(one).decide("look", {"load": {}})
    assert decided.decision == "blocked"
    assert decided.reason == Reason(code="output-missing", text="`load.rows` is not in the store")
    assert decided.key is None


# Selections -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "chosen"), [
    ({"to": "train"}, {"load", "clean", "train"}),
    ({"to": "train plot"}, {"load", "clean", "train", "plot"}),
    ({"start": "clean"}, {"clean", "train", "score"}),
    ({"start": "clean", "to": "train"}, {"clean", "train"}),
    ({"only": "train"}, {"train"}),
    ({"only": "train plot"}, {"train", "plot"}),
    ({}, set(NAMES)),
])  # fmt: skip
def test_part_of_the_pipeline(world: World, how: dict[str, str], chosen: set[str]) -> None:
    plan = world.plan(CHURN, **how)
    assert {one.name for one in plan if one.decision != "skip"} == chosen
    assert {one.decision for one in plan if one.name in chosen} == {"reuse"}
    assert all(one.outputs for one in plan)


def test_what_is_left_out_says_so_and_what_it_would_do(world: World) -> None:
    plan = world.plan(with_code(CHURN, "load", "other()"), only="train")
    load, clean, plot = plan["load"], plan["clean"], plan["plot"]
    assert load.reason == Reason(
        code="code", text="left out by `--only train`", details=("it would run: cell 1 changed",)
    )
    assert clean.reason.code == plot.reason.code == "upstream"
    assert clean.reason.details == ("it might run: follows `load`: cell 1 changed",)
    unchanged = world.plan(CHURN, only="train")["load"].reason
    assert unchanged.code == "unchanged"
    assert unchanged.details[0] == "its stored result is up to date"


def test_what_is_left_out_is_taken_as_it_is_stored_and_that_is_told(world: World) -> None:
    changed = with_code(with_code(CHURN, "load", "other()"), "train", "other()")
    plan = world.plan(changed, only="train")
    assert plan["train"].decision == "run"
    assert plan["train"].reason.text == "cell 1 changed"
    assert plan["train"].reason.details == (
        "`clean.rows` is taken as it is stored, and may be out of date: `load`: cell 1 changed",
    )
    assert world.run(changed, only="train")["train"].decision == "run"
    assert plan["clean"].outputs == world.plan(CHURN)["clean"].outputs


def test_a_reused_step_tells_that_what_it_takes_may_be_out_of_date(world: World) -> None:
    changed = with_code(CHURN, "load", "other()")
    words = "`clean.rows` is taken as it is stored, and may be out of date: `load`: cell 1 changed"
    for how in ({"only": "train"}, {"start": "train"}):
        plan = world.plan(changed, **how)
        assert plan["train"].decision == "reuse"
        assert plan["train"].reason.details[1:] == (words,)
        assert words in str(plan)
        assert "may be out of date" in plan._repr_html_()
        assert words in world.run(changed, **how)["train"].reason.details
    assert "computed in run" not in str(plan)


def test_a_selection_of_nothing_is_refused(world: World) -> None:
    with pytest.raises(PlanError) as error:
        world.plan(CHURN, to="load", start="train")
    (fault,) = error.value.faults
    assert fault.code == "JP604"
    assert fault.message == "nothing is selected: no step lies between, as `--to load --from train` asks"
    assert "exchange them" in (fault.suggestion or "")
    assert decisions(world.plan(CHURN, to="train", start="load"))["clean"] == "reuse"


def test_what_is_not_stored_cannot_be_left_out() -> None:
    world = World()
    world.store.files["/project/data/raw.csv"] = "1 2 3"
    plan = world.plan(CHURN, only="train")
    assert plan["train"].decision == "blocked"
    assert plan["train"].reason == Reason(
        code="output-missing", text="`clean.rows` is not in the store, and `clean` is left out by `--only train`"
    )
    (fault,) = plan.faults
    assert fault.code == "JP405"
    assert fault.suggestion == "run it without `--only train`: what comes before is run or reused then"
    with pytest.raises(PlanError):
        plan.require()
    assert world.plan(CHURN).require().faults == ()


@pytest.mark.parametrize(("state", "code"), [("missing", "JP405"), ("corrupt", "JP404")])
def test_what_is_left_out_has_to_be_whole(world: World, state: str, code: str) -> None:
    world.store.damage[world.plan(CHURN)["clean"].outputs["rows"].digest] = state
    plan = world.plan(CHURN, only="train")
    assert plan["train"].decision == "blocked"
    assert [fault.code for fault in plan.faults] == [code]
    assert plan["score"].decision == "skip"


def test_what_could_not_run_itself_may_be_left_out_when_it_is_stored(world: World) -> None:
    del world.store.files["/project/data/raw.csv"]
    plan = world.plan(CHURN, only="train")
    assert plan["load"].reason.details == ("it would be blocked: the input file `data/raw.csv` is missing",)
    assert plan["load"].origin is not None
    assert decisions(plan)["train"] == "reuse"


def test_a_step_that_was_never_run_may_be_left_out_when_nobody_needs_it(world: World) -> None:
    one = replace(CHURN, steps=(*CHURN.steps, step("new", "scores=score.scores", "y")))
    plan = world.plan(one, to="score")
    assert plan["new"].decision == "skip"
    assert plan["new"].outputs == {}
    assert plan["new"].origin is None


def test_what_is_left_out_is_not_forced(world: World) -> None:
    plan = world.plan(CHURN, only="train", forced="clean train")
    assert plan["clean"].reason.code == "unchanged"
    assert plan["train"].reason.code == "forced"
    assert plan["train"].reason.details == ()


@pytest.mark.parametrize(("how", "words"), [
    ({"to": "tain"}, "write `--to train`"),
    ({"start": "zzz"}, "use one of: load, clean"),
    ({"only": "lod"}, "write `--only load`"),
    ({"forced": "plott"}, "write `--force plot`"),
])  # fmt: skip
def test_a_step_that_does_not_exist_is_named_with_the_nearest(world: World, how: dict[str, str], words: str) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        world.plan(CHURN, **how)
    assert caught.value.code == "JP603"


def test_all_mistakes_in_a_selection_are_told_at_once(world: World) -> None:
    with pytest.raises(PlanError) as caught:
        world.plan(CHURN, to="tain", start="zzz", only="load")
    assert [fault.code for fault in caught.value.faults] == ["JP603", "JP603", "JP604"]


# The plan as a value --------------------------------------------------------------------------------------------------


def test_a_plan_prints_as_a_table(world: World) -> None:
    changed = with_code(with_code(CHURN, "clean", "other()"), "train", "other()")
    assert str(world.plan(changed, depth=4)).splitlines() == [
        "book: 3 run, 2 are reused",
        "",
        "  load   reuse  nothing it depends on has changed",
        "  clean  run    cell 1 changed",
        "  plot   reuse  nothing it depends on has changed",
        "  train  run    cell 1 changed",
        "                  depth: 3 -> 4",
        "  score  run    depth: 3 -> 4",
    ]


def test_the_headline_counts(world: World) -> None:
    assert str(world.plan(with_code(CHURN, "train", "other()"))).startswith("book: 1 runs, 1 may run, 3 are reused\n")
    assert str(world.plan(pipeline())) == "book: no steps"


def test_html_holds_nothing_active() -> None:
    evil = "</td><script>alert('&')</script>"
    one = pipeline(step("load", "", "x", unknown=(evil, evil)), notebook=Path("/project/<img src=x>.ipynb"))
    html = World().plan(one)._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;/td&gt;&lt;script&gt;alert(&#x27;&amp;&#x27;)" in html
    assert html.count("<td") == html.count("</td>") == 3


def test_the_document(world: World) -> None:
    document = json.loads(json.dumps(world.plan(CHURN, to="train", trees=200, forced="load").to_dict()))
    assert document["schema"] == "jupyter-pipelines/plan/1"
    assert document["parameters"] == {"trees": 200, "depth": 3}
    assert document["selection"] == {"to": ["train"], "from": [], "only": []}
    assert document["forced"] == ["load"]
    assert document["faults"] == []
    steps = {one["name"]: one for one in document["steps"]}
    assert steps["load"]["reason"] == {"code": "forced", "text": "forced", "details": []}
    assert steps["load"]["origin"] is None
    assert steps["load"]["previous"] == {"run": "run1", "created": "2026-01-01T00:00:000001Z", "seconds": 1.5}
    assert steps["plot"]["decision"] == "skip"
    assert steps["plot"]["outputs"]["picture"]["digest"].startswith("sha256:")
    assert set(steps["train"]) == {"name", "decision", "reason", "key", "outputs", "origin", "previous"}


def test_steps_are_found_by_name(world: World) -> None:
    plan = world.plan(CHURN)
    assert len(plan) == 5
    assert plan["train"].name == "train"
    with pytest.raises(KeyError, match="write `train`"):
        plan["tran"]


def test_plans_compare(world: World) -> None:
    first, second = world.plan(CHURN), world.plan(CHURN, trees=200)
    assert first == world.plan(CHURN)
    assert first != second
    assert second.compare(first) == (
        "train: reuse -> run, trees: 100 -> 200",
        "score: reuse -> maybe, follows `train`: trees: 100 -> 200",
    )
    assert first.compare(first) == ()
    third = world.plan(CHURN, trees=300)
    assert third.compare(second)[0] == "train: run, trees: 100 -> 200 -> trees: 100 -> 300"
    less = world.plan(replace(CHURN, steps=CHURN.steps[:4]))
    assert less.compare(first) == ("plot: only in the earlier plan",)


# Environments, drift, size --------------------------------------------------------------------------------------------


def test_every_kernel_is_asked_once_for_all_its_packages() -> None:
    asked: list[tuple[str | None, tuple[str, ...]]] = []

    def find(kernel: str | None) -> Environment:
        environment = Environment.fixed("3.11", {})
        prepare = environment.prepare
        environment.prepare = lambda names: (asked.append((kernel, tuple(names))), prepare(()))[1]  # type: ignore[method-assign,assignment]
        return environment

    one = pipeline(step("a", packages="x y"), step("b", packages="z", kernel="other"), step("c", packages="y"))
    world = World(environment=find)  # type: ignore[arg-type]
    plan = world.plan(one)
    plan.planner.decide("a", {})
    assert sorted(asked, key=str) == [("other", ("z",)), (None, ("x", "y", "y"))]
    assert plan["b"].parts["kernel"] == "other"


def test_drift_names_what_changed_while_a_step_ran(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "helpers.py"
    path.write_text("x = 1\n")
    raw = (tmp_path / "data/raw.csv").as_posix()
    world.store.files[raw] = "1"
    one = pipeline(
        step(
            "load",
            f"raw={raw} more=data/none.csv",
            "x",
            modules=(module("helpers", "x = 1\n", str(path)),),
            optional="more",
        )
    )
    planner = world.planner(one)
    decided = planner.decide("load", {})
    path.write_text("x = 1  # only a comment\n")
    assert planner.drift(decided) == ()
    path.write_text("x = 2\n")
    world.store.files[raw] = "2"
    assert planner.drift(decided) == ("module `helpers`", "input file `raw`")
    path.unlink()
    assert planner.drift(decided)[0] == "module `helpers`"


def chain(length: int) -> Pipeline:
    return pipeline(step("s0", "", "x"), *(step(f"s{n}", f"x=s{n - 1}.x", "x") for n in range(1, length)))


def test_the_length_of_a_chain_is_no_limit() -> None:
    world = World()
    length = 3_000
    long = chain(length)
    world.run(long)
    assert set(decisions(world.plan(long)).values()) == {"reuse"}
    plan = world.plan(with_code(long, "s0", "other()"))
    assert plan[f"s{length - 1}"].reason.text == "follows `s0`: cell 1 changed"
    assert len(plan[f"s{length - 1}"].reason.details) == 0


def test_a_plan_asks_for_each_record_once_and_reads_no_code_twice(world: World) -> None:
    world.store.asked.clear()
    world.plan(CHURN)
    assert world.store.asked == {"record": 5, "intact": 5, "digest": 1}


def test_a_plan_of_a_thousand_steps_asks_as_often_as_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    count, width = 1_000, 20
    names = [f"l{n}" for n in range(width)]
    helper = shared("helper", "def helper(x, y=1):\n    return x", 2)
    first = [step(name, "raw=data/raw.csv", "x", shared=(helper,)) for name in names]
    rest = [
        step(f"s{n}", " ".join(f"i{one}={name}.x" for one, name in enumerate(names)), "x", shared=(helper,))
        for n in range(width, count)
    ]
    wide = pipeline(*first, *rest)
    world = World()
    world.store.files["/project/data/raw.csv"] = "1"
    world.run(wide)
    parsed: list[str] = []
    monkeypatch.setattr("jupyter_pipelines.planning.canonical.ast.parse", parsed.append)
    world.store.asked.clear()
    assert set(decisions(world.plan(wide)).values()) == {"reuse"}
    assert world.store.asked == {"record": count, "intact": count, "digest": 1}
    assert parsed == []


def test_a_chain_of_objects_costs_no_more_than_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    world, count = World(), 300
    monkeypatch.setattr("tests.planning.stand_ins.artifact", lambda text: artifact(text, "pickle"))
    long = edited(chain(count), "s0", modules=(module("models", "x = 1"),))
    world.run(long)
    seen: list[str] = []
    monkeypatch.setattr(Pipeline, "__getitem__", _noting(Pipeline.__getitem__, seen))
    plan = world.plan(long)
    assert set(decisions(plan).values()) == {"reuse"}
    assert "module:models" in plan[f"s{count - 1}"].parts
    assert len(seen) <= 10 * count


def _noting(method: Any, seen: list[str]) -> Any:
    def noting(one: Pipeline, name: str) -> Step:
        seen.append(name)
        return method(one, name)

    return noting


def test_a_step_may_be_anything_that_the_nouns_allow() -> None:
    empty = pipeline(Step(name="nothing", cells=()))
    assert decisions(World().run(empty)) == {"nothing": "run"}
