"""A byte-compiled virtual environment per peer, and the environment variables of commands."""

from __future__ import annotations

import compileall
import contextlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.measurement import run

HERE = Path(__file__).parent
ROOT = HERE.parent
FOLDER = HERE / ".venvs"
OURS = "ours"
_STAMP = "benchmark.txt"

_SHARED = (
    *("ipykernel", "ipython", "jupyter_client", "jupyter_core", "matplotlib", "nbclient", "nbformat", "numpy"),
    *("pandas", "papermill", "pyzmq", "scikit-learn", "scipy", "tornado", "traitlets"),
)
"""Packages that peers get in the same version as our own tool, so that only the tools differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerTool:
    """Another tool, and its installation.

    Parameters
    ----------
    name : str
        The name of its environment.
    package : str
        The name of its package.
    requirements : tuple of str
        The requirements that are installed.
    warm : str
        Modules that are imported before the first measurement, to warm the disk cache and the caches of the tool.
    """

    name: str
    package: str
    requirements: tuple[str, ...]
    warm: str


_KERNEL_IMPORTS = "ipykernel.kernelapp"
_HEAVY_IMPORTS = "pandas, sklearn.linear_model, matplotlib.pyplot"

PEERS = {
    peer.name: peer
    for peer in (
        PeerTool(
            name="papermill",
            package="papermill",
            requirements=("papermill", "ipykernel", "pandas", "scikit-learn", "matplotlib"),
            warm=f"papermill, {_KERNEL_IMPORTS}, {_HEAVY_IMPORTS}",
        ),
        PeerTool(
            name="ploomber",
            package="ploomber",
            requirements=("ploomber==0.23.3", "papermill", "ipykernel"),
            warm=f"ploomber, {_KERNEL_IMPORTS}",
        ),
        PeerTool(
            name="dvc",
            package="dvc",
            requirements=("dvc==3.67.1", "papermill", "ipykernel"),
            warm=f"dvc.repo, dvc.cli, papermill, {_KERNEL_IMPORTS}",
        ),
        PeerTool(name="snakemake", package="snakemake", requirements=("snakemake==9.27.1",), warm="snakemake.cli"),
        PeerTool(name="metaflow", package="metaflow", requirements=("metaflow==2.19.39",), warm="metaflow"),
    )
}


def python(name: str) -> Path:
    """Return the interpreter of the environment `name`; our own tool uses the running interpreter."""
    return Path(sys.executable) if name == OURS else FOLDER / name / "bin" / "python"


def program(name: str, command: str) -> str:
    """Return the path of a command in the environment `name`."""
    return str(python(name).with_name(command))


def variables(name: str) -> dict[str, str]:
    """Return the environment variables of a command of `name`: an empty home folder, no user settings, no telemetry."""
    home = FOLDER / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "PATH": f"{python(name).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "USER": "bench",
        "DO_NOT_TRACK": "1",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "PLOOMBER_STATS_ENABLED": "false",
        "PLOOMBER_VERSION_CHECK_DISABLED": "true",
    }


def install(names: Mapping[str, None], log: Callable[[str], None]) -> None:
    """Install the environments `names` where they are missing or outdated, and byte-compile all of them.

    Raises
    ------
    BenchmarkFailed
        A package cannot be installed.
    """
    for name in names:
        if name != OURS and not _is_up_to_date(PEERS[name]):
            log(f"installing {name} into {FOLDER.relative_to(ROOT)}/{name}")
            _install(PEERS[name])
        log(f"byte-compiling {name}")
        byte_compile(name)
        modules = PEERS[name].warm if name in PEERS else f"papermill, {_KERNEL_IMPORTS}, {_HEAVY_IMPORTS}"
        run([str(python(name)), "-c", f"import {modules}"], ROOT, variables(name))


def byte_compile(name: str) -> None:
    """Compile all modules that are not compiled yet; otherwise each start of a tool would compile them again."""
    library = python(name).parents[1] / "lib"
    # Some packages ship templates that are not Python code: errors are ignored.
    subprocess.run(
        [python(name), "-m", "compileall", "-q", "-j0", library],
        env=variables(name),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if name == OURS:
        compileall.compile_dir(ROOT / "jupyter_pipelines", quiet=2, workers=0)


@cache
def version(name: str, package: str = "") -> str:
    """Return name and version of the tool of the environment `name`, or of another package in it."""
    package = package or (PEERS[name].package if name in PEERS else "jupyter-pipelines")
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return f"{package} {run([str(python(name)), '-c', code], ROOT, variables(name)).strip()}"


def _specification(peer: PeerTool) -> str:
    return "\n".join((sys.version, *peer.requirements, *_constraints()))


def _constraints() -> list[str]:
    pins = []
    for package in _SHARED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            pins.append(f"{package}=={importlib.metadata.version(package)}")
    return pins


def _is_up_to_date(peer: PeerTool) -> bool:
    stamp = FOLDER / peer.name / _STAMP
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _specification(peer)


def _install(peer: PeerTool) -> None:
    folder = FOLDER / peer.name
    shutil.rmtree(folder, ignore_errors=True)
    environment = {key: value for key, value in os.environ.items() if not re.match("PYTHON|VIRTUAL_ENV", key)}
    FOLDER.mkdir(parents=True, exist_ok=True)
    pins = FOLDER / "constraints.txt"
    pins.write_text("\n".join(_constraints()), encoding="utf-8")
    run([sys.executable, "-m", "venv", str(folder)], ROOT, environment)
    pip = [str(python(peer.name)), "-m", "pip", "install", "--quiet", "--constraint", str(pins)]
    run([*pip, *peer.requirements], ROOT, environment)
    (folder / _STAMP).write_text(_specification(peer), encoding="utf-8")
