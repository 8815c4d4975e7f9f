"""Pipelines as GraphML and DOT."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import networkx as nx
import pytest

from jupyter_pipelines.reporting.dot import write_dot
from jupyter_pipelines.reporting.graphml import write_graphml
from jupyter_pipelines.reporting.step_status import StepStatus
from tests.reporting.sample_graphs import PAYLOADS, models, pipeline, step


def test_graphml_is_read_back_as_the_graph_that_it_was() -> None:
    graph = models().graph
    again = nx.read_graphml(io.BytesIO(write_graphml(models()).encode()))
    assert list(again.nodes(data=True)) == list(graph.nodes(data=True))
    assert list(again.edges(data=True)) == list(graph.edges(data=True))


def test_dot() -> None:
    text = write_dot(
        pipeline(step("a", 1, ("f=in/a.csv",), ("x",)), step("end", 2, ("a.x",)), step("tell", 3, after=("a",))),
        {"a": StepStatus(state="reused", saved=4.0)},
    )
    assert text.splitlines()[1:] == [
        "  rankdir=LR",
        '  node [shape=box, style="rounded,filled", fillcolor="white"]',
        r'  "a" [label="a\nreused, 4.0 s", color="#6639ba", fontcolor="#6639ba", fillcolor="#efe5fd"]',
        '  "end"',
        '  "tell"',
        '  "file:in/a.csv" [label="in/a.csv", shape=note, style=solid]',
        '  "file:in/a.csv" -> "a" [label="f"]',
        '  "a" -> "end" [label="x"]',
        '  "a" -> "tell" [style=dashed]',
        "}",
    ]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_they_hold_only_text_of_others(payload: str) -> None:
    name = payload.replace("=", "")
    hostile = pipeline(step(payload, 1, (f"{name}={payload}",), (payload,)), step("b", 2, after=(payload,)))
    plain = pipeline(step("a", 1, ("f=a",), ("x",)), step("b", 2, after=("a",)))
    skeletons = [re.sub(r'"(?:[^"\\]|\\.)*"', '""', write_dot(each)) for each in (hostile, plain)]
    assert skeletons[0] == skeletons[1]
    tags = [[element.tag for element in ET.fromstring(write_graphml(each)).iter()] for each in (hostile, plain)]
    assert tags[0] == tags[1]
