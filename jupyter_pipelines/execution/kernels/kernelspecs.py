"""Kernelspecs that steps name and that are not installed; checked before anything runs."""

from __future__ import annotations

from dataclasses import replace

from jupyter_pipelines.errors import Diagnostic, closest_name
from jupyter_pipelines.pipeline.graph import Pipeline


def missing_kernels(pipeline: Pipeline) -> tuple[Diagnostic, ...]:
    """Return a fault for every step whose ``--kernel`` is not installed."""
    # The items of a step are one step here, as they are in the notebook.
    steps = [replace(step, name=step.item.group if step.item else step.name) for step in pipeline if step.kernel]
    steps = list({step.name: step for step in steps}.values())
    known = _installed() if steps else ()
    return tuple(
        Diagnostic(
            code="JP305",
            message=f"step `{step.name}` asks for the kernel `{step.kernel}`, which is not installed",
            suggestion=f"write `--kernel {_suggested_name(str(step.kernel), known)}`, or install it",
            notebook=str(pipeline.notebook) if pipeline.notebook else None,
            step=step.name,
            place=step.place,
            notes=(f"installed: {', '.join(known) or 'none'}",),
        )
        for step in steps
        if step.kernel not in known
    )


def _suggested_name(name: str, installed: tuple[str, ...]) -> str:
    return closest_name(name, installed) or (installed or ("NAME",))[0]


def _installed() -> tuple[str, ...]:
    from jupyter_pipelines.execution.kernels.launch import installed_kernels  # jupyter_client takes 0.1 s to import

    return installed_kernels()
