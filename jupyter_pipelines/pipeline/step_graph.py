"""Pipelines as graphs of networkx, which is imported when a graph is asked for: that takes a tenth of a second."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import networkx as nx

    from jupyter_pipelines.pipeline.step import Step

Predecessors = Mapping[str, Iterable[str]]


def build_graph(name: str, steps: Iterable[Step], edges: Iterable[tuple[str, str, Iterable[str]]]) -> nx.DiGraph[str]:
    """Return the graph of a pipeline; all attributes are texts and numbers, so that every file format can hold them.

    Parameters
    ----------
    name : str
        The pipeline's name.
    steps : iterable of Step
        The nodes.
    edges : iterable of (str, str, iterable of str)
        Source and target of each edge, and the names of the outputs passed on.
    """
    import networkx as nx

    graph = nx.DiGraph(name=name)
    graph.add_nodes_from((step.name, _attributes(step)) for step in steps)
    graph.add_edges_from((source, target, {"names": ", ".join(names)}) for source, target, names in edges)
    # The pipeline keeps this graph: a change to it would change the order of the steps.
    return nx.freeze(graph)


def topological_order(predecessors: Predecessors) -> tuple[str, ...]:
    """Return the names in topological order, as near to their order in the mapping as can be.

    Raises
    ------
    networkx.NetworkXUnfeasible
        The names wait for each other.
    """
    names = tuple(predecessors)
    # Steps of most notebooks are in order already, and importing networkx takes 0.1 s.
    if is_in_order(predecessors):
        return names
    import networkx as nx

    rank = {name: position for position, name in enumerate(names)}
    return tuple(nx.lexicographical_topological_sort(waiting_graph(predecessors), key=rank.__getitem__))


def is_in_order(predecessors: Predecessors) -> bool:
    """Return whether each name comes after those it waits for: the steps of most notebooks do."""
    earlier: set[str] = set()
    for name, names in predecessors.items():
        if not earlier.issuperset(names):
            return False
        earlier.add(name)
    return True


def shortest_cycle(predecessors: Predecessors) -> tuple[str, ...]:
    """Return the names along a shortest cycle through the first name that is in one, each waiting for the next.

    The first name is not repeated at the end; nothing is returned where there is no cycle.
    """
    if is_in_order(predecessors):
        return ()
    import networkx as nx

    graph = waiting_graph(predecessors).reverse(copy=False)
    components = nx.strongly_connected_components(graph)
    cyclic = {name for component in components if len(component) > 1 for name in component}
    start = next((name for name in predecessors if name in cyclic), None)
    if start is None:
        return ()
    paths = nx.single_source_shortest_path(graph, start)
    cycles = [tuple(paths[name]) for name in graph.predecessors(start) if name in paths]
    return min(cycles, key=len)


def waiting_graph(predecessors: Predecessors) -> nx.DiGraph[str]:
    """Return the graph with an edge to each name from those it waits for."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(predecessors)
    graph.add_edges_from((name, target) for target, names in predecessors.items() for name in names)
    return graph


def _attributes(step: Step) -> dict[str, Any]:
    """Return what a graph says of a step; what is not asked for is left out."""
    listed = {
        "cells": [str(cell.number) for cell in step.cells],
        "inputs": [step_input.name for step_input in step.inputs],
        "outputs": [output.name for output in step.outputs],
        "parameters": step.parameters,
    }
    resources = step.resources
    optional = {
        "cpus": resources.cpus,
        "gpus": resources.gpus,
        "memory": resources.memory,
        "on": step.on,
        "kernel": step.kernel,
    }
    texts = {field: ", ".join(names) for field, names in listed.items()}
    # GraphML and DOT have no value for None.
    return texts | {field: value for field, value in optional.items() if value is not None}
