"""The commands of keys: what they answer, and with which exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from jupyter_pipelines.interfaces import cli
from jupyter_pipelines.storing.store import Store
from tests.storing.people import KEY, person, record, team_folder

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    monkeypatch.setenv("JUPYTER_PIPELINES_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("JUPYTER_PIPELINES_FRONT", str(tmp_path / "front"))
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str) -> tuple[int, str, str]:
        code = cli.call(["keys", *arguments])
        return (code, *capsys.readouterr())

    return called


def test_a_key_is_made_shown_and_never_made_twice(call: Call, tmp_path: Path) -> None:
    assert call("list") == (0, f"no keys in {tmp_path / 'keys'}\n", "")
    code, _, err = call("show")
    assert (code, "JP412" in err) == (2, True)
    code, out, _ = call("new")
    assert code == 0
    public = out.splitlines()[-1]
    assert call("show") == (0, f"{public}\n", "")
    assert json.loads(call("show", "--json")[1])["keys"][0]["key"] == public
    code, _, err = call("new")
    assert (code, "there is a key already" in err) == (2, True)
    assert call("show")[1] == f"{public}\n"


def test_s08_the_secret_half_is_shown_by_no_command(call: Call, tmp_path: Path) -> None:
    said = "".join(call(*one)[1] for one in (["new"], ["show"], ["show", "--json"], ["list"], ["list", "--json"]))
    secret = json.loads((tmp_path / "keys" / "own.key").read_text())["private"]
    assert len(secret) == 44
    assert secret not in said
    assert secret[:20] not in said


def test_keys_of_others_come_and_go(call: Call, tmp_path: Path) -> None:
    own = person("bob", tmp_path).keyring.own()
    assert own is not None
    (tmp_path / "bob.pub").write_text(f"{own.public} bob@work\n")
    assert call("trust", "bob", "bob.pub")[0] == 0
    assert call("trust", "again", str(own.public))[0] == 0
    known = json.loads(call("list", "--json")[1])["keys"]
    assert [(one["name"], one["id"]) for one in known] == [("again", own.public.id), ("bob", own.public.id)]
    assert call("distrust", "again")[0] == 0
    assert own.public.id in call("list")[1]
    code, _, err = call("distrust", "bop")
    assert (code, "write `bob`" in err) == (2, True)


@pytest.mark.parametrize(
    ("name", "key"), [("bob", "nothing.pub"), ("bob", "ed25519:AAAA"), ("../bob", "n.ipynb"), ("you", "n.ipynb")]
)
def test_what_cannot_be_trusted(call: Call, name: str, key: str) -> None:
    code, out, _ = call("trust", name, key, "--json")
    assert code == 2
    assert [fault["code"] for fault in json.loads(out)["faults"]] == ["JP604"]
    assert call("list")[1].startswith("no keys")


def test_what_is_stored_is_signed(call: Call, tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    store.records.put(record(store))
    store.close()
    code, _, err = call("sign", "n.ipynb", "--store", "store")
    assert (code, "JP412" in err) == (2, True)
    call("new")
    assert call("sign", "n.ipynb", "--store", "store")[:2] == (0, "1 record signed, 0 signed before\n")
    document = json.loads(call("sign", "n.ipynb", "--store", "store", "--json")[1])
    assert (document["signed"], document["already"], document["left_out"]) == (0, 1, 0)
    found = Store.open(tmp_path / "store").records.read(KEY)
    assert found is not None
    assert found.signature is not None


def test_what_others_may_have_written_is_not_signed(call: Call, tmp_path: Path) -> None:
    call("new")
    team_folder(tmp_path / "team")
    code, _, err = call("sign", "n.ipynb", "--store", "team")
    assert (code, "JP413" in err) == (2, True)


def test_an_unknown_command_and_none(call: Call) -> None:
    code, _, err = call("nwe")
    assert (code, "JP605" in err) == (2, True)
    assert "keys trust" in call("--help")[1]
    assert call() == call("--help")
