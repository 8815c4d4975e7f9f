"""Starts the two programs that inject faults, and reads what they found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]


def answer(program: str, *arguments: str | Path) -> dict[str, Any]:
    """Run ``python -m tests.faults.PROGRAM`` and return what it found: how many faults, and what was wrong."""
    command = [sys.executable, "-m", f"tests.faults.{program}", *map(str, arguments)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["faults"] > 0
    return found
