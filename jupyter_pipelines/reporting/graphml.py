"""A pipeline as GraphML, which Gephi, yEd, Cytoscape and networkx read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.sanitize import clean

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline

_LIMIT = 100_000


def write_graphml(pipeline: Pipeline) -> str:
    """Return ``pipeline.graph`` as GraphML: steps and edges with their attributes.

    Parameters
    ----------
    pipeline : Pipeline
        What to write.
    """
    import networkx as nx

    # XML has no control characters; no attribute that a notebook is accepted with has any.
    # A copy: pipeline.graph is public, and shared by everything that uses the pipeline.
    graph = nx.relabel_nodes(pipeline.graph, _printable, copy=True)
    graph.graph["name"] = _printable(pipeline.name)
    for _, attributes in graph.nodes(data=True):
        attributes.update({field: _printable(value) for field, value in attributes.items()})
    for _, _, attributes in graph.edges(data=True):
        attributes["names"] = _printable(attributes["names"])
    return "\n".join(['<?xml version="1.0" encoding="utf-8"?>', *nx.generate_graphml(graph, named_key_ids=True)]) + "\n"


def _printable(value: Any) -> Any:
    return clean(value, _LIMIT) if isinstance(value, str) else value
