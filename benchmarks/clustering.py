"""``python -m benchmarks.clustering``: what a step on a Dask cluster takes, beside a bare task with a warm kernel.

A real scheduler and two real workers with one thread each. A chain of trivial steps runs with ``--on dask:ADDRESS`` and
here; what one more step takes is the difference between a long and a short chain. The bare task stores nothing, keeps
no notebook, and has one kernel for all. Then many tickets go through the scheduler, and the longest time in which none
of them ended is looked for.
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
from benchmarks.shapes import chain
from tests.running.clusters import Cluster, cluster

INSIDE = HERE / "inside"
SHORT, LONG = 5, 30
COMMAND = Path(sys.executable).with_name("jupyter-pipelines")


@click.command(help="Measure steps on a Dask cluster, beside bare tasks.")
@click.option("--rounds", default=5, show_default=True, help="How often, interleaved.")
@click.option("--tickets", default=1000, show_default=True, help="How many go through the scheduler at the end.")
def main(rounds: int, tickets: int) -> None:
    """Measure, and print what was found."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "cluster").mkdir()
        os.environ["PYTHONPATH"] = str(INSIDE)  # the workers', too
        with cluster(folder / "cluster", "--nthreads 1", "--nthreads 1") as workers:
            told(Steps(folder, workers), rounds)
            click.echo(many(folder, workers, tickets))
    click.echo(f"load at the end: {os.getloadavg()[0]:.1f}")


class Steps:
    """Chains of steps, each run with a store of its own.

    Parameters
    ----------
    folder : Path
        Where notebooks and stores are.
    workers : Cluster
        What runs them.
    """

    def __init__(self, folder: Path, workers: Cluster) -> None:
        self.folder = folder
        self.workers = workers
        self._runs = 0

    def there(self) -> float:
        """Return the seconds of one more step on the cluster."""
        return self._more("--on", f"dask:{self.workers.address}")

    def here(self) -> float:
        """Return the seconds of one more step on this machine."""
        return self._more()

    def bare(self) -> float:
        """Return the seconds of one more bare task."""
        command = [sys.executable, str(INSIDE / "bare_submit.py"), self.workers.address, str(LONG)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def _more(self, *options: str) -> float:
        return (self._run(LONG, *options) - self._run(SHORT, *options)) / (LONG - SHORT)

    def _run(self, count: int, *options: str) -> float:
        self._runs += 1
        place = self.folder / f"run-{self._runs}"
        place.mkdir()
        write_ours(place, chain(count))
        begun = time.perf_counter()
        run(place, *options)
        return time.perf_counter() - begun


def told(steps: Steps, rounds: int) -> None:
    """Print what one more step takes, in the median of interleaved rounds."""
    ways = {"on the cluster": steps.there, "bare task": steps.bare, "here": steps.here}
    for way in ways.values():
        way()  # the first warms disks, caches and worker kernels
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(way())
    middle = {name: statistics.median(values) for name, values in found.items()}
    for name, values in found.items():
        shown = ", ".join(f"{1000 * one:.0f}" for one in sorted(values))
        click.echo(
            f"{name}: {1000 * middle[name]:.0f} ms ({shown}), {middle[name] / middle['bare task']:.1f} bare tasks"
        )


def many(folder: Path, workers: Cluster, count: int) -> str:
    """Run `count` items on the cluster, and return how long it took and the longest time in which none ended."""
    place = folder / "many"
    place.mkdir()
    (place / "pyproject.toml").write_text("")
    fit = f"%%step fit --foreach n={','.join(map(str, range(count)))} -o model\nmodel = n"
    write_notebook(place / NOTEBOOK, [fit, "%%step best -i model -o x\nx = sum(model)"])
    begun = time.perf_counter()
    document = run(place, "--on", f"dask:{workers.address}")
    took = time.perf_counter() - begun
    events = map(json.loads, (place / ".pipelines/runs" / document["run"] / "events.jsonl").read_text().splitlines())
    ended = [one["at"] for one in events if one["event"] == "step-finished"]
    return f"{count} tickets: {took:.1f} s, longest gap {longest(ended):.2f} s"


def longest(times: Sequence[str]) -> float:
    """Return the longest time between two of `times`, in seconds."""
    moments = [dt.datetime.fromisoformat(one).timestamp() for one in times]
    return max(later - earlier for earlier, later in itertools.pairwise(moments))


def run(place: Path, *options: str) -> Any:
    """Run the notebook in a folder, and return the run's document."""
    command = [str(COMMAND), "run", NOTEBOOK, "--json", *options]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
