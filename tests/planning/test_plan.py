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
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.plan import Plan
from jupyter_pipelines.planning.reasons import DecisionReason
from tests.planning.planning_fakes import (
    DEPTH,
    TREES,
    PlanSimulation,
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
def simulation() -> PlanSimulation:
    """Return a simulation in which the pipeline has run."""
    simulation = PlanSimulation()
    simulation.store.files["/project/data/raw.csv"] = "1 2 3"
    simulation.run(CHURN)
    return simulation


def reasons(plan: Plan) -> dict[str, str]:
    return {planned.name: planned.reason.text for planned in plan}


# Never run, unchanged -------------------------------------------------------------------------------------------------


def test_in_a_fresh_store_everything_runs_because_it_never_did() -> None:
    fresh = PlanSimulation()
    fresh.store.files["/project/data/raw.csv"] = "1 2 3"
    plan = fresh.plan(CHURN)
    assert decisions(plan) == dict.fromkeys(NAMES, "run")
    assert {planned.reason.code for planned in plan} == {"never-run"}
    assert plan["load"].key
    assert plan["clean"].key is None
    assert fresh.store.asked["intact"] == 0


def test_what_has_not_changed_is_reused_with_its_outputs_and_their_origin(simulation: PlanSimulation) -> None:
    plan = simulation.plan(CHURN)
    assert decisions(plan) == ALL_REUSED
    train = plan["train"]
    assert train.reason.code == "unchanged"
    assert train.reason.details == ("computed in run run3 at 2026-01-01T00:00:000003Z, in 1.5 s",)
    assert train.origin is not None
    assert train.outputs == train.origin.outputs
    assert list(train.outputs) == ["model"]
    assert train.key == train.origin.key


def test_a_run_decides_like_the_plan(simulation: PlanSimulation) -> None:
    assert decisions(simulation.run(CHURN)) == ALL_REUSED


def test_a_renamed_step_and_a_renamed_notebook_keep_what_is_stored(simulation: PlanSimulation) -> None:
    other = replace(
        CHURN,
        notebook=Path("/project/other.ipynb"),
        steps=(
            replace(CHURN["load"], name="fetch"),
            step("clean", "rows=fetch.rows", "rows", shared=CHURN["clean"].shared),
        ),
    )
    plan = simulation.plan(other)
    assert decisions(plan) == {"fetch": "reuse", "clean": "reuse"}
    assert "as `load`" in plan["fetch"].reason.details[0]


# Changes: code and text of the reason; what follows may run -----------------------------------------------------------


def raw_byte(simulation: PlanSimulation) -> Pipeline:
    simulation.store.files["/project/data/raw.csv"] = "1 2 4"
    return CHURN


def newer(simulation: PlanSimulation) -> Pipeline:
    simulation.environment = PythonEnvironment.fixed("3.11", {"sklearn": "1.9.1", "pandas": "9"})
    return CHURN


def other_python(simulation: PlanSimulation) -> Pipeline:
    simulation.environment = PythonEnvironment.fixed("3.12", {"sklearn": "1.9.0"})
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
def test_a_change_is_found_and_what_follows_may_run(simulation: PlanSimulation, change, expected) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    changed = change(simulation)
    plan = simulation.plan(changed)
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
    for planned in plan:
        assert (planned.previous is None) == (planned.decision == "reuse")
    ran = simulation.run(changed)
    assert {name for name, decided in ran.items() if decided.decision == "run"} == set(expected) | set(after)
    assert decisions(simulation.plan(changed)) == ALL_REUSED


def test_only_the_steps_that_use_a_parameter_run(simulation: PlanSimulation) -> None:
    plan = simulation.plan(CHURN, trees=200)
    assert decisions(plan) == ALL_REUSED | {"train": "run", "score": "maybe"}
    assert plan["train"].reason == DecisionReason(code="parameter", text="trees: 100 -> 200")
    both = simulation.plan(CHURN, depth=4)
    assert reasons(both)["train"] == reasons(both)["score"] == "depth: 3 -> 4"
    assert decisions(both) == ALL_REUSED | {"train": "run", "score": "run"}


def test_going_back_to_an_earlier_value_reuses_the_earlier_result(simulation: PlanSimulation) -> None:
    simulation.run(CHURN, trees=200)
    assert decisions(simulation.plan(CHURN, trees=100)) == ALL_REUSED
    assert decisions(simulation.plan(CHURN, trees=200)) == ALL_REUSED
    assert simulation.plan(CHURN, trees=300)["train"].reason.text == "trees: 200 -> 300"


def test_an_input_that_came_out_differently_is_the_reason_once_it_is_known(simulation: PlanSimulation) -> None:
    ran = simulation.run(with_code(CHURN, "clean", "other()"))
    reason = ran["train"].reason
    assert (reason.code, reason.text) == ("input", "input `rows` changed")
    assert reason.details[0].endswith("(made by `clean`)")


def test_of_two_first_causes_the_second_is_told_too(simulation: PlanSimulation) -> None:
    changed = with_code(with_code(CHURN, "train", "other()"), "clean", "other()")
    score = simulation.plan(changed)["score"]
    assert score.reason == DecisionReason(
        code="upstream", text="follows `train`: cell 1 changed", details=("and `clean`: cell 1 changed",)
    )


def test_a_step_that_changed_itself_runs_whatever_is_before_it(simulation: PlanSimulation) -> None:
    changed = with_code(with_code(CHURN, "load", "other()"), "score", "other()")
    assert decisions(simulation.plan(changed)) == {
        "load": "run", "clean": "maybe", "train": "maybe", "score": "run", "plot": "maybe",
    }  # fmt: skip


def test_an_input_taken_out_is_a_change_even_while_others_are_open(simulation: PlanSimulation) -> None:
    changed = edited(with_code(CHURN, "train", "other()"), "score", inputs=step("x", "model=train.model").inputs)
    assert simulation.plan(changed)["score"].reason == DecisionReason(
        code="input", text="input `rows` is no longer used"
    )


def test_a_new_input_is_a_change_even_while_it_is_open(simulation: PlanSimulation) -> None:
    other = step("load", "raw=data/raw.csv", "rows extra")
    taken = step("plot", "rows=load.rows extra=load.extra", "picture:file")
    changed = replace(CHURN, steps=tuple({"load": other, "plot": taken}.get(each.name, each) for each in CHURN))
    assert decisions(simulation.plan(changed))["plot"] == "maybe"
    assert decisions(simulation.run(changed))["plot"] == "run"


# Early cut-off --------------------------------------------------------------------------------------------------------


def test_a_step_that_comes_to_the_same_leaves_what_follows_reused(simulation: PlanSimulation) -> None:
    simulation.results["clean.rows"] = "as ever"
    simulation.run(with_code(CHURN, "clean", "one()"))
    changed = with_code(CHURN, "clean", "two()")
    assert decisions(simulation.plan(changed)) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert decisions(simulation.run(changed)) == ALL_REUSED | {"clean": "run"}


def test_what_a_step_costs_to_know_is_its_direct_inputs_only(simulation: PlanSimulation) -> None:
    simulation.results["train.model"] = "as ever"
    simulation.run(with_code(CHURN, "train", "one()"))
    changed = with_code(with_code(CHURN, "train", "two()"), "score", *["score_code()"])
    assert decisions(simulation.run(changed))["score"] == "reuse"


# Forced, never cached, unknown ----------------------------------------------------------------------------------------


def test_a_forced_step_runs_alone_and_its_result_is_reusable(simulation: PlanSimulation) -> None:
    plan = simulation.plan(CHURN, forced="clean")
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert plan["clean"].reason.code == "forced"
    assert plan["train"].reason.text == "follows `clean`: forced"
    ran = simulation.run(CHURN, forced="clean")
    assert decisions(ran) == ALL_REUSED | {"clean": "run"}
    assert decisions(simulation.plan(CHURN)) == ALL_REUSED
    origin = simulation.plan(CHURN)["clean"].origin
    assert origin is not None
    assert origin.run == "run6"


def test_a_step_without_cache_always_runs_and_what_follows_may(simulation: PlanSimulation) -> None:
    changed = edited(CHURN, "clean", cache=False)
    simulation.results["clean.rows"] = "as ever"
    simulation.run(changed)
    plan = simulation.plan(changed)
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert plan["clean"].reason == DecisionReason(code="no-cache", text="declared with `--no-cache`")
    assert plan["clean"].key
    assert decisions(simulation.run(changed)) == ALL_REUSED | {"clean": "run"}


def test_a_step_whose_code_cannot_be_read_is_reused_by_its_trace(simulation: PlanSimulation) -> None:
    changed = edited(CHURN, "clean", unknown=("cell 4, line 2: exec runs code that cannot be read.", "and more"))
    simulation.run(changed)
    assert simulation.plan(changed)["clean"].decision == "reuse"


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "code", "words"), [
    ("missing", "output-missing", "its output `rows` is no longer in the store"),
    ("corrupt", "output-corrupt", "its stored output `rows` is damaged"),
])  # fmt: skip
def test_a_result_that_is_not_whole_is_computed_again(
    simulation: PlanSimulation, state: str, code: str, words: str
) -> None:
    simulation.store.damage[simulation.plan(CHURN)["clean"].outputs["rows"].digest] = state
    plan = simulation.plan(CHURN)
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    assert (plan["clean"].reason.code, plan["clean"].reason.text) == (code, words)
    assert plan["clean"].key
    assert plan["clean"].previous is not None


