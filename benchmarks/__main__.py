"""``make bench``: run the workloads, save the results, and write the report."""

from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import psutil

from benchmarks import environments, report
from benchmarks.cgroups import make_group
from benchmarks.chart import draw_chart
from benchmarks.comparison import rows
from benchmarks.competitors import CompetitorSpec, folders
from benchmarks.measurement import BenchmarkFailed, RunMeasurement
from benchmarks.results import BenchmarkResults, RoundSeries, SeriesOrigin, load, save
from benchmarks.workloads import FULL, QUICK, WorkloadSpec, workloads

RESULTS = environments.HERE / "results"
PAGE = environments.ROOT / "docs" / "performance.md"
PICTURE = environments.ROOT / "docs" / "images" / "performance.svg"

STARTS = ("chain-2", "heavy-2")
"""Workloads that only measure the start-up time: the chart shows no bars for them."""

TRIES = 3
"""How many attempts a peer has before its workload fails."""


@click.command(help="Measure this project beside its peers, on the same work.")
@click.option("--list", "listing", is_flag=True, help="List the workloads and their competitors.")
@click.option("--only", metavar="NAME,…", multiple=True, help="These workloads; the others keep their last results.")
@click.option("--who", metavar="NAME,…", multiple=True, help="These competitors, as --list names them.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often, interleaved.")
@click.option("--quick", is_flag=True, help="A single round of small sizes, as a smoke test.")
@click.option("--report", "only_report", is_flag=True, help="Measure nothing; write the report of the saved results.")
@click.option("--write-docs", is_flag=True, help="Write table and chart into docs/performance.md as well.")
def main(
    *,
    listing: bool,
    only: Sequence[str],
    who: Sequence[str],
    rounds: int,
    quick: bool,
    only_report: bool,
    write_docs: bool,
) -> None:
    """Run the command."""
    if quick and write_docs:
        raise click.UsageError("--quick measures nothing for the docs: leave out --write-docs")
    if only_report and (only or who):
        raise click.UsageError("--report measures nothing, so there is nothing to choose with --only and --who")
    sizes = QUICK if quick else FULL
    all_workloads = workloads(sizes)
    if listing:
        click.echo(
            "\n".join(
                f"{workload.name:12} {workload.title}\n{'':12} {_competitor_names(workload)}"
                for workload in all_workloads.values()
            )
        )
        return
    path = RESULTS / ("quick.json" if quick else "results.json")
    results, failed = load(path), False
    if not only_report:
        chosen = _select_workloads(all_workloads, _split_names(only))
        failed = not BenchmarkRun(results, path, 1 if quick else rounds).run(
            chosen, _check_competitors(chosen, _split_names(who))
        )
    text = report.markdown_report(results, all_workloads, sizes)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    ratio_rows = [row for row in rows(results, all_workloads, sizes) if row.workload not in STARTS]
    draw_chart(ratio_rows, path.with_suffix(".svg"))
    click.echo(text)
    if write_docs:
        report.write_into(PAGE, f"![How many times as fast, by workload and peer](images/{PICTURE.name})\n\n{text}")
        draw_chart(ratio_rows, PICTURE)
    sys.exit(failed)


