"""What was measured, as it is kept: the last rounds of every entrant of every workload, and where they come from."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.measuring import Measurement
from benchmarks.workloads import Choice, Column

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where rounds come from.

    Parameters
    ----------
    run : str
        When the bench was started, ISO 8601.
    commit : str
        What was measured; ends with ``+`` when there were changes beyond it.
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
class Cost:
    """Seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The rounds of one entrant in one workload.

    Parameters
    ----------
    origin : Origin
        Where they come from.
    rounds : tuple of Measurement
        Those that went well.
    failures : int
        How often a peer failed and was given another try.
    """

    origin: Origin
    rounds: tuple[Measurement, ...]
    failures: int = 0

    def cost(self, choice: Choice = "median") -> Cost:
        """Return what one round costs."""
        return Cost(wall=chosen(self.values("wall"), choice), cpu=chosen(self.values("cpu"), choice))

    def values(self, column: Column) -> list[float]:
        """Return one column of every round."""
        return [getattr(one, column) for one in self.rounds]

    def figure(self, name: str, choice: Choice = "median") -> float | None:
        """Return what the command timed itself under `name`; None where it did not."""
        found = [one.figures[name] for one in self.rounds if name in one.figures]
        return chosen(found, choice) if found else None

    def foreign(self) -> float | None:
        """Return the cores that others kept busy, in the median round."""
        found = [one.foreign for one in self.rounds if one.foreign is not None]
        return statistics.median(found) if found else None


@dataclass(slots=True, kw_only=True)
class Results:
    """Series by workload and entrant."""

    series: dict[str, dict[str, Series]] = field(default_factory=dict)

    def put(self, workload: str, entrant: str, series: Series) -> None:
        """Keep the rounds of one entrant, in place of those that were there."""
        self.series.setdefault(workload, {})[entrant] = series

    def of(self, workload: str) -> Mapping[str, Series]:
        """Return what is known of a workload."""
        return self.series.get(workload, {})

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON holds it."""
        return {
            "format": FORMAT,
            "workloads": {
                name: {who: asdict(one) for who, one in every.items()} for name, every in self.series.items()
            },
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Results:
        """Return what :meth:`to_dict` described.

        Raises
        ------
        ValueError
            It is of another format version.
        """
        if document.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {document.get('format')!r}")
        return cls(
            series={
                name: {who: _series(one) for who, one in every.items()} for name, every in document["workloads"].items()
            }
        )


def chosen(values: Sequence[float], choice: Choice) -> float:
    """Return the median of `values`, or their minimum."""
    return min(values) if choice == "min" else statistics.median(values)


def load(path: Path) -> Results:
    """Return what is kept in the file `path`; nothing when there is none."""
    return Results.from_dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Results()


def save(results: Results, path: Path) -> None:
    """Keep `results` in the file `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(results.to_dict(), indent=1), encoding="utf-8")
    new.replace(path)


def _series(document: Mapping[str, Any]) -> Series:
    rounds = tuple(Measurement(**one) for one in document["rounds"])
    return Series(origin=Origin(**document["origin"]), rounds=rounds, failures=document["failures"])
