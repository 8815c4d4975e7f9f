"""R43: stores in a bucket of a real S3 server: immutable objects, records last, one machine per key at a time."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec.core
import pytest

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.blobs.blobs import path_of as blob_path
from jupyter_pipelines.storage.loading import load_value
from jupyter_pipelines.storage.locks import claimed_leases
from jupyter_pipelines.storage.maintenance.fsck import examine
from jupyter_pipelines.storage.opening import open_store
from jupyter_pipelines.storage.step_record import path_of
from jupyter_pipelines.storage.store import Store
from jupyter_pipelines.testing import StoreContract
from tests.e2e.notebook_project import NotebookProject
from tests.storage.s3_server import S3Server, s3
from tests.storage.users import KEY, OTHER_KEY, StoreUser, new_user, record
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3() as running_server:
        yield running_server


class SharedBucket:
    """A bucket and two users who share it."""

    def __init__(self, url: str, folder: Path, server: S3Server, patch: pytest.MonkeyPatch) -> None:
        self.url = url
        self.server = server
        self.ada, self.bob = new_user("ada", folder), new_user("bob", folder)
        self.ada.trusts(self.bob)
        self.bob.trusts(self.ada)
        self._patch = patch

    def store_of(self, user: StoreUser) -> Store:
        user.activate(self._patch)
        return open_store(f"{self.url}/results")

    def files(self) -> object:
        import s3fs

        reached = {"endpoint_url": self.server.address, "key": "tests", "secret": "tests"}
        return s3fs.S3FileSystem(**reached, use_listings_cache=False)


@pytest.fixture
def bucket(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharedBucket:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    name = f"b{abs(hash(str(tmp_path)))}"
    return SharedBucket(server.create_bucket(name), tmp_path, server, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> NotebookProject:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "pyproject.toml").touch()
    return NotebookProject(tmp_path / "project")


class TestBucket(StoreContract):
    @pytest.fixture(autouse=True)
    def _reached(self, bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch) -> None:
        bucket.ada.activate(monkeypatch)
        self.bucket = bucket

    def open(self, tmp_path: Path) -> Store:
        return open_store(f"{self.bucket.url}/contract")

    def damage(self, store: Store, digest: str) -> None:
        path = store.blobs.path(digest)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        self.bucket.files().pipe_file(f"{self.bucket.url}/contract/{blob_path(digest)}", b"planted")


def test_what_a_user_has_computed_the_other_user_has(bucket: SharedBucket) -> None:
    store = bucket.store_of(bucket.ada)
    made = record(store)
    store.records.put(made)
    other = bucket.store_of(bucket.bob)
    assert other.root != store.root
    assert other.records.get(KEY) == made
    assert load_value(other, made.outputs["x"]) == b"value"


def test_a_process_connects_once_and_again_after_an_error(
    bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[str] = []
    really = fsspec.core.url_to_fs
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda url, **more: connected.append(url) or really(url, **more))
    for _ in range(3):
        bucket.store_of(bucket.ada).close()
    assert len(connected) == 1
    monkeypatch.setenv("AWS_PROFILE_NAME_OF_NOBODY", "another")
    bucket.store_of(bucket.ada).close()
    assert len(connected) == 2
    with pytest.raises(StoreError):
        open_store("s3://nobody-has-made-it/x")
    bucket.store_of(bucket.ada).close()
    assert connected[2:] == ["s3://nobody-has-made-it/x", f"{bucket.url}/results"]


def test_a_record_comes_after_all_that_it_names(bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bucket.store_of(bucket.ada)
    made = record(store)
    monkeypatch.setattr(type(store.backend), "put_record", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.records.put(made)
    monkeypatch.undo()
    for name, value in bucket.server.environment.items():
        monkeypatch.setenv(name, value)
    other = bucket.store_of(bucket.bob)
    assert other.records.get(KEY) is None
    assert other.blobs.verify(made.outputs["x"].digest) == "ok"


@pytest.mark.parametrize("content", [b"valuX", b"val", b""])
def test_a_damaged_object_is_a_miss_and_heals(bucket: SharedBucket, content: bytes) -> None:
    store = bucket.store_of(bucket.ada)
    made = record(store)
    store.records.put(made)
    place = f"{bucket.url}/results/{blob_path(made.outputs['x'].digest)}"
    bucket.files().pipe_file(place, content)
    other = bucket.store_of(bucket.bob)
    assert other.intact(made.outputs["x"]) == "missing"
    other.records.put(record(other))
    assert bucket.files().cat_file(place) == b"value"


def test_a_record_of_a_stranger_is_not_used(bucket: SharedBucket, tmp_path: Path) -> None:
    eve = new_user("eve", tmp_path)
    store = bucket.store_of(eve)
    store.records.put(record(store))
    other = bucket.store_of(bucket.bob)
    assert other.records.get(KEY) is None
    assert "do not trust" in other.records.refusal(KEY)
    bucket.files().pipe_file(f"{bucket.url}/results/{path_of(KEY)}", b'{"record": 1}')
    assert other.records.get(KEY) is None


def test_one_machine_at_a_time_computes_a_key(bucket: SharedBucket) -> None:
    first_store, second_store = bucket.store_of(bucket.ada), bucket.store_of(bucket.bob)
    lease = first_store.leases.try_acquire(KEY)
    assert lease is not None
    assert lease.valid
    assert second_store.leases.try_acquire(KEY) is None
    lease.release()
    again = second_store.leases.try_acquire(KEY)
    assert again is not None
    assert again.number > lease.number
    again.release()


def test_a_machine_that_is_silent_for_too_long_has_lost_its_lease(
    bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claimed_leases, "CLAIM_SECONDS", -1.0)
    first_store, second_store = bucket.store_of(bucket.ada), bucket.store_of(bucket.bob)
    first = first_store.leases.try_acquire(KEY)
    second = second_store.leases.try_acquire(KEY)
    assert first is not None
    assert second is not None
    assert (first.valid, second.valid) == (False, True)
    first.release()
    second.release()


@pytest.mark.parametrize(
    ("url", "code", "words"),
    [
        ("s3://nobody-has-made-it/x", "JP402", "cannot be written"),
        ("nowhere://x/y", "JP602", "nowhere"),
        ("gs://x/y", "JP414", "gcsfs"),
    ],
)
def test_what_cannot_be_opened_is_told_before_anything_runs(
    bucket: SharedBucket, url: str, code: str, words: str
) -> None:
    bucket.store_of(bucket.ada)
    with pytest.raises((StoreError, Exception)) as caught:
        open_store(url)
    assert caught.value.faults[0].code == code
    assert words in str(caught.value)


def test_an_unreachable_server_is_reported(bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.ada.activate(monkeypatch)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError) as caught:
        open_store(f"{bucket.url}/elsewhere")
    assert caught.value.faults[0].code == "JP401"


def test_a_damaged_object_heals_in_the_process_that_has_put_it(bucket: SharedBucket) -> None:
    store = bucket.store_of(bucket.ada)
    made = record(store)
    store.records.put(made)
    place = f"{bucket.url}/results/{blob_path(made.outputs['x'].digest)}"
    for content in (b"valuX", None):
        bucket.files().rm_file(place) if content is None else bucket.files().pipe_file(place, content)
        store.records.put(record(store))
        assert bucket.files().cat_file(place) == b"value"


def test_what_could_not_be_put_is_not_reused_by_its_maker_alone(
    bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step failed because the bucket was away: when it runs again, all users get its new output."""
    store = bucket.store_of(bucket.ada)
    made = record(store)
    with monkeypatch.context() as away:
        away.setattr(store.backend._files, "pipe_file", lambda *_, **__: (_ for _ in ()).throw(OSError("away")))
        with pytest.raises(StoreError) as caught:
            store.records.put(made)
    assert caught.value.faults[0].code == "JP402"
    assert store.records.get(KEY) is None
    store.records.put(made)
    assert bucket.store_of(bucket.bob).records.get(KEY) == made