def test_a_result_of_an_unknown_signer_is_computed_again_and_says_so(simulation: PlanSimulation) -> None:
    """S07: a result that no trusted key has signed is not reused."""
    key = simulation.plan(CHURN)["clean"].key
    assert key is not None
    del simulation.store.records[key]
    simulation.store.refusals[key] = "it is not signed"
    plan = simulation.plan(CHURN)
    assert decisions(plan) == ALL_REUSED | {"clean": "run", "train": "maybe", "score": "maybe"}
    reason = plan["clean"].reason
    assert (reason.code, reason.text) == ("untrusted", "its stored result is not signed by a key you trust")
    assert reason.details == ("it is not signed",)


def test_damage_is_the_reason_before_what_is_just_missing_and_both_are_told() -> None:
    simulation = PlanSimulation()
    single_step = pipeline(step("make", "", "a b"))
    simulation.run(single_step)
    outputs = simulation.plan(single_step)["make"].outputs
    simulation.store.damage = {outputs["a"].digest: "missing", outputs["b"].digest: "corrupt"}
    reason = simulation.plan(single_step)["make"].reason
    assert reason.code == "output-corrupt"
    assert reason.details == ("its output `a` is no longer in the store",)


def test_a_record_that_lacks_a_declared_output_does_not_count(simulation: PlanSimulation) -> None:
    (key,) = [key for key, record in simulation.store.records.items() if record.step == "train"]
    simulation.store.records[key] = replace(simulation.store.records[key], outputs={})
    assert simulation.plan(CHURN)["train"].reason.code == "output-missing"


