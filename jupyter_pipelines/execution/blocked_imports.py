"""Block optional imports that are slow and that the processes of this package do not use."""

from __future__ import annotations

import sys

FORMATS = ("rfc3987_syntax", "rfc3986_validator", "isoduration")
"""While nbformat is imported, jsonschema prepares to check web addresses and durations, where these are installed: the
first compiles a grammar for more than a second. No notebook's schema speaks of them."""
SLOW = (*FORMATS, "pyarrow", "boto3")
"""Modules that no worker uses: papermill imports pyarrow (which starts threads) and boto3 only for notebooks on HDFS
and S3, and a worker passes it local files."""


def block_imports(*names: str) -> None:
    """Make imports of the modules `names` fail, as if they were not installed, unless they are imported already."""
    for name in names:
        # None in sys.modules makes an import raise ModuleNotFoundError, which papermill and jsonschema expect of a
        # package that is not installed.
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
