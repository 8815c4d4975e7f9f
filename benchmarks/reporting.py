"""The report: one Markdown table, what stands beside it, and the place in the docs where it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.comparing import Row, rows, sentences
from benchmarks.results import Origin, Results
from benchmarks.workloads import FULL, Sizes, Workload

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_HEAD = (
    "| workload | what | beside | ours, s (CPU) | theirs, s (CPU) | times as fast | in CPU | asked | rounds | load |",
    "|---|---|---|---|---|---|---|---|---|---|",
)
_LEGEND = (
    "Times as fast: theirs by ours, the median of the rounds; for `array`, `frame` and `model` the fastest round. "
    "Bold is the one that is asked for. Load: cores that other programs kept busy meanwhile, in the median round."
)
_APART = "† Ours and theirs come from different runs of the bench, so their rounds were not interleaved."


def report(results: Results, workloads: Mapping[str, Workload], sizes: Sizes = FULL) -> str:
    """Return the whole report as Markdown."""
    found = rows(results, workloads, sizes)
    parts = [
        *origins(results, workloads),
        "",
        *_HEAD,
        *(line(row, first=row.workload not in {one.workload for one in found[:n]}) for n, row in enumerate(found)),
        "",
        _LEGEND,
        *([] if all(row.one_run for row in found) else ["", _APART]),
        "",
        *(f"- {sentence}" for sentence in sentences(results, sizes)),
    ]
    return "\n".join(parts) + "\n"


def line(row: Row, *, first: bool = True) -> str:
    """Return one row of the table; only the first one of a workload says what it is."""
    wall, cpu = _ratio(row.ratio.wall), _ratio(row.ratio.cpu)
    if row.asked is not None:
        wall, cpu = (wall, f"**{cpu}**") if row.column == "cpu" else (f"**{wall}**", cpu)
    asked = "" if row.asked is None else f"{row.asked:g}{' ✓' if row.met else ' ✗'}"
    load = "" if row.foreign is None else f"{row.foreign:.1f}"
    peer = row.peer + ("" if row.one_run else " †") + (f", failed {row.failures} times" if row.failures else "")
    ours, theirs = (f"{_seconds(one.wall)} ({_seconds(one.cpu)})" for one in (row.ours, row.theirs))
    names = (f"`{row.workload}`", row.title) if first else ("", "")
    cells = (*names, peer, ours, theirs, wall, cpu, asked, str(row.rounds), load)
    return f"| {' | '.join(cells)} |"


def origins(results: Results, workloads: Mapping[str, Workload]) -> list[str]:
    """Return where the figures come from: machine, versions and runs, each said once."""
    every = [one.origin for name, found in results.series.items() if name in workloads for one in found.values()]
    return [
        f"Machine: {_listed([one.machine for one in every])}. CPU time by {_listed([one.counted for one in every])}.",
        f"Versions: {', '.join(sorted({one.version for one in every}))}.",
        f"Measured: {_runs(every)}.",
    ]


def write_into(path: Path, text: str) -> None:
    """Put `text` between the two marks of the page `path`.

    Raises
    ------
    ValueError
        The page has no such marks.
    """
    page = path.read_text(encoding="utf-8")
    before, found, rest = page.partition(BEGIN)
    _, also, after = rest.partition(END)
    if not (found and also):
        raise ValueError(f"{path} has no place for it: {BEGIN} … {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def _runs(every: Sequence[Origin]) -> str:
    runs = Counter((one.run, one.commit) for one in every)
    return "; ".join(f"{run}, commit {commit}" for run, commit in sorted(runs))


def _listed(words: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(words))


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.01 else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
