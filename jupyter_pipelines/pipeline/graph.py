"""The pipeline: steps, parameters, and the edges between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.pipeline.artifacts import FileSource, Input, Output, StepOutputRef, UrlSource
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.pipeline.step_graph import build_graph, topological_order

if TYPE_CHECKING:
    import networkx as nx

SCHEMA = "jupyter-pipelines/pipeline/1"
_MAX_NAMES = 8
_SOURCE_KINDS = {StepOutputRef: "step", FileSource: "file", UrlSource: "url"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEdge:
    """A dependency between two steps.

    Parameters
    ----------
    source, target : str
        The step that comes first, and the one that waits.
    names : tuple of str
        The outputs of `source` that `target` takes as inputs; empty for ``--after``.
    """

    source: str
    target: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A pipeline: the steps and parameters of a notebook.

    Parameters
    ----------
    notebook : Path or None
        The notebook; None for the steps of a session without one.
    folder : Path
        Where the steps run, and what relative paths in headers are relative to: the notebook's folder.
    root : Path
        The project's root: the nearest folder upward with a ``pyproject.toml`` or ``.git``, else `folder`.
    steps : tuple of Step
        In notebook order.
    parameters : tuple of Parameter
        In the order of their declaration.
    kernel : str or None
        Name of the kernelspec that the notebook asks for.
    warnings : tuple of Diagnostic
        What is doubtful but stops nothing.
    """

    notebook: Path | None
    folder: Path
    root: Path
    steps: tuple[Step, ...]
    parameters: tuple[Parameter, ...] = ()
    kernel: str | None = None
    warnings: tuple[Diagnostic, ...] = ()
    # Caches. The dataclass is frozen, so containers are filled in place; none of them takes part in comparisons.
    _by_name: Mapping[str, Step] = field(default_factory=dict, init=False, repr=False, compare=False)
    _before: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _order: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _graph: list[nx.DiGraph[str]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {step.name: step for step in self.steps})

    def __repr__(self) -> str:
        names = [step.name for step in self.steps[:_MAX_NAMES]]
        more = len(self.steps) - len(names)
        shown = ", ".join(names) + (f" and {more} more" if more else "")
        return f"<Pipeline {self.name}: {len(self.steps)} steps{f': {shown}' if shown else ''}>"

    def __getitem__(self, name: str) -> Step:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @property
    def name(self) -> str:
        """The notebook's name without its ending."""
        return self.notebook.stem if self.notebook else "session"

    @property
    def edges(self) -> tuple[StepEdge, ...]:
        """All edges, one for each pair of steps; of the edges into a step, those of ``--after`` alone come last."""
        return tuple(edge for step in self.steps for edge in edges_into(step))

    def before(self, name: str) -> tuple[str, ...]:
        """Return the steps that `name` waits for directly."""
        if name not in self._before:
            self._before[name] = tuple(edge.source for edge in edges_into(self[name]))
        return self._before[name]

    def named(self, name: str) -> tuple[str, ...]:
        """Return the steps that `name` selects: of a step over many items, all items and itself; none if unknown."""
        if name not in self:
            return ()
        gathering = self[name].gathering
        return (*gathering.items, name) if gathering else (name,)

    @property
    def graph(self) -> nx.DiGraph[str]:
        """The steps and the edges between them as a graph of networkx.

        Nodes are the names of the steps, in notebook order. They have the attributes ``cells``, ``inputs``,
        ``outputs`` and ``parameters``, each a text with ``, `` between its parts, and ``cpus``, ``gpus``, ``memory``,
        ``on`` and ``kernel`` where the step asks for them. An edge has the attribute ``names``: the outputs passed on;
        empty for ``--after``. The graph cannot be changed, but its `copy` can.
        """
        if not self._graph:
            edges = ((edge.source, edge.target, edge.names) for edge in self.edges)
            self._graph.append(build_graph(self.name, self.steps, edges))
        return self._graph[0]

    def order(self) -> tuple[str, ...]:
        """Return the names of the steps so that each comes after those it waits for.

        Among steps that are free at the same time, notebook order is kept.

        Raises
        ------
        networkx.NetworkXUnfeasible
            The steps wait for each other; a pipeline that :func:`jupyter_pipelines.read` returned never does.
        """
        if not self._order:
            self._order.extend(topological_order({step.name: self.before(step.name) for step in self.steps}))
        return tuple(self._order)

    def remember_order(self, names: Iterable[str]) -> None:
        """Set the order of the steps to one that was determined before, so that it is not computed again.

        Raises
        ------
        ValueError
            They are not the names of the steps.
        """
        order = list(names)
        if sorted(order) != sorted(self._by_name):
            raise ValueError("these are not the names of the steps")
        self._order[:] = order

    def ancestors(self, *names: str) -> frozenset[str]:
        """Return all steps that one of `names` depends on, transitively."""
        import networkx as nx

        return self._reached(nx.ancestors, names)

    def descendants(self, *names: str) -> frozenset[str]:
        """Return all steps that depend on one of `names`, transitively."""
        import networkx as nx

        return self._reached(nx.descendants, names)

    def _reached(self, search: Callable[..., set[str]], names: Iterable[str]) -> frozenset[str]:
        reached: set[str] = set()
        for name in names:
            if name not in reached:  # all that is reached from such a step is reached already
                reached |= search(self.graph, name)
        return frozenset(reached)

    def to_dict(self) -> dict[str, Any]:
        """Return the ``show`` document."""
        return {
            "schema": SCHEMA,
            "notebook": str(self.notebook) if self.notebook else None,
            "parameters": [parameter.to_dict() for parameter in self.parameters],
            "steps": [step_to_dict(step) for step in self.steps],
            "edges": [{"from": edge.source, "to": edge.target, "names": list(edge.names)} for edge in self.edges],
        }


