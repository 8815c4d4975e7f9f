"""A run in a few lines, and many runs in one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.reporting.format import ago, in_words, listed, plural, short_run
from jupyter_pipelines.reporting.sanitize import clean
from jupyter_pipelines.reporting.step_status import of_run, style_of
from jupyter_pipelines.reporting.text import Paint, table, without_colour, write

if TYPE_CHECKING:
    from jupyter_pipelines.pipeline.graph import Pipeline

_UNFINISHED_STATES = ("failed", "blocked", "skipped", "cancelled", "lost")


def headline(document: Mapping[str, Any]) -> str:
    """Return a run in one sentence: ``3 of 5 steps reused, about 4 min 12 s saved``.

    Parameters
    ----------
    document : Mapping
        A ``run`` document.
    """
    states = Counter(str(step["state"]) for step in document["steps"])
    parts = [_reused(states, len(document["steps"]), saved(document))]
    parts += [_ran(document, states["succeeded"])]
    # Never left out, however many steps succeeded: a failure must be visible in the headline.
    parts += [f"{states[state]} {state}" for state in _UNFINISHED_STATES if states[state]]
    return ", ".join(part for part in parts if part) or "no steps"


def saved(document: Mapping[str, Any]) -> float:
    """Return how many seconds reused results saved in a run."""
    # The duration of the original computation, as nothing better is known of what it would have taken.
    reused = (step for step in document["steps"] if step["state"] == "reused")
    return sum(float((step.get("origin") or {}).get("seconds") or 0.0) for step in reused)


def _reused(states: Counter[str], total: int, seconds: float) -> str:
    count = states["reused"]
    if not count:
        return ""
    steps = f"all {plural(total, 'step')}" if count == total > 1 else f"{count} of {plural(total, 'step')}"
    return f"{steps} reused" + (f", about {in_words(seconds)} saved" if seconds >= 0.05 else "")


def _ran(document: Mapping[str, Any], count: int) -> str:
    return f"{plural(count, 'step')} ran in {in_words(document['seconds'])}" if count else ""


def summarise(
    pipeline: Pipeline,
    document: Mapping[str, Any],
    *,
    plain: bool = False,
    paint: Paint = without_colour,
    width: int = 0,
    now: datetime | None = None,
) -> str:
    """Return what became of a run: a line for each step, and a line for the run.

    Parameters
    ----------
    pipeline : Pipeline
        What was run.
    document : Mapping
        Its ``run`` document.
    plain, paint, width
        As for :func:`jupyter_pipelines.reporting.text.write`.
    now : datetime or None
        What ages count from.
    """
    graph = write(pipeline, of_run(document, now=now), plain=plain, paint=paint, width=width)
    style = style_of(document["state"])
    word = paint(style.colour, f"{style.plain if plain else style.sign} {document['state']}")
    return f"{graph}\n\n{word}  run {short_run(document['run'])}: {headline(document)}"


def runs_table(documents: Sequence[Mapping[str, Any]], *, now: datetime | None = None) -> str:
    """Return earlier runs as a table, in the order given.

    Parameters
    ----------
    documents : sequence of Mapping
        ``run`` documents.
    now : datetime or None
        What ages count from.
    """
    if not documents:
        return "no runs yet"
    rows: list[tuple[str, ...]] = [("run", "when", "state", "took", "steps", "parameters")]
    rows += [_run_row(document, now) for document in documents]
    return table(rows, right=(3,))


def _run_row(document: Mapping[str, Any], now: datetime | None) -> tuple[str, ...]:
    states = Counter(str(step["state"]) for step in document["steps"])
    counts = ", ".join(f"{count} {style_of(state).word}" for state, count in states.items())
    values = listed((f"{name}={value!r}" for name, value in document["parameters"].items()), 3)
    took = in_words(document["seconds"] or 0.0)
    when = ago(document.get("started"), now)
    return short_run(document["run"]), when, clean(document["state"], 20), took, counts, clean(values, 60)
