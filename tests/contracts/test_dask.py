"""Steps on the workers of a real Dask cluster keep the contract of executors."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.step import Resources
from jupyter_pipelines.running.elsewhere import asking
from jupyter_pipelines.running.elsewhere.on_dask import Dask
from jupyter_pipelines.running.executors import Need
from jupyter_pipelines.testing import ExecutorContract
from tests.running.clusters import Cluster, cluster


@pytest.fixture(scope="module")
def two_threads(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler, and a worker that runs two tickets at once, one of them with a GPU."""
    with cluster(tmp_path_factory.mktemp("cluster"), "--nthreads 2 --resources CPU=2,GPU=1") as made:
        yield made


@pytest.mark.kernel
def test_a_worker_that_hangs_gets_no_steps_and_the_others_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "ANSWER", 5.0)
    with (
        cluster(tmp_path, "--nthreads 1", "--nthreads 1 --no-nanny") as made,
        closing(Dask(2, made.address)) as executor,
    ):
        made.workers[1].send_signal(signal.SIGSTOP)
        (doubt,) = executor.survey([Need(step="step")])
        assert (doubt.code, doubt.severity) == ("JP608", "warning")
        assert "it has not answered for 5 s" in doubt.message


@pytest.mark.kernel
class TestDask(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _at(self, two_threads: Cluster) -> None:
        self.address = two_threads.address

    def executor(self, jobs: int) -> Dask:
        return Dask(jobs, self.address)

    def test_a_gpu_that_another_run_uses_is_waited_for(self, tmp_path: Path) -> None:
        """And what wants none goes by."""
        needs = [Need(step="step", demand=Resources(gpus=1)), Need(step="plain")]
        hold = "pathlib.Path('first').touch()\nwhile not pathlib.Path('go').exists(): time.sleep(0.01)"
        with closing(self.executor(2)) as one, closing(self.executor(2)) as other:
            assert not [*one.survey(needs), *other.survey(needs)]
            one.submit(self.ticket(tmp_path, f"import os, pathlib, time\nos.chdir({str(tmp_path)!r})\n{hold}"))
            while not (tmp_path / "first").exists():
                one.poll(0.05)
            waiting = self.ticket(tmp_path, f"import pathlib\npathlib.Path({str(tmp_path / 'second')!r}).touch()")
            plain = replace(self.ticket(tmp_path, "x = 1"), step="plain")
            for ticket in (waiting, plain):
                other.submit(ticket)
            assert [one.ticket for one in self._outcomes(other, 1)] == [plain.id]
            assert not (tmp_path / "second").exists()
            (tmp_path / "go").touch()
            assert [one.state for one in (*self._outcomes(one, 1), *self._outcomes(other, 1))] == ["succeeded"] * 2
