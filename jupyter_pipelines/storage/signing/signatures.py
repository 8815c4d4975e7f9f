"""Signatures of records, so that a record that an attacker planted in a shared store is not used.

A signature covers the whole content of a record, preceded by the version of the signature format and the id of the key:
it is valid for no other record, kind of document or key. It is stored beside the record in its file. Ed25519 comes from
the package `cryptography`, which is imported only to sign or verify. Without it nothing can be verified.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.storage.signing.keyring import PublicKey, SigningKey, UserKeyring, missing_key_error
from jupyter_pipelines.storage.step_record import RecordSignature, StepRecord

logger = logging.getLogger(__name__)
VERSION = 1
_DOMAIN = f"jupyter-pipelines/record-signature/{VERSION}\n"


class TrustPolicy:
    """The set of trusted keys: decides which records may be used.

    Parameters
    ----------
    keys : Mapping of str to PublicKey
        The trusted keys, by name.
    """

    def __init__(self, keys: Mapping[str, PublicKey]) -> None:
        _ed25519()
        # By id, not by name: the record names the id, and names are chosen by each user.
        self._keys = {key.id: key for key in keys.values()}

    @classmethod
    def of_user(cls) -> TrustPolicy:
        """Return the keys that the user trusts, their own included.

        Raises
        ------
        StoreError
            The package `cryptography` is missing (JP411); there is no key, or it cannot be used (JP412).
        """
        keyring = UserKeyring.of_user()
        if not keyring.has_own():
            raise missing_key_error(keyring)
        return cls(keyring.verification_keys())

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the trusted keys."""
        return frozenset(self._keys)

    def rejection_reason(self, record: StepRecord) -> str:
        """Return why a record must not be used; empty if it has a valid signature of a trusted key."""
        signature = record.signature
        if signature is None:
            return "it is not signed"
        if signature.version != VERSION:
            return f"its signature is of version {signature.version}, and {VERSION} is needed"
        key = self._keys.get(signature.key)
        if key is None:
            return f"it is signed with the key {signature.key}, which you do not trust"
        return "" if _verifies(key, signature, record) else "its signature does not fit: it was changed"

    def is_forged(self, record: StepRecord) -> bool:
        """Tell whether a record names a trusted key, and its signature is not valid."""
        signature = record.signature
        key = self._keys.get(signature.key) if signature is not None else None
        return key is not None and signature is not None and not _verifies(key, signature, record)


def signed(record: StepRecord, *, required: bool = False) -> StepRecord:
    """Return a record with the user's signature, if the user has a key; a signed record is returned unchanged.

    Parameters
    ----------
    record : StepRecord
        What to sign.
    required : bool
        Refuse to return a record without a signature.

    Raises
    ------
    StoreError
        The key cannot be used (JP412); it must be signed, and there is no key (JP412) or no `cryptography` (JP411).
    """
    keyring = UserKeyring.of_user()
    if record.signature is not None or not (required or keyring.has_own()):
        return record
    key = keyring.own()
    if key is None:
        raise missing_key_error(keyring)
    try:
        return replace(record, signature=_signature(key, record))
    except StoreError:
        if required:
            raise
        # Not a security problem: readers that require a signature do not use the record.
        logger.warning("a record of `%s` is not signed: the package `cryptography` is missing", record.step)
        return record


def make_key() -> SigningKey:
    """Return a new key.

    Raises
    ------
    StoreError
        The package `cryptography` is missing (JP411).
    """
    private = _ed25519().Ed25519PrivateKey.generate()
    return SigningKey(public=PublicKey(raw=private.public_key().public_bytes_raw()), secret=private.private_bytes_raw())


def check_usable() -> None:
    """Check the keys that sign results and make digests, so that no step is computed in vain.

    Raises
    ------
    StoreError
        There is a key, and it cannot be used (JP412).
    """
    keyring = UserKeyring.of_user()
    keyring.own()
    keyring.team()


def _signature(key: SigningKey, record: StepRecord) -> RecordSignature:
    private = _ed25519().Ed25519PrivateKey.from_private_bytes(key.secret)
    return RecordSignature(version=VERSION, key=key.public.id, value=private.sign(_signed_bytes(key.public.id, record)))


def _verifies(key: PublicKey, signature: RecordSignature, record: StepRecord) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        public = _ed25519().Ed25519PublicKey.from_public_bytes(key.raw)
        public.verify(signature.value, _signed_bytes(key.id, record))
    except InvalidSignature:
        return False
    return True


def _signed_bytes(key: str, record: StepRecord) -> bytes:
    """Return the signed bytes: a canonical form of the parsed record, which is what is used, not of its file."""
    text = json.dumps(record.to_dict(), sort_keys=True, separators=(",", ":"))
    return f"{_DOMAIN}{key}\n{text}".encode()


def _ed25519() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise StoreError(_no_package(error)) from error
    return ed25519


def _no_package(error: ImportError) -> Diagnostic:
    return Diagnostic(
        code="JP411",
        message="signatures cannot be made or checked: the package `cryptography` is not installed",
        suggestion="install it: `pip install 'jupyter-pipelines[signing]'`, or use a store of your own: --store FOLDER",
        notes=() if isinstance(error, ModuleNotFoundError) else (str(error),),
    )
