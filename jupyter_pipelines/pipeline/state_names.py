"""States of steps and runs, grouped by what they mean; the front end gets them from here."""

from __future__ import annotations

SUCCESSFUL = frozenset({"succeeded", "reused"})
"""A step whose outputs are in the store."""
ATTEMPTED = SUCCESSFUL | {"failed", "cancelled", "lost"}
"""A step that was attempted in this run, or reused, and is finished."""
FINISHED = ATTEMPTED | {"blocked", "skipped"}
"""A step that does not change its state again in this run."""
NOT_STARTED = frozenset({"pending", "deciding", "ready"})
"""A step of a running run that has not been started."""
UNDER_WAY = NOT_STARTED | {"waiting", "running", "retrying"}
"""A step of a running run that is not finished."""
OUTDATED = frozenset({"stale", "edited", "run", "maybe", "never run", "blocked"})
"""A step that the next run computes, or may compute."""
FINISHED_RUNS = frozenset({"succeeded", "failed", "cancelled", "lost"})
"""A run that has ended."""