def test_a_slash_at_the_end_makes_no_other_store(bucket: SharedBucket) -> None:
    bucket.ada.activate(bucket._patch)
    store, same_store = open_store(f"{bucket.url}/results"), open_store(f"{bucket.url}/results/")
    assert store.root == same_store.root


@pytest.mark.parametrize("content", [b"[" * 100_000, b"", b'{"schema": 7}', b"\xff"], ids=len)
def test_a_mark_that_is_none_is_said(bucket: SharedBucket, content: bytes) -> None:
    bucket.ada.activate(bucket._patch)
    bucket.files().pipe_file(f"{bucket.url}/results/format.json", content)
    with pytest.raises(StoreError) as caught:
        open_store(f"{bucket.url}/results")
    assert caught.value.faults[0].code == "JP401"


def test_who_may_only_read_a_bucket_reads_it_and_keeps_what_they_compute(bucket: SharedBucket) -> None:
    store = bucket.store_of(bucket.ada)
    made = record(store)
    store.records.put(made)
    with bucket.server.read_only_user(bucket.url) as reader:
        for name, value in reader.items():
            bucket._patch.setenv(name, value)
        other = bucket.store_of(bucket.bob)
        assert other.records.get(KEY) == made
        assert load_value(other, made.outputs["x"]) == b"value"
        with other.leases.lease(OTHER_KEY) as lease:
            assert lease.valid
            other.records.put(mine := record(other, b"mine", key=OTHER_KEY))
        assert other.records.get(OTHER_KEY) == mine
        assert load_value(bucket.store_of(bucket.bob), mine.outputs["x"]) == b"mine"
    assert not bucket.files().exists(f"{bucket.url}/results/{path_of(OTHER_KEY)}")


