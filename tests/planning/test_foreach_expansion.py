"""Steps over many items as steps of a plan: their names, their keys, and what is wrong with items."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines import GatheredResults
from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.pipeline.foreach import ForeachAxis, ForeachSpec, item_labels
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning import foreach_expansion
from jupyter_pipelines.planning.foreach_expansion import expand, faults_of_items
from tests.planning.planning_fakes import PlanSimulation, decisions, pipeline, step


def foreach_over(*values: Any, name: str = "depth", **more: Any) -> ForeachSpec:
    return ForeachSpec(axes=(ForeachAxis(name=name, kind="values", values=values),), **more)


def book(foreach: ForeachSpec, **more: Any) -> Pipeline:
    return pipeline(
        step("load", "", "rows"),
        step("fit", "rows=load.rows", "model", foreach=foreach, **more),
        step("best", "model=fit.model", "top"),
    )


def names(expanded: Pipeline) -> list[str]:
    return [each.name for each in expanded]


def test_a_pipeline_without_items_stays_what_it_is() -> None:
    plain = pipeline(step("load", "", "rows"))
    assert expand(plain, {}) is plain


def test_each_item_is_a_step_and_the_step_gathers_them() -> None:
    expanded = expand(book(foreach_over(2, 4)), {})
    assert names(expanded) == ["load", "fit[depth=2]", "fit[depth=4]", "fit", "best"]
    assert expanded.before("fit") == ("fit[depth=2]", "fit[depth=4]")
    assert expanded.before("best") == ("fit",)
    assert expanded.named("fit") == ("fit[depth=2]", "fit[depth=4]", "fit")
    assert expanded.named("fit[depth=4]") == ("fit[depth=4]",)


def test_a_step_that_makes_nothing_still_waits_for_its_items() -> None:
    expanded = expand(pipeline(step("tell", "", "", foreach=foreach_over(1, 2)), step("end", "", "", after="tell")), {})
    assert expanded.before("tell") == ("tell[depth=1]", "tell[depth=2]")
    assert expanded.before("end") == ("tell",)


def test_names_differ_where_the_beginnings_of_digests_do_not() -> None:
    keys = [(("s", "a" * 80 + str(number)),) for number in (83217, 119069)]
    first, second = item_labels(keys)
    assert first != second
    assert first[:69] == second[:69] == "s=" + "a" * 58 + "~c262a076"


def test_items_are_known_by_short_safe_names_that_differ() -> None:
    keys = [
        (("part", "data/a.csv"),),
        (("part", "data/b c.csv"),),
        (("part", "other/a.csv"),),
        (("part", "DATA/A.csv"),),
    ]
    labels = item_labels(keys)
    assert labels[1] == "part=b_c.csv"
    assert len({name.casefold() for name in labels}) == 4
    assert all(name.startswith("part=") and "/" not in name for name in labels)
    long = item_labels([(("text", "x" * 500 + end),) for end in "ab"])
    assert len(set(long)) == 2
    assert max(map(len, long)) < 80


@pytest.mark.parametrize(
    ("foreach", "values", "words"),
    [
        (foreach_over(name="n"), {}, "is empty"),
        (foreach_over(2, 2), {}, "`2` more than once"),
        (foreach_over(1, 1.0), {}, "more than once"),
        (foreach_over(1, "a"), {}, "several types: int and str"),
        (foreach_over(True, 1), {}, "several types: bool and int"),
        (foreach_over(1, None), {}, "`None` is neither"),
        (foreach_over([1], [2]), {}, "`[1]` is neither"),
        (ForeachSpec(axes=(ForeachAxis(name="n", kind="parameter", source="depths"),)), {"depths": 3}, "no list"),
        (ForeachSpec(axes=(ForeachAxis(name="n", kind="parameter", source="depths"),)), {"depths": []}, "is empty"),
        (ForeachSpec(axes=(ForeachAxis(name="n", kind="files", source="nowhere/"),)), {}, "there are no files"),
    ],
)
def test_items_that_cannot_be_told(foreach: ForeachSpec, values: dict[str, Any], words: str) -> None:
    invalid = book(foreach)
    (diagnostic,) = faults_of_items(invalid, values)
    assert words in diagnostic.message
    assert diagnostic.step == "fit"
    with pytest.raises(PlanError):
        expand(invalid, values)


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = tuple(ForeachAxis(name=name, kind="values", values=tuple(range(101))) for name in "ab")
    (diagnostic,) = faults_of_items(book(ForeachSpec(axes=axes)), {})
    assert "10201 items, and 10000 are the most" in diagnostic.message
    monkeypatch.setattr(foreach_expansion, "MAX_ITEMS", 10201)
    assert faults_of_items(book(ForeachSpec(axes=axes)), {}) == ()


def test_files_are_taken_by_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", ".hidden", "sub/c.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    paths = {}
    for source in ("data/", "data", "data/*.csv", "data/**/*.csv", f"{tmp_path}/data/b*"):
        foreach = ForeachSpec(axes=(ForeachAxis(name="part", kind="files", source=source),))
        expanded = expand(replace(book(foreach), folder=tmp_path), {})
        paths[source] = [each.item.values[0][1] for each in expanded if each.item]
    assert paths == {
        "data/": ["data/a.csv", "data/b.csv"],
        "data": ["data/a.csv", "data/b.csv"],
        "data/*.csv": ["data/a.csv", "data/b.csv"],
        "data/**/*.csv": ["data/a.csv", "data/b.csv", "data/sub/c.csv"],
        f"{tmp_path}/data/b*": [f"{tmp_path}/data/b.csv"],
    }


def test_files_that_differ_in_their_folder_alone_are_items_of_their_own(tmp_path: Path) -> None:
    """Code may ask a path for its folder, so that equal contents are not equal inputs."""
    for name in ("x/sales.csv", "y/sales.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("same")
    simulation = PlanSimulation()
    simulation.store.files = {f"{tmp_path.as_posix()}/{folder}/sales.csv": "same" for folder in "xy"}
    foreach = ForeachSpec(axes=(ForeachAxis(name="part", kind="files", source="*/sales.csv"),))
    plan = simulation.plan(expand(replace(pipeline(step("fit", "", "model", foreach=foreach)), folder=tmp_path), {}))
    first, second = (
        plan[f"fit[{label}]"].parts for label in item_labels([(("part", f"{folder}/sales.csv"),) for folder in "xy"])
    )
    assert (first["file-name:part"], second["file-name:part"]) == ("x/sales.csv", "y/sales.csv")
    assert first["file:part"] == second["file:part"]


def test_texts_that_name_files_stay_texts_and_the_files_count(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "sub").mkdir()
    expanded = expand(
        replace(book(foreach_over("a.csv", "b.csv", "sub", "x" * 5000, "\0", name="part")), folder=tmp_path), {}
    )
    items = [each for each in expanded if each.item]
    assert [each.files for each in items] == [("a.csv",), (), (), (), ()]
    assert items[0].item is not None
    assert items[0].item.parameters == {"part": "a.csv"}


@pytest.mark.parametrize(
    ("allowed", "items", "may"), [("", 9, 0), ("3", 9, 3), ("10%", 9, 0), ("10%", 29, 2), ("50%", 1, 0)]
)
def test_how_many_may_fail(allowed: str, items: int, may: int) -> None:
    assert foreach_over(1, allowed=allowed).may_fail(items) == may


def test_items_have_keys_of_their_own_and_share_what_they_share() -> None:
    simulation = PlanSimulation()
    first = simulation.run(expand(book(foreach_over(2, 4)), {}))
    assert first["fit[depth=2]"].key != first["fit[depth=4]"].key
    assert set(decisions(simulation.plan(expand(book(foreach_over(2, 4)), {}))).values()) == {"reuse"}

    more = expand(book(foreach_over(2, 4, 8)), {})
    assert decisions(simulation.plan(more)) == {
        "load": "reuse", "fit[depth=2]": "reuse", "fit[depth=4]": "reuse", "fit[depth=8]": "run", "fit": "run",
        "best": "maybe",
    }  # fmt: skip
    assert simulation.plan(more)["fit"].reason.text == "its items changed"
    other = expand(book(foreach_over(4, 2)), {})
    assert decisions(simulation.plan(other))["fit"] == "run", "another order is another list"
    text = expand(book(foreach_over("2", "4")), {})
    assert decisions(simulation.plan(text))["fit[depth=2]"] == "run", "a text is not a number"


@pytest.mark.parametrize(
    ("allowed", "gone", "decision"), [("1", 1, "run"), ("1", 2, "blocked"), ("", 1, "blocked"), ("2", 3, "blocked")]
)
def test_a_list_with_holes_needs_leave(allowed: str, gone: int, decision: str) -> None:
    simulation = PlanSimulation()
    expanded = expand(book(foreach_over(1, 2, 3, allowed=allowed)), {})
    simulation.run(expanded)
    planner = simulation.planner(expanded)
    items = [each.name for each in expanded if each.item]
    there = {name: {"model": simulation.store.latest(name).outputs["model"]} for name in items[gone:]}  # type: ignore[union-attr]
    assert planner.decide("fit", there).decision == decision


def test_items_that_are_left_out_are_not_items_that_failed() -> None:
    expanded = expand(book(foreach_over(1, 2, 3, allowed="2")), {})
    simulation = PlanSimulation()
    simulation.run(expanded, only="load")
    plan = simulation.plan(expanded, start="fit[depth=2]")
    assert decisions(plan)["fit"] == "blocked"
    assert "left out" in plan["fit"].reason.text
    simulation.run(expanded)
    assert decisions(simulation.plan(expanded, start="fit[depth=2]"))["fit"] == "reuse", (
        "what is stored of them is taken"
    )


def test_which_items_are_missing_is_part_of_the_key() -> None:
    simulation = PlanSimulation()
    expanded = expand(book(foreach_over(1, 2, 3, allowed="1")), {})
    whole = simulation.run(expanded)["fit"].key
    items = [each.name for each in expanded if each.item]
    made = {name: {"model": simulation.store.latest(name).outputs["model"]} for name in items}  # type: ignore[union-attr]
    keys = {whole}
    for left_out in items:
        there = {name: outputs for name, outputs in made.items() if name != left_out}
        keys.add(simulation.planner(expanded).decide("fit", there).key)
    assert len(keys) == 4


def test_objects_of_items_bring_their_code_along() -> None:
    simulation = PlanSimulation()
    fits = book(foreach_over(1, 2), packages="sklearn")
    plain = simulation.run(expand(fits, {}))["best"]
    assert "package:sklearn" not in plain.parts, "JSON names no code"


def test_selections_mean_all_items() -> None:
    simulation = PlanSimulation()
    expanded = expand(book(foreach_over(1, 2)), {})
    simulation.run(expanded)
    assert [name for name, what in decisions(simulation.plan(expanded, only="fit")).items() if what == "skip"] == [
        "load",
        "best",
    ]
    assert [name for name, what in decisions(simulation.plan(expanded, start="fit")).items() if what == "skip"] == [
        "load"
    ]
    forced = decisions(simulation.plan(expanded, forced="fit"))
    assert [name for name, what in forced.items() if what == "run"] == ["fit[depth=1]", "fit[depth=2]", "fit"]


MODELS = GatheredResults(
    ["a", "b", "c"], [{"d": 1, "r": 0.1}, {"d": 1, "r": 1.0}, {"d": 2, "r": 0.1}], [{"d": 2, "r": 1.0}]
)


def test_a_gathered_list_is_a_list_that_knows_its_keys() -> None:
    assert MODELS == ["a", "b", "c"]
    assert MODELS.of(d=2) == "c"
    assert MODELS.of(d=1, r=1.0) == "b"
    assert MODELS.where(d=1) == ["a", "b"]
    assert MODELS.where(d=2).failed == [{"d": 2, "r": 1.0}]
    assert MODELS.items()[0] == ((1, 0.1), "a")
    assert GatheredResults([5], [{"d": 1}]).items() == [(1, 5)]
    for again in (pickle.loads(pickle.dumps(MODELS)), copy.copy(MODELS), copy.deepcopy(MODELS)):
        assert (again, again.keys, again.failed) == (MODELS, MODELS.keys, MODELS.failed)


@pytest.mark.parametrize(
    ("wanted", "words"), [({"d": 3}, "no items"), ({"d": 1}, "2 items"), ({"r": 1.0, "d": 2}, "failed")]
)
def test_what_is_not_one_of_the_list_is_said(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(KeyError, match=words):
        MODELS.of(**wanted)


def test_keys_go_along_with_results_that_change_places() -> None:
    models = copy.deepcopy(MODELS)
    models.reverse()
    assert (list(models), models.of(d=2)) == (["c", "b", "a"], "c")
    models.sort(key=lambda model: {"a": 2, "b": 1, "c": 3}[model])
    assert models.items() == [((1, 1.0), "b"), ((1, 0.1), "a"), ((2, 0.1), "c")]
    models.sort(reverse=True)
    assert (list(models), models.of(d=2)) == (["c", "b", "a"], "c")


@pytest.mark.parametrize(
    "ask", [lambda models: models.of(d=2), lambda models: models.where(d=2), lambda models: models.items()]
)
def test_a_list_that_was_made_shorter_does_not_guess(ask: Any) -> None:
    models = copy.deepcopy(MODELS)
    del models[0]
    with pytest.raises(ValueError, match="2 results have 3 keys"):
        ask(models)
