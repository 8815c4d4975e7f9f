"""Traces of steps that ran on workers, as this machine can check them: parcels, answers, and what was not sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.execution.executors.remote.asked_files import AskedFiles
from jupyter_pipelines.execution.executors.remote.parcels import pack, unpack
from jupyter_pipelines.execution.executors.remote.worker_traces import (
    WorkerTrace,
    compared_trace,
    late_files_warnings,
)
from jupyter_pipelines.execution.ticket import StepOutcome, StepTicket
from jupyter_pipelines.planning.keys.fingerprint import MISSING
from jupyter_pipelines.planning.keys.traces import UNKNOWN, TraceReader, details_of, question, variable_answer
from tests.execution.sample_tickets import TicketFactory

KEY = "ab" * 32


@pytest.fixture
def ticket(tmp_path: Path) -> StepTicket:
    """Return the ticket of a step in a project with some files."""
    factory = TicketFactory(tmp_path)
    for path in ("data/x.csv", "data/.hidden.swp", "pack/__init__.py", "pack/sub.py", "tool.py", "calendar/a.txt"):
        (factory.project / path).parent.mkdir(exist_ok=True)
        (factory.project / path).write_text(path)
    return replace(factory.ticket("1"), root=str(factory.project), trace_key=KEY)


def compared(ticket: StepTicket, trace: Mapping[str, str], *, ignored: tuple[str, ...] = ()) -> WorkerTrace:
    def digests(paths: object) -> dict[str, str]:
        files = [path for path in paths if Path(path).is_file()]  # type: ignore[attr-defined]
        return {path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files}

    files = AskedFiles(ticket.root, [f"{ticket.root}/.pipelines"], ignored)
    return compared_trace(trace, ticket, files, digests)


def lacking(ticket: StepTicket, *asked: object, answer: str = MISSING, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return the files that a worker lacked, by their paths in the project."""
    files = compared(ticket, {question(*asked): answer}, ignored=ignored).lacking  # type: ignore[arg-type]
    return [os.path.relpath(path, ticket.root) for paths in files.values() for path in paths]


@pytest.mark.parametrize(
    ("asked", "files"),
    [
        (("file", "data/x.csv"), ["data/x.csv"]),
        (("kind", "data"), ["data"]),
        (("size", "data/x.csv"), ["data/x.csv"]),
        (("listing", "data", []), ["data/x.csv"]),
        (("glob", "*/*.csv", ".", False, []), ["data/x.csv"]),
        (("path-glob", "*.csv", ".", "rglob", []), ["data/x.csv"]),
        (("searched", ".", ["tool", "json"]), ["tool.py"]),
        (("searched", ".", ["*"]), ["calendar"]),
        (("searched", "pack", ["sub"]), ["pack/sub.py"]),
        (("searched", ".", ["pack"]), ["pack", "pack/__init__.py"]),
        (("origin", "tool", "tool.py", "/elsewhere/tool.py"), ["tool.py"]),
        (("file", "data/no.csv"), []),
        (("file", "/etc/hostname"), []),
        (("file", "../outside.csv"), []),
    ],
)
def test_files_that_a_worker_lacked_are_known(ticket: StepTicket, asked: tuple[object, ...], files: list[str]) -> None:
    assert lacking(ticket, *asked) == files


def test_rights_are_lacking_where_a_file_is(ticket: StepTicket) -> None:
    assert lacking(ticket, "rights", "data/x.csv", os.R_OK, answer="no") == ["data/x.csv"]


def test_ignored_files_and_the_store_are_not_sent(ticket: StepTicket) -> None:
    store = Path(ticket.root, ".pipelines", "blob")
    store.parent.mkdir()
    store.write_text("")
    assert lacking(ticket, "file", ".pipelines/blob") == []
    assert lacking(ticket, "file", "data/x.csv", ignored=("*.csv",)) == []


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", "prod.env", "key.pem", "credentials.json", "secrets.toml", "id_rsa", "token.json"),
        *("client_secret.json", "service_account.json", "db_password.txt", ".npmrc", "vault.kdbx"),
    ],
)
def test_files_that_may_hold_secrets_are_not_sent(ticket: StepTicket, name: str) -> None:
    """Unless code or header name them: a file that a library looks for must not get into a store unasked."""
    Path(ticket.root, name).write_text("hush")
    trace = compared(ticket, {question("file", name): MISSING})
    assert trace.lacking == {}
    assert reasons(trace) == [f"`{name}`, which it asked for, is not sent to workers, as it may hold secrets"]
    assert sorted(lacking(ticket, "glob", "*", ".", False, [])) == ["calendar", "data", "pack", "tool.py"]


