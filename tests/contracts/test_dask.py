"""The Dask executor keeps the contract of executors, on the workers of a real cluster."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.execution.executors import StepRequirements
from jupyter_pipelines.execution.executors.remote import capabilities
from jupyter_pipelines.execution.executors.remote.dask import DaskExecutor
from jupyter_pipelines.pipeline.step import ComputeResources
from jupyter_pipelines.testing import ExecutorContract
from tests.execution.dask_cluster import DaskCluster, dask_cluster

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]


@pytest.fixture(scope="module")
def two_threads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler, and a worker that runs two tickets at once, one of them with a GPU."""
    with dask_cluster(tmp_path_factory.mktemp("cluster"), "--nthreads 2 --resources CPU=2,GPU=1") as made:
        yield made


def test_a_worker_that_hangs_gets_no_steps_and_the_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "ANSWER", 30.0)
    with (
        dask_cluster(tmp_path, "--nthreads 1", "--nthreads 1 --no-nanny") as made,
        closing(DaskExecutor(2, made.address)) as executor,
    ):
        made.workers[1].send_signal(signal.SIGSTOP)
        (doubt,) = executor.survey([StepRequirements(step="step")])
        assert (doubt.code, doubt.severity) == ("JP608", "warning")
        assert "it has not answered for 30 s" in doubt.message


class TestDask(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _at(self, two_threads: DaskCluster) -> None:
        self.address = two_threads.address

    def executor(self, jobs: int) -> DaskExecutor:
        return DaskExecutor(jobs, self.address)

    def test_a_gpu_that_another_run_uses_is_waited_for(self, tmp_path: Path) -> None:
        """A step that needs no GPU passes it."""
        needs = [StepRequirements(step="step", demand=ComputeResources(gpus=1)), StepRequirements(step="plain")]
        hold = "pathlib.Path('first').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
        with closing(self.executor(2)) as first, closing(self.executor(2)) as second:
            assert not [*first.survey(needs), *second.survey(needs)]
            first.submit(self.ticket(tmp_path, f"import os, pathlib, time\nos.chdir({str(tmp_path)!r})\n{hold}"))
            while not (tmp_path / "first").exists():
                first.poll(0.05)
            waiting = self.ticket(tmp_path, f"import pathlib\npathlib.Path({str(tmp_path / 'second')!r}).touch()")
            plain = replace(self.ticket(tmp_path, "x = 1"), step="plain")
            for ticket in (waiting, plain):
                second.submit(ticket)
            assert [outcome.ticket for outcome in self._outcomes(second, 1)] == [plain.id]
            assert not (tmp_path / "second").exists()
            (tmp_path / "go").touch()
            assert [outcome.state for outcome in (*self._outcomes(first, 1), *self._outcomes(second, 1))] == [
                "succeeded"
            ] * 2
