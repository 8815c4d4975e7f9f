"""From rounds to ratios: how many times as fast, against what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.environments import OURS
from benchmarks.results import Cost, Results, Series
from benchmarks.workloads import FASTEST, FULL, Column, Sizes, Workload

LIVE_AT_MOST = 0.150
GROWTH_AT_MOST = 2.0
HEAVY_STEP_AT_LEAST = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Us beside one peer, in one workload.

    Parameters
    ----------
    workload, title, peer : str
        What and who.
    ours, theirs : Cost
        What a round costs.
    asked : float or None
        How many times as fast we have to be; None where nothing is asked.
    column : {"wall", "cpu"}
        In which of the two.
    rounds : int
        How many of ours.
    foreign : float or None
        Cores that others kept busy meanwhile.
    one_run : bool
        Whether both come from the same run of the bench, and so from interleaved rounds.
    failures : int
        How often the peer failed and was given another try.
    """

    workload: str
    title: str
    peer: str
    ours: Cost
    theirs: Cost
    asked: float | None = None
    column: Column = "wall"
    rounds: int = 0
    foreign: float | None = None
    one_run: bool = True
    failures: int = 0

    @property
    def ratio(self) -> Cost:
        """How many times as fast we are, in wall time and in CPU time."""
        return Cost(wall=_times(self.theirs.wall, self.ours.wall), cpu=_times(self.theirs.cpu, self.ours.cpu))

    @property
    def counts(self) -> float:
        """The one of both ratios that is asked for."""
        return self.ratio.cpu if self.column == "cpu" else self.ratio.wall

    @property
    def met(self) -> bool | None:
        """Whether it is what is asked; None where nothing is asked."""
        return None if self.asked is None else self.counts >= self.asked


def rows(results: Results, workloads: Mapping[str, Workload], sizes: Sizes = FULL) -> list[Row]:
    """Return every comparison that `results` has the rounds for, in the order of the workloads."""
    found: list[Row] = []
    for workload in workloads.values():
        found += _rows(workload, results.of(workload.name))
        if workload.name == "heavy-2":
            found += _heavy_step(results, sizes)
    return found


def fastest(rows_of_one: list[Row], column: Column = "wall") -> Row:
    """Return the row of the peer that takes the least time."""
    return min(rows_of_one, key=lambda row: getattr(row.theirs, column))


def sentences(results: Results, sizes: Sizes = FULL) -> list[str]:
    """Return what no peer is compared with, in words."""
    return [*_live(results, sizes), *_growth(results, sizes), *_floor(results, sizes)]


def _rows(workload: Workload, series: Mapping[str, Series]) -> list[Row]:
    mine = series.get(OURS)
    if mine is None:
        return []
    found = [
        _row(workload, entrant.name, mine, series[entrant.name])
        for entrant in workload.entrants
        if entrant.name != OURS and entrant.name in series
    ]
    if FASTEST not in workload.asked or not found:
        return found
    best = fastest(found, workload.column)
    return [row if row is not best else _asking(row, workload.asked[FASTEST]) for row in found]


def _row(workload: Workload, peer: str, mine: Series, theirs: Series) -> Row:
    return Row(
        workload=workload.name,
        title=workload.title,
        peer=peer,
        ours=mine.cost(workload.choice),
        theirs=theirs.cost(workload.choice),
        asked=workload.asked.get(peer),
        column=workload.column,
        rounds=len(mine.rounds),
        foreign=_most(mine.foreign(), theirs.foreign()),
        one_run=mine.origin.run == theirs.origin.run,
        failures=theirs.failures,
    )


def _asking(row: Row, asked: float) -> Row:
    return Row(**{name: getattr(row, name) for name in Row.__slots__} | {"asked": asked})


def _heavy_step(results: Results, sizes: Sizes) -> Iterator[Row]:
    """Yield what one more heavy step costs: the slope between two lengths of chain, so that no start is in it."""
    long, short = results.of("heavy-10"), results.of("heavy-2")
    if not {OURS, "papermill"} <= long.keys() & short.keys():
        return
    mine, theirs = (slope(long[who], short[who], sizes.heavy - 2) for who in (OURS, "papermill"))
    yield Row(
        workload="heavy-10, heavy-2",
        title="one more of these steps, after the start",
        peer="papermill",
        ours=mine,
        theirs=theirs,
        asked=HEAVY_STEP_AT_LEAST,
        rounds=len(long[OURS].rounds),
        foreign=_most(*(every[who].foreign() for every in (long, short) for who in (OURS, "papermill"))),
        one_run=len({every[who].origin.run for every in (long, short) for who in (OURS, "papermill")}) == 1,
    )


def slope(long: Series, short: Series, steps: int) -> Cost:
    """Return what each of the `steps` costs by which two chains differ."""
    one, other = long.cost(), short.cost()
    return Cost(wall=(one.wall - other.wall) / steps, cpu=(one.cpu - other.cpu) / steps)


def _live(results: Results, sizes: Sizes) -> Iterator[str]:
    series = results.of("no-op-live").get(OURS)
    if series is None:
        return
    wall, first = series.cost().wall, series.figure("first") or 0.0
    yield (
        f"`no-op-live`: `%pipeline run` of {sizes.chain} steps in a running kernel, nothing to do: **{_ms(wall)}** "
        f"after the first ({_ms(first)}); asked: under {_ms(LIVE_AT_MOST)} ({_said(wall < LIVE_AT_MOST)})."
    )


def _growth(results: Results, sizes: Sizes) -> Iterator[str]:
    series = [results.of(name).get(OURS) for name in ("no-op-1", "no-op-100", "no-op-1000")]
    if None in series:
        return
    one, few, many = (found.cost().wall for found in series if found is not None)
    beyond = _times(many - one, few - one)
    yield (
        f"`no-op-1000`: {sizes.many:,} steps cost **{_times(many, few):.2f} times** what {sizes.few:,} do in all "
        f"({_ms(many)}, {_ms(few)}), and {beyond:.1f} times beyond what one step costs ({_ms(one)}); "
        f"asked: at most {GROWTH_AT_MOST:g} ({_said(_times(many, few) <= GROWTH_AT_MOST)} in all)."
    )


def _floor(results: Results, sizes: Sizes) -> Iterator[str]:
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
            f"**{_ms(step.wall)}** ({_ms(step.cpu)} of CPU), {_times(step.wall, bare.wall):.0f} times that."
        )


def _times(one: float, other: float) -> float:
    return one / other if other > 0 else float("inf")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _said(met: bool) -> str:
    return "met" if met else "missed"


def _most(*amounts: float | None) -> float | None:
    known = [one for one in amounts if one is not None]
    return max(known) if known else None
