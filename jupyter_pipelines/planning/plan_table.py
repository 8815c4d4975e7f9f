"""A plan as a table: for a terminal, and for a notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from jupyter_pipelines.planning.decide import PlannedStep
from jupyter_pipelines.planning.reasons import Decision

_COUNTED: Sequence[tuple[Decision, str, str]] = (
    ("run", "runs", "run"),
    ("maybe", "may run", "may run"),
    ("reuse", "is reused", "are reused"),
    ("blocked", "is blocked", "are blocked"),
    ("skip", "is left out", "are left out"),
)
_COLOURS: Mapping[Decision, str] = {
    "run": "#0b57d0",
    "maybe": "#8a6100",
    "reuse": "#1a7f37",
    "blocked": "#b3261e",
    "skip": "#6e7781",
}
_CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0"


def headline(name: str, steps: Sequence[PlannedStep]) -> str:
    """Return in a sentence what a run would do."""
    count = Counter(step.decision for step in steps)
    phrases = [
        f"{count[decision]} {singular if count[decision] == 1 else plural}"
        for decision, singular, plural in _COUNTED
        if count[decision]
    ]
    return f"{name}: {', '.join(phrases) or 'no steps'}"


def as_text(name: str, steps: Sequence[PlannedStep]) -> str:
    """Return the plan as a table of plain text; each detail of a reason stands on a line of its own."""
    name_width = max((len(step.name) for step in steps), default=0)
    decision_width = max((len(step.decision) for step in steps), default=0)
    lines = [headline(name, steps), ""] if steps else [headline(name, steps)]
    for step in steps:
        lines.append(f"  {step.name:<{name_width}}  {step.decision:<{decision_width}}  {step.reason.text}")
        lines += [f"  {'':<{name_width}}  {'':<{decision_width}}    {detail}" for detail in _details(step)]
    return "\n".join(lines)


def as_html(name: str, steps: Sequence[PlannedStep]) -> str:
    """Return the plan as a table of HTML; nothing in it is active, whatever the steps are called."""
    rows = "".join(_row(step) for step in steps)
    head = "".join(f'<th style="{_CELL}">{title}</th>' for title in ("step", "decision", "reason"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div><p>{escape(headline(name, steps))}</p>{table}</div>"


def difference(before: Sequence[PlannedStep], after: Sequence[PlannedStep]) -> tuple[str, ...]:
    """Return a line for every step on which two plans differ, in the order of the second."""
    old, new = ({step.name: step for step in steps} for steps in (before, after))
    lines = [_line(name, old.get(name), new.get(name)) for name in dict.fromkeys([*new, *old])]
    return tuple(line for line in lines if line)


def _line(name: str, old: PlannedStep | None, new: PlannedStep | None) -> str:
    if old is None or new is None:
        return f"{name}: only in the {'later' if old is None else 'earlier'} plan"
    if old.decision == new.decision:
        return "" if old.reason == new.reason else f"{name}: {new.decision}, {old.reason} -> {new.reason}"
    return f"{name}: {old.decision} -> {new.decision}, {new.reason}"


def _details(step: PlannedStep) -> Iterator[str]:
    """Yield the details for the table, without the first detail of a reused step: the origin of its result."""
    yield from step.reason.details[1 if step.decision == "reuse" else 0 :]


def _row(step: PlannedStep) -> str:
    details = "".join(f"<br><small>{escape(detail)}</small>" for detail in _details(step))
    decision = f'<b style="color:{_COLOURS[step.decision]}">{step.decision}</b>'
    cells = (escape(step.name), decision, f"{escape(step.reason.text)}{details}")
    return "<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells) + "</tr>"
