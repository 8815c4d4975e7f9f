"""Keys of steps, computed once: in a plan and its run, the same step with the same inputs has the same parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.keys.environment import PythonEnvironment
from jupyter_pipelines.planning.keys.fingerprint import key, parts


class StepKey(NamedTuple):
    """The fingerprint of a step, and the key over it."""

    parts: Mapping[str, str]
    key: str


class PlanStepKeys:
    """Computes the parts and keys of steps, each once.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    values : Mapping of str to object
        Values of the parameters.
    environment : PythonEnvironment or callable
        The Python that steps run in; or what returns it for the kernel that a step names, None for the notebook's own.
        It is examined once: packages are assumed not to change between a plan and the end of its run.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        values: Mapping[str, Any],
        environment: PythonEnvironment | Callable[[str | None], PythonEnvironment],
    ) -> None:
        self._pipeline = pipeline
        self._values = values
        self._find_environment = environment
        self._environments: dict[str | None, PythonEnvironment] = {}
        self._made: dict[str, tuple[Step, Mapping[str, str], StepKey]] = {}

    def of(self, step: Step, known: Mapping[str, str]) -> StepKey:
        """Return what the result of `step` depends on.

        Parameters
        ----------
        step : Step
            A step of the pipeline, with the code dependencies that come with its inputs.
        known : Mapping of str to str
            Its inputs, see :func:`jupyter_pipelines.planning.keys.fingerprint.parts`.
        """
        cached = self._made.get(step.name)
        # An equal step is nearly always the same object, and comparing identity takes no time.
        if cached is not None and cached[1] == known and (cached[0] is step or cached[0] == step):
            return cached[2]
        environment = self.environment_of(step)
        values = {**self._values, **step.item.parameters} if step.item else self._values
        fingerprint = parts(step, values=values, inputs=known, environment=environment)
        step_key = StepKey(fingerprint, key(fingerprint))
        # A copy: later calls are compared with these inputs, whatever the caller does with its mapping.
        self._made[step.name] = (step, dict(known), step_key)
        return step_key

    def environment_of(self, step: Step) -> PythonEnvironment:
        """Return the Python of a step; the first call looks up the packages of all steps with the same kernel."""
        if step.kernel not in self._environments:
            provided = self._find_environment
            environment = provided if isinstance(provided, PythonEnvironment) else provided(step.kernel)
            users = (other for other in self._pipeline if other.kernel == step.kernel)
            environment.prepare(name for user in users for name in user.packages)
            self._environments[step.kernel] = environment
        environment = self._environments[step.kernel]
        if step is not self._pipeline[step.name]:  # its inputs bring further packages
            environment.prepare(step.packages)
        return environment
