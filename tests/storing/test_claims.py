"""R43: claims in a bucket, behind a real S3 server: nobody waits for ever, and two do not compute the same."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jupyter_pipelines.storing import claims
from jupyter_pipelines.storing.claims import ClaimedLease, ClaimedLeases, Claims
from jupyter_pipelines.storing.door import Folder
from tests.storing.people import KEY
from tests.storing.places import Server, s3


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with s3() as made:
        yield made


@pytest.fixture
def files(server: Server) -> Any:
    import s3fs

    return s3fs.S3FileSystem(endpoint_url=server.address, key="tests", secret="tests", use_listings_cache=False)


@pytest.fixture
def root(server: Server, tmp_path: Path) -> str:
    return f"{server.make(f'b{abs(hash(str(tmp_path)))}').removeprefix('s3://')}/leases"


class Odd:
    """A place that does some things in another way."""

    def __init__(self, files: Any, **ways: Callable[..., Any]) -> None:
        self._files = files
        self.__dict__.update(ways)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(claims, "time", made)
    return made


def until(seconds: float) -> bytes:
    return json.dumps({"until": time.time() + seconds}).encode()


@pytest.mark.parametrize("left", [b'{"until": 1e12}', b'{"until": Infinity}', b"", b"planted", b"[" * 100_000], ids=len)
def test_a_claim_that_nobody_renews_ends_whatever_it_says(files: Any, root: str, clock: Clock, left: bytes) -> None:
    """Its machine has another time, or it was left by somebody who wants to be waited for."""
    files.pipe_file(f"{root}/{KEY}/1", left)
    waiting = Claims(files, root)
    assert waiting.claim(KEY) is None
    clock.now += claims.COUNTS
    assert waiting.claim(KEY) is None
    clock.now += 1
    assert waiting.claim(KEY) == 2


def test_a_claim_that_is_renewed_counts_on(files: Any, root: str, clock: Clock) -> None:
    waiting = Claims(files, root)
    for ahead in range(5):
        files.pipe_file(f"{root}/{KEY}/1", until(1e6 + ahead))
        assert waiting.claim(KEY) is None
        clock.now += claims.COUNTS


@pytest.mark.parametrize("name", ["²", "x", "-1", "1.5"])
def test_what_is_no_claim_does_not_keep_others_from_claiming(files: Any, root: str, name: str) -> None:
    files.pipe_file(f"{root}/{KEY}/{name}", b"planted")
    one, other = Claims(files, root), Claims(files, root)
    assert one.claim(KEY) == one.last(KEY) == 1
    assert other.claim(KEY) is None
    one.leave(KEY, 1)
    assert other.claim(KEY) == 2


def test_who_was_slower_waits_however_the_place_says_it(files: Any, root: str) -> None:
    """S3 has another answer for those who are at it at the same moment, and so have other servers."""

    def busy(path: str, content: bytes, **ways: Any) -> None:
        files.pipe_file(path, content, **ways)
        raise OSError(16, "a conflicting conditional operation is in progress")

    assert Claims(Odd(files, pipe_file=busy), root).claim(KEY) is None


def refuse(*_: Any, **__: Any) -> None:
    raise PermissionError("Access Denied")


def test_where_claims_cannot_be_made_or_seen_everybody_computes(files: Any, root: str) -> None:
    assert Claims(Odd(files, pipe_file=refuse), root).claim(KEY) == 0
    files.pipe_file(f"{root}/{KEY}/7", until(30))
    hidden = Claims(Odd(files, ls=refuse), root)
    assert hidden.claim(KEY) == 0
    assert files.ls(f"{root}/{KEY}", detail=False) == [f"{root}/{KEY}/7"], "no lower number was made"
    assert hidden.last(KEY) == 0, "what cannot be known counts as no"


def test_what_is_said_last_is_that_it_is_over(
    files: Any, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that is under way when a lease is released does not come after it."""
    monkeypatch.setattr(claims, "_AGAIN", 0.0)
    said: list[str] = []
    ready = threading.Event()

    class Slow(Claims):
        def renew(self, key: str, number: int) -> None:
            if said or not ready.wait(60):
                return
            over.start()
            over.join(0.5)  # it waits for this renewal, or, if it did not, comes first
            said.append("renew")

        def leave(self, key: str, number: int) -> None:
            said.append("leave")

    lease = ClaimedLeases(Folder(tmp_path), Slow(files, root)).try_acquire(KEY)
    assert isinstance(lease, ClaimedLease)
    over = threading.Thread(target=lease.release)
    ready.set()
    lease._over.wait(60)
    over.join()
    assert said == ["renew", "leave"]


def test_who_is_interrupted_while_claiming_leaves_no_lock(files: Any, root: str, tmp_path: Path) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    leases = ClaimedLeases(Folder(tmp_path), Claims(Odd(files, ls=interrupt), root))
    with pytest.raises(KeyboardInterrupt) as held:
        leases.try_acquire(KEY)
    assert held.value is not None
    assert not leases.is_held(KEY)
