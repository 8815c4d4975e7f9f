"""Files that a step only appended to: no results that are verified, but they matter where another step writes them."""

from __future__ import annotations

import json
from pathlib import Path

from jupyter_pipelines.execution.kernel_side.tracing.access_log import TRACE
from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import counts_as_written
from jupyter_pipelines.execution.ticket import StepTicket
from jupyter_pipelines.pipeline.ignored_paths import is_ignored
from jupyter_pipelines.planning.keys.traces import path_in_trace


def appended_files(ticket: StepTicket, folder: Path) -> tuple[str, ...]:
    """Return the files that a step only appended to, as traces name them; without logs and what is ignored.

    Parameters
    ----------
    ticket : StepTicket
        The step.
    folder : Path
        The folder of the attempt, where its kernel has logged what it did.
    """
    try:
        paths = json.loads((folder / TRACE).read_text("utf-8", "surrogateescape"))["appended"]
    except (OSError, ValueError):
        return ()
    root = ticket.root or ticket.cwd
    names = [path_in_trace(path, root) for path in paths if not path.startswith(("/dev/", "/proc/"))]
    return tuple(name for name in names if counts_as_written(name) and not is_ignored(name, ticket.ignored))
