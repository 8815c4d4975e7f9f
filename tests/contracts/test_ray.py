"""The Ray executor keeps the contract of executors, on the nodes of a real cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing

import pytest

from jupyter_pipelines.errors import PluginError
from jupyter_pipelines.execution.executors import StepExecutor, StepRequirements
from jupyter_pipelines.execution.executors.remote.ray import RayExecutor
from jupyter_pipelines.testing import ExecutorContract
from tests.execution.ray_cluster import RayCluster, ray_cluster

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]


@pytest.fixture(scope="module")
def two_cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A node with two cores, and a connection to it, so that not every executor needs its own connection."""
    with ray_cluster(tmp_path_factory.mktemp("rays"), "--num-cpus 2") as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        import ray

        before = signal.getsignal(signal.SIGTERM)
        ray.init(address=made.address, log_to_driver=False, configure_logging=False)
        signal.signal(signal.SIGTERM, before)  # other tests in this process send it to themselves
        yield made
        ray.shutdown()


class TestRay(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _at(self, two_cores: RayCluster) -> None:
        self.address = two_cores.address

    def executor(self, jobs: int) -> StepExecutor:
        return RayExecutor(jobs, self.address)

    def test_another_cluster_than_that_of_this_process_is_refused(self) -> None:
        """A process has only one Ray connection: a step would run in the wrong cluster."""
        with closing(RayExecutor(1, "127.0.0.1:1")) as other, pytest.raises(PluginError) as caught:
            other.survey([StepRequirements(step="fit")])
        assert caught.value.faults[0].code == "JP607"
        assert self.address in str(caught.value)
