"""Command-line arguments and environment variables of every kernel of a step, forked or not."""

from __future__ import annotations

from collections.abc import Mapping

from jupyter_pipelines.pipeline.changing_variables import DEFAULTS, FIXED

KERNELS = "jupyter_pipelines.execution.kernels.forked_kernel"
"""The kind of process that a zygote is asked for: the module of forked kernels."""
ARGUMENTS = (
    "--HistoryManager.hist_file=:memory:",
    "--ProfileDir.location={folder}/profile",
    "--InteractiveShellApp.exec_PYTHONSTARTUP=False",
)
"""Arguments that keep IPython's history and the start-up files of the user out of a step: they are part of no key.
``{folder}`` is private to the kernel."""

_UNWANTED = ("PYTEST_CURRENT_TEST",)


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which steps run, made from `environment`, that of the process that runs them."""
    variables = {**DEFAULTS, **environment, **FIXED}
    return {name: value for name, value in variables.items() if name not in _UNWANTED}
