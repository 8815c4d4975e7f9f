"""How long tests wait."""

from __future__ import annotations

PATIENCE = 600
"""Seconds that a test waits for what has to come. It goes on as soon as that comes: only a hang takes as long."""
