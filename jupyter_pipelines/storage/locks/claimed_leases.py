"""Leases across machines: numbered objects in a bucket, each of which only one process can create.

The right to compute a key is an object with a number, and the process that creates the next number has it: the bucket
lets one creation succeed, however many try. The object says until when it is valid, and its holder renews it. A holder
that does not renew it for too long has lost it: the next number may be created, and a result is recorded only by the
process with the greatest number. Where a bucket has no exclusive creation, every process computes: slower, never wrong.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from jupyter_pipelines.storage.files.local_folder import LocalFolder
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.locks.leases import KeyLease, KeyLeases

logger = logging.getLogger(__name__)
CLAIM_SECONDS = 60.0
"""Seconds that a claim is valid after its holder last renewed it."""
# Several renewals fit into the life of a claim, so that single failed writes to the bucket do not lose it.
_RENEW_SECONDS = 15.0
_MAX_CLAIM_BYTES = 4096


class BucketLeaseBackend:
    """The claims (leases as numbered objects) of one bucket.

    Parameters
    ----------
    files : fsspec file system
        The file system of the bucket.
    root : str
        The prefix of the claims in the bucket.
    """

    def __init__(self, files: Any, root: str) -> None:
        self._files = files
        self._root = root
        self._seen: dict[str, tuple[int, bytes, float]] = {}

    def claim(self, key: str) -> int | None:
        """Return the number of a claim of `key`; None if another process has it, 0 where claims are impossible."""
        try:
            numbers = self._numbers(key)
        except Exception as error:  # noqa: BLE001 - whatever the library of a place raises
            logger.info("claims of %s cannot be listed: %s", key, error)
            return 0
        last = max(numbers, default=0)
        # The greatest number alone counts: a claim below it has been superseded, whatever it says.
        if last and self._is_valid(key, last):
            return None
        try:
            self._files.pipe_file(self._path(key, last + 1), _document(), mode="create")
        except FileExistsError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever the library of a place raises
            # Libraries raise errors of their own when another process was faster.
            if self.last(key) > last:
                return None
            logger.info("no claim of %s: %s", key, error)
            return 0
        # Superseded claims are removed, but not the last: with it gone, a slow holder could take the same number again.
        self._seen.pop(key, None)
        for number in numbers:
            if number < last:
                self._forget(key, number)
        return last + 1

    def renew(self, key: str, number: int) -> None:
        """Extend a claim by ``CLAIM_SECONDS``; errors are ignored."""
        with contextlib.suppress(Exception):
            self._files.pipe_file(self._path(key, number), _document())

    def leave(self, key: str, number: int) -> None:
        """Release a claim, by marking it as expired; errors are ignored, as it expires by itself."""
        with contextlib.suppress(Exception):
            self._files.pipe_file(self._path(key, number), json.dumps({"until": 0}).encode())

    def last(self, key: str) -> int:
        """Return the number of the last claim of `key`; 0 if there is none, or it cannot be known."""
        with contextlib.suppress(Exception):
            return max(self._numbers(key), default=0)
        return 0

    def _numbers(self, key: str) -> list[int]:
        try:
            # refresh: fsspec caches listings, and claims of other machines would not be seen.
            paths = self._files.ls(f"{self._root}/{key}", detail=False, refresh=True)
        except FileNotFoundError:
            return []
        names = [path.rpartition("/")[2] for path in paths]
        return [int(name) for name in names if name.isascii() and name.isdecimal()]

    def _is_valid(self, key: str, number: int) -> bool:
        try:
            content = bytes(self._files.cat_file(self._path(key, number), end=_MAX_CLAIM_BYTES))
        except FileNotFoundError:
            return False
        except Exception:  # noqa: BLE001 - what cannot be read counts as claimed
            content = b""
        return _until(content) > time.time() and not self._is_expired(key, number, content)

    def _is_expired(self, key: str, number: int, content: bytes) -> bool:
        """Tell whether a claim has not changed for ``CLAIM_SECONDS`` of this machine's clock."""
        # Clocks of machines differ: a claim whose holder has a fast clock would otherwise never expire.
        now = time.monotonic()
        last_seen = self._seen.get(key)
        if last_seen is None or last_seen[:2] != (number, content):
            self._seen[key] = (number, content, now)
            return False
        return now - last_seen[2] > CLAIM_SECONDS

    def _forget(self, key: str, number: int) -> None:
        with contextlib.suppress(Exception):
            self._files.rm_file(self._path(key, number))

    def _path(self, key: str, number: int) -> str:
        return f"{self._root}/{key}/{number}"


class ClaimedLease(KeyLease):
    """A lease of this machine together with a claim in the bucket.

    Parameters
    ----------
    inner : KeyLease
        The lease on this machine, held.
    claims : BucketLeaseBackend
        The claims of the bucket.
    number : int
        Number of the claim; 0 if the bucket does not support claims.
    """

    def __init__(self, inner: KeyLease, claims: BucketLeaseBackend, number: int) -> None:
        self.key = inner.key
        self.number = number
        self._inner = inner
        self._claims = claims
        self._released = threading.Event()
        # A renewal that is written after the release would block other machines until it expires.
        self._write_lock = threading.Lock()
        if number:
            threading.Thread(target=self._renew, name="jupyter-pipelines-claim", daemon=True).start()

    @property
    def held(self) -> bool:
        """Whether the lease has not been released yet."""
        return self._inner.held

    @property
    def valid(self) -> bool:
        """Whether no other process has been granted the lease since, here or on another machine."""
        return self._inner.valid and (not self.number or self._claims.last(self.key) == self.number)

    def release(self) -> None:
        """Release the lease for the next process; calling it again does no harm."""
        try:
            with self._write_lock:
                if self.number and not self._released.is_set():
                    self._released.set()
                    self._claims.leave(self.key, self.number)
        finally:
            self._released.set()
            self._inner.release()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _renew(self) -> None:
        while not self._released.wait(_RENEW_SECONDS):
            with self._write_lock:
                if not self._released.is_set():
                    self._claims.renew(self.key, self.number)


class ClaimedLeases(KeyLeases):
    """The leases of a store whose shared backend is reached from several machines."""

    def __init__(self, folder: LocalFolder, claims: BucketLeaseBackend) -> None:
        super().__init__(folder)
        self._claims = claims

    def lease(self, key: str, *, timeout: float = -1) -> KeyLease:
        """Wait for the lease of `key`, here and there; see :meth:`KeyLeases.lease`."""
        deadline = None if timeout < 0 else time.monotonic() + timeout
        while True:
            remaining = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            # The local lease first: processes of one machine then do not compete for the bucket.
            inner = super().lease(key, timeout=remaining)
            try:
                number = self._claims.claim(key)
            except BaseException:
                inner.release()
                raise
            if number is not None:
                return ClaimedLease(inner, self._claims, number)
            inner.release()
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"another process computes {key}")
            time.sleep(0.2)


def _document() -> bytes:
    owner: Mapping[str, Any] = ProcessIdentity.current().to_dict()
    return json.dumps({**owner, "until": time.time() + CLAIM_SECONDS}).encode()


def _until(content: bytes) -> float:
    """Return the expiry time of a claim in seconds since the epoch; infinity if it is unreadable."""
    try:
        return float(json.loads(content)["until"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return math.inf
