"""Test the JSON documents that front ends draw graphs from."""

from __future__ import annotations

import json
import re

import pytest

from jupyter_pipelines.reporting.graph_json import critical_path, graph_document, status_document
from jupyter_pipelines.reporting.step_status import STATE_STYLES, StepStatus
from tests.reporting.sample_graphs import pipeline, step


def test_every_step_stands_somewhere_and_every_line_ends_at_its_step() -> None:
    sample = pipeline(
        step(
            "load",
            1,
            (),
            (
                "rows",
                "spare",
            ),
        ),
        step("left", 2, ("load.rows",), ("a",)),
        step("right", 3, ("load.rows", "x=data/x.csv"), ("b",)),
        step(
            "join",
            4,
            (
                "left.a",
                "right.b",
            ),
        ),
    )
    document = graph_document(sample)
    nodes = {node["id"]: node for node in document["nodes"]}
    assert nodes.keys() == {"load", "left", "right", "join", "file:data/x.csv"}
    for node in nodes.values():
        assert 0 <= node["x"] <= document["width"] - node["width"]
        assert 0 <= node["y"] <= document["height"] - node["height"]
    assert {(edge["from"], edge["to"], *edge["names"]) for edge in document["edges"]} == {
        ("file:data/x.csv", "right", "x"), ("load", "left", "rows"), ("load", "right", "rows"), ("left", "join", "a"),
        ("right", "join", "b"), ("load", None, "spare"),
    }  # fmt: skip
    for edge in document["edges"]:
        start, end = ends(edge["path"])
        assert start[0] == pytest.approx(nodes[edge["from"]]["x"] + nodes[edge["from"]]["width"], abs=1)
        if edge["to"]:
            assert end[0] == pytest.approx(nodes[edge["to"]]["x"], abs=1)
    assert [row["id"] for row in document["rails"]] == ["load", "left", "right", "join"]
    assert set(document["looks"]) == set(STATE_STYLES)
    assert (document["groups"], document["overview"]) == ([], None)
    json.dumps(document, allow_nan=False)


def ends(path: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the first and the last point of an SVG path of M, H and c commands."""
    x = y = 0.0
    start = None
    for kind, numbers in re.findall(r"([MHc])([^MHc]*)", path):
        values = [float(number) for number in numbers.split()]
        if kind == "M":
            x, y = values
            start = (x, y)
        elif kind == "H":
            x = values[0]
        else:
            x, y = x + values[4], y + values[5]
    assert start is not None
    return start, (x, y)


def test_rails_lead_from_each_step_to_the_last_one_that_waits_for_it() -> None:
    sample = pipeline(step("a", 1, (), ("x",)), step("b", 2, ("a.x",), ("y",)), step("c", 3, ("b.y",)))
    rows = graph_document(sample)["rails"]
    assert [(row["lane"], row["from"], row["ends"], row["to"]) for row in rows] == [
        (0, [], [], [0]), (0, [0], [0], [0]), (0, [0], [0], []),
    ]  # fmt: skip


@pytest.mark.parametrize("prefix", ["fit_{}", "{}_fit"])
def test_a_large_pipeline_comes_in_groups_that_do_not_wait_for_each_other(prefix: str) -> None:
    names = [prefix.format(f"s{number // 40}_{number}") for number in range(400)]
    linked = [
        step(name, number + 1, (f"{names[number - 40]}.x",) if number >= 40 else (), ("x",))
        for number, name in enumerate(names)
    ]
    document = graph_document(pipeline(*linked))
    members = [name for group in document["groups"] for name in group["steps"]]
    assert sorted(members) == sorted(names)
    assert max(len(group["steps"]) for group in document["groups"]) <= 60
    overview = document["overview"]
    assert {node["id"] for node in overview["nodes"]} == {group["id"] for group in document["groups"]}
    assert {node["group"] for node in document["nodes"]} == {group["id"] for group in document["groups"]}
    assert sum(node["count"] for node in overview["nodes"]) == 400
    places = {node["id"]: node["x"] for node in overview["nodes"]}
    assert all(places[edge["from"]] < places[edge["to"]] for edge in overview["edges"])


def test_a_document_of_statuses_leaves_out_what_is_not_known() -> None:
    statuses = {
        "load": StepStatus(state="succeeded", seconds=1.23456),
        "fit": StepStatus(state="run", detail="never run\x1b"),
    }
    document = status_document(statuses, run="r1", more={"fit": {"decision": "run", "error": None}})
    assert document["steps"] == {
        "load": {"state": "succeeded", "seconds": 1.235},
        "fit": {"state": "run", "detail": "never run\\x1b", "decision": "run"},
    }


def test_the_critical_path_is_the_longest_by_what_is_known() -> None:
    sample = pipeline(
        step("load", 1, (), ("rows",)),
        step("slow", 2, ("load.rows",), ("a",)),
        step("fast", 3, ("load.rows",), ("b",)),
        step(
            "join",
            4,
            (
                "slow.a",
                "fast.b",
            ),
        ),
    )
    seconds = {"load": 1.0, "slow": 9.0, "fast": 2.0, "join": 1.0}
    statuses = {name: StepStatus(state="succeeded", seconds=duration) for name, duration in seconds.items()}
    assert critical_path(sample, statuses) == ["load", "slow", "join"]
    assert critical_path(sample, {}) == []
