"""Secrets in keys: another secret makes another key, but the key does not reveal the secret."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyter_pipelines.errors import Diagnostic, StoreError
from jupyter_pipelines.pipeline.graph import Pipeline
from jupyter_pipelines.pipeline.parameters import Parameter
from jupyter_pipelines.pipeline.secrets import SecretNotFound, is_reference, reveal
from jupyter_pipelines.storage.signing.keyring import UserKeyring, secret_id
from jupyter_pipelines.user_cache import folder as cache_folder

if TYPE_CHECKING:
    from jupyter_pipelines.storage.step_record import StepRecord

FILE = "secrets.key"
_BYTES = 32


def with_secret_marks(pipeline: Pipeline, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with each reference to a secret replaced by a mark that is equal for equal secrets of this user.

    The mark is an HMAC under a key that lies in the user's own cache folder and nowhere near a project or a store, so
    that a mark in a record cannot be tried out by readers of the record.
    """
    return {**values, **dict(_marks(pipeline, values))}


def faults_of_secrets(pipeline: Pipeline, values: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """Yield a fault for every secret that is not where its reference says."""
    for parameter in pipeline.parameters:
        reference = values.get(parameter.name)
        if parameter.kind == "secret" and is_reference(reference):
            try:
                reveal(str(reference), pipeline.folder)
            except SecretNotFound as error:
                yield _missing(parameter, error)


def _marks(pipeline: Pipeline, values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in pipeline.parameters:
        reference = values.get(parameter.name)
        if parameter.kind == "secret" and reference is not None:
            yield parameter.name, _mark(reference, pipeline.folder)


def _mark(reference: str, folder: Path) -> str:
    try:
        secret = reveal(reference, folder)
    except SecretNotFound:  # it has gone since it was checked: equal to nothing
        return f"secret {secrets.token_hex(8)}"
    return f"secret {hmac.new(user_key(), secret.encode(), hashlib.sha256).hexdigest()[:16]}"


def environment_keys() -> dict[str, bytes]:
    """Return the keys that check digests of environment variables in shared stores, by id; the first makes them.

    The keys of teams come first: a digest that the user's own key has made tells only this user something.
    """
    keys = {}
    # Unusable keys are reported before a run; here it only matters that they check nothing.
    with contextlib.suppress(StoreError):
        keys = {key.id: key.raw for key in UserKeyring.of_user().team()}
    return {**keys, f"user-{secret_id(user_key())}": user_key()}


def is_of_another_user(record: StepRecord) -> bool:
    """Tell whether another user has signed a record."""
    with contextlib.suppress(StoreError):
        return record.signature is not None and not UserKeyring.of_user().is_own(record.signature.key)
    return True


@cache
def user_key() -> bytes:
    """Return the user's key; where it cannot be kept, a key for this process: no other process reuses its results."""
    with contextlib.suppress(OSError, RuntimeError):
        return _load_or_create_key(cache_folder() / FILE)
    return secrets.token_bytes(_BYTES)


def _load_or_create_key(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written under another name first: a process that finds the key must never read half of it.
    temporary = path.with_name(f"{path.name}.{os.urandom(8).hex()}")
    if not path.exists():
        # `O_EXCL` with the mode: the key is at no moment readable by others, and no link is followed.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(secrets.token_bytes(_BYTES))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)  # the first of several processes wins
        temporary.unlink()
    # `lstat`: a link to a file of another user must not pass for the user's own key.
    status = path.lstat()
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    if not stat.S_ISREG(status.st_mode) or not mine or (os.name == "posix" and status.st_mode & 0o077):
        raise PermissionError(f"{path} can be read by others")
    secret_key = path.read_bytes()
    if len(secret_key) != _BYTES:
        raise OSError(f"{path} is damaged")
    return secret_key


def _missing(parameter: Parameter, error: SecretNotFound) -> Diagnostic:
    return Diagnostic(
        code="JP510",
        message=f"the secret `{parameter.name}` cannot be had: {error.why}",
        suggestion=f"{error.instead}, or say where it is: `-p {parameter.name}=env:NAME` or `=file:PATH`",
        place=parameter.place,
        label="declared here",
    )
