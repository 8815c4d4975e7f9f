"""Idempotency keys: a request sent twice starts one run, also if the answer was lost or the server killed meanwhile."""

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
"""How long a key is remembered."""


class IdempotencyStore:
    """Records in the store which key started which run, before the run starts, so that no crash can lose the record."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, store: Store, key: str, asked: Mapping[str, Any], start: Callable[[str], str]) -> str:
        """Return the run that `key` began, or let it begin.

        Parameters
        ----------
        store : Store
            Where it is remembered.
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
        name = f"{FOLDER}/{hashlib.sha256(key.encode('utf-8', 'replace')).hexdigest()}.json"
        with self._lock:
            record = _read_record(store, name)
            if record.get("asked", digest) != digest:
                raise PlanError(_key_reused())
            run = record.get("run")
            if isinstance(run, str) and _has_run(store, run):
                return run
            run = store.runs.new_id()
            _remove_old(store)
            store.folder.write(name, json.dumps({"asked": digest, "run": run}).encode())
            try:
                return start(run)
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
