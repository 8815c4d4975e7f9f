from __future__ import annotations

from tests.e2e.conftest import book

__all__ = ["book"]
