"""The trace of the step that this kernel runs; for a forked kernel it begins with the imports of its zygote.

Runs inside the kernel, so it imports the standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jupyter_pipelines.execution.kernel_side.tracing import project_imports
from jupyter_pipelines.execution.kernel_side.tracing.access_log import TRACE, AccessLog
from jupyter_pipelines.execution.kernel_side.tracing.counted_paths import python_folders
from jupyter_pipelines.execution.kernel_side.tracing.lookup_watch import module_files

_LOGS: list[AccessLog] = []


def note(*, on: bool) -> None:
    """Switch logging on or off around imports in a zygote: what they read counts for every kernel forked from it."""
    if not _LOGS:
        _LOGS.append(AccessLog())
        _LOGS[0].attach()
        for known in (python_folders, module_files):  # forked kernels need not ask again
            known()
    _LOGS[0].note(on=on)


def begin(watch: Mapping[str, Any]) -> None:
    """Begin to log what a step does.

    Parameters
    ----------
    watch : Mapping
        ``root``, the project's folder; ``left_out``, folders and files that do not count; ``outside``, files
        and folders elsewhere that are watched; ``ignored``, patterns of files of the project that do not count;
        ``children``, a file in which forked processes leave notes.
    """
    note(on=False)
    folders = _connection_folders()
    log = _LOGS[0]
    paths = log.begin(
        watch["root"],
        [*watch["left_out"], *folders],
        watch["outside"],
        ignored=watch.get("ignored", ()),
        children_file=watch.get("children", ""),
        kernel_folder=next(iter(folders), ""),
    )
    project_imports.install(paths, log.note_search, log.note_path_entry)
    note(on=True)
    # The watch is placed before noting begins, so it has also seen what the set-up itself opened and listed.
    log.forget_events()


@contextlib.contextmanager
def unnoted() -> Iterator[None]:
    """Suspend logging in this thread: what our own code examines is no dependency of the step."""
    with _LOGS[0].unnoted() if _LOGS else contextlib.nullcontext():
        yield


def finish(folder: Path) -> None:
    """Write the trace to the folder of the attempt, and stop logging."""
    if _LOGS:
        document = _LOGS[0].document()
        (folder / TRACE).write_text(json.dumps(document), "utf-8", "surrogateescape")


def _connection_folders() -> list[str]:
    """Return the folder of the kernel's connection file and sockets, from the command line; they are no dependency."""
    files = (argument for flag, argument in zip(sys.argv, sys.argv[1:], strict=False) if flag == "-f")
    return [os.path.dirname(os.path.abspath(file)) for file in files]