def edges_into(step: Step) -> tuple[StepEdge, ...]:
    """Return the edges that end in `step`."""
    outputs_by_step: dict[str, list[str]] = {}
    for step_input in step.inputs:
        if isinstance(step_input.source, StepOutputRef):
            outputs_by_step.setdefault(step_input.source.step, []).append(step_input.source.output)
    for name in step.after:
        # An edge that carries outputs implies the order: `--after` with the same step adds no second edge.
        outputs_by_step.setdefault(name, [])
    return tuple(
        StepEdge(source=source, target=step.name, names=tuple(dict.fromkeys(names)))
        for source, names in outputs_by_step.items()
    )


def step_to_dict(step: Step) -> dict[str, Any]:
    """Return a step as the ``show`` document describes it."""
    return {
        "name": step.name,
        "inputs": [_input_to_dict(step_input) for step_input in step.inputs],
        "outputs": [_output_to_dict(output) for output in step.outputs],
        "parameters": list(step.parameters),
        "inferred": sorted(step.inferred),
        "after": list(step.after),
        "resources": {
            "cpus": step.resources.cpus,
            "gpus": step.resources.gpus,
            "memory": step.resources.memory,
            "on": step.on,
            "kernel": step.kernel,
        },
        "retries": step.retries,
        "timeout": step.timeout,
        # JSON has no infinity.
        "cache_for": "forever" if step.cache_for == math.inf else step.cache_for,
        "ignore": list(step.ignore),
        "foreach": step.foreach.to_dict() if step.foreach else None,
        "cells": [cell.number for cell in step.cells],
    }


def _input_to_dict(step_input: Input) -> dict[str, Any]:
    kind = _SOURCE_KINDS[type(step_input.source)]
    return {"name": step_input.name, "from": str(step_input.source), "kind": kind, "optional": step_input.optional}


def _output_to_dict(output: Output) -> dict[str, Any]:
    return {"name": output.name, "kind": output.kind, "format": output.format}