def test_records_of_another_way_to_make_keys_are_as_good_as_none(simulation: PlanSimulation) -> None:
    simulation.store.records = {f"{key}x": record for key, record in simulation.store.records.items()}
    plan = simulation.plan(CHURN)
    assert plan["load"].reason == DecisionReason(
        code="never-run", text="never run by this version of jupyter-pipelines"
    )


# Files, order, optional, always ---------------------------------------------------------------------------------------


def test_a_missing_file_blocks_the_step_and_what_follows(simulation: PlanSimulation) -> None:
    del simulation.store.files["/project/data/raw.csv"]
    plan = simulation.plan(CHURN)
    assert decisions(plan) == dict.fromkeys(NAMES, "blocked")
    assert plan["load"].reason == DecisionReason(code="input", text="the input file `data/raw.csv` is missing")
    assert plan["clean"].reason == DecisionReason(code="upstream", text="`load`, which it waits for, is blocked")
    (diagnostic,) = plan.faults
    assert (diagnostic.code, diagnostic.step) == ("JP210", "load")
    with pytest.raises(PlanError, match=r"data/raw\.csv"):
        plan.require()


def test_a_file_that_cannot_be_read_says_why(simulation: PlanSimulation) -> None:
    simulation.store.files["/project/data/raw.csv"] = PermissionError(13, "Permission denied")
    assert (
        simulation.plan(CHURN)["load"].reason.text == "the input file `data/raw.csv` cannot be read: Permission denied"
    )


