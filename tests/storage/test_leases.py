"""Leases: a lease has a single holder at a time, and a dead owner holds nothing."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.locks import leases
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store

KEY = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path / "store")


HOLD = """
import sys
from jupyter_pipelines.storage.opening import open_store
lease = open_store(sys.argv[1]).leases.lease(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
"""


def holder(store: Store) -> subprocess.Popen[bytes]:
    """Start a process that holds the lease until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store.root), KEY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end_process(process: subprocess.Popen[bytes]) -> None:
    process.communicate()


def test_a_lease_is_held_by_one_at_a_time(store: Store) -> None:
    with store.leases.lease(KEY) as lease:
        assert lease.held
        assert store.leases.try_acquire(KEY) is None
        assert store.leases.is_held(KEY)
        assert list(store.leases.held()) == [KEY]
        assert store.leases.holder(KEY) == ProcessIdentity.current()
        other = store.leases.try_acquire("b" * 64)
        assert other is not None
        other.release()
    assert not lease.held
    lease.release()
    again = store.leases.try_acquire(KEY)
    assert again is not None
    again.release()
    assert list(store.leases.held()) == []
    assert store.leases.holder(KEY) is None


def test_threads_exclude_each_other(store: Store) -> None:
    leases_of_thread = []
    with store.leases.lease(KEY):
        thread = threading.Thread(target=lambda: leases_of_thread.append(store.leases.try_acquire(KEY)))
        thread.start()
        thread.join()
    assert leases_of_thread == [None]


def test_processes_exclude_each_other(store: Store) -> None:
    process = holder(store)
    assert store.leases.try_acquire(KEY) is None
    owner = store.leases.holder(KEY)
    assert owner is not None
    assert owner.pid == process.pid
    with pytest.raises(TimeoutError):
        store.leases.lease(KEY, timeout=0.01)
    end_process(process)
    store.leases.lease(KEY, timeout=0).release()


def test_a_lease_dies_with_its_owner(store: Store) -> None:
    process = holder(store)
    process.send_signal(signal.SIGKILL)
    end_process(process)
    assert not store.leases.is_held(KEY)
    store.leases.lease(KEY, timeout=0).release()


def test_a_lease_is_not_inherited_by_what_its_owner_starts(store: Store) -> None:
    lease = store.leases.lease(KEY)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    lease.release()
    store.leases.lease(KEY, timeout=0).release()
    child.communicate()


def test_a_waiter_gets_it_when_it_is_released(store: Store) -> None:
    process = holder(store)
    got = []
    thread = threading.Thread(target=lambda: got.append(store.leases.lease(KEY)))
    thread.start()
    end_process(process)
    thread.join()
    assert got[0].held
    got[0].release()


def test_files_of_free_leases_can_be_removed(store: Store) -> None:
    store.leases.lease("b" * 64).release()
    with store.leases.lease(KEY):
        store.leases.discard(older_than=-1)
        assert store.folder.ls("leases") == [f"{KEY}.lock", f"{KEY}.owner"]
        assert store.leases.try_acquire(KEY) is None
    store.leases.discard(older_than=3600)
    assert len(store.folder.ls("leases")) == 2


def test_a_lease_whose_file_is_removed_meanwhile_is_still_one(store: Store) -> None:
    """Removing the file of a free lease must not admit two holders (of the removed file and of the new file)."""
    stop = threading.Event()

    def remove() -> None:
        while not stop.is_set():
            store.leases.discard(older_than=-1)

    thread = threading.Thread(target=remove)
    thread.start()
    inside = 0
    errors = []

    def enter() -> None:
        nonlocal inside
        for _ in range(60):
            with store.leases.lease(KEY):
                inside += 1
                if inside != 1:
                    errors.append(inside)
                store.root.stat()
                inside -= 1

    workers = [threading.Thread(target=enter) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    stop.set()
    thread.join()
    assert errors == []


@pytest.mark.parametrize("key", ["", "../x", "A" * 64])
def test_what_is_no_key_is_no_path(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        store.leases.lease(key)


def test_every_grant_has_a_greater_number(store: Store) -> None:
    numbers = []
    for _ in range(3):
        with store.leases.lease(KEY) as lease:
            assert lease.valid
            numbers.append(lease.number)
        assert not lease.valid
    assert numbers == sorted(set(numbers))


def test_a_holder_that_was_stopped_still_holds_the_lease(store: Store) -> None:
    process = holder(store)
    process.send_signal(signal.SIGSTOP)
    assert store.leases.try_acquire(KEY) is None
    process.send_signal(signal.SIGCONT)
    end_process(process)
    with store.leases.lease(KEY) as lease:
        assert lease.valid


def test_whose_lock_was_taken_away_holds_nothing_any_more(store: Store) -> None:
    with store.leases.lease(KEY) as first:
        assert first.valid
        shutil.rmtree(store.root / "leases")
        assert not first.valid  # no other process has it, but that cannot be known
        second = store.leases.try_acquire(KEY)
        assert second is not None
        assert second.number > first.number
        assert (first.valid, second.valid) == (False, True)
        second.release()


def test_a_clock_that_goes_back_gives_greater_numbers_all_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.leases.lease(KEY) as first:
        pass
    monkeypatch.setattr(leases.time, "time_ns", lambda: 5)
    with store.leases.lease(KEY) as second:
        assert second.number == first.number + 1
