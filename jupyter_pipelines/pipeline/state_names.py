"""Which states of steps and runs mean what, for all that asks; the front end has them, too."""

from __future__ import annotations

SUCCESSFUL = frozenset({"succeeded", "reused"})
"""A step whose outputs are there."""
ATTEMPTED = SUCCESSFUL | {"failed", "cancelled", "lost"}
"""A step whose turn came, and is over."""
FINISHED = ATTEMPTED | {"blocked", "skipped"}
"""A step with which nothing more happens in this run."""
NOT_STARTED = frozenset({"pending", "deciding", "ready"})
"""A step of a run under way whose turn has not come."""
UNDER_WAY = NOT_STARTED | {"waiting", "running", "retrying"}
"""A step that is not finished yet."""
OUTDATED = frozenset({"stale", "edited", "run", "maybe", "never run", "blocked"})
"""A step that the next run computes, or may."""
FINISHED_RUNS = frozenset({"succeeded", "failed", "cancelled", "lost"})
"""A run that is over."""
