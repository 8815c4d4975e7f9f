"""A Dask cluster as users start it: scheduler and workers are separate processes, each with its own folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import PATIENCE

DASK = Path(sys.executable).with_name("dask")


@dataclass
class DaskCluster:
    """A cluster that runs.

    Parameters
    ----------
    folder : Path
        Each process has a folder in it.
    address : str
        Where its scheduler is.
    scheduler : Popen
        The scheduler.
    workers : list of Popen
        Its workers, in the order in which they were started.
    """

    folder: Path
    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add(self, options: str) -> subprocess.Popen[bytes]:
        """Start another worker."""
        place = self.folder / f"worker-{len(self.workers)}"
        place.mkdir()
        more = ["--no-nanny", "--no-dashboard", "--local-directory", str(place), *options.split()]
        self.workers.append(_started(["worker", self.address, *more], place))
        return self.workers[-1]

    def wait(self, count: int) -> None:
        """Wait until `count` workers are connected."""
        from distributed import Client

        with Client(self.address, set_as_default=False, timeout=f"{PATIENCE}s") as client:
            client.wait_for_workers(count, timeout=PATIENCE)

    def end(self) -> None:
        """End the scheduler and all workers."""
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


@contextmanager
def dask_cluster(folder: Path, *workers: str) -> Iterator[DaskCluster]:
    """Start a scheduler, and a worker for each of `workers`: the equivalent of ``dask worker ADDRESS``."""
    place = folder / "scheduler"
    place.mkdir()
    scheduler_file = place / "scheduler.json"
    scheduler = _started(
        ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(scheduler_file)],
        place,
    )
    made = DaskCluster(folder, "", scheduler)
    try:
        made.address = _address(scheduler_file, scheduler)
        for options in workers:
            made.add(options)
        made.wait(len(workers))
        yield made
    finally:
        made.end()


def _started(arguments: list[str], place: Path) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DASK_", "JUPYTER_PIPELINES_"))}
    with (place / "log").open("wb") as log:
        return subprocess.Popen([str(DASK), *arguments], cwd=place, env=kept, stdout=log, stderr=log)


def _address(scheduler_file: Path, scheduler: subprocess.Popen[bytes]) -> str:
    import json
    import time

    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and scheduler.poll() is None:
        try:
            return str(json.loads(scheduler_file.read_text())["address"])
        except (OSError, ValueError):
            time.sleep(0.05)  # a starting process offers nothing to wait for
    raise AssertionError((scheduler_file.parent / "log").read_text())
