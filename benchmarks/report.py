"""The report: a Markdown table with notes, and its insertion into the docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparison import ComparisonRow, rows, sentences
from benchmarks.results import BenchmarkResults, SeriesOrigin
from benchmarks.workloads import FULL, WorkloadSizes, WorkloadSpec

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEAD = (
    "| workload | what | beside | ours, s (CPU) | theirs, s (CPU) | times as fast | in CPU | asked | rounds | load |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
_LEGEND = (
    "Times as fast: theirs by ours, the median of the rounds; for `array`, `frame` and `model` the fastest round. "
    "Bold is the ratio that is asked for. Load: cores that other programs kept busy meanwhile, in the median round."
)
_APART = "† Ours and theirs come from different runs of the bench, so their rounds were not interleaved."


def markdown_report(
    results: BenchmarkResults, workloads: Mapping[str, WorkloadSpec], sizes: WorkloadSizes = FULL
) -> str:
    """Return the whole report as Markdown."""
    all_rows = rows(results, workloads, sizes)
    parts = [
        *origins(results, workloads),
        "",
        *_HEAD,
        *(
            line(row, first=row.workload not in {earlier.workload for earlier in all_rows[:n]})
            for n, row in enumerate(all_rows)
        ),
        "",
        _LEGEND,
        *([] if all(row.one_run for row in all_rows) else ["", _APART]),
        "",
        *(f"- {sentence}" for sentence in sentences(results, sizes)),
    ]
    return "\n".join(parts) + "\n"


def line(row: ComparisonRow, *, first: bool = True) -> str:
    """Return a row of the table; only the first row of a workload has its name and title."""
    wall, cpu = _ratio(row.ratio.wall), _ratio(row.ratio.cpu)
    if row.target is not None:
        wall, cpu = (wall, f"**{cpu}**") if row.column == "cpu" else (f"**{wall}**", cpu)
    asked = "" if row.target is None else f"{row.target:g}{' ✓' if row.met else ' ✗'}"
    load = "" if row.foreign is None else f"{row.foreign:.1f}"
    peer = row.peer + ("" if row.one_run else " †") + (f", failed {row.failures} times" if row.failures else "")
    ours, theirs = (f"{_seconds(cost.wall)} ({_seconds(cost.cpu)})" for cost in (row.ours, row.theirs))
    names = (f"`{row.workload}`", row.title) if first else ("", "")
    cells = (*names, peer, ours, theirs, wall, cpu, asked, str(row.rounds), load)
    return f"| {' | '.join(cells)} |"


def origins(results: BenchmarkResults, workloads: Mapping[str, WorkloadSpec]) -> list[str]:
    """Return the origins of the figures, without duplicates: machine, versions and runs."""
    all_origins = [
        series.origin
        for name, competitors in results.series.items()
        if name in workloads
        for series in competitors.values()
    ]
    machines = _join_unique([origin.machine for origin in all_origins])
    accounting = _join_unique([origin.counted for origin in all_origins])
    return [
        f"Machine: {machines}. CPU time by {accounting}.",
        f"Versions: {', '.join(sorted({origin.version for origin in all_origins}))}.",
        f"Measured: {_runs(all_origins)}.",
    ]


def write_into(path: Path, text: str) -> None:
    """Put `text` between the two marks of the page `path`.

    Raises
    ------
    ValueError
        The page has no such marks.
    """
    page = path.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (begin and also):
        raise ValueError(f"{path} has no place for it: {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _runs(all_origins: Sequence[SeriesOrigin]) -> str:
    runs = Counter((origin.run, origin.commit) for origin in all_origins)
    return "; ".join(f"{run}, commit {commit}" for run, commit in sorted(runs))


def _join_unique(words: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(words))


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.01 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
