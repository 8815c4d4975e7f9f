"""Sign records that are stored already, so that they can be shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage.files.os_errors import OTHER_STORE_HINT
from jupyter_pipelines.storage.signing.signatures import signed
from jupyter_pipelines.storage.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningReport:
    """How many records were signed.

    Parameters
    ----------
    signed : int
        Records that were signed.
    already : int
        Records that had a signature already.
    left_out : int
        Records whose outputs are missing or damaged: these must not be signed.
    """

    signed: int = 0
    already: int = 0
    left_out: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        counts = {name: getattr(self, name) for name in self.__slots__}
        return {"schema": "jupyter-pipelines/countersigned/1", **counts}


def sign_records(store: Store) -> SigningReport:
    """Sign every record of a store whose outputs are intact.

    Raises
    ------
    StoreError
        The store is not the user's own (JP413), there is no usable key (JP412), `cryptography` is missing
        (JP411), or the store cannot be read (JP401) or written (JP402, JP403).
    """
    # A signature says that the user computed the record: in a shared store it may be the work of an attacker.
    if not store.own:
        raise StoreError(_not_own(store))
    counts = {"signed": 0, "already": 0, "left_out": 0}
    for key in store.records.all_keys_strict():
        counts[_sign_record(store, key)] += 1
    return SigningReport(**counts)


def _sign_record(store: Store, key: str) -> str:
    record = store.records.read(key)
    if record is None or any(condition != "ok" for condition in store.intact_many(record.outputs.values()).values()):
        return "left_out"
    if record.signature is not None:
        return "already"
    store.records.put(signed(record, required=True))
    return "signed"


def _not_own(store: Store) -> Diagnostic:
    return Diagnostic(
        code="JP413",
        message=f"what is in the store `{store.url}` cannot be signed: others may have written it",
        suggestion=f"run the pipeline: what it computes is signed; {OTHER_STORE_HINT}",
    )
