"""A worker in a forked process, which has imported papermill and its dependencies."""

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
"""Tells the fork server not to kill a worker whose runner is gone: it ends its step's processes first."""


def prepare() -> None:
    """Import the modules of a worker; called once, in the process that is then forked."""
    from jupyter_pipelines.execution.blocked_imports import SLOW, block_imports
    from jupyter_pipelines.execution.worker import papermill_engine

    block_imports(*SLOW)
    for name in _PREIMPORTS:
        importlib.import_module(name)
    papermill_engine.register()


def enter(folder: str, _: Mapping[str, Any]) -> None:
    """Change to a folder; the later order to a worker names its final working directory."""
    os.chdir(folder)


def watch_imports(*, on: bool) -> None:
    """Do nothing: imports of a worker are no dependencies of a step."""
    del on


def boot(_: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Take the environment of the runner; a worker has nothing to start ahead of time."""
    for name in QUIET:
        os.environ.pop(name, None)
    os.environ.update(settings["environment"])
    return {}


def run(order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Run tickets until the order to end comes.

    Parameters
    ----------
    order : Mapping
        ``cwd``, the working directory, and ``forks``, the socket of the zygote.
    descriptors : sequence of int
        Pipes of orders and answers, and a file for standard error.
    """
    from jupyter_pipelines.execution.executors.worker_main import main

    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(order["cwd"])
    sys.argv = [__name__]
    main(order["forks"])
