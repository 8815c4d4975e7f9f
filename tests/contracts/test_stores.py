"""The store of this package keeps the contract that it asks of others."""

from __future__ import annotations

from pathlib import Path

import pytest

from jupyter_pipelines.storage.blobs.blobs import path_of
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from jupyter_pipelines.testing import StoreContract
from tests.storage.users import new_user


class TestFolderStore(StoreContract):
    def open(self, tmp_path: Path) -> Store:
        return open_store(tmp_path / "store")

    def damage(self, store: Store, digest: str) -> None:
        path = store.blobs.path(digest)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")


class TestStoreByUrl(TestFolderStore):
    def open(self, tmp_path: Path) -> Store:
        return open_store((tmp_path / "a store").as_uri())


class TestSharedStore(TestFolderStore):
    """A folder that several users write to keeps the same contract."""

    @pytest.fixture(autouse=True)
    def ada(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        new_user("ada", tmp_path).activate(monkeypatch)

    def open(self, tmp_path: Path) -> Store:
        return open_store(f"shared://{tmp_path}/team")

    def damage(self, store: Store, digest: str) -> None:
        super().damage(store, digest)
        path = shared_folder_of(store) / path_of(digest)
        if path.exists():
            path.unlink()
            path.write_bytes(b"planted")


def shared_folder_of(store: Store) -> Path:
    """Return the shared folder of a store."""
    return Path(store.url.removeprefix("shared://"))


class UndamagedStore(TestFolderStore):
    def damage(self, store: Store, digest: str) -> None:
        """Leave the blob as it is, so that there is no damage to detect."""


def test_a_store_that_notices_no_damage_breaks_the_contract(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        UndamagedStore().test_damaged_bytes_are_never_served_and_heal_when_they_are_put_again(tmp_path)
