"""What flows from step to step: interfaces as small as can be, and what stands against a cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jupyter_pipelines.notebook.converting import features
from jupyter_pipelines.notebook.converting.grouping import Join
from jupyter_pipelines.notebook.converting.risks import stuck_names
from jupyter_pipelines.notebook.converting.survey import Survey, Unit, names_of
from jupyter_pipelines.notebook.names import Names

GENERATORS: Mapping[str, str] = {"numpy": "numpy_random_state", "random": "python_random_state"}
"""Global random generators, with the names under which their states are handed on."""


@dataclass(slots=True, kw_only=True, eq=False)
class Part:
    """What becomes one step.

    Parameters
    ----------
    at : int
        Its place among the steps.
    units : list of Unit
        Its cells.
    names : Names
        What they do to names.
    needs : set of str
        Names it needs from steps before it.
    binds : set of str
        Names it binds to values.
    kills : set of str
        Of these, those whose earlier values are certainly gone.
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
    units: list[Unit]
    names: Names = field(default_factory=Names)
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


def face(survey: Survey, groups: Sequence[list[Unit]], *, forced: Mapping[int, frozenset[str]]) -> list[Part]:
    """Return the steps that groups of cells make, with their interfaces.

    Parameters
    ----------
    survey : Survey
        The notebook.
    groups : sequence of list of Unit
        The cells of each step.
    forced : Mapping of int to frozenset of str
        By place of a code cell: names that its step makes, whatever the code says.
    """
    parts = [_part(survey, at, units, forced) for at, units in enumerate(groups)]
    _carry_random_states(survey, parts)
    _limit_to_values(parts)
    _settle(parts)
    return parts


def _part(survey: Survey, at: int, units: list[Unit], forced: Mapping[int, frozenset[str]]) -> Part:
    names = names_of(units)
    part = Part(at=at, units=units, names=names)
    part.needs = survey.needs(names, survey.body(units)) - survey.shared
    seen = [unit.observed for unit in units]
    kinds = {name: kind for one in seen for name, kind in one.kinds.items()}
    bound = {*names.binds, *(name for one in seen for name in one.bound)} - survey.shared
    part.defines = {name for name in bound if _is_code(name, names, kinds)}
    part.binds = bound - part.defines
    part.kills = {name for name in part.binds if name in names.binds and names.binds[name].sure}
    part.changes = _changed(survey, units, names) - survey.shared
    for unit in units:
        part.changes |= forced.get(unit.at, frozenset())
    return part


def _is_code(name: str, names: Names, kinds: Mapping[str, str]) -> bool:
    """Return whether a name stands for a function, class or module that is defined, not for a value."""
    if name in names.binds:
        return names.binds[name].kind != "value"
    return kinds.get(name, "value") != "value"


def _changed(survey: Survey, units: Iterable[Unit], names: Names) -> set[str]:
    found = {name for name, mutation in names.mutates.items() if mutation.sure or not survey.is_observed}
    for unit in units:
        seen = unit.observed
        found |= {name for name in seen.changed if seen.kinds.get(name) == "value"}
        found |= {name for name in seen.unknown if name in unit.names.reads}
    if not survey.is_observed:  # whatever is handed to somebody may be changed there
        found |= {name for call in names.calls for _, name in call.arguments}
        found |= survey.needs(names, survey.body(units))
    return {name for name in found if name not in survey.imported}


def _limit_to_values(parts: list[Part]) -> None:
    """Strike out of what steps need whatever no step before them has bound."""
    known: set[str] = set()
    for part in parts:
        part.needs = {name for name in part.needs if name in known}
        part.changes = {name for name in part.changes if name in known or name in part.binds}
        part.needs |= {name for name in part.changes if name in known and name not in part.binds}
        known |= part.binds


def _settle(parts: list[Part]) -> None:
    """Say what each step takes and makes: only what is needed behind it.

    What a step binds in a branch that may not be taken, it takes as well.
    """
    known = [{name for other in parts[: part.at] for name in other.binds} for part in parts]
    live: set[str] = set()
    for part in reversed(parts):
        made = part.binds | part.changes
        part.needs |= {name for name in part.binds - part.kills if name in live and name in known[part.at]}
        taken_and_changed = {name for name in part.changes if name in part.needs and name not in part.kills}
        part.outputs = sorted((made & live) | taken_and_changed)
        live = (live - part.kills) | part.needs
    maker: dict[str, int] = {}
    for part in parts:
        part.sources = {name: maker[name] for name in part.needs if name in maker}
        part.inputs = sorted(part.sources)
        maker |= dict.fromkeys(part.outputs, part.at)


# Random numbers


def _carry_random_states(survey: Survey, parts: list[Part]) -> None:
    """Hand the state of global random generators from step to step, once something has set it."""
    if not any(features.seeds(chunk.body, survey.imported) for unit in survey.units for chunk in unit.rest):
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


def _draws(survey: Survey, unit: Unit, generator: str) -> bool:
    if unit.seen is not None:
        return generator in unit.seen.drew or features.seeded(survey.body([unit]), survey.imported, generator)
    body = survey.body([unit])
    if features.seeds(body, survey.imported) or features.draws(body, survey.imported):
        return True
    return generator == "numpy" and bool(unit.names.calls or unit.names.reads)


