"""Steps on the workers of a real Dask cluster keep the contract of executors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jupyter_pipelines.running.elsewhere.on_dask import Dask
from jupyter_pipelines.running.executors import Executor
from jupyter_pipelines.testing import ExecutorContract
from tests.running.clusters import Cluster, cluster


@pytest.fixture(scope="module")
def two_threads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler, and a worker that runs two tickets at once."""
    with cluster(tmp_path_factory.mktemp("cluster"), "--nthreads 2") as made:
        yield made


@pytest.mark.kernel
class TestDask(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _at(self, two_threads: Cluster) -> None:
        self.address = two_threads.address

    def executor(self, jobs: int) -> Executor:
        return Dask(jobs, self.address)
