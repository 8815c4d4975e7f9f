"""A spare kernel, started and connected to while another step runs, so that the next step need not wait for it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jupyter_pipelines.execution.kernels.launch import ForkConfig, KernelStartError, StepKernel

_PATIENCE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfig:
    """The configuration of a kernel; a step can use any kernel of an equal configuration.

    Parameters
    ----------
    name : str or None
        Name of an installed kernelspec; None for the kernel of this interpreter.
    cwd : str
        Its working directory.
    environment : Mapping of str to str
        Its whole environment, without the variables that differ between attempts.
    forks : ForkConfig or None
        Zygote and preimports of a forked kernel; None for a kernel that is started the usual way.
    """

    name: str | None
    cwd: str
    environment: Mapping[str, str]
    forks: ForkConfig | None

    def new_kernel(self, log: Path | None = None, **marks: str) -> StepKernel:
        """Return a kernel of this configuration, not started yet.

        Parameters
        ----------
        log : Path or None
            File for its standard streams.
        **marks : str
            Environment variables that identify the attempt.
        """
        environment = {**self.environment, **marks}
        return StepKernel(name=self.name, cwd=self.cwd, environment=environment, log=log, forks=self.forks)


class KernelPrestarter:
    """Keeps one kernel for the next step."""

    def __init__(self) -> None:
        self._spare: tuple[KernelConfig, StepKernel] | None = None

    @property
    def pid(self) -> int:
        """Process id of the spare kernel; 0 without one."""
        prestarted = self._spare
        return prestarted[1].pid if prestarted is not None else 0

    def start(self, sort: KernelConfig) -> None:
        """Start a spare kernel in place of any other; if that fails, the step that needs a kernel reports why."""
        self.close()
        kernel = sort.new_kernel()
        # Set before it is launched: `close` in another thread then ends it, and makes the waits below give up.
        self._spare = sort, kernel
        try:
            kernel.launch(lambda: self._spare is None)
            kernel.connect(_PATIENCE, lambda: self._spare is None)
        except KernelStartError:
            self.close()

    def take(self, sort: KernelConfig, log: Path) -> StepKernel | None:
        """Hand over the spare kernel; return None if there is none of this configuration, or it has ended.

        Parameters
        ----------
        sort : KernelConfig
            The configuration that the step needs.
        log : Path
            File for the kernel's standard streams.
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
        """End the spare kernel, if there is one."""
        spare, self._spare = self._spare, None
        if spare is not None:
            with contextlib.suppress(OSError):
                spare[1].close()


def begin_expression(environment: Mapping[str, str], cwd: str) -> str:
    """Return a Python expression that sets environment and working directory of an attempt and starts the cell log.

    Parameters
    ----------
    environment : Mapping of str to str
        The variables of this attempt.
    cwd : str
        The working directory of the step.
    """
    # An expression, not statements: it is evaluated as a user expression, which binds no name in the namespace.
    system = "__import__('os')"
    record = "__import__('jupyter_pipelines.execution.kernel_side.cell_log', fromlist=['begin']).begin()"
    return f"({system}.environ.update({dict(environment)!r}), {system}.chdir({cwd!r}), {record})"


def finish_expression(folder: str) -> str:
    """Return a Python expression that writes the trace of a step that has raised to the folder of the attempt."""
    finish = "__import__('jupyter_pipelines.execution.kernel_side.tracing.step_trace', fromlist=['finish']).finish"
    return f"{finish}(__import__('pathlib').Path({folder!r}))"
