"""Command-line arguments and environment variables of every kernel of a step, forked or not."""

from __future__ import annotations

from collections.abc import Mapping

KERNELS = "jupyter_pipelines.execution.kernels.forked_kernel"
"""The kind of process that a zygote is asked for: the module of forked kernels."""
ARGUMENTS = ("--HistoryManager.hist_file=:memory:", "--ProfileDir.location={folder}/profile")
"""Of its command line: they keep the user's history out of a step, and what runs at the start of the user's own
sessions, since no key knows it. ``{folder}`` is private to the kernel."""

_UNWANTED = ("PYTEST_CURRENT_TEST",)


def step_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which steps run, made from `environment`, that of the process that runs them.

    Sets and dicts of text keys have the same order in every run, so that the same step stores the same bytes.
    """
    fixed = {"PYTHONHASHSEED": "0", **environment, "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return {name: value for name, value in fixed.items() if name not in _UNWANTED}
