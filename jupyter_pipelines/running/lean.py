"""What processes of our own leave out of imports, because it is slow and they do not use it."""

from __future__ import annotations

import sys

GRAMMAR = "rfc3987_syntax"
"""While nbformat is imported, jsonschema compiles this grammar of web addresses, where it is installed, for more than a
second; no notebook's schema speaks of them."""
SLOW = (GRAMMAR, "pyarrow")
"""What no worker uses. Papermill imports pyarrow, and its threads, for paths on HDFS; a worker gives it files."""


def leave_out(*names: str) -> None:
    """Let every import of modules fail that have not been imported yet, as if they were not installed."""
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
