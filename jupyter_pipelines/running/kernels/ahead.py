"""An ordinary kernel that starts while the step before it runs, where kernels cannot be forked."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.running.kernels.launching import NotStarted, StepKernel


@dataclass(frozen=True, slots=True)
class _Sort:
    """What makes one kernel as good as another."""

    name: str | None
    cwd: str
    environment: tuple[tuple[str, str], ...]


class Ahead:
    """Keeps one kernel for the next step, started but not yet spoken to."""

    def __init__(self) -> None:
        self._spare: tuple[_Sort, StepKernel] | None = None

    @property
    def pid(self) -> int:
        """Number of the process that waits; 0 when there is none."""
        return self._spare[1].pid if self._spare is not None else 0

    def start(self, name: str | None, cwd: str, environment: Mapping[str, str]) -> None:
        """Start a kernel, unless there is one like it; if it cannot be started, the step that needs it says so.

        Parameters
        ----------
        name : str or None
            Of an installed kernelspec; None for the one of this interpreter.
        cwd : str
            Where it runs.
        environment : Mapping of str to str
            All of its environment, but for what tells one attempt from another.
        """
        sort = _Sort(name, cwd, tuple(sorted(environment.items())))
        if self._spare is not None and self._spare[0] == sort:
            return
        self.close()
        kernel = StepKernel(name=name, cwd=cwd, environment=environment)
        self._spare = sort, kernel
        with contextlib.suppress(NotStarted):
            kernel.launch()

    def take(self, name: str | None, cwd: str, environment: Mapping[str, str], log: Path) -> StepKernel | None:
        """Return the kernel that was started for such a step; None if there is none, or it has ended.

        Parameters
        ----------
        name, cwd, environment
            As for :meth:`start`.
        log : Path
            Where its standard streams go from now on.
        """
        if self._spare is None or self._spare[0] != _Sort(name, cwd, tuple(sorted(environment.items()))):
            return None
        _, kernel = self._spare
        if kernel.process is None or kernel.exit_code() is not None:
            return None
        self._spare = None
        kernel.move_in(log)
        return kernel

    def close(self) -> None:
        """End the kernel that nobody has taken."""
        if self._spare is not None:
            _, kernel = self._spare
            self._spare = None
            kernel.close()


def begin(environment: Mapping[str, str]) -> str:
    """Return the expression with which a kernel takes the place of one attempt and begins to record.

    Parameters
    ----------
    environment : Mapping of str to str
        What tells the attempt from others.
    """
    record = "__import__('jupyter_pipelines.running.recording', fromlist=['begin']).begin()"
    return f"(__import__('os').environ.update({dict(environment)!r}), {record})"
