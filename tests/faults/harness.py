"""Start the two programs that inject faults, and read their reports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def run_program(program: str, *arguments: str | Path) -> dict[str, Any]:
    """Run ``python -m tests.faults.PROGRAM`` and return its report: how many faults, and what was wrong."""
    command = [sys.executable, "-m", f"tests.faults.{program}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["faults"] > 0
    return report
