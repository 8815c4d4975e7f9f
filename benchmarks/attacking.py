"""``python -m benchmarks.attacking``: what caches of the field do with a stored value that somebody has changed.

Each computes a text and stores it as it does by default. Then its file is cut in half, one bit of it is flipped, or it
is replaced by a pickle that runs code; and the same program is started again. A cache stands if the right value comes
out and nothing was executed. The programs are in ``inside/caches/``.
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

from benchmarks.environments import HERE, OURS, PEERS, Peer, program, provide, python, variables, version

PROGRAMS = HERE / "inside" / "caches"
CACHES = {
    one.name: one
    for one in (
        Peer(name="joblib", package="joblib", requirements=("joblib==1.6.0",), warm="joblib"),
        Peer(name="prefect", package="prefect", requirements=("prefect==3.7.2", "fastapi<0.125"), warm="prefect"),
        Peer(name="marimo", package="marimo", requirements=("marimo==0.25.2",), warm="marimo"),
    )
}


class Planted:
    """Makes a file when it is unpickled.

    Parameters
    ----------
    canary : Path
        The file.
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
    """Put a pickle that runs code where the value was, in the wrapping that the cache writes."""
    content = pickle.dumps(Planted(canary))
    with_wrapping = path.read_bytes()
    if with_wrapping.startswith(b"{"):
        document = json.loads(with_wrapping)
        document["result"] = base64.b64encode(content).decode()
        content = json.dumps(document).encode()
    path.write_bytes(content)


ATTACKS = (cut, flip, plant)


class Cache:
    """A cache in a folder of its own, and the program that uses it.

    Parameters
    ----------
    name : str
        Its environment.
    folder : Path
        Where it works.
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
        """Return what starts the program."""
        if self.name == OURS:
            ours = program(OURS, "jupyter-pipelines")
            shown = f"{ours} run ours.ipynb >&2 && {ours} output ours.ipynb make.text | sha256sum"
            return ["bash", "-o", "pipefail", "-c", shown]
        return [str(python(self.name)), f"{self.name}.py", str(self.stored)]

    def value_file(self) -> Path:
        """Return the largest file that was stored: it holds the text."""
        return max((one for one in self.stored.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)


def judge(name: str, attack: Callable[[Path, Path], None]) -> str:
    """Return what became of an attack: stands, wrong value, executed or fails."""
    with TemporaryDirectory() as made:
        cache, canary = Cache(name, Path(made)), Path(made) / "canary"
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
    provide(dict.fromkeys(names), click.echo)
    for name in names:
        found = [judge(name, attack) for attack in ATTACKS]
        told = ", ".join(f"{attack.__name__}: {what}" for attack, what in zip(ATTACKS, found, strict=True))
        click.echo(f"{version(name)}: {found.count('stands')} of {len(ATTACKS)} ({told})")


if __name__ == "__main__":
    main()
