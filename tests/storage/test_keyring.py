"""S08: keys that others could have read, and lists that others could have written to, are not used."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.signing.keyring import PublicKey, UserKeyring
from jupyter_pipelines.storage.signing.signatures import make_key, signed
from tests.storage.users import new_user, record

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of files are asked about")


@pytest.fixture
def keyring(tmp_path: Path) -> UserKeyring:
    user_keyring = UserKeyring(tmp_path / "keys")
    user_keyring.keep(make_key())
    return user_keyring


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(StoreError) as caught:
        act()
    assert caught.value.code == "JP412"
    return str(caught.value)


def test_keys_are_closed_to_others_whatever_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        ada, bob = new_user("ada", tmp_path), new_user("bob", tmp_path)
        ada.trusts(bob)
    finally:
        os.umask(before)
    folder = ada.keyring.folder
    assert {mode(path) for path in (folder, folder / "trusted")} == {0o700}
    assert {mode(path) for path in (folder / "own.key", folder / "trusted" / "bob.pub")} == {0o600}
    assert sorted(path.name for path in folder.rglob("*")) == ["bob.pub", "own.key", "trusted"]


def test_a_key_comes_back_as_it_was(keyring: UserKeyring) -> None:
    own = keyring.own()
    assert own is not None
    assert PublicKey.parse(f"{own.public} ada's laptop\n") == own.public
    assert "private" not in repr(own)
    assert keyring.verification_keys() == {"you": own.public}
    assert UserKeyring(keyring.folder / "none").own() is None


def test_a_key_that_is_there_stays(keyring: UserKeyring) -> None:
    before = keyring.own()
    with pytest.raises(FileExistsError):
        keyring.keep(make_key())
    assert keyring.own() == before
    assert [path.name for path in keyring.folder.iterdir()] == ["own.key"]


@pytest.mark.parametrize("rights", [0o644, 0o640, 0o620, 0o602])
def test_s08_a_key_that_others_can_read_or_write_is_refused(keyring: UserKeyring, rights: int) -> None:
    (keyring.folder / "own.key").chmod(rights)
    assert "chmod 600" in refused(keyring.own)
    assert "chmod 600" in refused(keyring.verification_keys)


@pytest.mark.parametrize("rights", [0o755, 0o730, 0o777])
def test_s08_a_folder_that_others_can_look_into_is_refused(keyring: UserKeyring, rights: int) -> None:
    keyring.folder.chmod(rights)
    assert "chmod 700" in refused(keyring.own)
    assert "chmod 700" in refused(lambda: keyring.trust("bob", make_key().public))


def test_s08_a_link_in_place_of_the_key_is_refused(keyring: UserKeyring, tmp_path: Path) -> None:
    (keyring.folder / "own.key").rename(tmp_path / "elsewhere")
    (keyring.folder / "own.key").symlink_to(tmp_path / "elsewhere")
    refused(keyring.own)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [".", "own.key"])
def test_s08_a_key_of_another_user_is_refused(keyring: UserKeyring, name: str) -> None:
    os.chown(keyring.folder / name, 65534, -1)
    assert "uid 65534" in refused(keyring.own)


@pytest.mark.parametrize("name", ["trusted", "trusted/bob.pub"])
def test_s08_a_list_that_others_can_write_to_is_not_believed(keyring: UserKeyring, name: str) -> None:
    keyring.trust("bob", make_key().public)
    assert list(keyring.trusted()) == ["bob"]
    (keyring.folder / name).chmod(0o777)
    refused(keyring.trusted)


@pytest.mark.parametrize("sign", [".git", "pyproject.toml"])
def test_s08_keys_inside_a_project_are_refused(tmp_path: Path, sign: str) -> None:
    keyring = UserKeyring(tmp_path / "project" / "settings" / "keys")
    keyring.keep(make_key())
    (tmp_path / "project" / sign).touch()
    assert "project" in refused(keyring.own)
    assert "project" in refused(lambda: keyring.keep(make_key()))
    assert "project" in refused(lambda: keyring.trust("bob", make_key().public))


def test_s08_keys_inside_a_store_are_refused_through_a_link_too(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.records.put(record(store))
    (tmp_path / "link").symlink_to(tmp_path / "store")
    for folder in (tmp_path / "store" / "keys", tmp_path / "link" / "keys"):
        assert "store" in refused(lambda folder=folder: UserKeyring(folder).keep(make_key()))
    assert not (tmp_path / "store" / "keys").exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": "other/1"}', "\0"])
def test_a_damaged_key_says_so(keyring: UserKeyring, content: str) -> None:
    (keyring.folder / "own.key").write_text(content)
    assert "damaged" in refused(keyring.own)


def test_a_damaged_trusted_key_says_which(keyring: UserKeyring) -> None:
    keyring.trust("bob", make_key().public)
    (keyring.folder / "trusted" / "bob.pub").write_text("ed25519:AAAA")
    assert "keys distrust bob" in refused(keyring.trusted)


@pytest.mark.parametrize(
    "text", ["", "ssh-ed25519 AAAA", "ed25519:", "ed25519:AAAA", "ed25519:not base64", "ed25519:ä"]
)
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        PublicKey.parse(text)


@pytest.mark.parametrize("name", ["", "you", "../bob", ".bob", "a/b", "a" * 65, "bob\n", "CON/"])
def test_s05_names_of_keys_are_no_paths(keyring: UserKeyring, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        keyring.trust(name, make_key().public)
    assert not keyring.distrust(name)


def test_trust_ends(keyring: UserKeyring) -> None:
    keyring.trust("bob", make_key().public)
    keyring.trust("bob", other := make_key().public)  # a newer key of bob
    assert keyring.trusted() == {"bob": other}
    assert keyring.distrust("bob")
    assert not keyring.distrust("bob")
    assert keyring.trusted() == {}


def test_the_variable_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PIPELINES_KEYS", str(tmp_path / "mine"))
    assert UserKeyring.of_user().folder == tmp_path / "mine"
    monkeypatch.delenv("JUPYTER_PIPELINES_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert UserKeyring.of_user().folder == tmp_path / "settings" / "jupyter-pipelines" / "keys"


def test_nothing_is_computed_for_a_key_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S08: also in a private store, where nothing would have to be signed."""
    ada = new_user("ada", tmp_path)
    ada.activate(monkeypatch)
    store = open_store(tmp_path / "store")
    store.check_writable()
    (ada.keyring.folder / "own.key").chmod(0o644)
    refused(store.check_writable)
    refused(lambda: signed(record(store)))


def test_a_key_is_a_document_that_says_what_it_is(keyring: UserKeyring) -> None:
    assert json.loads((keyring.folder / "own.key").read_text())["schema"] == "jupyter-pipelines/key/1"
