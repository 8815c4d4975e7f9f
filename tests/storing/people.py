"""People who share a store, each with keys and a front of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.data import Artifact
from jupyter_pipelines.storing.keyring import Keyring
from jupyter_pipelines.storing.records import StepRecord
from jupyter_pipelines.storing.signing import make_key
from jupyter_pipelines.storing.store import Store

KEY = "ab" + "0" * 62
OTHER_KEY = "cd" + "0" * 62


@dataclass
class Person:
    """Somebody with a key."""

    name: str
    home: Path

    @property
    def keyring(self) -> Keyring:
        return Keyring(self.home / "keys")

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "JUPYTER_PIPELINES_KEYS": str(self.home / "keys"),
            "JUPYTER_PIPELINES_FRONT": str(self.home / "front"),
        }

    def trusts(self, other: Person) -> None:
        own = other.keyring.own()
        assert own is not None
        self.keyring.trust(other.name, own.public)

    def sits_down(self, patch: pytest.MonkeyPatch) -> None:
        """From now on this process is theirs."""
        for name, value in self.environment.items():
            patch.setenv(name, value)


def person(name: str, folder: Path) -> Person:
    """Make a person and their key."""
    made = Person(name, folder / name)
    made.keyring.keep(make_key())
    return made


def team_folder(folder: Path) -> Path:
    """Make a folder that several people may write to."""
    folder.mkdir()
    folder.chmod(0o2777)
    return folder


def record(store: Store, content: bytes = b"value", key: str = KEY, step: str = "load") -> StepRecord:
    """Put an output, and return a record that names it."""
    artifact = Artifact(digest=store.blobs.put_bytes(content).digest, format="bytes", bytes=len(content))
    return StepRecord(
        key=key,
        step=step,
        notebook="book.ipynb",
        parts={"code:1": "x"},
        outputs={"x": artifact},
        run="20260101-000000-000000-abcdef",
        created="2026-01-01T00:00:00.000Z",
        seconds=1.5,
    )
