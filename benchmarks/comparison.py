"""Compare rounds: how many times as fast our tool is as each peer, and whether that meets the target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.environments import OURS
from benchmarks.results import BenchmarkResults, RoundCost, RoundSeries
from benchmarks.workloads import FASTEST, FULL, TimeColumn, WorkloadSizes, WorkloadSpec

LIVE_AT_MOST = 0.150
GROWTH_AT_MOST = 2.0
HEAVY_STEP_AT_LEAST = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """Our own tool compared with a peer, in a workload.

    Parameters
    ----------
    workload, title, peer : str
        Name and title of the workload; name of the peer.
    ours, theirs : RoundCost
        The time of a round.
    target : float or None
        How many times as fast our tool has to be; None without a target.
    column : {"wall", "cpu"}
        Whether the target is for wall time or CPU time.
    rounds : int
        The number of our rounds.
    foreign : float or None
        Cores that other programs kept busy meanwhile.
    one_run : bool
        Whether both come from the same benchmark run, and so from interleaved rounds.
    failures : int
        How often the peer failed and was retried.
    """

    workload: str
    title: str
    peer: str
    ours: RoundCost
    theirs: RoundCost
    target: float | None = None
    column: TimeColumn = "wall"
    rounds: int = 0
    foreign: float | None = None
    one_run: bool = True
    failures: int = 0

    @property
    def ratio(self) -> RoundCost:
        """How many times as fast our tool is, in wall time and in CPU time."""
        return RoundCost(
            wall=_quotient(self.theirs.wall, self.ours.wall), cpu=_quotient(self.theirs.cpu, self.ours.cpu)
        )

    @property
    def decisive_ratio(self) -> float:
        """The ratio that is compared with the target."""
        return self.ratio.cpu if self.column == "cpu" else self.ratio.wall

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        return None if self.target is None else self.decisive_ratio >= self.target


def rows(
    results: BenchmarkResults, workloads: Mapping[str, WorkloadSpec], sizes: WorkloadSizes = FULL
) -> list[ComparisonRow]:
    """Return all comparisons for which `results` has rounds, in the order of the workloads."""
    all_rows: list[ComparisonRow] = []
    for workload in workloads.values():
        all_rows += _rows(workload, results.of(workload.name))
        if workload.name == "heavy-2":
            all_rows += _heavy_step(results, sizes)
    return all_rows


def fastest(peer_rows: list[ComparisonRow], column: TimeColumn = "wall") -> ComparisonRow:
    """Return the row of the fastest peer."""
    return min(peer_rows, key=lambda row: getattr(row.theirs, column))


def sentences(results: BenchmarkResults, sizes: WorkloadSizes = FULL) -> list[str]:
    """Return sentences about the workloads without peers."""
    return [*_live(results, sizes), *_growth(results, sizes), *_floor(results, sizes)]


def _rows(workload: WorkloadSpec, series: Mapping[str, RoundSeries]) -> list[ComparisonRow]:
    ours = series.get(OURS)
    if ours is None:
        return []
    peer_rows = [
        _row(workload, competitor.name, ours, series[competitor.name])
        for competitor in workload.competitors
        if competitor.name != OURS and competitor.name in series
    ]
    if FASTEST not in workload.targets or not peer_rows:
        return peer_rows
    best = fastest(peer_rows, workload.column)
    return [row if row is not best else _with_target(row, workload.targets[FASTEST]) for row in peer_rows]


def _row(workload: WorkloadSpec, peer: str, ours: RoundSeries, theirs: RoundSeries) -> ComparisonRow:
    return ComparisonRow(
        workload=workload.name,
        title=workload.title,
        peer=peer,
        ours=ours.cost(workload.choice),
        theirs=theirs.cost(workload.choice),
        target=workload.targets.get(peer),
        column=workload.column,
        rounds=len(ours.rounds),
        foreign=_largest(ours.foreign(), theirs.foreign()),
        one_run=ours.origin.run == theirs.origin.run,
        failures=theirs.failures,
    )


def _with_target(row: ComparisonRow, target: float) -> ComparisonRow:
    return ComparisonRow(**{name: getattr(row, name) for name in ComparisonRow.__slots__} | {"target": target})


def _heavy_step(results: BenchmarkResults, sizes: WorkloadSizes) -> Iterator[ComparisonRow]:
    """Yield the time per heavy step: the slope between two lengths of a chain, which excludes the start-up time."""
    long, short = results.of("heavy-10"), results.of("heavy-2")
    if not {OURS, "papermill"} <= long.keys() & short.keys():
        return
    ours, theirs = (slope(long[who], short[who], sizes.heavy - 2) for who in (OURS, "papermill"))
    yield ComparisonRow(
        workload="heavy-10, heavy-2",
        title="one more of these steps, after the start",
        peer="papermill",
        ours=ours,
        theirs=theirs,
        target=HEAVY_STEP_AT_LEAST,
        rounds=len(long[OURS].rounds),
        foreign=_largest(
            *(chain_series[who].foreign() for chain_series in (long, short) for who in (OURS, "papermill"))
        ),
        one_run=len({chain_series[who].origin.run for chain_series in (long, short) for who in (OURS, "papermill")})
        == 1,
    )


def slope(long: RoundSeries, short: RoundSeries, steps: int) -> RoundCost:
    """Return the time per step: the difference of two chains divided by the `steps` by which they differ."""
    long_cost, short_cost = long.cost(), short.cost()
    return RoundCost(wall=(long_cost.wall - short_cost.wall) / steps, cpu=(long_cost.cpu - short_cost.cpu) / steps)


def _live(results: BenchmarkResults, sizes: WorkloadSizes) -> Iterator[str]:
    series = results.of("no-op-live").get(OURS)
    if series is None:
        return
    wall, first = series.cost().wall, series.figure("first") or 0.0
    yield (
        f"`no-op-live`: `%pipeline run` of {sizes.chain} steps in a running kernel, nothing to do: **{_ms(wall)}** "
        f"after the first ({_ms(first)}); asked: under {_ms(LIVE_AT_MOST)} ({_verdict(wall < LIVE_AT_MOST)})."
    )


def _growth(results: BenchmarkResults, sizes: WorkloadSizes) -> Iterator[str]:
    series = [results.of(name).get(OURS) for name in ("no-op-1", "no-op-100", "no-op-1000")]
    if None in series:
        return
    first, few, many = (wall_series.cost().wall for wall_series in series if wall_series is not None)
    beyond = _quotient(many - first, few - first)
    yield (
        f"`no-op-1000`: {sizes.many:,} steps cost **{_quotient(many, few):.2f} times** what {sizes.few:,} do in all "
        f"({_ms(many)}, {_ms(few)}), and {beyond:.1f} times beyond what one step costs ({_ms(first)}); "
        f"asked: at most {GROWTH_AT_MOST:g} ({_verdict(_quotient(many, few) <= GROWTH_AT_MOST)} in all)."
    )


def _floor(results: BenchmarkResults, sizes: WorkloadSizes) -> Iterator[str]:
    floor = results.of("floor")
    for name, kind, (longer, shorter), steps in (
        ("light", "with only the kernel's own imports", ("chain-30", "chain-2"), sizes.chain - 2),
        ("heavy", "with pandas, scikit-learn and matplotlib", ("heavy-10", "heavy-2"), sizes.heavy - 2),
    ):
        long, short = results.of(longer).get(OURS), results.of(shorter).get(OURS)
        if name not in floor or long is None or short is None:
            continue
        bare, step = floor[name].cost(), slope(long, short, steps)
        yield (
            f"`floor`, {kind}: a bare forked child that runs nothing takes {bare.wall * 1000:.1f} ms; one more step of "
            f"`{longer}` takes "
            f"**{_ms(step.wall)}** ({_ms(step.cpu)} of CPU), {_quotient(step.wall, bare.wall):.0f} times that."
        )


def _quotient(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else float("inf")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def _largest(*amounts: float | None) -> float | None:
    known = [amount for amount in amounts if amount is not None]
    return max(known) if known else None
