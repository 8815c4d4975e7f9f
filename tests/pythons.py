"""Find installed Python interpreters; ``python -m tests.pythons`` prints the newest unless it is the running one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions that are tried where they are at hand."""


def python_of(version: str) -> str | None:
    """Return the path of an installed interpreter of a Python version; None when it is not installed."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *(str(path) for path in pyenv.glob(f"{version}.*/bin/python"))]
    for path in filter(None, candidates):
        done = subprocess.run(
            [path, "-c", "import ensurepip, sys; print(sys.version)"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and done.stdout.startswith(f"{version}."):
            return path
    return None


def newest_python() -> str | None:
    """Return the path of the newest installed interpreter; None when the running interpreter is the newest."""
    newer = [version for version in VERSIONS if tuple(map(int, version.split("."))) > sys.version_info[:2]]
    return next(filter(None, map(python_of, reversed(newer))), None)


if __name__ == "__main__":
    sys.stdout.write(newest_python() or "")
