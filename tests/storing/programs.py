"""Other processes that do something with a store."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

HEAD = """
import json, os, signal, sys
from pathlib import Path
from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing.owners import Owner
from jupyter_pipelines.storing.records import StepRecord
from jupyter_pipelines.storing.store import Store

def record(key, digest, step="train", created="2026-01-01T00:00:00+00:00"):
    outputs = {"x": Artifact(digest=digest, format="bytes", bytes=1)}
    return StepRecord(key=key, step=step, notebook="n", outputs=outputs, run="r", created=created, seconds=1.0)

"""


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a program; it can be talked to."""
    program = [sys.executable, "-c", HEAD + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def ended(code: str, *arguments: str | Path) -> str:
    """Run a program to its end and return what it said."""
    one = start(code, *arguments)
    out, err = one.communicate()
    assert one.returncode == 0, err
    return out


def heard(one: subprocess.Popen[str]) -> str:
    """Return the next line that a program says."""
    assert one.stdout is not None
    return one.stdout.readline().strip()
