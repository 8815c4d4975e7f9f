"""A virtual environment per peer, byte-compiled, and what a command sees of the machine."""

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

from benchmarks.measuring import run

HERE = Path(__file__).parent
ROOT = HERE.parent
FOLDER = HERE / ".venvs"
OURS = "ours"
_STAMP = "benchmark.txt"

_SHARED = (
    *("ipykernel", "ipython", "jupyter_client", "jupyter_core", "matplotlib", "nbclient", "nbformat", "numpy"),
    *("pandas", "papermill", "pyzmq", "scikit-learn", "scipy", "tornado", "traitlets"),
)
"""Packages that peers get in the very version that we run with: what differs is the tool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another tool, and how to get it.

    Parameters
    ----------
    name : str
        What its environment is called.
    package : str
        What it is called among packages.
    requirements : tuple of str
        What is installed.
    warm : str
        Modules that are imported before anything is timed: the disk is read once, and caches are built.
    """

    name: str
    package: str
    requirements: tuple[str, ...]
    warm: str


_STEPS = "ipykernel.kernelapp"
_HEAVY = "pandas, sklearn.linear_model, matplotlib.pyplot"

PEERS = {
    one.name: one
    for one in (
        Peer(
            name="papermill",
            package="papermill",
            requirements=("papermill", "ipykernel", "pandas", "scikit-learn", "matplotlib"),
            warm=f"papermill, {_STEPS}, {_HEAVY}",
        ),
        Peer(
            name="ploomber",
            package="ploomber",
            requirements=("ploomber==0.23.3", "papermill", "ipykernel"),
            warm=f"ploomber, {_STEPS}",
        ),
        Peer(
            name="dvc",
            package="dvc",
            requirements=("dvc==3.67.1", "papermill", "ipykernel"),
            warm=f"dvc.repo, dvc.cli, papermill, {_STEPS}",
        ),
        Peer(name="snakemake", package="snakemake", requirements=("snakemake==9.27.1",), warm="snakemake.cli"),
        Peer(name="metaflow", package="metaflow", requirements=("metaflow==2.19.39",), warm="metaflow"),
    )
}


def python(name: str) -> Path:
    """Return the interpreter of the environment `name`; ours is the one that runs this."""
    return Path(sys.executable) if name == OURS else FOLDER / name / "bin" / "python"


def program(name: str, command: str) -> str:
    """Return the path of a command in the environment `name`."""
    return str(python(name).with_name(command))


def variables(name: str) -> dict[str, str]:
    """Return the environment of a command of `name`: a home of its own, nobody's settings, no telemetry."""
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


def provide(names: Mapping[str, None], say: Callable[[str], None]) -> None:
    """Make the environments `names`, where they are missing or out of date, and byte-compile all of them.

    Raises
    ------
    BenchmarkFailed
        Something cannot be installed.
    """
    for name in names:
        if name != OURS and not _is_up_to_date(PEERS[name]):
            say(f"installing {name} into {FOLDER.relative_to(ROOT)}/{name}")
            _install(PEERS[name])
        say(f"byte-compiling {name}")
        byte_compile(name)
        modules = PEERS[name].warm if name in PEERS else f"papermill, {_STEPS}, {_HEAVY}"
        run([str(python(name)), "-c", f"import {modules}"], ROOT, variables(name))


def byte_compile(name: str) -> None:
    """Compile whatever is not compiled: with it missing, every start of every tool would compile it again."""
    library = python(name).parents[1] / "lib"
    # Some packages ship templates that are no Python; what cannot be compiled is compiled by nobody.
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
    """Return the tool of the environment `name`, or another package in it, with its version."""
    package = package or (PEERS[name].package if name in PEERS else "jupyter-pipelines")
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return f"{package} {run([str(python(name)), '-c', code], ROOT, variables(name)).strip()}"


def _specification(peer: Peer) -> str:
    return "\n".join((sys.version, *peer.requirements, *_constraints()))


def _constraints() -> list[str]:
    pins = []
    for package in _SHARED:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            pins.append(f"{package}=={importlib.metadata.version(package)}")
    return pins


def _is_up_to_date(peer: Peer) -> bool:
    stamp = FOLDER / peer.name / _STAMP
    return stamp.exists() and stamp.read_text(encoding="utf-8") == _specification(peer)


def _install(peer: Peer) -> None:
    folder = FOLDER / peer.name
    shutil.rmtree(folder, ignore_errors=True)
    surroundings = {key: value for key, value in os.environ.items() if not re.match("PYTHON|VIRTUAL_ENV", key)}
    FOLDER.mkdir(parents=True, exist_ok=True)
    pins = FOLDER / "constraints.txt"
    pins.write_text("\n".join(_constraints()), encoding="utf-8")
    run([sys.executable, "-m", "venv", str(folder)], ROOT, surroundings)
    pip = [str(python(peer.name)), "-m", "pip", "install", "--quiet", "--constraint", str(pins)]
    run([*pip, *peer.requirements], ROOT, surroundings)
    (folder / _STAMP).write_text(_specification(peer), encoding="utf-8")
