"""``make bench``: measures, keeps what was measured, and writes the report."""

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

from benchmarks import environments, reporting
from benchmarks.comparing import rows
from benchmarks.drawing import draw
from benchmarks.entrants import Entrant, folders
from benchmarks.groups import make_group
from benchmarks.measuring import BenchmarkFailed, Measurement
from benchmarks.results import Origin, Results, Series, load, save
from benchmarks.workloads import FULL, QUICK, Workload, workloads

RESULTS = environments.HERE / "results"
PAGE = environments.ROOT / "docs" / "performance.md"
PICTURE = environments.ROOT / "docs" / "images" / "performance.svg"

STARTS = ("chain-2", "heavy-2")
"""They only show what starting costs: no bars for them."""

TRIES = 3
"""How often a peer may fail before its workload is given up."""


@click.command(help="Measure this project beside its peers, on the same work.")
@click.option("--list", "listing", is_flag=True, help="Say what there is to measure, and who takes part.")
@click.option("--only", metavar="NAME,…", multiple=True, help="These workloads; the others keep their last figures.")
@click.option("--who", metavar="NAME,…", multiple=True, help="These entrants, as --list names them.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="How often, interleaved.")
@click.option("--quick", is_flag=True, help="One round of small sizes: shows that it works, and nothing else.")
@click.option("--report", "only_report", is_flag=True, help="Measure nothing; write the report of what is kept.")
@click.option("--write-docs", is_flag=True, help="Put table and plot into docs/performance.md as well.")
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
    every = workloads(sizes)
    if listing:
        click.echo("\n".join(f"{one.name:12} {one.title}\n{'':12} {_names(one)}" for one in every.values()))
        return
    path = RESULTS / ("quick.json" if quick else "results.json")
    results, failed = load(path), False
    if not only_report:
        chosen = _pick(every, _split(only))
        failed = not Bench(results, path, 1 if quick else rounds).run(chosen, _check_who(chosen, _split(who)))
    text = reporting.report(results, every, sizes)
    path.with_suffix(".md").write_text(text, encoding="utf-8")
    found = [row for row in rows(results, every, sizes) if row.workload not in STARTS]
    draw(found, path.with_suffix(".svg"))
    click.echo(text)
    if write_docs:
        reporting.write_into(PAGE, f"![How many times as fast, by workload and peer](images/{PICTURE.name})\n\n{text}")
        draw(found, PICTURE)
    sys.exit(failed)


class Bench:
    """One run of the bench.

    Parameters
    ----------
    results : Results
        What is known already; grows.
    path : Path
        Where it is kept.
    rounds : int
        How often each entrant has its turn.
    """

    def __init__(self, results: Results, path: Path, rounds: int) -> None:
        self._results = results
        self._path = path
        self._rounds = rounds
        self._run = dt.datetime.now(dt.UTC).isoformat(timespec="minutes")

    def run(self, chosen: Sequence[Workload], who: Sequence[str]) -> bool:
        """Measure `chosen` and return whether all of it went well; a failure does not keep the rest from its turn."""
        _provide(chosen, who)
        begin, good = time.monotonic(), True
        for number, workload in enumerate(chosen, 1):
            minutes = (time.monotonic() - begin) / 60
            _say(f"[{number}/{len(chosen)}, {minutes:.1f} min, load {os.getloadavg()[0]:.1f}] {workload.name}")
            try:
                self._measure(workload, who)
            except BenchmarkFailed as error:
                good = False
                _say(f"  FAILED: {error}")
        _say(f"done in {(time.monotonic() - begin) / 60:.1f} min")
        return good

    def _measure(self, workload: Workload, who: Sequence[str]) -> None:
        # Ours goes first: when it fails, nobody has waited for the others.
        entrants = sorted(_taking_part(workload, who), key=lambda one: one.name != environments.OURS)
        rounds: dict[str, list[Measurement]] = {one.name: [] for one in entrants}
        failures = dict.fromkeys(rounds, 0)
        with folders() as folder:
            for number in range(self._rounds + (workload.more if self._rounds > 1 else 0)):
                for entrant in entrants:
                    measured, failed = time_patiently(entrant, folder)
                    rounds[entrant.name].append(measured)
                    failures[entrant.name] += failed
                    _say(f"  round {number + 1}  {entrant.name:22} {_told(measured)}")
        for entrant in entrants:
            name, origin = entrant.name, self._origin(entrant)
            series = Series(origin=origin, rounds=tuple(rounds[name]), failures=failures[name])
            self._results.put(workload.name, name, series)
        save(self._results, self._path)

    def _origin(self, entrant: Entrant) -> Origin:
        return Origin(run=self._run, commit=_commit(), version=entrant.version, machine=_machine(), counted=_counted())


def time_patiently(entrant: Entrant, folder: Callable[[Entrant], Path]) -> tuple[Measurement, int]:
    """Measure, and return how often that failed before: peers get more than one try, and we do not."""
    tries = 1 if entrant.name == environments.OURS else TRIES
    for failed in range(tries):
        try:
            return entrant.time(folder(entrant)), failed
        except BenchmarkFailed as error:
            if failed + 1 == tries:
                raise
            _say(f"  {entrant.name} failed and gets another try: {str(error).strip().splitlines()[-1]}")
    raise AssertionError("there is at least one try")


def _provide(chosen: Sequence[Workload], who: Sequence[str]) -> None:
    entrants = [one for workload in chosen for one in _taking_part(workload, who)]
    environments.provide(dict.fromkeys(one.environment for one in entrants), _say)


def _taking_part(workload: Workload, who: Sequence[str]) -> list[Entrant]:
    return [one for one in workload.entrants if not who or one.name in who]


def _pick(every: dict[str, Workload], names: Sequence[str]) -> list[Workload]:
    unknown = [name for name in names if name not in every]
    if unknown:
        raise click.BadParameter(f"there is no workload {unknown[0]!r}; --list shows all", param_hint="--only")
    return [one for one in every.values() if not names or one.name in names]


def _check_who(chosen: Sequence[Workload], names: list[str]) -> list[str]:
    known = {entrant.name for workload in chosen for entrant in workload.entrants}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} takes no part in these workloads", param_hint="--who")
    return names


def _split(names: Sequence[str]) -> list[str]:
    return [name.strip() for text in names for name in text.split(",")]


def _names(workload: Workload) -> str:
    return ", ".join(entrant.name for entrant in workload.entrants)


def _told(measured: Measurement) -> str:
    foreign = "" if measured.foreign is None else f", others {measured.foreign:.1f} cores"
    left = f", {measured.left} processes left over" if measured.left else ""
    return f"{measured.wall:9.3f} s, CPU {measured.cpu:8.3f} s{foreign}{left}"


def _say(text: str) -> None:
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


def _counted() -> str:
    group = make_group()
    group.close()
    return group.how


if __name__ == "__main__":
    main()
