"""Whose code comes along with an input: objects are stored with the names of their classes, not with their code.

A pickle of an object of `models.Model` says ``models.Model``; what its methods do is read from `models` when they are
called. A step that takes such an object depends on the modules and packages of the step that made it, and on those of
the steps that this one took such objects from, however many there are between.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from jupyter_pipelines.pipeline.data import Artifact, Input, Upstream
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step

PLAIN = frozenset({"json", "text", "bytes", "arrow", "parquet", "npy", "file", "folder"})
"""Formats that hold data alone. Any other may name code, those of plug-ins included."""

OutputsOf = Callable[[str], Mapping[str, Artifact]]


class Carrier:
    """Knows what comes along with the outputs of steps; looks at each step once.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    outputs_of : callable
        Takes the name of a step and returns what there is of it, which must not change any more for the steps before
        one that is asked about. What is not there is taken to name code.
    """

    def __init__(self, pipeline: Pipeline, outputs_of: OutputsOf) -> None:
        self._pipeline = pipeline
        self._outputs_of = outputs_of
        self._brought: dict[str, Step] = {}

    def widened(self, step: Step, known: Container[str]) -> Step:
        """Return `step` with the modules and packages that objects among its inputs may name.

        Parameters
        ----------
        step : Step
            What takes the inputs.
        known : container of str
            Names of the inputs that are there.
        """
        makers = self._makers(one for one in step.inputs if one.name in known)
        return _joined(step, [self._bringing(name) for name in makers])

    def _makers(self, inputs: Iterable[Input]) -> list[str]:
        """Return the steps that inputs come from which may name code."""
        sources = (source for one in inputs for source in self._sources(one))
        return list(dict.fromkeys(source.step for source in sources if self._names_code(source)))

    def _sources(self, one: Input) -> Iterator[Upstream]:
        """Yield what an input comes from: of what was gathered, what each item made."""
        source = one.source
        if not isinstance(source, Upstream) or source.step not in self._pipeline:
            return
        step = self._pipeline[source.step]
        if step.gathering is None:
            yield source
        else:
            yield from (Upstream(step=item, output=source.output) for item in step.gathering.items)

    def _names_code(self, source: Upstream) -> bool:
        artifact = self._outputs_of(source.step).get(source.output)
        return artifact is None or artifact.format not in PLAIN

    def _bringing(self, name: str) -> Step:
        """Return a step with all that comes along with its outputs, from however far."""
        left = [name] if name not in self._brought else []
        while left:
            step = self._pipeline[left[-1]]
            makers = self._makers(step.inputs)
            waiting = [maker for maker in makers if maker not in self._brought]
            left += waiting
            if not waiting:
                self._brought[left.pop()] = _joined(step, [self._brought[maker] for maker in makers])
        return self._brought[name]


def _joined(step: Step, makers: Sequence[Step]) -> Step:
    if not any(maker.modules or maker.packages for maker in makers):
        return step
    modules = {module.name: module for one in (*makers, step) for module in one.modules}
    packages = dict.fromkeys(name for one in (step, *makers) for name in one.packages)
    return replace(step, modules=tuple(modules.values()), packages=tuple(packages))