def test_an_optional_file_may_come_and_go() -> None:
    simulation = PlanSimulation()
    optional_load = pipeline(step("load", "raw=data/raw.csv", "rows", optional="raw"))
    simulation.run(optional_load)
    assert decisions(simulation.plan(optional_load)) == {"load": "reuse"}
    assert simulation.plan(optional_load)["load"].parts["file:raw"] == "missing"
    simulation.store.files["/project/data/raw.csv"] = "1"
    assert simulation.plan(optional_load)["load"].reason.text == "input file `raw` (data/raw.csv) is there now"


def test_a_file_is_looked_at_once_for_a_plan_and_again_for_each_decision() -> None:
    simulation = PlanSimulation()
    simulation.store.files["/project/data/raw.csv"] = "1"
    five_readers = pipeline(*(step(f"s{number}", "raw=data/raw.csv", "x", f"{number}") for number in range(5)))
    plan = simulation.plan(five_readers)
    assert simulation.store.asked["digest"] == 1
    simulation.store.files["/project/data/raw.csv"] = "2"
    assert plan.planner.decide("s0", {}).key != plan["s0"].key


ORDERED = pipeline(
    step("fetch", "", ""),
    step("load", "raw=data/raw.csv", "rows", after="fetch"),
    step("other", "", "x", after="fetch"),
)


def test_mere_order_makes_no_step_run_unless_a_file_may_be_written() -> None:
    simulation = PlanSimulation()
    simulation.store.files["/project/data/raw.csv"] = "1"
    simulation.run(ORDERED)
    changed = with_code(ORDERED, "fetch", "other()")
    plan = simulation.plan(changed)
    assert decisions(plan) == {"fetch": "run", "load": "maybe", "other": "reuse"}
    assert plan["load"].reason.text == "follows `fetch`: cell 1 changed"
    assert decisions(simulation.run(changed)) == {"fetch": "run", "load": "reuse", "other": "reuse"}


def test_a_file_that_is_not_there_yet_may_be_written_before() -> None:
    simulation = PlanSimulation()
    plan = simulation.plan(ORDERED)
    assert decisions(plan) == {"fetch": "run", "load": "run", "other": "run"}
    assert plan.planner.decide("load", {"fetch": {}}).decision == "blocked"
    simulation.store.files["/project/data/raw.csv"] = "1"
    assert plan.planner.decide("load", {"fetch": {}}).decision == "run"


def test_a_step_after_a_blocked_one_is_blocked_unless_it_always_runs() -> None:
    partly_blocked = pipeline(
        step("load", "raw=data/raw.csv", "rows"),
        step("next", after="load"),
        step("tidy", after="load", always=True),
        step("mail", "rows=load.rows", always=True),
        step("look", "rows=load.rows", optional="rows"),
    )
    plan = PlanSimulation().plan(partly_blocked)
    assert decisions(plan) == {"load": "blocked", "next": "blocked", "tidy": "run", "mail": "run", "look": "run"}
    assert plan["mail"].parts["input:rows"] == plan["look"].parts["input:rows"] == "missing"


@pytest.mark.parametrize("options", [{"optional": "rows"}, {"always": True}], ids=["optional", "always"])
def test_in_a_run_what_failed_is_missing_for_steps_that_can_do_without(options: dict[str, object]) -> None:
    simulation = PlanSimulation()
    two_steps = pipeline(step("load", "", "rows"), step("look", "rows=load.rows", "x", **options))
    planner = simulation.planner(two_steps)
    without = planner.decide("look", {})
    having = planner.decide("look", {"load": {"rows": artifact("1")}})
    assert (without.decision, without.parts["input:rows"]) == ("run", "missing")
    assert without.key
    assert without.key != having.key


def test_in_a_run_what_is_missing_blocks_all_other_steps() -> None:
    two_steps = pipeline(step("load", "", "rows"), step("look", "rows=load.rows", "x"))
    decided = PlanSimulation().planner(two_steps).decide("look", {"load": {}})
    assert decided.decision == "blocked"
    assert decided.reason == DecisionReason(code="output-missing", text="`load.rows` is not in the store")
    assert decided.key is None


