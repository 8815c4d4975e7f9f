"""Leases: one process at a time computes a key. A lease dies with its owner.

A file lock has one holder, but the file can be removed while it is locked: by a clean-up, or by a disk that is mounted
again. Then two processes hold the lease. Therefore every grant has a number greater than all before it (a fencing
token), which is written beside the lock, and before a process records a result it checks that the number is its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from jupyter_pipelines.errors import StoreError
from jupyter_pipelines.storage.files.local_folder import age, make_folder
from jupyter_pipelines.storage.files.os_errors import unwritable_error, writing
from jupyter_pipelines.storage.files.process_identity import ProcessIdentity
from jupyter_pipelines.storage.step_record import is_key

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from jupyter_pipelines.storage.files.local_folder import LocalFolder

FOLDER = "leases"


class KeyLease:
    """The exclusive right to compute one key; a context manager. The lock is released with its process at the latest.

    Parameters
    ----------
    key : str
        The key.
    lock : BaseFileLock
        The acquired lock.
    number : int
        Number of this grant; greater than those of all earlier grants of the key.
    granted : callable
        Returns the number of the last grant of the key, read from its file.
    """

    def __init__(self, key: str, lock: BaseFileLock, number: int, granted: Callable[[], int]) -> None:
        self.key = key
        self.number = number
        self._lock = lock
        self._granted = granted

    @property
    def held(self) -> bool:
        """Whether the lease has not been released yet."""
        return bool(self._lock.is_locked)

    @property
    def valid(self) -> bool:
        """Whether no other process has been granted the lease since; False if that cannot be read."""
        return self.held and self._granted() == self.number

    def release(self) -> None:
        """Release the lease for the next process; calling it again does no harm."""
        with contextlib.suppress(OSError):
            self._lock.release()

    def __enter__(self) -> KeyLease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class KeyLeases:
    """The leases of a store.

    Parameters
    ----------
    folder : LocalFolder
        Where the store lives.
    """

    def __init__(self, folder: LocalFolder) -> None:
        self._folder = folder

    def lease(self, key: str, *, timeout: float = -1) -> KeyLease:
        """Wait for the lease of `key` and return it, held.

        Parameters
        ----------
        key : str
            The key to compute.
        timeout : float
            Seconds to wait; negative waits without limit.

        Raises
        ------
        TimeoutError
            Another process held it until the timeout.
        StoreError
            The store cannot be written (JP402, JP403).
        """
        lock = self._lock(key)
        try:
            # Short polls: a waiting run goes on soon after the lease is released; filelock cannot be notified.
            lock.acquire(timeout=timeout, poll_interval=0.05)
        except TimeoutError:
            raise
        except OSError as error:
            raise unwritable_error(error, self._folder.root, "a lease") from error
        # The clock keeps numbers growing even where the file with the last number was removed with its lock.
        number = max(self._granted(key) + 1, time.time_ns())
        self._write_holder(key, number)
        return KeyLease(key, lock, number, partial(self._granted, key))

    def try_acquire(self, key: str) -> KeyLease | None:
        """Return the lease of `key`, held, or None when another process has it.

        Raises
        ------
        StoreError
            The store cannot be written (JP402, JP403).
        """
        try:
            return self.lease(key, timeout=0)
        except TimeoutError:
            return None

    def holder(self, key: str) -> ProcessIdentity | None:
        """Return the process that holds the lease of `key`; None when it is free."""
        if not self.is_held(key):
            return None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return ProcessIdentity.from_dict(json.loads(self._holder_path(key).read_bytes()))
        return None

    def is_held(self, key: str) -> bool:
        """Tell whether any process, this one included, holds the lease of `key`."""
        return any(held_key == key for held_key in self.held((key,)))

    def held(self, keys: tuple[str, ...] | None = None) -> Iterator[str]:
        """Yield those of `keys`, of all keys by default, whose lease is held."""
        for key in self._keys() if keys is None else keys:
            if self._path(key).exists() and not self._is_free(key):
                yield key

    def discard(self, older_than: float) -> None:
        """Remove the files of leases that are free and were not taken for `older_than` seconds."""
        for key in self._keys():
            path = self._path(key)
            if age(path) > older_than:
                # Removed while locked, so that no process can acquire the lock on a file that is about to go.
                with self._try_lock(key) as free:
                    if free:
                        self._holder_path(key).unlink(missing_ok=True)
                        path.unlink(missing_ok=True)

    def _is_free(self, key: str) -> bool:
        with self._try_lock(key) as free:
            return free

    @contextmanager
    def _try_lock(self, key: str) -> Iterator[bool]:
        lock = self._lock(key)
        try:
            lock.acquire(timeout=0)
        # A lock file that cannot be opened counts as held: nothing is removed on a guess.
        except (TimeoutError, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def _keys(self) -> tuple[str, ...]:
        return tuple(name[:-5] for name in self._folder.ls(FOLDER) if name.endswith(".lock") and is_key(name[:-5]))

    def _path(self, key: str) -> Path:
        if not is_key(key):
            raise ValueError(f"not a key: {key!r}")
        return self._folder.locate(f"{FOLDER}/{key}.lock")

    def _lock(self, key: str) -> BaseFileLock:
        from filelock import FileLock

        path = self._path(key)
        with writing(self._folder.root, "a lease"):
            make_folder(path.parent)
        # An object of its own each time: threads of one process exclude each other, too.
        return FileLock(path, mode=0o600, thread_local=False)

    def _write_holder(self, key: str, number: int) -> None:
        """Write the holder of the lease and the number of the grant to the ``.owner`` file.

        The locked file itself is unsuitable: older versions of filelock truncate it when another process tries to lock
        it. Errors are ignored: the grant then counts as invalid, and its result is not recorded.
        """
        holder_path = self._holder_path(key)
        with contextlib.suppress(OSError, StoreError):
            temporary = self._folder.temporary()
            try:
                temporary.write_text(json.dumps({**ProcessIdentity.current().to_dict(), "number": number}))
                # Atomic, as other processes read it at any time; not flushed, as no lease survives a crash of the
                # machine.
                temporary.replace(holder_path)
                os.utime(self._path(key))
            finally:
                temporary.unlink(missing_ok=True)

    def _granted(self, key: str) -> int:
        """Return the number of the last grant of `key`; 0 if there is none or it cannot be read."""
        try:
            return int(json.loads(self._holder_path(key).read_bytes())["number"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _holder_path(self, key: str) -> Path:
        return self._path(key).with_suffix(".owner")
