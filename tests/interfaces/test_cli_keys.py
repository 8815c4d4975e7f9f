"""Test the ``keys`` commands: their output and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_pipelines.interfaces.cli import main
from jupyter_pipelines.storage.opening import open_store
from tests.storage.users import KEY, new_user, record, team_folder

CliCall = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CliCall:
    monkeypatch.setenv("JUPYTER_PIPELINES_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("JUPYTER_PIPELINES_FRONT", str(tmp_path / "front"))
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    monkeypatch.chdir(tmp_path)

    def call_keys(*arguments: str) -> tuple[int, str, str]:
        code = main.call(["keys", *arguments])
        return (code, *capsys.readouterr())

    return call_keys


def test_a_key_is_made_shown_and_never_made_twice(cli: CliCall, tmp_path: Path) -> None:
    assert cli("list") == (0, f"no keys in {tmp_path / 'keys'}\n", "")
    code, _, err = cli("show")
    assert (code, "JP412" in err) == (2, True)
    code, out, _ = cli("new")
    assert code == 0
    public = out.splitlines()[-1]
    assert cli("show") == (0, f"{public}\n", "")
    assert json.loads(cli("show", "--json")[1])["keys"][0]["key"] == public
    code, _, err = cli("new")
    assert (code, "there is a key already" in err) == (2, True)
    assert cli("show")[1] == f"{public}\n"


def test_s08_the_secret_half_is_shown_by_no_command(cli: CliCall, tmp_path: Path) -> None:
    printed = "".join(
        cli(*arguments)[1] for arguments in (["new"], ["show"], ["show", "--json"], ["list"], ["list", "--json"])
    )
    secret = json.loads((tmp_path / "keys" / "own.key").read_text())["private"]
    assert len(secret) == 44
    assert secret not in printed
    assert secret[:20] not in printed


def test_keys_of_others_come_and_go(cli: CliCall, tmp_path: Path) -> None:
    own = new_user("bob", tmp_path).keyring.own()
    assert own is not None
    (tmp_path / "bob.pub").write_text(f"{own.public} bob@work\n")
    assert cli("trust", "bob", "bob.pub")[0] == 0
    assert cli("trust", "again", str(own.public))[0] == 0
    known = json.loads(cli("list", "--json")[1])["keys"]
    assert [(key["name"], key["id"]) for key in known] == [("again", own.public.id), ("bob", own.public.id)]
    assert cli("distrust", "again")[0] == 0
    assert own.public.id in cli("list")[1]
    code, _, err = cli("distrust", "bop")
    assert (code, "write `bob`" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "key"), [("bob", "nothing.pub"), ("bob", "ed25519:AAAA"), ("../bob", "n.ipynb"), ("you", "n.ipynb")]
)
def test_what_cannot_be_trusted(cli: CliCall, name: str, key: str) -> None:
    code, out, _ = cli("trust", name, key, "--json")
    assert code == 2
    assert [fault["code"] for fault in json.loads(out)["faults"]] == ["JP604"]
    assert cli("list")[1].startswith("no keys")


def test_what_is_stored_is_signed(cli: CliCall, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    store.records.put(record(store))
    store.close()
    code, _, err = cli("sign", "n.ipynb", "--store", "store")
    assert (code, "JP412" in err) == (2, True)
    cli("new")
    assert cli("sign", "n.ipynb", "--store", "store")[:2] == (0, "1 record signed, 0 signed before\n")
    document = json.loads(cli("sign", "n.ipynb", "--store", "store", "--json")[1])
    assert (document["signed"], document["already"], document["left_out"]) == (0, 1, 0)
    signed_record = open_store(tmp_path / "store").records.read(KEY)
    assert signed_record is not None
    assert signed_record.signature is not None


def test_what_others_may_have_written_is_not_signed(cli: CliCall, tmp_path: Path) -> None:
    cli("new")
    team_folder(tmp_path / "team")
    code, _, err = cli("sign", "n.ipynb", "--store", "team")
    assert (code, "JP413" in err) == (2, True)


def test_an_unknown_command_and_none(cli: CliCall) -> None:
    code, _, err = cli("nwe")
    assert (code, "JP605" in err) == (2, True)
    assert "keys trust" in cli("--help")[1]
    assert cli() == cli("--help")
