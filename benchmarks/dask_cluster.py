"""``python -m benchmarks.dask_cluster``: the time of a step on a Dask cluster, and of a bare task in a warm kernel.

A real scheduler and two real workers with one thread each. A chain of trivial steps runs with ``--on dask:ADDRESS`` and
on this machine; the time of a step is the slope between a long and a short chain. Bare tasks store nothing, keep no
notebook, and share a single kernel per worker. Then many tickets go through the scheduler, and the longest gap between
two finished tickets is reported.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.environments import HERE
from benchmarks.notebooks import NOTEBOOK, write_notebook, write_ours
from benchmarks.workload_data import chain
from tests.execution.dask_cluster import Cluster, cluster

PROGRAMS = HERE / "programs"
SHORT, LONG = 5, 30
COMMAND = Path(sys.executable).with_name("jupyter-pipelines")


@click.command(help="Measure steps on a Dask cluster, and bare tasks.")
@click.option("--rounds", default=5, show_default=True, help="How often, interleaved.")
@click.option("--tickets", default=1000, show_default=True, help="How many go through the scheduler at the end.")
def main(rounds: int, tickets: int) -> None:
    """Measure, and print the results."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "cluster").mkdir()
        os.environ["PYTHONPATH"] = str(PROGRAMS)  # for the workers, too
        with cluster(folder / "cluster", "--nthreads 1", "--nthreads 1") as workers:
            print_step_times(StepChains(folder, workers), rounds)
            click.echo(measure_many_items(folder, workers, tickets))
    click.echo(f"load at the end: {os.getloadavg()[0]:.1f}")


class StepChains:
    """Chains of steps, each run with a store of its own.

    Parameters
    ----------
    folder : Path
        The folder of notebooks and stores.
    workers : Cluster
        The cluster.
    """

    def __init__(self, folder: Path, workers: Cluster) -> None:
        self.folder = folder
        self.workers = workers
        self._runs = 0

    def on_cluster(self) -> float:
        """Return the seconds of a step on the cluster."""
        return self._one_more_step("--on", f"dask:{self.workers.address}")

    def on_this_machine(self) -> float:
        """Return the seconds of a step on this machine."""
        return self._one_more_step()

    def bare_task(self) -> float:
        """Return the seconds of a bare task."""
        command = [sys.executable, str(PROGRAMS / "bare_dask_task.py"), self.workers.address, str(LONG)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def _one_more_step(self, *options: str) -> float:
        return (self._run(LONG, *options) - self._run(SHORT, *options)) / (LONG - SHORT)

    def _run(self, count: int, *options: str) -> float:
        self._runs += 1
        project = self.folder / f"run-{self._runs}"
        project.mkdir()
        write_ours(project, chain(count))
        start = time.perf_counter()
        run_notebook(project, *options)
        return time.perf_counter() - start


def print_step_times(chains: StepChains, rounds: int) -> None:
    """Print the seconds per step, as the median of interleaved rounds."""
    ways = {"on the cluster": chains.on_cluster, "bare task": chains.bare_task, "here": chains.on_this_machine}
    for way in ways.values():
        way()  # the first warms disks, caches and worker kernels
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            seconds[name].append(way())
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        shown = ", ".join(f"{1000 * value:.0f}" for value in sorted(values))
        click.echo(
            f"{name}: {1000 * medians[name]:.0f} ms ({shown}), {medians[name] / medians['bare task']:.1f} bare tasks"
        )


def measure_many_items(folder: Path, workers: Cluster, count: int) -> str:
    """Run `count` items on the cluster, and return the total time and the longest gap between two finished items."""
    project = folder / "many"
    project.mkdir()
    (project / "pyproject.toml").write_text("")
    fit = f"%%step fit --foreach n={','.join(map(str, range(count)))} -o model\nmodel = n"
    write_notebook(project / NOTEBOOK, [fit, "%%step best -i model -o x\nx = sum(model)"])
    start = time.perf_counter()
    document = run_notebook(project, "--on", f"dask:{workers.address}")
    took = time.perf_counter() - start
    events = map(json.loads, (project / ".pipelines/runs" / document["run"] / "events.jsonl").read_text().splitlines())
    ended = [event["at"] for event in events if event["event"] == "step-finished"]
    return f"{count} tickets: {took:.1f} s, longest gap {longest_gap(ended):.2f} s"


def longest_gap(times: Sequence[str]) -> float:
    """Return the longest gap between consecutive time stamps, in seconds."""
    moments = [dt.datetime.fromisoformat(time_stamp).timestamp() for time_stamp in times]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def run_notebook(project: Path, *options: str) -> Any:
    """Run the notebook in a folder, and return the run document."""
    command = [str(COMMAND), "run", NOTEBOOK, "--json", *options]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
