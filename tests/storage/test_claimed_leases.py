"""R43: leases in a bucket, behind a real S3 server: no process waits for ever, and two never compute the same."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.storage.files.local_folder import LocalFolder
from jupyter_pipelines.storage.locks import claimed_leases
from jupyter_pipelines.storage.locks.claimed_leases import BucketLeaseBackend, ClaimedLease, ClaimedLeases
from tests.storage.s3_server import S3Server, s3
from tests.storage.users import KEY
from tests.waiting import PATIENCE


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3() as made:
        yield made


@pytest.fixture
def files(server: S3Server) -> Any:
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=server.address, key="tests", secret="tests", use_listings_cache=False)


@pytest.fixture
def root(server: S3Server, tmp_path: Path) -> str:
    return f"{server.create_bucket(f'b{abs(hash(str(tmp_path)))}').removeprefix('s3://')}/leases"


class AlteredFileSystem:
    """A file system with some of its methods replaced."""

    def __init__(self, files: Any, **methods: Callable[..., Any]) -> None:
        self._files = files
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


class LeaseClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> LeaseClock:
    made = LeaseClock()
    monkeypatch.setattr(claimed_leases, "time", made)
    return made


def until(seconds: float) -> bytes:
    return json.dumps({"until": time.time() + seconds}).encode()


@pytest.mark.parametrize("left", [b'{"until": 1e12}', b'{"until": Infinity}', b"", b"planted", b"[" * 100_000], ids=len)
def test_a_claim_that_is_not_renewed_ends_whatever_it_says(
    files: Any, root: str, clock: LeaseClock, left: bytes
) -> None:
    """Its machine has another time, or it was written to keep others waiting."""
    files.pipe_file(f"{root}/{KEY}/1", left)
    waiting = BucketLeaseBackend(files, root)
    assert waiting.claim(KEY) is None
    clock.now += claimed_leases.CLAIM_SECONDS
    assert waiting.claim(KEY) is None
    clock.now += 1
    assert waiting.claim(KEY) == 2


def test_a_claim_that_is_renewed_counts_on(files: Any, root: str, clock: LeaseClock) -> None:
    waiting = BucketLeaseBackend(files, root)
    for ahead in range(5):
        files.pipe_file(f"{root}/{KEY}/1", until(1e6 + ahead))
        assert waiting.claim(KEY) is None
        clock.now += claimed_leases.CLAIM_SECONDS


@pytest.mark.parametrize("name", ["²", "x", "-1", "1.5"])
def test_what_is_no_claim_does_not_keep_others_from_claiming(files: Any, root: str, name: str) -> None:
    files.pipe_file(f"{root}/{KEY}/{name}", b"planted")
    first, second = BucketLeaseBackend(files, root), BucketLeaseBackend(files, root)
    assert first.claim(KEY) == first.last(KEY) == 1
    assert second.claim(KEY) is None
    first.leave(KEY, 1)
    assert second.claim(KEY) == 2


def test_a_slower_process_waits_however_the_server_says_it(files: Any, root: str) -> None:
    """S3 has another answer for requests of the same moment, and so have other servers."""

    def conflicting(path: str, content: bytes, **options: Any) -> None:
        files.pipe_file(path, content, **options)
        raise OSError(16, "a conflicting conditional operation is in progress")

    assert BucketLeaseBackend(AlteredFileSystem(files, pipe_file=conflicting), root).claim(KEY) is None


def refuse(*_: Any, **__: Any) -> None:
    raise PermissionError("Access Denied")


def test_where_claims_cannot_be_made_or_seen_every_process_computes(files: Any, root: str) -> None:
    assert BucketLeaseBackend(AlteredFileSystem(files, pipe_file=refuse), root).claim(KEY) == 0
    files.pipe_file(f"{root}/{KEY}/7", until(30))
    hidden = BucketLeaseBackend(AlteredFileSystem(files, ls=refuse), root)
    assert hidden.claim(KEY) == 0
    assert files.ls(f"{root}/{KEY}", detail=False) == [f"{root}/{KEY}/7"], "no lower number was made"
    assert hidden.last(KEY) == 0, "a number that cannot be determined counts as 0"


def test_what_is_said_last_is_that_it_is_over(
    files: Any, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that is under way when a lease is released does not come after it."""
    monkeypatch.setattr(claimed_leases, "_RENEW_SECONDS", 0.0)
    calls: list[str] = []
    ready = threading.Event()

    class SlowLeaseBackend(BucketLeaseBackend):
        def renew(self, key: str, number: int) -> None:
            if calls or not ready.wait(PATIENCE):
                return
            over.start()
            over.join(0.5)  # it waits for this renewal, or, if it did not, comes first
            calls.append("renew")

        def leave(self, key: str, number: int) -> None:
            calls.append("leave")

    lease = ClaimedLeases(LocalFolder(tmp_path), SlowLeaseBackend(files, root)).try_acquire(KEY)
    assert isinstance(lease, ClaimedLease)
    over = threading.Thread(target=lease.release)
    ready.set()
    lease._released.wait(PATIENCE)
    over.join()
    assert calls == ["renew", "leave"]


def test_an_interrupt_while_claiming_leaves_no_lock(files: Any, root: str, tmp_path: Path) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    leases = ClaimedLeases(LocalFolder(tmp_path), BucketLeaseBackend(AlteredFileSystem(files, ls=interrupt), root))
    with pytest.raises(KeyboardInterrupt) as held:
        leases.try_acquire(KEY)
    assert held.value is not None
    assert not leases.is_held(KEY)