def _seeded_first(survey: Survey, unit: Unit, generator: str) -> bool:
    """Return whether the first thing that a cell does with a generator is to set its state."""
    wanted = "numpy.random." if generator == "numpy" else "random."
    for chunk in unit.rest:
        done = [name for name in features.acts(chunk.body, survey.imported) if name]
        if any(name.startswith(f"{wanted}seed") for name in done) and not _nested(chunk.body):
            return True
        if any(not name.startswith(("matplotlib.", "warnings.")) for name in done) or chunk.kind == "computed":
            return False
    return False


def _nested(body: tuple[object, ...]) -> bool:
    return any(hasattr(node, "body") for node in body)


# What stands against a cut


def obstacles(survey: Survey, parts: Sequence[Part]) -> Iterator[Join]:
    """Yield the stretches of cells that have to be one step."""
    for part in parts:
        yield from _stuck(survey, part, parts)
        yield from _definitions(survey, part, parts)
        yield from _open_figures(part, parts)
        yield from _aliases(survey, part, parts)
    yield from _hidden_state(survey)
    yield from _files(survey)


def _users(name: str, part: Part, parts: Sequence[Part]) -> list[Part]:
    """Return the steps that take what a step makes under a name."""
    return [other for other in parts if other.sources.get(name) == part.at]


def _stuck(survey: Survey, part: Part, parts: Sequence[Part]) -> Iterator[Join]:
    reasons = dict(part.units[-1].observed.stuck)
    if part.units[-1].seen is None:
        reasons = stuck_names(survey.body(survey.units[: part.last + 1]))
    for name in part.outputs:
        why = reasons.get(name)
        users = _users(name, part, parts)
        if why and users:
            first = _made_at(name, part)
            yield Join(first=first, last=users[-1].first, why=f"`{name}` cannot be handed on: it {why}")


def _made_at(name: str, part: Part) -> int:
    return next((unit.at for unit in part.units if name in unit.names.binds), part.first)


def _definitions(survey: Survey, part: Part, parts: Sequence[Part]) -> Iterator[Join]:
    """Yield what holds functions and classes together with those that use them, where they cannot be shared."""
    for name in sorted(part.defines):
        last = None
        for other in parts[part.at + 1 :]:
            if name in survey.needs(other.names, survey.body(other.units)):
                last = other
            if name in other.defines or name in other.kills:
                break
        if last is not None:
            why = f"`{name}` is defined among what is computed, or more than once"
            yield Join(first=part.first, last=last.first, why=why)


def _open_figures(part: Part, parts: Sequence[Part]) -> Iterator[Join]:
    if part.units[-1].observed.figures and part.at + 1 < len(parts):
        yield Join(first=part.first, last=parts[part.at + 1].first, why="a figure is still open between them")


def _aliases(survey: Survey, part: Part, parts: Sequence[Part]) -> Iterator[Join]:
    """Yield where two names lead to one object, and a later step changes it under one of them."""
    if part.at == 0:
        return
    before = parts[part.at - 1].units[-1]
    for first, second in sorted(before.observed.shared):
        both = {first, second}
        if both <= part.changes and both & (set(part.inputs) | set(part.outputs)):
            start = min(_bound_last(survey, name, part.first) for name in both)
            start = max(_bound_last(survey, name, part.first) for name in both) if start < 0 else start
            yield Join(
                first=max(start, 0), last=part.first, why=f"`{first}` and `{second}` lead to one object that changes"
            )


def _bound_last(survey: Survey, name: str, place: int) -> int:
    """Return the last code cell before a place that binds a name; -1 when there is none."""
    bound = [unit.at for unit in survey.units[:place] if name in unit.names.binds or name in unit.observed.bound]
    return bound[-1] if bound else -1


def _hidden_state(survey: Survey) -> Iterator[Join]:
    """Yield what holds cells together through what functions and classes of the notebook remember."""
    own = {name for unit in survey.units for chunk in unit.cut.chunks for name, bind in chunk.names.binds.items()
           if bind.kind in ("function", "class")}  # fmt: skip
    for name in sorted(own):
        changing = [unit.at for unit in survey.units if name in unit.observed.changed]
        if changing:
            using = [unit.at for unit in survey.units if name in survey.needs(unit.names, survey.body([unit]))]
            if using and using[-1] > changing[0]:
                yield Join(first=changing[0], last=using[-1], why=f"`{name}` remembers something from call to call")


def _files(survey: Survey) -> Iterator[Join]:
    """Yield the cells that write a file and those that read it, write it again or look for it."""
    written: dict[str, int] = {}
    for unit in survey.units:
        seen = unit.observed
        for path, name in sorted(_used(written, seen.read | seen.wrote)):
            if written[path] < unit.at:
                yield Join(first=written[path], last=unit.at, why=f"the file `{name}` is written and used again")
        if seen.programs and written:
            yield Join(first=min(written.values()), last=unit.at, why="a program may read the files that were written")
        if written and features.looks_for_files(survey.body([unit])):
            yield Join(first=min(written.values()), last=unit.at, why="it looks for files after some were written")
        for path in seen.wrote:
            written.setdefault(path, unit.at)


def _used(written: Iterable[str], paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the files that were written and are used again, or whose folder is looked into, with their names."""
    for path in paths:
        inside = path.rstrip("/") + "/"
        yield from ((one, one.rpartition("/")[2]) for one in written if one == path or one.startswith(inside))
