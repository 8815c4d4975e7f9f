"""Idempotency keys: a repeated request starts one run, also after a lost answer or a crash of the server."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, PlanError, StoreError

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

FOLDER = "served/asked"
DAYS = 7
"""Days for which a key is kept."""


class IdempotencyStore:
    """Store of the run of each key, written before the run starts, so that a crash cannot lose it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, store: Store, key: str, asked: Mapping[str, Any], start: Callable[[str], str]) -> str:
        """Return the run of `key`; start it if there is none.

        Parameters
        ----------
        store : Store
            The store that holds the keys.
        key : str
            The ``Idempotency-Key``.
        asked : Mapping
            What is asked for.
        start : callable
            Starts a run with the id that it gets; returns that id.

        Raises
        ------
        PlanError
            The key was used for something else (JP802).
        """
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        # The key comes from the client and must not become a file name.
        name = f"{FOLDER}/{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()}.json"
        with self._lock:
            record = _read_record(store, name)
            if record.get("asked", digest) != digest:
                raise PlanError(_key_reused())
            run = record.get("run")
            # A key without a run: the server ended between writing the key and starting the run.
            if isinstance(run, str) and _has_run(store, run):
                return run
            run = store.runs.new_id()
            _remove_old(store)
            store.folder.write(name, json.dumps({"asked": digest, "run": run}).encode())
            try:
                return start(run)
            # The run has not started: the same request may be sent again.
            except BaseException:
                with suppress(OSError):
                    store.folder.rm(name)
                raise


def _read_record(store: Store, name: str) -> dict[str, Any]:
    try:
        record = json.loads(store.folder.read(name))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _has_run(store: Store, run: str) -> bool:
    try:
        store.runs.read(run)
    except StoreError:
        return False
    return True


def _remove_old(store: Store) -> None:
    oldest = time.time() - DAYS * 86_400
    for name in store.folder.ls(FOLDER):
        with suppress(OSError):
            if store.folder.locate(f"{FOLDER}/{name}").stat().st_mtime < oldest:
                store.folder.rm(f"{FOLDER}/{name}")


def _key_reused() -> Diagnostic:
    return Diagnostic(
        code="JP802",
        message="this `Idempotency-Key` was used for something else",
        suggestion="make a new key for each thing that is asked for",
    )
