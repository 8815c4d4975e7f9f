"""A kernel that is ready before a step needs it: it starts, and is spoken to, while another step runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.running.kernels.launching import Forks, NotStarted, StepKernel

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """What makes one kernel as good as another.

    Parameters
    ----------
    name : str or None
        Of an installed kernelspec; None for the one of this interpreter.
    cwd : str
        Where it runs.
    environment : Mapping of str to str
        All of its environment, but for what tells one attempt from another.
    forks : Forks or None
        Where a forked one comes from, and what it has imported.
    """

    name: str | None
    cwd: str
    environment: Mapping[str, str]
    forks: Forks | None


class Ahead:
    """Keeps one kernel for the next step."""

    def __init__(self) -> None:
        self._spare: tuple[Sort, StepKernel] | None = None

    @property
    def pid(self) -> int:
        """Number of the process that waits; 0 when there is none."""
        spare = self._spare
        return spare[1].pid if spare is not None else 0

    def start(self, sort: Sort) -> None:
        """Make a kernel ready; if that cannot be done, the step that needs one finds out why and says so."""
        self.close()
        kernel = StepKernel(name=sort.name, cwd=sort.cwd, environment=sort.environment, forks=sort.forks)
        self._spare = sort, kernel
        try:
            kernel.launch(lambda: self._spare is None)
            kernel.connect(_PATIENCE, lambda: self._spare is None)
        except NotStarted:
            self.close()

    def take(self, sort: Sort, log: Path) -> StepKernel | None:
        """Return the kernel that was made ready for such a step; None if there is none, or it has ended.

        Parameters
        ----------
        sort : Sort
            What the step needs.
        log : Path
            Where the kernel's standard streams go from now on.
        """
        if self._spare is None:
            return None
        mine, kernel = self._spare
        if mine != sort or kernel.exit_code() is not None:
            return None
        self._spare = None
        kernel.move_in(log)
        return kernel

    def close(self) -> None:
        """End the kernel that nobody has taken."""
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(OSError):
                spare[1].close()


def begin(environment: Mapping[str, str], cwd: str) -> str:
    """Return the expression with which a kernel takes the place of one attempt and begins to record.

    Parameters
    ----------
    environment : Mapping of str to str
        What tells the attempt from others.
    cwd : str
        Where it runs.
    """
    system = "__import__('os')"
    record = "__import__('jupyter_pipelines.running.recording', fromlist=['begin']).begin()"
    return f"({system}.environ.update({dict(environment)!r}), {system}.chdir({cwd!r}), {record})"
