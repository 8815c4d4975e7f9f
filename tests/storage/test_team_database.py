"""Leases and records of a team in a real PostgreSQL."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.locks import claimed_leases
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.store import Store
from jupyter_pipelines.storage.team.db_leases import store_name
from jupyter_pipelines.testing import IndexContract, StoreContract
from tests.storage.postgres_server import PostgresServer, postgres

KEY = "a" * 64
VARIABLE = "JUPYTER_PIPELINES_INDEX"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres() as running:
        yield running


@pytest.fixture
def database(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    url = server.create_database(f"d{secrets.token_hex(8)}")
    monkeypatch.setenv(VARIABLE, url)
    return url


class TestStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None: ...

    def open(self, tmp_path: Path) -> Store:
        return open_store(tmp_path / "store")

    def damage(self, store: Store, digest: str) -> None:
        path = store.blobs.path(digest)
        path.chmod(0o600)
        path.write_bytes(b"other")


class TestIndex(IndexContract):
    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None: ...

    def open(self, tmp_path: Path) -> Store:
        return open_store(tmp_path / "store")


class TestIndexOfAFolder(IndexContract):
    def open(self, tmp_path: Path) -> Store:
        return open_store(tmp_path / "store")


@pytest.fixture
def machines(database: str, tmp_path: Path) -> tuple[Store, Store]:
    """One store as two machines see it: nothing of theirs is shared but the name and the database."""
    opened = open_store(tmp_path / "one"), open_store(tmp_path / "other")
    from jupyter_pipelines.storage.team.database import TeamDatabase
    from jupyter_pipelines.storage.team.db_leases import DatabaseLeaseBackend
    from jupyter_pipelines.storage.team.db_records import TeamRecordListing

    for store in opened:
        there = TeamDatabase.open(database)
        store.index.listing = TeamRecordListing(there, "s3://team/store", forgets=False)
        store.leases = claimed_leases.ClaimedLeases(store.folder, DatabaseLeaseBackend(there, "s3://team/store"))
    return opened


def test_machines_exclude_each_other(machines: tuple[Store, Store]) -> None:
    first, other = machines
    with first.leases.lease(KEY) as lease:
        assert lease.valid
        assert other.leases.try_acquire(KEY) is None
        assert other.leases.try_acquire("b" * 64) is not None
    with other.leases.lease(KEY, timeout=0) as second:
        assert second.number > lease.number


def test_of_many_at_once_one_gets_a_key(machines: tuple[Store, Store]) -> None:
    gate, got = threading.Barrier(8), []

    def take(store: Store) -> None:
        gate.wait()
        got.append(store.leases._claims.claim(KEY))

    threads = [threading.Thread(target=take, args=(machines[number % 2],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number in got if number is not None] == [max(number or 0 for number in got)]


def test_the_claim_of_a_silent_machine_ends_and_it_may_record_nothing(
    machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_pipelines.storage.team.db_leases.CLAIM_SECONDS", -1.0)
    first = machines[0].leases.lease(KEY)
    assert first.valid
    with machines[1].leases.lease(KEY, timeout=0) as second:
        assert second.valid
        assert not first.valid
        # Neither renewing nor releasing it takes it from its present holder.
        machines[0].leases._claims.renew(KEY, first.number)
        first.release()
        assert second.valid


def test_a_database_that_is_away_costs_nothing_but_time_and_a_result_is_not_recorded_unseen(
    machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = machines[0].leases.lease(KEY)
    for store in machines:
        database = store.leases._claims._database
        database.close()
        monkeypatch.setattr(database, "_url", database._url.set(port=1))
    assert not held.valid, "a lease that cannot be checked is not valid"
    assert machines[1].leases.try_acquire("b" * 64).valid
    assert machines[1].records.latest("train") is None


def test_stores_of_other_names_have_nothing_in_common(database: str, tmp_path: Path) -> None:
    first, second = open_store(tmp_path / "one"), open_store(tmp_path / "other")
    with first.leases.lease(KEY):
        assert second.leases.try_acquire(KEY) is not None


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket/team/", "s3://bucket/team"),
        ("s3://key:secret@bucket/team", "s3://key@bucket/team"),
        ("abfs://container@account.dfs.core.windows.net/team", "abfs://container@account.dfs.core.windows.net/team"),
        ("shared:///srv/team", "/srv/team"),
        ("/srv/team/", "/srv/team"),
    ],
)
def test_a_store_is_called_the_same_on_every_machine(url: str, name: str) -> None:
    assert store_name(url) == name


def test_the_tables_of_a_newer_version_are_left_alone(database: str, tmp_path: Path) -> None:
    import psycopg

    open_store(tmp_path / "store")
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE jupyter_pipelines_version SET version_num = '2'")
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "store")
    assert caught.value.code == "JP406"
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["mysql://me:secret-word@host/x", "secret-word", "postgresql://tests:secret-word@127.0.0.1:1/x"],
)
def test_what_cannot_be_used_is_said_before_anything_runs_and_no_password(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "store")
    assert caught.value.code == "JP415"
    assert "secret-word" not in str(caught.value)


def test_a_wrong_password_is_said(server: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, server.url("postgres").replace("secret-word", "guessed"))
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        open_store(tmp_path / "store")
    assert "guessed" not in str(caught.value)


COMPUTE_MANY = """
import os, sys
from pathlib import Path
from jupyter_pipelines.storage.step_record import StepRecord
from jupyter_pipelines.storage.opening import open_store
store, log = open_store(sys.argv[1]), Path(sys.argv[2])
wanted = [f"{number:064x}" for number in range(200)]
while wanted:
    for key in list(wanted):
        if store.records.get(key) is not None:
            wanted.remove(key)
            continue
        lease = store.leases.try_acquire(key)
        if lease is None:
            continue
        with lease:
            if store.records.get(key) is None:
                with log.open("a") as file:
                    file.write(f"{key} {os.getpid()}\\n")
                assert lease.valid
                store.records.put(StepRecord(key=key, step=f"s{key[-3:]}", notebook=None, parts={}, outputs={}, run="r",
                    created="2026-01-01T00:00:00+00:00", seconds=0.0))
"""


def test_processes_that_open_a_new_database_at_once_make_its_tables_once_and_compute_every_key_once(
    database: str, tmp_path: Path
) -> None:
    store, log = tmp_path / "store", tmp_path / "log"
    command = [sys.executable, "-c", COMPUTE_MANY, str(store), str(log)]
    processes = [subprocess.Popen(command, env=dict(os.environ)) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(key for key, _ in lines) == [f"{number:064x}" for number in range(200)]


def test_what_one_machine_recorded_another_finds(machines: tuple[Store, Store]) -> None:
    first, second = machines
    record = IndexContract.record(KEY, "2026-01-01")
    first.records.put(record)
    first.records.put(replace(record, key="b" * 64, created="2026-01-02"))
    assert second.index.keys_of("train", "n.ipynb") == ("b" * 64, KEY)
    assert second.index.latest_keys(["train", "none"], None) == {"train": "b" * 64}
    assert second.records.latest("train") is None, "what is listed and not there is not used"


def test_what_one_does_not_use_stays_listed_for_others(machines: tuple[Store, Store]) -> None:
    first, second = machines
    first.records.put(IndexContract.record(KEY, "2026-01-01"))
    assert second.records.latest("train") is None
    second.index.drop_record(KEY)
    assert first.index.keys_of("train", None) == second.index.keys_of("train", None) == (KEY,)
