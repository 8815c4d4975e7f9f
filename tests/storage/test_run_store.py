"""Runs: a document that is never half written, and that says when its process is gone."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity, parse_token
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.records.run_store import RunStore
from jupyter_pipelines.storage.store import Store
from tests.storage import helper_processes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


def begun(store: Store, **fields: object) -> str:
    run = store.runs.new_id()
    store.runs.create(run)
    store.runs.write(run, {"run": run, "state": "running", "steps": [], **fields})
    return run


def ended_process() -> ProcessIdentity:
    """Return a process that ran a moment ago."""
    return ProcessIdentity.from_dict(
        json.loads(helper_processes.output_of("print(json.dumps(ProcessIdentity.current().to_dict()))"))
    )


def test_a_run_has_a_folder_and_a_document(store: Store) -> None:
    run = store.runs.new_id()
    folder = store.runs.create(run)
    assert folder == store.root / "runs" / run
    assert folder.is_dir()
    store.runs.write(run, {"run": run, "state": "succeeded", "steps": []})
    assert store.runs.read(run) == {"run": run, "state": "succeeded", "steps": []}
    assert store.runs.ids() == (run,)


def test_ids_sort_by_time_and_never_collide(store: Store) -> None:
    ids = [RunStore.new_id() for _ in range(500)]
    assert ids == sorted(ids, key=lambda run_id: run_id[:22])
    assert len(set(ids)) == 500
    for run in ids[:3]:
        store.runs.write(run, {"state": "succeeded"})
    assert store.runs.ids() == tuple(sorted(ids[:3], reverse=True))


@pytest.mark.parametrize(
    "run", ["", "..", "../../etc", "a/b", "20260101-000000-000000-abcdeg", "20260101-000000-000000-abcdef\n"]
)
def test_what_is_no_id_is_no_path(store: Store, run: str) -> None:
    for act in (store.runs.create, store.runs.read, store.runs.events, store.runs.remove):
        with pytest.raises(StoreError) as caught:
            act(run)
        assert caught.value.code == "JP405"


def test_a_run_that_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(StoreError, match="does not hold") as caught:
        store.runs.read(RunStore.new_id())
    assert caught.value.code == "JP405"


def test_a_damaged_document_is_told(store: Store) -> None:
    run = begun(store)
    (store.root / "runs" / run / "run.json").write_bytes(b'{"state": "run')
    with pytest.raises(StoreError):
        store.runs.read(run)
    assert not store.runs.is_live(run)


def test_a_run_of_this_process_is_live(store: Store) -> None:
    run = begun(store)
    assert store.runs.is_live(run)
    assert store.runs.read(run)["state"] == "running"
    store.runs.write(run, {"run": run, "state": "succeeded"})
    assert not store.runs.is_live(run)


def test_a_run_whose_process_is_gone_is_lost_from_now_on(store: Store) -> None:
    run = begun(
        store,
        owner=ended_process().to_dict(),
        steps=[{"name": "a", "state": "succeeded"}, {"name": "b", "state": "running"}],
    )
    assert not store.runs.is_live(run)
    document = store.runs.read(run)
    assert document["state"] == "lost"
    assert [step["state"] for step in document["steps"]] == ["succeeded", "lost"]
    assert json.loads((store.root / "runs" / run / "run.json").read_bytes())["state"] == "lost"


BEGIN = """
store = open_store(sys.argv[1])
run = store.runs.new_id()
store.runs.create(run)
store.runs.write(run, {"run": run, "state": "running", "steps": []})
print(run, flush=True)
sys.stdin.read()
"""


def test_a_run_that_was_killed_is_lost_even_while_it_is_not_reaped(store: Store) -> None:
    owner = helper_processes.start(BEGIN, store.root)
    run = helper_processes.next_line(owner)
    assert store.runs.read(run)["state"] == "running"
    owner.kill()
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert store.runs.read(run)["state"] == "lost"
    owner.communicate()


def test_a_last_word_is_not_overwritten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(store, owner=ended_process().to_dict())
    # The owner writes its last word after the document was read, and before the owner was looked for.
    state = ProcessIdentity.state

    def last_word(owner: ProcessIdentity) -> str:
        store.runs.write(run, {"run": run, "state": "succeeded"})
        return state(owner)

    monkeypatch.setattr(ProcessIdentity, "state", last_word)
    assert store.runs.read(run)["state"] == "succeeded"
    assert store.runs.read(run)["state"] == "succeeded"


def test_a_run_without_an_owner_is_lost(store: Store) -> None:
    run = begun(store, owner={"pid": "?"})
    assert store.runs.read(run)["state"] == "lost"


def test_events_are_kept_in_their_order(store: Store) -> None:
    run = begun(store)
    for number in range(100):
        store.runs.append(run, {"number": number})
    assert [event["number"] for event in store.runs.events(run)] == list(range(100))


def test_an_event_that_was_cut_off_is_left_out(store: Store) -> None:
    run = begun(store)
    store.runs.append(run, {"number": 1})
    with (store.root / "runs" / run / "events.jsonl").open("ab") as file:
        file.write(b'{"number": ')
    assert store.runs.events(run) == [{"number": 1}]
    store.runs.append(run, {"number": 2})
    assert store.runs.events(run) == [{"number": 1}, {"number": 2}]
    assert store.runs.events(begun(store)) == []


APPEND = """
store = open_store(sys.argv[1])
for _ in range(300):
    store.runs.append(sys.argv[2], {"sign": sys.argv[3] * 500})
