"""Capabilities of remote workers: Python, packages and secrets, queried before a run and compared with the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_pipelines.errors import Diagnostic
from jupyter_pipelines.execution.executors import StepRequirements
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity

ANSWER = 180.0
"""Seconds that a worker has to answer: it has to import this package first, perhaps on a busy machine."""


def describe(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return Python version, package versions, missing secrets and process identity; runs on the worker."""
    from jupyter_pipelines.execution.executors.remote.agent import missing_secrets
    from jupyter_pipelines.planning.keys import packages

    return {
        "process": ProcessIdentity.current().token(),
        "python": packages.python(),
        "versions": packages.versions(tuple(asked["packages"])),
        "secrets": missing_secrets(asked["secrets"]),
    }


def questions(needs: Sequence[StepRequirements]) -> dict[str, Any]:
    """Return the query for workers: packages and secrets of all steps."""
    return {
        "packages": sorted({name for need in needs for name in need.packages}),
        "secrets": {name: where for need in needs for name, where in need.secrets.items()},
    }


def differences(needs: Sequence[StepRequirements], answer: Any) -> list[str]:
    """Return why a worker cannot run these steps: another Python or package version than in their keys, no secret."""
    if isinstance(answer, TimeoutError):
        return [f"not answered for {ANSWER:g} s"]
    if not isinstance(answer, Mapping):
        return [f"no jupyter-pipelines that answers: {answer}"]
    reasons: dict[str, None] = {}
    for need in needs:
        if need.python and need.python != answer["python"]:
            reasons[f"Python {answer['python']}, and the plan is for {need.python}"] = None
        for name, version in need.packages.items():
            there = answer["versions"].get(name, version)
            if version and there != version:
                reasons[f"{name} {there}, and the plan is for {version}"] = None
        lacks = {name: answer["secrets"][name] for name in need.secrets if name in answer["secrets"]}
        reasons |= {f"no secret `{name}`: {why}": None for name, why in lacks.items()}
    return list(reasons)


def mismatch_warning(worker: str, reasons: Sequence[str]) -> Diagnostic:
    """Return the warning that a worker is left out."""
    return Diagnostic(
        code="JP608",
        message=f"the worker {worker} gets no steps: it has {reasons[0]}",
        suggestion="install the same packages there as here, and start it again",
        severity="warning",
        notes=tuple(f"and {reason}" for reason in reasons[1:6]),
    )
