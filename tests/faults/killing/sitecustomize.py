"""Kill the first process that comes to a named point: ``JP_TEST_KILL_AT=MODULE:NAME:before|after``.

``JP_TEST_SIGNAL`` is the number of another signal than SIGKILL.

Python imports it in every process whose PYTHONPATH has this folder: the runner, workers, zygotes and kernels.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.util
import os
import signal
import sys
from types import ModuleType
from typing import Any

MODULE, NAME, WHEN = os.environ.get("JP_TEST_KILL_AT", "::").split(":")


class TrapFinder(importlib.abc.MetaPathFinder):
    """Put a trap into the module when it is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            set_trap(module)

        spec.loader.exec_module = exec_module
        return spec


def set_trap(module: ModuleType) -> None:
    *owners, name = NAME.split(".")
    owner = functools.reduce(getattr, owners, module)
    real = getattr(owner, name)

    @functools.wraps(real)
    def trapped(*args: Any, **options: Any) -> Any:
        if WHEN == "before":
            die()
        result = real(*args, **options)
        die()
        return result

    setattr(owner, name, trapped)


def die() -> None:
    try:
        os.close(os.open(os.environ["JP_TEST_KILLED"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return  # another process has died already
    os.kill(os.getpid(), int(os.environ.get("JP_TEST_SIGNAL", signal.SIGKILL)))


if MODULE:
    sys.meta_path.insert(0, TrapFinder())
