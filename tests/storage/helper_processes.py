"""Helper processes that use a store at the same time as the test."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

HEAD = """
import json, os, signal, sys
from pathlib import Path
from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

def record(key, digest, step="train", created="2026-01-01T00:00:00+00:00"):
    outputs = {"x": Artifact(digest=digest, format="bytes", bytes=1)}
    return StepRecord(key=key, step=step, notebook="n", outputs=outputs, run="r", created=created, seconds=1.0)

"""


def start(code: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """Start a program whose standard input and output are pipes."""
    program = [sys.executable, "-c", HEAD + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def output_of(code: str, *arguments: str | Path) -> str:
    """Run a program to its end and return its standard output."""
    process = start(code, *arguments)
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def next_line(process: subprocess.Popen[str]) -> str:
    """Return the next line of the standard output of a process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