# Selections -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("selection", "chosen"), [
    ({"to": "train"}, {"load", "clean", "train"}),
    ({"to": "train plot"}, {"load", "clean", "train", "plot"}),
    ({"start": "clean"}, {"clean", "train", "score"}),
    ({"start": "clean", "to": "train"}, {"clean", "train"}),
    ({"only": "train"}, {"train"}),
    ({"only": "train plot"}, {"train", "plot"}),
    ({}, set(NAMES)),
])  # fmt: skip
def test_part_of_the_pipeline(simulation: PlanSimulation, selection: dict[str, str], chosen: set[str]) -> None:
    plan = simulation.plan(CHURN, **selection)
    assert {planned.name for planned in plan if planned.decision != "skip"} == chosen
    assert {planned.decision for planned in plan if planned.name in chosen} == {"reuse"}
    assert all(planned.outputs for planned in plan)


def test_what_is_left_out_says_so_and_what_it_would_do(simulation: PlanSimulation) -> None:
    plan = simulation.plan(with_code(CHURN, "load", "other()"), only="train")
    load, clean, plot = plan["load"], plan["clean"], plan["plot"]
    assert load.reason == DecisionReason(
        code="code", text="left out by `--only train`", details=("it would run: cell 1 changed",)
    )
    assert clean.reason.code == plot.reason.code == "upstream"
    assert clean.reason.details == ("it might run: follows `load`: cell 1 changed",)
    unchanged = simulation.plan(CHURN, only="train")["load"].reason
    assert unchanged.code == "unchanged"
    assert unchanged.details[0] == "its stored result is up to date"


def test_what_is_left_out_is_taken_as_it_is_stored_and_that_is_told(simulation: PlanSimulation) -> None:
    changed = with_code(with_code(CHURN, "load", "other()"), "train", "other()")
    plan = simulation.plan(changed, only="train")
    assert plan["train"].decision == "run"
    assert plan["train"].reason.text == "cell 1 changed"
    assert plan["train"].reason.details == (
        "it may be made from an older `clean`, which follows `load`: cell 1 changed",
    )
    assert simulation.run(changed, only="train")["train"].decision == "run"
    assert plan["clean"].outputs == simulation.plan(CHURN)["clean"].outputs


def test_a_reused_step_tells_that_what_it_takes_may_be_out_of_date(simulation: PlanSimulation) -> None:
    changed = with_code(CHURN, "load", "other()")
    words = "it may be made from an older `clean`, which follows `load`: cell 1 changed"
    for selection in ({"only": "train"}, {"start": "train"}):
        plan = simulation.plan(changed, **selection)
        assert plan["train"].decision == "reuse"
        assert plan["train"].reason.details[1:] == (words,)
        assert words in str(plan)
        assert "may be made from an older" in plan._repr_html_()
        assert words in simulation.run(changed, **selection)["train"].reason.details
    assert "computed in run" not in str(plan)


def test_each_outdated_step_is_told_once_with_all_that_take_from_it() -> None:
    many = pipeline(step("a", "", "x"), *(step(name, "x=a.x", f"y{name}") for name in "bcdef"))
    simulation = PlanSimulation()
    simulation.run(many)
    edited = with_code(many, "a", "other()")
    for only, words in {
        "b": "`b` is",
        "b c": "`b` and `c` are",
        "b c d": "`b`, `c` and `d` are",
        "b c d e": "`b`, `c` and 2 more are",
    }.items():
        (warning,) = simulation.plan(edited, only=only).warnings
        assert warning.message == f"{words} made from an older `a`: cell 1 changed"
        assert warning.severity == "warning"
        assert not simulation.plan(many, only=only).warnings
    assert not simulation.plan(edited).warnings
    assert not simulation.plan(edited, to="b").warnings


def test_a_selection_of_nothing_is_refused(simulation: PlanSimulation) -> None:
    with pytest.raises(PlanError) as error:
        simulation.plan(CHURN, to="load", start="train")
    (diagnostic,) = error.value.faults
    assert diagnostic.code == "JP604"
    assert diagnostic.message == "nothing is selected: no step lies between, as `--to load --from train` asks"
    assert "exchange them" in (diagnostic.suggestion or "")
    assert decisions(simulation.plan(CHURN, to="train", start="load"))["clean"] == "reuse"


