"""Users who share a store, each with keys and a local front of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from jupyter_pipelines.pipeline.artifacts import Artifact
from jupyter_pipelines.storage.signing.keyring import UserKeyring
from jupyter_pipelines.storage.signing.signatures import make_key
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.store import Store

KEY = "ab" + "0" * 62
OTHER_KEY = "cd" + "0" * 62


@dataclass
class StoreUser:
    """A user of a store, with a signing key in a home folder."""

    name: str
    home: Path

    @property
    def keyring(self) -> UserKeyring:
        return UserKeyring(self.home / "keys")

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "JUPYTER_PIPELINES_KEYS": str(self.home / "keys"),
            "JUPYTER_PIPELINES_FRONT": str(self.home / "front"),
        }

    def trusts(self, other: StoreUser) -> None:
        own = other.keyring.own()
        assert own is not None
        self.keyring.trust(other.name, own.public)

    def activate(self, patch: pytest.MonkeyPatch) -> None:
        """Let this process act as this user from now on."""
        for name, value in self.environment.items():
            patch.setenv(name, value)


def new_user(name: str, folder: Path) -> StoreUser:
    """Create a user and the key of this user."""
    user = StoreUser(name, folder / name)
    user.keyring.keep(make_key())
    return user


def team_folder(folder: Path) -> Path:
    """Make a folder to which several users may write."""
    folder.mkdir()
    folder.chmod(0o2777)
    return folder


def record(store: Store, content: bytes = b"value", key: str = KEY, step: str = "load") -> StepRecord:
    """Store an output and return a record that refers to it."""
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
