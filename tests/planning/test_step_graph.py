"""The graph of a pipeline: order, cycles, what networkx makes of it, and that it is not imported without need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jupyter_pipelines as jp
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step_graph import is_in_order, shortest_cycle, topological_order
from tests.e2e.notebook_project import NotebookProject
from tests.reporting.sample_graphs import pipeline, step

ROOT = Path(__file__).parents[2]
CHURN = (
    "%%step load -o rows --cpus 2\nrows = [1, 2]",
    "%%step clean -i rows -o tidy\ntidy = rows",
    "%%step train -i tidy -o model\nmodel = sum(tidy)",
    "%%step plot -i rows --after clean\nprint(rows)",
    "%%step score -i model tidy -o result\nresult = model / len(tidy)",
)


@pytest.fixture
def churn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    (tmp_path / "pyproject.toml").write_text("")
    NotebookProject(tmp_path, "churn.ipynb").write(*CHURN)
    monkeypatch.chdir(tmp_path)
    return jp.read("churn.ipynb")


def test_steps_and_edges_are_there_with_their_attributes(churn: Pipeline) -> None:
    graph = churn.graph
    assert list(graph) == ["load", "clean", "train", "plot", "score"]
    assert graph.nodes["load"] == {"cells": "1", "inputs": "", "outputs": "rows", "parameters": "", "cpus": 2}
    assert graph.nodes["score"]["inputs"] == "model, tidy"
    assert {(source, target): names for source, target, names in graph.edges(data="names")} == {
        ("load", "clean"): "rows", ("clean", "train"): "tidy", ("load", "plot"): "rows", ("clean", "plot"): "",
        ("train", "score"): "model", ("clean", "score"): "tidy",
    }  # fmt: skip
    assert graph is churn.graph
    with pytest.raises(nx.NetworkXError):
        graph.remove_node("load")
    graph.copy().remove_node("load")
    assert churn.ancestors("plot") == {"load", "clean"}
    assert churn.descendants("train", "clean") == {"train", "plot", "score"}


def test_what_the_page_shows_works(churn: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "show", lambda: None)
    text = (ROOT / "docs" / "graph.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, "docs/graph.md", "exec"), names)
    assert set(names["part"]) == {"load", "clean", "train", "score"}  # type: ignore[call-overload]
    assert pyplot.gca().texts, "the part is drawn"
    pyplot.close("all")
    assert nx.transitive_reduction(churn.graph).edges == churn.graph.edges - {("clean", "score"), ("load", "plot")}


WAITING = st.integers(1, 9).flatmap(
    lambda count: st.fixed_dictionaries(
        {
            f"s{number}": st.lists(st.sampled_from([f"s{n}" for n in range(count)]), unique=True)
            for number in range(count)
        }
    )
)


@given(WAITING)
def test_an_order_or_a_shortest_cycle(waiting: dict[str, list[str]]) -> None:
    waiting = {name: [other for other in names if other != name] for name, names in waiting.items()}
    cycle = shortest_cycle(waiting)
    if not cycle:
        order = topological_order(waiting)
        assert is_in_order({name: waiting[name] for name in order})
        assert sorted(order) == sorted(waiting)
        # Notebook order as far as it goes: a step stands before an earlier one only if that one is not yet free.
        for place, name in enumerate(order):
            free = [other for other in order[place:] if set(waiting[other]) <= set(order[:place])]
            assert name == min(free, key=list(waiting).index)
        return
    with pytest.raises(nx.NetworkXUnfeasible):
        topological_order(waiting)
    for name, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
        assert other in waiting[name]
    graph = nx.DiGraph([(name, other) for name, names in waiting.items() for other in names])
    cycles = [found for found in nx.simple_cycles(graph) if cycle[0] in found]
    assert len(cycle) == min(map(len, cycles))
    assert cycle[0] == next(name for name in waiting if any(name in found for found in nx.simple_cycles(graph)))


def test_a_remembered_order_has_to_be_of_these_steps() -> None:
    graph = pipeline(step("a", 1, ("b.x",)), step("b", 2, (), ("x",)))
    assert graph.order() == ("b", "a")
    with pytest.raises(ValueError, match="names of the steps"):
        graph.remember_order(["a", "c"])


@pytest.mark.process
def test_a_plan_of_an_unchanged_notebook_imports_no_networkx(tmp_path: Path) -> None:
    """The order comes with the remembered reading, also where steps stand below those that wait for them."""
    (tmp_path / "pyproject.toml").write_text("")
    book = NotebookProject(tmp_path)
    book.write("%%step last -i kept=each.x\nprint(kept)", "%%step each --foreach n=1,2 -o x\nx = n")
    script = "import sys; from jupyter_pipelines.interfaces.cli import main\n"
    script += "code = main.call(sys.argv[1:]); print('networkx' in sys.modules, file=sys.stderr); sys.exit(code)"

    def imports_it(*arguments: str) -> bool:
        command = [sys.executable, "-c", script, arguments[0], book.name, *arguments[1:]]
        environment = os.environ | {"JUPYTER_PIPELINES_CACHE": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stderr.splitlines()[-1] == "True"

    assert imports_it("plan"), "the steps stand in another order than they run in"
    assert not imports_it("plan")
    assert not imports_it("show")
    assert imports_it("show", "--format", "svg")
