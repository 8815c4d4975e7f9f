"""The status of a step, and the style of each state: one table for every kind of report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.format import ago, plural, short_run
from jupyter_pipelines.reporting.sanitize import clean

if TYPE_CHECKING:
    from jupyter_pipelines.execution.runs.result import StepRun


_EXPLAINED_STATES = frozenset({"blocked", "failed", "run"})
_ACTIVE_STATES = ("running", "retrying")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStyle:
    """Style of a state: a word, a sign and a colour, each of which is sufficient by itself.

    Parameters
    ----------
    word : str
        What it is called.
    sign, plain : str
        A character for terminals, and another for terminals that know ASCII only.
    colour : str
        Name of a terminal's colour.
    light, dark : tuple of (str, str)
        Colour of ink and of its background, on light and on dark pages; each pair has a contrast of at least 4.5.
    icon : str
        SVG path in a square of 16 pixels, drawn with a pen.
    """

    word: str
    sign: str
    plain: str
    colour: str
    light: tuple[str, str]
    dark: tuple[str, str]
    icon: str


_GREEN = {"colour": "green", "light": ("#116329", "#dafbe1"), "dark": ("#56d364", "#12301d")}
_VIOLET = {"colour": "magenta", "light": ("#6639ba", "#efe5fd"), "dark": ("#c8a2ff", "#2a1f47")}
_BLUE = {"colour": "cyan", "light": ("#0550ae", "#ddf0ff"), "dark": ("#79c0ff", "#10294b")}
_RED = {"colour": "red", "light": ("#a40e26", "#ffe6e3"), "dark": ("#ff938a", "#461416")}
_AMBER = {"colour": "yellow", "light": ("#7d4e00", "#fff3cc"), "dark": ("#e3b341", "#362808")}
_GREY = {"colour": "bright_black", "light": ("#4d5661", "#eceff2"), "dark": ("#a9b2bc", "#262c36")}

_CHECK = "M3.2 8.6l3.2 3.2 6.4-7.4"
_CYCLE = "M13.4 6.6a5.6 5.6 0 0 0-10.2-1.4M2.6 9.4a5.6 5.6 0 0 0 10.2 1.4M3 1.9v3.5h3.5M13 14.1v-3.5H9.5"
_CROSS = "M4 4l8 8M12 4l-8 8"
_PLAY = "M5 3.2l7.6 4.8-7.6 4.8z"
_QUESTION = "M5.5 5.8a2.5 2.5 0 1 1 3.7 2.2c-.8.45-1.2.9-1.2 1.8M8 12.8v.1"
_RING = "M8 2.4a5.6 5.6 0 1 0 .01 0"
_BAR = _RING + "M4.1 4.1l7.8 7.8"
_CLOCK = _RING + "M8 5v3.2l2.2 1.3"
_ARC = "M8 2.4a5.6 5.6 0 1 1-5.6 5.6M8 6.9a1.1 1.1 0 1 0 .01 0"
_CHEVRONS = "M3.5 4l4 4-4 4M8.5 4l4 4-4 4"
_SQUARE = "M4 4h8v8H4z"
_PENCIL = "M3 13l.8-3.2L10.6 3l2.4 2.4-6.8 6.8z"
_TRIANGLE = "M8 2.8l5.8 10.4H2.2zM8 6.8v2.8M8 11.6v.1"


def _style(word: str, sign: str, plain: str, tone: Mapping[str, Any], icon: str) -> StateStyle:
    return StateStyle(word=word, sign=sign, plain=plain, icon=icon, **tone)


STATE_STYLES: Mapping[str, StateStyle] = MappingProxyType(
    {
        # a run's states, finished and under way
        "succeeded": _style("done", "✓", "+", _GREEN, _CHECK),
        "reused": _style("reused", "↻", "=", _VIOLET, _CYCLE),
        "failed": _style("failed", "✗", "x", _RED, _CROSS),
        "blocked": _style("blocked", "⊘", "!", _AMBER, _BAR),
        "skipped": _style("skipped", "»", "-", _GREY, _CHEVRONS),
        "cancelled": _style("cancelled", "■", "#", _AMBER, _SQUARE),
        "lost": _style("lost", "■", "#", _AMBER, _SQUARE),
        "pending": _style("waiting", "·", ".", _GREY, _CLOCK),
        "deciding": _style("waiting", "·", ".", _GREY, _CLOCK),
        "ready": _style("waiting", "·", ".", _GREY, _CLOCK),
        "waiting": _style("waiting", "·", ".", _GREY, _CLOCK),
        "running": _style("running", "▶", ">", _BLUE, _ARC),
        "retrying": _style("trying again", "▶", ">", _BLUE, _ARC),
        # a plan's decisions
        "run": _style("run", "▶", ">", _BLUE, _PLAY),
        "reuse": _style("reuse", "↻", "=", _VIOLET, _CYCLE),
        "maybe": _style("maybe", "?", "?", _AMBER, _QUESTION),
        "skip": _style("skip", "»", "-", _GREY, _CHEVRONS),
        # a live notebook's
        "never run": _style("never run", "○", "o", _GREY, _RING),
        "fresh": _style("fresh", "✓", "+", _GREEN, _CHECK),
        "edited": _style("edited", "✎", "~", _AMBER, _PENCIL),
        "stale": _style("stale", "△", "!", _AMBER, _TRIANGLE),
    }
)


def style_of(state: str) -> StateStyle:
    """Return how `state` looks; a state that is not in the table is shown by its name."""
    return STATE_STYLES.get(state) or _style(clean(state, 20), "·", ".", _GREY, _RING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepStatus:
    """The status of one step.

    Parameters
    ----------
    state : str
        One of :data:`STATE_STYLES`.
    detail : str
        Why, or where it comes from.
    seconds : float or None
        How long it ran.
    saved : float or None
        How long it would have run, had it not been reused.
    notes : tuple of str
        Further details, shown on request.
    """

    state: str
    detail: str = ""
    seconds: float | None = None
    saved: float | None = None
    notes: tuple[str, ...] = ()


def of_plan(document: Mapping[str, Any], *, now: datetime | None = None) -> dict[str, StepStatus]:
    """Return the status of every step in a ``plan`` document."""
    return _with_items(document["steps"], {step["name"]: _planned(step, now) for step in document["steps"]})


def of_run(document: Mapping[str, Any], *, now: datetime | None = None) -> dict[str, StepStatus]:
    """Return the status of every step in a ``run`` document."""
    return _with_items(document["steps"], {step["name"]: of_step_run(step, now=now) for step in document["steps"]})


def of_step_run(step: Mapping[str, Any], *, now: datetime | None = None) -> StepStatus:
    """Return the status of one step in a ``run`` document."""
    state, origin = str(step["state"]), step.get("origin")
    if state == "reused":
        return StepStatus(state=state, detail=origin_text(origin, now), saved=_seconds(origin))
    detail = _error(step) or (_reason(step) if state in ("blocked", "skipped") else "")
    return StepStatus(
        state=state, detail=detail or _attempts(step), seconds=step.get("seconds") or None, notes=_details(step)
    )


def of_result(result: StepRun, *, now: datetime | None = None) -> StepStatus:
    """Return the status of one step of a run; the same as of its document, and quick for a step that is reused."""
    # Thousands of reused steps finish within a second: their whole documents need not be built.
    if result.state != "reused" or result.origin is None:
        return of_step_run(result.to_dict(), now=now)
    origin = result.origin.to_dict()
    return StepStatus(state=result.state, detail=origin_text(origin, now), saved=_seconds(origin))


def _planned(step: Mapping[str, Any], now: datetime | None) -> StepStatus:
    decision, origin = str(step["decision"]), step.get("origin")
    if decision == "reuse":
        return StepStatus(state=decision, detail=origin_text(origin, now), saved=_seconds(origin))
    return StepStatus(state=decision, detail=_reason(step), notes=_details(step))


def origin_text(origin: Mapping[str, Any] | None, now: datetime | None = None) -> str:
    """Return which run a reused result comes from, and how old it is; empty when that is not known."""
    if not origin:
        return ""
    age = ago(origin.get("created"), now)
    return f"run {short_run(origin.get('run'))}" + (f", {age}" if age else "")


def _error(step: Mapping[str, Any]) -> str:
    """Return what went wrong; the step's name and what its state says already are not repeated."""
    # Lists show name and state beside the message; repeating them would take the space of the reason.
    message = str((step.get("error") or {}).get("message") or "").removeprefix(f"step `{step['name']}` ")
    return "" if message == f"was {step['state']}" else message


