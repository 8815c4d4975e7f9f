"""A worker made from a forked process that has imported papermill and what goes with it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_pipelines.execution.prefork.fork_safety import QUIET

_PREIMPORTS = """
    jupyter_pipelines.execution.worker.notebook_client jupyter_pipelines.execution.worker.staging
    jupyter_pipelines.execution.worker.trace_report
    jupyter_pipelines.execution.kernels.provisioner jupyter_pipelines.execution.prefork.client
    papermill papermill.iorw papermill.parameterize papermill.translators
    jupyter_client.asynchronous jupyter_client.provisioning nbclient.client nbformat.v4 nbformat.validator
    asyncio sqlite3
""".split()


CLEANS_UP_ALONE = True
"""A worker notices that its runner has gone, and ends what its step started."""


def prepare() -> None:
    """Import what a worker needs; called once, in the process that is then forked."""
    from jupyter_pipelines.execution.blocked_imports import SLOW, block_imports
    from jupyter_pipelines.execution.worker import papermill_engine

    block_imports(*SLOW)
    for name in _PREIMPORTS:
        importlib.import_module(name)
    papermill_engine.register()


def enter(folder: str, _: Mapping[str, Any]) -> None:
    """Work in a folder; the order to a worker names the folder that it finally works in."""
    os.chdir(folder)


def watch_imports(*, on: bool) -> None:
    """Note nothing: a worker is no step."""
    del on


def boot(_: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Take the environment of the runner; a worker has nothing to start ahead of time."""
    for name in QUIET:
        os.environ.pop(name, None)
    os.environ.update(settings["environment"])
    return {}


def run(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Work on tickets until the order to end comes.

    Parameters
    ----------
    order : Mapping
        ``cwd``, and ``forks``: the socket of the tree.
    descriptors : sequence of int
        Where orders come from, where answers go, and where complaints are written.
    """
    from jupyter_pipelines.execution.executors.worker_main import main

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(order["cwd"])
    sys.argv = [__name__]
    main(order["forks"])