def test_what_is_not_stored_cannot_be_left_out() -> None:
    simulation = PlanSimulation()
    simulation.store.files["/project/data/raw.csv"] = "1 2 3"
    plan = simulation.plan(CHURN, only="train")
    assert plan["train"].decision == "blocked"
    assert plan["train"].reason == DecisionReason(
        code="output-missing", text="`clean.rows` is not in the store, and `clean` is left out by `--only train`"
    )
    (diagnostic,) = plan.faults
    assert diagnostic.code == "JP405"
    assert diagnostic.suggestion == "run it without `--only train`: what comes before is run or reused then"
    with pytest.raises(PlanError):
        plan.require()
    assert simulation.plan(CHURN).require().faults == ()


@pytest.mark.parametrize(("state", "code"), [("missing", "JP405"), ("corrupt", "JP404")])
def test_what_is_left_out_has_to_be_whole(simulation: PlanSimulation, state: str, code: str) -> None:
    simulation.store.damage[simulation.plan(CHURN)["clean"].outputs["rows"].digest] = state
    plan = simulation.plan(CHURN, only="train")
    assert plan["train"].decision == "blocked"
    assert [diagnostic.code for diagnostic in plan.faults] == [code]
    assert plan["score"].decision == "skip"


def test_what_could_not_run_itself_may_be_left_out_when_it_is_stored(simulation: PlanSimulation) -> None:
    del simulation.store.files["/project/data/raw.csv"]
    plan = simulation.plan(CHURN, only="train")
    assert plan["load"].reason.details == ("it would be blocked: the input file `data/raw.csv` is missing",)
    assert plan["load"].origin is not None
    assert decisions(plan)["train"] == "reuse"


def test_a_step_that_was_never_run_may_be_left_out_when_no_step_needs_it(simulation: PlanSimulation) -> None:
    longer = replace(CHURN, steps=(*CHURN.steps, step("new", "scores=score.scores", "y")))
    plan = simulation.plan(longer, to="score")
    assert plan["new"].decision == "skip"
    assert plan["new"].outputs == {}
    assert plan["new"].origin is None


def test_what_is_left_out_is_not_forced(simulation: PlanSimulation) -> None:
    plan = simulation.plan(CHURN, only="train", forced="clean train")
    assert plan["clean"].reason.code == "unchanged"
    assert plan["train"].reason.code == "forced"
    assert plan["train"].reason.details == ()


@pytest.mark.parametrize(("selection", "words"), [
    ({"to": "tain"}, "write `--to train`"),
    ({"start": "zzz"}, "use one of: load, clean"),
    ({"only": "lod"}, "write `--only load`"),
    ({"forced": "plott"}, "write `--force plot`"),
])  # fmt: skip
def test_a_step_that_does_not_exist_is_named_with_the_nearest(
    simulation: PlanSimulation, selection: dict[str, str], words: str
) -> None:
    with pytest.raises(PlanError, match=words) as caught:
        simulation.plan(CHURN, **selection)
    assert caught.value.code == "JP603"


def test_all_mistakes_in_a_selection_are_told_at_once(simulation: PlanSimulation) -> None:
    with pytest.raises(PlanError) as caught:
        simulation.plan(CHURN, to="tain", start="zzz", only="load")
    assert [diagnostic.code for diagnostic in caught.value.faults] == ["JP603", "JP603", "JP604"]


# The plan as a value --------------------------------------------------------------------------------------------------


def test_a_plan_prints_as_a_table(simulation: PlanSimulation) -> None:
    changed = with_code(with_code(CHURN, "clean", "other()"), "train", "other()")
    assert str(simulation.plan(changed, depth=4)).splitlines() == [
        "book: 3 run, 2 are reused",
        "",
        "  load   reuse  nothing it depends on has changed",
        "  clean  run    cell 1 changed",
        "  train  run    cell 1 changed",
        "                  depth: 3 -> 4",
        "  score  run    depth: 3 -> 4",
        "  plot   reuse  nothing it depends on has changed",
    ]


def test_the_headline_counts(simulation: PlanSimulation) -> None:
    assert str(simulation.plan(with_code(CHURN, "train", "other()"))).startswith(
        "book: 1 runs, 1 may run, 3 are reused\n"
    )
    assert str(simulation.plan(pipeline())) == "book: no steps"


