"""S20: a secret reaches its step, and stands nowhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.notebook_project import NotebookProject

CANARY = "k4n4ri'3nv0gel/+=\"x"
PARAMS = '%%params\ntoken: Secret = "env:CANARY_TOKEN"    # for the service\nrows: int = 3'
CHATTY = """%%step fetch -p token rows -o data
import sys, logging, warnings, subprocess
data = len(token) * rows
print(token)
print(repr(token), token.encode(), file=sys.stderr)
logging.warning("with %s", token)
warnings.warn(token)
subprocess.run([sys.executable, "-c", "import os; print(os.environ['CANARY_TOKEN'])"])
display({"text/plain": token, "application/json": {token: [token]}}, raw=True)
token
"""
FAILING = """%%step fail -p token -o nothing
nothing = 1
raise ValueError(f"bad token {token}")
"""


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "pyproject.toml").write_text("")
    return NotebookProject(
        tmp_path, environment={"CANARY_TOKEN": CANARY, "JUPYTER_PIPELINES_CACHE": str(tmp_path / "cache")}
    )


def forms() -> list[bytes]:
    return [CANARY.encode(), json.dumps(CANARY)[1:-1].encode(), repr(CANARY)[1:-1].encode(), b"k4n4ri"]


def leaks(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(form in path.read_bytes() for form in forms())]


def test_s20_a_secret_reaches_the_step_and_stands_nowhere_else(book: NotebookProject) -> None:
    book.write(PARAMS, CHATTY, FAILING)
    answer = book.run("--continue")
    assert answer.code == 1
    assert answer.steps("state") == {"fetch": "succeeded", "fail": "failed"}
    assert book.value("fetch.data") == len(CANARY) * 3
    shown = [book.call("run", "--continue"), book.call("plan"), book.call("why", "fetch"), book.call("runs"), answer]
    shown += [book.call("diff", "last~1", "last"), book.call("show", "--format", "html"), book.plan()]
    assert not any(form.decode() in answer.out + answer.err for answer in shown for form in forms())
    assert leaks(book.folder) == []
    log = next(book.folder.glob(".pipelines/runs/*/fetch.log")).read_text()
    assert log.count("•••") >= 4


def test_another_secret_runs_the_step_again_and_an_equal_one_elsewhere_does_not(book: NotebookProject) -> None:
    book.write(PARAMS, "%%step fetch -p token -o data\ndata = len(token)")
    book.run()
    (book.folder / "token.txt").write_text(CANARY + "\n")
    assert book.run("-p", "token=file:token.txt").steps("state") == {"fetch": "reused"}
    (book.folder / "token.txt").write_text("another one")
    answer = book.run("-p", "token=file:token.txt")
    assert answer.steps("state") == {"fetch": "succeeded"}
    assert answer.reasons == {"fetch": "parameter"}
    assert book.value("fetch.data") == len("another one")


def test_a_key_that_others_can_read_is_not_used(book: NotebookProject) -> None:
    book.write(PARAMS, "%%step fetch -p token -o data\ndata = len(token)").run()
    key = book.folder / "cache" / "secrets.key"
    assert key.stat().st_mode & 0o077 == 0
    assert book.run().steps("state") == {"fetch": "reused"}
    key.chmod(0o644)
    assert book.run().steps("state") == {"fetch": "succeeded"}


def test_a_secret_that_is_given_as_such_is_refused_and_not_repeated(book: NotebookProject) -> None:
    book.write(PARAMS, "%%step fetch -p token -o data\ndata = len(token)")
    answer = book.call("run", "-p", f"token={CANARY}")
    assert answer.code == 2
    assert "error[JP502]" in answer.err
    assert "k4n4ri" not in answer.err + answer.out
    book.write(PARAMS.replace("env:CANARY_TOKEN", "k4n4ri"), "%%step fetch -p token -o data\ndata = len(token)")
    answer = book.call("check")
    assert answer.code == 2
    assert "k4n4ri" not in answer.err + answer.out


def test_a_secret_that_is_not_there_is_said_before_anything_runs(
    book: NotebookProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_TEXT", os.fsdecode(b"\xff"))
    book.write(PARAMS, "%%step fetch -p token -o data\ndata = len(token)")
    for reference in ("env:NOT_SET_HERE", "file:none.txt", "file:~nosuchuser/none.txt", "env:NO_TEXT"):
        answer = book.call("run", "-p", f"token={reference}")
        assert (answer.code, "error[JP510]" in answer.err) == (2, True)
        assert "JP901" not in answer.err
        assert not list(book.folder.glob(".pipelines/runs/*"))


def test_an_output_with_a_secret_in_it_is_not_stored(book: NotebookProject) -> None:
    book.write(PARAMS, "%%step fetch -p token -o data\ndata = {'auth': token}")
    answer = book.run()
    assert [step["error"]["code"] for step in answer.document["steps"]] == ["JP511"]
    assert leaks(book.folder) == []


def test_a_plain_parameter_that_looks_like_a_secret_is_warned_about(book: NotebookProject) -> None:
    use = "%%step fetch -p api_token max_tokens -o data\ndata = (api_token, max_tokens)"
    answer = book.write('%%params\napi_token: str = "x"\nmax_tokens: str = "y"', use).call("check", "--json")
    assert [(fault["code"], fault["line"]) for fault in answer.document["faults"]] == [("JP509", 2)]


def test_a_secret_does_not_stand_in_the_list_of_processes(book: NotebookProject) -> None:
    look = """%%step look -p token -o seen
from pathlib import Path
lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
seen = sum(token.encode() in line for line in lines)
"""
    assert book.write(PARAMS, look).run().code == 0
    assert book.value("look.seen") == 0


def test_the_notebook_of_a_step_gets_the_secret_when_it_is_run_by_hand(book: NotebookProject) -> None:
    book.write(PARAMS, "%%step fetch -p token -o data\ndata = len(token)\nprint(data, token)\ntoken")
    answer = book.run()
    path = Path(answer.document["steps"][0]["notebook"])
    target = book.folder / "by-hand.ipynb"
    subprocess.run(
        [sys.executable, "-m", "papermill", str(path), str(target), "--no-progress-bar"],
        env={**os.environ, **book.environment}, check=True, capture_output=True,
    )  # fmt: skip
    text = target.read_text()
    assert "k4n4ri" not in text
    assert f"{len(CANARY)} •••" in json.dumps(json.loads(text), ensure_ascii=False)
