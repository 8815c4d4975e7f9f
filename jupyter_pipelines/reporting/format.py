"""Formats of amounts and times in reports."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from jupyter_pipelines.pipeline.amounts import in_words, size_in_words
from jupyter_pipelines.reporting.sanitize import clean

__all__ = ["ago", "in_words", "listed", "moment", "plural", "short_run", "size_in_words"]

_DAY = 86_400


def listed(names: Iterable[object], limit: int = 4) -> str:
    """Return names separated by commas; names after the first `limit` are only counted."""
    cleaned = [clean(name) for name in names]
    more = len(cleaned) - limit
    return ", ".join(cleaned[:limit]) + (f" and {more} more" if more > 0 else "")


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 step``, ``3 steps``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def short_run(run: object) -> str:
    """Return the part of a run's id that tells it from others at a glance."""
    return clean(str(run).rsplit("-", 1)[-1], 12)


def moment(text: object) -> datetime | None:
    """Return the time that an ISO 8601 text says; None when it says none."""
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    # Documents have UTC; a time without a zone cannot be compared with one that has it.
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def ago(text: object, now: datetime | None = None) -> str:
    """Return how long ago an ISO 8601 time was: ``2 h ago``; empty when it cannot be read."""
    then = moment(text)
    if then is None:
        return ""
    seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    # Also for small negative ages: clocks of machines differ.
    if seconds < 45:
        return "just now"
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min ago"
    if seconds < 1.5 * _DAY:
        return f"{round(seconds / 3600)} h ago"
    return f"{round(seconds / _DAY)} days ago"
