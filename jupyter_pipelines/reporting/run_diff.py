"""Comparison of two runs: parameters, key parts of steps, outputs and durations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.format import ago, in_words, short_run
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import style_of
from jupyter_pipelines.reporting.text import table

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

SCHEMA = "jupyter-pipelines/diff/1"
_KINDS = {
    "shared": "shared code",
    "file": "input file",
    "file-name": "name of the input file",
    "unknown": "what is not known of its code",
}
_NUMBERED = frozenset({"code", "setup"})
"""Parts of keys that are numbered; the numbers are not shown."""
_NOTHING = "(none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One thing that differs.

    Parameters
    ----------
    kind : str
        That of a part of a step's key (``code``, ``shared``, ``parameter``, ``package`` …), or ``output``.
    name : str
        Name of the part; empty where the kind has a single part.
    first, second : object
        What it was in either run; None where it was not there.
    """

    kind: str
    name: str
    first: Any
    second: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the change as the ``diff`` document shows it."""
        return {"kind": self.kind, "name": self.name, "first": self.first, "second": self.second}

    def __str__(self) -> str:
        name = "" if self.kind in _NUMBERED else clean(self.name)
        words = " ".join(part for part in (_KINDS.get(self.kind, self.kind), name) if part)
        if self.kind in _NUMBERED:
            return words
        if self.first is None or self.second is None:
            return f"{words} only in the {'second' if self.first is None else 'first'} run"
        if _is_digest(self.first) or _is_digest(self.second):
            return words
        return f"{words}: {clean(self.first, 60)} -> {clean(self.second, 60)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDiff:
    """One step in two runs.

    Parameters
    ----------
    name : str
        Name of the step.
    first, second : Mapping or None
        The step in either ``run`` document; None where the run had no such step.
    changes : tuple of FieldChange
        What it was made of and what it made, as far as it differs.
    """

    name: str
    first: Mapping[str, Any] | None
    second: Mapping[str, Any] | None
    changes: tuple[FieldChange, ...] = ()

    @property
    def same(self) -> bool:
        """Whether both runs have the step, made of the same, with the same outputs."""
        keys = [step_run.get("key") for step_run in (self.first, self.second) if step_run is not None]
        return len(keys) == 2 and keys[0] == keys[1] and not self.changes

    def to_dict(self) -> dict[str, Any]:
        """Return the step as the ``diff`` document shows it."""
        return {
            "name": self.name,
            "same": self.same,
            "first": _brief(self.first),
            "second": _brief(self.second),
            "changes": [change.to_dict() for change in self.changes],
        }

    def words(self) -> str:
        """Return what differs in words."""
        if self.first is None or self.second is None:
            return f"only in the {'second' if self.first is None else 'first'} run"
        if self.changes:
            return "; ".join(dict.fromkeys(map(str, self.changes)))
        return "nothing" if self.same else "something that was not recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDiff:
    """Two runs, compared.

    Parameters
    ----------
    first, second : Mapping
        Their ``run`` documents.
    parameters : tuple of FieldChange
        The values that differ.
    steps : tuple of StepDiff
        Every step of either run.
    """

    first: Mapping[str, Any]
    second: Mapping[str, Any]
    parameters: tuple[FieldChange, ...]
    steps: tuple[StepDiff, ...]

    @property
    def same(self) -> bool:
        """Whether nothing differs but how long it took."""
        return not self.parameters and all(step.same for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the ``diff`` document."""
        return {
            "schema": SCHEMA,
            "same": self.same,
            "runs": [_run(self.first), _run(self.second)],
            "parameters": [change.to_dict() for change in self.parameters],
            "steps": [step.to_dict() for step in self.steps],
        }

    def text(self, now: datetime | None = None) -> str:
        """Return the comparison as two tables: the runs, then their steps."""
        return f"{table(list(self._heads(now)))}\n\n{table(list(self._rows()))}"

    def __str__(self) -> str:
        return self.text()

    def _heads(self, now: datetime | None) -> Iterator[tuple[str, ...]]:
        runs = self.first, self.second
        yield ("", "first run", "second run")
        yield ("run", *(short_run(run["run"]) for run in runs))
        yield ("when", *(ago(run.get("started"), now) for run in runs))
        yield ("state", *(clean(run["state"], 20) for run in runs))
        yield ("took", *(in_words(run["seconds"] or 0.0) for run in runs))
        for change in self.parameters:
            values = (_NOTHING if value is None else clean(repr(value), 60) for value in (change.first, change.second))
            yield (f"parameter {clean(change.name)}", *values)

    def _rows(self) -> Iterator[tuple[str, ...]]:
        yield ("step", "first run", "second run", "what differs")
        for step in self.steps:
            yield (clean(step.name), _state(step.first), _state(step.second), step.words())


def compare(
    first: Mapping[str, Any], second: Mapping[str, Any], *, record: Callable[[str], StepRecord | None]
) -> RunDiff:
    """Compare two runs.

    Parameters
    ----------
    first, second : Mapping
        ``run`` documents.
    record : callable
        Returns what is stored under a key, or None.
    """
    steps = [{str(step["name"]): step for step in run["steps"]} for run in (first, second)]
    # In the order of the second run; steps that only the first had come last.
    names = dict.fromkeys([*steps[1], *steps[0]])
    return RunDiff(
        first=first,
        second=second,
        parameters=tuple(_changes("parameter", first["parameters"], second["parameters"])),
        steps=tuple(_step_diff(name, steps[0].get(name), steps[1].get(name), record) for name in names),
    )


def _step_diff(
    name: str,
    first: Mapping[str, Any] | None,
    second: Mapping[str, Any] | None,
    record: Callable[[str], StepRecord | None],
) -> StepDiff:
    if first is None or second is None:
        return StepDiff(name=name, first=first, second=second)
    changes = [*_key_changes(first, second, record), *_changes("output", _digests(first), _digests(second))]
    return StepDiff(name=name, first=first, second=second, changes=tuple(changes))


def _key_changes(
    first: Mapping[str, Any], second: Mapping[str, Any], record: Callable[[str], StepRecord | None]
) -> Iterator[FieldChange]:
    if first.get("key") == second.get("key"):
        return
    records = [record(step["key"]) if step.get("key") else None for step in (first, second)]
    parts = [step_record.parts for step_record in records if step_record is not None]
    # A record may have been removed by a garbage collection; then only the keys are known to differ.
    if len(parts) == 2:
        for change in _changes("", *parts):
            kind, _, name = change.name.partition(":")
            yield FieldChange(kind=kind, name=name, first=change.first, second=change.second)


def _changes(kind: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[FieldChange]:
    for name in dict.fromkeys([*first, *second]):
        before, after = first.get(name), second.get(name)
        # Types are compared, too: 1 == True and 1 == 1.0 in Python.
        if before != after or type(before) is not type(after):
            yield FieldChange(kind=kind, name=name, first=before, second=after)


def _digests(step: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(output["digest"]) for name, output in (step.get("outputs") or {}).items()}


def _is_digest(value: object) -> bool:
    text = str(value).removeprefix("sha256:").removeprefix("blake3:").partition(" ")[0]
    return len(text) == 64 and all(character in "0123456789abcdef" for character in text)


def _brief(step: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: step.get(name) for name in ("state", "key", "seconds", "attempts")} if step is not None else None


def _run(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document.get(name) for name in ("run", "state", "started", "seconds")}


def _state(step: Mapping[str, Any] | None) -> str:
    if step is None:
        return _NOTHING
    took = f" {in_words(step['seconds'])}" if step.get("seconds") else ""
    return f"{style_of(str(step['state'])).word}{took}"
