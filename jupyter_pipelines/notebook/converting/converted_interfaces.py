"""Interfaces of steps, as small as possible, and the obstacles to splitting cells into steps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jupyter_pipelines.notebook.code.name_usage import NameUsage
from jupyter_pipelines.notebook.converting import statement_features
from jupyter_pipelines.notebook.converting.cell_survey import CellSurvey, SurveyedCell, names_of
from jupyter_pipelines.notebook.converting.serialization_risks import unserializable_names
from jupyter_pipelines.notebook.converting.split_points import CellRange

GENERATORS: Mapping[str, str] = {"numpy": "numpy_random_state", "random": "python_random_state"}
"""Global random generators, with the names under which their states are passed on."""


@dataclass(slots=True, kw_only=True, eq=False)
class StepCandidate:
    """A group of cells that becomes one step.

    Parameters
    ----------
    at : int
        Its place among the steps.
    units : list of SurveyedCell
        Its cells.
    names : NameUsage
        How they use names.
    needs : set of str
        Names it needs from steps before it.
    binds : set of str
        Names it binds to values.
    kills : set of str
        Of these, the names that are bound on every path, so that earlier values are not needed.
    defines : set of str
        Functions, classes and modules it binds.
    changes : set of str
        Names whose objects it changes in place.
    inputs, outputs : list of str
        Its interface.
    sources : dict of str to int
        By input: the place of the step that made it.
    """

    at: int
    units: list[SurveyedCell]
    names: NameUsage = field(default_factory=NameUsage)
    needs: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    kills: set[str] = field(default_factory=set)
    defines: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    sources: dict[str, int] = field(default_factory=dict)

    @property
    def first(self) -> int:
        """Place of its first code cell."""
        return self.units[0].at

    @property
    def last(self) -> int:
        """Place of its last code cell."""
        return self.units[-1].at


def infer_steps(
    survey: CellSurvey, groups: Sequence[list[SurveyedCell]], *, forced: Mapping[int, frozenset[str]]
) -> list[StepCandidate]:
    """Return the steps that groups of cells make, with their interfaces.

    Parameters
    ----------
    survey : CellSurvey
        The notebook.
    groups : sequence of list of SurveyedCell
        The cells of each step.
    forced : Mapping of int to frozenset of str
        By place of a code cell: names that its step makes, whatever the code says.
    """
    parts = [_part(survey, position, units, forced) for position, units in enumerate(groups)]
    # First, as the states are passed on as names like any other.
    _carry_random_states(survey, parts)
    _limit_to_values(parts)
    _set_interfaces(parts)
    return parts


def _part(
    survey: CellSurvey, position: int, units: list[SurveyedCell], forced: Mapping[int, frozenset[str]]
) -> StepCandidate:
    names = names_of(units)
    part = StepCandidate(at=position, units=units, names=names)
    part.needs = survey.needs(names, survey.body(units)) - survey.shared
    traces = [unit.observed for unit in units]
    kinds = {name: kind for trace in traces for name, kind in trace.kinds.items()}
    bound = {*names.binds, *(name for trace in traces for name in trace.bound)} - survey.shared
    part.defines = {name for name in bound if _is_code(name, names, kinds)}
    part.binds = bound - part.defines
    part.kills = {name for name in part.binds if name in names.binds and names.binds[name].sure}
    part.changes = _changed(survey, units, names) - survey.shared
    for unit in units:
        part.changes |= forced.get(unit.at, frozenset())
    return part


def _is_code(name: str, names: NameUsage, kinds: Mapping[str, str]) -> bool:
    """Return whether a name stands for a function, class or module that is defined, not for a value."""
    if name in names.binds:
        return names.binds[name].kind != "value"
    return kinds.get(name, "value") != "value"


def _changed(survey: CellSurvey, units: Iterable[SurveyedCell], names: NameUsage) -> set[str]:
    # What a rehearsal has seen counts; of changes in the code, only certain ones are added to it.
    changed = {name for name, mutation in names.mutates.items() if mutation.sure or not survey.is_observed}
    for unit in units:
        trace = unit.observed
        changed |= {name for name in trace.changed if trace.kinds.get(name) == "value"}
        # Objects that cannot be compared may have changed in any cell that reads them.
        changed |= {name for name in trace.unknown if name in unit.names.reads}
    if not survey.is_observed:  # a call may change its arguments
        changed |= {name for call in names.calls for _, name in call.arguments}
        changed |= survey.needs(names, survey.body(units))
    return {name for name in changed if name not in survey.imported}


def _limit_to_values(parts: list[StepCandidate]) -> None:
    """Remove from the needs of steps every name that no earlier step binds."""
    bound: set[str] = set()
    for part in parts:
        part.needs = {name for name in part.needs if name in bound}
        part.changes = {name for name in part.changes if name in bound or name in part.binds}
        part.needs |= {name for name in part.changes if name in bound and name not in part.binds}
        bound |= part.binds


def _set_interfaces(parts: list[StepCandidate]) -> None:
    """Set the inputs and outputs of each step: only what later steps need.

    A step that binds a name only in some branch takes it as an input, too.
    """
    bound_before = [{name for other in parts[: part.at] for name in other.binds} for part in parts]
    # Liveness analysis from the last step backwards: `live` are the names that later steps need.
    live: set[str] = set()
    for part in reversed(parts):
        produced = part.binds | part.changes
        part.needs |= {name for name in part.binds - part.kills if name in live and name in bound_before[part.at]}
        taken_and_changed = {name for name in part.changes if name in part.needs and name not in part.kills}
        part.outputs = sorted((produced & live) | taken_and_changed)
        live = (live - part.kills) | part.needs
    producers: dict[str, int] = {}
    for part in parts:
        part.sources = {name: producers[name] for name in part.needs if name in producers}
        part.inputs = sorted(part.sources)
        producers |= dict.fromkeys(part.outputs, part.at)


# Random numbers


def _carry_random_states(survey: CellSurvey, parts: list[StepCandidate]) -> None:
    """Pass the state of global random generators from step to step, if anything sets a seed."""
    if not any(
        statement_features.sets_seed(chunk.body, survey.imported) for unit in survey.units for chunk in unit.rest
    ):
        return
    for generator, name in GENERATORS.items():
        for part in parts:
            drawing = [unit for unit in part.units if _draws(survey, unit, generator)]
            if not drawing:
                continue
            part.binds.add(name)
            part.kills.add(name)
            if not _seeded_first(survey, drawing[0], generator):
                part.needs.add(name)


def _draws(survey: CellSurvey, unit: SurveyedCell, generator: str) -> bool:
    if unit.seen is not None:
        return generator in unit.seen.drew or statement_features.sets_seed_of(
            survey.body([unit]), survey.imported, generator
        )
    body = survey.body([unit])
    if statement_features.sets_seed(body, survey.imported) or statement_features.uses_random(body, survey.imported):
        return True
    # Without a rehearsal, any function may draw from NumPy's generator.
    return generator == "numpy" and bool(unit.names.calls or unit.names.reads)


def _seeded_first(survey: CellSurvey, unit: SurveyedCell, generator: str) -> bool:
    """Return whether the first thing that a cell does with a generator is to set its state."""
    prefix = "numpy.random." if generator == "numpy" else "random."
    for chunk in unit.rest:
        names = [name for name in statement_features.affected_names(chunk.body, survey.imported) if name]
        if any(name.startswith(f"{prefix}seed") for name in names) and not _nested(chunk.body):
            return True
        if any(not name.startswith(("matplotlib.", "warnings.")) for name in names) or chunk.kind == "computed":
            return False
    return False


def _nested(body: tuple[object, ...]) -> bool:
    return any(hasattr(node, "body") for node in body)


# Obstacles to a split


def obstacles(survey: CellSurvey, parts: Sequence[StepCandidate]) -> Iterator[CellRange]:
    """Yield the ranges of cells that have to be one step."""
    for part in parts:
        yield from _unserializable_outputs(survey, part, parts)
        yield from _definitions(survey, part, parts)
        yield from _open_figures(part, parts)
        yield from _aliases(survey, part, parts)
    yield from _hidden_state(survey)
    yield from _files(survey)


def _users(name: str, part: StepCandidate, parts: Sequence[StepCandidate]) -> list[StepCandidate]:
    """Return the steps that take an output of a step as an input."""
    return [other for other in parts if other.sources.get(name) == part.at]


def _unserializable_outputs(
    survey: CellSurvey, part: StepCandidate, parts: Sequence[StepCandidate]
) -> Iterator[CellRange]:
    # As of the last cell: what was replaced within the step is not passed on.
    reasons = dict(part.units[-1].observed.stuck)
    if part.units[-1].seen is None:
        reasons = unserializable_names(survey.body(survey.units[: part.last + 1]))
    for name in part.outputs:
        why = reasons.get(name)
        users = _users(name, part, parts)
        if why and users:
            first = _first_binding(name, part)
            yield CellRange(first=first, last=users[-1].first, why=f"`{name}` cannot be handed on: it {why}")


def _first_binding(name: str, part: StepCandidate) -> int:
    return next((unit.at for unit in part.units if name in unit.names.binds), part.first)


def _definitions(survey: CellSurvey, part: StepCandidate, parts: Sequence[StepCandidate]) -> Iterator[CellRange]:
    """Yield the ranges from definitions to the steps that use them, if these cannot be shared code."""
    for name in sorted(part.defines):
        last = None
        for later_part in parts[part.at + 1 :]:
            if name in survey.needs(later_part.names, survey.body(later_part.units)):
                last = later_part
            if name in later_part.defines or name in later_part.kills:
                break
        if last is not None:
            why = f"`{name}` is defined among what is computed, or more than once"
            yield CellRange(first=part.first, last=last.first, why=why)


def _open_figures(part: StepCandidate, parts: Sequence[StepCandidate]) -> Iterator[CellRange]:
    if part.units[-1].observed.figures and part.at + 1 < len(parts):
        yield CellRange(first=part.first, last=parts[part.at + 1].first, why="a figure is still open between them")


def _aliases(survey: CellSurvey, part: StepCandidate, parts: Sequence[StepCandidate]) -> Iterator[CellRange]:
    """Yield the ranges in which two names refer to one object, and a later step changes it through one of them."""
    if part.at == 0:
        return
    before = parts[part.at - 1].units[-1]
    for first, second in sorted(before.observed.shared):
        pair = {first, second}
        if pair <= part.changes and pair & (set(part.inputs) | set(part.outputs)):
            start = min(_bound_last(survey, name, part.first) for name in pair)
            start = max(_bound_last(survey, name, part.first) for name in pair) if start < 0 else start
            yield CellRange(
                first=max(start, 0), last=part.first, why=f"`{first}` and `{second}` lead to one object that changes"
            )


def _bound_last(survey: CellSurvey, name: str, place: int) -> int:
    """Return the last code cell before a place that binds a name; -1 when there is none."""
    bound = [unit.at for unit in survey.units[:place] if name in unit.names.binds or name in unit.observed.bound]
    return bound[-1] if bound else -1


def _hidden_state(survey: CellSurvey) -> Iterator[CellRange]:
    """Yield the ranges of cells between which functions or classes of the notebook keep state."""
    definitions = {
        name
        for unit in survey.units
        for chunk in unit.cut.chunks
        for name, bind in chunk.names.binds.items()
        if bind.kind in ("function", "class")
    }
    for name in sorted(definitions):
        changing = [unit.at for unit in survey.units if name in unit.observed.changed]
        if changing:
            using = [unit.at for unit in survey.units if name in survey.needs(unit.names, survey.body([unit]))]
            if using and using[-1] > changing[0]:
                yield CellRange(
                    first=changing[0], last=using[-1], why=f"`{name}` remembers something from call to call"
                )


def _files(survey: CellSurvey) -> Iterator[CellRange]:
    """Yield the ranges from cells that write a file to those that read it, write it again or look for it."""
    written: dict[str, int] = {}
    for unit in survey.units:
        trace = unit.observed
        for path, name in sorted(_used_again(written, trace.read | trace.wrote)):
            if written[path] < unit.at:
                yield CellRange(first=written[path], last=unit.at, why=f"the file `{name}` is written and used again")
        if trace.programs and written:
            yield CellRange(
                first=min(written.values()), last=unit.at, why="a program may read the files that were written"
            )
        if written and statement_features.looks_for_files(survey.body([unit])):
            yield CellRange(first=min(written.values()), last=unit.at, why="it looks for files after some were written")
        for path in trace.wrote:
            written.setdefault(path, unit.at)


def _used_again(written: Iterable[str], paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the files that were written and are used again, or whose folder is looked into, with their names."""
    for path in paths:
        inside = path.rstrip("/") + "/"
        yield from (
            (written_path, written_path.rpartition("/")[2])
            for written_path in written
            if written_path == path or written_path.startswith(inside)
        )
