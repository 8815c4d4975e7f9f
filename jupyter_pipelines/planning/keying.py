"""Keys of steps, each made once: the same step with the same inputs has the same parts in one plan and its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.step import Step
from jupyter_pipelines.planning.environment import Environment
from jupyter_pipelines.planning.fingerprint import key, parts


class Keyed(NamedTuple):
    """What the result of a step depends on, and the key over all of it."""

    parts: Mapping[str, str]
    key: str


class Keying:
    """Knows what the results of steps depend on.

    Parameters
    ----------
    pipeline : Pipeline
        Holds the steps.
    values : Mapping of str to object
        Values of the parameters.
    environment : Environment or callable
        The Python that steps run in; or what returns it for the kernel that a step names, None for the notebook's own.
        It is looked at once: packages are taken to stay as they are from the plan to the end of its run.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        values: Mapping[str, Any],
        environment: Environment | Callable[[str | None], Environment],
    ) -> None:
        self._pipeline = pipeline
        self._values = values
        self._find_environment = environment
        self._environments: dict[str | None, Environment] = {}
        self._made: dict[str, tuple[Step, Mapping[str, str], Keyed]] = {}

    def of(self, step: Step, known: Mapping[str, str]) -> Keyed:
        """Return what the result of `step` depends on.

        Parameters
        ----------
        step : Step
            A step of the pipeline, with what comes along with its inputs.
        known : Mapping of str to str
            Its inputs, see :func:`jupyter_pipelines.planning.fingerprint.parts`.
        """
        made = self._made.get(step.name)
        # An equal step is nearly always the same one, and comparing that takes no time.
        if made is not None and made[1] == known and (made[0] is step or made[0] == step):
            return made[2]
        environment = self._environment_of(step)
        values = {**self._values, **step.item.parameters} if step.item else self._values
        found = parts(step, values=values, inputs=known, environment=environment)
        keyed = Keyed(found, key(found))
        self._made[step.name] = (step, dict(known), keyed)
        return keyed

    def _environment_of(self, step: Step) -> Environment:
        """Return the Python of a step; all packages that matter are looked at the first time."""
        if step.kernel not in self._environments:
            found = self._find_environment
            found = found if isinstance(found, Environment) else found(step.kernel)
            found.prepare(name for one in self._pipeline if one.kernel == step.kernel for name in one.packages)
            self._environments[step.kernel] = found
        environment = self._environments[step.kernel]
        if step is not self._pipeline[step.name]:  # more than its own code comes along
            environment.prepare(step.packages)
        return environment
