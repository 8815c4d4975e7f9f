"""The saved results: the last rounds of each competitor in each workload, and their origin."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measurement import RunMeasurement
from benchmarks.workloads import RoundChoice, TimeColumn

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesOrigin:
    """The origin of a series of rounds.

    Parameters
    ----------
    run : str
        When the benchmark run was started, ISO 8601.
    commit : str
        The commit that was measured; ends with ``+`` when there were uncommitted changes.
    version : str
        The tool and its version.
    machine : str
        Cores, memory, system and Python, in words.
    counted : str
        How CPU time was counted.
    """

    run: str
    commit: str
    version: str
    machine: str
    counted: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundCost:
    """Wall time and CPU time of a round, in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSeries:
    """The rounds of a competitor in a workload.

    Parameters
    ----------
    origin : SeriesOrigin
        Where they come from.
    rounds : tuple of RunMeasurement
        The rounds that succeeded.
    failures : int
        How often a peer failed and was retried.
    """

    origin: SeriesOrigin
    rounds: tuple[RunMeasurement, ...]
    failures: int = 0

    def cost(self, choice: RoundChoice = "median") -> RoundCost:
        """Return the time of a round."""
        return RoundCost(wall=select_value(self.values("wall"), choice), cpu=select_value(self.values("cpu"), choice))

    def values(self, column: TimeColumn) -> list[float]:
        """Return the values of a column in all rounds."""
        return [getattr(measurement, column) for measurement in self.rounds]

    def figure(self, name: str, choice: RoundChoice = "median") -> float | None:
        """Return the figure `name` that the command measured itself, or None."""
        figures = [measurement.figures[name] for measurement in self.rounds if name in measurement.figures]
        return select_value(figures, choice) if figures else None

    def foreign(self) -> float | None:
        """Return the cores that other programs kept busy, in the median round."""
        loads = [measurement.foreign for measurement in self.rounds if measurement.foreign is not None]
        return statistics.median(loads) if loads else None


@dataclass(slots=True, kw_only=True)
class BenchmarkResults:
    """Series of rounds by workload and competitor."""

    series: dict[str, dict[str, RoundSeries]] = field(default_factory=dict)

    def put(self, workload: str, competitor: str, series: RoundSeries) -> None:
        """Store the rounds of a competitor, in place of its earlier rounds."""
        self.series.setdefault(workload, {})[competitor] = series

    def of(self, workload: str) -> Mapping[str, RoundSeries]:
        """Return the series of a workload by competitor."""
        return self.series.get(workload, {})

    def to_dict(self) -> dict[str, Any]:
        """Return the results as a JSON document."""
        return {
            "format": FORMAT,
            "workloads": {
                name: {who: asdict(series) for who, series in by_name.items()} for name, by_name in self.series.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> BenchmarkResults:
        """Return the results of a JSON document that :meth:`to_dict` made.

        Raises
        ------
        ValueError
            The document has another format version.
        """
        if document.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {document.get('format')!r}")
        return cls(
            series={
                name: {who: _series(series) for who, series in by_name.items()}
                for name, by_name in document["workloads"].items()
            }
        )


def select_value(values: Sequence[float], choice: RoundChoice) -> float:
    """Return the median of `values`, or their minimum."""
    return min(values) if choice == "min" else statistics.median(values)


def load(path: Path) -> BenchmarkResults:
    """Return the results in the file `path`; empty results if it does not exist."""
    return (
        BenchmarkResults.from_dict(json.loads(path.read_text(encoding="utf-8")))
        if path.exists()
        else BenchmarkResults()
    )


def save(results: BenchmarkResults, path: Path) -> None:
    """Save `results` in the file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(results.to_dict(), indent=1), encoding="utf-8")
    new.replace(path)


def _series(document: Mapping[str, Any]) -> RoundSeries:
    rounds = tuple(RunMeasurement(**measurement) for measurement in document["rounds"])
    return RoundSeries(origin=SeriesOrigin(**document["origin"]), rounds=rounds, failures=document["failures"])