class BenchmarkRun:
    """A run of the benchmarks.

    Parameters
    ----------
    results : BenchmarkResults
        The results of earlier runs; this run adds to them.
    path : Path
        The file in which they are saved.
    rounds : int
        How often each competitor is measured.
    """

    def __init__(self, results: BenchmarkResults, path: Path, rounds: int) -> None:
        self._results = results
        self._path = path
        self._rounds = rounds
        self._run = dt.datetime.now(dt.UTC).isoformat(timespec="minutes")

    def run(self, chosen: Sequence[WorkloadSpec], who: Sequence[str]) -> bool:
        """Measure the workloads `chosen` and return whether all succeeded; a failure does not stop the others."""
        _install_environments(chosen, who)
        begin, good = time.monotonic(), True
        for number, workload in enumerate(chosen, 1):
            minutes = (time.monotonic() - begin) / 60
            _log(f"[{number}/{len(chosen)}, {minutes:.1f} min, load {os.getloadavg()[0]:.1f}] {workload.name}")
            try:
                self._measure(workload, who)
            except BenchmarkFailed as error:
                good = False
                _log(f"  FAILED: {error}")
        _log(f"done in {(time.monotonic() - begin) / 60:.1f} min")
        return good

    def _measure(self, workload: WorkloadSpec, who: Sequence[str]) -> None:
        # Our own tool is measured first: if it fails, no time was spent on the peers.
        competitors = sorted(
            _chosen_competitors(workload, who), key=lambda competitor: competitor.name != environments.OURS
        )
        rounds: dict[str, list[RunMeasurement]] = {competitor.name: [] for competitor in competitors}
        failures = dict.fromkeys(rounds, 0)
        with folders() as folder:
            for number in range(self._rounds + (workload.more if self._rounds > 1 else 0)):
                for competitor in competitors:
                    measured, failed = time_with_retries(competitor, folder)
                    rounds[competitor.name].append(measured)
                    failures[competitor.name] += failed
                    _log(f"  round {number + 1}  {competitor.name:22} {_format_measurement(measured)}")
        for competitor in competitors:
            name, origin = competitor.name, self._origin(competitor)
            series = RoundSeries(origin=origin, rounds=tuple(rounds[name]), failures=failures[name])
            self._results.put(workload.name, name, series)
        save(self._results, self._path)

    def _origin(self, competitor: CompetitorSpec) -> SeriesOrigin:
        return SeriesOrigin(
            run=self._run, commit=_commit(), version=competitor.version, machine=_machine(), counted=_cpu_accounting()
        )


def time_with_retries(
    competitor: CompetitorSpec, folder: Callable[[CompetitorSpec], Path]
) -> tuple[RunMeasurement, int]:
    """Return the measurement of a competitor and its failed attempts; peers may be retried, our own tool may not."""
    tries = 1 if competitor.name == environments.OURS else TRIES
    for failed in range(tries):
        try:
            return competitor.time(folder(competitor)), failed
        except BenchmarkFailed as error:
            if failed + 1 == tries:
                raise
            _log(f"  {competitor.name} failed and gets another try: {str(error).strip().splitlines()[-1]}")
    raise AssertionError("there is at least one try")


def _install_environments(chosen: Sequence[WorkloadSpec], who: Sequence[str]) -> None:
    competitors = [competitor for workload in chosen for competitor in _chosen_competitors(workload, who)]
    environments.install(dict.fromkeys(competitor.environment for competitor in competitors), _log)


def _chosen_competitors(workload: WorkloadSpec, who: Sequence[str]) -> list[CompetitorSpec]:
    return [competitor for competitor in workload.competitors if not who or competitor.name in who]


def _select_workloads(all_workloads: dict[str, WorkloadSpec], names: Sequence[str]) -> list[WorkloadSpec]:
    unknown = [name for name in names if name not in all_workloads]
    if unknown:
        raise click.BadParameter(f"there is no workload {unknown[0]!r}; --list shows all", param_hint="--only")
    return [workload for workload in all_workloads.values() if not names or workload.name in names]


def _check_competitors(chosen: Sequence[WorkloadSpec], names: list[str]) -> list[str]:
    known = {competitor.name for workload in chosen for competitor in workload.competitors}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} takes no part in these workloads", param_hint="--who")
    return names


def _split_names(names: Sequence[str]) -> list[str]:
    return [name.strip() for text in names for name in text.split(",")]


def _competitor_names(workload: WorkloadSpec) -> str:
    return ", ".join(competitor.name for competitor in workload.competitors)


def _format_measurement(measured: RunMeasurement) -> str:
    foreign = "" if measured.foreign is None else f", others {measured.foreign:.1f} cores"
    left = f", {measured.left} processes left over" if measured.left else ""
    return f"{measured.wall:9.3f} s, CPU {measured.cpu:8.3f} s{foreign}{left}"


def _log(text: str) -> None:
    click.echo(text, err=True)


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=environments.ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "jupyter_pipelines", "pyproject.toml")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if changed else "")


def _machine() -> str:
    gigabytes = psutil.virtual_memory().total / 2**30
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    python = f"Python {platform.python_version()}"
    return f"{psutil.cpu_count()} cores ({_processor()}), {gigabytes:.0f} GB, {system}, {python}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _cpu_accounting() -> str:
    group = make_group()
    group.close()
    return group.accounting


if __name__ == "__main__":
    main()