"""


def test_events_of_several_processes_do_not_tear(store: Store) -> None:
    run = begun(store)
    writers = [helper_processes.start(APPEND, store.root, run, sign) for sign in "abc"]
    assert [writer.communicate() and writer.returncode for writer in writers] == [0, 0, 0]
    assert len(store.runs.events(run)) == 900


REWRITE = """
store = open_store(sys.argv[1])
for number in range(150):
    store.runs.write(sys.argv[2], {"run": sys.argv[2], "state": "succeeded", "text": str(number) * 20_000})
"""


def test_a_reader_never_sees_half_a_document(store: Store) -> None:
    run = begun(store)
    writer = helper_processes.start(REWRITE, store.root, run)
    while writer.poll() is None:
        assert store.runs.read(run)["run"] == run
    assert writer.communicate() == ("", "")


def test_a_run_is_removed_whole(store: Store) -> None:
    run = begun(store)
    (store.root / "runs" / run / "train.ipynb").write_text("x")
    store.runs.remove(run)
    assert store.runs.ids() == ()
    assert store.folder.ls("tmp") == []


# Owners


def test_this_process_is_alive_and_an_ended_one_is_dead() -> None:
    assert ProcessIdentity.current().state() == "alive"
    assert ended_process().state() == "dead"


def test_a_pid_that_is_used_again_is_not_the_same_process() -> None:
    from dataclasses import replace

    me = ProcessIdentity.current()
    assert replace(me, started="1").state() == "dead"
    assert replace(me, boot="00000000").state() == "dead"
    assert replace(me, host="00000000").state() == "unknown"
    assert replace(me, space="1").state() == "unknown"


def test_a_forked_child_is_another_owner() -> None:
    code = """
    me = ProcessIdentity.current()
    if os.fork() == 0:
        print(ProcessIdentity.current() == me, flush=True)
    else:
        os.wait()
    """
    assert helper_processes.output_of(code) == "False\n"


def test_a_token_names_its_owner() -> None:
    me = ProcessIdentity.current()
    assert parse_token(f"{me.token()}.0123456789abcdef.arrow") == me
    assert parse_token("somebody.else") is None
    assert parse_token("²3.1.2.3.4.5") is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc to do without")
def test_without_proc_psutil_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    from jupyter_pipelines.storage.files import process_identity

    me = process_identity._started_elsewhere(os.getpid())
    assert me is not None
    assert process_identity._started_elsewhere(os.getpid()) == me
    assert abs(int(me) / 1000 - time.time()) < 86_400 * 365
    assert process_identity._started_elsewhere(ended_process().pid) is None
