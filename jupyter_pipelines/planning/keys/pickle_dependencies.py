"""Code that pickled inputs depend on: a pickle holds the names of classes and functions, not their code.

A pickle of an object of `models.Model` says ``models.Model``; what its methods do is read from `models` when they are
called. A step that takes such an object depends on the modules and packages of its producer, and on those of the
steps that the producer took such objects from, transitively.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from jupyter_pipelines.pipeline.artifacts import Artifact, Input, StepOutputRef
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.storage import serializers

OutputsOf = Callable[[str], Mapping[str, Artifact]]


class PickleDependencies:
    """Modules and packages that pickled outputs of steps depend on; each step is examined once.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    outputs_of : callable
        Takes the name of a step and returns its known outputs. Those of steps before a step that is asked about must
        not change between calls. An output that is not known is assumed to be a pickle.
    """

    def __init__(self, pipeline: Pipeline, outputs_of: OutputsOf) -> None:
        self._pipeline = pipeline
        self._outputs_of = outputs_of
        self._brought: dict[str, Step] = {}

    def with_dependencies(self, step: Step, known: Container[str]) -> Step:
        """Return `step` with the modules and packages that objects among its inputs may name.

        Parameters
        ----------
        step : Step
            What takes the inputs.
        known : container of str
            Names of the inputs that are there.
        """
        producers = self._makers(step_input for step_input in step.inputs if step_input.name in known)
        return _with_code_of(step, [self._step_with_dependencies(name) for name in producers])

    def _makers(self, inputs: Iterable[Input]) -> list[str]:
        """Return the steps that produce those inputs which may be pickles."""
        sources = (source for step_input in inputs for source in self._sources(step_input))
        return list(dict.fromkeys(source.step for source in sources if self._names_code(source)))

    def _sources(self, step_input: Input) -> Iterator[StepOutputRef]:
        """Yield the outputs that an input consists of: for gathered results, those of all items."""
        source = step_input.source
        if not isinstance(source, StepOutputRef) or source.step not in self._pipeline:
            return
        step = self._pipeline[source.step]
        if step.gathering is None:
            yield source
        else:
            yield from (StepOutputRef(step=item, output=source.output) for item in step.gathering.items)

    def _names_code(self, source: StepOutputRef) -> bool:
        artifact = self._outputs_of(source.step).get(source.output)
        return artifact is None or serializers.holds_code(artifact.format)

    def _step_with_dependencies(self, name: str) -> Step:
        """Return a step with the modules and packages that pickles of its outputs may name, transitively."""
        # A stack, not recursion: chains of steps may be longer than the limit of the interpreter.
        pending = [name] if name not in self._brought else []
        while pending:
            step = self._pipeline[pending[-1]]
            producers = self._makers(step.inputs)
            waiting = [producer for producer in producers if producer not in self._brought]
            pending += waiting
            if not waiting:
                self._brought[pending.pop()] = _with_code_of(step, [self._brought[producer] for producer in producers])
        return self._brought[name]


def _with_code_of(step: Step, producers: Sequence[Step]) -> Step:
    if not any(producer.modules or producer.packages for producer in producers):
        return step
    modules = {module.name: module for provider in (*producers, step) for module in provider.modules}
    packages = dict.fromkeys(name for provider in (step, *producers) for name in provider.packages)
    return replace(step, modules=tuple(modules.values()), packages=tuple(packages))