def test_what_lies_in_a_folder_of_secrets_or_behind_a_link_to_one_is_not_sent(
    ticket: StepTicket, tmp_path: Path
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text("")
    Path(ticket.root, "notes").symlink_to(tmp_path / ".ssh" / "config")
    Path(ticket.root, "secrets").mkdir()
    Path(ticket.root, "secrets", "api.txt").write_text("")
    Path(ticket.root, "tokenizer.json").write_text("")
    for name in ("notes", "secrets/api.txt"):
        assert lacking(ticket, "file", name) == []
    assert lacking(ticket, "file", "tokenizer.json") == ["tokenizer.json"]


def test_a_pattern_that_pathlib_refuses_leads_to_no_file(ticket: StepTicket) -> None:
    assert lacking(ticket, "path-glob", "/abs/*.csv", ".", "glob", []) == []


def test_packages_of_a_kernel_on_the_worker_are_not_taken_for_those_here(ticket: StepTicket) -> None:
    assert reasons(compared(ticket, {question("package", "pandas"): UNKNOWN}))


def test_a_folder_that_is_not_sent_whole_is_asked_for_only_once(ticket: StepTicket) -> None:
    """The question stays in the trace, so that the next run sends at once what may be sent."""
    Path(ticket.root, "data", ".env").write_text("")
    text = question("listing", "data", [])
    trace = compared(replace(ticket, asked=(text,)), {text: "1 names of others"})
    assert reasons(trace)
    assert text in trace.trace


def test_a_file_that_was_sent_and_has_changed_since_counts_as_it_was(ticket: StepTicket) -> None:
    """The next plan says that it changed; to start the step again would not help."""
    text = question("file", "data/x.csv")
    assert compared(ticket, {text: "the old digest"}) == WorkerTrace({text: "the old digest"}, {})


def test_what_is_equal_here_is_kept(ticket: StepTicket) -> None:
    trace = {
        question("file", "data/x.csv"): hashlib.sha256(b"data/x.csv").hexdigest(),
        question("file", "data/no.csv"): MISSING,
        question("package", "pandas"): "9.9",
        question("unwatched", "why"): "why",
        question("network", "example.org"): "connected",
        question("written", "data/made.txt"): "a digest of what is put here only afterwards",
    }
    assert compared(ticket, trace) == WorkerTrace(trace, {})


def reasons(trace: WorkerTrace) -> list[str]:
    """Return why a trace can never hold here."""
    return [answer for text, answer in trace.trace.items() if details_of(text)[0] == "elsewhere"]


def test_variables_are_compared_by_a_key_of_the_run(ticket: StepTicket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY", "Oslo")
    key = bytes.fromhex(KEY)
    equal = compared(ticket, {question("variable", "CITY"): variable_answer("CITY", "Oslo", key)})
    assert equal.trace == {question("variable", "CITY"): variable_answer("CITY", "Oslo")}
    assert variable_answer("CITY", "Oslo", key) != variable_answer("CITY", "Oslo")
    other = compared(ticket, {question("variable", "CITY"): variable_answer("CITY", "Rome", key)})
    assert reasons(other) == ["the environment variable `CITY` is not the same on the worker as here"]
    monkeypatch.delenv("CITY")
    assert reasons(compared(ticket, {question("variable", "CITY"): variable_answer("CITY", "Oslo", key)}))


def test_variables_that_are_not_set_on_a_worker(ticket: StepTicket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CITY", "Oslo")
    trace = compared(ticket, {question("unset", "CITY", "LAND"): ""})
    assert trace.trace[question("unset", "LAND")] == ""
    assert reasons(trace) == ["the environment variable `CITY` is set here, and not on the worker"]


def test_what_engines_set_for_their_workers_does_not_count(ticket: StepTicket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    there = variable_answer("OMP_NUM_THREADS", "1", bytes.fromhex(KEY))
    assert compared(ticket, {question("variable", "OMP_NUM_THREADS"): there}).trace == {}
    assert compared(ticket, {question("unset", "OMP_NUM_THREADS"): ""}).trace == {}
    seed = variable_answer("PYTHONHASHSEED", "6640", bytes.fromhex(KEY))  # by Dask
    assert compared(ticket, {question("variable", "PYTHONHASHSEED"): seed}).trace == {}


@pytest.mark.parametrize(
    ("asked", "answer", "reason"),
    [
        (("file", "/nowhere/x.csv"), "a digest", "`/nowhere/x.csv`, which it used on the worker, is not here"),
        (("variables", []), "1 names of others", "others are set on the worker"),
        (("environment",), "hmac of others", "others are set there"),
        (("executable", "/bin/sh"), "file 1 2", "the program `/bin/sh` is not the same on the worker as here"),
    ],
)
def test_what_differs_on_the_worker_makes_a_result_that_is_not_reused(
    ticket: StepTicket, asked: tuple[str, ...], answer: str, reason: str
) -> None:
    trace = compared(ticket, {question(*asked): answer})
    (why,) = reasons(trace)
    assert reason in why
    reader = TraceReader(Path(ticket.root), lambda paths: {}, os.environ)
    assert reader.differing(trace.trace), "it never holds"


def test_a_link_counts_with_where_it_leads_here(ticket: StepTicket) -> None:
    Path(ticket.root, "link").symlink_to("data")
    assert compared(ticket, {question("link", "link"): "folder"}).trace == {question("link", "link"): "data"}


def test_the_warning_names_files_and_starts(ticket: StepTicket) -> None:
    paths = [f"{ticket.root}/data/{number}.csv" for number in (1, 1, 2, 3, 4)]
    assert late_files_warnings(ticket, [], 1, complete=True) == []
    (warning,) = late_files_warnings(ticket, paths, 2, complete=True)
    assert warning.message == (
        "step `fit` was started 2 times: it asked for `data/1.csv`, `data/2.csv`, `data/3.csv` and 1 more, "
        "which had not been sent"
    )
    (warning,) = late_files_warnings(ticket, paths[:1], 6, complete=False)
    assert warning.message.endswith("which had not been sent, and some of it is still missing there")


def test_a_parcel_holds_what_was_asked_for_earlier(tmp_path: Path) -> None:
    factory = TicketFactory(tmp_path)
    (factory.project / "data/sub").mkdir(parents=True)
    for path in ("data/sub/x.csv", "data/y.csv", "own.txt"):
        (factory.project / path).write_text(path)
    os.utime(factory.project / "own.txt", ns=(10**18, 10**18))
    (factory.project / "calendar").mkdir()
    asked = (question("file", "data/y.csv"), question("kind", "data/sub"), question("times", "own.txt"))
    ticket = replace(factory.ticket("1"), root=str(factory.project), asked=asked)
    parcel = pack(ticket, factory.store)
    assert set(parcel["files"]) == {"data/y.csv", "own.txt"}
    assert parcel["names"] == ["calendar", "data/sub"], "an import of the standard library looks for it here first"
    assert parcel["marks"]["own.txt"][0] == 10**18
    assert "asked" not in parcel["ticket"]
    # What lies in a folder that is sent as a whole is not sent twice.
    parcel = pack(replace(ticket, sources=[{"path": "data"}, {"path": "data/sub"}]), factory.store)
    assert set(parcel["folders"]) == {"data"}
    assert set(parcel["files"]) == {"own.txt"}
    assert "data/sub/x.csv" in parcel["marks"]


def test_written_files_come_back_and_replace_only_what_was_sent(tmp_path: Path) -> None:
    factory = TicketFactory(tmp_path)
    for path, text in {"sent.txt": "old", "edited.txt": "mine", "log.txt": "mine", "folder/in.txt": "old"}.items():
        (factory.project / path).parent.mkdir(exist_ok=True)
        (factory.project / path).write_text(text)
    (tmp_path / "elsewhere").mkdir()
    (factory.project / "link").symlink_to(tmp_path / "elsewhere")
    old, made = (factory.store.blobs.put_bytes(text).digest for text in (b"old", b"made"))
    sent = {
        "sent.txt": old,
        "edited.txt": old,
        "folder": factory.store.blobs.put_folder(factory.project / "folder").digest,
    }
    ticket = replace(factory.ticket("1"), root=str(factory.project), sent=sent)
    written = ["out/new.txt", "sent.txt", "edited.txt", "folder/in.txt", "../escaped.txt", "link/x", ".git/hooks/x"]
    trace = {question("written", name): made for name in written} | {
        question("left", "log.txt"): made,
        question("left", "out/child.txt"): made,
    }
    outcome = StepOutcome(ticket=ticket.id, state="succeeded", trace=trace)
    names = [*written, "log.txt", "out/child.txt", "not-in-trace.txt"]
    unpack({"written": dict.fromkeys(names, made)}, outcome, ticket, factory.store)
    files = {
        path.relative_to(factory.project).as_posix(): path.read_text()
        for path in factory.project.rglob("*")
        if path.is_file()
    }
    assert files == {
        "out/new.txt": "made",
        "out/child.txt": "made",
        "sent.txt": "made",
        "folder/in.txt": "made",
        "edited.txt": "mine",
        "log.txt": "mine",
    }
    assert sorted(path.name for path in tmp_path.rglob("*") if path.name in ("escaped.txt", "x")) == []


def test_modules_are_sent_byte_by_byte(tmp_path: Path) -> None:
    factory = TicketFactory(tmp_path)
    content = "# coding: latin-1\r\nNAME = 'Kön'\r\n".encode("latin-1")
    (factory.project / "own.py").write_bytes(content)
    text = content.decode("latin-1").replace("\r\n", "\n")
    ticket = replace(factory.ticket("1"), root=str(factory.project), sources=[{"path": "own.py", "text": text}])
    parcel = pack(ticket, factory.store)
    with factory.store.blobs.open(parcel["files"]["own.py"]) as file:
        assert file.read() == content
    # One that has been edited since goes as it was when the step was planned.
    parcel = pack(replace(ticket, sources=[{"path": "own.py", "text": "NAME = 1"}]), factory.store)
    assert "own.py" not in parcel["files"]
    assert parcel["texts"]["own.py"] == "NAME = 1"
