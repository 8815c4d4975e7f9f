"""``python -m benchmarks.cache_poisoning``: how caches react to a stored value that was changed on disk.

Each program computes a text and stores it with the default settings of its cache. Then the file is cut in half, a bit
of it is flipped, or it is replaced by a pickle that runs code; and the same program is started again. A cache stands if
it returns the right value and no code of the pickle was executed. The programs are in ``programs/caches/``.
"""

from __future__ import annotations

import base64
import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.environments import HERE, OURS, PEERS, PeerTool, install, program, python, variables, version

PROGRAMS = HERE / "programs" / "caches"
CACHES = {
    peer.name: peer
    for peer in (
        PeerTool(name="joblib", package="joblib", requirements=("joblib==1.6.0",), warm="joblib"),
        PeerTool(name="prefect", package="prefect", requirements=("prefect==3.7.2", "fastapi<0.125"), warm="prefect"),
        PeerTool(name="marimo", package="marimo", requirements=("marimo==0.25.2",), warm="marimo"),
    )
}


class CanaryPickle:
    """An object whose unpickling creates a file.

    Parameters
    ----------
    canary : Path
        The file that is created.
    """

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return (open, (str(self.canary), "w"))


def cut(path: Path, canary: Path) -> None:  # noqa: ARG001 - attacks are called alike
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip(path: Path, canary: Path) -> None:  # noqa: ARG001 - attacks are called alike
    """Change one bit in the middle of a file, which is in the middle of the text."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def plant(path: Path, canary: Path) -> None:
    """Replace the value by a pickle that runs code, in the file format of the cache."""
    content = pickle.dumps(CanaryPickle(canary))
    stored_content = path.read_bytes()
    if stored_content.startswith(b"{"):
        document = json.loads(stored_content)
        document["result"] = base64.b64encode(content).decode()
        content = json.dumps(document).encode()
    path.write_bytes(content)


ATTACKS = (cut, flip, plant)


class AttackedCache:
    """A cache in its own folder, and the program that uses it.

    Parameters
    ----------
    name : str
        The name of its environment.
    folder : Path
        The folder in which the program runs.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.stored = folder / "stored"
        for source in PROGRAMS.glob(f"{name}.*"):
            shutil.copy(source, folder)

    def call(self) -> tuple[int, str]:
        """Start the program; return its exit code and what it printed on stdout."""
        more = {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_LOCAL_STORAGE_PATH": str(self.stored),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "JUPYTER_PIPELINES_STORE": str(self.stored),
        }
        done = subprocess.run(
            self.command(),
            cwd=self.folder,
            env={**variables(self.name), **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=600,
        )
        return done.returncode, done.stdout.strip().rpartition("\n")[2]

    def command(self) -> list[str]:
        """Return the command that starts the program."""
        if self.name == OURS:
            ours = program(OURS, "jupyter-pipelines")
            shown = f"{ours} run ours.ipynb >&2 && {ours} output ours.ipynb make.text | sha256sum"
            return ["bash", "-o", "pipefail", "-c", shown]
        return [str(python(self.name)), f"{self.name}.py", str(self.stored)]

    def value_file(self) -> Path:
        """Return the largest file that was stored: it holds the text."""
        return max((path for path in self.stored.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def attack_outcome(name: str, attack: Callable[[Path, Path], None]) -> str:
    """Attack a cache and return the outcome: stands, wrong value, executed or fails."""
    with TemporaryDirectory() as made:
        cache, canary = AttackedCache(name, Path(made)), Path(made) / "canary"
        first = cache.call()
        if first[0] or cache.call() != first:
            raise click.ClickException(f"{version(name)} does not work here: {first}")
        path = cache.value_file()
        path.chmod(0o600)
        attack(path, canary)
        code, value = cache.call()
        if canary.exists():
            return "executed"
        if code:
            return "fails"
        return "stands" if value == first[1] else "wrong value"


@click.command(help="Attack a stored value of this project, joblib, Prefect and marimo.")
@click.option("--who", metavar="NAME,…", default=",".join((OURS, *CACHES)), show_default=True)
def main(who: str) -> None:
    """Run the command."""
    PEERS.update(CACHES)
    names = who.split(",")
    install(dict.fromkeys(names), click.echo)
    for name in names:
        outcomes = [attack_outcome(name, attack) for attack in ATTACKS]
        summary = ", ".join(f"{attack.__name__}: {what}" for attack, what in zip(ATTACKS, outcomes, strict=True))
        click.echo(f"{version(name)}: {outcomes.count('stands')} of {len(ATTACKS)} ({summary})")


if __name__ == "__main__":
    main()
