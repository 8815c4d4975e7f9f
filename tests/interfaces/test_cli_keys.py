"""Test the ``keys`` commands: their output and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
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


def test_a_team_shares_a_secret_that_no_list_shows(cli: CliCall, tmp_path: Path) -> None:
    code, line, err = cli("share")
    assert (code, err, line.startswith("team:")) == (0, "", True)
    assert cli("share")[1] == line
    (tmp_path / "team.key").write_text(f"{line.strip()} from ada\n")
    first = json.loads(cli("share", "--json")[1])["keys"][0]
    assert (first["name"], first["key"]) == ("team", line.strip())
    # Another key makes digests from now on; the first is kept to check those of earlier results.
    second = json.loads(cli("share", "--new", "--json")[1])["keys"][0]
    assert second["id"] != first["id"]
    assert cli("share")[1] == f"{second['key']}\n"
    printed = [cli("list")[1], cli("list", "--json")[1]]
    assert [key["id"] for key in json.loads(printed[1])["keys"]] == [second["id"], first["id"]]
    printed += [cli("join", "team.key")[1], cli("join", "team.key", "--json")[1]]
    assert [key["id"] for key in json.loads(cli("list", "--json")[1])["keys"]] == [first["id"], second["id"]]
    assert not [text for text in printed if line.strip() in text or second["key"] in text]
    assert (tmp_path / "keys" / "team.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("key", ["nothing.key", "team:AAAA", "team:?", "n.ipynb", "ed25519:" + "A" * 43 + "="])
def test_what_is_no_key_of_a_team(cli: CliCall, key: str) -> None:
    code, out, _ = cli("join", key, "--json")
    (fault,) = json.loads(out)["faults"]
    assert (code, fault["code"], "keys share" in fault["suggestion"]) == (2, "JP604", True)
    assert "AAAA" not in out
    assert cli("list")[1].startswith("no keys")


@pytest.mark.parametrize("damage", ["open", "damaged"])
def test_s08_a_teams_key_that_others_could_read_stops_a_run_before_it_starts(
    cli: CliCall, tmp_path: Path, damage: str
) -> None:
    cli("share")
    path = tmp_path / "keys" / "team.key"
    path.chmod(0o640) if damage == "open" else path.write_text("team:AAAA\n")
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "store").check_writable()
    assert caught.value.code == "JP412"
    assert cli("share")[0] == cli("list")[0] == 2


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