def test_fsck_looks_at_the_front_and_misses_nothing_that_is_behind(bucket: SharedBucket) -> None:
    store = bucket.store_of(bucket.ada)
    made = record(store)
    store.records.put(made)
    blob = store.blobs.path(made.outputs["x"].digest)
    blob.chmod(0o600)
    blob.write_bytes(b"valuX")
    report = examine(store.url)
    assert [(finding.kind, finding.path) for finding in report.findings] == [
        ("damaged", blob_path(made.outputs["x"].digest)),
        ("damaged", path_of(KEY)),
    ]
    assert blob.read_bytes() == b"valuX", "fsck without repair changes nothing"
    assert examine(store.url, repair=True).code == 0
    assert load_value(bucket.store_of(bucket.ada), made.outputs["x"]) == b"value"
    other = bucket.store_of(bucket.bob)
    assert other.records.get(KEY) == made
    report = examine(other.url)
    assert (report.findings, report.records, report.blobs) == ((), 1, 0)


def test_credentials_that_have_run_out_are_not_taken_for_a_missing_right(
    bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError
    from s3fs.errors import translate_boto_error

    store = bucket.store_of(bucket.ada)
    refusal = ClientError({"Error": {"Code": "ExpiredToken", "Message": "expired"}}, "PutObject")

    def expired(*_: object, **__: object) -> None:
        raise translate_boto_error(refusal)

    for name in ("pipe_file", "put_file"):
        monkeypatch.setattr(store.backend._files, name, expired)
    with pytest.raises(StoreError, match="expired") as caught:
        store.blobs.put_bytes(b"value")
    assert caught.value.faults[0].code == "JP402"


def test_a_server_that_says_nothing_is_not_asked_again_and_again(
    bucket: SharedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two libraries retry, each on its own; together they would take minutes for each request."""
    from s3fs import S3FileSystem

    monkeypatch.setattr(S3FileSystem, "read_timeout", 0.2)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    bucket.ada.activate(monkeypatch)
    asked: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listening = threading.Thread(target=_listen, args=(silent, asked), daemon=True)
        listening.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(StoreError) as caught:
            open_store(f"{bucket.url}/silent")
        silent.shutdown(socket.SHUT_RDWR)
        listening.join()
    for connection in asked:
        connection.close()
    assert caught.value.faults[0].code == "JP401"
    assert 1 <= len(asked) <= 2


def _listen(silent: socket.socket, asked: list[socket.socket]) -> None:
    with contextlib.suppress(OSError):
        while True:
            asked.append(silent.accept()[0])


@pytest.mark.kernel
def test_a_pipeline_is_computed_by_a_user_and_reused_by_the_other(bucket: SharedBucket, book: NotebookProject) -> None:
    book.write(
        "%%step load -o rows plot:file\nopen('ran', 'a').write('x')\nrows = [1, 2]\nplot.write_text('p')",
        "%%step use -i rows plot -o n\nn = (sum(rows), plot.read_text())",
    )
    states = []
    for user in (bucket.ada, bucket.bob):
        book.environment = {**user.environment, **bucket.server.environment}
        answer = book.run("--store", f"{bucket.url}/pipeline")
        assert answer.code == 0, answer.err
        states.append(set(answer.steps("state").values()))
    assert states == [{"succeeded"}, {"reused"}]
    assert (book.folder / "ran").read_text() == "x"


@pytest.mark.kernel
def test_two_machines_at_once_compute_each_step_once(
    bucket: SharedBucket, book: NotebookProject, tmp_path: Path
) -> None:
    steps = [f"%%step s{n} -o x{n}\nopen({str(tmp_path / 'ran')!r}, 'a').write('{n} ')\nx{n} = {n}" for n in range(6)]
    book.write(*steps)
    running = []
    for user in (bucket.ada, bucket.bob):
        book.environment = {**user.environment, **bucket.server.environment}
        running.append(book.start("run", "--json", "--store", f"{bucket.url}/pipeline"))
    for process in running:
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert json.loads(out)["state"] == "succeeded"
    assert sorted((tmp_path / "ran").read_text().split()) == [str(n) for n in range(6)]


def test_nothing_of_it_is_imported_without_a_bucket() -> None:
    heavy = "{'fsspec', 's3fs', 'cryptography'}"
    code = f"import sys, jupyter_pipelines.storage.store\nassert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