def _seconds(origin: Mapping[str, Any] | None) -> float | None:
    return float(origin["seconds"]) if origin and origin.get("seconds") is not None else None


def _reason(step: Mapping[str, Any]) -> str:
    return str((step.get("reason") or {}).get("text") or "")


def _details(step: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(detail) for detail in (step.get("reason") or {}).get("details") or ())


def _attempts(step: Mapping[str, Any]) -> str:
    attempts = step.get("attempts") or 0
    return f"{attempts} attempts" if attempts > 1 else ""


def _with_items(steps: Sequence[Mapping[str, Any]], statuses: Mapping[str, StepStatus]) -> dict[str, StepStatus]:
    """Return `statuses`, in which the detail of a step over many items counts the states of its items.

    Parameters
    ----------
    steps : sequence of Mapping
        The steps of a ``plan`` or ``run`` document.
    statuses : Mapping of str to StepStatus
        The status of each step by itself.
    """
    items: dict[str, list[StepStatus]] = {}
    for step in steps:
        if "item" in step:
            items.setdefault(step["item"]["of"], []).append(statuses[step["name"]])
    return {name: _summed(status, items[name]) if name in items else status for name, status in statuses.items()}


def _summed(status: StepStatus, items: Sequence[StepStatus]) -> StepStatus:
    states = [item_status.state for item_status in items]
    words = Counter(style_of(state).word for state in states)
    # "all done" instead of "3 done": that no item is missing is what matters.
    counts = ", ".join(f"{count if len(words) > 1 else 'all'} {word}" for word, count in words.items())
    detail = f"{plural(len(states), 'item')}: {counts}"
    if status.state in _EXPLAINED_STATES and status.detail:
        detail = f"{status.detail}; {detail}"
    saved = sum(item_status.saved or 0.0 for item_status in items) if status.saved is not None else None
    return replace(status, state=_state(status.state, states), detail=detail, saved=saved)


def _state(own: str, states: Sequence[str]) -> str:
    """Return the state of all: what is going on with items before what is waiting for them."""
    # The gathering step is undecided only because of its items.
    if own == "maybe" and "run" in states:
        return "run"
    # A gathering step itself waits while its items run; readers want to see that it is being worked on.
    moving = next((state for state in _ACTIVE_STATES if state in states), None)
    return moving if moving and own == "pending" else own
