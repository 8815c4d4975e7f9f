"""A kernel started and connected to before a step needs it, while another step runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.execution.kernels.launch import ForkConfig, KernelStartError, StepKernel

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """What two kernels must have in common for a step to be able to use either.

    Parameters
    ----------
    name : str or None
        Of an installed kernelspec; None for the kernel of this interpreter.
    cwd : str
        Where it runs.
    environment : Mapping of str to str
        All of its environment, but for the variables that differ between attempts.
    forks : ForkConfig or None
        Where a forked kernel comes from, and what it has imported.
    """

    name: str | None
    cwd: str
    environment: Mapping[str, str]
    forks: ForkConfig | None

    def new_kernel(self, log: Path | None = None, **marks: str) -> StepKernel:
        """Return such a kernel, which is yet to be started.

        Parameters
        ----------
        log : Path or None
            Where its standard streams go.
        **marks : str
            Variables of its environment that belong to one attempt.
        """
        environment = {**self.environment, **marks}
        return StepKernel(name=self.name, cwd=self.cwd, environment=environment, log=log, forks=self.forks)


class KernelPrestarter:
    """Keeps one kernel for the next step."""

    def __init__(self) -> None:
        self._spare: tuple[KernelConfig, StepKernel] | None = None

    @property
    def pid(self) -> int:
        """Number of the process that waits; 0 when there is none."""
        prestarted = self._spare
        return prestarted[1].pid if prestarted is not None else 0

    def start(self, sort: KernelConfig) -> None:
        """Make a kernel ready; if that fails, the step that needs a kernel reports why."""
        self.close()
        kernel = sort.new_kernel()
        self._spare = sort, kernel
        try:
            kernel.launch(lambda: self._spare is None)
            kernel.connect(_PATIENCE, lambda: self._spare is None)
        except KernelStartError:
            self.close()

    def take(self, sort: KernelConfig, log: Path) -> StepKernel | None:
        """Return the kernel that was made ready for such a step; None if there is none, or it has ended.

        Parameters
        ----------
        sort : KernelConfig
            What the step needs.
        log : Path
            Where the kernel's standard streams go from now on.
        """
        if self._spare is None:
            return None
        spare_sort, kernel = self._spare
        if spare_sort != sort or kernel.exit_code() is not None:
            return None
        self._spare = None
        kernel.adopt_log(log)
        return kernel

    def close(self) -> None:
        """End the kernel if no step has taken it."""
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(OSError):
                spare[1].close()


def begin_expression(environment: Mapping[str, str], cwd: str) -> str:
    """Return the expression that gives a kernel the environment of an attempt and begins its log.

    Parameters
    ----------
    environment : Mapping of str to str
        The variables of this attempt.
    cwd : str
        Where it runs.
    """
    system = "__import__('os')"
    record = "__import__('jupyter_pipelines.execution.kernel_side.cell_log', fromlist=['begin']).begin()"
    return f"({system}.environ.update({dict(environment)!r}), {system}.chdir({cwd!r}), {record})"
