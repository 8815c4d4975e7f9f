"""The executors of this package keep the contract that it asks of others."""

from __future__ import annotations

import pytest

from jupyter_pipelines import plugins
from jupyter_pipelines.execution.executors import StepExecutor
from jupyter_pipelines.execution.executors.local import LocalExecutor
from jupyter_pipelines.testing import ExecutorContract

TESTED = {"dask", "local", "ray"}  # Dask in test_dask.py, Ray in test_ray.py


@pytest.mark.kernel
class TestLocal(ExecutorContract):
    def executor(self, jobs: int) -> StepExecutor:
        return LocalExecutor(jobs)


def test_every_executor_is_tested() -> None:
    assert set(plugins.BUILT_IN["executors"]) == TESTED
