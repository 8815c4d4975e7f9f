"""The workloads by name, with the competitors and the targets of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from benchmarks.competitors import CompetitorSpec, artifact, cold, forks, idle, live, quickstart, status
from benchmarks.tools.dvc import DvcTool
from benchmarks.tools.metaflow import MetaflowTool
from benchmarks.tools.ours import PipelinesTool
from benchmarks.tools.papermill import PapermillTool
from benchmarks.tools.ploomber import PloomberTool
from benchmarks.tools.snakemake import SnakemakeTool
from benchmarks.workload_data import BURN, HEAVY, SLEEP, chain, long, wide

TimeColumn = Literal["wall", "cpu"]
RoundChoice = Literal["median", "min"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSizes:
    """The sizes of the workloads."""

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


FULL = WorkloadSizes()
QUICK = WorkloadSizes(
    chain=4, heavy=3, width=4, few=5, many=20, array=2**20, frame=50_000, trees=3, cells=20, forks=20
)  # a smoke test: the figures mean nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSpec:
    """A workload, the same for all competitors.

    Parameters
    ----------
    name : str
        Its name, as ``--only`` takes it.
    title : str
        Its description in the table.
    competitors : tuple of CompetitorSpec
        The competitors; our own tool is called ``ours``.
    targets : Mapping of str to float
        By peer, how many times as fast our tool has to be. ``fastest`` stands for the fastest of all peers.
    column : {"wall", "cpu"}
        Whether the targets are for wall time or CPU time.
    choice : {"median", "min"}
        How the rounds are summarized; by their minimum where memory or disk slow down single rounds.
    more : int
        The number of additional rounds.
    """

    name: str
    title: str
    competitors: tuple[CompetitorSpec, ...]
    targets: Mapping[str, float] = field(default_factory=dict)
    column: TimeColumn = "wall"
    choice: RoundChoice = "median"
    more: int = 0


FASTEST = "fastest"


def workloads(sizes: WorkloadSizes = FULL) -> dict[str, WorkloadSpec]:
    """Return all workloads by name, in the order of the table."""
    all_workloads = (*_chains(sizes), *_wide(sizes), *_idle(sizes), *_values(sizes), *_other_workloads(sizes))
    return {workload.name: workload for workload in all_workloads}


def _chains(sizes: WorkloadSizes) -> tuple[WorkloadSpec, ...]:
    trivial, heavy, start = chain(sizes.chain), chain(sizes.heavy, HEAVY), chain(2, HEAVY)
    peers = (PapermillTool(), PloomberTool(), DvcTool(), MetaflowTool())
    return (
        WorkloadSpec(
            name="chain-30",
            title=f"chain of {sizes.chain} trivial steps, nothing stored, from the shell",
            competitors=(*(cold(tool, trivial) for tool in peers), cold(PipelinesTool(), trivial)),
            targets={"papermill": 7, "ploomber": 12, "dvc": 12},
        ),
        WorkloadSpec(
            name="chain-2",
            title="the same with 2 steps: what starting costs",
            competitors=(cold(PapermillTool(), chain(2)), cold(PipelinesTool(), chain(2))),
        ),
        WorkloadSpec(
            name="heavy-10",
            title=f"chain of {sizes.heavy} steps, each imports pandas, scikit-learn and matplotlib",
            competitors=(cold(PapermillTool(), heavy), cold(PipelinesTool(), heavy)),
            targets={"papermill": 6},
        ),
        WorkloadSpec(
            name="heavy-2",
            title="the same with 2 steps: what starting costs",
            competitors=(cold(PapermillTool(), start), cold(PipelinesTool(), start)),
        ),
    )


def _wide(sizes: WorkloadSizes) -> tuple[WorkloadSpec, ...]:
    sleep, burn = wide(sizes.width, SLEEP), wide(sizes.width, BURN)
    ours = PipelinesTool("--jobs", str(sizes.width))
    parallel = (PloomberTool(0), PloomberTool(sizes.width))
    shape = f"1 → {sizes.width} → 1 steps"
    return (
        WorkloadSpec(
            name="wide-sleep",
            title=f"{shape} of 0.2 s of sleep, `--jobs {sizes.width}`",
            competitors=(cold(PapermillTool(), sleep), *(cold(tool, sleep) for tool in parallel), cold(ours, sleep)),
            targets={"papermill": 6, "ploomber parallel": 6},
        ),
        WorkloadSpec(
            name="wide-burn",
            title=f"{shape} of 0.2 s of computing, `--jobs {sizes.width}`",
            competitors=(*(cold(tool, burn) for tool in parallel), cold(ours, burn)),
            targets={"ploomber parallel": 4},
        ),
    )


def _idle(sizes: WorkloadSizes) -> tuple[WorkloadSpec, ...]:
    few, many = chain(sizes.few), chain(sizes.many)
    tools = (DvcTool(), SnakemakeTool(), PloomberTool(), PipelinesTool())
    return (
        WorkloadSpec(
            name="no-op-1",
            title="one step, nothing to do, from the shell: what starting costs",
            competitors=(idle(PipelinesTool(), chain(1)),),
        ),
        WorkloadSpec(
            name="no-op-100",
            title=f"{sizes.few:,} steps, nothing to do, from the shell",
            competitors=tuple(idle(tool, few) for tool in tools),
            targets={FASTEST: 1.5},
        ),
        WorkloadSpec(
            name="no-op-1000",
            title=f"{sizes.many:,} steps, nothing to do, from the shell",
            competitors=tuple(idle(tool, many) for tool in tools),
            targets={FASTEST: 8},
        ),
        WorkloadSpec(
            name="no-op-live",
            title=f"`%pipeline run` of {sizes.chain} steps in a running kernel, nothing to do",
            competitors=(live(chain(sizes.chain)),),
        ),
    )


def _values(sizes: WorkloadSizes) -> tuple[WorkloadSpec, ...]:
    kinds = (
        ("array", "1 GB float64 array", sizes.array, 2.0),
        ("frame", "900 MB data frame: 9 million rows, 4 columns of integers, 4 of floats, 2 of text", sizes.frame, 3.0),
        ("model", "90 MB random forest", sizes.trees, 1.2),
    )
    return tuple(
        WorkloadSpec(
            name=kind,
            title=f"{title}, from step to step: hash, write, verify, read",
            competitors=(artifact("joblib", kind, size), artifact("ours", kind, size)),
            targets={"joblib": target},
            choice="min",
            more=2,
        )
        for kind, title, size, target in kinds
    )


def _other_workloads(sizes: WorkloadSizes) -> tuple[WorkloadSpec, ...]:
    cells, few = long(sizes.cells), chain(6)
    heavy = "ipykernel.kernelapp,pandas,sklearn.linear_model,matplotlib.pyplot"
    return (
        WorkloadSpec(
            name="cells-1000",
            title=f"one step of {sizes.cells:,} cells",
            competitors=(cold(PapermillTool(), cells), cold(PipelinesTool(), cells)),
            targets={"papermill": 20},
            column="cpu",
        ),
        WorkloadSpec(
            name="plan",
            title="`jupyter-pipelines plan` on the quickstart, 6 steps stored",
            competitors=(status(DvcTool(), few, "status"), status(PloomberTool(), few, "status"), quickstart()),
            targets={"dvc status": 1, "ploomber status": 1},
        ),
        WorkloadSpec(
            name="floor",
            title="a bare forked child that runs nothing",
            competitors=(forks("light", "ipykernel.kernelapp", sizes.forks), forks("heavy", heavy, sizes.forks)),
        ),
    )
