"""Part of a pipeline, as ``--to``, ``--from`` and ``--only`` ask for it.

The outputs of steps outside are taken from the store as they are. Nothing inside is forced: a selected step that has
not changed is reused. ``--to`` and ``--from`` together select what lies between.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from jupyter_pipelines.errors import Diagnostic, closest_name, shell_word
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.identifiers import normal_name

_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSelection:
    """Part of a pipeline; the whole pipeline when no option is given.

    Parameters
    ----------
    to : tuple of str
        These steps and all their ancestors.
    start : tuple of str
        These steps and all their descendants.
    only : tuple of str
        These steps and no others.
    """

    to: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def steps(self, pipeline: Pipeline) -> frozenset[str]:
        """Return the names of the selected steps."""
        only, to, start = (_named_steps(pipeline, names) for names in (self.only, self.to, self.start))
        if only:
            return frozenset(only)
        chosen = frozenset(step.name for step in pipeline)
        if to:
            chosen &= pipeline.ancestors(*to).union(to)
        if start:
            chosen &= pipeline.descendants(*start).union(start)
        return chosen

    def faults(self, pipeline: Pipeline) -> list[Diagnostic]:
        """Return what is wrong with it: steps that do not exist (JP603), options that leave nothing (JP604)."""
        faults = [fault for option, names in self._options() for fault in unknown_steps(pipeline, names, option)]
        if self.only and (self.to or self.start):
            faults.append(_contradiction(self))
        if not faults and str(self) and not self.steps(pipeline):
            faults.append(_empty(self))
        return faults

    def to_dict(self) -> dict[str, Any]:
        """Return the selection as the ``plan`` document shows it."""
        return {"to": list(self.to), "from": list(self.start), "only": list(self.only)}

    def __str__(self) -> str:
        return " ".join(f"{option} {shell_word(name)}" for option, names in self._options() for name in names)

    def _options(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return ("--to", self.to), ("--from", self.start), ("--only", self.only)


def _named_steps(pipeline: Pipeline, names: Iterable[str]) -> list[str]:
    """Return the steps of `names`; a step over many items stands for all of these."""
    return [step for name in names for step in pipeline.named(name)]


def unknown_steps(pipeline: Pipeline, names: Iterable[str], option: str) -> list[Diagnostic]:
    """Return a fault (JP603) for every name in `names`, given to `option`, that is no step."""
    return [_unknown(pipeline, name, option) for name in names if name not in pipeline]


def _unknown(pipeline: Pipeline, name: str, option: str) -> Diagnostic:
    group = name.partition("[")[0]
    # A similar name belongs to a different item, which computes something else: all items are listed instead.
    items = [step.name for step in pipeline if step.item is not None and step.item.group == group]
    known = items if "[" in name and items else [step.name for step in pipeline]
    near = _item_with_values(pipeline, name) or (closest_name(name, known) if known is not items else None)
    listed = ", ".join(known[:_SHOWN]) + (" …" if len(known) > _SHOWN else "")
    return Diagnostic(
        code="JP603",
        message=f"there is no step `{name}`, which `{option}` names",
        suggestion=f"write `{option} {shell_word(near)}`" if near else f"use one of: {listed}",
    )


def _item_with_values(pipeline: Pipeline, name: str) -> str | None:
    """Return the item that `name` writes with its values as they are; in its own name, only few signs stand."""
    for step in pipeline:
        if step.item is not None:
            for shown in (str, lambda value: str(value).rpartition("/")[2]):  # of files, the name alone
                values = ",".join(f"{axis}={shown(value)}" for axis, value in step.item.values)
                if normal_name(f"{step.item.group}[{values}]") == name:
                    return step.name
    return None


def _contradiction(selection: StepSelection) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"`--only` says already which steps are asked for: `{selection}` asks for two things",
        suggestion="leave out `--only`, or leave out `--to` and `--from`",
    )


def _empty(selection: StepSelection) -> Diagnostic:
    return Diagnostic(
        code="JP604",
        message=f"nothing is selected: no step lies between, as `{selection}` asks",
        suggestion="`--from` names where to begin and `--to` where to end: exchange them, or leave one out",
    )
