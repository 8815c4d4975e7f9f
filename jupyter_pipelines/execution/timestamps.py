"""Times as documents, events and records hold them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """Return the current time, ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