def test_html_holds_nothing_active() -> None:
    evil = "</td><script>alert('&')</script>"
    hostile = pipeline(step("load", f"raw=data/{evil}", "x"), notebook=Path("/project/<img src=x>.ipynb"))
    simulation = PlanSimulation()
    simulation.store.files[f"/project/data/{evil}"] = "old"
    simulation.run(hostile)
    simulation.store.files[f"/project/data/{evil}"] = "new"
    html = simulation.plan(hostile)._repr_html_()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;/td&gt;&lt;script&gt;alert(&#x27;&amp;&#x27;)" in html
    assert html.count("<td") == html.count("</td>") == 3


def test_the_document(simulation: PlanSimulation) -> None:
    document = json.loads(json.dumps(simulation.plan(CHURN, to="train", trees=200, forced="load").to_dict()))
    assert document["schema"] == "jupyter-pipelines/plan/1"
    assert document["parameters"] == {"trees": 200, "depth": 3}
    assert document["selection"] == {"to": ["train"], "from": [], "only": []}
    assert document["forced"] == ["load"]
    assert document["faults"] == []
    steps = {document_step["name"]: document_step for document_step in document["steps"]}
    assert steps["load"]["reason"] == {"code": "forced", "text": "forced", "details": []}
    assert steps["load"]["origin"] is None
    assert steps["load"]["previous"] == {"run": "run1", "created": "2026-01-01T00:00:000001Z", "seconds": 1.5}
    assert steps["plot"]["decision"] == "skip"
    assert steps["plot"]["outputs"]["picture"]["digest"].startswith("sha256:")
    assert set(steps["train"]) == {"name", "decision", "reason", "key", "outputs", "origin", "previous"}


def test_steps_are_found_by_name(simulation: PlanSimulation) -> None:
    plan = simulation.plan(CHURN)
    assert len(plan) == 5
    assert plan["train"].name == "train"
    with pytest.raises(KeyError, match="write `train`"):
        plan["tran"]


def test_plans_compare(simulation: PlanSimulation) -> None:
    first, second = simulation.plan(CHURN), simulation.plan(CHURN, trees=200)
    assert first == simulation.plan(CHURN)
    assert first != second
    assert second.compare(first) == (
        "train: reuse -> run, trees: 100 -> 200",
        "score: reuse -> maybe, follows `train`: trees: 100 -> 200",
    )
    assert first.compare(first) == ()
    third = simulation.plan(CHURN, trees=300)
    assert third.compare(second)[0] == "train: run, trees: 100 -> 200 -> trees: 100 -> 300"
    less = simulation.plan(replace(CHURN, steps=CHURN.steps[:4]))
    assert less.compare(first) == ("plot: only in the earlier plan",)


# Environments, drift, size --------------------------------------------------------------------------------------------


def test_every_kernel_is_asked_once_for_all_its_packages() -> None:
    asked: list[tuple[str | None, tuple[str, ...]]] = []

    def find(kernel: str | None) -> PythonEnvironment:
        environment = PythonEnvironment.fixed("3.11", {})
        prepare = environment.prepare
        environment.prepare = lambda names: (asked.append((kernel, tuple(names))), prepare(()))[1]  # type: ignore[method-assign,assignment]
        return environment

    two_kernels = pipeline(step("a", packages="x y"), step("b", packages="z", kernel="other"), step("c", packages="y"))
    simulation = PlanSimulation(environment=find)  # type: ignore[arg-type]
    plan = simulation.plan(two_kernels)
    plan.planner.decide("a", {})
    assert sorted(asked, key=str) == [("other", ("z",)), (None, ("x", "y", "y"))]
    assert plan["b"].parts["kernel"] == "other"


@pytest.mark.parametrize(("edited", "changed"), [
    ("import re\nx: int = 1  # comment\n", ()), ("import re\nx: int = 2\n", ("module `helpers`",)),
])  # fmt: skip
def test_drift_of_a_module_of_which_not_all_counts(edited: str, changed: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "helpers.py"
    source = "import re\nx: int = 1\n"
    watched = pipeline(step("load", "", "y", "y = 1", modules=(module("helpers", source, str(path)),)))
    planner = PlanSimulation().planner(watched)
    decided = planner.decide("load", {})
    path.write_text(edited)
    assert planner.drift(decided) == changed


def test_drift_names_what_changed_while_a_step_ran(tmp_path: Path) -> None:
    simulation = PlanSimulation()
    path = tmp_path / "helpers.py"
    path.write_text("x = 1\n")
    raw = (tmp_path / "data/raw.csv").as_posix()
    simulation.store.files[raw] = "1"
    watched = pipeline(
        step(
            "load",
            f"raw={raw} more=data/none.csv",
            "x",
            modules=(module("helpers", "x = 1\n", str(path)),),
            optional="more",
        )
    )
    planner = simulation.planner(watched)
    decided = planner.decide("load", {})
    path.write_text("x = 1  # only a comment\n")
    assert planner.drift(decided) == ()
    path.write_text("x = 2\n")
    simulation.store.files[raw] = "2"
    assert planner.drift(decided) == ("module `helpers`", "input file `raw`")
    path.unlink()
    assert planner.drift(decided)[0] == "module `helpers`"


def chain(length: int) -> Pipeline:
    return pipeline(step("s0", "", "x"), *(step(f"s{n}", f"x=s{n - 1}.x", "x") for n in range(1, length)))


def test_the_length_of_a_chain_is_no_limit() -> None:
    simulation = PlanSimulation()
    length = 3_000
    long = chain(length)
    simulation.run(long)
    assert set(decisions(simulation.plan(long)).values()) == {"reuse"}
    plan = simulation.plan(with_code(long, "s0", "other()"))
    assert plan[f"s{length - 1}"].reason.text == "follows `s0`: cell 1 changed"
    assert len(plan[f"s{length - 1}"].reason.details) == 0


def test_a_plan_asks_for_each_record_once_and_reads_no_code_twice(simulation: PlanSimulation) -> None:
    simulation.store.asked.clear()
    simulation.plan(CHURN)
    assert simulation.store.asked == {"record": 5, "intact": 5, "digest": 1}


def test_a_plan_of_a_thousand_steps_asks_as_often_as_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    count, width = 1_000, 20
    names = [f"l{n}" for n in range(width)]
    helper = shared("helper", "def helper(x, y=1):\n    return x", 2)
    first = [step(name, "raw=data/raw.csv", "x", shared=(helper,)) for name in names]
    rest = [
        step(f"s{n}", " ".join(f"i{number}={name}.x" for number, name in enumerate(names)), "x", shared=(helper,))
        for n in range(width, count)
    ]
    wide = pipeline(*first, *rest)
    simulation = PlanSimulation()
    simulation.store.files["/project/data/raw.csv"] = "1"
    simulation.run(wide)
    parsed: list[str] = []
    monkeypatch.setattr("jupyter_pipelines.planning.keys.canonical_code.ast.parse", parsed.append)
    simulation.store.asked.clear()
    assert set(decisions(simulation.plan(wide)).values()) == {"reuse"}
    assert simulation.store.asked == {"record": count, "intact": count, "digest": 1}
    assert parsed == []


def test_a_chain_of_objects_costs_no_more_than_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    simulation, count = PlanSimulation(), 300
    monkeypatch.setattr("tests.planning.planning_fakes.artifact", lambda text: artifact(text, "pickle"))
    long = edited(chain(count), "s0", modules=(module("models", "x = 1"),))
    simulation.run(long)
    seen: list[str] = []
    monkeypatch.setattr(Pipeline, "__getitem__", _recording(Pipeline.__getitem__, seen))
    plan = simulation.plan(long)
    assert set(decisions(plan).values()) == {"reuse"}
    assert "module:models" in plan[f"s{count - 1}"].parts
    assert len(seen) <= 10 * count


def _recording(method: Any, seen: list[str]) -> Any:
    def recorded(pipeline: Pipeline, name: str) -> Step:
        seen.append(name)
        return method(pipeline, name)

    return recorded


def test_a_step_may_be_anything_that_the_nouns_allow() -> None:
    empty = pipeline(Step(name="nothing", cells=()))
    assert decisions(PlanSimulation().run(empty)) == {"nothing": "run"}
