"""What is measured: the workloads by name, who takes part in each, and what is asked of us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.entrants import Entrant, artifact, cold, forks, idle, live, quickstart, status
from benchmarks.shapes import BURN, HEAVY, SLEEP, chain, long, wide
from benchmarks.tools.dvc import Dvc
from benchmarks.tools.metaflow import Metaflow
from benchmarks.tools.ours import Ours
from benchmarks.tools.papermill import Papermill
from benchmarks.tools.ploomber import Ploomber
from benchmarks.tools.snakemake import Snakemake

Column = Literal["wall", "cpu"]
Choice = Literal["median", "min"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large the workloads are."""

    chain: int = 30
    heavy: int = 10
    width: int = 16
    few: int = 100
    many: int = 1000
    array: int = 2**27
    frame: int = 9_000_000
    trees: int = 100
    cells: int = 1000
    forks: int = 200


FULL = Sizes()
QUICK = Sizes(
    chain=4, heavy=3, width=4, few=5, many=20, array=2**20, frame=50_000, trees=3, cells=20, forks=20
)  # only shows that everything works: the figures mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One kind of work, the same for everybody who takes part.

    Parameters
    ----------
    name : str
        What ``--only`` takes.
    title : str
        What it is, for readers of the table.
    entrants : tuple of Entrant
        Who takes part; ours is called ``ours``.
    asked : Mapping of str to float
        By peer, how many times as fast we have to be. ``fastest`` stands for the fastest of all peers.
    column : {"wall", "cpu"}
        In which of the two.
    choice : {"median", "min"}
        What of the rounds counts; the minimum where memory or disk of the machine makes single rounds slow.
    more : int
        Rounds beyond those asked for.
    """

    name: str
    title: str
    entrants: tuple[Entrant, ...]
    asked: Mapping[str, float] = field(default_factory=dict)
    column: Column = "wall"
    choice: Choice = "median"
    more: int = 0


FASTEST = "fastest"


def workloads(sizes: Sizes = FULL) -> dict[str, Workload]:
    """Return every workload by name, in the order of the table."""
    every = (*_chains(sizes), *_wide(sizes), *_idle(sizes), *_values(sizes), *_rest(sizes))
    return {one.name: one for one in every}


def _chains(sizes: Sizes) -> tuple[Workload, ...]:
    trivial, heavy, start = chain(sizes.chain), chain(sizes.heavy, HEAVY), chain(2, HEAVY)
    peers = (Papermill(), Ploomber(), Dvc(), Metaflow())
    return (
        Workload(
            name="chain-30",
            title=f"chain of {sizes.chain} trivial steps, nothing stored, from the shell",
            entrants=(*(cold(tool, trivial) for tool in peers), cold(Ours(), trivial)),
            asked={"papermill": 7, "ploomber": 12, "dvc": 12},
        ),
        Workload(
            name="chain-2",
            title="the same with 2 steps: what starting costs",
            entrants=(cold(Papermill(), chain(2)), cold(Ours(), chain(2))),
        ),
        Workload(
            name="heavy-10",
            title=f"chain of {sizes.heavy} steps, each imports pandas, scikit-learn and matplotlib",
            entrants=(cold(Papermill(), heavy), cold(Ours(), heavy)),
            asked={"papermill": 6},
        ),
        Workload(
            name="heavy-2",
            title="the same with 2 steps: what starting costs",
            entrants=(cold(Papermill(), start), cold(Ours(), start)),
        ),
    )


def _wide(sizes: Sizes) -> tuple[Workload, ...]:
    sleep, burn = wide(sizes.width, SLEEP), wide(sizes.width, BURN)
    ours = Ours("--jobs", str(sizes.width))
    parallel = (Ploomber(0), Ploomber(sizes.width))
    shape = f"1 → {sizes.width} → 1 steps"
    return (
        Workload(
            name="wide-sleep",
            title=f"{shape} of 0.2 s of sleep, `--jobs {sizes.width}`",
            entrants=(cold(Papermill(), sleep), *(cold(tool, sleep) for tool in parallel), cold(ours, sleep)),
            asked={"papermill": 6, "ploomber parallel": 6},
        ),
        Workload(
            name="wide-burn",
            title=f"{shape} of 0.2 s of computing, `--jobs {sizes.width}`",
            entrants=(*(cold(tool, burn) for tool in parallel), cold(ours, burn)),
            asked={"ploomber parallel": 4},
        ),
    )


def _idle(sizes: Sizes) -> tuple[Workload, ...]:
    few, many = chain(sizes.few), chain(sizes.many)
    tools = (Dvc(), Snakemake(), Ploomber(), Ours())
    return (
        Workload(
            name="no-op-1",
            title="one step, nothing to do, from the shell: what starting costs",
            entrants=(idle(Ours(), chain(1)),),
        ),
        Workload(
            name="no-op-100",
            title=f"{sizes.few:,} steps, nothing to do, from the shell",
            entrants=tuple(idle(tool, few) for tool in tools),
            asked={FASTEST: 1.5},
        ),
        Workload(
            name="no-op-1000",
            title=f"{sizes.many:,} steps, nothing to do, from the shell",
            entrants=tuple(idle(tool, many) for tool in tools),
            asked={FASTEST: 8},
        ),
        Workload(
            name="no-op-live",
            title=f"`%pipeline run` of {sizes.chain} steps in a running kernel, nothing to do",
            entrants=(live(chain(sizes.chain)),),
        ),
    )


def _values(sizes: Sizes) -> tuple[Workload, ...]:
    kinds = (
        ("array", "1 GB float64 array", sizes.array, 2.0),
        ("frame", "900 MB data frame: 9 million rows, 4 columns of integers, 4 of floats, 2 of text", sizes.frame, 3.0),
        ("model", "90 MB random forest", sizes.trees, 1.2),
    )
    return tuple(
        Workload(
            name=kind,
            title=f"{title}, from step to step: hash, write, verify, read",
            entrants=(artifact("joblib", kind, size), artifact("ours", kind, size)),
            asked={"joblib": asked},
            choice="min",
            more=2,
        )
        for kind, title, size, asked in kinds
    )


def _rest(sizes: Sizes) -> tuple[Workload, ...]:
    cells, few = long(sizes.cells), chain(6)
    heavy = "ipykernel.kernelapp,pandas,sklearn.linear_model,matplotlib.pyplot"
    return (
        Workload(
            name="cells-1000",
            title=f"one step of {sizes.cells:,} cells",
            entrants=(cold(Papermill(), cells), cold(Ours(), cells)),
            asked={"papermill": 20},
            column="cpu",
        ),
        Workload(
            name="plan",
            title="`jupyter-pipelines plan` on the quickstart, 6 steps stored",
            entrants=(status(Dvc(), few, "status"), status(Ploomber(), few, "status"), quickstart()),
            asked={"dvc status": 1, "ploomber status": 1},
        ),
        Workload(
            name="floor",
            title="a bare forked child that runs nothing",
            entrants=(forks("light", "ipykernel.kernelapp", sizes.forks), forks("heavy", heavy, sizes.forks)),
        ),
    )
