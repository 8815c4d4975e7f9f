"""Kernelspecs that steps name and that are not installed; checked before anything runs."""

from __future__ import annotations

from jupyter_pipelines.errors import Fault, closest
from jupyter_pipelines.pipeline.graph import Pipeline


def missing_kernels(pipeline: Pipeline) -> tuple[Fault, ...]:
    """Return a fault for every step whose ``--kernel`` is not installed."""
    steps = [step for step in pipeline if step.kernel is not None]
    known = _installed() if steps else ()
    return tuple(
        Fault(
            code="JP305",
            message=f"step `{step.name}` asks for the kernel `{step.kernel}`, which is not installed",
            suggestion=f"write `--kernel {closest(str(step.kernel), known) or (known or ('NAME',))[0]}`, or install it",
            notebook=str(pipeline.notebook) if pipeline.notebook else None,
            step=step.name,
            place=step.place,
            notes=(f"installed: {', '.join(known) or 'none'}",),
        )
        for step in steps
        if step.kernel not in known
    )


def _installed() -> tuple[str, ...]:
    from jupyter_pipelines.running.kernels.launching import installed  # jupyter_client takes 0.1 s to import

    return installed()
