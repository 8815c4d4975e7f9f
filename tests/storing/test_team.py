"""Records for a team: a real PostgreSQL says who computes what, and what there is."""

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
from jupyter_pipelines.storing import claims
from jupyter_pipelines.storing.store import Store
from jupyter_pipelines.storing.team.joining import name_of
from jupyter_pipelines.testing import IndexContract, StoreContract
from tests.storing.databases import Postgres, postgres

KEY = "a" * 64
VARIABLE = "JUPYTER_PIPELINES_INDEX"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as one:
        yield one


@pytest.fixture
def database(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    url = server.make(f"d{secrets.token_hex(8)}")
    monkeypatch.setenv(VARIABLE, url)
    return url


class TestStore(StoreContract):
    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None: ...

    def open(self, tmp_path: Path) -> Store:
        return Store.open(tmp_path / "store")

    def damage(self, store: Store, digest: str) -> None:
        path = store.blobs.path(digest)
        path.chmod(0o600)
        path.write_bytes(b"other")


class TestIndex(IndexContract):
    @pytest.fixture(autouse=True)
    def _database(self, database: str) -> None: ...

    def open(self, tmp_path: Path) -> Store:
        return Store.open(tmp_path / "store")


class TestIndexOfAFolder(IndexContract):
    def open(self, tmp_path: Path) -> Store:
        return Store.open(tmp_path / "store")


@pytest.fixture
def two(database: str, tmp_path: Path) -> tuple[Store, Store]:
    """One store as two machines see it: nothing of theirs is shared but the name and the database."""
    machines = Store.open(tmp_path / "one"), Store.open(tmp_path / "other")
    from jupyter_pipelines.storing.team.claims import TeamClaims
    from jupyter_pipelines.storing.team.database import Database
    from jupyter_pipelines.storing.team.listing import TeamListing

    for store in machines:
        there = Database.open(database)
        store.index.listing = TeamListing(there, "s3://team/store", forgets=False)
        store.leases = claims.ClaimedLeases(store.door, TeamClaims(there, "s3://team/store"))
    return machines


def test_machines_exclude_each_other(two: tuple[Store, Store]) -> None:
    one, other = two
    with one.leases.lease(KEY) as lease:
        assert lease.valid
        assert other.leases.try_acquire(KEY) is None
        assert other.leases.try_acquire("b" * 64) is not None
    with other.leases.lease(KEY, timeout=0) as second:
        assert second.number > lease.number


def test_of_many_at_once_one_gets_a_key(two: tuple[Store, Store]) -> None:
    gate, got = threading.Barrier(8), []

    def take(store: Store) -> None:
        gate.wait()
        got.append(store.leases._claims.claim(KEY))

    threads = [threading.Thread(target=take, args=(two[number % 2],)) for number in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [one for one in got if one is not None] == [max(one or 0 for one in got)]


def test_the_claim_of_a_silent_machine_ends_and_it_may_record_nothing(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_pipelines.storing.team.claims.COUNTS", -1.0)
    first = two[0].leases.lease(KEY)
    assert first.valid
    with two[1].leases.lease(KEY, timeout=0) as second:
        assert second.valid
        assert not first.valid
        # Neither saying that it counts nor leaving it takes it from whoever has it now.
        two[0].leases._claims.renew(KEY, first.number)
        first.release()
        assert second.valid


def test_a_database_that_is_away_costs_nothing_but_time_and_a_result_is_not_recorded_unseen(
    two: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = two[0].leases.lease(KEY)
    for store in two:
        database = store.leases._claims._database
        database.close()
        monkeypatch.setattr(database, "_url", database._url.set(port=1))
    assert not held.valid, "what cannot be known counts as no"
    assert two[1].leases.try_acquire("b" * 64).valid
    assert two[1].records.latest("train") is None


def test_stores_of_other_names_have_nothing_in_common(database: str, tmp_path: Path) -> None:
    one, other = Store.open(tmp_path / "one"), Store.open(tmp_path / "other")
    with one.leases.lease(KEY):
        assert other.leases.try_acquire(KEY) is not None


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
    assert name_of(url) == name


def test_the_tables_of_a_newer_version_are_left_alone(database: str, tmp_path: Path) -> None:
    import psycopg

    Store.open(tmp_path / "store")
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE jupyter_pipelines_version SET version_num = '2'")
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path / "store")
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
        Store.open(tmp_path / "store")
    assert caught.value.code == "JP415"
    assert "secret-word" not in str(caught.value)


def test_a_wrong_password_is_said(server: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, server.url("postgres").replace("secret-word", "guessed"))
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        Store.open(tmp_path / "store")
    assert "guessed" not in str(caught.value)


MANY = """
import os, sys
from pathlib import Path
from jupyter_pipelines.storing.records import StepRecord
from jupyter_pipelines.storing.store import Store
store, log = Store.open(sys.argv[1]), Path(sys.argv[2])
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
    command = [sys.executable, "-c", MANY, str(store), str(log)]
    processes = [subprocess.Popen(command, env=dict(os.environ)) for _ in range(2)]
    assert [one.wait() for one in processes] == [0, 0]
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(key for key, _ in lines) == [f"{number:064x}" for number in range(200)]


def test_what_one_machine_recorded_another_finds(two: tuple[Store, Store]) -> None:
    one, other = two
    record = IndexContract.record(KEY, "2026-01-01")
    one.records.put(record)
    one.records.put(replace(record, key="b" * 64, created="2026-01-02"))
    assert other.index.keys_of("train", "n.ipynb") == ("b" * 64, KEY)
    assert other.index.latest_keys(["train", "none"], None) == {"train": "b" * 64}
    assert other.records.latest("train") is None, "what is listed and not there is not used"


def test_what_one_does_not_use_stays_listed_for_others(two: tuple[Store, Store]) -> None:
    one, other = two
    one.records.put(IndexContract.record(KEY, "2026-01-01"))
    assert other.records.latest("train") is None
    other.index.drop_record(KEY)
    assert one.index.keys_of("train", None) == other.index.keys_of("train", None) == (KEY,)
