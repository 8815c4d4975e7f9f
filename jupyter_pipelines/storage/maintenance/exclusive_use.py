"""Exclusive use of a store, for upgrades and copies: no runs, no other upgrades, copies or garbage collections."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage.files.os_errors import unreadable_error

if TYPE_CHECKING:
    from jupyter_pipelines.storage.store import Store

EXCLUSIVE_KEY = hashlib.sha256(b"jupyter-pipelines/exclusive-use").hexdigest()
"""The key to lease; while any key is leased, garbage collections remove no records and outputs."""


@contextmanager
def exclusive_use(store: Store, *, read_only: bool = False) -> Iterator[None]:
    """Hold exclusive use of a store for the duration of a ``with`` block.

    Parameters
    ----------
    store : Store
        The store.
    read_only : bool
        The block only reads the store; a store that cannot be written then needs no lease.

    Raises
    ------
    StoreError
        A run goes on in it, or another process has it (JP407); it cannot be written (JP402, JP403).
    """
    with contextlib.ExitStack() as stack:
        try:
            lease = store.leases.try_acquire(EXCLUSIVE_KEY)
        except StoreError:
            if not read_only:
                raise
        else:
            if lease is None:
                raise StoreError(_in_use(store, "another process copies or upgrades it", _holder(store)))
            stack.enter_context(lease)
        require_unused(store)
        yield


def require_unused(store: Store) -> None:
    """Raise StoreError if a run uses the store.

    Raises
    ------
    StoreError
        A run goes on in it, or a step is being computed (JP407); that cannot be determined (JP401).
    """
    live = [run for run in store.runs.ids() if store.runs.is_live(run)]
    if live:
        raise StoreError(_in_use(store, "a run goes on in it", f"it is the run {live[0]}", live[0]))
    try:
        is_computed = any(key != EXCLUSIVE_KEY for key in store.leases.held())
    except OSError as error:
        raise unreadable_error(error, store.root, "what is being computed") from error
    if is_computed:
        raise StoreError(_in_use(store, "a step is being computed for it", ""))


def _holder(store: Store) -> str:
    holder = store.leases.holder(EXCLUSIVE_KEY)
    return f"it is the process {holder.pid}" if holder else ""


def _in_use(store: Store, why: str, evidence: str, run: str = "last") -> Diagnostic:
    return Diagnostic(
        code="JP407",
        message=f"the store `{store.url}` is in use: {why}",
        suggestion=f"wait until it has ended, or cancel it: `jupyter pipelines cancel NOTEBOOK {run}`; then try again",
        notes=(evidence,) if evidence else (),
    )
