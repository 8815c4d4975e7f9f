from __future__ import annotations

from tests.journeys.conftest import book

__all__ = ["book"]
