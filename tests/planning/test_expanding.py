"""Steps over many items as steps of a plan: their names, their keys, and what is wrong with items."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines import Gathered
from jupyter_pipelines.errors import PlanError
from jupyter_pipelines.pipeline.foreach import Axis, Foreach, names_of
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.planning import expanding
from jupyter_pipelines.planning.expanding import expand, faults_of_items
from tests.planning.stand_ins import World, decisions, pipeline, step


def over(*values: Any, name: str = "depth", **more: Any) -> Foreach:
    return Foreach(axes=(Axis(name=name, kind="values", values=values),), **more)


def book(foreach: Foreach, **more: Any) -> Pipeline:
    return pipeline(
        step("load", "", "rows"),
        step("fit", "rows=load.rows", "model", foreach=foreach, **more),
        step("best", "model=fit.model", "top"),
    )


def names(one: Pipeline) -> list[str]:
    return [each.name for each in one]


def test_a_pipeline_without_items_stays_what_it_is() -> None:
    one = pipeline(step("load", "", "rows"))
    assert expand(one, {}) is one


def test_each_item_is_a_step_and_the_step_gathers_them() -> None:
    one = expand(book(over(2, 4)), {})
    assert names(one) == ["load", "fit[depth=2]", "fit[depth=4]", "fit", "best"]
    assert one.before("fit") == ("fit[depth=2]", "fit[depth=4]")
    assert one.before("best") == ("fit",)
    assert one.named("fit") == ("fit[depth=2]", "fit[depth=4]", "fit")
    assert one.named("fit[depth=4]") == ("fit[depth=4]",)


def test_a_step_that_makes_nothing_still_waits_for_its_items() -> None:
    one = expand(pipeline(step("tell", "", "", foreach=over(1, 2)), step("end", "", "", after="tell")), {})
    assert one.before("tell") == ("tell[depth=1]", "tell[depth=2]")
    assert one.before("end") == ("tell",)


def test_names_differ_where_the_beginnings_of_digests_do_not() -> None:
    keys = [(("s", "a" * 80 + str(number)),) for number in (83217, 119069)]
    first, second = names_of(keys)
    assert first != second
    assert first[:69] == second[:69] == "s=" + "a" * 58 + "~c262a076"


def test_items_are_known_by_short_safe_names_that_differ() -> None:
    keys = [
        (("part", "data/a.csv"),),
        (("part", "data/b c.csv"),),
        (("part", "other/a.csv"),),
        (("part", "DATA/A.csv"),),
    ]
    found = names_of(keys)
    assert found[1] == "part=b_c.csv"
    assert len({name.casefold() for name in found}) == 4
    assert all(name.startswith("part=") and "/" not in name for name in found)
    long = names_of([(("text", "x" * 500 + end),) for end in "ab"])
    assert len(set(long)) == 2
    assert max(map(len, long)) < 80


@pytest.mark.parametrize(
    ("foreach", "values", "words"),
    [
        (over(name="n"), {}, "is empty"),
        (over(2, 2), {}, "`2` more than once"),
        (over(1, 1.0), {}, "more than once"),
        (over(1, "a"), {}, "several types: int and str"),
        (over(True, 1), {}, "several types: bool and int"),
        (over(1, None), {}, "`None` is neither"),
        (over([1], [2]), {}, "`[1]` is neither"),
        (Foreach(axes=(Axis(name="n", kind="parameter", source="depths"),)), {"depths": 3}, "no list"),
        (Foreach(axes=(Axis(name="n", kind="parameter", source="depths"),)), {"depths": []}, "is empty"),
        (Foreach(axes=(Axis(name="n", kind="files", source="nowhere/"),)), {}, "there are no files"),
    ],
)
def test_items_that_cannot_be_told(foreach: Foreach, values: dict[str, Any], words: str) -> None:
    one = book(foreach)
    (fault,) = faults_of_items(one, values)
    assert words in fault.message
    assert fault.step == "fit"
    with pytest.raises(PlanError):
        expand(one, values)


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = tuple(Axis(name=name, kind="values", values=tuple(range(101))) for name in "ab")
    (fault,) = faults_of_items(book(Foreach(axes=axes)), {})
    assert "10201 items, and 10000 are the most" in fault.message
    monkeypatch.setattr(expanding, "MOST", 10201)
    assert faults_of_items(book(Foreach(axes=axes)), {}) == ()


def test_files_are_taken_by_name(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", ".hidden", "sub/c.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    found = {}
    for source in ("data/", "data", "data/*.csv", "data/**/*.csv", f"{tmp_path}/data/b*"):
        foreach = Foreach(axes=(Axis(name="part", kind="files", source=source),))
        one = expand(replace(book(foreach), folder=tmp_path), {})
        found[source] = [each.item.values[0][1] for each in one if each.item]
    assert found == {
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
    world = World()
    world.store.files = {f"{tmp_path.as_posix()}/{one}/sales.csv": "same" for one in "xy"}
    foreach = Foreach(axes=(Axis(name="part", kind="files", source="*/sales.csv"),))
    plan = world.plan(expand(replace(pipeline(step("fit", "", "model", foreach=foreach)), folder=tmp_path), {}))
    first, second = (
        plan[f"fit[{label}]"].parts for label in names_of([(("part", f"{one}/sales.csv"),) for one in "xy"])
    )
    assert (first["file-name:part"], second["file-name:part"]) == ("x/sales.csv", "y/sales.csv")
    assert first["file:part"] == second["file:part"]


def test_texts_that_name_files_stay_texts_and_the_files_count(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a")
    (tmp_path / "sub").mkdir()
    one = expand(replace(book(over("a.csv", "b.csv", "sub", "x" * 5000, "\0", name="part")), folder=tmp_path), {})
    items = [each for each in one if each.item]
    assert [each.files for each in items] == [("a.csv",), (), (), (), ()]
    assert items[0].item is not None
    assert items[0].item.parameters == {"part": "a.csv"}


@pytest.mark.parametrize(
    ("allowed", "items", "may"), [("", 9, 0), ("3", 9, 3), ("10%", 9, 0), ("10%", 29, 2), ("50%", 1, 0)]
)
def test_how_many_may_fail(allowed: str, items: int, may: int) -> None:
    assert over(1, allowed=allowed).may_fail(items) == may


def test_items_have_keys_of_their_own_and_share_what_they_share() -> None:
    world = World()
    first = world.run(expand(book(over(2, 4)), {}))
    assert first["fit[depth=2]"].key != first["fit[depth=4]"].key
    assert set(decisions(world.plan(expand(book(over(2, 4)), {}))).values()) == {"reuse"}

    more = expand(book(over(2, 4, 8)), {})
    assert decisions(world.plan(more)) == {
        "load": "reuse", "fit[depth=2]": "reuse", "fit[depth=4]": "reuse", "fit[depth=8]": "run", "fit": "run",
        "best": "maybe",
    }  # fmt: skip
    assert world.plan(more)["fit"].reason.text == "its items changed"
    other = expand(book(over(4, 2)), {})
    assert decisions(world.plan(other))["fit"] == "run", "another order is another list"
    text = expand(book(over("2", "4")), {})
    assert decisions(world.plan(text))["fit[depth=2]"] == "run", "a text is not a number"


@pytest.mark.parametrize(
    ("allowed", "gone", "decision"), [("1", 1, "run"), ("1", 2, "blocked"), ("", 1, "blocked"), ("2", 3, "blocked")]
)
def test_a_list_with_holes_needs_leave(allowed: str, gone: int, decision: str) -> None:
    world = World()
    one = expand(book(over(1, 2, 3, allowed=allowed)), {})
    world.run(one)
    planner = world.planner(one)
    items = [each.name for each in one if each.item]
    there = {name: {"model": world.store.latest(name).outputs["model"]} for name in items[gone:]}  # type: ignore[union-attr]
    assert planner.decide("fit", there).decision == decision


def test_items_that_are_left_out_are_not_items_that_failed() -> None:
    one = expand(book(over(1, 2, 3, allowed="2")), {})
    world = World()
    world.run(one, only="load")
    plan = world.plan(one, start="fit[depth=2]")
    assert decisions(plan)["fit"] == "blocked"
    assert "left out" in plan["fit"].reason.text
    world.run(one)
    assert decisions(world.plan(one, start="fit[depth=2]"))["fit"] == "reuse", "what is stored of them is taken"


def test_which_items_are_missing_is_part_of_the_key() -> None:
    world = World()
    one = expand(book(over(1, 2, 3, allowed="1")), {})
    whole = world.run(one)["fit"].key
    items = [each.name for each in one if each.item]
    made = {name: {"model": world.store.latest(name).outputs["model"]} for name in items}  # type: ignore[union-attr]
    keys = {whole}
    for left_out in items:
        there = {name: outputs for name, outputs in made.items() if name != left_out}
        keys.add(world.planner(one).decide("fit", there).key)
    assert len(keys) == 4


def test_objects_of_items_bring_their_code_along() -> None:
    world = World()
    fits = book(over(1, 2), packages="sklearn")
    plain = world.run(expand(fits, {}))["best"]
    assert "package:sklearn" not in plain.parts, "JSON names no code"


def test_selections_mean_all_items() -> None:
    world = World()
    one = expand(book(over(1, 2)), {})
    world.run(one)
    assert [name for name, what in decisions(world.plan(one, only="fit")).items() if what == "skip"] == ["load", "best"]
    assert [name for name, what in decisions(world.plan(one, start="fit")).items() if what == "skip"] == ["load"]
    forced = decisions(world.plan(one, forced="fit"))
    assert [name for name, what in forced.items() if what == "run"] == ["fit[depth=1]", "fit[depth=2]", "fit"]


MODELS = Gathered(["a", "b", "c"], [{"d": 1, "r": 0.1}, {"d": 1, "r": 1.0}, {"d": 2, "r": 0.1}], [{"d": 2, "r": 1.0}])


def test_a_gathered_list_is_a_list_that_knows_its_keys() -> None:
    assert MODELS == ["a", "b", "c"]
    assert MODELS.of(d=2) == "c"
    assert MODELS.of(d=1, r=1.0) == "b"
    assert MODELS.where(d=1) == ["a", "b"]
    assert MODELS.where(d=2).failed == [{"d": 2, "r": 1.0}]
    assert MODELS.items()[0] == ((1, 0.1), "a")
    assert Gathered([5], [{"d": 1}]).items() == [(1, 5)]
    for again in (pickle.loads(pickle.dumps(MODELS)), copy.copy(MODELS), copy.deepcopy(MODELS)):
        assert (again, again.keys, again.failed) == (MODELS, MODELS.keys, MODELS.failed)


@pytest.mark.parametrize(
    ("wanted", "words"), [({"d": 3}, "no items"), ({"d": 1}, "2 items"), ({"r": 1.0, "d": 2}, "failed")]
)
def test_what_is_not_one_of_the_list_is_said(wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(KeyError, match=words):
        MODELS.of(**wanted)


def test_keys_go_along_with_results_that_change_places() -> None:
    one = copy.deepcopy(MODELS)
    one.reverse()
    assert (list(one), one.of(d=2)) == (["c", "b", "a"], "c")
    one.sort(key=lambda model: {"a": 2, "b": 1, "c": 3}[model])
    assert one.items() == [((1, 1.0), "b"), ((1, 0.1), "a"), ((2, 0.1), "c")]
    one.sort(reverse=True)
    assert (list(one), one.of(d=2)) == (["c", "b", "a"], "c")


@pytest.mark.parametrize("ask", [lambda one: one.of(d=2), lambda one: one.where(d=2), lambda one: one.items()])
def test_a_list_that_was_made_shorter_does_not_guess(ask: Any) -> None:
    one = copy.deepcopy(MODELS)
    del one[0]
    with pytest.raises(ValueError, match="2 results have 3 keys"):
        ask(one)
