"""What earlier runs left: a run by the names that people give it, and what is said when something is not there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_pipelines.errors import Fault, StoreError, closest
from jupyter_pipelines.pipeline.graph import Pipeline

_BACK = re.compile(r"last(?:~([0-9]{1,6}))?")


def pick(documents: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return the run called `name`.

    Parameters
    ----------
    documents : sequence of Mapping
        Documents of runs, newest first.
    name : str
        An id, its start, its last part (as tables show it), ``last``, or ``last~N`` for the one N before it.

    Raises
    ------
    StoreError
        There is none of that name, or more than one (JP405).
    """
    back = _BACK.fullmatch(name)
    if back:
        start = int(back[1] or 0)
        found = list(documents[start : start + 1])
    else:
        found = [one for one in documents if _is_called(str(one["run"]), name)]
    if len(found) != 1:
        raise StoreError(_which(name, [str(one["run"]) for one in found or documents], ambiguous=bool(found)))
    return dict(found[0])


def _is_called(run: str, name: str) -> bool:
    return bool(name) and (run.startswith(name) or run.endswith(f"-{name}"))


def _which(name: str, runs: Sequence[str], *, ambiguous: bool) -> Fault:
    return Fault(
        code="JP405",
        message=f"`{name}` names more than one run" if ambiguous else f"there is no run `{name}`",
        suggestion="write one of the ids that `jupyter pipelines runs` lists, or `last`",
        notes=(f"runs: {', '.join(runs[:5]) or 'none yet'}",),
    )


def no_output(pipeline: Pipeline, step: str, output: str) -> Fault:
    """Return the fault for an output that a step does not have."""
    names = [one.name for one in pipeline[step].outputs]
    near = closest(output, names)
    return Fault(
        code="JP405",
        message=f"step `{step}` has no output `{output}`",
        suggestion=f"write `{step}.{near or names[0]}`" if names else f"add `-o {output}` to its header, and run it",
        step=step,
        notes=(f"its outputs are: {', '.join(names) or 'none'}",),
    )


def not_stored(pipeline: Pipeline, name: str) -> Fault:
    """Return the fault for an output that no run has left."""
    step = name.partition(".")[0]
    return Fault(
        code="JP405",
        message=f"`{name}` is not in the store",
        suggestion=f"run it first: jupyter pipelines run {pipeline.notebook or 'NOTEBOOK'} --to {step}",
        step=step,
    )
