"""One of the earlier runs, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jupyter_pipelines.errors import Fault, StoreError

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
