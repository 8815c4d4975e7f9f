"""Command-line arguments and environment variables of every kernel of a step, forked or not."""

from __future__ import annotations

from collections.abc import Mapping

KERNELS = "jupyter_pipelines.execution.kernels.forked_kernel"
"""The kind of process that a zygote is asked for: the module of forked kernels."""
ARGUMENTS = ("--HistoryManager.hist_file=:memory:", "--ProfileDir.location={folder}/profile")
"""Of its command line: they keep the user's history out of a step, and what runs at the start of the user's own
sessions, since no key knows it. ``{folder}`` is private to the kernel."""

DEFAULTS = {"PYTHONHASHSEED": "0"}
"""Variables that steps get unless they are set: sets and dicts of text keys have the same order in every run."""
FIXED = {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
"""Variables that steps get in any case."""
SET_BY_KERNELS = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
"""Variables that ipykernel sets for itself and for what it starts."""
_UNWANTED = ("PYTEST_CURRENT_TEST",)


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which steps run, made from `environment`, that of the process that runs them."""
    variables = {**DEFAULTS, **environment, **FIXED}
    return {name: value for name, value in variables.items() if name not in _UNWANTED}
